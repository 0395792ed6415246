//! What Prometheus has of a call.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::call::Room;
use crate::stack::{Stack, until};

fn number(sample: &Value) -> f64 {
    sample.as_str().map_or(f64::NAN, |text| text.parse().unwrap())
}

// The only value of a query's result.
fn value(stack: &Stack, query: &str, at: SystemTime) -> Option<f64> {
    let result = stack.prometheus.query(query, at).unwrap();
    result.first().map(|series| number(&series["value"][1]))
}

fn packets(room: &Room, who: &str, direction: &str) -> String {
    format!(
        "sum(lk_stream_packets_total{{lk_room_id='{}', lk_pii_participant_identity='{who}', \
         lk_direction='{direction}'}})",
        room.sid
    )
}

/// LiveKit's server sends stats every half minute: returns once they arrived.
pub(crate) async fn wait_for_stats(stack: &Stack, room: &Room) {
    let query = packets(room, "ann", "upstream");
    let packets = || value(stack, &query, SystemTime::now()).filter(|packets| *packets > 0.0);
    until("Prometheus has stats of the room", packets).await;
}

/// Returns once there are so many.
pub(crate) async fn participants_are(stack: &Stack, n: u32) {
    becomes(stack, "sum(lk_participant_count)", n).await;
}

/// Returns once one is counted who left, one who was lost, and one who never had a connection: when their
/// spans are released.
pub(crate) async fn one_left_and_two_failed(stack: &Stack) {
    for error_type in ["", "connection_timeout", "connection_aborted"] {
        let of = format!("{{lk_participant_kind='STANDARD', error_type='{error_type}'}}");
        becomes(stack, &format!("sum(lk_participant_disconnects_total{of})"), 1).await;
    }
}

/// Returns once both jobs of agents are counted: half a minute after their ends.
pub(crate) async fn of_two_jobs_one_failed(stack: &Stack) {
    for error in ["=''", "!=''"] {
        let of = format!("{{lk_agent_upload='complete', error_type{error}}}");
        becomes(stack, &format!("sum(lk_agent_jobs_total{of})"), 1).await;
    }
}

async fn becomes(stack: &Stack, query: &str, n: u32) {
    let count = || value(stack, query, SystemTime::now());
    let what = format!("{query} is {n}");
    until(&what, || count().filter(|count| (*count - f64::from(n)).abs() < 0.5)).await;
}

/// What is not as it should be at a time of the call.
pub(crate) fn problems(
    stack: &Stack,
    room: &Room,
    began: SystemTime,
    at: SystemTime,
) -> Vec<String> {
    let mut problems = Vec::new();
    let lasted = at.duration_since(began).unwrap_or(Duration::ZERO).as_secs_f64();
    let mut expect = |query: &str, least: f64, most: f64| {
        let found = value(stack, query, at);
        if !found.is_some_and(|found| (least..=most).contains(&found)) {
            problems.push(format!("{query}: {found:?}, not {least} to {most}"));
        }
    };
    for who in ["ann", "ben", "cid"] {
        // Audio of 50 packets a second and video of 30, in a window of up to half a minute.
        expect(&packets(room, who, "upstream"), 200.0, 100.0 * lasted);
        // Of two others.
        expect(&packets(room, who, "downstream"), 400.0, 200.0 * lasted);
    }
    // Whose network loses one in twenty, of which some are sent again.
    let lost = "sum(lk_stream_packets_lost_total{lk_pii_participant_identity='cid', lk_direction=";
    expect(&format!("{lost}'upstream'}})"), 5.0, 20.0 * lasted);
    expect("sum(lk_room_count)", 1.0, 1.0);
    expect("sum(lk_participant_count)", 2.0, 2.0);
    for kind in ["audio", "video"] {
        expect(&format!("sum(lk_track_count{{lk_track_kind='{kind}'}})"), 2.0, 2.0);
        let node = "lk_node_packets_total{lk_direction='upstream', lk_track_kind=";
        expect(&format!("sum({node}'{kind}'}})"), 200.0, 300.0 * lasted);
    }
    let connects = "lk_participant_connect_duration_seconds_count";
    expect(&format!("sum({connects}{{error_type=''}})"), 4.0, 4.0);
    expect(&format!("sum({connects}{{error_type='connection_aborted'}})"), 1.0, 1.0);
    expect("sum(lk_track_subscribe_duration_seconds_count)", 18.0, 18.0);
    let score = "quantile(0.5, lk_stream_score{lk_room_id=";
    expect(&format!("{score}'{}'}})", room.sid), 1.0, 5.0);
    expect("sum(lk_otel_records_total)", 1.0, f64::INFINITY);
    let series = stack.prometheus.query_range("sum(lk_participant_count)", began, at).unwrap();
    let values = series.iter().flat_map(|series| series["values"].as_array().into_iter().flatten());
    let most = values.map(|sample| number(&sample[1])).fold(0.0, f64::max);
    if !(4.0..=5.0).contains(&most) {
        problems.push(format!("at most {most} participants were there at once"));
    }
    problems.extend(exemplars(stack, room, began, at));
    problems
}

// From a distribution to the room's trace.
fn exemplars(stack: &Stack, room: &Room, began: SystemTime, at: SystemTime) -> Option<String> {
    let found = stack.prometheus.exemplars("lk_node_score_bucket", began, at).unwrap();
    let exemplars = found.iter().filter_map(|series| series["exemplars"].as_array());
    let mut traces = exemplars.flatten().map(|exemplar| &exemplar["labels"]["trace_id"]);
    let is_there = traces.any(|trace| *trace == room.trace);
    (!is_there).then(|| format!("no exemplar leads to {}: {found:?}", room.trace))
}
