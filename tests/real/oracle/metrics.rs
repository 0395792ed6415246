//! The node's metrics, ours under upstream's names: the mapping of docs/metrics.md.

use std::collections::BTreeMap;

use livekit_otel_engine::session::Census;
use livekit_otel_engine::stats::{NodeReports, NodeStreamSource, Settings, Stats};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Data, Metric, Number, Temporality, Value as Attr};
use proptest::test_runner::TestCaseError;
use serde_json::{Map, Value};

/// By upstream's name and labels: a sum, or a distribution's count and sum.
pub(super) type Values = BTreeMap<String, (f64, f64)>;

/// Upstream's changes; of its distributions the count and the sum.
pub(super) fn of_upstream(metrics: &Map<String, Value>) -> Values {
    let mut values = Values::new();
    let documented = include_str!("../../../docs/metrics.md");
    for (name, change) in metrics {
        let (metric, _) = name.split_once('{').unwrap();
        assert!(documented.contains(&format!("`{metric}`")), "{metric} has no row");
        // The text of an error is not for a label.
        let name = name.replace("error=\"no such track\"", "error=\"…\"");
        let value = match change {
            Value::Object(of) => (of["count"].as_f64().unwrap(), of["sum"].as_f64().unwrap()),
            change => (change.as_f64().unwrap(), 0.0),
        };
        let sum = values.entry(name).or_default();
        *sum = (sum.0 + value.0, sum.1 + value.1);
    }
    values
}

/// What was recorded, under upstream's names.
pub(super) fn of_reports(reports: NodeReports) -> Values {
    let settings = Settings {
        temporality: Temporality::Delta,
        node_streams: NodeStreamSource::Reports,
        ..Settings::default()
    };
    let now = Time::from_secs(1_800_000_000).unwrap();
    let mut stats = Stats::new(settings, now);
    stats.reports(reports);
    let mut values = Values::new();
    for metric in stats.flush(now, &Census::default()) {
        each_point(&metric, |attributes, value| {
            for (name, scale) in theirs(metric.name, attributes) {
                let sum = values.entry(name).or_default();
                *sum = (sum.0 + value.0, sum.1 + value.1 * scale);
            }
        });
    }
    values.retain(|name, value| value.0 != 0.0 || name.contains("_percent"));
    values
}

fn each_point(metric: &Metric, mut each: impl FnMut(&[Attribute], (f64, f64))) {
    match &metric.data {
        Data::Sum { points, .. } => {
            for point in points {
                let Some(Number::Int(value)) = point.value else { continue };
                each(&point.attributes, (value as f64, 0.0));
            }
        }
        Data::Histogram { points, .. } => {
            for point in points {
                each(&point.attributes, (point.count as f64, point.sum));
            }
        }
        Data::Gauge(_) | Data::Exponential { .. } => {}
    }
}

