//! An engine resumes after a restart: its output is the same as without one.

use livekit_otel_engine::session;
use livekit_otel_engine::snapshot::{Part, Writer, part};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::Metric;
use proptest::prelude::*;

use crate::capture::{self, INTERVAL, Line};
use crate::history::saved_and_loaded;

fn engine(begin: Time) -> Engine {
    Engine::new(session::Settings::default(), stats::Settings::default(), begin)
}

// Saves the engine, and loads the state into a new one that begins later.
fn restarted(engine: &Engine, begin: Time) -> Engine {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut put = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    engine.save(&mut Writer::new(&mut put)).unwrap();
    let mut next = self::engine(begin);
    for bytes in parts {
        let (kind, content) = part(&bytes).unwrap();
        assert_ne!(kind, Part::Head);
        next.load(kind, content).unwrap();
    }
    next
}

// The capture, with a restart before each line of `restarts`.
pub(crate) fn run(lines: &[Line], restarts: &[usize]) -> Batch {
    let begin = lines[0].at;
    let mut engine = engine(begin);
    let mut out = Batch::default();
    let mut flush_at = begin + INTERVAL;
    for (nth, line) in lines.iter().enumerate() {
        if restarts.contains(&nth) {
            engine = restarted(&engine, line.at);
        }
        while flush_at <= line.at {
            engine.tick(flush_at, &mut out);
            engine.flush(flush_at, &mut out);
            flush_at = flush_at + INTERVAL;
        }
        engine.tick(line.at, &mut out);
        engine.apply(&line.decoded, line.at, true, &mut out);
    }
    if restarts.contains(&lines.len()) {
        engine = restarted(&engine, flush_at);
    }
    engine.tick(flush_at + INTERVAL + INTERVAL, &mut out);
    engine.flush(flush_at + INTERVAL + INTERVAL, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_restart_at_any_point_does_not_change_the_output(
        hundredths in proptest::collection::vec(0usize..=100, 1..4),
    ) {
        let lines = capture::lines();
        let restarts: Vec<_> =
            hundredths.iter().map(|hundredth| lines.len() * hundredth / 100).collect();
        let expected = run(&lines, &[]);
        let actual = run(&lines, &restarts);
        prop_assert_eq!(&actual.spans, &expected.spans);
        prop_assert_eq!(&actual.logs, &expected.logs);
        prop_assert_eq!(&actual.metrics, &expected.metrics);
        prop_assert_eq!(&actual.tables, &expected.tables);
    }
}

#[test]
fn windows_without_their_own_series_are_counted_across_a_restart() {
    let lines = capture::lines();
    let begin = lines[0].at;
    let settings = stats::Settings { cardinality_limit: 1, ..stats::Settings::default() };
    let new = || Engine::new(session::Settings::default(), settings, begin);
    let overflows = |is_restarted: bool| {
        let (mut engine, mut out) = (new(), Batch::default());
        for line in &lines {
            engine.apply(&line.decoded, line.at, true, &mut out);
        }
        if is_restarted {
            engine = saved_and_loaded(&engine, new());
        }
        engine.flush(lines[lines.len() - 1].at, &mut out);
        let is_it = |metric: &&Metric| metric.name == metric::STREAM_OVERFLOWS;
        out.metrics.iter().find(is_it).cloned().unwrap()
    };
    assert_eq!(overflows(true), overflows(false));
}
