//! `livekit-otel deadletter show`: what a dead letter is, without what could be personal.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use livekit_otel_durable::journal::{DeadLetter, Payload};
use livekit_otel_ledger::report::grouped;
use livekit_otel_livekit::webhook;
use livekit_otel_model::printable::visible;
use livekit_otel_model::{Signal, Source};
use livekit_otel_tools::demo::content;

// Of a name, in characters.
const SHOWN: usize = 64;

pub(super) fn write(
    id: &str,
    file: &Path,
    letter: &DeadLetter,
    payload: &[u8],
    out: &mut impl Write,
) -> io::Result<()> {
    let at = UNIX_EPOCH + Duration::from_nanos(letter.at.nanos());
    let mut row = |name: &str, value: &str| writeln!(out, "{name:<9}{value}");
    row("id", id)?;
    row("file", &visible(&file.display().to_string()))?;
    row("what", &what(letter.payload))?;
    row("since", &humantime::format_rfc3339_seconds(at).to_string())?;
    row("reason", &visible(&letter.reason))?;
    row("records", &grouped(letter.items))?;
    row("bytes", &grouped(payload.len() as u64))?;
    let mut name = "content";
    for line in content(letter.payload, payload) {
        row(std::mem::take(&mut name), &line)?;
    }
    Ok(())
}

fn what(payload: Payload) -> String {
    match payload {
        Payload::Output(Signal::Traces) => "spans for the collector".to_owned(),
        Payload::Output(Signal::Logs) => "log records for the collector".to_owned(),
        Payload::Output(Signal::Metrics) => "metrics for the collector".to_owned(),
        Payload::Input(Source::Webhook) => "a webhook of LiveKit's server".to_owned(),
        Payload::Input(source) => format!("a message of the source {}", source.as_str()),
    }
}

// The names of what goes to the collector are ours, or passed its privacy settings. Of an input there is only the
// name of a webhook's event, if it looks like one.
fn content(payload: Payload, bytes: &[u8]) -> Vec<String> {
    match payload {
        Payload::Output(signal) => match content::names(signal, bytes) {
            Ok(names) => names.iter().map(|(name, count)| line(name, *count)).collect(),
            Err(_) => vec!["it can't be read".to_owned()],
        },
        Payload::Input(Source::Webhook) => {
            let event = event_name(bytes).unwrap_or_else(|| "no name of an event".to_owned());
            let read = match webhook(bytes) {
                Ok(_) => {
                    "this version can read it: `deadletter retry` sends it to serve".to_owned()
                }
                Err(error) => format!("this version can't read it: {error}"),
            };
            vec![event, visible(&read).into_owned()]
        }
        Payload::Input(_) => vec!["not shown: it may have what was said".to_owned()],
    }
}

fn line(name: &str, count: u64) -> String {
    let name = if name.is_empty() { "(without a name)" } else { name };
    let name: String = visible(name).chars().take(SHOWN).collect();
    format!("{} x {name}", grouped(count))
}

fn event_name(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let name = body.get("event")?.as_str()?;
    let is_name =
        name.len() <= SHOWN && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
    (is_name && !name.is_empty()).then(|| format!("event {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::event::Time;

    fn shown(payload: Payload, reason: &str, bytes: &[u8]) -> String {
        let at = Time::from_secs(1_795_406_960).unwrap();
        let letter = DeadLetter { payload, items: 1234, at, reason: reason.to_owned() };
        let mut text = Vec::new();
        write("webhook-1", Path::new("/j/deadletter/webhook-1"), &letter, bytes, &mut text)
            .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_webhook_is_shown_without_what_it_says() {
        let body = br#"{"event": "room_started", "room": {"name": "Jane's room", "sid": 7}}"#;
        let text = shown(Payload::Input(Source::Webhook), "can't\x1b be read", body);
        let expected = "\
id       webhook-1
file     /j/deadletter/webhook-1
what     a webhook of LiveKit's server
since    2026-11-23T04:09:20Z
reason   can't\u{fffd} be read
records  1,234
bytes    68
content  event room_started
";
        assert!(text.starts_with(expected), "{text}");
        assert!(!text.contains("Jane"), "{text}");
    }

    #[test]
    fn a_name_that_is_none_and_an_upload_are_not_shown() {
        for body in [&b"{\"event\": \"Jane said hello\"}"[..], b"Jane", b"{\"event\": \"\"}"] {
            let text = shown(Payload::Input(Source::Webhook), "no", body);
            assert!(
                text.contains("content  no name of an event") && !text.contains("Jane"),
                "{text}"
            );
        }
        let text = shown(Payload::Input(Source::AgentLogs), "no", b"Jane said hello");
        assert!(text.contains("not shown") && !text.contains("Jane"), "{text}");
    }
}
