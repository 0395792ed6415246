//! Every PromQL of the dashboards and rules shows what it should of a simulated call with recorded agents in it:
//! `simulate` to `serve` to a real collector on `grafana.yaml` to a real Prometheus on `prometheus.yaml`.

#[path = "../../stack/agents.rs"]
mod agents;
#[path = "../../stack/queries.rs"]
pub(super) mod queries;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use tokio::time::interval;

use super::{Otelcol, build};
use crate::parts::prometheus::Prometheus;
use crate::parts::{Part, build_part, or_say, reserved_port};
use crate::program::{KEY, Program, SECRET};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config");

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
    let text = text.replace("127.0.0.1:4318", &format!("127.0.0.1:{}", reserved_port()));
    let config = directory.join("grafana.yaml");
    std::fs::write(&config, text).unwrap();
    Otelcol::start(&build().unwrap().otelcol, config.to_str().unwrap(), &variables)
}

fn serve(directory: &Path, endpoint: &str, level: &str) -> Program {
    let path = directory.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 2s}}\n\
         stats: {{interval: 2s, top_n: 5, level: {level}}}\n\
         export: {{endpoint: '{endpoint}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    Program::start(&path)
}

fn simulate(program: &Program) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(["simulate", "--rooms", "3", "--participants", "5", "--tracks", "2"]);
    command.args(["--subscribe", "--duration", "80s", "--interval", "2s"]);
    command.args(["--loss", "0.02", "--failures", "0.3", "--seed", "7"]);
    command.args(["--webhook", &format!("http://{}/webhook", program.http)]);
    command.args(["--analytics", &format!("http://{}", program.grpc)]);
    command.env_clear().env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    command.stdout(Stdio::null()).spawn().unwrap()
}

// Two in one of its rooms, one in another.
async fn agents_join(program: &Program, prometheus: &str) {
    let mut looks = interval(Duration::from_millis(500));
    let rooms = loop {
        looks.tick().await;
        let rooms = queries::rooms(prometheus);
        if rooms.len() > 1 {
            break rooms;
        }
    };
    for (number, end) in [(0, agents::End::Recorded), (1, agents::End::Failed)] {
        agents::upload(&program.http, &rooms[0], number, end);
    }
    agents::upload(&program.http, &rooms[1], 2, agents::End::Recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_a_dashboard_shows_something_of_a_simulated_call() {
    let Some(_) = build() else { return };
    let prometheus = or_say("NO REAL PROMETHEUS", build_part(Part::Prometheus));
    let Some(prometheus) = prometheus else { return };
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&prometheus.path, directory.path());
    let empty = queries::check(&prometheus.url(), SystemTime::now());
    assert!(empty.iter().any(|problem| problem.contains("has no values")), "{empty:#?}");
    assert!(empty.iter().any(|problem| problem.contains("shows nothing")), "{empty:#?}");

    let otelcol = collector(directory.path(), &prometheus.url()).await;
    let program = serve(directory.path(), &otelcol.endpoint, "participant");
    let began = SystemTime::now();
    let mut simulation = simulate(&program);
    agents_join(&program, &prometheus.url()).await;
    let ended = tokio::task::spawn_blocking(move || simulation.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    // The last rooms were there still, however long the simulation took after that.
    let at = began + Duration::from_secs(72);
    assert_eq!(queries::check(&prometheus.url(), at), [""; 0]);
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    assert_eq!(otelcol.stop(), [""; 0]);
}

/// What needs the ids of rooms.
const OF_ROOMS: [&str; 3] = [
    "agents: Jobs with failed requests A",
    "agents: Most interrupted jobs A",
    "agents: Slowest jobs A",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_dashboard_shows_all_but_rooms_at_the_level_of_nodes() {
    let Some(_) = build() else { return };
    let prometheus = or_say("NO REAL PROMETHEUS", build_part(Part::Prometheus));
    let Some(prometheus) = prometheus else { return };
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&prometheus.path, directory.path());
    let otelcol = collector(directory.path(), &prometheus.url()).await;
    let program = serve(directory.path(), &otelcol.endpoint, "node");
    for (number, end) in [(0, agents::End::Recorded), (1, agents::End::Failed)] {
        agents::upload(&program.http, &format!("RM_{number}"), number, end);
    }
    let failed = "sum(lk_agent_jobs_total{error_type!=''})";
    let is_counted = || prometheus.query(failed, SystemTime::now()).unwrap();
    let mut looks = interval(Duration::from_millis(500));
    while !is_counted().first().is_some_and(|series| series["value"][1] == "1") {
        looks.tick().await;
    }
    let at = queries::end_of_step(SystemTime::now());
    let problems = queries::check_dashboard(&prometheus.url(), "agents", at);
    let (rooms, others): (Vec<_>, Vec<_>) =
        problems.iter().partition(|it| OF_ROOMS.iter().any(|place| it.starts_with(place)));
    assert_eq!(rooms.len(), OF_ROOMS.len(), "{rooms:#?}");
    // No room and no job can be chosen.
    let no_value = |it: &&&String| it.contains(" has no values: ") && it.contains("variable ");
    assert_eq!(others.iter().filter(no_value).count(), others.len(), "{others:#?}");
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    assert_eq!(otelcol.stop(), [""; 0]);
}
