//! redact.yaml: only known keys pass, alone and behind the others.

use std::collections::BTreeSet;

use livekit_otel_model::semconv::key;
use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::super::super::build;
use super::super::file;
use super::super::items::{assert_same, attribute, items};
use super::call::{self, CALLER, ROOM, Uploads};
use super::pii::hash;
use super::{append, assert_no_names, calls_of_all, personal, through, through_with, without_text};
use crate::shipped::redacted;

/// Adds these attributes to the first span and log record.
fn add(received: &mut Received, added: &[(&str, &str)]) {
    let put = |attributes: &mut Vec<KeyValue>| {
        attributes.retain(|there| added.iter().all(|(key, _)| there.key != *key));
        attributes.extend(added.iter().map(|(key, value)| attribute(key, value)));
    };
    put(&mut received.traces[0].resource_spans[0].scope_spans[0].spans[0].attributes);
    put(&mut received.logs[0].resource_logs[0].scope_logs[0].log_records[0].attributes);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_keys_pass_the_second_wall_and_nothing_that_looks_secret() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    let error = "GET https://ada:pass@sip.example.com/x?access_token=abc with \
                 eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl for sip:+15550100@example.com \
                 or +15550100";
    let unknown = ["api_secret", "lk.new.key", "error.message", "lk.room.sid"];
    add(&mut received, &unknown.map(|key| (key, "secret")));
    add(&mut received, &[(key::ERROR, error)]);
    let actual = through(built, &[file("redact.yaml")], &received).await;
    let masked = "GET https****sip.example.com/x**** with **** for **** or ****";
    let mut expected = items(&received);
    for item in &mut expected {
        item.attributes_mut().retain(|attribute| !unknown.contains(&&*attribute.key));
        if item.text(key::ERROR) == Some(error) {
            item.set(key::ERROR, masked);
        }
        without_text(item);
    }
    assert_same(&actual, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_agents_what_is_measured_passes_and_what_was_said_does_not() {
    let Some(built) = build() else { return };
    let (server, uploads) = (call::of_the_server().await, Uploads::of_the_call());
    let actual = through_with(built, &[file("redact.yaml")], &server, &uploads).await;
    let turn = call::span(&actual, "user_turn", Some(CALLER));
    let keys: Vec<_> = turn.attributes().iter().map(|attribute| &*attribute.key).collect();
    for key in ["room_id", "job_id", "gen_ai.request.model", "lk.end_of_turn_delay"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let text = format!("{actual:?}");
    for said in ["Alice Liddell", "sunny in Lyon", "order 4711", "input stream attached"] {
        assert!(!text.contains(said), "{said} passed");
    }
}

/// What redact.yaml's head says of all three together.
fn all_three() -> String {
    let text = std::fs::read_to_string(file("redact.yaml")).unwrap();
    let commented = text.lines().skip_while(|line| *line != "#   service:");
    let commented = commented.take_while(|line| line.starts_with("#   "));
    let yaml: Vec<_> = commented.map(|line| &line[4..]).collect();
    format!("yaml:{}", yaml.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_work_together_as_the_second_wall_says() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    append(&mut received, call::of_the_server().await);
    let uploads = Uploads::of_the_call();
    let overlays = ["alias-keys.yaml", "pii.yaml", "redact.yaml"].map(file);
    let overlays = [&overlays[..], &[all_three()]].concat();
    let actual = through_with(built, &overlays, &received, &uploads).await;
    let known: BTreeSet<_> =
        redacted("allowed_keys").union(&redacted("ignored_keys")).cloned().collect();
    for item in &actual {
        let attributes = item.attributes().iter().chain(&item.resource.attributes);
        let unknown = attributes.chain(&item.scope.attributes).find(|it| !known.contains(&it.key));
        assert!(unknown.is_none(), "{unknown:?}");
    }
    assert_no_names(&actual, &personal(&items(&received)));
    let caller = hash("alice@example.org");
    for name in ["participant", "user_turn", "lk.connect", "lk.publish", "lk.subscribe"] {
        let span = call::span(&actual, name, Some(CALLER));
        assert_eq!(span.text(key::ROOM_ID), Some(ROOM), "{name}");
        assert_eq!(span.text(key::PARTICIPANT_IDENTITY), Some(&*caller), "{name}");
    }
}
