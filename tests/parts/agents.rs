//! Workers of LiveKit Agents, running: `tests/agents`, on the pinned packages and without a change to them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::{Part, reserved_port};
use crate::program::{KEY, SECRET};

const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(50);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What runs the jobs of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Python, a process for each job.
    PythonProcesses,
    /// Python, a thread for all jobs.
    PythonThread,
    /// Node, a process for each job.
    NodeProcesses,
}

impl Runs {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::PythonProcesses | Self::PythonThread => Part::PythonAgents,
            Self::NodeProcesses => Part::NpmAgents,
        }
    }

    // `installed` is the part; `at` a folder for what needs to be beside it.
    fn command(self, installed: &Path, at: &Path) -> Command {
        let sources = Path::new(ROOT).join("tests/agents");
        if self.part() == Part::PythonAgents {
            let mut command = program(installed.join("bin/python"));
            command.arg(sources.join("agent.py")).env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("EXECUTOR", if self == Self::PythonThread { "thread" } else { "process" });
            return command;
        }
        // Node looks for packages beside the file.
        std::fs::copy(sources.join("agent.mjs"), at.join("agent.mjs")).unwrap();
        for file in ["package.json", "node_modules"] {
            std::os::unix::fs::symlink(installed.join(file), at.join(file)).unwrap();
        }
        let mut command = program("node");
        command.arg(at.join("agent.mjs")).env("PORT", reserved_port().to_string());
        command
    }
}

// It has none of our variables but those it is given.
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    let kept = ["PATH", "HOME"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
    command.env_clear().envs(kept);
    command
}

/// A line of a worker's log.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) logger: String,
    pub(crate) room: String,
    pub(crate) process: Option<Pid>,
    /// Whether it is a warning or worse, or no line of a logger.
    pub(crate) is_complaint: bool,
}

pub(crate) struct Worker {
    runs: Runs,
    process: Child,
    log: PathBuf,
    prometheus: u16,
}

impl Worker {
    /// Returns once LiveKit's server has registered it.
    pub(crate) fn start(
        runs: Runs,
        installed: &Path,
        at: &Path,
        server: u16,
        uploads: &str,
    ) -> Self {
        Self::start_named("", runs, installed, at, server, uploads)
    }

    /// The same of agents with a name, of Python.
    pub(crate) fn start_named(
        name: &str,
        runs: Runs,
        installed: &Path,
        at: &Path,
        server: u16,
        uploads: &str,
    ) -> Self {
        let folder = at.join("worker");
        std::fs::create_dir(&folder).unwrap();
        let log = folder.join("log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command = runs.command(installed, &folder);
        command.arg("start").env("LIVEKIT_URL", format!("ws://127.0.0.1:{server}"));
        command.env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
        command.env("LIVEKIT_OBSERVABILITY_URL", uploads).env("AGENT_NAME", name);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let prometheus = reserved_port();
        command.env("PROMETHEUS_PORT", prometheus.to_string());
        // Its jobs are in its group.
        command.process_group(0);
        let worker = Self { runs, process: command.spawn().unwrap(), log, prometheus };
        worker.wait_for("", "registered worker", 1);
        worker
    }

    /// Its Prometheus endpoint, in Python.
    pub(crate) fn prometheus(&self) -> u16 {
        self.prometheus
    }

    pub(crate) fn log(&self) -> Vec<Line> {
        std::fs::read_to_string(&self.log).unwrap().lines().map(line).collect()
    }

    /// Returns the last of so many lines of a room with a text, once they are there.
    pub(crate) fn wait_for(&self, room: &str, text: &str, times: usize) -> Line {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let is_it = |line: &&Line| line.room == room && line.text.contains(text);
            if let Some(line) = log.iter().filter(is_it).nth(times - 1) {
                return line.clone();
            }
            assert!(Instant::now() < until, "no {times} lines {text} of {room} in {log:#?}");
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Sends SIGTERM: it waits for its jobs.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let status = self.process.wait().unwrap();
        // In Node it is the signal's.
        let expected = if self.runs == Runs::NodeProcesses { 128 + 15 } else { 0 };
        assert_eq!(status.code(), Some(expected), "{:#?}", self.log());
    }
}

/// SIGKILL, also of its jobs.
impl Drop for Worker {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            let _ = self.process.wait();
        }
    }
}

// Python's levels are words, Node's numbers.
fn line(text: &str) -> Line {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let of = |key: &str| value[key].as_str().map(str::to_owned);
    let is_calm = match &value["level"] {
        Value::String(level) => ["DEBUG", "INFO"].contains(&level.as_str()),
        level => level.as_i64().is_some_and(|level| level < 40),
    };
    Line {
        text: of("message").or(of("msg")).unwrap_or_else(|| text.to_owned()),
        logger: of("name").unwrap_or_default(),
        room: of("room").unwrap_or_default(),
        process: value["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)),
        is_complaint: !is_calm,
    }
}
