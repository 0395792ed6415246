//! A real OpenTelemetry Collector, built by its builder from `builder.yaml`, and Prometheus' promtool:
//! what becomes of our metrics in them.

mod dashboards;
mod equality;
mod live;
mod names;
mod ours;
mod pipelines;
pub(crate) mod prometheus;
mod rules;
mod scrape;
mod validate;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::export::Settings;
use livekit_otel::source::Keys;

use crate::parts::{free_port, or_say, ran};

const OCB: &str = "go.opentelemetry.io/collector/cmd/builder@v0.158.0";
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.305.0";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Built {
    pub(crate) otelcol: PathBuf,
    promtool: PathBuf,
}

/// Builds them, once; where that can't be done says so, loudly.
pub(crate) fn build() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    BUILT.get_or_init(|| or_say("NO REAL COLLECTOR", built())).as_ref()
}

fn built() -> Result<Built, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/collector");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collector");
    std::fs::create_dir_all(&made).map_err(|error| error.to_string())?;
    let built = Built { otelcol: made.join("otelcol"), promtool: made.join("promtool") };
    let newest = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let parts = sources.join("builder.yaml");
    if newest(&parts) >= newest(&built.otelcol) {
        ran(Command::new("go").args(["install", OCB]).env("GOBIN", &made))?;
        // Its output is where it runs.
        let ocb = made.join("builder");
        ran(Command::new(ocb).arg("--config").arg(parts).current_dir(&made))?;
    }
    if !built.promtool.exists() {
        let download = ["mod", "download", "-json", PROMETHEUS];
        let said = ran(Command::new("go").args(download).current_dir(&made))?;
        let module: serde_json::Value =
            serde_json::from_slice(&said).map_err(|error| error.to_string())?;
        let module = module["Dir"].as_str().ok_or("the module has no folder")?;
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&built.promtool).arg("./cmd/promtool");
        ran(build.current_dir(module))?;
    }
    Ok(built)
}

/// A running collector that takes OTLP over gRPC.
struct Otelcol {
    process: Child,
    log: mpsc::Receiver<String>,
    endpoint: String,
}

impl Otelcol {
    /// Starts it on a configuration, a file or `yaml:`, with an address of its own. Returns once it is
    /// ready.
    fn start(built: &Built, config: &str, variables: &[(&str, String)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let own = [
            format!("yaml:receivers::otlp::protocols::grpc::endpoint: {address}"),
            "yaml:service::telemetry::metrics::level: none".to_owned(),
        ];
        let mut command = Command::new(&built.otelcol);
        command.args(["--config", config, "--config", &own[0], "--config", &own[1]]);
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
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
                Ok(line) if line.contains("Everything is ready") => break,
                Ok(line) => seen.push(line),
                Err(error) => panic!("it does not start ({error}): {seen:#?}"),
            }
        }
        assert_eq!(worse(seen.into_iter()), [""; 0]);
        Self { process, log, endpoint: format!("http://{address}") }
    }

    /// SIGTERM: it sends what it has. Gives what it said that was no mere information.
    fn stop(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        worse(self.log.iter())
    }
}

impl Drop for Otelcol {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// Lines that are no mere information.
fn worse(lines: impl Iterator<Item = String>) -> Vec<String> {
    lines.filter(|line| line.split('\t').nth(1) != Some("info")).collect()
}

/// How metrics are sent to it.
fn export(endpoint: &str) -> Settings {
    let mut export = Config::for_keys(Keys::default()).export;
    export.metrics.endpoint = endpoint.parse().unwrap();
    export
}
