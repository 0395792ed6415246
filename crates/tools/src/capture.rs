//! Captures: the recorded messages of a LiveKit server and of its agents, as one JSON object per
//! line.
//!
//! A line of a server has `at` (Unix ms), `kind` (`webhook`, `events`, `stats` or `nodeRooms`) and
//! `body` (the message as proto3 JSON). A line of an agent has `at`, `path` (one of LiveKit's paths
//! of uploads, after any base path, or of plain OTLP), `headers` (a map, of which the content type
//! and the content encoding are read) and `body_base64` (the decompressed body). Other fields, such
//! as `auth`, are ignored.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::BufRead;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use livekit_otel_livekit::uploads;
use livekit_otel_model::Source;

/// A decoded capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// Its lines by time. Lines of the same time are in the order of their files.
    pub lines: Vec<Line>,
}

/// A recorded message.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Where it is.
    pub place: Place,
    /// When it was sent, in Unix milliseconds.
    pub at: i64,
    /// The source that sent it.
    pub source: Source,
    /// What was sent.
    pub body: Body,
}

/// Where a line is in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of the file, if there are several.
    pub file: Option<Arc<str>>,
    /// The number of the line, from 1.
    pub number: usize,
}

/// What a line recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A server's message as proto3 JSON.
    Message(Value),
    /// An upload.
    Upload(Upload),
}

/// An upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// The content type, for a recording with its boundary.
    pub content_type: HeaderValue,
    /// Whether it was compressed with gzip.
    pub is_gzip: bool,
    /// The body, decompressed.
    pub body: Bytes,
}

/// Lines that can't be read. The text shows their numbers but not their content, which may have
/// secrets.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}", describe(.0))]
pub struct CaptureError(Vec<(Place, String)>);

const SHOWN: usize = 5;

fn describe(lines: &[(Place, String)]) -> String {
    let shown = lines.iter().take(SHOWN).map(|(place, why)| format!("{place}: {why}"));
    let mut text: Vec<String> = shown.collect();
    if lines.len() > SHOWN {
        text.push(format!("and {} more lines", lines.len() - SHOWN));
    }
    text.join("; ")
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}, line {}", self.number),
            None => write!(f, "line {}", self.number),
        }
    }
}

impl Line {
    /// A server's message as proto3 JSON; `Null` for an upload.
    pub fn message(&self) -> &Value {
        match &self.body {
            Body::Message(message) => message,
            Body::Upload(_) => &Value::Null,
        }
    }
}

#[derive(Deserialize)]
struct RawLine {
    at: i64,
    kind: Option<String>,
    #[serde(default)]
    body: Map<String, Value>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    body_base64: String,
}

impl Capture {
    /// Reads a capture. Blank lines are ignored.
    ///
    /// # Errors
    /// If lines can't be read, all of them; or if there are no lines.
    pub fn parse(from: impl BufRead) -> Result<Self, CaptureError> {
        Self::parse_file(None, from)
    }

    /// Like [`Capture::parse`], for one of several files. Its errors name it.
    ///
    /// # Errors
    /// If lines can't be read, all of them; or if there are no lines.
    pub fn parse_file(file: Option<Arc<str>>, from: impl BufRead) -> Result<Self, CaptureError> {
        let mut lines = Vec::new();
        let mut errors = Vec::new();
        for (index, text) in from.lines().enumerate() {
            let place = Place { file: file.clone(), number: index + 1 };
            match text {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => match line(place.clone(), &text) {
                    Ok(line) => lines.push(line),
                    Err(why) => errors.push((place, why)),
                },
                Err(error) => {
                    errors.push((place, error.kind().to_string()));
                    break;
                }
            }
        }
        if lines.is_empty() && errors.is_empty() {
            errors.push((Place { file, number: 1 }, "the capture is empty".to_owned()));
        }
        if errors.is_empty() { Ok(Self::of(lines)) } else { Err(CaptureError(errors)) }
    }

