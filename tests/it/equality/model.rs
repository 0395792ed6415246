//! A naive model: it keeps all windows and computes each flush from the first of them.

use std::collections::BTreeMap;

use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_model::event::{Time, TrackKind};
use livekit_otel_model::hex;
use livekit_otel_model::signal::Temporality;
use sha2::{Digest, Sha256};

use super::history::{Step, Window, has_own_trace};
use super::points::{Distribution, Point, Value};

const MS: u64 = 1_000_000;
const IDLE: u64 = 300_000 * MS;

type Attributes = BTreeMap<String, String>;
/// A window, and when it arrived.
type Arrival = (Time, Window);

/// A series of streams.
#[derive(Default)]
struct Life {
    windows: Vec<Arrival>,
    // How many of them the last flush had.
    flushed: usize,
    start: u64,
    sent: Option<u64>,
    gauges: [bool; 3],
    ended: bool,
}

/// A class of the node's streams.
#[derive(Default)]
struct Class {
    windows: Vec<Arrival>,
    flushed: usize,
    start: Option<u64>,
    opened: [bool; 5],
}

/// The points of `lk.stream.*` and `lk.node.*` that a collector should receive.
pub(crate) fn expected(settings: Settings, steps: &[(Time, Step)]) -> Vec<Point> {
    let mut lives: BTreeMap<Attributes, Life> = BTreeMap::new();
    let mut classes: BTreeMap<Attributes, Class> = BTreeMap::new();
    let mut since = steps[0].0.nanos();
    let mut points = Vec::new();
    for (now, step) in steps {
        match step {
            Step::Window(window) => {
                let arrival = (*now, window.clone());
                if settings.level > Level::Node {
                    let key = series(settings.level, window);
                    lives.entry(key).or_default().windows.push(arrival.clone());
                }
                classes.entry(class(window)).or_default().windows.push(arrival);
            }
            Step::Leave(room, who) => lives
                .iter_mut()
                .filter(|(key, _)| key.get("lk.participant_id") == Some(&format!("PA_{room}{who}")))
                .for_each(|(_, life)| life.ended = true),
            Step::Close(room) if settings.level == Level::Room => lives
                .iter_mut()
                .filter(|(key, _)| key.get("lk.room_id") == Some(&format!("RM_{room}")))
                .for_each(|(_, life)| life.ended = true),
            Step::Flush => {
                for (key, life) in &mut lives {
                    life.flush(settings.temporality, key, now.nanos(), &mut points);
                }
                lives.retain(|_, life| !life.ended);
                for (key, class) in &mut classes {
                    class.flush(settings, key, (since, now.nanos()), &mut points);
                }
                since = now.nanos();
            }
            Step::Close(_) | Step::Pass(_) | Step::Restart => {}
        }
    }
    super::points::sort(&mut points);
    points
}

pub(crate) fn series(level: Level, of: &Window) -> Attributes {
    let mut key = Attributes::new();
    let mut put = |name: &str, text: String| key.insert(name.to_owned(), text);
    put("lk.room_id", format!("RM_{}", of.room));
    put("lk.pii.room_name", format!("room-{}", of.room));
    put("lk.direction", of.direction().as_str().to_owned());
    if level >= Level::Participant {
        put("lk.participant_id", format!("PA_{}{}", of.room, of.who));
        put("lk.pii.participant_identity", format!("who-{}", of.who));
    }
    if level == Level::Track {
        put("lk.track_id", of.track_sid());
        key.extend(of_track(of));
    }
    key
}

fn of_track(of: &Window) -> impl Iterator<Item = (String, String)> {
    let kind = of.kind().and_then(TrackKind::name).map(|kind| ("lk.track.kind", kind));
    let source = of.source().map(|source| ("lk.track_source", source.name()));
    [kind, source].into_iter().flatten().map(|(key, text)| (key.to_owned(), text.to_owned()))
}

pub(crate) fn class(of: &Window) -> Attributes {
    let mut key: Attributes = of_track(of).collect();
    key.insert("lk.direction".to_owned(), of.direction().as_str().to_owned());
    key
}

pub(crate) const STREAM: [&str; 12] = [
    "packets",
    "io",
    "retransmitted_packets",
    "retransmitted_io",
    "padding_packets",
    "padding_io",
    "packets_lost",
    "packets_out_of_order",
    "frames",
    "nacks",
    "plis",
    "firs",
];

fn sum(windows: &[Arrival], nth: usize) -> i64 {
    windows.iter().map(|(_, window)| i64::from(window.counts[nth])).sum()
}

fn max(windows: &[Arrival], of: impl Fn(&Window) -> Option<f64>) -> Option<f64> {
    let media = windows.iter().filter(|(_, window)| window.is_media());
    media.filter_map(|(_, window)| of(window)).reduce(f64::max)
}

