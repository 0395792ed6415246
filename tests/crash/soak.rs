//! A simulated load for a long time, with a collector that is away now and then, on a small volume, and
//! no crash: all that was acknowledged arrives, nothing arrives twice, and the process stops growing.
//!
//! What has ended is kept for 5 minutes, and 200,000 ids are remembered, so that their bounds are reached
//! within the first third. `SOAK_MINUTES` sets how long; without it the load lasts for some seconds, and
//! the process's size is only printed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livekit_otel_durable::memory;
use livekit_otel_model::event::Time;
use livekit_otel_tools::simulate::send::{self, send};
use livekit_otel_tools::simulate::{Settings, Simulation};

use crate::program::Program;
use crate::simulated::{Expected, destination};
use crate::sink::Sink;
use crate::volume::Volume;

const VOLUME_MIB: u64 = 256;
// Each simulation is of so many real seconds; its rooms have ended then.
const ROUND: Duration = Duration::from_mins(1);
const SPEED: f64 = 4.0;
// The collector takes everything for so long, and then nothing.
const HEALTHY: Duration = Duration::from_secs(110);
const AWAY: Duration = Duration::from_secs(70);
// The peaks of a process that does not grow differ by what waits at the moment.
const FLAT: u64 = 8 << 20;

struct Plan {
    total: Duration,
    round: Duration,
    rooms: usize,
    healthy: Duration,
    away: Duration,
    linger: &'static str,
}

fn plan() -> Plan {
    match crate::variable("SOAK_MINUTES") {
        Some(minutes) => Plan {
            total: Duration::from_mins(minutes),
            round: ROUND,
            rooms: 40,
            healthy: HEALTHY,
            away: AWAY,
            linger: "35s",
        },
        None => Plan {
            total: Duration::from_secs(10),
            round: Duration::from_secs(10),
            rooms: 8,
            healthy: Duration::from_secs(2),
            away: Duration::from_secs(3),
            linger: "1s",
        },
    }
}

fn config(directory: &Path, journal: &Path, linger: &str, collector: u16) -> PathBuf {
    let path = directory.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0', admin: '127.0.0.1:0'}}\n\
         session: {{linger: {linger}, keep_ended: 5m, max_ids: 200000}}\n\
         journal: {{dir: '{}'}}\n\
         export: {{endpoint: 'http://127.0.0.1:{collector}', protocol: http/protobuf, \
         timeout: 60s}}\n",
        journal.join("journal").display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_load_with_outages_loses_nothing_repeats_nothing_and_stops_growing() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = crate::variable("CRASH_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    let plan = plan();
    eprintln!("CRASH_SEED={seed} SOAK_MINUTES={}", plan.total.as_secs_f64() / 60.0);
    let directory = tempfile::tempdir().unwrap();
    let volume = Volume::mount(VOLUME_MIB);
    let journal = volume.as_ref().map_or(directory.path(), Volume::path);
    let sink = Sink::start().await;
    let program = Program::start(&config(directory.path(), journal, plan.linger, sink.port));
    let outages = tokio::spawn(outages(sink.clone(), plan.healthy, plan.away));
    let sizes: Arc<Mutex<Vec<Size>>> = Arc::default();
    let measuring = tokio::spawn(measure(program.child.id(), Arc::clone(&sizes)));
    let mut expected = Vec::new();
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < plan.total {
        expected.push(load(&plan, seed + round, &program).await);
        round += 1;
    }
    outages.abort();
    sink.set_away(false);
    let missing = wait(&sink, &expected).await;
    let took = began.elapsed();
    measuring.abort();
    let sizes = sizes.lock().unwrap().clone();
    let (code, printed) = program.stop();
    let state = sink.state.lock().unwrap();
    eprintln!(
        "{} records arrived in {} requests, {} were refused, {} arrived twice; {:.0} s",
        state.records.len(),
        state.taken,
        state.refused,
        state.repeated.len(),
        took.as_secs_f64()
    );
    for size in sizes.iter().step_by((sizes.len() / 30).max(1)) {
        eprintln!(
            "  {:>5.0} s  {:>6.1} MiB",
            size.at.as_secs_f64(),
            size.bytes as f64 / f64::from(1 << 20)
        );
    }
    assert_eq!((missing, code), (Vec::new(), Some(0)), "CRASH_SEED={seed}: {printed:#?}");
    let repeated: Vec<_> = state.repeated.iter().take(20).collect();
    assert!(repeated.is_empty(), "CRASH_SEED={seed}: arrived twice: {repeated:#?}\n{printed:#?}");
    assert!(state.refused > 0, "the collector was never away");
    let errors: Vec<_> = printed.iter().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(errors.is_empty(), "CRASH_SEED={seed}: {errors:#?}");
    if crate::variable("SOAK_MINUTES").is_some() {
        assert_flat(&sizes, took);
    }
}

// One simulation, all of it acknowledged.
async fn load(plan: &Plan, seed: u64, program: &Program) -> Expected {
    let duration = plan.round.mul_f64(SPEED);
    let settings = Settings {
        rooms: plan.rooms,
        participants: 4,
        duration,
        seed,
        loss: 0.02,
        failures: 0.1,
        ..Settings::default()
    };
    let start = send::start(duration, SPEED, Time::from_system(SystemTime::now()));
    let expected = Expected::of(Simulation::new(settings.clone(), start));
    let to = destination(program, SPEED);
    let report =
        send(Simulation::new(settings, start), &to, std::future::pending(), |_| {}).await.unwrap();
    assert_eq!(report.unacknowledged(), 0, "CRASH_SEED={seed}: {report:#?}");
    expected
}

async fn outages(sink: Sink, healthy: Duration, away: Duration) {
    loop {
        tokio::time::sleep(healthy).await;
        let refused = || sink.state.lock().unwrap().refused;
        let before = refused();
        sink.set_away(true);
        tokio::time::sleep(away).await;
        // However slow the machine is, each outage is noticed.
        while refused() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sink.set_away(false);
    }
}

// Returns what has not arrived after a time that is enough for all of it.
async fn wait(sink: &Sink, expected: &[Expected]) -> Vec<String> {
    let until = Instant::now() + Duration::from_mins(2);
    loop {
        let missing: Vec<String> = {
            let state = sink.state.lock().unwrap();
            let missing = |one: &Expected| one.missing(&state.events, &state.participants);
            expected.iter().flat_map(missing).collect()
        };
        if missing.is_empty() || Instant::now() > until {
            return missing;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How much memory the process takes, and when.
#[derive(Debug, Clone, Copy)]
struct Size {
    at: Duration,
    bytes: u64,
}

async fn measure(pid: u32, to: Arc<Mutex<Vec<Size>>>) {
    let began = Instant::now();
    loop {
        if let Some(bytes) = memory::resident(Some(pid)) {
            to.lock().unwrap().push(Size { at: began.elapsed(), bytes });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

// In the first third, 10 of 30 minutes, the process may grow; each third has whole outages in it.
fn assert_flat(sizes: &[Size], took: Duration) {
    let third = took / 3;
    let highest = |nth: u32| {
        let within = |size: &&Size| size.at >= third * nth && size.at < third * (nth + 1);
        sizes.iter().filter(within).map(|size| size.bytes).max().unwrap_or(0)
    };
    let thirds = [0, 1, 2].map(highest);
    eprintln!("highest of each third: {thirds:?} bytes");
    assert!(thirds[2] <= thirds[1] + FLAT, "the process grows: {thirds:?}");
}
