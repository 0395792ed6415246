//! Upstream's own service as the oracle: after the same calls, both have the same output.

mod calls;
mod metrics;
mod node;
mod upstream;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::path::Path;

use livekit_otel_telemetry::messages::{
    AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat, WebhookEvent,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;

use crate::recorder::Recorded;
use calls::{Call, sequence};
pub(crate) use metrics::upstream_source;
use upstream::{Answer, Upstream};

const SEQUENCES: u32 = 10_000;
const PARTS: u32 = 4;
// Upstream's worker flushes so often.
const FLUSH_MS: u64 = 30_000;

#[test]
fn what_is_sent_equals_upstream() {
    let Some(program) = upstream::build() else { return };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let run = |part| {
            let program = &program;
            scope.spawn(move || compare_sequences(program, part))
        };
        (0..PARTS).map(run).collect::<Vec<_>>().into_iter().map(|part| part.join()).collect()
    });
    for part in parts {
        match part {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => panic!("{failed}"),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    }
    eprintln!("{SEQUENCES} sequences of calls had the same output as upstream's service");
}

// Each part has its own seed and its own service of upstream's.
fn compare_sequences(program: &Path, part: u32) -> Result<(), String> {
    let upstream = RefCell::new(Upstream::run(program));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = SEQUENCES / PARTS;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[part.to_le_bytes()[0] + 1; 16]);
    let nth = Cell::new(0);
    let outcome = TestRunner::new_with_rng(config, rng).run(&sequence(), |calls| {
        // SIDs of its own: upstream's service has those of all sequences.
        nth.set(nth.get() + 1);
        let prefix = nth.get().to_string();
        let answer = upstream.borrow_mut().ask(&prefix, &calls);
        let ours = runtime.block_on(run(&prefix, &calls, answer.start_ms));
        compare(&calls, &answer, &ours)
    });
    outcome.map_err(|failed| failed.to_string())
}

// The output of our service.
struct Ours {
    events: Vec<AnalyticsEvent>,
    webhooks: Vec<WebhookEvent>,
    stats: Vec<Vec<AnalyticsStat>>,
    rooms: Vec<AnalyticsNodeRooms>,
    metrics: metrics::Values,
}

async fn run(prefix: &str, calls: &[Call], start_ms: u64) -> Ours {
    let it = Recorded::start();
    let mut guards = calls::Guards::default();
    let mut now = start_ms;
    it.set_time(now);
    for call in calls {
        if let Call::Advance(ms) = call {
            let (from, to) = (now, now + ms);
            // Its flushes are a millisecond before the start, and every 30 s from there.
            let first = start_ms - 1;
            for flush in ((from - first) / FLUSH_MS + 1)..=((to - first) / FLUSH_MS) {
                it.set_time(first + flush * FLUSH_MS);
                it.telemetry.force_flush().await.unwrap();
            }
            now = to;
            it.set_time(now);
        } else {
            call.make(prefix, &it.telemetry, &mut guards);
            it.telemetry.idle().await;
        }
    }
    let mut events = it.events().await;
    for event in &mut events {
        assert!(event.id.starts_with("AE_"));
        event.id.clear();
    }
    let webhooks = std::mem::take(&mut *it.recorder.webhooks.lock().unwrap());
    let mut webhooks: Vec<_> = webhooks.into_iter().map(|(event, _)| event).collect();
    for webhook in &mut webhooks {
        assert!(webhook.id.starts_with("EV_"));
        webhook.id.clear();
    }
    let stats = std::mem::take(&mut *it.recorder.stats.lock().unwrap());
    let rooms = std::mem::take(&mut *it.recorder.rooms.lock().unwrap());
    let metrics = metrics::of_reports(it.telemetry.node().drain());
    Ours { events, webhooks, stats, rooms, metrics }
}

fn read<T: serde::de::DeserializeOwned>(output: &[Value]) -> Vec<T> {
    output.iter().map(|line| serde_json::from_value(line["event"].clone()).unwrap()).collect()
}

// A worker's stats and the workers of a flush have no order.
fn in_order(mut flushes: Vec<Vec<AnalyticsStat>>) -> Vec<String> {
    for stats in &mut flushes {
        stats.sort_by_key(|stat| (stat.kind, stat.track_id.clone()));
    }
    let mut texts: Vec<_> = flushes.iter().map(|stats| format!("{stats:#?}")).collect();
    texts.sort();
    texts
}

fn compare(calls: &[Call], upstream: &Answer, ours: &Ours) -> Result<(), TestCaseError> {
    equal("events", &ours.events, &read(&upstream.events))?;
    equal("webhooks", &ours.webhooks, &read(&upstream.webhooks))?;
    equal("node rooms", &ours.rooms, &read(&upstream.node_rooms))?;
    let theirs = upstream.stats.iter().map(|flush| {
        let stats = flush["stats"].as_array().unwrap().iter();
        stats.map(|stat| serde_json::from_value(stat.clone()).unwrap()).collect()
    });
    equal("stats", &in_order(ours.stats.clone()), &in_order(theirs.collect()))?;
    // Upstream counts negative numbers as very large ones.
    if !calls.iter().any(Call::is_invalid) {
        metrics::compare(&ours.metrics, &metrics::of_upstream(&upstream.metrics))?;
    }
    Ok(())
}

fn equal<T: PartialEq + Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), TestCaseError> {
    if ours == theirs {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what} differ\nours: {ours:#?}\nupstream's: {theirs:#?}")))
}
