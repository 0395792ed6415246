//! Which series the metrics have, how many, and until when.

use std::time::Duration;

use livekit_otel_engine::session::{Census, Fact, Labels, WorkDone};
use livekit_otel_engine::stats::{Level, Settings, Stats};
use livekit_otel_model::event::WorkKind;
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Metric, Number, Temporality};

use super::facts::{agent, call, work};
use super::{durations, points, sums};
use crate::messages::at;

const MINUTE: i64 = 60_000;

fn at_level(level: Level) -> Settings {
    Settings { level, ..Settings::default() }
}

fn stats(settings: Settings, works: impl IntoIterator<Item = WorkDone>) -> Stats {
    let mut stats = Stats::new(settings, at(0));
    for done in works {
        stats.fact(&Fact::WorkReleased(Box::new(done)));
    }
    stats
}

fn flush(stats: &mut Stats, millis: i64) -> Vec<Metric> {
    stats.flush(at(millis), &Census::default())
}

fn egress() -> WorkDone {
    let attributes = [
        Attribute::new(key::EGRESS_TYPE, "web"),
        Attribute::new(key::EGRESS_STATUS, "EGRESS_FAILED"),
    ];
    work(WorkKind::Egress, &attributes, Some("egress_failed"))
}

#[test]
fn a_finished_operation_is_counted_by_its_result_and_its_first_frame_by_its_type() {
    let metrics = flush(&mut stats(at_level(Level::Node), [egress()]), MINUTE);
    let all = durations(&metrics, metric::EGRESS_DURATION);
    let labels =
        "lk.egress.status=EGRESS_FAILED lk.egress.type=web error.type=egress_failed".to_owned();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [(labels, (1, 90.0))]);
    let first = durations(&metrics, metric::EGRESS_FIRST_FRAME_DURATION);
    assert_eq!(first["lk.egress.type=web"], (1, 2.0));
}

#[test]
fn what_has_no_first_frame_or_answer_has_no_time_to_it() {
    let done = WorkDone { first: None, ..egress() };
    let metrics = flush(&mut stats(at_level(Level::Node), [done]), MINUTE);
    assert_eq!(durations(&metrics, metric::EGRESS_DURATION).len(), 1);
    assert_eq!(durations(&metrics, metric::EGRESS_FIRST_FRAME_DURATION).len(), 0);
}

#[test]
fn a_call_is_used_from_its_answer_and_only_if_it_was_answered() {
    let done = |trunk, answer, first: Option<u64>| WorkDone {
        first: first.map(Duration::from_secs),
        ..work(WorkKind::SipCall, &call(trunk, answer), None)
    };
    let calls = [
        done("ST_known", "answered", Some(20)),
        done("ST_untimed", "answered", None),
        done("ST_unanswered", "unanswered", None),
        done("ST_unknown", "unknown", None),
    ];
    let metrics = flush(&mut stats(at_level(Level::Node), calls), MINUTE);
    let used = sums(&metrics, metric::USAGE_SIP_TIME);
    let of = |trunk: &str| {
        let labels = format!("lk.sip.call_direction=SCD_INBOUND lk.sip.trunk_id={trunk}");
        used.get(&labels).copied().flatten()
    };
    assert_eq!(of("ST_known"), Some(Number::Float(70.0)));
    assert_eq!(of("ST_untimed"), Some(Number::Float(90.0)));
    assert_eq!(used.len(), 2, "{used:?}");
    let all = durations(&metrics, metric::SIP_CALL_DURATION);
    let unknown: Vec<_> = all.keys().filter(|it| it.contains("lk.sip.answer=unknown")).collect();
    assert_eq!((all.len(), unknown.len()), (4, 1));
}

#[test]
fn usage_has_the_room_and_its_name_at_the_level_of_rooms_and_finer() {
    for (level, names, expected) in [
        (Level::Node, true, "lk.participant_kind=AGENT"),
        (Level::Room, true, "lk.room_id=RM_1 lk.pii.room_name=standup lk.participant_kind=AGENT"),
        (Level::Track, false, "lk.room_id=RM_1 lk.participant_kind=AGENT"),
    ] {
        let mut stats = Stats::new(Settings { names, ..at_level(level) }, at(0));
        stats.fact(&Fact::ParticipantUsed(Box::new(agent("RM_1"))));
        let metrics = flush(&mut stats, MINUTE);
        let used = sums(&metrics, metric::USAGE_PARTICIPANT_TIME);
        assert_eq!(used.keys().collect::<Vec<_>>(), [expected], "{level:?}");
        let tracks = sums(&metrics, metric::USAGE_TRACK_PUBLISHED_TIME);
        let kinds: Vec<_> =
            tracks.keys().filter(|it| it.ends_with("lk.track.kind=audio")).collect();
        assert_eq!((tracks.len(), kinds.len()), (1, 1), "{tracks:?}");
        assert_eq!(sums(&metrics, metric::USAGE_AGENT_TIME).len(), 1);
    }
}