    /// Both captures as one.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        Self::of(self.lines)
    }

    fn of(mut lines: Vec<Line>) -> Self {
        lines.sort_by_key(|line| line.at);
        Self { lines }
    }
}

fn line(place: Place, text: &str) -> Result<Line, String> {
    let raw: RawLine = serde_json::from_str(text)
        .map_err(|error| format!("not a line of a capture, at column {}", error.column()))?;
    let at = raw.at;
    if let Some(path) = &raw.path {
        let source = uploads::source(path)
            .ok_or("`path` must end with one of LiveKit's paths of uploads, or be plain OTLP's")?;
        return Ok(Line { place, at, source, body: Body::Upload(upload(&raw)?) });
    }
    let source = match raw.kind.as_deref() {
        Some("webhook") => Source::Webhook,
        Some("events") => Source::Events,
        Some("stats") => Source::Stats,
        Some("nodeRooms") => Source::NodeRooms,
        _ => {
            let kinds =
                "`kind` must be webhook, events, stats or nodeRooms, or there must be a `path`";
            return Err(kinds.to_owned());
        }
    };
    Ok(Line { place, at, source, body: Body::Message(Value::Object(raw.body)) })
}

fn upload(raw: &RawLine) -> Result<Upload, &'static str> {
    let content_type = header(raw, &CONTENT_TYPE).and_then(|value| value.parse().ok());
    let encoding = header(raw, &CONTENT_ENCODING).unwrap_or_default();
    let body = STANDARD.decode(&raw.body_base64).map_err(|_| "`body_base64` is not base64")?;
    Ok(Upload {
        content_type: content_type.ok_or("`headers` must have a valid Content-Type")?,
        is_gzip: encoding.eq_ignore_ascii_case("gzip"),
        body: body.into(),
    })
}

fn header<'a>(raw: &'a RawLine, name: &HeaderName) -> Option<&'a str> {
    let mut headers = raw.headers.iter();
    let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case(name.as_str()))?;
    value.as_str()
}

/// The `kind` of lines from a source.
pub(super) fn kind(source: Source) -> &'static str {
    match source {
        Source::Webhook => "webhook",
        Source::Events => "events",
        Source::Stats => "stats",
        Source::NodeRooms => "nodeRooms",
        // Captures have no responses of the API, and uploads have no kind.
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
    fn a_wrong_upload_says_what_is_wrong_and_in_which_file() {
        let wrong = |fields: &str| {
            let text = format!("{{\"at\":1,{fields}}}");
            Capture::parse_file(Some("a.jsonl".into()), text.as_bytes()).unwrap_err().to_string()
        };
        let path = r#""path":"/observability/logs/otlp/v0""#;
        let headers = r#""headers":{"content-TYPE":"application/json","Authorization":{}}"#;
        for (fields, why) in [
            (r#""path":"/secret""#.to_owned(), "`path` must end with"),
            (path.to_owned(), "`headers` must have a valid Content-Type"),
            (
                format!("{path},{headers},\"body_base64\":\"secret!\""),
                "`body_base64` is not base64",
            ),
            (r#""headers":{}"#.to_owned(), "or there must be a `path`"),
        ] {
            let error = wrong(&fields);
            assert!(error.starts_with("a.jsonl, line 1: ") && error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn lines_of_two_files_are_merged_by_time() {
        let of = |file: &str, times: [i64; 2]| {
            let line = |at| format!("{{\"at\":{at},\"kind\":\"events\",\"body\":{{}}}}\n");
            let text = times.map(line).concat();
            Capture::parse_file(Some(file.into()), text.as_bytes()).unwrap()
        };
        let capture = of("a", [1, 3]).merged(of("b", [3, 2]));
        let places = capture.lines.iter().map(|line| line.place.to_string());
        let places: Vec<_> = places.collect();
        assert_eq!(places, ["a, line 1", "b, line 2", "a, line 2", "b, line 1"]);
    }

    #[test]
    fn an_empty_capture_is_an_error() {
        assert!(Capture::parse("\n\n".as_bytes()).is_err());
    }
}