// As exported: in seconds, from whole milliseconds and microseconds.
fn round_trip(of: &Window) -> Option<f64> {
    of.rtt.map(|rtt| f64::from(rtt) / 1e3)
}

fn jitter(of: &Window) -> Option<f64> {
    of.jitter.map(|jitter| f64::from(jitter) / 1e6)
}

impl Life {
    fn flush(&mut self, counts: Temporality, key: &Attributes, now: u64, to: &mut Vec<Point>) {
        let new = &self.windows[self.flushed..];
        let last = self.windows.iter().map(|(now, window)| window.at(*now).nanos()).max();
        let last = last.unwrap();
        self.ended |= new.is_empty() && now - last > IDLE;
        let (cumulative, kind) = match counts {
            Temporality::Cumulative => (true, "cumulative counter"),
            Temporality::Delta => (false, "delta counter"),
        };
        let point = |name: &str, kind: &str, start, time, value| Point {
            metric: format!("lk.stream.{name}"),
            kind: kind.to_owned(),
            attributes: key.clone(),
            start,
            time,
            value,
        };
        if !new.is_empty() {
            if self.sent.is_none() {
                let starts = self
                    .windows
                    .iter()
                    .map(|(now, window)| window.start(*now).unwrap_or(window.at(*now)).nanos());
                self.start = starts.min().unwrap();
            }
            self.start = self.start.min(last - MS);
            let time = self.sent.map_or(last, |sent| last.max(sent + MS));
            let start = if cumulative { self.start } else { self.sent.unwrap_or(self.start) };
            for (nth, name) in STREAM.iter().enumerate() {
                if cumulative && self.sent.is_none() {
                    to.push(point(name, kind, start, start, Value::Int(0)));
                }
                let counted = if cumulative { &self.windows } else { new };
                to.push(point(name, kind, start, time, Value::Int(sum(counted, nth))));
            }
            let scores: Vec<f64> = new
                .iter()
                .filter(|(_, window)| window.is_media())
                .filter_map(|(_, window)| window.score.map(f64::from))
                .collect();
            let mean =
                (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64);
            let measured = [max(new, round_trip), max(new, jitter), mean];
            for (nth, value) in measured.into_iter().enumerate() {
                let Some(value) = value else { continue };
                self.gauges[nth] = true;
                to.push(point(GAUGES[nth], "gauge", 0, time, Value::Float(value)));
            }
            self.sent = Some(time);
            self.flushed = self.windows.len();
        }
        let Some(sent) = self.sent.filter(|_| self.ended && cumulative) else { return };
        for name in STREAM {
            to.push(point(name, kind, self.start, sent + MS, Value::Nothing));
        }
        for (name, _) in GAUGES.iter().zip(self.gauges).filter(|(_, ever)| *ever) {
            to.push(point(name, "gauge", 0, sent + MS, Value::Nothing));
        }
    }
}

const GAUGES: [&str; 3] = ["round_trip", "jitter", "score"];

pub(crate) const NODE: [&str; 9] = [
    "packets",
    "io",
    "retransmitted_packets",
    "retransmitted_io",
    "packets_lost",
    "packets_out_of_order",
    "nacks",
    "plis",
    "firs",
];

pub(crate) const RATIO: [f64; 12] =
    [0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0];
pub(crate) const LATENCY: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 5.0];
pub(crate) const SCORE: [f64; 9] = [1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.1, 4.3, 4.5];

pub(crate) const QUALITY: [(&str, &[f64]); 5] = [
    ("loss", &RATIO),
    ("out_of_order", &RATIO),
    ("round_trip", &LATENCY),
    ("jitter", &LATENCY),
    ("score", &SCORE),
];

// Upstream folds a publisher's retransmissions into its packets.
pub(crate) fn node_counts(of: &Window) -> [i64; 9] {
    let [
        packets,
        bytes,
        sent,
        sent_bytes,
        padding,
        padding_bytes,
        lost,
        late,
        _,
        nacks,
        plis,
        firs,
    ] = of.counts.map(i64::from);
    let (folded, apart) =
        if of.upstream { ((sent, sent_bytes), (0, 0)) } else { ((0, 0), (sent, sent_bytes)) };
    [
        packets + padding + folded.0,
        bytes + padding_bytes + folded.1,
        apart.0,
        apart.1,
        lost,
        late,
        nacks,
        plis,
        firs,
    ]
}

pub(crate) fn measured(of: &Window, quality: usize) -> Option<f64> {
    if !of.is_media() {
        return None;
    }
    let packets = f64::from(of.counts[0]) + f64::from(of.counts[4]);
    let part = |count: u32| (packets > 0.0).then(|| f64::from(count) / packets);
    match quality {
        0 => part(of.counts[6]),
        1 => part(of.counts[7]),
        2 => round_trip(of),
        3 => jitter(of),
        _ => of.score.map(f64::from),
    }
}

