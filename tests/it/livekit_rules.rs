//! What the comparison with LiveKit's registry finds, in made-up registries. tests/real compares `semconv/`
//! with the real one.

use serde_json::Value as Json;

use crate::live_check::livekit::{LiveKit, check, is_marked, looks_personal};
use crate::live_check::registry::Registry;

const POLICY: &str = r#"
package livekit.lib

pii_segment := `(^|\.)pii(\.|$)`

pii_looking := `(identity|email|phone|ip_address|user_agent|(room|participant)[._]name)`

canonical_identity := {
	"lk.room.sid": "lk.room_id",
	"lk.job.id": "lk.job_id",
}

high_cardinality := {"lk.room_id", "lk.track_id"}

sensitivities := {"none", "pii", "secret"}

duration_like := `(^|[._])(duration|latency|delay|rtt|jitter)(_ms)?([._](min|max|avg|mean|median|sum|total|last|p[0-9]+))?$`

pii_by_name := {"chat.item"}

severity_texts := {"INFO", "WARN"}
"#;

const MODEL: &str = "
groups:
  - id: registry.lk.shared
    attributes:
      - id: lk.room_id
        type: string
        annotations: {livekit: {owner: shared, sensitivity: none, renamed_from: {key: lk.room.id}}}
      - id: lk.agent_name
        type: string
        annotations:
          livekit:
            owner: shared
            sensitivity: none
            bindings: {participant_attribute: [lk.agent.name], report: agent_name}
      - id: lk.track_source
        type: {members: [{value: SOURCE_CAMERA}, {value: SOURCE_MICROPHONE}]}
        annotations: {livekit: {owner: shared, sensitivity: none}}
      - id: lk.pii.room_name
        type: string
        annotations: {livekit: {owner: shared, sensitivity: pii}}
      - id: lk.job.accept_latency
        type: double
        annotations: {livekit: {owner: agents, sensitivity: none, unit: s}}
      - id: lk.room.e2ee
        type: boolean
        annotations: {livekit: {owner: agents, sensitivity: none}}
      - id: lk.track.kind
        type: string
        annotations: {livekit: {owner: client, sensitivity: none}}
      - id: lk.connect.attempt
        type: int
        annotations: {livekit: {owner: client, sensitivity: none}}
  - id: span.lk.connect
    type: span
  - id: event.lk.ping
    type: event
    name: lk.ping
  - id: metric.lk.agents.delay
    type: metric
    metric_name: lk.agents.delay
    instrument: histogram
    unit: s
    attributes:
      - ref: lk.agent_name
";

/// Without a finding: keys of LiveKit's, keys of ours, and series by participant.
const OURS: &str = "
groups:
  - id: registry.lk
    type: attribute_group
    attributes:
      - id: lk.room_id
        type: string
        annotations: {livekit: {owner: shared, sensitivity: none}}
      - id: lk.track_source
        type: {members: [{value: SOURCE_CAMERA}]}
        annotations: {livekit: {owner: shared, sensitivity: none}}
      - id: lk.pii.room_name
        type: string
        annotations: {livekit: {owner: shared, sensitivity: pii}}
      - id: lk.job.accept_latency
        type: double
        annotations: {livekit: {owner: agents, sensitivity: none, unit: s}}
      - id: lk.track.muted_duration
        type: double
        annotations: {livekit: {owner: server, sensitivity: none, unit: s}}
      - id: lk.room.end_reason
        type: string
        annotations: {livekit: {owner: server, sensitivity: none}}
      - id: lk.connect.result
        type: string
        annotations: {livekit: {owner: server, sensitivity: none}}
      - id: lk.client.os
        type: string
        annotations: {livekit: {owner: server, sensitivity: none}}
      - id: lk.sip.call_id
        type: string
        annotations: {livekit: {owner: server, sensitivity: none}}
  - id: registry.livekit_otel.opentelemetry
    type: attribute_group
    attributes:
      - ref: error.type
        annotations: {livekit: {sensitivity: none}}
  - id: span.livekit_otel.room
    type: span
    annotations: {livekit: {span_name: room}}
    attributes:
      - ref: lk.room_id
  - id: event.lk.room.ended
    type: event
    name: lk.room.ended
    annotations: {livekit: {severity: [INFO]}}
  - id: metric.lk.stream.io
    type: metric
    metric_name: lk.stream.io
    unit: By
    annotations: {livekit: {cardinality_exception: true}}
    attributes:
      - ref: lk.room_id
      - ref: lk.pii.room_name
  - id: metric.livekit_otel.agents.delay
    type: metric
    metric_name: lk.agents.delay
    instrument: histogram
    unit: s
    annotations: {livekit: {cardinality_exception: true}}
    attributes:
      - ref: lk.agent_name
      - ref: lk.room_id
  - id: metric.lk.track.count
    type: metric
    metric_name: lk.track.count
    unit: '{track}'
    attributes:
      - ref: lk.track_source
";

fn yaml(text: &str) -> Json {
    serde_saphyr::from_str(text).unwrap()
}

