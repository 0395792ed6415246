//! Simulated agents: what they upload, and what a server makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use livekit_otel::serve::Server;
use livekit_otel_agents::Reader;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Upload;
use livekit_otel_model::semconv::{event, span};
use livekit_otel_tools::demo::{Collector, Telemetry};
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::report::Report;
use livekit_otel_tools::simulate::{AgentUpload, Due, Message, Settings, Simulation, send};

use crate::port::unused_address;
use crate::serve::{KEY, SECRET, adds_up, config, destination, stop};

fn start() -> Time {
    Time::from_secs(1_795_406_961).unwrap()
}

fn settings() -> Settings {
    let duration = Duration::from_mins(5);
    Settings { rooms: 3, participants: 1, agents: 2, tracks: 1, duration, ..Settings::default() }
}

fn messages(settings: &Settings) -> Vec<Due> {
    Simulation::new(settings.clone(), start()).collect()
}

fn uploads(messages: &[Due]) -> Vec<(Duration, &AgentUpload)> {
    let upload = |due: &'_ Due| due.at;
    let of = messages.iter().filter_map(|due| match &due.message {
        Message::Upload(of) => Some((upload(due), &**of)),
        _ => None,
    });
    of.collect()
}

async fn simulated(settings: Settings) -> (Report, Telemetry) {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    let simulation = Simulation::new(settings, start());
    let report = send::send(simulation, &destination(&server), pending(), |_| {}).await.unwrap();
    let served = stop(server).await;
    adds_up(&served.ledger);
    (report, Telemetry::read(&collector.stop().await))
}

