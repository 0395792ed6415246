//! A journal without room: on a small volume, and with a small `journal.max_bytes`. The load fills it
//! while the collector is there, and while it is away; the program is killed while it is full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use livekit_otel::commands;
use livekit_otel_ledger::Lost;

use crate::collector::Collector;
use crate::program::Program;
use crate::random::Random;
use crate::sender::Oracle;
use crate::until;
use crate::volume::Volume;

fn config(directory: &Path, journal: &Path, more: &str, collector: u16) -> PathBuf {
    let path = directory.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0', admin: '127.0.0.1:0'}}\n\
         limits: {{webhook_body: 64KiB, analytics_message: 64KiB}}\n\
         session: {{linger: 300ms, twin_wait: 50ms}}\n\
         stats: {{interval: 150ms}}\n\
         journal: {{dir: '{}'{more}}}\n\
         export: {{endpoint: 'http://127.0.0.1:{collector}', protocol: http/protobuf, \
         timeout: {}s}}\n",
        journal.display(),
        super::TIMEOUT.as_secs()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A life of the program under load.
struct Life {
    program: Program,
    sending: Vec<tokio::task::JoinHandle<()>>,
}

impl Life {
    fn begin(config: &Path, oracle: &Arc<Mutex<Oracle>>, random: &mut Random) -> Self {
        let program = Program::start(config);
        let sending = super::send(&program, oracle, random);
        Self { program, sending }
    }

    async fn kill(self) -> Vec<String> {
        let printed = self.program.kill();
        for task in self.sending {
            task.await.unwrap();
        }
        printed
    }
}

// `bytes` is what the journal may have.
async fn recovers(config: &Path, collector: &Collector, bytes: u64) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = super::variable("CRASH_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    eprintln!("CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let oracle: Arc<Mutex<Oracle>> = Arc::default();
    let events = || oracle.lock().unwrap().events.len();
    let refused = || oracle.lock().unwrap().refused;
    let padding = Arc::clone(&oracle.lock().unwrap().padding);
    collector.arrived.lock().unwrap().is_healthy = true;

    // More than there is room for, all of it delivered.
    padding.store(16 << 10, Relaxed);
    let life = Life::begin(config, &oracle, &mut random);
    let enough = usize::try_from(2 * bytes / (16 << 10)).unwrap();
    until("sending twice of what fits", || oracle.lock().unwrap().webhooks > enough).await;

    // Nothing is delivered until it is full.
    padding.store(0, Relaxed);
    collector.arrived.lock().unwrap().is_away = true;
    let before = refused();
    until("filling the disk", || refused() > before + 20).await;
    let mut printed = life.kill().await;

    // A start without room, first without a collector.
    collector.begin(1).await;
    let life = Life::begin(config, &oracle, &mut random);
    let before = refused();
    until("being full again", || refused() > before + 20).await;
    collector.arrived.lock().unwrap().is_away = false;
    let before = events();
    until("accepting again", || events() > before + 50).await;
    printed.extend(life.kill().await);

    collector.begin(2).await;
    let program = Program::start(config);
    assert!(super::sender(&program, &oracle).end_all().await);
    let mut faults = super::wait(collector, &oracle).await;
    let ledger = commands::status::fetch(&program.admin.parse().unwrap()).await.unwrap().ledger;
    let (code, last) = program.stop();
    printed.extend(last);
    let arrived = collector.arrived.lock().unwrap();
    faults.extend(arrived.faults.iter().cloned());
    faults.extend(super::duplicates(&arrived));
    faults.extend(
        printed.into_iter().filter(|line| line.contains("ERROR") || line.contains("panic")),
    );
    for input in &ledger.inputs {
        let settled = input.processed + input.dead_letters;
        if input.accepted != settled {
            faults.push(format!("{input:?} does not add up"));
        }
    }
    for output in &ledger.outputs {
        let lost = output.lost.iter().filter(|(why, _)| *why != Lost::Superseded);
        let lost: u64 = lost.map(|(_, n)| n).sum();
        if lost > 0 || output.accepted < output.delivered + output.lost_sum() {
            faults.push(format!("{output:?} does not add up"));
        }
    }
    let sent = oracle.lock().unwrap();
    eprintln!("{} events, {} refusals", sent.events.len(), sent.refused);
    assert!(faults.is_empty(), "CRASH_SEED={seed}: {} faults\n{faults:#.20?}", faults.len());
    assert_eq!(code, Some(0), "CRASH_SEED={seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_volume_that_was_full_accepts_again_and_loses_and_repeats_nothing() {
    const MIB: u64 = 4;
    let Some(volume) = Volume::mount(MIB) else {
        // Bypasses the capture of test output, so that a skipped check is seen.
        let line = b"\nSKIPPED: a small full volume is NOT tested, as no tmpfs can be mounted (root can)\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(1).await;
    let journal = volume.path().join("journal");
    let config = config(directory.path(), &journal, "", collector.port);
    recovers(&config, &collector, MIB << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_journal_that_was_full_accepts_again_and_loses_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(1).await;
    let journal = directory.path().join("journal");
    let config = config(directory.path(), &journal, ", max_bytes: 2MiB", collector.port);
    recovers(&config, &collector, 2 << 20).await;
}