pub(crate) fn livekit() -> LiveKit {
    LiveKit::new(&[yaml(MODEL)], POLICY).unwrap()
}

fn found(ours: &str) -> Vec<String> {
    check(&Registry::of(&[yaml(ours)]), &livekit())
}

/// The findings after one text of ours is replaced.
fn after(what: &str, instead: &str) -> Vec<String> {
    assert!(OURS.contains(what), "no {what}");
    found(&OURS.replacen(what, instead, 1))
}

#[test]
fn keys_that_agree_pass() {
    assert_eq!(found(OURS), [""; 0]);
}

#[test]
fn refused_keys_are_found() {
    for (key, expected) in [
        ("lk.room.sid", "livekit_flat_identity: lk.room.sid is refused, use lk.room_id"),
        ("lk.room.id", "livekit_shared_rename: lk.room.id is refused, use lk.room_id"),
        ("lk.agent.name", "binding: lk.agent.name is refused, use lk.agent_name"),
    ] {
        let found = after("lk.room.end_reason", key);
        assert!(found.iter().any(|it| it == expected), "{found:#?}");
        assert!(livekit().refuses(key).is_some());
    }
    assert_eq!(livekit().refuses("lk.room_id"), None);
    // It is the name in a report, where it is no attribute of OTLP.
    assert_eq!(livekit().refuses("agent_name"), None);
}

#[test]
fn shared_keys_with_another_meaning_are_found() {
    for (what, instead, expected) in [
        (
            "value: SOURCE_CAMERA",
            "value: camera",
            r#"value: lk.track_source has no value "camera""#,
        ),
        (
            "lk.room_id\n        type: string",
            "lk.room_id\n        type: int",
            r#"type: lk.room_id is "int", not "string""#,
        ),
        (
            "type: {members: [{value: SOURCE_CAMERA}]}",
            "type: string",
            r#"type: lk.track_source is "string", not {"members":[{"value":"SOURCE_CAMERA"},{"value":"SOURCE_MICROPHONE"}]}"#,
        ),
        (
            "owner: shared, sensitivity: none",
            "owner: server, sensitivity: none",
            r#"livekit_owner: lk.room_id has the owner "server", not "shared""#,
        ),
        (
            "owner: agents, sensitivity: none, unit: s",
            "owner: agents, sensitivity: none, unit: min",
            r#"livekit_unit: lk.job.accept_latency has the unit "min", not "s""#,
        ),
        (
            "owner: shared, sensitivity: none",
            "owner: shared, sensitivity: pii",
            r#"class: lk.room_id has the sensitivity "pii", not "none""#,
        ),
    ] {
        let found = after(what, instead);
        assert!(found.iter().any(|it| it == expected), "{found:#?}");
    }
}

