//! Prometheus, running.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use super::process::{Process, encoded, json};
use super::reserved_port;

const CONFIG: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/prometheus/prometheus.yaml");

/// It takes OTLP, on the configuration and with the rules that are shipped.
pub(crate) struct Prometheus {
    _process: Process,
    port: u16,
}

impl Prometheus {
    pub(crate) fn start(binary: &Path, folder: &Path) -> Self {
        let port = reserved_port();
        let folder = folder.join("prometheus");
        std::fs::create_dir(&folder).unwrap();
        let log = folder.join("log");
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={CONFIG}"));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.args(["--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"]);
        let mut process = Process::start(&mut command, &log);
        process.serves(port, "/-/ready", &log);
        Self { _process: process, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The result of a query at a time: `data.result`.
    pub(crate) fn query(&self, query: &str, at: SystemTime) -> Result<Vec<Value>, String> {
        self.result(&format!("query?query={}&time={}", encoded(query), seconds(at)))
    }

    /// The same, second by second.
    pub(crate) fn query_range(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<Vec<Value>, String> {
        let (query, from, to) = (encoded(query), seconds(from), seconds(to));
        self.result(&format!("query_range?query={query}&start={from}&end={to}&step=1"))
    }

    /// The exemplars of a query's series.
    pub(crate) fn exemplars(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<Vec<Value>, String> {
        let (query, from, to) = (encoded(query), seconds(from), seconds(to));
        let path = format!("/api/v1/query_exemplars?query={query}&start={from}&end={to}");
        let mut answer = json(self.port, &path)?;
        match answer["data"].take() {
            Value::Array(series) => Ok(series),
            _ => Err(answer.to_string()),
        }
    }

    fn result(&self, path: &str) -> Result<Vec<Value>, String> {
        let mut answer = json(self.port, &format!("/api/v1/{path}"))?;
        match answer["data"]["result"].take() {
            Value::Array(result) => Ok(result),
            _ => Err(answer.to_string()),
        }
    }
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}
