//! What an egress records, and how long its first frame took.

use super::*;

#[test]
fn an_egress_is_of_the_type_of_its_request() {
    for (request, expected) in [
        (json!({"roomComposite": {"roomName": "test"}}), Some("room_composite")),
        (json!({"web": {}}), Some("web")),
        (json!({"participant": {}}), Some("participant")),
        (json!({"trackComposite": {}}), Some("track_composite")),
        (json!({"track": {}}), Some("track")),
        (json!({"replay": {}}), Some("replay")),
        (json!({"egress": {"template": {}}}), Some("template")),
        (json!({"egress": {"web": {}}}), Some("web")),
        (json!({"egress": {"media": {}}}), Some("media")),
        (json!({"egress": {}}), None),
        (json!({}), None),
    ] {
        let out = play(&[egress("egress_started", 1000, request.clone())]);
        let attributes = &only(&out, span::EGRESS).attributes;
        assert_eq!(text(attributes, key::EGRESS_TYPE), expected, "{request}");
    }
}

#[test]
fn the_first_frame_is_that_of_the_first_result() {
    let started = |millis| egress("egress_started", millis, json!({"startedAt": nanos(millis)}));
    let updated = |results| {
        let info = with(json!({"status": "EGRESS_ACTIVE"}), results);
        egress("egress_updated", 9000, info)
    };
    let result = |millis| json!([{"startedAt": nanos(millis)}]);
    for (results, expected) in [
        (json!({"fileResults": result(2500)}), Some(1.5)),
        (json!({"streamResults": result(2500)}), Some(1.5)),
        (json!({"segmentResults": result(2500)}), Some(1.5)),
        (json!({"imageResults": result(2500), "fileResults": result(4000)}), Some(1.5)),
        (json!({"fileResults": result(1000)}), Some(0.0)),
        // Clocks that differ, or a result that has not begun.
        (json!({"fileResults": result(999)}), None),
        (json!({"fileResults": [{"startedAt": "0"}]}), None),
        (json!({}), None),
    ] {
        for reports in permutations(&[started(1000), updated(results.clone())]) {
            let out = play(&reports);
            let latency =
                value(&only(&out, span::EGRESS).attributes, key::EGRESS_FIRST_FRAME_LATENCY);
            assert_eq!(latency, expected.map(Value::Float).as_ref(), "{results}");
        }
    }
    // An egress whose start is only that of its result.
    let out = play(&[updated(json!({"fileResults": result(2500)}))]);
    let attributes = &only(&out, span::EGRESS).attributes;
    assert_eq!(value(attributes, key::EGRESS_FIRST_FRAME_LATENCY), None);
}
