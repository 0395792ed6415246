//! The targets of `fuzz/`: one function for each parser of external bytes. A panic is a finding.
#![allow(clippy::missing_panics_doc)] // findings are panics

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::config::Config;
use crate::source::read_again;
use crate::source::uploads::multipart::{Event, Parser};
use livekit_otel_agents::{Content, Reader};
use livekit_otel_durable::journal::{self, Accepted, Entry};
use livekit_otel_durable::store::Frames;
use livekit_otel_engine::session;
use livekit_otel_engine::snapshot::{self, Writer};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::token;
use livekit_otel_livekit::{self as livekit, Read, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_tools::capture::{Capture, Line};

/// A target: its name, which is also its corpus', and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("webhook", webhook),
    ("capture", capture),
    ("analytics", analytics),
    ("config", config),
    ("journal", journal),
    ("json", json),
    ("multipart", multipart),
    ("upload", upload),
];

// The API key of the webhooks' tokens.
const KEY: &str = "fuzz";
// The made-up secret of the key.
const SECRET: &str = "made-up-secret-of-thirty-two-characters";

/// A webhook: its token, a line feed, its body. The body is parsed even if the token is not valid.
pub fn webhook(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (token, rest) = data.split_at(end);
    if is_signed(token, SECRET) {
        assert!(
            !is_signed(token, "another-secret-of-some-length-too"),
            "two secrets verify one token"
        );
    }
    if let Some(body) = rest.get(1..) {
        play(&timed([livekit::webhook(body)]));
    }
}

fn is_signed(token: &[u8], secret: &str) -> bool {
    let Ok(token) = HeaderValue::from_bytes(token) else { return false };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, token)]);
    let mut keys = Keys::default();
    keys.insert(KEY, secret);
    // The corpus is signed for 1970.
    token::webhook(&headers, &keys, UNIX_EPOCH).is_ok()
}

/// The lines of a capture that are of a server, applied at their times.
pub fn capture(data: &[u8]) {
    let Ok(capture) = Capture::parse(data) else { return };
    let line = |line: &Line| Some((Time::from_millis(line.at)?, read(line).ok()?.decoded));
    play(&capture.lines.iter().filter_map(line).collect::<Vec<_>>());
}

fn read(line: &Line) -> Result<Read, Unreadable> {
    let (kind, read): (_, fn(&[u8]) -> _) = match line.source {
        Source::Webhook => return livekit::webhook(line.message().to_string().as_bytes()),
        Source::Events => ("events", livekit::events),
        Source::Stats => ("stats", livekit::stats),
        _ => ("nodeRooms", livekit::node_rooms),
    };
    read(&livekit::encode_capture(kind, line.message())?)
}

/// Messages of the analytics streams, each after its kind (a byte) and its length (two).
pub fn analytics(mut data: &[u8]) {
    let mut reads = Vec::new();
    while let [kind, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (message, after) = rest.split_at(length.min(rest.len()));
        data = after;
        reads.push(match kind % 3 {
            0 => livekit::events(message),
            1 => livekit::stats(message),
            _ => livekit::node_rooms(message),
        });
    }
    play(&timed(reads));
}

/// Uploads, each after its kind (a byte) and its length (two).
pub fn upload(mut data: &[u8]) {
    let mut reads = Vec::new();
    while let [kind, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (message, after) = rest.split_at(length.min(rest.len()));
        data = after;
        reads.extend(read_upload(*kind, message));
    }
    play_uploads(reads);
}

/// Uploads in JSON, one a line, each after its kind (a byte).
pub fn json(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').filter_map(<[u8]>::split_first);
    let lines = lines.filter(|(_, text)| text.starts_with(b"{"));
    play_uploads(lines.filter_map(|(kind, text)| read_upload(*kind, text)).collect());
}

// What is usable must not depend on the settings.
fn read_upload(kind: u8, message: &[u8]) -> Option<Decoded> {
    let source = UPLOADS[usize::from(kind) % UPLOADS.len()];
    let plain = Reader { content: Content::Plain, ..Reader::default() };
    let (dropped, plain) = (Reader::default().read(source, message), plain.read(source, message));
    assert_eq!(dropped.is_ok(), plain.is_ok());
    let (dropped, plain) = (dropped.ok()?, plain.ok()?);
    assert_eq!((dropped.items, dropped.unusable), (plain.items, plain.unusable));
    Some(Decoded::Upload(if kind.is_multiple_of(2) { dropped.upload } else { plain.upload }))
}

fn play_uploads(reads: Vec<Decoded>) {
    let seconds = (1_795_981_975..).filter_map(Time::from_secs);
    play(&seconds.zip(reads).collect::<Vec<_>>());
}

