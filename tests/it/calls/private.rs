//! Where the numbers of a call leave: in attributes that `privacy.pii` applies to, and nowhere else.

use livekit_otel_engine::Batch;
use livekit_otel_model::privacy::{HashKey, Privacy};
use livekit_otel_model::semconv::{PERSONAL, key};
use livekit_otel_model::signal::{Attribute, Value};

use super::{CAPTURES, batch, batch_with_bus, call, value};

// Of each number in the captures.
const NUMBER: &str = "1555";

// The attributes of all spans, log records and series.
fn attributes(batch: Batch) -> Vec<Attribute> {
    let metrics = batch.all_metrics();
    let series = metrics.iter().flat_map(|metric| metric.data.series());
    let mut all: Vec<_> = series.flat_map(|series| series.to_vec()).collect();
    all.extend(batch.spans.into_iter().flat_map(|span| span.attributes));
    all.extend(batch.logs.into_iter().flat_map(|log| log.attributes));
    all
}

fn has_number(attribute: &Attribute) -> bool {
    matches!(&attribute.value, Value::Text(text) if text.contains(NUMBER))
}

// Each capture, without and with what the SIP service reports.
fn batches() -> impl Iterator<Item = (&'static str, Batch)> {
    let both = |name| [(name, batch(name, false)), (name, batch_with_bus(name))];
    CAPTURES.into_iter().flat_map(both)
}

#[test]
fn numbers_leave_only_under_keys_of_personal_data() {
    for (name, batch) in batches() {
        let found: Vec<_> = attributes(batch).into_iter().filter(has_number).collect();
        for attribute in &found {
            assert!(PERSONAL.contains(&attribute.key), "{name}: {attribute:?}");
        }
        for key in [key::SIP_PHONE_NUMBER, key::SIP_TRUNK_PHONE_NUMBER] {
            assert!(found.iter().any(|attribute| attribute.key == key), "{name} has no {key}");
        }
        let is_inbound = name.starts_with("sip-in");
        let has_identity = found.iter().any(|it| it.key == key::PARTICIPANT_IDENTITY);
        assert_eq!(has_identity, is_inbound, "{name}");
    }
}

#[test]
fn numbers_that_are_hashed_or_dropped_leave_nowhere() {
    let hash = Privacy::Hash(HashKey::new("a-key-of-at-least-sixteen-bytes").unwrap());
    for (privacy, is_hashed) in [(hash, true), (Privacy::Drop, false)] {
        for (name, mut batch) in batches() {
            batch.spans.iter_mut().for_each(|span| privacy.redact_span(span));
            batch.logs.iter_mut().for_each(|log| privacy.redact_log(log));
            let sent = (&batch.spans, &batch.logs);
            assert!(!format!("{sent:?}").contains(NUMBER), "{name}");
            let number = value(call(&batch), key::SIP_PHONE_NUMBER);
            assert_eq!(number.map(|hash| hash.len()), is_hashed.then_some(32), "{name}");
        }
    }
}
