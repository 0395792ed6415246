//! Captures: what a LiveKit server told, a JSON object a line.
//!
//! A line has `at` (Unix ms), `kind` (`webhook`, `events`, `stats` or `nodeRooms`) and `body` (the
//! message as proto3 JSON). Anything else, such as `auth`, is not read.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use livekit_otel_model::Source;

/// A capture that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// Its lines, in the file's order.
    pub lines: Vec<Line>,
}

/// A message that was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its line in the file, from 1.
    pub number: usize,
    /// When it was told, Unix ms.
    pub at: i64,
    /// How it was told.
    pub source: Source,
    /// The message as proto3 JSON.
    pub body: Value,
}

/// Lines that can't be read. Says where, never what: a line may hold secrets.
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
    /// Reads a capture; blank lines are passed over.
    ///
    /// # Errors
    /// All lines that can't be read, or that there is none.
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
        .map_err(|error| format!("no line of a capture, at column {}", error.column()))?;
    let source = match raw.kind.as_str() {
        "webhook" => Source::Webhook,
        "events" => Source::Events,
        "stats" => Source::Stats,
        "nodeRooms" => Source::NodeRooms,
        _ => return Err("`kind` is none of webhook, events, stats, nodeRooms".to_owned()),
    };
    Ok(Line { number, at: raw.at, source, body: Value::Object(raw.body) })
}

/// The `kind` of a source's lines.
pub(super) fn kind(source: Source) -> &'static str {
    match source {
        Source::Webhook => "webhook",
        Source::Events => "events",
        Source::Stats => "stats",
        Source::NodeRooms => "nodeRooms",
        // It is asked for, and in no capture.
        Source::Api => "api",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_all_at_once_without_what_they_hold() {
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
