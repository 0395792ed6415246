//! pii.yaml: names and identities are hashed as livekit-otel hashes them, what else is personal is dropped.

use livekit_otel_model::privacy::{HashKey, Privacy};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Value;

use super::super::super::build;
use super::super::file;
use super::super::items::{assert_same, items};
use super::call::Uploads;
use super::made::Made;
use super::through;
use super::{
    KEY, append, assert_no_names, call, calls_of_all, personal, through_with, without_text,
};

/// What `privacy.pii: hash` makes of it.
pub(super) fn hash(text: &str) -> String {
    let privacy = Privacy::Hash(HashKey::new(KEY).unwrap());
    let value = Value::Text(text.into());
    match privacy.value(key::PARTICIPANT_IDENTITY, &value).unwrap().into_owned() {
        Value::Text(hash) => hash.to_string(),
        other => panic!("{other:?}"),
    }
}

// Names and identities: the registry's, those that alias-keys.yaml renames, and others of agents.
const HASHED: [&str; 12] = [
    key::ROOM_NAME,
    key::PARTICIPANT_IDENTITY,
    "lk.pii.remote_participant_identity",
    "lk.room.name",
    "lk.room_name",
    "lk.participant.identity",
    "lk.participant_identity",
    "lk.participant.remote_identity",
    "lk.rpc.caller_identity",
    "lk.rpc.destination_identity",
    "room",
    "participant",
];

const DROPPED: [&str; 11] = [
    key::ERROR,
    "lk.pii.user_transcript",
    "lk.pii.sip.phoneNumber",
    "pii",
    "pii.name",
    "customer.pii",
    "customer.pii.name",
    "lk.sip.trunkPhoneNumber",
    "error.message",
    "exception.message",
    "exception.stacktrace",
];

// A segment is a whole one, and a hash that others made is not shortened.
const KEPT: [(&str, &str); 6] = [
    (key::ROOM_ID, "RM_1"),
    (key::PARTICIPANT_ID, "PA_1"),
    (key::ERROR_TYPE, "timeout"),
    ("exception.type", "TimeoutError"),
    ("piiz.apiit", "kept"),
    ("digest", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_hashed_and_what_is_marked_is_dropped_wherever_it_stands() {
    let Some(built) = build() else { return };
    let (hashed, kept) = (HASHED.map(|key| (key, "Ada Lovelace")), KEPT);
    let dropped = DROPPED.map(|key| (key, "secret"));
    let given = [&hashed[..], &dropped, &kept].concat();
    let sent = Made { around: &given, own: &given, exemplar: &given, status: "secret" };
    let hash = hash("Ada Lovelace");
    let wanted = [&HASHED.map(|key| (key, hash.as_str()))[..], &kept].concat();
    let expected = Made { around: &wanted, own: &wanted, exemplar: &kept, status: "timeout" };
    let actual = through(built, &[file("pii.yaml")], &sent.received()).await;
    assert_same(&actual, &items(&expected.received()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_an_error_type_becomes_empty() {
    let Some(built) = build() else { return };
    let sent = Made { status: "secret", ..Made::default() }.received();
    let actual = through(built, &[file("pii.yaml")], &sent).await;
    assert_same(&actual, &items(&Made::default().received()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_real_calls_passes_and_all_else_does() {
    let Some(built) = build() else { return };
    let mut received = calls_of_all().await;
    append(&mut received, call::of_the_server().await);
    let sent = items(&received);
    let uploads = Uploads::of_the_call();
    let actual = through_with(built, &[file("pii.yaml")], &received, &uploads).await;
    let personal = personal(&sent);
    assert!(personal.len() > 50, "{personal:?}");
    assert_no_names(&actual, &personal);
    // Of the same caller the server, the agent and the client have the same.
    let caller = hash("alice@example.org");
    let of: Vec<_> = actual
        .iter()
        .filter(|item| item.text(key::PARTICIPANT_IDENTITY) == Some(&caller))
        .collect();
    for name in ["participant", "user_turn", "lk.connect"] {
        assert!(of.iter().any(|item| item.span().is_some_and(|span| span.name == name)), "{name}");
    }
    // Ours are but for the names as they were sent.
    let mut expected = sent;
    for item in &mut expected {
        for key in [key::PARTICIPANT_IDENTITY, key::ROOM_NAME] {
            if let Some(text) = item.text(key).map(str::to_owned) {
                item.set(key, &hash(&text));
            }
        }
        item.attributes_mut().retain(|attribute| attribute.key != key::ERROR);
        without_text(item);
    }
    let ours: Vec<_> = actual.into_iter().filter(call::is_ours).collect();
    assert_same(&ours, &expected);
}
