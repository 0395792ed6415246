//! The metrics of a simulated agent: deltas, with the names and bounds of livekit-agents 1.8.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    metric::Data, number_data_point::Value,
};

use super::jobs::Turn;
use super::records::text;

// The defaults of OpenTelemetry's SDKs.
const BOUNDS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0,
    7_500.0, 10_000.0,
];
const DELTA: i32 = AggregationTemporality::Delta as i32;

/// The metrics of the turns that ended in a window, one point each; none if there were no turns.
pub(super) fn of_turns(turns: &[Turn], ids: &[KeyValue], times: (u64, u64)) -> Vec<Metric> {
    let answered: Vec<&Turn> =
        turns.iter().filter(|turn| !turn.is_greeting() && !turn.is_failed).collect();
    if answered.is_empty() {
        return Vec::new();
    }
    let attributes = |model: &str| {
        [ids, &[text("model_name", model), text("model_provider", "made-up")]].concat()
    };
    let latency = |name: &str, model: &str, of: fn(&Turn) -> Duration| {
        let values: Vec<f64> = answered.iter().map(|turn| of(turn).as_secs_f64()).collect();
        histogram(name, attributes(model), &values, times)
    };
    let used = |name: &str, model: &str, of: fn(&Turn) -> f64| {
        sum(name, attributes(model), answered.iter().map(|turn| of(turn)).sum(), times)
    };
    let (llm, stt, tts) = ("simulated-llm", "simulated-stt", "simulated-tts");
    vec![
        latency("lk.agents.turn.e2e_latency", llm, Turn::latency),
        latency("lk.agents.turn.llm_ttft", llm, |turn| turn.model.0),
        latency("lk.agents.turn.tts_ttfb", tts, |turn| turn.speech),
        latency("lk.agents.turn.end_of_turn_delay", stt, |turn| turn.waits),
        used("lk.agents.usage.llm_output_tokens", llm, Turn::tokens),
        used("lk.agents.usage.tts_characters", tts, Turn::characters),
    ]
}

fn histogram(
    name: &str,
    attributes: Vec<KeyValue>,
    values: &[f64],
    (from, to): (u64, u64),
) -> Metric {
    let mut buckets = vec![0; BOUNDS.len() + 1];
    for value in values {
        buckets[BOUNDS.partition_point(|bound| bound < value)] += 1;
    }
    let point = HistogramDataPoint {
        attributes,
        start_time_unix_nano: from,
        time_unix_nano: to,
        count: values.len() as u64,
        sum: Some(values.iter().sum()),
        bucket_counts: buckets,
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    };
    let data = Histogram { data_points: vec![point], aggregation_temporality: DELTA };
    metric(name, "s", Data::Histogram(data))
}

fn sum(name: &str, attributes: Vec<KeyValue>, value: f64, (from, to): (u64, u64)) -> Metric {
    let point = NumberDataPoint {
        attributes,
        start_time_unix_nano: from,
        time_unix_nano: to,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let (data_points, is_monotonic) = (vec![point], true);
    let data = Sum { data_points, aggregation_temporality: DELTA, is_monotonic };
    metric(name, "", Data::Sum(data))
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}
