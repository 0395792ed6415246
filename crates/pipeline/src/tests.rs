//! The order of what the task sends.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{Clock, Parts, start};
use livekit_otel_durable::journal::{self, Accepted, DeadLetters};
use livekit_otel_engine::{Engine, session, stats};
use livekit_otel_ledger::Ledger;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};
use livekit_otel_model::foreign::{Body, Facts, Foreign, ForeignSpan, Origin, Upload};
use livekit_otel_model::signal::{LogRecord, Metric, Span};
use livekit_otel_model::sink::Sink;

// The names of the spans of each call.
#[derive(Debug, Default)]
struct Calls(Mutex<Vec<Vec<String>>>);

impl Sink for Calls {
    fn spans(&self, _: &[Span]) {}

    fn logs(&self, _: &[LogRecord]) {}

    fn metrics(&self, _: &[Metric]) {}

    fn foreign(&self, records: &Foreign) {
        let names = records.spans.iter().map(|span| span.name.to_string());
        self.0.lock().unwrap().push(names.collect());
    }
}

fn span(nth: u8, name: &str, at: Time) -> ForeignSpan {
    ForeignSpan {
        origin: Arc::new(Origin::default()),
        trace_id: [1; 16],
        span_id: [nth; 8],
        parent: None,
        name: name.into(),
        start: at,
        end: at,
        failure: None,
        links: Vec::new(),
        facts: Facts::default(),
        added: Vec::new(),
        added_links: Vec::new(),
        body: Body { sent: Bytes::from_static(b"x"), redacted: None },
    }
}

#[tokio::test]
async fn foreign_records_are_sent_entry_by_entry_however_many_are_applied_together() {
    let at = Time::from_secs(1_795_400_000).unwrap();
    let ledger = Arc::new(Ledger::default());
    let (journal, reader) = journal::in_memory(usize::MAX, &ledger);
    for nth in 1..4 {
        let spans = vec![span(2 * nth, "a", at), span(2 * nth + 1, "b", at)];
        let accepted = Accepted {
            at,
            source: Source::AgentTraces,
            items: 2,
            unusable: 0,
            unknown: Unknown::default(),
            twin_expected: false,
            decoded: Some(Decoded::Upload(Upload::Spans(spans))),
            raw: Bytes::new(),
            size: 1,
        };
        assert!(journal.try_append(accepted).is_ok());
    }
    let calls = Arc::new(Calls::default());
    let parts = Parts {
        engine: Engine::new(session::Settings::default(), stats::Settings::default(), at),
        sink: Arc::clone(&calls) as _,
        ledger,
        dead_letters: Arc::new(DeadLetters::in_memory(1 << 20)),
        durable: None,
        tap: None,
        clock: Clock::default(),
        questions: None,
    };
    let (_ticks, task) = start(parts, reader);
    drop(journal);
    task.await.unwrap();
    assert_eq!(*calls.0.lock().unwrap(), [["a", "b"]; 3]);
}
