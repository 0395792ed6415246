//! A program of its own, and what it takes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use livekit_otel_durable::memory;

/// A running server; killed when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command, http: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", http)).is_err() {
            assert!(Instant::now() < until, "it does not listen");
            std::thread::yield_now();
        }
        Self(child)
    }

    /// CPU so far, in seconds (proc(5): utime and stime, in ticks of 10 ms).
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |nth: usize| fields[nth].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Memory now, in MB of 1000 KiB.
    pub fn resident(&self) -> f64 {
        (memory::resident(Some(self.0.id())).unwrap() >> 10) as f64 / 1000.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `livekit-otel serve` with a journal in `directory`.
pub fn serve(directory: &Path, http: u16, grpc: u16, collector: u16) -> Command {
    let endpoint = format!("http://127.0.0.1:{collector}");
    serve_to(directory, http, grpc, (&endpoint, "http/protobuf"))
}

/// The same, to an endpoint by a protocol.
pub fn serve_to(
    directory: &Path,
    http: u16,
    grpc: u16,
    (endpoint, protocol): (&str, &str),
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.arg("serve").env_clear().env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"));
    command.args([
        "--http",
        &format!("127.0.0.1:{http}"),
        "--grpc",
        &format!("127.0.0.1:{grpc}"),
        "--admin",
        "127.0.0.1:0",
    ]);
    command.args(["--endpoint", endpoint, "--protocol", protocol, "--journal-dir"]).arg(directory);
    command
}

/// The same command, on one core.
pub fn on_one_core(command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        pinned.env(name, value.unwrap_or_default());
    }
    pinned
}

pub const KEY: &str = "devkey";
pub const SECRET: &str = "made-up-secret-of-thirty-two-characters";
