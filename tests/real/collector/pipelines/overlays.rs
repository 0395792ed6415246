//! The files that are laid over another: what they make of what passes.

use std::collections::BTreeSet;

use livekit_otel_model::privacy::{HashKey, Privacy};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Value;
use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::super::{Built, build};
use super::items::{self, Item, What, assert_same, attribute, items};
use super::otelcol::{Running, listening};
use super::recorded::{self, send};
use super::{Backends, file};

const KEY: &str = "a-made-up-key-of-at-least-thirty-two-bytes";

async fn through(built: &Built, overlays: &[String], received: &Received) -> Vec<Item> {
    let backends = Backends::start(built).await;
    let (endpoint, own) = listening();
    let configs = [&[file("grafana.yaml")], overlays, &[own]].concat();
    let mut variables = backends.variables.to_vec();
    variables.push(("LIVEKIT_OTEL_PRIVACY_HASH_KEY", KEY.to_owned()));
    let otelcol = Running::start(built, &configs, &variables);
    send(&endpoint, received).await;
    assert_eq!(otelcol.stop(), [""; 0]);
    backends.stop_at(items::count(received)).await
}

/// A call, and simulated ones with failures.
async fn calls_of_all() -> Received {
    let mut received = recorded::call().await.clone();
    let calls = recorded::calls().await.clone();
    received.traces.extend(calls.traces);
    received.logs.extend(calls.logs);
    received.metrics.extend(calls.metrics);
    received
}

/// Adds these attributes to the first span and log record.
fn add(received: &mut Received, added: &[(&str, &str)]) {
    let put = |attributes: &mut Vec<KeyValue>| {
        attributes.retain(|there| added.iter().all(|(key, _)| there.key != *key));
        attributes.extend(added.iter().map(|(key, value)| attribute(key, value)));
    };
    put(&mut received.traces[0].resource_spans[0].scope_spans[0].spans[0].attributes);
    put(&mut received.logs[0].resource_logs[0].scope_logs[0].log_records[0].attributes);
}

/// A resource of another's, with one span of these attributes.
fn other(received: &mut Received, resource: &[(&str, &str)], span: &[(&str, &str)]) {
    let attributes =
        |of: &[(&str, &str)]| of.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut request = received.traces[0].clone();
    request.resource_spans.truncate(1);
    let spans = &mut request.resource_spans[0];
    spans.resource.as_mut().unwrap().attributes = attributes(resource);
    spans.scope_spans.truncate(1);
    spans.scope_spans[0].spans.truncate(1);
    spans.scope_spans[0].spans[0].attributes = attributes(span);
    received.traces.push(request);
}