// An odd number of them, so that each comes with both settings.
const UPLOADS: [Source; 7] = [
    Source::AgentTraces,
    Source::AgentLogs,
    Source::AgentMetrics,
    Source::AgentRecordings,
    Source::OtlpTraces,
    Source::OtlpLogs,
    Source::OtlpMetrics,
];

/// A configuration: the file and, after a zero, lines of variables.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let env: BTreeMap<_, _> = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    match Config::from_text(file, &env) {
        Ok(config) => assert!(!config.keys.is_empty() && !format!("{config:?}").is_empty()),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

/// A part of a journal's directory, after its kind: 0 a segment, 1 an entry, 2 a part of a snapshot.
pub fn journal(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            let mut frames = Frames::new(rest);
            let records: usize = frames.by_ref().map(|(_, record)| record.len()).sum();
            assert!(frames.end() <= rest.len() && records <= frames.end());
        }
        1 => {
            let read = read_again(&Arc::default());
            let entry = journal::decode(&Bytes::copy_from_slice(rest), &read);
            if let Some(Entry::Input(Accepted { at, decoded: Some(decoded), .. })) = entry {
                play(&[(at, decoded)]);
            }
        }
        _ => {
            let Ok((part, content)) = snapshot::part(rest) else { return };
            let mut engine = new(Time::from_system(std::time::UNIX_EPOCH));
            if engine.load(part, content).is_ok() {
                restarted(&engine);
            }
        }
    }
}

/// A recording: the size of the pieces in which it arrives (a byte), its content type, a line feed, its body.
/// The parts must not depend on the pieces.
pub fn multipart(data: &[u8]) {
    let Some((size, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (content_type, body) = rest.split_at(end);
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    let body = body.get(1..).unwrap_or_default();
    let whole = parts(content_type, [body]);
    assert_eq!(whole, parts(content_type, body.chunks(usize::from(*size).max(1))));
}

// The parts' names and contents, and whether the body has its end.
fn parts<'a>(
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<(String, bool)> {
    let mut parser = Parser::of(content_type)?;
    let mut parts = String::new();
    for piece in pieces {
        let mut add = |event: Event<'_>| match event {
            Event::Part(name) => parts.extend(["\n", name.unwrap_or("\t"), "\n"]),
            Event::Data(bytes) => parts.extend(bytes.iter().map(|byte| char::from(*byte))),
        };
        parser.push(piece, &mut add).ok()?;
    }
    Some((parts, parser.is_ended()))
}

// Messages that could be parsed, one second apart.
fn timed(reads: impl IntoIterator<Item = Result<Read, Unreadable>>) -> Vec<(Time, Decoded)> {
    let seconds = (1_795_406_961..).filter_map(Time::from_secs);
    seconds.zip(reads.into_iter().flatten()).map(|(at, read)| (at, read.decoded)).collect()
}

// Applies messages to an engine. The same messages must have the same outputs, also across a restart.
fn play(messages: &[(Time, Decoded)]) {
    let Some((start, _)) = messages.first() else { return };
    let out = played(*start, messages, None);
    let again = played(*start, messages, Some(messages.len() / 2));
    for span in &out.spans {
        assert!(span.end >= span.start, "{} ends before it starts", span.name);
        assert_ne!(span.span_id, [0; 8]);
    }
    // As text, since NaN does not equal itself.
    assert_eq!(format!("{out:?}"), format!("{again:?}"));
}

fn new(start: Time) -> Engine {
    Engine::new(session::Settings::default(), stats::Settings::default(), start)
}

// The engine, saved and loaded.
fn restarted(engine: &Engine) -> Engine {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut put = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    assert!(engine.save(&mut Writer::new(&mut put)).is_ok());
    let mut next = new(Time::from_system(std::time::UNIX_EPOCH));
    for bytes in parts {
        let loaded = snapshot::part(&bytes).and_then(|(part, content)| next.load(part, content));
        assert!(loaded.is_ok(), "{loaded:?}");
    }
    next
}

fn played(start: Time, messages: &[(Time, Decoded)], restart: Option<usize>) -> Batch {
    let mut engine = new(start);
    let mut out = Batch::default();
    let mut now = start;
    for (nth, (at, decoded)) in messages.iter().enumerate() {
        if restart == Some(nth) {
            engine = restarted(&engine);
        }
        now = *at;
        engine.tick(now, &mut out);
        assert!(
            engine.next_deadline().is_none_or(|next| next > now),
            "a tick left a timer that is due"
        );
        engine.apply(decoded, now, true, &mut out);
    }
    engine.flush(now, &mut out);
    engine.close(now, "shutdown", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_a_valid_token() {
        let seed = include_str!("../fuzz/corpus/webhook/token-valid");
        let (token, _) = seed.split_once('\n').unwrap();
        assert!(is_signed(token.as_bytes(), SECRET));
        assert!(is_signed(format!("Bearer {token}").as_bytes(), SECRET));
    }
}
