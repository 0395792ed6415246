//! Which events a webhook receives (livekit protocol 1.54, webhook/filter.go).

use livekit_otel_livekit::messages::FilterParams;

/// Whether `event` is sent. If the filter includes any events, it ignores those that it excludes.
pub(super) fn allows(filter: &FilterParams, event: &str) -> bool {
    let named = |events: &[String]| events.iter().any(|each| each == event);
    if filter.include_events.is_empty() {
        !named(&filter.exclude_events)
    } else {
        named(&filter.include_events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> FilterParams {
        let owned = |events: &[&str]| events.iter().map(|&event| event.to_owned()).collect();
        FilterParams { include_events: owned(include), exclude_events: owned(exclude) }
    }

    #[test]
    fn included_events_take_precedence_over_excluded_ones() {
        let table = [
            (filter(&[], &[]), true),
            (filter(&["room_started"], &[]), true),
            (filter(&["room_finished"], &[]), false),
            (filter(&[], &["room_started"]), false),
            (filter(&[], &["room_finished"]), true),
            (filter(&["room_started"], &["room_started"]), true),
        ];
        for (filter, allowed) in table {
            assert_eq!(allows(&filter, "room_started"), allowed, "{filter:?}");
        }
    }
}
