use proptest::prelude::*;

use super::*;
use crate::snapshot::{self, Part, Writer};
use livekit_otel_model::foreign::{Body, ForeignExemplar, ForeignHistogram, ForeignPoint};
use livekit_otel_model::signal::Number;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::from_secs(1_795_400_000).unwrap() + SECOND * u32::try_from(seconds).unwrap()
}

fn settings(level: Level) -> Settings {
    Settings { level, ..Settings::default() }
}

fn origin(process: &str) -> Arc<Origin> {
    let process = Some(process).filter(|process| !process.is_empty()).map(Into::into);
    Arc::new(Origin { resource: Bytes::from_static(b"agents"), process, ..Origin::default() })
}

fn facts(room: &str, job: &str) -> Facts {
    Facts { room: RoomSid::new(room), job: Some(job.into()), ..Facts::default() }
}

// A point of job `AJ_n` in room `RM_n`, from its start to `time`.
fn point(n: u8, times: (u64, u64), value: i64) -> ForeignPoint {
    ForeignPoint {
        facts: facts(&format!("RM_{n}"), &format!("AJ_{n}")),
        attributes: Bytes::from_static(b"model"),
        start: Some(at(times.0)),
        time: at(times.1),
        value: Number::Int(value),
        exemplars: Vec::new(),
    }
}

fn metric(process: &str, data: ForeignData) -> ForeignMetric {
    ForeignMetric {
        origin: origin(process),
        name: "lk.agents.usage.llm_input_tokens".into(),
        unit: "".into(),
        description: "".into(),
        data,
    }
}

fn sum(process: &str, is_delta: bool, points: Vec<ForeignPoint>) -> ForeignMetric {
    metric(process, ForeignData::Sum { is_monotonic: true, is_delta, points })
}

fn deltas(process: &str, points: Vec<ForeignPoint>) -> ForeignMetric {
    sum(process, true, points)
}

struct Fixture {
    metrics: ForeignMetrics,
    flushed: u64,
}

fn fixture(settings: &Settings) -> Fixture {
    Fixture { metrics: ForeignMetrics::new(settings), flushed: 0 }
}

impl Fixture {
    fn apply(&mut self, now: u64, metric: ForeignMetric) -> u64 {
        let mut out = Vec::new();
        let (copies, replaced) = self.metrics.apply(&[metric], at(now), &|_, _| false, &mut out);
        assert_eq!((replaced, out.len()), (0, 0));
        copies
    }

    fn flush(&mut self, now: u64) -> Vec<ForeignMetric> {
        let mut out = Vec::new();
        let interval = (at(self.flushed), at(now));
        self.metrics.flush(interval, &|_, (trace, _)| (trace, [9; 8]), &mut out);
        self.flushed = now;
        out
    }

    // The room, the times in seconds and the value of each point.
    fn flushed(&mut self, now: u64) -> Vec<(String, u64, u64, f64)> {
        self.flush(now).iter().flat_map(numbers).collect()
    }
}

fn numbers(metric: &ForeignMetric) -> Vec<(String, u64, u64, f64)> {
    let (ForeignData::Gauge(points) | ForeignData::Sum { points, .. }) = &metric.data else {
        panic!("numbers")
    };
    let seconds = |time: Time| time.since(at(0)).as_secs();
    let each = points.iter().map(|point| {
        let room = point.facts.room.as_ref().map(|room| room.as_str().to_owned());
        let value = match point.value {
            Number::Int(count) => count as f64,
            Number::Float(measure) => measure,
        };
        let start = point.start.map(seconds).unwrap_or_default();
        (room.unwrap_or_default(), start, seconds(point.time), value)
    });
    each.collect()
}

fn none(start: u64, time: u64, value: f64) -> (String, u64, u64, f64) {
    (String::new(), start, time, value)
}

