//! Metrics that are derived from what captured agents upload. The golden files show them to people; `UPDATE_GOLDEN=1`
//! rewrites them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::stats::{self, Level};
use livekit_otel_engine::{Batch, Engine, Tally};
use livekit_otel_model::event::Decoded;
use livekit_otel_model::foreign::{ForeignData, ForeignMetric, Upload};
use livekit_otel_model::signal::{Attribute, Data, Exemplar, Metric, Number, Value};

use crate::golden::compare;
use crate::joined::{CAPTURES, Line, lines};

/// The output of all captures, one of them beyond the limit of series.
pub(crate) fn batches() -> Vec<Batch> {
    let settings = |limit| stats::Settings { cardinality_limit: limit, ..at_level(Level::Room) };
    CAPTURES
        .map(|name| play(&lines(name), settings(if name == "ordinary" { 3 } else { 1000 })).0)
        .into()
}

// All output, with one flush after everything.
fn play(lines: &[Line], settings: stats::Settings) -> (Batch, Tally) {
    let begin = lines[0].0;
    let mut engine = Engine::new(Settings::default(), settings, begin);
    let (mut out, mut all) = (Batch::default(), Tally::default());
    for (at, decoded) in lines {
        while let Some(due) = engine.next_deadline().filter(|due| due <= at) {
            engine.tick(due, &mut out);
        }
        let tally = engine.apply(decoded, *at, true, &mut out);
        all.merged += tally.merged;
        all.duplicates += tally.duplicates;
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    engine.flush(begin + Duration::from_hours(12), &mut out);
    (out, all)
}

fn at_level(level: Level) -> stats::Settings {
    stats::Settings { level, ..stats::Settings::default() }
}

fn is_derived(metric: &Metric) -> bool {
    ["lk.agent.", "lk.agents.", "gen_ai."].iter().any(|prefix| metric.name.starts_with(prefix))
}

fn labels(attributes: &[Attribute]) -> String {
    let value = |value: &Value| match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    let all: Vec<_> =
        attributes.iter().map(|it| format!("{}={}", it.key, value(&it.value))).collect();
    all.join(" ")
}

fn number(value: Number) -> f64 {
    match value {
        Number::Int(count) => count as f64,
        Number::Float(measure) => measure,
    }
}

/// The derived series: what they count, and their sum.
fn totals(out: &Batch) -> BTreeMap<(&'static str, String), (u64, f64)> {
    let mut totals = BTreeMap::new();
    for metric in out.metrics.iter().filter(|metric| is_derived(metric)) {
        match &metric.data {
            Data::Sum { monotonic: true, points, .. } => {
                for point in points {
                    let key = (metric.name, labels(&point.attributes));
                    totals.insert(key, (0, number(point.value.unwrap())));
                }
            }
            Data::Histogram { points, .. } => {
                for point in points {
                    let key = (metric.name, labels(&point.attributes));
                    totals.insert(key, (point.count, point.sum));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    totals
}

fn write_exemplars(to: &mut String, out: &Batch, exemplars: &[Exemplar]) {
    for exemplar in exemplars {
        let (trace, id) = exemplar.context.unwrap();
        let is_it = |it: &&livekit_otel_model::foreign::ForeignSpan| {
            (it.trace_id, it.span_id) == (trace, id)
        };
        let span = out.foreign.spans.iter().find(is_it).expect("an exemplar leads to its span");
        writeln!(to, "      {:.3} of {}", exemplar.value, span.name).unwrap();
    }
}

fn text(out: &Batch) -> String {
    let mut to = String::new();
    for metric in out.metrics.iter().filter(|metric| is_derived(metric)) {
        writeln!(to, "{} [{}]", metric.name, metric.unit).unwrap();
        match &metric.data {
            Data::Sum { points, .. } => {
                for point in points.iter().filter(|point| point.start != Some(point.time)) {
                    let value = match point.value.unwrap() {
                        Number::Int(count) => count.to_string(),
                        Number::Float(measure) => format!("{measure:.3}"),
                    };
                    writeln!(to, "  {value} {{{}}}", labels(&point.attributes)).unwrap();
                }
            }
            Data::Histogram { points, bounds, .. } => {
                for point in points.iter().filter(|point| point.start != point.time) {
                    let (count, sum) = (point.count, point.sum);
                    writeln!(to, "  {count} in {sum:.3} s {{{}}}", labels(&point.attributes))
                        .unwrap();
                    let bound =
                        |nth: usize| bounds.get(nth).map_or("more".to_owned(), f64::to_string);
                    let full = point.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
                    let full: Vec<_> =
                        full.map(|(nth, count)| format!("{count} <= {}", bound(nth))).collect();
                    writeln!(to, "    {}", full.join(", ")).unwrap();
                    write_exemplars(&mut to, out, &point.exemplars);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    to
}

// What an agent's own points of the derived names count, and their sums.
fn uploaded(lines: &[Line]) -> BTreeMap<String, (u64, f64)> {
    let mut totals: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for (_, decoded) in lines {
        let Decoded::Upload(Upload::Metrics(metrics)) = decoded else { continue };
        for ForeignMetric { name, data, .. } in metrics {
            let (count, sum) = totals.entry(name.to_string()).or_default();
            match data {
                ForeignData::Sum { points, .. } => {
                    *sum += points.iter().map(|point| number(point.value)).sum::<f64>();
                }
                ForeignData::Histogram { points, .. } => {
                    *count += points.iter().map(|point| point.count).sum::<u64>();
                    *sum += points.iter().filter_map(|point| point.sum).sum::<f64>();
                }
                ForeignData::Gauge(_) => panic!("{name} is a gauge"),
            }
        }
    }
    totals
}

#[test]
fn derived_values_agree_with_the_agents_own_points_and_replace_them() {
    for name in ["ordinary", "own-provider", "redaction", "two-process"] {
        let lines = lines(name);
        let own = uploaded(&lines);
        let (out, tally) = play(&lines, at_level(Level::Node));
        let mut derived: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for ((metric, _), (count, sum)) in totals(&out) {
            let (all, of_all) = derived.entry(metric.to_owned()).or_default();
            (*all, *of_all) = (*all + count, *of_all + sum);
        }
        derived.retain(|metric, _| !metric.starts_with("lk.agent."));
        assert_eq!(derived.len(), 12, "{name}");
        for (metric, (count, sum)) in &derived {
            let (of_own, own_sum) = own[metric];
            // Of a turn with several requests to the language model, the agents count the last.
            if metric.ends_with("llm_ttft") {
                assert!(*count > of_own && *sum > own_sum, "{name} {metric}");
                continue;
            }
            // Clocks differ within a call of a tool.
            let most = if metric.starts_with("gen_ai.") { 0.01 } else { 1e-9 };
            assert_eq!(*count, of_own, "{name} {metric}");
            assert!((sum - own_sum).abs() < most, "{name} {metric}: {sum} and {own_sum}");
        }
        let left = out.foreign.metrics.iter().map(|metric| metric.name.to_string());
        assert!(
            left.clone().count() > 3 && left.clone().all(|it| !derived.contains_key(&it)),
            "{name}"
        );
        assert!(tally.merged > 12, "{name}");
    }
}

#[test]
fn a_level_decides_which_ids_series_have() {
    let lines = lines("two-process");
    for (level, room, job, jobs) in [
        (Level::Node, false, false, 1),
        (Level::Room, true, false, 2),
        (Level::Participant, true, true, 2),
        (Level::Track, true, true, 2),
    ] {
        let (out, _) = play(&lines, at_level(level));
        let totals = totals(&out);
        for (_, labels) in totals.keys() {
            assert_eq!(labels.contains("lk.room_id=RM_"), room, "{level:?}: {labels}");
            assert_eq!(labels.contains("lk.job_id=AJ_"), job, "{level:?}: {labels}");
        }
        let of = |name| totals.keys().filter(|(metric, _)| *metric == name).count();
        assert_eq!(of("lk.agents.turn.e2e_latency"), jobs, "{level:?}");
        let sum: f64 = totals
            .iter()
            .filter(|((name, _), _)| *name == "lk.agents.usage.llm_input_tokens")
            .map(|(_, (_, sum))| sum)
            .sum();
        assert!((sum - 360.0).abs() < 1e-9);
    }
}

#[test]
fn series_beyond_the_limit_share_one_for_each_metric() {
    let settings = stats::Settings { cardinality_limit: 2, ..stats::Settings::default() };
    let all = totals(&play(&lines("ordinary"), stats::Settings::default()).0);
    let limited = totals(&play(&lines("ordinary"), settings).0);
    let own = limited.keys().filter(|(_, labels)| labels.contains("lk.job_id"));
    assert_eq!(own.count(), 2);
    for metric in all.keys().map(|(metric, _)| *metric) {
        let sum = |of: &BTreeMap<(&'static str, String), (u64, f64)>| {
            let of = of.iter().filter(|((name, _), _)| *name == metric);
            of.fold((0, 0.0), |(all, sums), (_, (count, sum))| (all + count, sums + sum))
        };
        assert_eq!(sum(&all).0, sum(&limited).0, "{metric}");
        assert!((sum(&all).1 - sum(&limited).1).abs() < 1e-9, "{metric}");
    }
    let shared: Vec<_> =
        limited.keys().filter(|(_, labels)| labels == "otel.metric.overflow=true").collect();
    assert!(shared.len() > 10, "{shared:?}");
}

#[test]
fn each_capture_has_its_derived_metrics() {
    for name in CAPTURES {
        let (out, _) = play(&lines(name), stats::Settings::default());
        compare(&format!("derived/{name}.txt"), &text(&out));
    }
}
