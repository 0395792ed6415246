//! `livekit-prometheus-names.yaml` makes of our metrics those that LiveKit's server has: names, types,
//! labels and values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use livekit_otel_engine::Batch;
use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{Attribute, Data, Number, Value};

use super::scrape::{Sample, Scrape, about};
use super::{Built, Otelcol, PATIENCE, build, export, ours};
use crate::oracle::upstream_source;
use crate::parts::reserved_port;

const CONFIG: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/livekit-prometheus-names.yaml");

/// A metric of LiveKit's server, and what it is made of.
struct Mapped {
    name: &'static str,
    kind: &'static str,
    of: &'static str,
    /// LiveKit's units for one of ours.
    scale: f64,
    /// A label of it that ours is named for.
    label: Option<(&'static str, &'static str)>,
    /// Of the label that has a track's kind.
    track: &'static str,
}

const fn mapped(name: &'static str, kind: &'static str, of: &'static str, scale: f64) -> Mapped {
    Mapped { name, kind, of, scale, label: None, track: "type" }
}

impl Mapped {
    const fn with(self, key: &'static str, value: &'static str) -> Self {
        Self { label: Some((key, value)), ..self }
    }

    const fn by_kind(self) -> Self {
        Self { track: "kind", ..self }
    }
}

// As livekit-server 1.13.11 has them (pkg/telemetry/prometheus).
const MAPPED: [Mapped; 35] = [
    mapped("livekit_packet_total", "counter", "lk.node.packets", 1.0)
        .with("transmission", "initial"),
    mapped("livekit_packet_total", "counter", "lk.node.retransmitted_packets", 1.0)
        .with("transmission", "retransmit"),
    mapped("livekit_packet_bytes", "counter", "lk.node.io", 1.0).with("transmission", "initial"),
    mapped("livekit_packet_bytes", "counter", "lk.node.retransmitted_io", 1.0)
        .with("transmission", "retransmit"),
    mapped("livekit_nack_total", "counter", "lk.node.nacks", 1.0),
    mapped("livekit_pli_total", "counter", "lk.node.plis", 1.0),
    mapped("livekit_fir_total", "counter", "lk.node.firs", 1.0),
    mapped("livekit_packet_loss_total", "counter", "lk.node.packets_lost", 1.0),
    mapped("livekit_packet_loss_percent", "histogram", "lk.node.loss", 100.0),
    mapped("livekit_packet_out_of_order_total", "counter", "lk.node.packets_out_of_order", 1.0),
    mapped("livekit_packet_out_of_order_percent", "histogram", "lk.node.out_of_order", 100.0),
    mapped("livekit_jitter_us", "histogram", "lk.node.jitter", 1e6),
    mapped("livekit_rtt_ms", "histogram", "lk.node.round_trip", 1e3),
    mapped("livekit_quality_score", "histogram", "lk.node.score", 1.0),
    mapped("livekit_participant_join_total", "counter", "lk.node.joins", 1.0),
    mapped("livekit_participant_total", "gauge", "lk.participant.count", 1.0),
    mapped("livekit_room_total", "gauge", "lk.room.count", 1.0),
    mapped("livekit_room_duration_seconds", "histogram", "lk.room.duration", 1.0),
    mapped("livekit_track_published_total", "gauge", "lk.track.count", 1.0).by_kind(),
    mapped("livekit_track_subscribed_total", "gauge", "lk.node.subscribed_tracks", 1.0).by_kind(),
    mapped("livekit_track_publish_counter", "counter", "lk.node.publishes", 1.0).by_kind(),
    mapped("livekit_track_subscribe_counter", "counter", "lk.node.subscribes", 1.0),
    mapped("livekit_session_join_latency_ms", "histogram", "lk.node.session.join.duration", 1e3),
    mapped("livekit_session_start_time_ms", "histogram", "lk.participant.connect.duration", 1e3),
    mapped("livekit_session_duration_ms", "histogram", "lk.participant.duration", 1e3),
    mapped("livekit_pubsubtime_ms", "histogram", "lk.track.publish.duration", 1e3)
        .with("direction", "publish"),
    mapped("livekit_pubsubtime_ms", "histogram", "lk.track.subscribe.duration", 1e3)
        .with("direction", "subscribe"),
    mapped("livekit_forward_latency_ns", "histogram", "lk.node.forward.latency", 1e9),
    mapped("livekit_forward_latency", "gauge", "lk.node.forward.latency_p90", 1e9),
    mapped("livekit_fec_total", "counter", "lk.node.fec_packets", 1.0),
    mapped("livekit_fec_bytes", "counter", "lk.node.fec_io", 1.0).with("type", "received"),
    mapped("livekit_keyframe_total", "counter", "lk.node.key_frames", 1.0),
    mapped("livekit_rtx_capped_total", "counter", "lk.node.capped_retransmissions", 1.0).by_kind(),
    mapped("livekit_track_packet_trailer_total", "gauge", "lk.node.packet_trailer_tracks", 1.0),
    mapped(
        "livekit_track_packet_trailer_feature_total",
        "gauge",
        "lk.node.packet_trailer_features",
        1.0,
    ),
];