#[test]
fn jobs_and_processes_share_a_series_at_the_level_of_nodes() {
    let mut it = fixture(&settings(Level::Node));
    it.apply(1, deltas("a", vec![point(1, (0, 1), 3)]));
    it.apply(2, deltas("b", vec![point(2, (0, 2), 4)]));
    let flushed = it.flush(10);
    let [metric] = &flushed[..] else { panic!("one metric") };
    assert_eq!(metric.origin, origin(""));
    let ForeignData::Sum { is_monotonic: true, is_delta: false, points } = &metric.data else {
        panic!("a cumulative sum")
    };
    assert!(points.iter().all(|point| point.facts == Facts::default()));
    assert_eq!(numbers(metric), [none(0, 0, 0.0), none(0, 10, 7.0)]);
    it.apply(11, deltas("a", vec![point(1, (1, 11), 5)]));
    assert_eq!(it.flushed(20), [none(0, 20, 12.0)]);
    assert_eq!(it.flushed(100_000), [none(0, 100_000, 12.0)]);
}

#[test]
fn finer_levels_keep_more_ids() {
    let uploads = || {
        let of_room_1 = ForeignPoint { facts: facts("RM_1", "AJ_3"), ..point(3, (0, 1), 5) };
        [deltas("a", vec![point(1, (0, 1), 3), point(2, (0, 1), 4)]), deltas("b", vec![of_room_1])]
    };
    let ids = |level| {
        let mut it = fixture(&settings(level));
        for upload in uploads() {
            it.apply(1, upload);
        }
        let mut all = Vec::new();
        for metric in it.flush(10) {
            let ForeignData::Sum { points, .. } = &metric.data else { panic!("a sum") };
            for point in points.iter().filter(|point| point.time == at(10)) {
                let room = point.facts.room.as_ref().map(|room| room.as_str().to_owned());
                let job = point.facts.job.as_ref().map(ToString::to_string);
                let process = metric.origin.process.as_ref().map(ToString::to_string);
                let ids = [room, job, process].map(Option::unwrap_or_default).join(" ");
                all.push((ids.trim().to_owned(), point.value));
            }
        }
        all
    };
    let expected = |ids: &[(&str, i64)]| {
        ids.iter().map(|(ids, n)| ((*ids).to_owned(), Number::Int(*n))).collect::<Vec<_>>()
    };
    assert_eq!(ids(Level::Node), expected(&[("", 12)]));
    assert_eq!(ids(Level::Room), expected(&[("RM_1", 8), ("RM_2", 4)]));
    for level in [Level::Participant, Level::Track] {
        let all = [("RM_1 AJ_1 a", 3), ("RM_2 AJ_2 a", 4), ("RM_1 AJ_3 b", 5)];
        assert_eq!(ids(level), expected(&all));
    }
}

#[test]
fn a_repeated_delta_counts_once_and_that_of_another_job_counts() {
    let mut it = fixture(&settings(Level::Node));
    let upload = || deltas("", vec![point(1, (0, 1), 3)]);
    assert_eq!(it.apply(1, upload()), 0);
    assert_eq!(it.apply(70, upload()), 1);
    assert_eq!(it.apply(70, deltas("", vec![point(2, (0, 1), 4)])), 0);
    assert_eq!(it.flushed(100).last(), Some(&none(0, 100, 7.0)));
}

#[test]
fn with_the_delta_preference_each_flush_has_what_is_new() {
    let delta = Settings { temporality: Temporality::Delta, ..settings(Level::Participant) };
    let mut it = fixture(&delta);
    it.apply(1, deltas("", vec![point(1, (0, 1), 3)]));
    it.apply(2, deltas("", vec![point(1, (1, 2), 4)]));
    let flushed = it.flush(10);
    assert!(matches!(flushed[0].data, ForeignData::Sum { is_delta: true, .. }));
    assert_eq!(numbers(&flushed[0]), [("RM_1".to_owned(), 0, 10, 7.0)]);
    assert_eq!(it.flushed(20), []);
    it.apply(21, sum("", false, vec![point(1, (0, 21), 9)]));
    it.apply(22, sum("", false, vec![point(1, (0, 22), 11)]));
    assert_eq!(it.flushed(30), [("RM_1".to_owned(), 20, 30, 11.0)]);
}

