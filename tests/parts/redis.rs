//! A Redis, running: LiveKit's bus.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ran, reserved_port};

const PATIENCE: Duration = Duration::from_mins(1);
const PROGRAM: &str = "redis-server";

pub(crate) struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// On loopback, without persistence.
    ///
    /// # Errors
    /// If it is not installed.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        ran(Command::new(PROGRAM).arg("--version"))?;
        let port = reserved_port();
        let process = Command::new(PROGRAM)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut redis = Self { process, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let is_over = redis.process.try_wait().unwrap().is_some() || Instant::now() > until;
            assert!(!is_over, "Redis does not listen");
            std::thread::yield_now();
        }
        Ok(redis)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
