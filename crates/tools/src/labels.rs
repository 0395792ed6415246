//! Names and remarks for spans, as people read them. The demo's report and the live view share
//! them.

use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, Value};

/// Attributes that can be looked up by key.
pub trait AttributeLookup {
    /// The text under `key`; `None` if there is none or it is empty.
    fn text(&self, key: &str) -> Option<&str>;
    /// The integer or floating-point number under `key`.
    fn number(&self, key: &str) -> Option<f64>;
}

impl AttributeLookup for [Attribute] {
    fn text(&self, key: &str) -> Option<&str> {
        self.iter().filter(|attribute| attribute.key == key).find_map(|each| match &each.value {
            Value::Text(text) if !text.is_empty() => Some(&**text),
            _ => None,
        })
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.iter().filter(|attribute| attribute.key == key).find_map(|each| match each.value {
            Value::Int(count) => Some(count as f64),
            Value::Float(measure) => Some(measure),
            _ => None,
        })
    }
}

/// The order of a participant's spans: connect, publish, track, subscribe, then the rest.
pub fn rank(name: &str) -> usize {
    let order =
        [span::PARTICIPANT_CONNECT, span::TRACK_PUBLISH, span::TRACK, span::TRACK_SUBSCRIBE];
    order.iter().position(|known| *known == name).unwrap_or(order.len())
}

/// The label of a span below a participant. `track` has the attributes of the track's own span, and
/// `publisher` names its publisher.
pub fn label<T: AttributeLookup + ?Sized>(
    name: &str,
    own: &T,
    track: Option<&T>,
    publisher: Option<&str>,
) -> String {
    let text = |key| own.text(key).or_else(|| track.and_then(|track| track.text(key)));
    let source = text(key::TRACK_SOURCE).or_else(|| text(key::TRACK_KIND));
    let source = source.map(spoken);
    let source = source.as_deref().or(own.text(key::TRACK_ID)).unwrap_or("track");
    match name {
        span::PARTICIPANT_CONNECT => "connect".to_owned(),
        span::TRACK_PUBLISH => format!("publish {source}"),
        span::TRACK => format!("track {source} {}", text(key::TRACK_MIME_TYPE).unwrap_or_default()),
        span::TRACK_SUBSCRIBE => match publisher {
            Some(publisher) => format!("subscribe {source} of {publisher}"),
            None => format!("subscribe {source}"),
        },
        other => other.to_owned(),
    }
}

/// An enum's value in words: `SOURCE_SCREENSHARE` as "screen share".
pub fn spoken(value: &str) -> String {
    let value = ["SOURCE_", "ROOM_END_"]
        .iter()
        .find_map(|prefix| value.strip_prefix(prefix))
        .unwrap_or(value);
    value.replace("SCREENSHARE", "SCREEN_SHARE").replace('_', " ").to_ascii_lowercase()
}

/// Remarks about a span, for details that its label lacks.
pub fn remarks<T: AttributeLookup + ?Sized>(attributes: &T) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(muted) = attributes.number(key::TRACK_MUTED_DURATION).filter(|s| *s > 0.0)
        && let Some(muted) = seconds(muted)
    {
        remarks.push(format!("muted {muted}"));
    }
    if let Some(attempts) = attributes.number(key::ATTEMPTS).filter(|n| *n > 1.0) {
        remarks.push(format!("{attempts:.0} attempts"));
    }
    if let Some(result) = attributes.text(key::SUBSCRIBE_RESULT)
        && !matches!(result, "subscribed" | "failed")
    {
        remarks.push(format!("ended as {}", result.replace('_', " ")));
    }
    if attributes.text(key::PUBLISH_RESULT) == Some("unknown") {
        remarks.push("result unknown".to_owned());
    }
    if let Some(reason) = attributes.text(key::DISCONNECT_REASON) {
        remarks.push(format!("left: {}", spoken(reason)));
    }
    if let Some(reason) = attributes.text(key::ROOM_END_REASON) {
        remarks.push(format!("ended: {}", spoken(reason)));
    }
    if let Some(rule) = attributes.text(key::END_INFERRED) {
        remarks.push(format!("end inferred: {}", rule.replace('_', " ")));
    }
    remarks
}

/// Formats nanoseconds in at most 7 columns: `0.7 ms`, `42.5 s`, `12m 05s`.
pub fn duration(nanos: u64) -> String {
    let rounded = |unit: u64| nanos.saturating_add(unit / 2) / unit;
    // Tenths of a millisecond and tenths of a second.
    let (small, large) = (rounded(100_000), rounded(100_000_000));
    let ms = rounded(1_000_000);
    let s = rounded(1_000_000_000);
    if small == 0 {
        "0 ms".to_owned()
    } else if small < 100 {
        format!("{}.{} ms", small / 10, small % 10)
    } else if ms < 1000 {
        format!("{ms} ms")
    } else if large < 600 {
        format!("{}.{} s", large / 10, large % 10)
    } else if s < 3600 {
        format!("{}m {:02}s", s / 60, s % 60)
    } else if s < 360_000 {
        format!("{}h {:02}m", s / 3600, s % 3600 / 60)
    } else {
        format!("{} d", s / 86_400)
    }
}

/// Formats seconds like [`duration`]; `None` if they are not a duration.
pub fn seconds(seconds: f64) -> Option<String> {
    let span = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(duration(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
}

/// A count and its noun: `1 track`, `1,204 tracks`.
pub fn count(n: usize, noun: &str) -> String {
    let grouped = livekit_otel_ledger::report::grouped(n as u64);
    if n == 1 { format!("{grouped} {noun}") } else { format!("{grouped} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_at_most_seven_columns() {
        let second = 1_000_000_000;
        let cases = [
            (0, "0 ms"),
            (674_000, "0.7 ms"),
            (9_960_000, "10 ms"),
            (999_600_000, "1.0 s"),
            (42_539 * 1_000_000, "42.5 s"),
            (59_960 * 1_000_000, "1m 00s"),
            (725 * second, "12m 05s"),
            (3 * 3600 * second, "3h 00m"),
            (30 * 86_400 * second, "30 d"),
        ];
        for (nanos, text) in cases {
            assert_eq!(duration(nanos), text);
        }
        assert!(duration(u64::MAX).len() <= 8);
    }
}
