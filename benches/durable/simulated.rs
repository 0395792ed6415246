//! All messages of a simulated LiveKit server, webhooks and analytics, without pauses.

use std::time::{Duration, SystemTime};

use livekit_otel_model::event::Time;
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::send::{self, send};
use livekit_otel_tools::simulate::{Settings, Simulation};

use crate::port::reserved_port;
use crate::process::{KEY, Process, SECRET, serve};

pub fn run() {
    let directory = tempfile::tempdir().unwrap();
    let (http, grpc) = (reserved_port(), reserved_port());
    let program = Process::start(&mut serve(directory.path(), http, grpc, 1), http);
    let duration = Duration::from_mins(20);
    let settings = Settings {
        rooms: 100,
        participants: 10,
        duration,
        loss: 0.02,
        failures: 0.05,
        ..Settings::default()
    };
    let to = Destination {
        webhook: format!("http://127.0.0.1:{http}/webhook").parse().unwrap(),
        analytics: format!("http://127.0.0.1:{grpc}").parse().unwrap(),
        uploads: format!("http://127.0.0.1:{http}").parse().unwrap(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: f64::INFINITY,
        retry_for: Destination::RETRY_FOR,
    };
    let start = send::start(duration, to.speed, Time::from_system(SystemTime::now()));
    let simulation = Simulation::new(settings, start);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = program.cpu();
    let report = runtime.block_on(send(simulation, &to, std::future::pending(), |_| {})).unwrap();
    let sent: u64 = report.outcomes.iter().map(|(_, outcome)| outcome.sent).sum();
    let cpu = (program.cpu() - before) * 1e6 / sent as f64;
    println!("simulated: 100 rooms of 10 at once, sent and served by the same two cores");
    for (source, outcome) in &report.outcomes {
        let rate = outcome.acknowledged as f64 / report.took.as_secs_f64();
        println!("  {:<10}{:>9} messages, {rate:.0} a second", source.as_str(), outcome.sent);
    }
    println!("  {cpu:.1} µs CPU each; {} not acknowledged", report.unacknowledged());
    assert_eq!(report.unacknowledged(), 0);
}
