//! The program, in one of its lives.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) const KEY: &str = "devkey";
pub(crate) const SECRET: &str = "made-up-secret-of-thirty-two-characters";

const PATIENCE: Duration = Duration::from_mins(2);

/// A running `serve`.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    #[allow(dead_code)] // of tests/abuse and tests/stack
    pub(crate) admin: String,
    pub(crate) log: mpsc::Receiver<String>,
}

impl Program {
    /// Starts it on a configuration file; returns once it accepts.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_livekit-otel")), config)
    }

    /// By a command that runs it.
    pub(crate) fn start_by(mut command: Command, config: &Path) -> Self {
        command.args(["serve", "--log-format", "json", "--config"]).arg(config).env_clear();
        command.env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut seen = Vec::new();
        let listening = loop {
            match log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("\"listening\"") => break line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("it does not listen ({error}): {seen:#?}"),
            }
        };
        let line: serde_json::Value = serde_json::from_str(&listening).unwrap();
        let fields = line.get("fields").unwrap_or(&line);
        let address = |key: &str| fields[key].as_str().unwrap().to_owned();
        let [http, grpc, admin] = ["http", "grpc", "admin"].map(address);
        Self { child, http, grpc, admin, log }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.try_iter().collect()
    }

    /// Sends SIGTERM; returns the exit code and the log.
    pub(crate) fn stop(mut self) -> (Option<i32>, Vec<String>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), self.log.iter().collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
