//! alias-keys.yaml: the keys of others become the registry's.

use livekit_otel_tools::demo::Received;

use super::super::super::build;
use super::super::items::{assert_same, items};
use super::super::{file, recorded};
use super::made::{Attributes, Made};
use super::{append, through};

// What comes, and what leaves.
const RENAMED: &[(Attributes<'_>, Attributes<'_>)] = &[
    // Agents before livekit/agents#7973, and older ones.
    (
        &[
            ("room_id", "RM_1"),
            ("job_id", "AJ_1"),
            ("lk.room_sid", "RM_1"),
            ("lk.job_id", "AJ_1"),
            ("lk.track_sid", "TR_1"),
            ("lk.participant_id", "PA_1"),
            ("lk.participant_identity", "ada"),
            ("lk.participant_kind", "PARTICIPANT_KIND_STANDARD"),
            ("lk.room_name", "standup"),
            ("lk.sip.callID", "SCL_1"),
            ("lk.sip.trunkPhoneNumber", "+15550100"),
            ("lk.track_source", "SOURCE_MICROPHONE"),
            ("lk.disconnect_reason", "CLIENT_INITIATED"),
            ("lk.agent_name", "helper"),
        ],
        &[
            ("lk.room_id", "RM_1"),
            ("lk.job_id", "AJ_1"),
            ("lk.track_id", "TR_1"),
            ("lk.participant_id", "PA_1"),
            ("lk.pii.participant_identity", "ada"),
            ("lk.participant_kind", "STANDARD"),
            ("lk.pii.room_name", "standup"),
            ("lk.sip.call_id", "SCL_1"),
            ("lk.pii.sip.trunkPhoneNumber", "+15550100"),
            ("lk.track_source", "SOURCE_MICROPHONE"),
            ("lk.disconnect_reason", "CLIENT_INITIATED"),
            ("lk.agent_name", "helper"),
        ],
    ),
    // npm agents: their log records have it twice.
    (
        &[("room_id", "RM_2"), ("job_id", "AJ_2"), ("room_id", "RM_2")],
        &[("lk.room_id", "RM_2"), ("lk.job_id", "AJ_2")],
    ),
    // LiveKit's Go services.
    (
        &[
            ("lk.room.id", "RM_3"),
            ("lk.room.name", "standup"),
            ("lk.participant.id", "PA_3"),
            ("lk.participant.identity", "gopher"),
            ("lk.track.id", "TR_3"),
            ("lk.sip.call.id", "SCL_3"),
        ],
        &[
            ("lk.room_id", "RM_3"),
            ("lk.pii.room_name", "standup"),
            ("lk.participant_id", "PA_3"),
            ("lk.pii.participant_identity", "gopher"),
            ("lk.track_id", "TR_3"),
            ("lk.sip.call_id", "SCL_3"),
        ],
    ),
    // Clients before the registry.
    (
        &[
            ("lk.room.sid", "RM_4"),
            ("lk.room.name", "standup"),
            ("lk.participant.sid", "PA_4"),
            ("lk.participant.identity", "ada"),
            ("lk.participant.remote_identity", "ben"),
            ("lk.track.sid", "TR_4"),
            ("lk.track.kind", "audio"),
        ],
        &[
            ("lk.room_id", "RM_4"),
            ("lk.pii.room_name", "standup"),
            ("lk.participant_id", "PA_4"),
            ("lk.pii.participant_identity", "ada"),
            ("lk.pii.remote_participant_identity", "ben"),
            ("lk.track_id", "TR_4"),
            ("lk.track.kind", "audio"),
        ],
    ),
    // The registry's own spelling is kept, and what is known of the room before what is known of the job.
    (
        &[
            ("lk.room.sid", "RM_other"),
            ("lk.room_id", "RM_5"),
            ("room_id", "RM_other"),
            ("lk.track.source", "camera"),
            ("lk.track_source", "SOURCE_MICROPHONE"),
            ("lk.disconnect_reason", "CLIENT_INITIATED"),
            ("lk.disconnect.reason", "migration"),
        ],
        &[
            ("lk.room_id", "RM_5"),
            ("lk.track_source", "SOURCE_MICROPHONE"),
            ("lk.disconnect_reason", "CLIENT_INITIATED"),
        ],
    ),
    (&[("room_id", "RM_of_the_job"), ("lk.room_sid", "RM_6")], &[("lk.room_id", "RM_6")]),
    // Other software's.
    (&[("room_id", "204"), ("job_id", "nightly")], &[("room_id", "204"), ("job_id", "nightly")]),
    // Nothing is known of it but the job's resource.
    (&[], &[]),
];

// `renamed_from` in otel/model/shared/registry.yaml of github.com/livekit/protocol v1.54.0.
const SOURCES: [(&str, &str); 5] = [
    ("camera", "SOURCE_CAMERA"),
    ("microphone", "SOURCE_MICROPHONE"),
    ("screen_share", "SOURCE_SCREENSHARE"),
    ("screen_share_audio", "SOURCE_SCREENSHARE_AUDIO"),
    ("unknown", "SOURCE_UNKNOWN"),
];
const REASONS: [(&str, &str); 18] = [
    ("client_initiated", "CLIENT_INITIATED"),
    ("duplicate_identity", "DUPLICATE_IDENTITY"),
    ("server_shutdown", "SERVER_SHUTDOWN"),
    ("participant_removed", "PARTICIPANT_REMOVED"),
    ("room_deleted", "ROOM_DELETED"),
    ("state_mismatch", "STATE_MISMATCH"),
    ("join_failure", "JOIN_FAILURE"),
    ("migration", "MIGRATION"),
    ("signal_close", "SIGNAL_CLOSE"),
    ("room_closed", "ROOM_CLOSED"),
    ("user_unavailable", "USER_UNAVAILABLE"),
    ("user_rejected", "USER_REJECTED"),
    ("sip_trunk_failure", "SIP_TRUNK_FAILURE"),
    ("connection_timeout", "CONNECTION_TIMEOUT"),
    ("media_failure", "MEDIA_FAILURE"),
    ("agent_error", "AGENT_ERROR"),
    ("unknown", "UNKNOWN_REASON"),
    ("reconnect_failed", "RECONNECT_FAILED"),
];

// An agent's worker with threads has the ids of another job here.
const OF_A_JOB: Attributes<'_> = &[("room_id", "RM_first"), ("job_id", "AJ_first")];

fn made(own: Attributes<'_>) -> Received {
    Made { around: OF_A_JOB, own, ..Made::default() }.received()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_becomes_that_of_the_registry_wherever_it_stands() {
    let Some(built) = build() else { return };
    let (mut sent, mut expected) = (Received::default(), Received::default());
    for (given, wanted) in RENAMED {
        append(&mut sent, made(given));
        append(&mut expected, made(wanted));
    }
    let sources = SOURCES.map(|values| ("lk.track.source", "lk.track_source", values));
    let reasons = REASONS.map(|values| ("lk.disconnect.reason", "lk.disconnect_reason", values));
    for (old, new, (value, wanted)) in sources.into_iter().chain(reasons) {
        append(&mut sent, made(&[(old, value)]));
        append(&mut expected, made(&[(new, wanted)]));
    }
    let actual = through(built, &[file("alias-keys.yaml")], &sent).await;
    assert_same(&actual, &items(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_livekit_otel_sends_has_the_registrys_keys_already() {
    let Some(built) = build() else { return };
    let received = recorded::call().await;
    let actual = through(built, &[file("alias-keys.yaml")], received).await;
    assert_same(&actual, &items(received));
}