fn text(attributes: &[Attribute], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.map(|attribute| &attribute.value) {
        Some(Attr::Text(text)) => text.to_string(),
        Some(Attr::Bool(flag)) => flag.to_string(),
        Some(Attr::Int(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The label that upstream has for a value of `lk.track_source`.
pub(crate) fn upstream_source(source: &str) -> String {
    source.trim_start_matches("SOURCE_").replace("SCREENSHARE", "SCREEN_SHARE")
}

// Upstream's names of one of our points, and what its sum is multiplied by.
fn theirs(name: &str, attributes: &[Attribute]) -> Vec<(String, f64)> {
    let get = |key| text(attributes, key);
    let direction = if get(key::DIRECTION) == "upstream" { "incoming" } else { "outgoing" };
    let country = get(key::CLIENT_COUNTRY);
    let kind = get(key::TRACK_KIND).to_uppercase();
    let source = upstream_source(&get(key::TRACK_SOURCE));
    let sent = |name: &str, transmission: &str| {
        format!(
            "{name}{{country={country:?},direction={direction:?},transmission={transmission:?}}}"
        )
    };
    // Tracks of data have no kind of ours.
    let of_kind = if kind.is_empty() { "DATA" } else { &kind };
    let asked = |name: &str| format!("{name}{{country={country:?},direction={direction:?}}}");
    let of_track = |name: &str| {
        format!(
            "{name}{{country={country:?},direction={direction:?},source={source:?},type={kind:?}}}"
        )
    };
    let state = get(key::ATTEMPT_STATE);
    let (sdk, warp) = (get(key::CLIENT_SDK), get(key::JOIN_WARP));
    let one = match name {
        metric::NODE_PACKETS => (sent("livekit_packet_total", "initial"), 1.0),
        metric::NODE_RETRANSMITTED_PACKETS => (sent("livekit_packet_total", "retransmit"), 1.0),
        metric::NODE_IO => (sent("livekit_packet_bytes", "initial"), 1.0),
        metric::NODE_RETRANSMITTED_IO => (sent("livekit_packet_bytes", "retransmit"), 1.0),
        metric::NODE_NACKS => (asked("livekit_nack_total"), 1.0),
        metric::NODE_PLIS => (asked("livekit_pli_total"), 1.0),
        metric::NODE_FIRS => (asked("livekit_fir_total"), 1.0),
        // Of data and signalling upstream counts no quality.
        metric::NODE_PACKETS_LOST | metric::NODE_PACKETS_OUT_OF_ORDER if kind.is_empty() => {
            return Vec::new();
        }
        metric::NODE_PACKETS_LOST => (of_track("livekit_packet_loss_total"), 1.0),
        metric::NODE_PACKETS_OUT_OF_ORDER => (of_track("livekit_packet_out_of_order_total"), 1.0),
        metric::NODE_LOSS => (of_track("livekit_packet_loss_percent"), 100.0),
        metric::NODE_OUT_OF_ORDER => (of_track("livekit_packet_out_of_order_percent"), 100.0),
        metric::NODE_ROUND_TRIP => (of_track("livekit_rtt_ms"), 1e3),
        metric::NODE_JITTER => (of_track("livekit_jitter_us"), 1e6),
        metric::NODE_PARTICIPANTS => ("livekit_participant_total{}".to_owned(), 1.0),
        metric::NODE_JOINS => {
            let state = get(key::JOIN_STATE);
            let labels = format!("sdk={sdk:?},state={state:?},warp={warp:?}");
            (format!("livekit_participant_join_total{{{labels}}}"), 1.0)
        }
        metric::NODE_SESSION_START_DURATION => {
            let version = get(key::PROTOCOL_VERSION);
            let labels = format!("protocol_version={version:?},sdk={sdk:?},warp={warp:?}");
            (format!("livekit_session_start_time_ms{{{labels}}}"), 1e3)
        }
        metric::NODE_FEC_PACKETS => {
            let what = get(key::FEC_TYPE);
            (format!("livekit_fec_total{{direction={direction:?},type={what:?}}}"), 1.0)
        }
        metric::NODE_FEC_IO => {
            (format!("livekit_fec_bytes{{direction={direction:?},type=\"received\"}}"), 1.0)
        }
        metric::NODE_KEY_FRAMES => {
            (format!("livekit_keyframe_total{{direction={direction:?}}}"), 1.0)
        }
        metric::NODE_CAPPED_RETRANSMISSIONS => {
            let kind = kind.to_lowercase();
            (format!("livekit_rtx_capped_total{{kind={kind:?}}}"), 1.0)
        }
        metric::NODE_PACKET_TRAILER_TRACKS => {
            ("livekit_track_packet_trailer_total{}".to_owned(), 1.0)
        }
        metric::NODE_PACKET_TRAILER_FEATURES => {
            let feature = get(key::PACKET_TRAILER_FEATURE);
            (format!("livekit_track_packet_trailer_feature_total{{feature={feature:?}}}"), 1.0)
        }
        metric::NODE_PUBLISHED_TRACKS => {
            (format!("livekit_track_published_total{{kind={of_kind:?}}}"), 1.0)
        }
        metric::NODE_SUBSCRIBED_TRACKS => {
            (format!("livekit_track_subscribed_total{{kind={of_kind:?}}}"), 1.0)
        }
        metric::NODE_PUBLISHES => {
            (format!("livekit_track_publish_counter{{kind={of_kind:?},state={state:?}}}"), 1.0)
        }
        metric::NODE_SUBSCRIBES => {
            let error = if state == "failure" { "…" } else { "" };
            (format!("livekit_track_subscribe_counter{{error={error:?},state={state:?}}}"), 1.0)
        }
        // Upstream records it apart from its reports, and counts rooms and the like elsewhere.
        metric::NODE_SCORE
        | metric::ROOM_COUNT
        | metric::PARTICIPANT_COUNT
        | metric::TRACK_COUNT => return Vec::new(),
        other => panic!("{other} has no name of upstream's"),
    };
    vec![one]
}

/// Sums of floats may differ in their last places: those of many values are made in another order.
pub(super) fn compare(ours: &Values, theirs: &Values) -> Result<(), TestCaseError> {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0);
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let [a, b] = [ours, theirs].map(|of| of.get(name).copied().unwrap_or_default());
        if !near(a.0, b.0) || !near(a.1, b.1) {
            let difference = format!("{name}: ours {a:?}, upstream's {b:?}");
            return Err(TestCaseError::fail(difference));
        }
    }
    Ok(())
}