#[test]
fn a_cumulative_point_counts_by_its_difference_where_processes_share_a_series() {
    let mut it = fixture(&settings(Level::Node));
    let total = |process, times, value| sum(process, false, vec![point(1, times, value)]);
    it.apply(10, total("a", (0, 10), 5));
    it.apply(11, total("b", (0, 11), 7));
    it.apply(20, total("a", (0, 20), 6));
    // A copy, an older one, and one of a process that counts from 0 again.
    assert_eq!(it.apply(21, total("a", (0, 20), 6)), 1);
    assert_eq!(it.apply(21, total("a", (0, 15), 5)), 1);
    it.apply(30, total("b", (25, 30), 9));
    assert_eq!(it.flushed(40).last(), Some(&none(0, 40, 6.0 + 7.0 + 9.0)));
    // What it counted for more than an hour is not of this series.
    it.apply(5000, total("c", (1, 5000), 1000));
    it.apply(5060, total("c", (1, 5060), 1001));
    assert_eq!(it.flushed(5100), [none(0, 5100, 23.0)]);
}

#[test]
fn a_cumulative_point_is_unchanged_where_the_series_is_its_process_s_own() {
    let mut it = fixture(&settings(Level::Participant));
    it.apply(10, sum("a", false, vec![point(1, (0, 10), 5)]));
    it.apply(11, sum("a", false, vec![point(1, (0, 11), 6)]));
    assert_eq!(it.flushed(40), [("RM_1".to_owned(), 0, 11, 6.0)]);
    assert_eq!(it.flushed(50), []);
}

#[test]
fn a_sum_that_can_fall_is_that_of_the_processes_that_there_are() {
    let mut it = fixture(&settings(Level::Node));
    let level = |process, time, value| {
        let points = vec![point(1, (0, time), value)];
        metric(process, ForeignData::Sum { is_monotonic: false, is_delta: false, points })
    };
    it.apply(1, level("a", 1, 5));
    it.apply(1, level("b", 1, 3));
    it.apply(4000, level("b", 4000, 2));
    assert_eq!(it.flushed(4001).last(), Some(&none(0, 4001, 7.0)));
    assert_eq!(it.flushed(4002).last(), Some(&none(0, 4002, 2.0)));
}

#[test]
fn a_gauge_has_its_last_value_once() {
    let mut it = fixture(&settings(Level::Node));
    let gauge = |n, time, value| metric("a", ForeignData::Gauge(vec![point(n, (0, time), value)]));
    it.apply(1, gauge(1, 7, 5));
    it.apply(2, gauge(2, 6, 3));
    assert_eq!(it.flushed(10), [none(0, 7, 5.0)]);
    assert_eq!(it.flushed(20), []);
}

fn histogram(times: (u64, u64), bounds: &[f64], buckets: &[u64]) -> ForeignHistogram {
    ForeignHistogram {
        facts: facts("RM_1", "AJ_1"),
        attributes: Bytes::new(),
        start: Some(at(times.0)),
        time: at(times.1),
        count: buckets.iter().sum(),
        sum: Some(buckets.iter().sum::<u64>() as f64 * 0.5),
        range: Some((times.0 as f64, times.1 as f64)),
        bounds: bounds.into(),
        buckets: buckets.to_vec(),
        exemplars: Vec::new(),
    }
}

