//! A running collector of several configurations, which can be killed.

use std::process::{Child, Command};
use std::sync::mpsc;

use super::super::Built;
use super::PATIENCE;
use crate::parts::collector::{ready, worse};
use crate::parts::reserved_port;

/// One that runs.
pub(super) struct Running {
    process: Child,
    log: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it on configurations, files or `yaml:`, in their order. Returns once it is ready.
    pub(super) fn start(built: &Built, configs: &[String], variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(&built.otelcol);
        for config in configs {
            command.arg("--config").arg(config);
        }
        command.args(["--config", "yaml:service::telemetry::metrics::level: none"]);
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        let (process, log, seen) = ready(&mut command);
        // Nothing deprecated, nothing ignored; a back end may be away.
        let worse = worse(seen.into_iter().filter(|line| !line.contains("connection refused")));
        assert_eq!(worse, [""; 0], "{configs:?}");
        Self { process, log }
    }

    /// Sends SIGTERM: it sends what it has. Returns its log without the lines of level info.
    pub(super) fn stop(self) -> Vec<String> {
        worse(self.log().into_iter())
    }

    /// Sends SIGTERM. Returns its log since it was ready.
    pub(super) fn log(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        self.log.iter().collect()
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until it says such a line; whether it did.
    pub(super) fn has_logged(&self, is_such: impl Fn(&str) -> bool) -> bool {
        let mut lines = std::iter::from_fn(|| self.log.recv_timeout(PATIENCE).ok());
        lines.any(|line| is_such(&line))
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has the files' OTLP receiver listen on free ports: its address for gRPC, and what says so.
pub(super) fn listening() -> (String, String) {
    let (grpc, _, own) = listening_for_both();
    (grpc, own)
}

/// The same, with the port for HTTP.
pub(super) fn listening_for_both() -> (String, u16, String) {
    let [grpc, http] = [reserved_port(), reserved_port()];
    let own = format!(
        "yaml:{{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, \
         http: {{endpoint: '127.0.0.1:{http}'}}}}}}}}}}"
    );
    (format!("http://127.0.0.1:{grpc}"), http, own)
}
