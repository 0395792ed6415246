//! Real uploads, of tests/captures/agents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_model::Source;
use livekit_otel_model::foreign::Upload;
use livekit_otel_model::privacy::Privacy;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::made::{sent_log, sent_origin, sent_span, without_process};
use super::{DROP, PLAIN, contains, hash, leaving};
use crate::{Content, Read, Reader};

const CAPTURES: [&str; 8] = [
    "crash.agents",
    "killed.agents",
    "node-ordinary.agents",
    "ordinary.agents",
    "own-provider.agents",
    "own-provider.collector",
    "redaction.agents",
    "two-process.agents",
];

// What the recorded people and models said, and what applications wrote.
const SAID: &[&str] = &[
    "Alice Liddell",
    "Alice was",
    "Lyon",
    "long story",
    "Stop, please",
    "Thank you",
    "my name is",
    "sunny",
    "Once upon",
    "You are welcome",
    "blue door",
    "You are helpful",
    "4111 1111",
    "+33",
    "plan:free",
    "a call for",
    "no database",
    "Traceback",
    "\"city\"",
];
const NAMES: &[&str] =
    &["example.org", "ordinary-1", "two-1", "broken-1", "crash-1", "late-1", "killed-1"];

fn requests(capture: &str) -> Vec<(Source, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/agents");
    let lines = std::fs::read_to_string(format!("{folder}/{capture}.jsonl")).unwrap();
    lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
            match line["kind"].as_str().unwrap() {
                "traces" => (Source::AgentTraces, body),
                "logs" => (Source::AgentLogs, body),
                "metrics" => (Source::AgentMetrics, body),
                "recordings" => (Source::AgentRecordings, header(&body)),
                other => panic!("{other}"),
            }
        })
        .collect()
}

// The first part of a multipart body.
fn header(body: &[u8]) -> Vec<u8> {
    let after = |bytes: &[u8], word: &str| {
        let at = bytes.windows(word.len()).position(|window| window == word.as_bytes()).unwrap();
        at + word.len()
    };
    let part = &body[after(body, "name=\"header\"")..];
    let part = &part[after(part, "\r\n\r\n")..];
    part[..after(part, "\r\n--") - 4].to_vec()
}

fn read(reader: &Reader) -> Vec<(&'static str, Vec<u8>, Read)> {
    let all = CAPTURES.iter().flat_map(|capture| {
        let requests = requests(capture).into_iter();
        requests.map(move |(source, raw)| {
            let read = reader.read(source, &raw).unwrap();
            (*capture, raw, read)
        })
    });
    all.collect()
}

#[test]
fn every_record_of_every_capture_is_usable() {
    for (capture, _, read) in read(&Reader::default()) {
        assert!(read.items > 0 && read.unusable == 0, "{capture} {} {}", read.items, read.unusable);
    }
}

#[test]
fn nothing_that_was_said_leaves() {
    let plain = Reader { privacy: Privacy::Plain, content: Content::Drop };
    for (reader, words) in [(DROP, [SAID, NAMES].concat()), (plain, SAID.to_vec())] {
        for (capture, _, read) in read(&reader) {
            let bytes = leaving(&read.upload, false);
            for word in &words {
                assert!(!contains(&bytes, word), "{capture} has {word}");
            }
        }
    }
}

#[test]
fn nothing_that_was_said_leaves_in_a_redacted_job_whatever_is_set() {
    let mut found = std::collections::BTreeSet::<&str>::new();
    for (capture, _, read) in read(&PLAIN) {
        let (sent, redacted) = (leaving(&read.upload, false), leaving(&read.upload, true));
        for word in SAID {
            assert!(!contains(&redacted, word), "{capture} has {word}");
            found.extend(contains(&sent, word).then_some(word));
        }
    }
    // Of the words, only what no capture has is missing from what leaves in clear.
    assert!(found.len() > 12, "{found:?}");
}

#[test]
fn names_are_hashed_wherever_they_are() {
    let reader = Reader { privacy: hash(), content: Content::Drop };
    let mut hashed = 0;
    let Some(identity) = hash_of("alice@example.org") else { panic!("no hash") };
    for (capture, _, read) in read(&reader) {
        let bytes = leaving(&read.upload, false);
        for name in NAMES {
            assert!(!contains(&bytes, name), "{capture} has {name}");
        }
        hashed += usize::from(contains(&bytes, &identity));
    }
    assert!(hashed > 20, "{hashed}");
}

fn hash_of(text: &str) -> Option<String> {
    use livekit_otel_model::semconv::key::PARTICIPANT_IDENTITY;
    use livekit_otel_model::signal::Value;
    match hash().value(PARTICIPANT_IDENTITY, &text.into()).as_deref() {
        Some(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    }
}

#[test]
fn with_content_everything_passes_whole() {
    for (capture, raw, read) in read(&PLAIN) {
        match &read.upload {
            Upload::Spans(spans) => {
                let request = ExportTraceServiceRequest::decode(&*raw).unwrap();
                let mut read = spans.iter();
                for resource in request.resource_spans {
                    let resource_sent = without_process(resource.resource);
                    for scope in resource.scope_spans {
                        for span in scope.spans {
                            let read = read.next().unwrap();
                            assert_eq!(sent_span(read), span, "{capture}");
                            let origin = sent_origin(&read.origin);
                            assert_eq!(origin.0, resource_sent);
                            assert_eq!(Some(origin.1), scope.scope);
                        }
                    }
                }
            }
            Upload::Logs(logs) if raw[0] != b'{' => {
                let request = ExportLogsServiceRequest::decode(&*raw).unwrap();
                let scopes = request.resource_logs.into_iter().flat_map(|each| each.scope_logs);
                let sent: Vec<_> = scopes.flat_map(|scope| scope.log_records).collect();
                assert_eq!(logs.iter().map(sent_log).collect::<Vec<_>>(), sent, "{capture}");
            }
            _ => {}
        }
    }
}

#[test]
fn spans_and_log_records_know_their_room_and_their_job() {
    let (mut with_participant, mut redacted) = (0, 0);
    for (capture, _, read) in read(&Reader::default()) {
        let facts: Vec<_> = match &read.upload {
            Upload::Spans(spans) => spans.iter().map(|span| &span.facts).collect(),
            Upload::Logs(logs) => logs.iter().map(|log| &log.facts).collect(),
            Upload::Recording(recording) => vec![&recording.facts],
            Upload::Metrics(_) => Vec::new(),
        };
        for facts in facts {
            assert!(facts.room.is_some() && facts.job.is_some(), "{capture}: {facts:?}");
            with_participant += usize::from(facts.participant.is_some());
            redacted += usize::from(facts.is_redacted);
            assert!(!facts.is_redacted || capture.starts_with("redaction"), "{capture}");
        }
    }
    assert!(with_participant > 50 && redacted > 50, "{with_participant} {redacted}");
}

#[test]
fn an_agents_own_provider_is_told_from_the_frameworks() {
    let of = |capture: &str| {
        let requests = requests(capture).into_iter();
        let mut is_framework = Vec::new();
        for (source, raw) in requests {
            if let Upload::Spans(spans) = DROP.read(source, &raw).unwrap().upload {
                let of_span = |span: &livekit_otel_model::foreign::ForeignSpan| {
                    (span.origin.is_framework, span.origin.process.is_some())
                };
                is_framework.extend(spans.iter().map(of_span));
            }
        }
        is_framework
    };
    assert!(of("ordinary.agents").iter().all(|is| *is == (true, true)));
    assert!(of("own-provider.agents").iter().any(|is| !is.0));
    assert!(of("own-provider.collector").iter().all(|is| !is.0));
}