type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Last {
    Number(f64),
    /// Count, sum, and the highest bucket that has a bound, with it.
    Distribution(u64, f64, (f64, u64)),
}

// The last of each series.
fn last_points(batch: &Batch, of: &str) -> Vec<(Vec<Attribute>, Last)> {
    let mut last: BTreeMap<String, (Time, Vec<Attribute>, Last)> = BTreeMap::new();
    let mut put = |time, attributes: &[Attribute], value| {
        let key = format!("{attributes:?}");
        let is_later = last.get(&key).is_none_or(|before| before.0 <= time);
        if is_later {
            last.insert(key, (time, attributes.to_vec(), value));
        }
    };
    for metric in batch.metrics.iter().filter(|metric| metric.name == of) {
        match &metric.data {
            Data::Gauge(points) | Data::Sum { points, .. } => points.iter().for_each(|point| {
                let value = match point.value.unwrap() {
                    Number::Int(value) => value as f64,
                    Number::Float(value) => value,
                };
                put(point.time, &point.attributes, Last::Number(value));
            }),
            Data::Histogram { bounds, points, .. } => points.iter().for_each(|point| {
                let below = point.buckets[..bounds.len()].iter().sum();
                let highest = (bounds[bounds.len() - 1], below);
                let value = Last::Distribution(point.count, point.sum, highest);
                put(point.time, &point.attributes, value);
            }),
            Data::Exponential { .. } => panic!("{of} is exponential"),
        }
    }
    last.into_values().map(|(_, attributes, value)| (attributes, value)).collect()
}

// LiveKit's labels for one of our series.
fn labels(mapped: &Mapped, attributes: &[Attribute]) -> Labels {
    let mut labels = Labels::from([("node_type".to_owned(), "SERVER".to_owned())]);
    let mut put = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    if let Some((key, value)) = mapped.label {
        put(key, value);
    }
    let mut has = BTreeSet::new();
    for Attribute { key, value } in attributes {
        has.insert(*key);
        let text = match value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        match (*key, &*text) {
            ("lk.direction", "upstream") => put("direction", "incoming"),
            ("lk.direction", "downstream") => put("direction", "outgoing"),
            ("lk.node_id", node) => put("node_id", node),
            ("lk.track.kind", kind) if mapped.name == "livekit_rtx_capped_total" => {
                put("kind", kind)
            }
            ("lk.track.kind", kind) => put(mapped.track, &kind.to_uppercase()),
            ("lk.track_source", source) => put("source", &upstream_source(source)),
            ("lk.join.state" | "lk.attempt.state", state) => put("state", state),
            ("lk.join.warp", "Bool(true)") => put("warp", "true"),
            ("lk.join.warp", "Bool(false)") => put("warp", "false"),
            ("lk.client.sdk", sdk) => put("sdk", sdk),
            ("lk.fec.type", what) => put("type", what),
            ("lk.track.packet_trailer_feature", feature) => put("feature", feature),
            ("error.type", error) => put("error", error),
            ("lk.client.protocol_version", "Int(16)") => put("protocol_version", "16"),
            other => panic!("{}: {other:?}", mapped.of),
        };
    }
    if mapped.track == "type" && has.contains("lk.track.kind") && !has.contains("lk.track_source") {
        labels.insert("source".to_owned(), "UNKNOWN".to_owned());
    }
    labels
}

fn is(sample: &Sample, name: &str, labels: &Labels) -> bool {
    let own = |key: &&String| !["job", "instance", "le"].contains(&key.as_str());
    sample.name == name
        && sample.labels.keys().filter(own).eq(labels.keys())
        && labels.iter().all(|(key, value)| sample.labels.get(key) == Some(value))
}

// Of exactly this series.
fn has(scrape: &Scrape, name: &str, labels: &Labels, expected: f64) -> Result<(), String> {
    let found: Vec<_> = scrape.samples.iter().filter(|it| is(it, name, labels)).collect();
    match found[..] {
        [sample] if about(sample.value, expected) => Ok(()),
        _ => Err(format!("{name} {labels:?} should be {expected}: {found:?}")),
    }
}

