//! What the live check of tests/stack finds, in lines as a collector's file exporter writes them.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::live_check::check as check_with;
use crate::live_check::livekit::LiveKit;
use crate::livekit_rules::livekit;

/// One span, one log record and two points, as they should be.
fn emitted() -> [Json; 3] {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let resource = json!({"attributes": [text("service.name", "livekit-otel")]});
    let room = text("lk.room_id", "RM_1");
    let span = json!({"name": "track", "kind": 1, "attributes": [
        room, text("lk.participant_id", "PA_1"), text("lk.track_id", "TR_1"),
        text("lk.track.kind", "audio"), {"key": "lk.track.mutes", "value": {"intValue": "2"}},
        {"key": "lk.track.muted_duration", "value": {"doubleValue": 1.5}},
    ]});
    let record =
        json!({"eventName": "lk.room.created", "attributes": [room, text("lk.source", "webhook")]});
    let upstream = text("lk.direction", "upstream");
    let packets = json!({"name": "lk.node.packets", "unit": "{packet}", "sum": {
        "isMonotonic": true, "dataPoints": [{"asInt": "1", "attributes": [upstream]}],
    }});
    let loss = json!({"name": "lk.node.loss", "unit": "1", "histogram": {"dataPoints": [
        {"count": "1", "attributes": [upstream], "exemplars": [{"asDouble": 0.5}]},
    ]}});
    [
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}),
        json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}),
        json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [packets, loss]}]}]}),
    ]
}

fn check(files: &[PathBuf]) -> Result<String, Vec<String>> {
    check_with(files, &livekit())
}

fn checked(text: &str) -> Result<String, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = vec![folder.path().join("emitted.json")];
    std::fs::write(&files[0], text).unwrap();
    check(&files)
}

fn lines(requests: &[Json]) -> String {
    let lines: Vec<_> = requests.iter().map(Json::to_string).collect();
    lines.join("\n") + "\n"
}

/// The findings after one text is replaced.
fn found(what: &str, instead: &str) -> Vec<String> {
    let good = lines(&emitted());
    assert!(good.contains(what), "{what} is not in {good}");
    checked(&good.replacen(what, instead, 1)).unwrap_err()
}

#[test]
fn known_names_are_counted() {
    let printed = checked(&lines(&emitted())).unwrap();
    assert_eq!(printed, "1 spans, 1 log records and 2 points have 13 names, all of semconv/");
}

