//! The table of docs/events.md, compared with LiveKit's types and with the emitted records.

use std::collections::BTreeSet;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_livekit::messages::AnalyticsEventType;
use livekit_otel_model::semconv::span;
use livekit_otel_model::signal::LogRecord;
use serde_json::json;

use crate::messages::at;

struct Row {
    analytics: Option<String>,
    webhook: Option<String>,
    spans: Vec<String>,
    log: String,
    severity: String,
}

fn rows() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("|---|---|---|---|---|---|\n").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let codes =
        |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        Row {
            analytics: codes(cells[0]).pop(),
            webhook: codes(cells[1]).pop(),
            spans: codes(cells[2]),
            log: codes(cells[3]).pop().unwrap(),
            severity: cells[4].split(';').next().unwrap().to_owned(),
        }
    };
    table.lines().map(row).collect()
}

// The record of a bare event of that type.
fn record(read: &livekit::Read) -> LogRecord {
    let mut out = Batch::default();
    let begin = at(0);
    let settings = session::Settings::default();
    let mut engine = Engine::new(settings, stats::Settings::default(), begin);
    engine.apply(&read.decoded, begin, false, &mut out);
    out.logs.pop().unwrap()
}

fn of_analytics(name: &str) -> LogRecord {
    let body = json!({"events": [{"id": "AE_1", "type": name, "roomId": "RM_1"}]});
    record(&livekit::events(&livekit::encode_capture("events", &body).unwrap()).unwrap())
}

fn of_webhook(name: &str) -> LogRecord {
    let body = json!({"event": name, "id": "EV_1", "room": {"sid": "RM_1"}});
    record(&livekit::webhook(body.to_string().as_bytes()).unwrap())
}

#[test]
fn every_type_that_livekit_knows_has_a_row_and_no_other() {
    let types = (0..1000).filter_map(|number| AnalyticsEventType::try_from(number).ok());
    let types: BTreeSet<_> = types.map(|each| each.as_str_name().to_owned()).collect();
    assert_eq!(types.len(), 45);
    let listed: BTreeSet<_> = rows().into_iter().filter_map(|row| row.analytics).collect();
    assert_eq!(listed, types);
    assert_eq!(rows().iter().filter(|row| row.webhook.is_some()).count(), 15);
}

#[test]
fn each_row_says_which_record_and_of_which_severity() {
    for row in rows() {
        let analytics = row.analytics.as_deref().map(of_analytics);
        let webhook = row.webhook.as_deref().map(of_webhook);
        for record in analytics.into_iter().chain(webhook) {
            assert_eq!(*record.event_name, *row.log);
            assert_eq!(
                format!("{:?}", record.severity).to_lowercase(),
                row.severity,
                "{}",
                row.log
            );
        }
    }
}

#[test]
fn each_kind_of_span_is_in_a_row() {
    let rows = rows();
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| &row.spans).map(String::as_str).collect();
    let all = [
        span::ROOM,
        span::PARTICIPANT,
        span::PARTICIPANT_CONNECT,
        span::TRACK_PUBLISH,
        span::TRACK,
        span::TRACK_SUBSCRIBE,
        span::SUBSCRIPTION,
        span::EGRESS,
        span::INGRESS,
        span::SIP_CALL,
        span::SIP_TRANSFER,
        span::AGENT_JOB,
        span::API_CALL,
        span::WEBHOOK_DELIVERY,
    ];
    assert_eq!(listed, BTreeSet::from(all));
}
