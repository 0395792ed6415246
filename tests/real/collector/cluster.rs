//! `cluster.yaml` with what a cluster has: a real LiveKit server and a real worker, and stand-ins of the services that
//! can't run here, found by a list and by Kubernetes. What arrives is looked at in a real Prometheus.

mod dashboards;
mod kubernetes;
mod service;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::{Built, Otelcol, PATIENCE, build};
use crate::parts::agents::{Runs, Worker};
use crate::parts::process;
use crate::parts::prometheus::Prometheus;
use crate::parts::{Part, Parts, Server, build_part, or_say, reserved_port};
use service::Service;

const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/cluster.yaml");
/// Those that have a stand-in, with the variables for their endpoints.
const STAND_INS: [(&str, &str); 3] =
    [("sip", "LIVEKIT_SIPS"), ("egress", "LIVEKIT_EGRESSES"), ("ingress", "LIVEKIT_INGRESSES")];

fn prometheus(at: &Path) -> Option<Prometheus> {
    let part = or_say("NO REAL PROMETHEUS", build_part(Part::Prometheus))?;
    Some(Prometheus::start(&part.path, at))
}

fn collector(
    built: &Built,
    config: &str,
    prometheus: &Prometheus,
    more: &[(&str, String)],
) -> Otelcol {
    let mut variables = vec![
        ("PROMETHEUS_ENDPOINT", format!("{}/api/v1/otlp", prometheus.url())),
        ("SCRAPE_INTERVAL", "500ms".to_owned()),
        ("SCRAPE_TIMEOUT", "500ms".to_owned()),
    ];
    variables.extend(more.iter().cloned());
    Otelcol::start(&built.otelcol, config, &variables)
}

/// The labels of a query's series, once it has so many.
fn series(prometheus: &Prometheus, query: &str, count: usize) -> Vec<Value> {
    let until = SystemTime::now() + PATIENCE;
    loop {
        let now = SystemTime::now();
        let found = prometheus.query(query, now).unwrap();
        if found.len() >= count {
            return found.into_iter().map(|mut series| series["metric"].take()).collect();
        }
        assert!(now < until, "{} of {count} series of {query}: {found:#?}", found.len());
        std::thread::yield_now();
    }
}

fn names(labels: &Value) -> BTreeSet<&str> {
    labels.as_object().unwrap().keys().map(String::as_str).collect()
}

fn list(of: impl std::fmt::Display) -> String {
    format!("[{of}]")
}

#[test]
fn the_endpoints_of_a_list_arrive_with_their_job_and_instance() {
    let Some(built) = build() else { return };
    let Some(parts) = crate::parts::build() else { return };
    let agents = or_say("NO REAL AGENTS", build_part(Runs::PythonThread.part()));
    let Some(agents) = agents else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(prometheus) = prometheus(directory.path()) else { return };
    let server = server(&parts, directory.path());
    let uploads = format!("http://127.0.0.1:{}", reserved_port());
    let worker =
        Worker::start(Runs::PythonThread, &agents.path, directory.path(), server.port(), &uploads);

    let services = STAND_INS.map(|(name, _)| Service::start(name));
    let mut targets = vec![
        ("livekit-server", "LIVEKIT_SERVERS", format!("127.0.0.1:{}", server.prometheus())),
        ("livekit-agents", "LIVEKIT_AGENTS", format!("127.0.0.1:{}", worker.prometheus())),
    ];
    let jobs = ["livekit-sip", "livekit-egress", "livekit-ingress"];
    for ((job, (_, variable)), service) in jobs.into_iter().zip(STAND_INS).zip(&services) {
        targets.push((job, variable, service.address().to_owned()));
    }
    let variables: Vec<_> = targets.iter().map(|(_, name, at)| (*name, list(at))).collect();
    let otelcol = collector(built, CLUSTER, &prometheus, &variables);

    for (job, metric) in [
        ("livekit-server", "livekit_room_total"),
        ("livekit-sip", "livekit_sip_calls_active{dir='in'}"),
        ("livekit-egress", "livekit_egress_requests{type='track'}"),
        ("livekit-ingress", "livekit_ingress_requests{type='rtmp'}"),
        ("livekit-agents", "lk_agents_worker_load"),
    ] {
        let found = series(&prometheus, metric, 1);
        assert_eq!(found.len(), 1, "{found:#?}");
        let address = &targets.iter().find(|target| target.0 == job).unwrap().2;
        assert_eq!((&found[0]["job"], &found[0]["instance"]), (&job.into(), &(&**address).into()));
    }
    assert_eq!(series(&prometheus, "up == 1", targets.len()).len(), targets.len());
    // Egress has those of Go once for each recording.
    let dropped = prometheus.query("{__name__=~'go_.+|process_.+|python_.+'}", SystemTime::now());
    assert_eq!(dropped.unwrap().len(), 0);
    // Counters have another name than at the endpoint.
    series(&prometheus, "increase(livekit_sip_invite_error_total{reason='flood'}[1m]) > 0", 1);
    refused_requests_have_the_labels_of_the_fixture(&prometheus, server.port());
    assert_eq!(otelcol.stop(), [""; 0]);
}