#[test]
fn histograms_of_the_same_bounds_are_added() {
    let upload = |is_delta, points| metric("a", ForeignData::Histogram { is_delta, points });
    for (is_delta, second) in [(true, [0, 4]), (false, [1, 6])] {
        let mut it = fixture(&settings(Level::Node));
        it.apply(1, upload(is_delta, vec![histogram((0, 1), &[1.0], &[1, 2])]));
        let start = u64::from(is_delta);
        it.apply(2, upload(is_delta, vec![histogram((start, 2), &[1.0], &second)]));
        it.apply(3, upload(is_delta, vec![histogram((0, 3), &[2.0], &[1, 1])]));
        let flushed = it.flush(10);
        let ForeignData::Histogram { is_delta: false, points } = &flushed[0].data else {
            panic!("a cumulative histogram")
        };
        let [zero, one, _, two] = &points[..] else { panic!("two series") };
        assert_eq!(
            (zero.count, zero.sum, zero.range, &zero.buckets[..]),
            (0, Some(0.0), None, &[0, 0][..])
        );
        assert_eq!((one.count, one.sum, &one.buckets[..]), (7, Some(3.5), &[1, 6][..]));
        assert_eq!((one.range, one.time, &one.bounds[..]), (Some((0.0, 2.0)), at(10), &[1.0][..]));
        assert_eq!((two.count, &two.bounds[..]), (2, &[2.0][..]));
    }
}

#[test]
fn beyond_the_limit_points_share_a_series_and_then_pass_unchanged() {
    let limit = Settings { cardinality_limit: 2, ..settings(Level::Participant) };
    let mut it = fixture(&limit);
    let points = (1..=5).map(|n| point(n, (0, 1), 1)).collect();
    it.apply(1, deltas("a", points));
    let flushed = it.flush(10);
    assert_eq!(flushed.len(), 2);
    let [overflow, own] = &flushed[..] else { panic!("two origins") };
    assert_eq!((&overflow.origin, &own.origin), (&origin(""), &origin("a")));
    let ForeignData::Sum { points, .. } = &overflow.data else { panic!("a sum") };
    assert_eq!(points[1].facts.attributes, [Attribute::new(key::METRIC_OVERFLOW, true)]);
    assert_eq!((points[1].value, &points[1].attributes[..]), (Number::Int(3), &b""[..]));
    let mut left = Vec::new();
    for n in 0..MOST_OVERFLOWS + 5 {
        let of =
            ForeignMetric { name: format!("{n}").into(), ..deltas("a", vec![point(1, (1, 2), 1)]) };
        it.metrics.apply(&[of], at(11), &|_, _| false, &mut left);
    }
    assert_eq!(left.len(), 6);
    assert_eq!(
        left[0],
        ForeignMetric { name: left[0].name.clone(), ..deltas("a", vec![point(1, (1, 2), 1)]) }
    );
}

#[test]
fn a_series_with_an_id_ends_some_time_after_its_last_point() {
    let mut it = fixture(&settings(Level::Room));
    it.apply(1, deltas("a", vec![point(1, (0, 1), 3)]));
    assert_eq!(it.flushed(10).len(), 2);
    assert_eq!(it.flushed(299).len(), 1);
    assert_eq!(it.flushed(301).len(), 1);
    assert_eq!(it.flushed(310), []);
    it.apply(311, deltas("a", vec![point(1, (300, 311), 4)]));
    assert_eq!(it.flushed(320), [("RM_1".into(), 310, 310, 0.0), ("RM_1".into(), 310, 320, 4.0)]);
}

#[test]
fn exemplars_leave_once_in_their_trace_without_content() {
    let mut it = fixture(&settings(Level::Node));
    let exemplar = |n: u8| ForeignExemplar {
        context: Some(([n; 16], [n; 8])),
        body: Body { sent: Bytes::from_static(b"what"), redacted: Some(Bytes::from_static(b"r")) },
    };
    let with = ForeignPoint { exemplars: (1..=6).map(exemplar).collect(), ..point(1, (0, 1), 3) };
    it.apply(1, deltas("a", vec![with]));
    let exemplars = |flushed: Vec<ForeignMetric>| {
        let ForeignData::Sum { points, .. } = &flushed[0].data else { panic!("a sum") };
        points.iter().flat_map(|point| point.exemplars.clone()).collect::<Vec<_>>()
    };
    let first = exemplars(it.flush(10));
    let traces: Vec<_> = first.iter().map(|each| each.context.unwrap()).collect();
    assert_eq!(traces, [3, 4, 5, 6].map(|n| ([n; 16], [9; 8])));
    assert!(
        first
            .iter()
            .all(|each| each.body == Body { sent: Bytes::from_static(b"r"), redacted: None })
    );
    assert_eq!(exemplars(it.flush(20)), []);
}