impl Class {
    fn flush(
        &mut self,
        settings: Settings,
        key: &Attributes,
        (since, now): (u64, u64),
        to: &mut Vec<Point>,
    ) {
        let cumulative = settings.temporality == Temporality::Cumulative;
        let new = &self.windows[self.flushed..];
        if !cumulative && new.is_empty() {
            return;
        }
        let opens = cumulative && self.start.is_none();
        let start = if cumulative { *self.start.get_or_insert(since) } else { since };
        let counted = if cumulative { &self.windows[..] } else { new };
        let name = if cumulative { "cumulative" } else { "delta" };
        let point = |metric: &str, what: &str, time, value| Point {
            metric: format!("lk.node.{metric}"),
            kind: format!("{name} {what}"),
            attributes: key.clone(),
            start,
            time,
            value,
        };
        for (nth, metric) in NODE.iter().enumerate() {
            if opens {
                to.push(point(metric, "counter", start, Value::Int(0)));
            }
            let sum = counted.iter().map(|(_, window)| node_counts(window)[nth]).sum();
            to.push(point(metric, "counter", now, Value::Int(sum)));
        }
        for (nth, (metric, bounds)) in QUALITY.iter().enumerate() {
            let values: Vec<f64> =
                counted.iter().filter_map(|(_, window)| measured(window, nth)).collect();
            if values.is_empty() {
                continue;
            }
            let mut value = distribution(settings.histograms, bounds, &values);
            if cumulative && !self.opened[nth] {
                let zero = distribution(settings.histograms, bounds, &[]);
                to.push(point(metric, "histogram", start, Value::Distribution(zero)));
            }
            self.opened[nth] = true;
            value.exemplars = exemplars(new, nth, bounds);
            to.push(point(metric, "histogram", now, Value::Distribution(value)));
        }
        self.flushed = self.windows.len();
    }
}

fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.iter().filter(|bound| **bound < value).count()
}

fn distribution(histograms: Histograms, bounds: &[f64], values: &[f64]) -> Distribution {
    let range =
        values.iter().copied().reduce(f64::min).zip(values.iter().copied().reduce(f64::max));
    let totals = Distribution {
        count: values.len() as u64,
        sum: values.iter().fold(0.0, |sum, value| sum + value),
        range,
        ..Distribution::default()
    };
    if histograms == Histograms::Explicit {
        let of = |nth| values.iter().filter(|value| bucket(bounds, **value) == nth).count() as u64;
        let buckets = (0..=bounds.len()).map(of).collect();
        return Distribution { bounds: bounds.to_vec(), buckets, ..totals };
    }
    let positive: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
    let zeros = (values.len() - positive.len()) as u64;
    // The finest scale at which they are within 160 buckets.
    #[allow(clippy::cast_possible_truncation)] // at scale 20, a double's index is below 2^31
    let index = |scale: i32, value: f64| (value.log2() * 2_f64.powi(scale)).ceil() as i32 - 1;
    let at = |scale| positive.iter().map(move |value| index(scale, *value));
    let width = |scale| at(scale).max().zip(at(scale).min()).map_or(0, |(max, min)| max - min);
    let scale = (-10..=20).rev().find(|scale| width(*scale) < 160).unwrap();
    let offset = at(scale).min().unwrap_or(0);
    let nth = |index: i32| usize::try_from(index - offset).unwrap();
    let mut buckets = vec![0; at(scale).max().map_or(0, |last| nth(last) + 1)];
    at(scale).for_each(|index| buckets[nth(index)] += 1);
    Distribution { scale: Some((scale, zeros, offset)), buckets, ..totals }
}

// The first value of each bucket since the last flush.
fn exemplars(new: &[Arrival], quality: usize, bounds: &[f64]) -> Vec<(f64, u64, String, String)> {
    let mut firsts: BTreeMap<usize, _> = BTreeMap::new();
    for (now, window) in new {
        let Some(value) = measured(window, quality) else { continue };
        let (room, who) =
            (format!("RM_{}", window.room), format!("PA_{}{}", window.room, window.who));
        let trace = if has_own_trace(window.who) {
            hash::<16>(&format!("trace/{room}/{who}"))
        } else {
            hash::<16>(&format!("trace/{room}"))
        };
        let span = hash::<8>(&format!("participant/{room}/{who}"));
        let exemplar = (value, window.at(*now).nanos(), trace, span);
        firsts.entry(bucket(bounds, value)).or_insert(exemplar);
    }
    firsts.into_values().collect()
}

// As in the shell command of README.md.
fn hash<const N: usize>(of: &str) -> String {
    hex(&Sha256::digest(format!("livekit-otel/1/{of}"))[..N])
}