#[test]
fn foreign_names_are_found() {
    for (what, instead, expected) in [
        (r#""name":"track""#, r#""name":"tarck""#, "span tarck is not in semconv/"),
        (r#""name":"track""#, r#""nmae":"track""#, "span without a name is not in semconv/"),
        ("lk.room.created", "lk.room.made", "event lk.room.made is not in semconv/"),
        ("lk.node.loss", "lk.node.lost", "metric lk.node.lost is not in semconv/"),
        ("lk.track.mutes", "lk.mutes", r#"span track has "lk.mutes", which is not in semconv/"#),
        (
            "lk.track.mutes",
            "lk.rtp.nacks.sent",
            r#"span track has "lk.rtp.nacks.sent", which is not in semconv/"#,
        ),
        (
            "lk.track.mutes",
            "lk.attempts",
            "span track has lk.attempts, which its group does not refer to",
        ),
        (
            r#""asDouble":0.5"#,
            r#""filteredAttributes":[{"key":"who","value":{"stringValue":"ada"}}]"#,
            r#"an exemplar has "who", which is not in semconv/"#,
        ),
        (
            r#"{"key":"service.name""#,
            r#"{"key":"host.name","value":{"stringValue":"h"}},{"key":"service.name""#,
            r#"the resource has "host.name", which is not in semconv/"#,
        ),
        (r#""kind":1"#, r#""events":[{"name":"oops"}],"kind":1"#, "event oops is not in semconv/"),
    ] {
        assert_eq!(found(what, instead), [expected]);
    }
}

#[test]
fn wrong_types_units_kinds_and_values_are_found() {
    for (what, instead, expected) in [
        ("{packet}", "1", r#"metric lk.node.packets: unit is "1", not "{packet}""#),
        (
            r#""isMonotonic":true"#,
            r#""isMonotonic":false"#,
            r#"metric lk.node.packets: instrument is "updowncounter", not "counter""#,
        ),
        (
            r#""histogram":"#,
            r#""gauge":"#,
            r#"metric lk.node.loss: instrument is "gauge", not "histogram""#,
        ),
        (r#""kind":1"#, r#""kind":3"#, r#"span track: span_kind is "client", not "internal""#),
        (
            r#"{"intValue":"2"}"#,
            r#"{"stringValue":"2"}"#,
            r#"span track: lk.track.mutes is {"stringValue":"2"}, no int"#,
        ),
        (
            r#"{"stringValue":"audio"}"#,
            r#"{"stringValue":"smell"}"#,
            r#"span track: lk.track.kind is {"stringValue":"smell"}, no one of audio, video"#,
        ),
        ("lk.track.muted_duration", "lk.track.mutes", "span track has lk.track.mutes twice"),
    ] {
        let found = found(what, instead);
        assert!(found.iter().any(|found| found == expected), "{found:#?}");
    }
}

#[test]
fn missing_required_attributes_are_found() {
    for (what, instead, expected) in [
        ("lk.participant_id", "lk.pii.room_name", "span track lacks lk.participant_id"),
        ("lk.source", "lk.pii.room_name", "event lk.room.created lacks lk.source"),
        ("lk.direction", "lk.node_id", "metric lk.node.packets lacks lk.direction"),
        ("service.name", "service.version", "the resource lacks service.name"),
    ] {
        assert_eq!(found(what, instead), [expected]);
    }
}

/// The places that attributes are sent in, as a text of the sample, and what it becomes with one more.
fn places(attribute: &str) -> [(&'static str, &'static str, String); 8] {
    let with = |begin: &str, end: &str| format!("{begin}[{attribute}]{end}");
    let more = |begin: &str, end: &str| format!("{begin}{attribute},{end}");
    let service = r#"{"key":"service.name""#;
    let in_scope = r#""scope":{"attributes":"#;
    [
        ("the resource", service, more("", service)),
        ("a scope", r#""spans":"#, with(in_scope, r#"},"spans":"#)),
        ("span track", r#"{"key":"lk.track.kind""#, more("", r#"{"key":"lk.track.kind""#)),
        ("a link", r#""kind":1"#, with(r#""links":[{"attributes":"#, r#"}],"kind":1"#)),
        (
            "event lk.room.created",
            r#""kind":1"#,
            with(r#""events":[{"name":"lk.room.created","attributes":"#, r#"}],"kind":1"#),
        ),
        ("event lk.room.created", r#"{"key":"lk.source""#, more("", r#"{"key":"lk.source""#)),
        (
            "metric lk.node.packets",
            r#"{"key":"lk.direction""#,
            more("", r#"{"key":"lk.direction""#),
        ),
        (
            "an exemplar",
            r#""asDouble":0.5"#,
            with(r#""filteredAttributes":"#, r#","asDouble":0.5"#),
        ),
    ]
}

#[test]
fn what_livekit_refuses_is_found_wherever_it_is_sent() {
    for (key, value, expected) in [
        (
            "lk.room.sid",
            r#"{"stringValue":"RM_1"}"#,
            "has lk.room.sid, which LiveKit refuses: use lk.room_id",
        ),
        (
            "lk.agent.name",
            r#"{"stringValue":"a"}"#,
            "has lk.agent.name, which LiveKit refuses: use lk.agent_name",
        ),
        (
            "lk.track_source",
            r#"{"stringValue":"SOURCE_UNKNOWN"}"#,
            r#": lk.track_source is {"stringValue":"SOURCE_UNKNOWN"}, but LiveKit has one of SOURCE_CAMERA, SOURCE_MICROPHONE"#,
        ),
        (
            "lk.connect.email",
            r#"{"stringValue":"a"}"#,
            r#": lk.connect.email is of class "", not by its name"#,
        ),
        (
            "lk.connect.pii.x",
            r#"{"stringValue":"a"}"#,
            r#": lk.connect.pii.x is of class "", not by its name"#,
        ),
    ] {
        for (place, what, instead) in places(&format!(r#"{{"key":"{key}","value":{value}}}"#)) {
            let expected = if expected.starts_with(':') {
                format!("{place}{expected}")
            } else {
                format!("{place} {expected}")
            };
            let found = found(what, &instead);
            assert!(found.contains(&expected), "{expected}: {found:#?}");
        }
    }
    // Without LiveKit's registry, only the marks can be compared.
    let silent = check_with(&[], &LiveKit::default()).unwrap_err();
    assert_eq!(silent.len(), 3, "{silent:#?}");
}

#[test]
fn personal_texts_outside_of_marked_attributes_are_found() {
    let identity = r#"{"key":"lk.pii.participant_identity","value":{"stringValue":"ada"}}"#;
    let kind = r#"{"key":"lk.track.kind""#;
    let marked = format!("{identity},{kind}");
    let good = lines(&emitted()).replacen(kind, &marked, 1);
    checked(&good).unwrap();
    let again = r#"{"key":"lk.node_id","value":{"stringValue":"ada"}},{"key":"lk.source""#;
    let found = checked(&good.replacen(r#"{"key":"lk.source""#, again, 1)).unwrap_err();
    let place = "event lk.room.created: lk.node_id";
    assert_eq!(found, [format!("{place} has the text of an attribute that is personal")]);

    // Somebody may have a name that is also a word of the registry.
    checked(&good.replacen(r#""ada""#, r#""audio""#, 1)).unwrap();

    let name = r#""eventName":"lk.room.created""#;
    let body = |text: &str| format!(r#""body":{{"stringValue":"{text}"}},{name}"#);
    checked(&good.replacen(name, &body("lk.room.created"), 1)).unwrap();
    let found = checked(&good.replacen(name, &body("ada"), 1)).unwrap_err();
    assert_eq!(found, [r#"event "lk.room.created": its body is not its name"#]);

    let failed = |message: &str, kind: &str| {
        let error = format!(r#"{{"key":"error.type","value":{{"stringValue":"{kind}"}}}},"#);
        let status = format!(r#""status":{{"code":2,"message":"{message}"}},"kind":1"#);
        let text = good.replacen(identity, &format!("{error}{identity}"), 1);
        checked(&text.replacen(r#""kind":1"#, &status, 1))
    };
    failed("timeout", "timeout").unwrap();
    let found = failed("ada is lost", "timeout").unwrap_err();
    assert_eq!(found, ["span track: its status message is not its error.type"]);
}

#[test]
fn a_signal_without_samples_is_a_failure() {
    let nothing = ["no log record was seen", "no point was seen", "no span was seen"];
    assert_eq!(checked("").unwrap_err(), nothing);
    assert_eq!(check(&[]).unwrap_err(), nothing);
    for (left_out, expected) in
        ["no span was seen", "no log record was seen", "no point was seen"].into_iter().enumerate()
    {
        let mut emitted = emitted().to_vec();
        emitted.remove(left_out);
        assert_eq!(checked(&lines(&emitted)).unwrap_err(), [expected]);
    }
    let absent = check(&[PathBuf::from("/there/is/none.json")]).unwrap_err();
    assert!(absent.iter().any(|found| found.starts_with("/there/is/none.json: ")), "{absent:#?}");
}

#[test]
fn unreadable_lines_are_found_and_a_cut_last_line_is_noted() {
    let good = lines(&emitted());
    let cut = &good[..good.len() / 4];
    let printed = checked(&format!("{good}{cut}")).unwrap();
    assert!(printed.ends_with("(1 lines were cut short)"), "{printed}");
    let found = checked(&format!("{good}}}\n{{\"spans\": []}}\n")).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().any(|found| found.contains("emitted.json:4 is no JSON")), "{found:#?}");
    assert!(found.iter().any(|found| found == r#"no OTLP: {"spans":[]}"#), "{found:#?}");
}

#[test]
fn a_repeated_finding_is_reported_once() {
    let good = lines(&emitted());
    let found = checked(&good.replace("upstream", "sideways")).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    let again = checked(&format!("{good}{good}").replace("lk.node.loss", "lk.loss")).unwrap_err();
    assert_eq!(again, ["metric lk.loss is not in semconv/ (2 times)"]);
}