#[derive(Debug, Clone)]
enum Step {
    // Job, attributes, value, whether it is a histogram, and whether it is sent twice.
    Upload(u8, u8, u8, bool, bool),
    Flush,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 0u8..3, any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(n, of, value, is_histogram, twice)| Step::Upload(n, of, value, is_histogram, twice)),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

fn restarted(before: &ForeignMetrics, settings: &Settings) -> ForeignMetrics {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut to = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    before.save(&mut Writer::new(&mut to)).unwrap();
    let mut after = ForeignMetrics::new(settings);
    for part in parts {
        let (part, content) = snapshot::part(&part).unwrap();
        assert_eq!(part, Part::AgentSeries);
        after.load(content).unwrap();
    }
    after
}

fn total(metric: &ForeignMetric) -> f64 {
    match &metric.data {
        ForeignData::Histogram { points, .. } => {
            points.iter().map(|point| point.count as f64).sum()
        }
        _ => numbers(metric).iter().map(|(.., value)| value).sum(),
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_counted_twice_at_any_level_across_restarts(
        steps in proptest::collection::vec(step(), 1..60),
        level in 0usize..4,
        limit in 1usize..12,
    ) {
        let level = Level::NAMES[level].1;
        // With deltas, all points that ever leave add up to all that came in.
        let settings = Settings {
            cardinality_limit: limit,
            temporality: Temporality::Delta,
            ..settings(level)
        };
        let mut both = [fixture(&settings), fixture(&settings)];
        let (mut expected, mut seen) = (0.0, 0.0);
        for (nth, step) in steps.into_iter().chain([Step::Flush]).enumerate() {
            let now = nth as u64 + 1;
            match step {
                Step::Upload(n, of, value, is_histogram, twice) => {
                    // Two of the same times.
                    let both_of = [of, of + 1].map(|of| Bytes::from(vec![of]));
                    let upload = if is_histogram {
                        let point = histogram((now - 1, now), &[1.0], &[value.into(), 1]);
                        let facts = facts(&format!("RM_{n}"), &format!("AJ_{n}"));
                        let point = ForeignHistogram { facts, ..point };
                        let points = both_of
                            .map(|attributes| ForeignHistogram { attributes, ..point.clone() });
                        let points = points.to_vec();
                        metric("a", ForeignData::Histogram { is_delta: true, points })
                    } else {
                        let point = point(n, (now - 1, now), value.into());
                        let points =
                            both_of.map(|attributes| ForeignPoint { attributes, ..point.clone() });
                        deltas("a", points.to_vec())
                    };
                    expected += 2.0 * (f64::from(value) + f64::from(u8::from(is_histogram)));
                    for it in &mut both {
                        prop_assert_eq!(it.apply(now, upload.clone()), 0);
                        if twice {
                            prop_assert_eq!(it.apply(now, upload.clone()), 2);
                        }
                    }
                }
                Step::Flush => {
                    let [first, second] = both.each_mut().map(|it| it.flush(now));
                    prop_assert_eq!(&first, &second);
                    seen += first.iter().map(total).sum::<f64>();
                }
                Step::Restart => both[0].metrics = restarted(&both[0].metrics, &settings),
            }
        }
        prop_assert!((seen - expected).abs() < 0.5, "{} of {}", seen, expected);
    }
}
