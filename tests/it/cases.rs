//! Inputs that once made wrong output, as they were received: signed, and posted in their order.

use std::collections::BTreeMap;

use livekit_otel::serve::{Report, Server};
use livekit_otel_model::Source;
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_tools::demo::received::Span;
use livekit_otel_tools::demo::{Collector, Received, Telemetry};

use crate::durable::post;
use crate::serve::{adds_up, config, stop};

// In seconds since the epoch.
const BEGIN: u64 = 1_795_980_000;

struct Case {
    received: Received,
    spans: Vec<Span>,
    report: Report,
}

async fn played(case: &str) -> Case {
    let path = format!("{}/tests/captures/cases/{case}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let bodies = std::fs::read_to_string(path).unwrap();
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    for body in bodies.lines().filter(|line| !line.is_empty()) {
        assert_eq!(post(&server, body).await.0, 200, "{body}");
    }
    let report = stop(server).await;
    adds_up(&report.ledger);
    // Nothing was set aside.
    let webhooks = &report.ledger.inputs[Source::Webhook as usize];
    assert_eq!((webhooks.accepted, webhooks.dead_letters), (bodies.lines().count() as u64, 0));
    let received = collector.stop().await;
    let spans = Telemetry::read(&received).spans;
    Case { received, spans, report }
}

impl Case {
    // The one span of a name.
    fn span(&self, name: &str) -> &Span {
        let all: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(all.len(), 1, "{name}");
        all[0]
    }

    // The start and the end of a span, in seconds after the case's beginning.
    fn times(&self, name: &str) -> (u64, u64) {
        let span = self.span(name);
        let after = |nanos: u64| nanos / 1_000_000_000 - BEGIN;
        (after(span.start), after(span.end))
    }

    // The traces of the log records, by event.
    fn traces_of_logs(&self) -> BTreeMap<String, String> {
        let requests = self.received.logs.iter().flat_map(|request| &request.resource_logs);
        let records = requests.flat_map(|it| &it.scope_logs).flat_map(|it| &it.log_records);
        records
            .map(|record| (record.event_name.clone(), livekit_otel_model::hex(&record.trace_id)))
            .collect()
    }
}

#[tokio::test]
async fn tracks_and_participants_without_a_room_are_in_the_room_of_their_sids() {
    let case = played("track-without-room").await;
    let (room, participant) = (case.span(name::ROOM), case.span(name::PARTICIPANT));
    assert_eq!(case.times(name::TRACK), (3, 8));
    assert_eq!(case.span(name::TRACK).parent.as_ref(), Some(&participant.span_id));
    assert_eq!(case.times(name::PARTICIPANT), (1, 9));
    assert_eq!(participant.parent.as_ref(), Some(&room.span_id));
    let reason = participant.attributes.text(key::DISCONNECT_REASON);
    assert_eq!(reason, Some("CLIENT_INITIATED"));
    let traces = case.traces_of_logs();
    assert_eq!(traces.len(), 6, "{traces:?}");
    assert!(traces.values().all(|trace| *trace == room.trace_id), "{traces:?}");
}

#[tokio::test]
async fn an_update_in_the_second_of_a_failed_end_changes_nothing() {
    let case = played("late-update").await;
    let egress = case.span(name::EGRESS);
    assert_eq!(case.times(name::EGRESS), (1, 9));
    assert_eq!(egress.error.as_deref(), Some("egress_failed"));
    assert_eq!(egress.attributes.text(key::EGRESS_STATUS), Some("EGRESS_FAILED"));
}

#[tokio::test]
async fn an_egress_whose_end_alone_is_reported_begins_when_that_says() {
    let case = played("egress-ended-alone").await;
    let (room, egress) = (case.span(name::ROOM), case.span(name::EGRESS));
    assert_eq!(case.times(name::EGRESS), (2, 50));
    assert_eq!(egress.attributes.text(key::START_INFERRED), None);
    assert_eq!((&egress.trace_id, egress.parent.as_ref()), (&room.trace_id, Some(&room.span_id)));
    assert_eq!(case.times(name::ROOM), (0, 60));
}

#[tokio::test]
async fn nulls_are_defaults_and_an_integer_may_have_a_fraction() {
    let case = played("null-fields").await;
    assert_eq!(case.times(name::ROOM), (0, 9));
    let participant = case.span(name::PARTICIPANT);
    assert_eq!(participant.attributes.text(key::PARTICIPANT_IDENTITY), Some("p"));
    assert_eq!(case.report.ledger.unknown.fields, 0);
}

#[tokio::test]
async fn unknown_fields_are_accepted_and_counted() {
    let case = played("unknown-fields").await;
    assert_eq!(case.times(name::ROOM), (0, 1));
    assert_eq!(case.report.ledger.unknown.fields, 2);
}