// Ours, that of Go services, that of agents.
const IDS: [(&str, &[&str]); 5] = [
    (key::ROOM_ID, &["lk.room.id", "lk.room_sid"]),
    (key::PARTICIPANT_ID, &["lk.participant.id", "lk.participant_id"]),
    (key::TRACK_ID, &["lk.track.id", "lk.track_sid"]),
    (key::SIP_CALL_ID, &["lk.sip.call.id", "lk.sip.callID"]),
    (key::JOB_ID, &["lk.job_id"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_of_a_call_get_all_their_spellings() {
    let Some(built) = build() else { return };
    let mut received = recorded::call().await.clone();
    let go = [
        ("lk.room.id", "RM_go"),
        ("lk.participant.id", "PA_go"),
        ("lk.participant.identity", "gopher"),
        ("lk.track.id", "TR_go"),
        ("lk.sip.call.id", "SCL_go"),
    ];
    let agent = [
        ("lk.room_name", "standup"),
        ("lk.participant_id", "PA_agent"),
        ("lk.participant_identity", "ada"),
        ("lk.agent_name", "helper"),
    ];
    let newer =
        [("lk.room_sid", "RM_new"), ("lk.pii.room_name", "standup"), ("lk.job_id", "AJ_new")];
    other(&mut received, &[("service.name", "sip")], &go);
    other(&mut received, &[("room_id", "RM_agent"), ("job_id", "AJ_agent")], &agent);
    other(&mut received, &[("room_id", "elsewhere"), ("job_id", "12")], &newer);
    let mut expected = items(&received);
    for item in &mut expected {
        if matches!(item.what, What::Point(_)) {
            continue;
        }
        // What the three of others have by other names.
        let by_name = [
            ("lk.room_name", key::ROOM_NAME),
            ("lk.pii.room_name", key::ROOM_NAME),
            ("lk.participant_identity", key::PARTICIPANT_IDENTITY),
            ("lk.agent_name", key::AGENT_NAME),
        ];
        for (theirs, ours) in by_name {
            if let Some(value) = item.text(theirs).map(str::to_owned) {
                item.set(ours, &value);
            }
        }
        if item.text("lk.agent_name").is_some() {
            item.set("lk.room.sid", "RM_agent");
            item.set("lk.agent.job_id", "AJ_agent");
        }
        for (ours, theirs) in IDS {
            let all = || [&[ours], theirs].concat();
            let value = all().iter().find_map(|key| item.text(key)).map(str::to_owned);
            for key in all() {
                if let Some(value) = &value {
                    item.set(key, value);
                }
            }
        }
    }
    let actual = through(built, &[file("alias-keys.yaml")], &received).await;
    assert_same(&actual, &expected);
    let rooms = |id: &str| {
        let spans = actual.iter().filter(|item| item.span().is_some());
        spans.filter(|item| item.text("lk.room_sid") == Some(id)).count()
    };
    assert_eq!(["RM_go", "RM_agent", "RM_new"].map(rooms), [1; 3]);
    assert!(rooms("RM_XHuZ4ggjTArt") > 20);
}

/// All names and identities, and texts of errors.
fn personal(items: &[Item]) -> BTreeSet<String> {
    let keys = [key::PARTICIPANT_IDENTITY, key::ROOM_NAME, key::ERROR];
    let texts = items.iter().flat_map(|item| keys.map(|key| item.text(key)));
    texts.flatten().map(str::to_owned).collect()
}

/// Each text that is in what came, wherever it stands.
fn texts(items: &[Item]) -> BTreeSet<String> {
    let received = items::counted(items);
    received.keys().flat_map(|item| item.split('"').map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_identity_name_or_text_of_an_error_passes_the_wall() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    add(
        &mut received,
        &[("error.message", "can't call +1 555 0100"), ("lk.pii.user_input", "my name")],
    );
    let agent = [("lk.participant_identity", "ada lovelace"), ("lk.room_name", "secret meeting")];
    other(&mut received, &[("service.name", "agent")], &agent);
    let sent = items(&received);
    let actual = through(built, &[file("pii.yaml")], &received).await;
    let personal = personal(&sent);
    let passed = texts(&actual);
    assert!(personal.len() > 50, "{personal:?}");
    for word in
        personal.iter().map(|word| &**word).chain(["ada lovelace", "secret meeting", "my name"])
    {
        assert!(!passed.contains(word), "{word} passed");
    }
    // The same is the same, and what privacy.pii makes of it.
    let privacy = Privacy::Hash(HashKey::new(KEY).unwrap());
    let hash = |text: &str| {
        let value = Value::Text(text.into());
        match privacy.value(key::PARTICIPANT_IDENTITY, &value).unwrap().into_owned() {
            Value::Text(hash) => hash.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let mut expected = sent;
    let hashed =
        [key::PARTICIPANT_IDENTITY, key::ROOM_NAME, "lk.participant_identity", "lk.room_name"];
    for item in &mut expected {
        for key in hashed {
            if let Some(text) = item.text(key).map(str::to_owned) {
                item.set(key, &hash(&text));
            }
        }
        let dropped = [key::ERROR, "lk.pii.user_input"];
        item.attributes_mut().retain(|attribute| !dropped.contains(&&*attribute.key));
        without_text(item);
    }
    assert_same(&actual, &expected);
}

// A span's status says its error.type.
fn without_text(item: &mut Item) {
    let error = item.text(key::ERROR_TYPE).unwrap_or_default().to_owned();
    if let What::Span(span) = &mut item.what
        && let Some(status) = &mut span.status
    {
        status.message = error;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_keys_pass_the_second_wall_and_nothing_that_looks_secret() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    let error = "GET https://ada:pass@sip.example.com/x?access_token=abc with \
                 eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl for sip:+15550100@example.com \
                 or +15550100";
    add(
        &mut received,
        &[("error.message", error), ("api_secret", "secret"), ("lk.new.key", "new")],
    );
    let actual = through(built, &[file("redact.yaml")], &received).await;
    let masked = "GET https****sip.example.com/x**** with **** for **** or ****";
    let mut expected = items(&received);
    for item in &mut expected {
        let unknown = ["api_secret", "lk.new.key"];
        item.attributes_mut().retain(|attribute| !unknown.contains(&&*attribute.key));
        if item.text("error.message") == Some(error) {
            item.set("error.message", masked);
        }
        without_text(item);
    }
    assert_same(&actual, &expected);
}

/// The keys of a list in redact.yaml.
fn keys(list: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file("redact.yaml")).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let keys = &yaml["processors"]["redaction/livekit_keys"][list];
    keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_second_wall_knows_each_key_of_the_registry_and_no_other() {
    let path = format!("{}/semconv/attributes.yaml", env!("CARGO_MANIFEST_DIR"));
    let registry: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let groups = registry["groups"].as_array().unwrap().iter();
    let attributes = groups.flat_map(|group| group["attributes"].as_array().unwrap());
    let registered = attributes.filter_map(|it| it["id"].as_str().or_else(|| it["ref"].as_str()));
    let mut registered: BTreeSet<_> = registered.map(str::to_owned).collect();
    // Made of an operator's own setting, so its value is let be.
    assert!(registered.remove(key::TRACE_URL));
    assert_eq!(keys("allowed_keys"), registered);
    let ignored = keys("ignored_keys");
    assert!(ignored.contains(key::TRACE_URL));
    let is_of_a_resource =
        |key: &String| key.starts_with("telemetry.sdk.") || key.starts_with("deployment.");
    assert!(
        ignored.iter().all(|key| key == key::TRACE_URL || is_of_a_resource(key)),
        "{ignored:?}"
    );
}

/// What redact.yaml's head says of all three together.
fn all_three() -> String {
    let text = std::fs::read_to_string(file("redact.yaml")).unwrap();
    let said = text.lines().skip_while(|line| *line != "#   service:");
    let said = said.take_while(|line| line.starts_with("#   "));
    let yaml: Vec<_> = said.map(|line| &line[4..]).collect();
    format!("yaml:{}", yaml.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_work_together_as_the_second_wall_says() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    other(
        &mut received,
        &[("room_id", "RM_agent")],
        &[("lk.pii.participant_identity", "ada lovelace")],
    );
    let overlays = ["alias-keys.yaml", "pii.yaml", "redact.yaml"].map(file);
    let actual = through(built, &[&overlays[..], &[all_three()]].concat(), &received).await;
    let known: BTreeSet<_> = keys("allowed_keys").union(&keys("ignored_keys")).cloned().collect();
    for item in &actual {
        let unknown = item.attributes().iter().find(|attribute| !known.contains(&attribute.key));
        assert!(unknown.is_none(), "{unknown:?}");
    }
    let passed = texts(&actual);
    for word in personal(&items(&received)).iter().map(|word| &**word).chain(["ada lovelace"]) {
        assert!(!passed.contains(word), "{word} passed");
    }
    let agents: Vec<_> =
        actual.iter().filter(|item| item.text(key::ROOM_ID) == Some("RM_agent")).collect();
    let [agent] = agents[..] else { panic!("{agents:#?}") };
    assert_eq!(agent.text(key::PARTICIPANT_IDENTITY).map(str::len), Some(32));
    assert_eq!(actual.len(), items::count(&received));
}