#[test]
fn the_same_seed_and_start_upload_the_same_and_agents_change_nothing_else() {
    let with = messages(&settings());
    assert_eq!(with, messages(&settings()));
    let other = messages(&Settings { seed: 2, ..settings() });
    assert_ne!(uploads(&with)[0], uploads(&other)[0]);
    let without = messages(&Settings { agents: 0, ..settings() });
    assert!(uploads(&without).is_empty());
    let names = |messages: &[Due]| {
        let names = messages.iter().filter_map(|due| match &due.message {
            Message::Webhook(webhook) if webhook.participant.is_none() => {
                Some((due.at, webhook.event.clone()))
            }
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&with), names(&without));
}

#[test]
fn agents_upload_with_the_pace_of_livekits_agents() {
    let all = messages(&Settings { rooms: 1, agents: 1, ..settings() });
    let mut times = BTreeMap::<_, Vec<Duration>>::new();
    for (at, upload) in uploads(&all) {
        assert!(upload.records > 0);
        times.entry(upload.source.as_str()).or_default().push(at);
    }
    // But for a job's last, at its end.
    let ends = &times[Source::AgentRecordings.as_str()];
    for (source, seconds) in
        [(Source::AgentTraces, 5), (Source::AgentLogs, 1), (Source::AgentMetrics, 30)]
    {
        let pairs = times[source.as_str()].windows(2).filter(|pair| !ends.contains(&pair[1]));
        for pair in pairs {
            assert!(pair[0] + Duration::from_secs(seconds) <= pair[1], "{source:?} {pair:?}");
        }
    }
    let rooms = all.iter().filter(
        |due| matches!(&due.message, Message::Webhook(webhook) if webhook.event == "room_finished"),
    );
    assert_eq!(ends.len(), rooms.count());
    let seconds = times[Source::AgentTraces.as_str()].len() * 5;
    assert!((100..=400).contains(&seconds), "{seconds}");
}

#[test]
fn every_upload_can_be_read_and_each_span_has_its_parent() {
    let all = messages(&Settings { failures: 0.5, ..settings() });
    let (mut ids, mut parents, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut is_killed = false;
    for (_, upload) in uploads(&all) {
        if upload.source == Source::AgentRecordings {
            continue;
        }
        let read = Reader::default().read(upload.source, &upload.upload.body).unwrap();
        let records = match read.upload {
            Upload::Spans(spans) => {
                for span in &spans {
                    assert!(ids.insert((span.trace_id, span.span_id)), "{} twice", span.name);
                    parents.extend(span.parent.map(|parent| (span.trace_id, parent)));
                    names.insert(span.name.to_string());
                    assert!(span.start <= span.end, "{}", span.name);
                    assert!(span.facts.room.is_some() && span.facts.job.is_some());
                }
                spans.len()
            }
            Upload::Logs(logs) => logs.len(),
            Upload::Metrics(metrics) => metrics.len(),
            Upload::Recording(_) => 1,
        };
        assert_eq!(records as u64, upload.records);
    }
    for parent in parents.difference(&ids) {
        // Of a killed agent, only the session and the root are missing.
        is_killed |= !ids.contains(parent);
    }
    assert!(is_killed && names.len() == 18, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_joins_the_uploads_to_their_rooms() {
    let (report, telemetry) = simulated(settings()).await;
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    let count = |name: &str| telemetry.spans.iter().filter(|span| span.name == name).count() as u64;
    let population = report.population;
    assert!(population.agents >= 6);
    assert_eq!(population.agents, count("job_entrypoint"));
    assert_eq!(population.participants, count(span::PARTICIPANT));
    let (_, traces) =
        report.outcomes.iter().find(|(source, _)| *source == Source::AgentTraces).unwrap();
    let rooms: BTreeSet<_> =
        telemetry.spans.iter().filter(|it| it.name == span::ROOM).map(|it| &it.trace_id).collect();
    let joined = telemetry.spans.iter().filter(|it| it.attributes.text("job_id").is_some());
    assert_eq!(joined.clone().count() as u64, traces.kinds["spans"]);
    assert!(joined.clone().all(|span| rooms.contains(&span.trace_id)));
    let recorded =
        telemetry.logs.iter().filter(|log| log.event_name == event::AGENT_SESSION_RECORDED);
    assert_eq!(recorded.count() as u64, population.agents);
    let latencies = joined.filter_map(|span| span.attributes.number("lk.e2e_latency"));
    let latencies: Vec<_> = latencies.collect();
    assert!(latencies.len() > 50 && latencies.iter().all(|it| (0.3..8.0).contains(it)));
    let said = |words: &str| telemetry.spans.iter().any(|span| format!("{span:?}").contains(words));
    assert!(!said("word after word"), "what was said has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_fail_have_turns_that_failed_or_parents_that_are_inferred() {
    let (report, telemetry) = simulated(Settings { failures: 1.0, ..settings() }).await;
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    let failed =
        |name: &str| telemetry.spans.iter().any(|span| span.name == name && span.error.is_some());
    assert!(failed("agent_turn") && failed("llm_request_run") && !failed("tts_node"));
    let sessions = telemetry.spans.iter().filter(|span| span.name == "agent_session");
    let inferred = sessions.filter(|span| span.attributes.text("lk.end.inferred").is_some());
    assert!(inferred.count() > 0);
}

#[tokio::test]
async fn the_report_counts_uploads_and_a_stop_ends_their_jobs() {
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    let to = Destination { speed: 20.0, ..destination(&server) };
    let moment = tokio::time::sleep(Duration::from_millis(1_500));
    let report =
        send::send(Simulation::new(settings(), start()), &to, moment, |_| {}).await.unwrap();
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    let json = report.json();
    assert_eq!(json["agents"], 6);
    assert_eq!(json["sources"]["agent_recordings"]["acknowledged"], 6);
    let mut text = Vec::new();
    report.render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(", 6 agents: ") && text.contains("agent_traces"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[tokio::test]
async fn refused_uploads_are_reported_and_a_run_needs_a_listener_for_them() {
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    let only = Settings { webhooks: false, analytics: false, rooms: 1, ..settings() };
    let wrong = "a-wrong-secret-of-some-length-too".to_owned();
    let to = Destination { secret: wrong, ..destination(&server) };
    let simulation = || Simulation::new(only.clone(), start());
    let report = send::send(simulation(), &to, pending(), |_| {}).await.unwrap();
    assert_eq!(report.outcomes.len(), 4);
    let (_, traces) = &report.outcomes[0];
    assert!(traces.sent > 0 && traces.acknowledged == 0);
    assert!(traces.error.as_ref().unwrap().contains("401"), "{traces:?}");
    let nowhere = format!("http://{}", unused_address()).parse().unwrap();
    let to = Destination { uploads: nowhere, key: KEY.into(), secret: SECRET.into(), ..to };
    let sent = send::send(simulation(), &to, pending(), |_| {}).await;
    assert!(matches!(sent, Err(send::SendError::Unreachable { .. })), "{sent:?}");
}
