//! Which series each level has and how many, and how those over the limit are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livekit_otel_engine::session::{Census, Description, Fact, StreamContext};
use livekit_otel_engine::stats::{Level, Settings, Stats, most_series};
use livekit_otel_model::event::{
    Counter, Counts, Direction, Identity, ParticipantSid, RoomName, RoomSid, StreamStat, TrackKind,
    TrackSid,
};
use livekit_otel_model::signal::{Data, Metric, Number, Series, Value};

use crate::messages::at;

const ROOMS: usize = 3;
const PARTICIPANTS: usize = 4;
const TRACKS: usize = 2;

// The lines of README.md: what a series is of, and how many series there are.
const STATED: [(Level, &str); 4] = [
    (Level::Node, "| `node` | a node | none |"),
    (Level::Room, "| `room` | a room, in each direction | 30 × rooms |"),
    (
        Level::Participant,
        "| `participant` | a participant, in each direction | 30 × participants |",
    ),
    (
        Level::Track,
        "| `track` | a track, once for its sender and once for each receiver | 15 × tracks sent and received |",
    ),
];

fn stat(room: usize, who: usize, track: usize, direction: Direction) -> StreamStat {
    let of = |kind: &str, nth: usize| format!("{kind}_{room}{nth}");
    StreamStat {
        id: "".into(),
        at: Some(at(29_000)),
        node: None,
        room: RoomSid::new(&format!("RM_{room}")).unwrap(),
        room_name: None,
        participant: ParticipantSid::new(&of("PA", who)).unwrap(),
        track: TrackSid::new(&format!("{}{track}{}", of("TR", who), direction.as_str())).unwrap(),
        direction,
        mime_type: None,
        score: Some(4.0),
        min_score: Some(4.0),
        start: Some(at(1000)),
        end: Some(at(29_000)),
        counts: Counts::from([(Counter::Packets, 100), (Counter::PacketsLost, 1)]),
        rtt: Some(Duration::from_millis(20)),
        jitter: Some(Duration::from_millis(2)),
    }
}

fn context(who: usize) -> StreamContext {
    StreamContext {
        room_name: RoomName::new("standup"),
        identity: Identity::new(&format!("who-{who}")),
        description: Description::new(Some(TrackKind::Audio), None),
        own_trace: Some(false),
    }
}

fn flush(stats: &mut Stats, millis: i64) -> Vec<Metric> {
    let mut metrics = stats.flush(at(millis), &Census::default());
    while let Some(table) = stats.flush_streams() {
        metrics.extend(table.metrics());
    }
    metrics
}

fn all_streams(stats: &mut Stats) {
    for room in 0..ROOMS {
        for who in 0..PARTICIPANTS {
            for track in 0..TRACKS {
                for direction in [Direction::Upstream, Direction::Downstream] {
                    let stat = stat(room, who, track, direction);
                    stats.window(&stat, &context(who), at(29_000));
                }
            }
        }
    }
}

fn text(series: &Series) -> String {
    format!("{series:?}")
}

fn starting_with<'a>(metrics: &'a [Metric], prefix: &str) -> Vec<&'a Metric> {
    metrics.iter().filter(|metric| metric.name.starts_with(prefix)).collect()
}

#[test]
fn each_level_has_as_many_series_as_the_readme_states() {
    let readme = std::fs::read_to_string(format!("{}/README.md", env!("CARGO_MANIFEST_DIR")));
    let readme = readme.unwrap();
    for (level, stated) in STATED {
        assert!(readme.contains(stated), "README.md has no line `{stated}`");
        let mut stats = Stats::new(Settings { level, ..Settings::default() }, at(0));
        all_streams(&mut stats);
        let metrics = flush(&mut stats, 30_000);
        let series: BTreeSet<(&str, String)> = starting_with(&metrics, "lk.stream.")
            .iter()
            .flat_map(|metric| metric.data.series().into_iter().map(|of| (metric.name, text(of))))
            .collect();
        let (rooms, participants) = (ROOMS, ROOMS * PARTICIPANTS);
        let tracks = participants * TRACKS * 2;
        let [rooms, participants, tracks] = [rooms, participants, tracks].map(|n| n as u64);
        assert_eq!(
            series.len() as u64,
            most_series(level, rooms, participants, tracks),
            "{level:?}"
        );
        let factor = stated.split("| ").last().unwrap().split(" × ").next().unwrap();
        let of = match level {
            Level::Node => 0,
            Level::Room => rooms,
            Level::Participant => participants,
            Level::Track => tracks,
            other => panic!("{other:?}"),
        };
        assert_eq!(series.len() as u64, factor.parse().unwrap_or(0) * of, "{stated}");
    }
}

