//! An OpenTelemetry Collector, running.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::reserved_port;

const PATIENCE: Duration = Duration::from_mins(2);

/// A running collector that takes OTLP over gRPC.
pub(crate) struct Otelcol {
    process: Child,
    log: mpsc::Receiver<String>,
    pub(crate) endpoint: String,
}

impl Otelcol {
    /// Starts it on a configuration, a file or `yaml:`, with an address of its own. Returns once it is
    /// ready.
    pub(crate) fn start(otelcol: &Path, config: &str, variables: &[(&str, String)]) -> Self {
        let address = format!("127.0.0.1:{}", reserved_port());
        Self::start_at(&address, otelcol, &[config], variables)
    }

    /// The same on several configurations, those behind before those in front.
    pub(crate) fn start_at(
        address: &str,
        otelcol: &Path,
        configs: &[&str],
        variables: &[(&str, String)],
    ) -> Self {
        let own = [
            format!("yaml:receivers::otlp::protocols::grpc::endpoint: {address}"),
            // The tests send over gRPC, and collectors that run at once share no port.
            "yaml:receivers::otlp::protocols::http::endpoint: 127.0.0.1:0".to_owned(),
            "yaml:service::telemetry::metrics::level: none".to_owned(),
        ];
        let mut command = Command::new(otelcol);
        for config in configs.iter().copied().chain(own.iter().map(String::as_str)) {
            command.args(["--config", config]);
        }
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        let (process, log, seen) = ready(&mut command);
        assert_eq!(worse(seen.into_iter()), [""; 0]);
        Self { process, log, endpoint: format!("http://{address}") }
    }

    /// Sends SIGTERM: it sends what it has. Returns its log without the lines of level info.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        worse(self.log.iter())
    }
}

/// SIGKILL.
impl Drop for Otelcol {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts one, and returns once it is ready: its process, what it says from then on, what it said before.
pub(crate) fn ready(command: &mut Command) -> (Child, mpsc::Receiver<String>, Vec<String>) {
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(process.stderr.take().unwrap());
    let (lines, log) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let mut seen = Vec::new();
    loop {
        match log.recv_timeout(PATIENCE) {
            Ok(line) if line.contains("Everything is ready") => return (process, log, seen),
            Ok(line) => seen.push(line),
            Err(error) => panic!("it does not start ({error}): {seen:#?}"),
        }
    }
}

/// Lines that are no mere information.
pub(crate) fn worse(lines: impl Iterator<Item = String>) -> Vec<String> {
    lines.filter(|line| line.split('\t').nth(1) != Some("info")).collect()
}
