//! Every PromQL of the dashboards and rules shows what it should of a simulated call: `simulate` to `serve`
//! to a real collector on `grafana.yaml` to a real Prometheus on `prometheus.yaml`.

#[path = "../../stack/queries.rs"]
mod queries;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;

use super::{Otelcol, PATIENCE, PROMETHEUS, build};
use crate::parts::{free_port, or_say, ran};
use crate::program::{KEY, Program, SECRET};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config");

fn build_prometheus() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| or_say("NO REAL PROMETHEUS", built())).as_ref()
}

fn built() -> Result<PathBuf, String> {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    if !built.exists() {
        let said = ran(Command::new("go").args(["mod", "download", "-json", PROMETHEUS]))?;
        let module: serde_json::Value =
            serde_json::from_slice(&said).map_err(|error| error.to_string())?;
        let module = module["Dir"].as_str().ok_or("the module has no folder")?;
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&built).arg("./cmd/prometheus");
        ran(build.current_dir(module))?;
    }
    Ok(built)
}

struct Prometheus {
    process: Child,
    url: String,
}

impl Prometheus {
    /// Starts it as `prometheus.yaml` says to. Returns once it is ready.
    fn start(built: &Path, data: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new(built)
            .arg(format!("--config.file={CONFIGS}/prometheus/prometheus.yaml"))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while !is_ready(&address) {
            assert!(Instant::now() < until, "Prometheus does not start");
            std::thread::yield_now();
        }
        Self { process, url: format!("http://{address}") }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_ready(address: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.contains(" 200 "))
    };
    ask().unwrap_or(false)
}

// For Tempo and Loki: whatever is posted is taken.
async fn stand_in() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(|_: Bytes| async {});
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn collector(directory: &Path, prometheus: &str) -> Otelcol {
    let other = stand_in().await;
    let variables = [
        ("PROMETHEUS_ENDPOINT", format!("{prometheus}/api/v1/otlp")),
        ("TEMPO_ENDPOINT", other.clone()),
        ("LOKI_ENDPOINT", other),
    ];
    // Its other receiver on a port that is free.
    let text = std::fs::read_to_string(format!("{CONFIGS}/grafana.yaml")).unwrap();
    let text = text.replace("127.0.0.1:4318", &format!("127.0.0.1:{}", free_port()));
    let config = directory.join("grafana.yaml");
    std::fs::write(&config, text).unwrap();
    Otelcol::start(build().unwrap(), config.to_str().unwrap(), &variables)
}

fn serve(directory: &Path, endpoint: &str) -> Program {
    let path = directory.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 2s}}\n\
         stats: {{interval: 2s, top_n: 5}}\n\
         export: {{endpoint: '{endpoint}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    Program::start(&path)
}

fn simulate(program: &Program) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(["simulate", "--rooms", "3", "--participants", "5", "--tracks", "2"]);
    command.args(["--subscribe", "--duration", "60s", "--interval", "2s"]);
    command.args(["--loss", "0.02", "--failures", "0.3", "--seed", "7"]);
    command.args(["--webhook", &format!("http://{}/webhook", program.http)]);
    command.args(["--analytics", &format!("http://{}", program.grpc)]);
    command.env_clear().env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_a_dashboard_shows_something_of_a_simulated_call() {
    let (Some(_), Some(built)) = (build(), build_prometheus()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(built, &directory.path().join("data"));
    let empty = queries::check(&prometheus.url, SystemTime::now());
    assert!(empty.iter().any(|problem| problem.contains("has no values")), "{empty:#?}");
    assert!(empty.iter().any(|problem| problem.contains("shows nothing")), "{empty:#?}");

    let otelcol = collector(directory.path(), &prometheus.url).await;
    let program = serve(directory.path(), &otelcol.endpoint);
    let mut simulation = simulate(&program);
    let ended = tokio::task::spawn_blocking(move || simulation.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    // The last rooms were there still.
    let at = SystemTime::now() - Duration::from_secs(8);
    assert_eq!(queries::check(&prometheus.url, at), [""; 0]);
    let (code, said) = program.stop();
    assert_eq!(code, Some(0), "{said:#?}");
    assert_eq!(otelcol.stop(), [""; 0]);
}