#[test]
fn without_names_series_have_only_ids() {
    for names in [true, false] {
        let settings = Settings { level: Level::Track, top_n: 2, names, ..Settings::default() };
        let mut stats = Stats::new(settings, at(0));
        all_streams(&mut stats);
        let metrics = flush(&mut stats, 30_000);
        for prefix in ["lk.stream.", "lk.worst."] {
            let metrics = starting_with(&metrics, prefix);
            let mut keys =
                metrics.iter().flat_map(|metric| metric.data.series()).flat_map(|series| {
                    series.iter().map(|attribute| attribute.key).collect::<Vec<_>>()
                });
            let keys: BTreeSet<_> = keys.by_ref().collect();
            assert!(keys.contains("lk.room_id") && keys.contains("lk.participant_id"), "{prefix}");
            let has =
                ["lk.pii.room_name", "lk.pii.participant_identity"].map(|key| keys.contains(key));
            assert_eq!(has, [names; 2], "{prefix} {keys:?}");
        }
    }
}

// The last value of each series of a counter.
fn sums(metrics: &[Metric], name: &str) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for metric in starting_with(metrics, name).into_iter().filter(|metric| metric.name == name) {
        let Data::Sum { points, .. } = &metric.data else { panic!("a sum") };
        for point in points {
            let Some(Number::Int(value)) = point.value else { continue };
            sums.insert(text(&point.attributes), value);
        }
    }
    sums
}

#[test]
fn windows_over_the_limit_share_one_series_and_are_counted() {
    let settings = Settings { cardinality_limit: 5, ..Settings::default() };
    let mut stats = Stats::new(settings, at(0));
    all_streams(&mut stats);
    let metrics = flush(&mut stats, 30_000);
    let packets = sums(&metrics, "lk.stream.packets");
    assert_eq!(packets.len(), 6);
    let windows = i64::try_from(ROOMS * PARTICIPANTS * TRACKS * 2).unwrap();
    assert_eq!(packets.values().sum::<i64>(), windows * 100, "nothing is left out");
    let over: Vec<_> = packets.iter().filter(|(series, _)| series.contains("overflow")).collect();
    let own = 5 * i64::try_from(TRACKS).unwrap();
    assert_eq!(over.len(), 1);
    assert_eq!(*over[0].1, (windows - own) * 100);
    let series = starting_with(&metrics, "lk.stream.packets")[0].data.series();
    let marked: Vec<_> = series.iter().filter(|of| of[0].key == "otel.metric.overflow").collect();
    assert!(marked.iter().all(|of| of.len() == 1 && of[0].value == Value::Bool(true)));
    let overflows = sums(&metrics, "lk.stream.overflows");
    assert_eq!(overflows.values().copied().collect::<Vec<_>>(), [windows - own]);
}

