//! `replay` and `simulate` while the server is killed and started again on its ports: what it has not
//! acknowledged is sent again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::SystemTime;

use livekit_otel::commands::status::fetch;
use livekit_otel::demo::read_captures;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_tools::replay::replay;
use livekit_otel_tools::simulate::send::{self, send};
use livekit_otel_tools::simulate::{Settings, Simulation};
use tokio::sync::watch;

use crate::collector::Collector;
use crate::port::reserved_port;
use crate::program::Program;
use crate::simulated::destination;

const KILLS: u32 = 2;

struct Run {
    _directory: tempfile::TempDir,
    collector: Collector,
    config: PathBuf,
}

impl Run {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let collector = Collector::start(1).await;
        collector.arrived.lock().unwrap().is_healthy = true;
        let ports = [reserved_port(), reserved_port()];
        let config = super::config(directory.path(), collector.port, super::TIMEOUT, ports);
        Self { _directory: directory, collector, config }
    }

    // Checks the last life's ledger, and that each participant has a span once it is stopped.
    async fn check(self, program: Program, participants: &BTreeSet<String>) {
        let status = fetch(&program.admin.parse().unwrap()).await.unwrap();
        assert_eq!(status.ledger.check(), Ok(()));
        assert!(status.imbalances.is_empty(), "{:?}", status.imbalances);
        let missing = || {
            let arrived = self.collector.arrived.lock().unwrap();
            participants.difference(&arrived.participants).count()
        };
        super::until("delivering each participant", || missing() == 0).await;
        assert_eq!(program.stop().0, Some(0));
        assert_eq!(self.collector.arrived.lock().unwrap().faults, Vec::<String>::new());
    }
}

// Kills the server when a third and two thirds of `sending` are `done`.
async fn while_killed<T>(
    config: &Path,
    mut program: Program,
    sending: impl Future<Output = T>,
    mut done: watch::Receiver<f64>,
) -> (T, Program) {
    let mut sending = pin!(sending);
    for kill in 1..=KILLS {
        let mark = f64::from(kill) / f64::from(KILLS + 1);
        tokio::select! {
            _ = &mut sending => panic!("it ended before kill {kill}"),
            reached = done.wait_for(|part| *part >= mark) => drop(reached.unwrap()),
        }
        program.kill();
        let config = config.to_owned();
        let starting = tokio::task::spawn_blocking(move || Program::start(&config));
        program = tokio::select! {
            _ = &mut sending => panic!("it ended while there was no server"),
            started = starting => started.unwrap(),
        };
    }
    (sending.await, program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_survives_restarts_of_the_server() {
    let run = Run::start().await;
    let program = Program::start(&run.config);
    let path = |half: &str| {
        let directory = env!("CARGO_MANIFEST_DIR");
        format!("{directory}/tests/captures/agents/ordinary.{half}.jsonl").into()
    };
    let capture = read_captures(&[path("agents"), path("server")]).unwrap();
    let lines = capture.lines.len();
    let events = capture.lines.iter().filter(|line| line.source == Source::Events);
    let events = events.flat_map(|line| line.message()["events"].as_array().unwrap());
    let joined = events.filter(|event| event["type"] == "PARTICIPANT_JOINED");
    let participants: BTreeSet<_> =
        joined.map(|event| event["participantId"].as_str().unwrap().to_owned()).collect();
    assert!(!participants.is_empty());
    let (part, done) = watch::channel(0.0);
    let to = destination(&program, f64::INFINITY);
    let sending = replay(&capture, &to, |line| {
        part.send_replace(line as f64 / lines as f64);
    });
    let (sent, program) = while_killed(&run.config, program, sending, done).await;
    let sent = sent.unwrap();
    assert_eq!(sent.unacknowledged, 0);
    let acknowledged = sent.webhooks + sent.events + sent.stats + sent.node_rooms + sent.uploads();
    assert_eq!(acknowledged, lines as u64);
    assert!(sent.resent > 0, "{sent:?}");
    run.check(program, &participants).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_with_agents_survives_restarts_of_the_server() {
    let run = Run::start().await;
    let program = Program::start(&run.config);
    let settings = Settings { rooms: 4, participants: 2, agents: 1, ..Settings::default() };
    let (duration, speed) = (settings.duration, 20.0);
    let start = send::start(duration, speed, Time::from_system(SystemTime::now()));
    let expected = super::simulated::Expected::of(Simulation::new(settings.clone(), start));
    let (part, done) = watch::channel(0.0);
    let to = destination(&program, speed);
    let simulation = Simulation::new(settings, start);
    let sending = send(simulation, &to, std::future::pending(), |at| {
        part.send_replace(at.as_secs_f64() / duration.as_secs_f64());
    });
    let (report, program) = while_killed(&run.config, program, sending, done).await;
    let report = report.unwrap();
    assert_eq!(report.unacknowledged(), 0, "{report:#?}");
    let retried = |source| {
        let outcome = report.outcomes.iter().find(|(of, _)| *of == source);
        outcome.unwrap().1.retried
    };
    assert!(retried(Source::Events) > 0, "{report:#?}");
    run.check(program, &expected.participants).await;
}
