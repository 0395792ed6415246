//! The delivery contract under SIGKILL: what was acknowledged arrives at least once, no span has two
//! contents, and what arrives twice was in flight at a kill.
//!
//! `CRASH_SEED` sets the script and `CRASH_ROUNDS` its length; a failing run prints its seed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod collector;
mod full;
#[path = "../parts/port.rs"]
mod port;
mod program;
mod random;
mod resent;
mod sender;
mod simulated;
mod sink;
mod soak;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use collector::{Arrived, Collector};
use program::Program;
use random::Random;
use sender::{Oracle, Sender};

// How long the program waits for the collector's answer: no machine is so slow that an answer comes later,
// and what comes again was not just late.
const TIMEOUT: Duration = Duration::from_mins(1);
// Far longer than anything takes that is waited for: a test that reaches it fails.
const PATIENCE: Duration = Duration::from_mins(2);
// So many requests of a signal the program sends at once.
const IN_FLIGHT: usize = 3;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn config(
    directory: &std::path::Path,
    collector: u16,
    timeout: Duration,
    [http, grpc]: [u16; 2],
) -> PathBuf {
    let path = directory.join("livekit-otel.yaml");
    let journal = directory.join("journal");
    let text = format!(
        "listen: {{http: '127.0.0.1:{http}', grpc: '127.0.0.1:{grpc}', admin: '127.0.0.1:0'}}\n\
         session: {{linger: 300ms, twin_wait: 50ms}}\n\
         stats: {{interval: 150ms}}\n\
         journal: {{dir: '{}', snapshot: 32KiB}}\n\
         export: {{endpoint: 'http://127.0.0.1:{collector}', protocol: http/protobuf, \
         timeout: {}s, max_request: 8KiB, max_queue: 32KiB}}\n",
        journal.display(),
        timeout.as_secs()
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_arrives_whenever_the_program_is_killed() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("CRASH_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    let rounds = variable("CRASH_ROUNDS").unwrap_or(50);
    eprintln!("CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let collector = Collector::start(random.next()).await;
    let config = config(directory.path(), collector.port, TIMEOUT, [0, 0]);
    let oracle: Arc<Mutex<Oracle>> = Arc::default();
    let mut printed = Vec::new();
    for round in 0..rounds {
        collector.begin(round).await;
        let program = Program::start(&config);
        let lives_for = Duration::from_millis(random.below(400));
        let events = || oracle.lock().unwrap().events.len();
        let before = events();
        let sending = send(&program, &oracle, &mut random);
        tokio::time::sleep(lives_for).await;
        // However slow the machine is, something is accepted in most lives.
        if random.below(4) > 0 {
            until("accepting an event", || events() > before).await;
        }
        printed.extend(program.kill());
        for task in sending {
            task.await.unwrap();
        }
    }
    collector.begin(rounds).await;
    collector.arrived.lock().unwrap().is_healthy = true;
    let program = Program::start(&config);
    assert!(sender(&program, &oracle).end_all().await);
    let missing = wait(&collector, &oracle).await;
    let (code, last) = program.stop();
    printed.extend(last);
    let arrived = collector.arrived.lock().unwrap();
    // First, as they say why others follow.
    let mut faults: Vec<String> = printed
        .into_iter()
        .filter(|line| line.contains("ERROR") || line.contains("panic"))
        .collect();
    faults.extend(arrived.faults.iter().cloned());
    faults.extend(missing);
    faults.extend(duplicates(&arrived));
    if code != Some(0) {
        faults.push(format!("it ended with {code:?}"));
    }
    let oracle = oracle.lock().unwrap();
    eprintln!(
        "{} events acknowledged, {} arrived; {} spans uploaded; {} spans; {} requests",
        oracle.events.len(),
        arrived.events.len(),
        oracle.spans.len(),
        arrived.spans.len(),
        arrived.deliveries.len()
    );
    let shown = faults.iter().take(20).fold(String::new(), |mut text, fault| {
        let _ = writeln!(text, "{fault}");
        text
    });
    assert!(faults.is_empty(), "CRASH_SEED={seed}: {} faults\n{shown}", faults.len());
}

fn sender(program: &Program, oracle: &Arc<Mutex<Oracle>>) -> Sender {
    Sender {
        webhook: format!("http://{}/webhook", program.http),
        uploads: format!("http://{}", program.http),
        analytics: format!("http://{}", program.grpc),
        oracle: Arc::clone(oracle),
    }
}

fn send(
    program: &Program,
    oracle: &Arc<Mutex<Oracle>>,
    random: &mut Random,
) -> Vec<tokio::task::JoinHandle<()>> {
    let sender = sender(program, oracle);
    vec![
        tokio::spawn(sender.clone().webhooks(random.fork())),
        tokio::spawn(sender.clone().events(random.fork())),
        tokio::spawn(sender.clone().stats(random.fork())),
        tokio::spawn(sender.uploads(random.fork())),
    ]
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} takes longer than {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// Returns what has not arrived after a time that is enough for all of it.
async fn wait(collector: &Collector, oracle: &Mutex<Oracle>) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let missing = missing(&collector.arrived.lock().unwrap(), &oracle.lock().unwrap());
        if missing.is_empty() || Instant::now() > until {
            return missing;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn missing(arrived: &Arrived, oracle: &Oracle) -> Vec<String> {
    let events = oracle.events.difference(&arrived.events).map(|id| format!("{id} never arrived"));
    let people = oracle.participants.difference(&arrived.participants);
    let people = people.map(|sid| format!("{sid} has no span"));
    let packets = oracle.packets.iter().filter_map(|(who, (acknowledged, sent))| {
        let counted = arrived.packets.get(who).map_or(0, |starts| starts.values().sum::<i64>());
        let wrong = counted < *acknowledged || counted > *sent;
        wrong.then(|| format!("{who} has {counted} packets, not {acknowledged} to {sent}"))
    });
    let spans = oracle.spans.iter().filter(|id| !arrived.spans.contains_key(*id));
    let spans = spans.map(|id| format!("the uploaded span {id} never arrived"));
    events.chain(people).chain(packets).chain(spans).collect()
}

// What arrived again though it was taken: in the same life, or of more requests than may have been on their
// way as their life was ended. Which those were is not known here: an answer may have waited to be read.
fn duplicates(arrived: &Arrived) -> Vec<String> {
    let mut deliveries: Vec<_> = arrived.deliveries.iter().collect();
    // What a killed one had sent may be read after what its successor sends.
    deliveries.sort_by_key(|delivery| delivery.life);
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut again: BTreeMap<(u64, &str), BTreeSet<usize>> = BTreeMap::new();
    let mut faults = Vec::new();
    for (nth, delivery) in deliveries.iter().enumerate() {
        for record in &delivery.records {
            let Some(first) = seen.insert((delivery.signal, record), nth) else { continue };
            let before = deliveries[first];
            if !before.acknowledged {
                continue;
            }
            if before.life == delivery.life {
                faults.push(format!("{} {record} came twice in {}", before.signal, before.life));
            } else if !arrived.halved.contains(record) {
                again.entry((before.life, before.signal)).or_default().insert(first);
            }
        }
    }
    for ((life, signal), requests) in again {
        if requests.len() > IN_FLIGHT {
            faults.push(format!(
                "{} requests of {signal} taken in {life} came again",
                requests.len()
            ));
        }
    }
    faults
}