#[test]
fn a_participant_gets_its_own_series_once_another_has_left() {
    let settings = Settings { cardinality_limit: 1, ..Settings::default() };
    let mut stats = Stats::new(settings, at(0));
    for who in [0, 1] {
        stats.window(&stat(0, who, 0, Direction::Upstream), &context(who), at(29_000));
    }
    let first = sums(&flush(&mut stats, 30_000), "lk.stream.packets");
    assert!(first.keys().any(|series| series.contains("PA_00")));
    let (room, participant) =
        (RoomSid::new("RM_0").unwrap(), ParticipantSid::new("PA_00").unwrap());
    let (is_agent, identity) = (false, None);
    let left = Fact::ParticipantReleased { room, participant, is_agent, identity };
    stats.fact(&left);
    flush(&mut stats, 60_000);
    // The shared series ends only when it is idle, after five minutes.
    flush(&mut stats, 600_000);
    let late = StreamStat { at: Some(at(629_000)), ..stat(0, 1, 0, Direction::Upstream) };
    stats.window(&late, &context(1), at(630_000));
    let packets = sums(&flush(&mut stats, 630_000), "lk.stream.packets");
    assert_eq!(packets.len(), 1);
    assert!(packets.keys().all(|series| series.contains("PA_01")), "{packets:?}");
}

// Each named participant with its value; `None` marks an end.
fn worst(metrics: &[Metric], name: &str) -> BTreeMap<String, Option<f64>> {
    let metric = starting_with(metrics, name)[0];
    let Data::Gauge(points) = &metric.data else { panic!("a gauge") };
    let who = |series: &Series| {
        let of = series.iter().find(|each| each.key == "lk.pii.participant_identity").unwrap();
        let Value::Text(identity) = &of.value else { panic!("a text") };
        identity.to_string()
    };
    let value = |value| match value {
        Some(Number::Float(value)) => Some(value),
        _ => None,
    };
    points.iter().map(|point| (who(&point.attributes), value(point.value))).collect()
}

#[test]
fn the_worst_are_named_at_any_level_until_others_are_worse() {
    let settings = Settings { level: Level::Node, top_n: 2, ..Settings::default() };
    let mut stats = Stats::new(settings, at(0));
    let apply = |stats: &mut Stats, millis, scores: [f32; 4]| {
        for (who, score) in scores.into_iter().enumerate() {
            let round_trip = Duration::from_millis(10 * (who as u64 + 1));
            let lost = 10 - who as u64;
            let counts = Counts::from([(Counter::Packets, 99), (Counter::PacketsLost, lost)]);
            let (score, rtt) = (Some(score), Some(round_trip));
            let now = at(millis);
            let stat = StreamStat {
                score,
                rtt,
                counts,
                at: Some(now),
                ..stat(0, who, 0, Direction::Downstream)
            };
            stats.window(&stat, &context(who), now);
        }
    };
    apply(&mut stats, 29_000, [4.0, 2.0, 3.0, 1.0]);
    let metrics = flush(&mut stats, 30_000);
    assert!(starting_with(&metrics, "lk.stream.").is_empty());
    let of = |pairs: &[(&str, Option<f64>)]| -> BTreeMap<String, Option<f64>> {
        pairs.iter().map(|(who, value)| ((*who).to_owned(), *value)).collect()
    };
    let expected = of(&[("who-3", Some(1.0)), ("who-1", Some(2.0))]);
    assert_eq!(worst(&metrics, "lk.worst.score"), expected);
    let expected = of(&[("who-0", Some(10.0 / 99.0)), ("who-1", Some(9.0 / 99.0))]);
    assert_eq!(worst(&metrics, "lk.worst.loss"), expected);
    let expected = of(&[("who-3", Some(0.04)), ("who-2", Some(0.03))]);
    assert_eq!(worst(&metrics, "lk.worst.round_trip"), expected);
    // One has recovered: its series ends.
    apply(&mut stats, 59_000, [4.0, 2.0, 3.0, 4.5]);
    let expected = of(&[("who-3", None), ("who-1", Some(2.0)), ("who-2", Some(3.0))]);
    assert_eq!(worst(&flush(&mut stats, 60_000), "lk.worst.score"), expected);
    // Without windows no participant is named.
    let expected = of(&[("who-1", None), ("who-2", None)]);
    assert_eq!(worst(&flush(&mut stats, 90_000), "lk.worst.score"), expected);
}