#[test]
fn a_cumulative_sum_opens_with_a_zero_and_a_rooms_ends_five_minutes_after_its_last_change() {
    let mut stats = Stats::new(at_level(Level::Room), at(0));
    stats.fact(&Fact::ParticipantUsed(Box::new(agent("RM_1"))));
    stats.fact(&Fact::WorkReleased(Box::new(egress())));
    let of_room = |metrics: &[Metric]| -> Vec<_> {
        let points = points(metrics, metric::USAGE_AGENT_TIME).into_iter();
        points.map(|(_, start, time, value)| (start, time, value)).collect()
    };
    let (start, used) = (Some(at(0)), Some(Number::Float(90.0)));
    let first = of_room(&flush(&mut stats, MINUTE));
    let zero = (start, at(0), Some(Number::Float(0.0)));
    assert_eq!(first, [zero, (start, at(MINUTE), used)]);
    let later = of_room(&flush(&mut stats, 5 * MINUTE));
    assert_eq!(later, [(start, at(5 * MINUTE), used)]);
    let metrics = flush(&mut stats, 6 * MINUTE);
    assert_eq!(of_room(&metrics), [(start, at(6 * MINUTE), None)]);
    let metrics = flush(&mut stats, 7 * MINUTE);
    assert_eq!(of_room(&metrics), []);
    // A series without a room goes on.
    assert_eq!(durations(&metrics, metric::EGRESS_DURATION).len(), 1);
}

#[test]
fn deltas_are_sent_only_where_something_changed() {
    let settings = Settings { temporality: Temporality::Delta, ..at_level(Level::Node) };
    let mut stats = stats(settings, [egress()]);
    let value = |metrics: &[Metric]| sums(metrics, metric::USAGE_EGRESS_TIME);
    let took = Some(Number::Float(90.0));
    assert_eq!(value(&flush(&mut stats, MINUTE))["lk.egress.type=web"], took);
    let metrics = flush(&mut stats, 2 * MINUTE);
    assert_eq!(value(&metrics).len(), 0);
    assert_eq!(durations(&metrics, metric::EGRESS_DURATION).len(), 0);
    stats.fact(&Fact::WorkReleased(Box::new(egress())));
    let again = points(&flush(&mut stats, 3 * MINUTE), metric::USAGE_EGRESS_TIME);
    let point = ("lk.egress.type=web".to_owned(), Some(at(2 * MINUTE)), at(3 * MINUTE), took);
    assert_eq!(again, [point]);
}

#[test]
fn what_exceeds_the_limit_shares_a_series_of_each_metric() {
    let calls = |trunks: std::ops::Range<u32>| {
        trunks.map(|nth| work(WorkKind::SipCall, &call(&format!("ST_{nth}"), "answered"), None))
    };
    let settings = Settings { cardinality_limit: 4, ..at_level(Level::Node) };
    let mut stats = stats(settings, calls(0..5));
    let mut census = Census::default();
    for nth in 0..5 {
        let labels = Labels::of(WorkKind::SipCall, &call(&format!("ST_{nth}"), "unknown"));
        census.works.insert((WorkKind::SipCall, labels), 1);
    }
    let metrics = stats.flush(at(MINUTE), &census);
    let all = durations(&metrics, metric::SIP_CALL_DURATION);
    assert_eq!(all.values().map(|(count, _)| count).sum::<u64>(), 5, "nothing is left out");
    let over = "otel.metric.overflow=Bool(true)";
    assert!(all.contains_key(over), "{all:?}");
    let used = sums(&metrics, metric::USAGE_SIP_TIME);
    let seconds = used.values().map(|value| match value {
        Some(Number::Float(seconds)) => *seconds,
        other => panic!("{other:?}"),
    });
    assert!((seconds.sum::<f64>() - 5.0 * 88.0).abs() < 1e-9);
    assert_eq!(sums(&metrics, metric::SIP_CALL_COUNT)[over], Some(Number::Int(1)));
    let series = |name| durations(&metrics, name).keys().filter(|it| *it != over).count();
    let of_sums = |name| sums(&metrics, name).keys().filter(|it| *it != over).count();
    let own = [
        series(metric::SIP_CALL_DURATION),
        of_sums(metric::USAGE_SIP_TIME),
        of_sums(metric::SIP_CALL_COUNT),
    ];
    assert_eq!(own, [4; 3], "no metric takes the series of another");
}

#[test]
fn a_trunk_that_is_not_used_for_a_day_makes_room_for_another() {
    let settings = Settings { cardinality_limit: 1, ..at_level(Level::Node) };
    let done = |trunk| work(WorkKind::SipCall, &call(trunk, "answered"), None);
    let mut stats = stats(settings, [done("ST_1")]);
    flush(&mut stats, MINUTE);
    flush(&mut stats, MINUTE + 24 * 60 * MINUTE);
    stats.fact(&Fact::WorkReleased(Box::new(done("ST_2"))));
    let all = durations(&flush(&mut stats, 25 * 60 * MINUTE), metric::SIP_CALL_DURATION);
    assert_eq!(all.len(), 1);
    assert!(all.keys().all(|it| it.contains("ST_2")), "{all:?}");
}

#[test]
fn what_no_longer_runs_is_counted_as_none() {
    let mut stats = Stats::new(at_level(Level::Node), at(0));
    let labels = Labels::of(WorkKind::Egress, &[Attribute::new(key::EGRESS_TYPE, "web")]);
    let mut census = Census::default();
    census.works.insert((WorkKind::Egress, labels), 2);
    census.stuck_egresses.insert("ending", 1);
    let metrics = stats.flush(at(MINUTE), &census);
    let running = |metrics: &[Metric]| sums(metrics, metric::EGRESS_COUNT)["lk.egress.type=web"];
    let stuck =
        |metrics: &[Metric]| sums(metrics, metric::EGRESS_STUCK)["lk.egress.stuck.reason=ending"];
    assert_eq!(running(&metrics), Some(Number::Int(2)));
    assert_eq!(stuck(&metrics), Some(Number::Int(1)));
    let metrics = flush(&mut stats, 2 * MINUTE);
    assert_eq!((running(&metrics), stuck(&metrics)), (Some(Number::Int(0)), Some(Number::Int(0))));
}
