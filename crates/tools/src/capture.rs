//! Captures: the recorded messages of a LiveKit server, as one JSON object per line.
//!
//! A line has `at` (Unix ms), `kind` (`webhook`, `events`, `stats` or `nodeRooms`) and `body` (the
//! message as proto3 JSON). Other fields, such as `auth`, are ignored.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use livekit_otel_model::Source;

/// A decoded capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// Its lines, in the order of the file.
    pub lines: Vec<Line>,
}

/// A recorded message.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The number of its line, from 1.
    pub number: usize,
    /// When it was sent, in Unix milliseconds.
    pub at: i64,
    /// The source that sent it.
    pub source: Source,
    /// The message as proto3 JSON.
    pub body: Value,
}

/// Lines that can't be read. The text shows their numbers but not their content, which may have
/// secrets.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}", describe(.0))]
pub struct CaptureError(Vec<(usize, String)>);

const SHOWN: usize = 5;

fn describe(lines: &[(usize, String)]) -> String {
    let shown = lines.iter().take(SHOWN).map(|(number, why)| format!("line {number}: {why}"));
    let mut text: Vec<String> = shown.collect();
    if lines.len() > SHOWN {
        text.push(format!("and {} more lines", lines.len() - SHOWN));
    }
    text.join("; ")
}

#[derive(Deserialize)]
struct RawLine {
    at: i64,
    kind: String,
    body: Map<String, Value>,
}

impl Capture {
    /// Reads a capture. Blank lines are ignored.
    ///
    /// # Errors
    /// If lines can't be read, all of them; or if there are no lines.
    pub fn parse(from: impl BufRead) -> Result<Self, CaptureError> {
        let mut lines = Vec::new();
        let mut errors = Vec::new();
        for (index, text) in from.lines().enumerate() {
            let number = index + 1;
            match text {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => match line(number, &text) {
                    Ok(line) => lines.push(line),
                    Err(why) => errors.push((number, why)),
                },
                Err(error) => {
                    errors.push((number, error.kind().to_string()));
                    break;
                }
            }
        }
        if lines.is_empty() && errors.is_empty() {
            errors.push((1, "the capture is empty".to_owned()));
        }
        if errors.is_empty() { Ok(Self { lines }) } else { Err(CaptureError(errors)) }
    }
}

fn line(number: usize, text: &str) -> Result<Line, String> {
    let raw: RawLine = serde_json::from_str(text)
        .map_err(|error| format!("not a line of a capture, at column {}", error.column()))?;
    let source = match raw.kind.as_str() {
        "webhook" => Source::Webhook,
        "events" => Source::Events,
        "stats" => Source::Stats,
        "nodeRooms" => Source::NodeRooms,
        _ => return Err("`kind` must be webhook, events, stats or nodeRooms".to_owned()),
    };
    Ok(Line { number, at: raw.at, source, body: Value::Object(raw.body) })
}

/// The `kind` of lines from a source.
pub(super) fn kind(source: Source) -> &'static str {
    match source {
        Source::Webhook => "webhook",
        Source::Events => "events",
        Source::Stats => "stats",
        Source::NodeRooms => "nodeRooms",
        // Captures have no responses of the API, and uploads have files of their own.
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bad_lines_are_reported_at_once_without_their_content() {
        let text = "{\"at\":1,\"kind\":\"events\",\"body\":{}}\n\nsecret\n{\"at\":1,\"kind\":\"secret\",\"body\":1}\n";
        let error = Capture::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 3: ") && error.contains("line 4: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn an_empty_capture_is_an_error() {
        assert!(Capture::parse("\n\n".as_bytes()).is_err());
    }
}