fn has_bucket(
    scrape: &Scrape,
    name: &str,
    labels: &Labels,
    (bound, below): (f64, u64),
) -> Result<(), String> {
    let name = format!("{name}_bucket");
    let le = |sample: &Sample| sample.labels["le"].parse::<f64>().unwrap();
    let at = |sample: &&Sample| is(sample, &name, labels) && about(le(sample), bound);
    let found: Vec<_> = scrape.samples.iter().filter(at).map(|sample| sample.value).collect();
    let expected = [below as f64];
    (found == expected).then_some(()).ok_or(format!("{name} {labels:?} {bound}: {found:?}"))
}

fn check(scrape: &Scrape, batch: &Batch, mapped: &Mapped) -> Result<(), String> {
    let (name, scale) = (mapped.name, mapped.scale);
    let kind = scrape.types.get(name).map(|kind| &**kind);
    (kind == Some(mapped.kind)).then_some(()).ok_or(format!("{name} is a {kind:?}"))?;
    let mut points = last_points(batch, mapped.of);
    // LiveKit's server times what succeeds, and counts the losses of tracks.
    points.retain(|(attributes, _)| {
        let has = |key| attributes.iter().any(|of| of.key == key);
        !(mapped.of.ends_with(".duration") && has("error.type")
            || mapped.of.starts_with("lk.node.packets_") && !has("lk.track.kind"))
    });
    assert!(!points.is_empty(), "{} has no points", mapped.of);
    for (attributes, value) in &points {
        let labels = labels(mapped, attributes);
        match *value {
            Last::Number(value) => has(scrape, name, &labels, value * scale)?,
            Last::Distribution(count, sum, (bound, below)) => {
                has(scrape, &format!("{name}_count"), &labels, count as f64)?;
                has(scrape, &format!("{name}_sum"), &labels, sum * scale)?;
                has_bucket(scrape, name, &labels, (bound * scale, below))?;
            }
        }
    }
    Ok(())
}

// Made of a count of distributions: who joined, in whatever way it went on.
fn check_joined(scrape: &Scrape, batch: &Batch) -> Result<(), String> {
    let name = "livekit_node_service_operation";
    let joined = last_points(batch, "lk.participant.connect.duration");
    let joined = joined.iter().map(|(_, value)| match value {
        Last::Distribution(count, ..) => *count as f64,
        Last::Number(_) => panic!("a duration is a distribution"),
    });
    let labels = [("type", "participant_join"), ("status", "success"), ("node_type", "SERVER")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    has(scrape, name, &labels, joined.fold(0.0, |sum, count| sum + count))
}

fn start(built: &Built) -> (Otelcol, u16) {
    let scraped = reserved_port();
    let listen = [("LIVEKIT_NAMES_LISTEN", format!("127.0.0.1:{scraped}"))];
    (Otelcol::start(&built.otelcol, CONFIG, &listen), scraped)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_metrics_are_scraped_under_livekits_names() {
    let Some(built) = build() else { return };
    let (otelcol, scraped) = start(built);
    let batch = ours::of_a_call(Settings { level: Level::Track, top_n: 2, ..Settings::default() });
    ours::send(&export(&otelcol.endpoint), &batch).await;
    let until = Instant::now() + PATIENCE;
    // Its batches leave in parts.
    let scrape = loop {
        let scrape = Scrape::of(scraped);
        let mapped = MAPPED.iter().map(|mapped| check(&scrape, &batch, mapped));
        let all: Result<Vec<()>, _> = mapped.chain([check_joined(&scrape, &batch)]).collect();
        let Err(wrong) = all else { break scrape };
        assert!(Instant::now() < until, "{wrong}");
    };
    let mut names: BTreeSet<_> = MAPPED.iter().map(|mapped| mapped.name).collect();
    names.extend(["livekit_node_service_operation", "target_info"]);
    assert_eq!(scrape.types.keys().map(|name| &**name).collect::<BTreeSet<_>>(), names);
    assert_eq!(otelcol.stop(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exponential_histograms_are_left_out_and_not_scraped_in_wrong_units() {
    let Some(built) = build() else { return };
    let (otelcol, scraped) = start(built);
    let settings = Settings { histograms: Histograms::Exponential, ..Settings::default() };
    ours::send(&export(&otelcol.endpoint), &ours::of_a_call(settings)).await;
    let scrape = Scrape::when(scraped, |scrape| scrape.types.contains_key("livekit_room_total"));
    assert!(!scrape.types.values().any(|kind| kind == "histogram"), "{}", scrape.text);
    assert_eq!(otelcol.stop(), [""; 0]);
}
