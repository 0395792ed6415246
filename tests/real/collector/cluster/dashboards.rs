//! Every query about calls, recordings, streams and dispatches shows something: of metrics of ten minutes with such
//! operations, as the instruments emit them, and of the stand-ins' endpoints.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livekit_otel_engine::Batch;
use livekit_otel_engine::session::{Census, Fact, Labels, ParticipantUsage, TrackTimes, WorkDone};
use livekit_otel_engine::stats::{Settings, Stats};
use livekit_otel_model::event::{RoomSid, Time, TrackKind, WorkKind};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

use super::super::dashboards::queries;
use super::super::{build, export, ours};
use super::service::Service;
use super::{CLUSTER, STAND_INS, collector, list, prometheus, series};
use crate::parts::prometheus::Prometheus;
use crate::shipped::{dashboards, filled, list as items, text_of};

const DASHBOARDS: [&str; 2] = ["telephony", "egress-ingress"];
const STEP: Duration = Duration::from_secs(30);
const STEPS: u32 = 20;

/// An operation of 90 s, with 2 s to its first frame, its answer or its agent.
fn work(kind: WorkKind, error_type: &str, attributes: &[(&'static str, &str)]) -> (Labels, Fact) {
    let attributes: Vec<_> =
        attributes.iter().map(|(key, text)| Attribute::new(key, *text)).collect();
    let labels = Labels::of(kind, &attributes);
    let work = WorkDone {
        kind,
        room: RoomSid::new("RM_1"),
        room_name: None,
        took: Duration::from_secs(90),
        first: Some(Duration::from_secs(2)),
        error_type: Some(error_type).filter(|it| !it.is_empty()).map(Into::into),
        labels: labels.clone(),
    };
    (labels, Fact::WorkReleased(Box::new(work)))
}

fn call(direction: &str, answer: &str, error_type: &str) -> (Labels, Fact) {
    let of = [
        (key::SIP_TRUNK_ID, "ST_1"),
        (key::SIP_CALL_DIRECTION, direction),
        (key::SIP_ANSWER, answer),
    ];
    work(WorkKind::SipCall, error_type, &of)
}

fn egress(kind: &str, status: &str, error_type: &str) -> (Labels, Fact) {
    let of = [(key::EGRESS_TYPE, kind), (key::EGRESS_STATUS, status)];
    work(WorkKind::Egress, error_type, &of)
}

fn dispatch(outcome: &str, error_type: &str) -> (Labels, Fact) {
    let of = [(key::AGENT_NAME, "support"), (key::DISPATCH_OUTCOME, outcome)];
    work(WorkKind::AgentDispatch, error_type, &of)
}

/// What is released in each step.
fn works() -> Vec<(WorkKind, (Labels, Fact))> {
    let calls = [
        call("SCD_INBOUND", "answered", ""),
        call("SCD_INBOUND", "unknown", ""),
        call("SCD_OUTBOUND", "unanswered", "user_rejected"),
        call("SCD_OUTBOUND", "unanswered", "sip_trunk_or_network"),
    ];
    let transfers =
        [work(WorkKind::SipTransfer, "", &[]), work(WorkKind::SipTransfer, "sip_busy_here", &[])];
    let egresses = [
        egress("room_composite", "EGRESS_COMPLETE", ""),
        egress("track", "EGRESS_FAILED", "egress_failed"),
    ];
    let ingress =
        |status, error_type| work(WorkKind::Ingress, error_type, &[(key::INGRESS_STATUS, status)]);
    let ingresses = [ingress("ENDPOINT_INACTIVE", ""), ingress("ENDPOINT_ERROR", "ingress_failed")];
    let jobs = [work(WorkKind::AgentJob, "agent_job_failed", &[])];
    let dispatches = [dispatch("joined", ""), dispatch("no_worker", "agent_dispatch_no_worker")];
    let of = |kind: WorkKind, works: Vec<_>| works.into_iter().map(move |work| (kind, work));
    of(WorkKind::SipCall, calls.into())
        .chain(of(WorkKind::SipTransfer, transfers.into()))
        .chain(of(WorkKind::Egress, egresses.into()))
        .chain(of(WorkKind::Ingress, ingresses.into()))
        .chain(of(WorkKind::AgentJob, jobs.into()))
        .chain(of(WorkKind::AgentDispatch, dispatches.into()))
        .collect()
}

fn participant(kind: &'static str) -> Fact {
    let mut tracks = TrackTimes::default();
    tracks.add(Some(TrackKind::Audio), Duration::from_secs(90));
    Fact::ParticipantUsed(Box::new(ParticipantUsage {
        room: RoomSid::new("RM_1").unwrap(),
        room_name: None,
        kind: Some(kind),
        took: Duration::from_secs(90),
        published: tracks,
        subscribed: tracks,
    }))
}

/// Sends the metrics of the steps up to now, in their order.
async fn send(endpoint: &str, now: SystemTime) {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let begin = Time::from_nanos(u64::try_from(nanos).unwrap()).unwrap();
    let at = |step: u32| {
        let before = (STEP * (STEPS - step)).as_nanos();
        Time::from_nanos(begin.nanos() - u64::try_from(before).unwrap()).unwrap()
    };
    let mut stats = Stats::new(Settings::default(), at(0));
    let mut census = Census { rooms: 1, ..Census::default() };
    census.stuck_egresses.insert("starting", 1);
    for (kind, (labels, _)) in works() {
        census.works.insert((kind, labels), 1);
    }
    for step in 1..=STEPS {
        for (_, (_, fact)) in works() {
            stats.fact(&fact);
        }
        for kind in ["STANDARD", "AGENT"] {
            stats.fact(&participant(kind));
        }
        let metrics = stats.flush(at(step), &census);
        ours::send(&export(endpoint), &Batch { metrics, ..Batch::default() }).await;
    }
}

/// The stat panels of a dashboard that show no number above 0. In these ten minutes something of everything happened.
fn zeros(prometheus: &Prometheus, name: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let dashboard = dashboards().into_iter().find(|dashboard| dashboard.name == name).unwrap();
    let stats = dashboard.panels().into_iter().filter(|panel| panel["type"] == "stat");
    let stats = stats.filter(|panel| is_meant(panel["title"].as_str().unwrap()));
    let mut zeros = Vec::new();
    for panel in stats {
        let target = items(panel, "targets").next().unwrap();
        let expr = filled(&text_of(target, "expr"), &mut |name| match name {
            "__range" => Some("1h".to_owned()),
            "job" => Some("livekit-otel".to_owned()),
            _ => Some(".*".to_owned()),
        });
        let found = prometheus.query(&expr, SystemTime::now()).unwrap();
        let value = found.first().and_then(|it| it["value"][1].as_str()?.parse::<f64>().ok());
        if value.is_none_or(|value| value <= 0.0) {
            zeros.push(format!("{}: {value:?}: {expr}", panel["title"]));
        }
    }
    zeros
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_about_calls_recordings_and_dispatches_shows_something() {
    let Some(built) = build() else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(prometheus) = prometheus(directory.path()) else { return };
    let url = prometheus.url();
    for name in DASHBOARDS {
        let empty = queries::check_dashboard(&url, name, SystemTime::now());
        assert!(empty.iter().filter(|it| it.contains("shows nothing")).count() > 15, "{empty:#?}");
        assert!(!zeros(&prometheus, name, |_| true).is_empty());
    }

    let services: Vec<_> = STAND_INS
        .into_iter()
        .chain([("server", "LIVEKIT_SERVERS")])
        .map(|(name, variable)| (variable, Service::start(name)))
        .collect();
    let targets: Vec<_> =
        services.iter().map(|(variable, service)| (*variable, list(service.address()))).collect();
    let otelcol = collector(built, CLUSTER, &prometheus, &targets);
    let now = SystemTime::now();
    send(&otelcol.endpoint, now).await;
    for counter in ["livekit_sip_invite_error_total", "livekit_node_twirp_request_status_total"] {
        series(&prometheus, &format!("increase({counter}[1m]) > 0"), 2);
    }

    let at = queries::end_of_step(SystemTime::now());
    for name in DASHBOARDS {
        assert_eq!(queries::check_dashboard(&url, name, at), [""; 0]);
        assert_eq!(zeros(&prometheus, name, |_| true), [""; 0]);
    }
    let fleet = queries::check_dashboard(&url, "fleet", at);
    let of_works = queries::OF_WORKS.iter();
    let missing: Vec<_> =
        of_works.filter(|it| fleet.iter().any(|problem| problem.starts_with(*it))).collect();
    assert_eq!(missing, [&""; 0]);
    let titles = [
        "SIP calls",
        "Egresses",
        "Ingresses",
        "Agents' jobs",
        "No agent came",
        "Operations failed",
        "Egresses stuck",
    ];
    let is_new = |title: &str| titles.contains(&title) || title.ends_with(" minutes");
    assert_eq!(zeros(&prometheus, "fleet", is_new), [""; 0]);
    assert_eq!(otelcol.stop(), [""; 0]);
}
