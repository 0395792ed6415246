//! A simulated load, as a LiveKit server would send it, while the program is killed again and again:
//! all of it is acknowledged in the end, and arrives.
//!
//! `CRASH_SEED` sets the load and the kills, `SOAK_SECONDS` how long it lasts.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livekit_otel_model::event::Time;
use livekit_otel_telemetry::messages::AnalyticsEventType as Type;
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::send::{self, send};
use livekit_otel_tools::simulate::{Message, Settings, Simulation};

use crate::collector::Collector;
use crate::port::reserved_port;
use crate::program::{KEY, Program, SECRET};
use crate::random::Random;

// Webhooks report these too: which of the two ids is the record's is a race.
const WITH_TWINS: [Type; 7] = [
    Type::RoomCreated,
    Type::RoomEnded,
    Type::ParticipantActive,
    Type::ParticipantLeft,
    Type::ParticipantConnectionAborted,
    Type::TrackPublished,
    Type::TrackUnpublished,
];

// Shorter than a collector hangs that hangs.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What has to arrive.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    events: BTreeSet<String>,
    pub(crate) participants: BTreeSet<String>,
}

impl Expected {
    pub(crate) fn of(simulation: Simulation) -> Self {
        let mut expected = Self::default();
        for due in simulation {
            let Message::Event(event) = due.message else { continue };
            if event.r#type == Type::ParticipantJoined as i32 {
                expected.participants.insert(event.participant_id.clone());
            }
            if !WITH_TWINS.iter().any(|kind| event.r#type == *kind as i32) {
                expected.events.insert(event.id);
            }
        }
        expected
    }

    pub(crate) fn missing(
        &self,
        events: &BTreeSet<String>,
        participants: &BTreeSet<String>,
    ) -> Vec<String> {
        let events = self.events.difference(events);
        let people = self.participants.difference(participants);
        let events = events.map(|id| format!("{id} never arrived"));
        events.chain(people.map(|sid| format!("{sid} has no span"))).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_load_arrives_whenever_the_program_is_killed() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = super::variable("CRASH_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    let seconds = super::variable("SOAK_SECONDS").unwrap_or(3);
    eprintln!("CRASH_SEED={seed} SOAK_SECONDS={seconds}");
    let duration = Duration::from_secs(seconds * 60);
    let settings = Settings {
        rooms: 8,
        participants: 4,
        duration,
        seed,
        loss: 0.02,
        failures: 0.1,
        ..Settings::default()
    };
    let speed = 60.0;
    let start = send::start(duration, speed, Time::from_system(SystemTime::now()));
    let expected = Expected::of(Simulation::new(settings.clone(), start));
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let collector = Collector::start(random.next()).await;
    // The load knows one address for all lives.
    let ports = [reserved_port(), reserved_port()];
    let config = super::config(directory.path(), collector.port, TIMEOUT, ports);
    let mut program = Program::start(&config);
    let to = destination(&program, speed);
    let simulation = Simulation::new(settings, start);
    let mut sending = pin!(send(simulation, &to, std::future::pending(), |_| {}));
    let mut kills = 0;
    let report = loop {
        let lives_for = Duration::from_millis(200 + random.below(1500));
        if let Ok(report) = tokio::time::timeout(lives_for, &mut sending).await {
            break report.unwrap();
        }
        program.kill();
        kills += 1;
        collector.begin(kills).await;
        program = Program::start(&config);
    };
    assert_eq!(report.unacknowledged(), 0, "CRASH_SEED={seed}: {report:#?}");
    collector.arrived.lock().unwrap().is_healthy = true;
    let until = Instant::now() + super::PATIENCE;
    let missing = || {
        let arrived = collector.arrived.lock().unwrap();
        expected.missing(&arrived.events, &arrived.participants)
    };
    while !missing().is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut missing = missing();
    let (code, _) = program.stop();
    let arrived = collector.arrived.lock().unwrap();
    missing.extend(arrived.faults.iter().cloned());
    eprintln!(
        "{kills} kills; {} events, {} spans of {} participants arrived",
        arrived.events.len(),
        arrived.spans.len(),
        expected.participants.len()
    );
    assert_eq!((missing, code), (Vec::new(), Some(0)), "CRASH_SEED={seed}");
    assert!(kills > 0 && expected.events.len() > 100, "hardly anything happened");
}

pub(crate) fn destination(program: &Program, speed: f64) -> Destination {
    Destination {
        webhook: format!("http://{}/webhook", program.http).parse().unwrap(),
        analytics: format!("http://{}", program.grpc).parse().unwrap(),
        uploads: format!("http://{}", program.http).parse().unwrap(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed,
        retry_for: Destination::RETRY_FOR,
    }
}