fn server(parts: &Parts, at: &Path) -> Server {
    Server::start(parts, at, reserved_port(), None, &[])
}

// What the real server says, as server.prom does, from which the names in the dashboards are known.
fn refused_requests_have_the_labels_of_the_fixture(prometheus: &Prometheus, server: u16) {
    let refused = process::post(server, "/twirp/livekit.SIP/CreateSIPParticipant", "{}");
    assert!(refused.unwrap_err().contains(" 401 "));
    let query = "livekit_node_twirp_request_status_total{service='SIP', code!=''}";
    let found = series(prometheus, query, 1);
    let fixture = service::text("server");
    let sample = fixture.lines().find(|line| line.contains("service=\"SIP\"")).unwrap();
    let labels = sample.split_once('{').unwrap().1.split("\",");
    let mut labels: BTreeSet<_> = labels.filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    labels.extend(["__name__", "job", "instance"]);
    assert_eq!(names(&found[0]), labels);
}

#[test]
fn pods_with_the_charts_labels_and_a_port_for_metrics_are_found() {
    let Some(built) = build() else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(prometheus) = prometheus(directory.path()) else { return };
    let service = Service::start("sip");
    let port = service.port();
    let pods = [
        kubernetes::pod(
            "lk",
            "server-1",
            "livekit-server",
            "Running",
            &[("http", 1), ("metrics", port)],
        ),
        kubernetes::pod("lk", "egress-1", "egress", "Running", &[("health", 1), ("metrics", port)]),
        kubernetes::pod("lk", "ingress-1", "ingress", "Running", &[("metrics", port)]),
        kubernetes::pod("voice", "sip-1", "livekit-sip", "Running", &[("metrics", port)]),
        kubernetes::pod("voice", "agents-1", "livekit-agents", "Running", &[("metrics", port)]),
        // Not these: another program, without a port for metrics, one that is over.
        kubernetes::pod("lk", "web-1", "nginx", "Running", &[("metrics", port)]),
        kubernetes::pod("lk", "egress-2", "egress", "Running", &[("health", port)]),
        kubernetes::pod("lk", "egress-3", "egress", "Succeeded", &[("metrics", port)]),
    ];
    let api = kubernetes::Api::start(&pods);
    // Not within a cluster: the API's address, instead of a service account.
    let text = std::fs::read_to_string(CLUSTER).unwrap();
    let role = "- role: pod\n";
    assert_eq!(text.matches(role).count(), 1);
    let there = format!("- role: pod\n              api_server: {}\n", api.url());
    let config = directory.path().join("cluster.yaml");
    std::fs::write(&config, text.replace(role, &there)).unwrap();
    let targets = [("TARGETS", "kubernetes".to_owned())];
    let otelcol = collector(built, config.to_str().unwrap(), &prometheus, &targets);
    let found = series(&prometheus, "livekit_sip_available", 5);
    let found =
        found.iter().map(|labels| ["job", "instance"].map(|it| labels[it].as_str().unwrap()));
    let expected = [
        ["livekit-agents", "voice/agents-1"],
        ["livekit-egress", "lk/egress-1"],
        ["livekit-ingress", "lk/ingress-1"],
        ["livekit-server", "lk/server-1"],
        ["livekit-sip", "voice/sip-1"],
    ];
    assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert_eq!(otelcol.stop(), [""; 0]);
}