#[test]
fn wrong_classes_are_found() {
    let plain = "lk.connect.result\n        type: string\n        annotations: {livekit: {owner: server, sensitivity: none}}";
    for (key, class, expected) in [
        (
            "lk.connect.result",
            "pii",
            "livekit_pii_marker: lk.connect.result has the sensitivity pii",
        ),
        (
            "lk.connect.pii.x",
            "none",
            "livekit_pii_marker: lk.connect.pii.x has the sensitivity none",
        ),
        ("lk.connect.key", "secret", "livekit_secret: lk.connect.key is never sent"),
        (
            "lk.connect.x",
            "public",
            r#"livekit_sensitivity: lk.connect.x has the sensitivity "public""#,
        ),
        ("lk.connect.email", "none", "livekit_pii_heuristic: lk.connect.email looks personal"),
    ] {
        let instead = plain.replace("lk.connect.result", key).replace("none", class);
        assert_eq!(after(plain, &instead), [expected]);
    }
    let found = after("{livekit: {sensitivity: none}}", "{livekit: {sensitivity: pii}}");
    assert_eq!(found, ["livekit_pii_marker: error.type has the sensitivity pii"]);
    let found = after("{livekit: {sensitivity: none}}", "{}");
    assert_eq!(found, [r#"livekit_sensitivity: error.type has the sensitivity """#]);
}

#[test]
fn durations_without_seconds_are_found() {
    let good = "lk.track.muted_duration\n        type: double\n        annotations: {livekit: {owner: server, sensitivity: none, unit: s}}";
    for (key, unit, expected) in [
        (
            "lk.track.muted_duration",
            "ms",
            r#"livekit_unit: lk.track.muted_duration has the unit "ms", not s"#,
        ),
        ("lk.track.rtt.p99", "ms", r#"livekit_unit: lk.track.rtt.p99 has the unit "ms", not s"#),
        (
            "lk.track.jitter_max",
            "''",
            r#"livekit_unit: lk.track.jitter_max has the unit "", not s"#,
        ),
        ("lk.track.wait_ms", "s", "livekit_seconds: lk.track.wait_ms is not in seconds"),
    ] {
        let instead = good
            .replace("lk.track.muted_duration", key)
            .replace("unit: s", &format!("unit: {unit}"));
        assert_eq!(after(good, &instead), [expected]);
    }
    for not_a_duration in ["lk.track.jitter_buffer", "lk.track.max", "lk.track.p99"] {
        let instead =
            good.replace("lk.track.muted_duration", not_a_duration).replace("unit: s", "unit: '1'");
        assert_eq!(after(good, &instead), [""; 0]);
    }
}

#[test]
fn owners_and_namespaces_of_others_are_found() {
    let owner =
        |key, owner| format!(r#"livekit_owner: {key} has the owner "{owner}", not "server""#);
    let sip = "lk.sip.call_id\n        type: string\n        annotations: {livekit: {owner: ";
    let found = after(&format!("{sip}server"), &format!("{sip}telephony"));
    assert_eq!(found, [owner("lk.sip.call_id", "telephony")]);
    let found = after("lk.connect.result", "lk.job.result");
    assert_eq!(
        found,
        [
            "namespace: lk.job.result is in lk.job, which belongs to agents",
            "namespace: lk.connect is not shared with client",
        ]
    );
    let found = after("span_name: room", "span_name: lk.connect");
    assert_eq!(found, ["name: span lk.connect is LiveKit's"]);
    let found = after("id: registry.lk\n", "id: registry.lk.shared\n");
    assert_eq!(found, ["name: group registry.lk.shared is LiveKit's"]);
    let found = after("name: lk.room.ended", "name: lk.ping");
    assert_eq!(found, ["name: event lk.ping is LiveKit's"]);
}

#[test]
fn ids_and_personal_data_on_other_metrics_are_found() {
    let annotated = "annotations: {livekit: {cardinality_exception: true}}";
    assert_eq!(after(annotated, ""), ["livekit_cardinality: lk.stream.io has ids"]);
    assert_eq!(after("unit: By", "unit: ms"), ["livekit_metric_unit: lk.stream.io is in ms"]);
    let counted = "unit: '{track}'";
    let excepted = format!("{counted}\n    {annotated}");
    assert_eq!(after(counted, &excepted), ["livekit_cardinality: lk.track.count is no exception"]);
    assert_eq!(
        after("metric_name: lk.stream.io", "metric_name: lk.node.io"),
        [
            "livekit_cardinality: lk.node.io is no exception",
            "livekit_pii_metric: lk.node.io has lk.pii.room_name",
        ]
    );
    let inherited = format!("{counted}\n    extends: span.livekit_otel.room");
    assert_eq!(after(counted, &inherited), ["livekit_cardinality: lk.track.count has ids"]);
}

#[test]
fn a_metric_of_livekits_with_another_description_is_found() {
    let found = after("unit: s\n    annotations", "unit: ms\n    annotations");
    assert_eq!(
        found,
        [
            r#"metric: "lk.agents.delay" has the unit "ms", not "s""#,
            "livekit_metric_unit: lk.agents.delay is in ms",
        ]
    );
    let found = after("instrument: histogram", "instrument: counter");
    assert_eq!(
        found,
        [r#"metric: "lk.agents.delay" has the instrument "counter", not "histogram""#]
    );
    let found = after("- ref: lk.agent_name", "- ref: lk.track_source");
    assert_eq!(
        found,
        [r#"metric: "lk.agents.delay" has {"lk.track_source"}, not {"lk.agent_name"}"#]
    );
    let found = after("id: metric.livekit_otel.agents", "id: metric.lk.agents");
    assert_eq!(found, ["name: group metric.lk.agents.delay is LiveKit's"]);
}

#[test]
fn overridden_annotations_and_unknown_severities_are_found() {
    let again = "- ref: lk.room_id\n        annotations: {}";
    assert_eq!(
        after("- ref: lk.room_id", again),
        ["livekit_ref_override: lk.room_id in span.livekit_otel.room"]
    );
    for severity in ["INFO", "[NOTICE]", "null"] {
        let found = after("[INFO]", severity);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("livekit_event_severity: event.lk.room.ended"), "{found:#?}");
    }
    assert_eq!(after("[INFO]", "[]"), [""; 0]);
}

#[test]
fn another_policy_is_refused() {
    let error = |policy: &str| LiveKit::new(&[], policy).unwrap_err();
    assert_eq!(
        error(&POLICY.replace("email|", "")),
        "the policy's pii_looking is now (identity|phone|ip_address|user_agent|(room|participant)[._]name)"
    );
    assert_eq!(
        error(&POLICY.replace("\nseverity_texts", "\nseverities")),
        "the policy has no severity_texts"
    );
    assert_eq!(
        error(&POLICY.replace("canonical_identity := {", "canonical_identity := [")),
        "the policy's canonical_identity is no table"
    );
}

#[test]
fn personal_keys_are_recognised_by_their_words() {
    assert!(["lk.pii.room_name", "pii", "a.pii"].into_iter().all(is_marked));
    assert!(!["lk.piix.a", "lk.mypii", "lk.room_id"].into_iter().any(is_marked));
    assert!(["lk.room.name", "lk.participant_name", "lk.identity"].into_iter().all(looks_personal));
    assert!(!["lk.agent_name", "lk.room_id", "service.name"].into_iter().any(looks_personal));
}
