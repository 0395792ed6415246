//! Which events a webhook is told of (livekit protocol, webhook/filter.go).

use livekit_otel_livekit::messages::FilterParams;

/// Whether `event` is let through. Where something is included, what is excluded has no meaning.
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
    fn what_is_included_goes_before_what_is_excluded() {
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
