//! The capture in file order through the sans-IO path: every span, log record and metric point.

use std::fmt::Write;

use livekit_otel_model::hex;
use livekit_otel_model::signal::{
    Attribute, Data, Exemplar, HistogramPoint, LogRecord, Metric, Number, NumberPoint, Span, Value,
};

use crate::capture;

#[test]
fn the_spans_of_the_capture_match_their_golden_file() {
    let batch = capture::run(capture::lines().iter(), true);
    let mut text = String::new();
    for span in &batch.spans {
        write_span(&mut text, span);
    }
    compare("one-call.spans.txt", &text);
}

#[test]
fn the_log_records_of_the_capture_match_their_golden_file() {
    let batch = capture::run(capture::lines().iter(), true);
    let mut text = String::new();
    for record in &batch.logs {
        write_log(&mut text, record);
    }
    compare("one-call.logs.txt", &text);
}

#[test]
fn the_metric_points_of_the_capture_match_their_golden_file() {
    let batch = capture::run(capture::lines().iter(), true);
    let mut text = String::new();
    for metric in &batch.all_metrics() {
        write_metric(&mut text, metric);
    }
    compare("one-call.metrics.txt", &text);
}

/// Compares with the golden file, or writes it where `UPDATE_GOLDEN` is set.
pub(crate) fn compare(name: &str, actual: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let differs = expected.lines().zip(actual.lines()).position(|(a, b)| a != b);
    if let Some(line) = differs {
        let (old, new) = (expected.lines().nth(line), actual.lines().nth(line));
        panic!("{name}:{}\n- {}\n+ {}", line + 1, old.unwrap(), new.unwrap());
    }
    assert_eq!(expected.len(), actual.len(), "{name} is longer or shorter");
}

// Seconds of the day and nanoseconds: a diff of whole Unix times reads badly.
fn clock(time: livekit_otel_model::event::Time) -> String {
    let nanos = time.nanos();
    let secs = nanos / 1_000_000_000 % 86_400;
    let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{h:02}:{m:02}:{s:02}.{:09}", nanos % 1_000_000_000)
}

fn write_span(to: &mut String, span: &Span) {
    writeln!(to, "{} {} .. {}", span.name, clock(span.start), clock(span.end)).unwrap();
    let parent = span.parent.map_or("-".to_owned(), |id| hex(&id));
    writeln!(to, "  trace {} span {} parent {parent}", hex(&span.trace_id), hex(&span.span_id))
        .unwrap();
    for link in &span.links {
        writeln!(to, "  link {} {}", hex(&link.trace_id), hex(&link.span_id)).unwrap();
    }
    if let Some(message) = span.failure() {
        writeln!(to, "  error {message}").unwrap();
    }
    write_attributes(to, &span.attributes);
}

fn write_log(to: &mut String, record: &LogRecord) {
    let at = clock(record.time);
    writeln!(to, "{} {at} {:?}", record.event_name, record.severity).unwrap();
    writeln!(to, "  observed {}", clock(record.observed)).unwrap();
    if let Some((trace, span)) = &record.context {
        writeln!(to, "  trace {} span {}", hex(trace), hex(span)).unwrap();
    }
    write_attributes(to, &record.attributes);
}

fn write_metric(to: &mut String, metric: &Metric) {
    let Metric { name, unit, description, data } = metric;
    match data {
        Data::Gauge(points) => {
            writeln!(to, "{name} gauge [{unit}] {description}").unwrap();
            for point in points {
                write_number(to, point);
            }
        }
        Data::Sum { monotonic, temporality, points } => {
            let kind = if *monotonic { "counter" } else { "up-down" };
            writeln!(to, "{name} {temporality:?} {kind} [{unit}] {description}").unwrap();
            for point in points {
                write_number(to, point);
            }
        }
        Data::Histogram { temporality, points, .. } => {
            writeln!(to, "{name} {temporality:?} histogram [{unit}] {description}").unwrap();
            for point in points {
                write_histogram(to, point);
            }
        }
        Data::Exponential { .. } => panic!("{name}: not by default"),
    }
}

fn write_number(to: &mut String, point: &NumberPoint) {
    let value = match point.value {
        None => "no value".to_owned(),
        Some(Number::Int(value)) => value.to_string(),
        Some(Number::Float(value)) => format!("{value:?}"),
    };
    let since = point.start.map_or(String::new(), |start| format!(" since {}", clock(start)));
    writeln!(to, "  {value} at {}{since} {}", clock(point.time), inline(&point.attributes))
        .unwrap();
}

fn write_histogram(to: &mut String, point: &HistogramPoint) {
    let HistogramPoint { count, sum, range, buckets, exemplars, .. } = point;
    let (start, time) = (clock(point.start), clock(point.time));
    let attributes = inline(&point.attributes);
    writeln!(to, "  {count} sum {sum:.9} range {range:?} at {time} since {start} {attributes}")
        .unwrap();
    writeln!(to, "    {buckets:?}").unwrap();
    for Exemplar { value, time, context } in exemplars {
        let (trace, span) = context.unwrap();
        let (trace, span) = (hex(&trace), hex(&span));
        writeln!(to, "    e.g. {value:.9} at {} trace {trace} span {span}", clock(*time)).unwrap();
    }
}

fn write_attributes(to: &mut String, attributes: &[Attribute]) {
    for Attribute { key, value } in attributes {
        writeln!(to, "  {key} = {}", plain(value)).unwrap();
    }
}

fn inline(attributes: &[Attribute]) -> String {
    let all: Vec<_> =
        attributes.iter().map(|each| format!("{}={}", each.key, plain(&each.value))).collect();
    format!("{{{}}}", all.join(" "))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(count) => count.to_string(),
        Value::Float(measure) => format!("{measure:?}"),
        Value::Text(text) => format!("{text:?}"),
    }
}
