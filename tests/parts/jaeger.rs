//! Jaeger, running.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::{Process, encoded, json};
use super::reserved_port;

/// It takes OTLP, keeps traces on disk, and is asked for them. Lives more than once, at the same ports.
pub(crate) struct Jaeger {
    binary: PathBuf,
    folder: PathBuf,
    pub(crate) otlp: u16,
    pub(crate) query: u16,
    process: Option<Process>,
}

impl Jaeger {
    pub(crate) fn start(binary: &Path, folder: &Path) -> Self {
        let (otlp, query) = (reserved_port(), reserved_port());
        let (binary, folder) = (binary.to_owned(), folder.join("jaeger"));
        std::fs::create_dir(&folder).unwrap();
        let at = folder.display();
        // No batches and no queue: what it has acknowledged it has written.
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp}'}}}}}}}}\n\
             exporters: {{jaeger_storage_exporter: {{trace_storage: disk}}}}\n\
             extensions:\n  \
             jaeger_storage: {{backends: {{disk: {{badger: {{ephemeral: false, \
             directories: {{keys: '{at}/keys', values: '{at}/values'}}}}}}}}}}\n  \
             jaeger_query:\n    storage: {{traces: disk}}\n    \
             http: {{endpoint: '127.0.0.1:{query}'}}\n    \
             grpc: {{endpoint: '127.0.0.1:{grpc}'}}\n\
             service:\n  extensions: [jaeger_storage, jaeger_query]\n  \
             pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}\n  \
             telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n",
            grpc = reserved_port()
        );
        std::fs::write(folder.join("config.yaml"), config).unwrap();
        let mut jaeger = Self { binary, folder, otlp, query, process: None };
        jaeger.start_again();
        jaeger
    }

    pub(crate) fn start_again(&mut self) {
        let log = self.folder.join("log");
        let mut command = Command::new(&self.binary);
        // It exports no telemetry about itself.
        command.env("OTEL_TRACES_SAMPLER", "always_off");
        command.arg("--config").arg(self.folder.join("config.yaml")).current_dir(&self.folder);
        let process = self.process.insert(Process::start(&mut command, &log));
        process.serves(self.query, "/api/v3/services", &log);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A trace as it has it, in OTLP's JSON.
    pub(crate) fn trace(&self, id: &str) -> Result<Value, String> {
        json(self.query, &format!("/api/v3/traces/{id}?raw_traces=true"))
    }

    /// All traces of a service, so many at most.
    pub(crate) fn traces(&self, service: &str, from: &str, to: &str) -> Result<Value, String> {
        let [service, from, to] = [service, from, to].map(encoded);
        let path = format!(
            "/api/v3/traces?query.service_name={service}&query.start_time_min={from}\
             &query.start_time_max={to}&query.num_traces=1000&query.raw_traces=true"
        );
        json(self.query, &path)
    }
}
