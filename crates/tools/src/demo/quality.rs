//! A table of each participant's quality, from the metric points.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::received::{Counts, Measured, Point, Telemetry};
use super::text::{Ink, Page, left, percent, right, seconds, shorten, width};
use livekit_otel_ledger::report::grouped;
use livekit_otel_model::semconv::{key, metric};

/// The most rows that are shown.
const MOST_ROWS: usize = 40;

/// The metrics that are shown.
const SHOWN: [&str; 5] = [
    metric::STREAM_PACKETS,
    metric::STREAM_PACKETS_LOST,
    metric::STREAM_ROUND_TRIP,
    metric::STREAM_JITTER,
    metric::STREAM_SCORE,
];

/// A sum over the series of a row: the last value of a cumulative series, all values of a delta
/// one.
#[derive(Default)]
struct Total {
    cumulative: BTreeMap<(String, u64), (u64, f64)>,
    delta: Option<f64>,
}

impl Total {
    fn add(&mut self, point: &Point, value: f64) {
        if point.counts == Counts::Delta {
            *self.delta.get_or_insert(0.0) += value;
            return;
        }
        // A new start is a restarted counter, whose value adds to the old one's.
        let series = (format!("{:?}", point.attributes), point.start);
        let last = self.cumulative.entry(series).or_insert((point.time, value));
        if point.time >= last.0 {
            *last = (point.time, value);
        }
    }

    fn value(&self) -> Option<f64> {
        let cumulative = self.cumulative.values().map(|(_, value)| value);
        let cumulative = cumulative.copied().reduce(|sum, value| sum + value);
        match (cumulative, self.delta) {
            (None, None) => None,
            (cumulative, delta) => Some(cumulative.unwrap_or(0.0) + delta.unwrap_or(0.0)),
        }
    }
}

/// The latest value.
#[derive(Default)]
struct Last(Option<(u64, f64)>);

impl Last {
    fn add(&mut self, point: &Point, value: f64) {
        if self.0.is_none_or(|(time, _)| point.time >= time) {
            self.0 = Some((point.time, value));
        }
    }

    fn value(&self) -> Option<f64> {
        self.0.map(|(_, value)| value)
    }
}

#[derive(Default)]
struct Row<'a> {
    identity: Option<&'a str>,
    packets: Total,
    lost: Total,
    round_trip: Last,
    jitter: Last,
    score: Last,
}

/// Room, participant and direction, upstream first.
type Key<'a> = (&'a str, &'a str, bool, &'a str);

/// Writes the table, with a dash for each missing value.
pub(super) fn render<W: Write>(received: &Telemetry, page: &mut Page<'_, W>) -> io::Result<()> {
    page.title("Quality", "  by participant and direction, from the metrics")?;
    let rows = rows(received);
    if rows.is_empty() {
        return page.line(&[(Ink::Dim, "  No participant's metrics have arrived.")]);
    }
    let heads = ["packets", "lost", "round trip", "jitter", "score"];
    page.line(&[(Ink::Dim, &line("  participant", "direction", heads))])?;
    let mut rows: Vec<(Key<'_>, Row<'_>)> = rows.into_iter().collect();
    rows.sort_by_key(|((room, sid, up, _), row)| (*room, row.identity, *sid, *up));
    let mut above = None;
    for ((room, sid, _, direction), row) in rows.iter().take(MOST_ROWS) {
        let who = if above == Some((room, sid)) { String::new() } else { who(sid, row.identity) };
        above = Some((room, sid));
        let cells = cells(row);
        page.line(&[(Ink::Plain, &line(&who, direction, cells.each_ref().map(String::as_str)))])?;
    }
    match rows.len().saturating_sub(MOST_ROWS) {
        0 => {}
        n => page.line(&[(Ink::Dim, &format!("  … and {n} more"))])?,
    }
    page.line(&[(Ink::Dim, "  round trip, jitter and score: from the last window that has them")])
}

fn rows(received: &Telemetry) -> BTreeMap<Key<'_>, Row<'_>> {
    let mut rows: BTreeMap<Key<'_>, Row<'_>> = BTreeMap::new();
    for point in &received.points {
        let text = |key| point.attributes.text(key);
        let (Some(sid), Measured::Number(value)) = (text(key::PARTICIPANT_ID), &point.value) else {
            continue;
        };
        if !SHOWN.contains(&point.name.as_str()) {
            continue;
        }
        let direction = text(key::DIRECTION).unwrap_or("-");
        let room = text(key::ROOM_ID).unwrap_or_default();
        let row = rows.entry((room, sid, direction != "upstream", direction)).or_default();
        row.identity = text(key::PARTICIPANT_IDENTITY).or(row.identity);
        match point.name.as_str() {
            metric::STREAM_PACKETS => row.packets.add(point, *value),
            metric::STREAM_PACKETS_LOST => row.lost.add(point, *value),
            metric::STREAM_ROUND_TRIP => row.round_trip.add(point, *value),
            metric::STREAM_JITTER => row.jitter.add(point, *value),
            metric::STREAM_SCORE => row.score.add(point, *value),
            _ => {}
        }
    }
    rows
}

fn who(sid: &str, identity: Option<&str>) -> String {
    let Some(identity) = identity else { return format!("  {sid}") };
    let sid = shorten(sid, 16);
    format!("  {}  {sid}", shorten(identity, 28 - 4 - width(&sid)))
}

fn line(
    who: &str,
    direction: &str,
    [packets, lost, round_trip, jitter, score]: [&str; 5],
) -> String {
    [
        left(who, 29),
        left(direction, 10),
        right(packets, 9),
        right(lost, 6),
        right(round_trip, 12),
        right(jitter, 8),
        right(score, 6),
    ]
    .concat()
}

fn cells(row: &Row<'_>) -> [String; 5] {
    let dash = || "-".to_owned();
    [
        row.packets.value().map_or_else(dash, whole),
        loss(row.packets.value(), row.lost.value()).unwrap_or_else(dash),
        row.round_trip.value().and_then(seconds).unwrap_or_else(dash),
        row.jitter.value().and_then(seconds).unwrap_or_else(dash),
        row.score.value().map_or_else(dash, |score| format!("{score:.1}")),
    ]
}

fn whole(n: f64) -> String {
    // Counts are integers far below 2^53; a negative one becomes 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    grouped(n.round() as u64)
}

/// The ratio of lost packets to all sent packets.
fn loss(packets: Option<f64>, lost: Option<f64>) -> Option<String> {
    let lost = lost?;
    let sent = packets? + lost;
    if sent <= 0.0 {
        return None;
    }
    Some(percent(lost / sent))
}
