//! `livekit-otel doctor` against running servers, collectors and APIs, and without them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use livekit_otel::config::{Config, JournalConfig};
use livekit_otel::doctor::{self, Check, Outcome};
use livekit_otel::serve::Server;
use livekit_otel::source::reconcile::Settings;
use livekit_otel_durable::journal;
use livekit_otel_durable::store::Files;
use livekit_otel_export::settings::Protocol;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::messages as lk;
use livekit_otel_model::Source;
use livekit_otel_tools::demo::{Collector, Telemetry};
use livekit_otel_transport::proxy::Route;
use livekit_token::TokenVerifier;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::binary::command;
use crate::port::unused_address;
use crate::serve::{KEY, SECRET, adds_up, config, stop};

const LIMIT: Duration = Duration::from_secs(30);

async fn checked(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    doctor::run(config.clone(), LIMIT, |check| checks.push(check)).await;
    checks
}

fn of<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.check == name).unwrap_or_else(|| panic!("{name}: {checks:#?}"))
}

fn line(check: &Check) -> String {
    let mut out = Vec::new();
    check.render(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

// A configuration whose addresses are free, and known.
fn at_fixed_ports(collector: &str) -> Config {
    let mut config = config(collector);
    (config.http, config.grpc, config.admin) =
        (unused_address(), unused_address(), unused_address());
    config
}

fn on_disk(config: &mut Config, directory: &Path) {
    let settings =
        journal::Settings { max_bytes: 64 << 20, sync: Duration::ZERO, snapshot: 1 << 20 };
    let directory = directory.to_owned();
    config.journal = Some(JournalConfig { directory, settings, disk: std::sync::Arc::new(Files) });
}

async fn served(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_that_works_passes_all_checks_and_gets_no_telemetry_of_a_room() {
    let (collector, place) = (Collector::start().await.unwrap(), tempfile::tempdir().unwrap());
    let mut config = at_fixed_ports(&collector.endpoint());
    on_disk(&mut config, &place.path().join("journal"));
    let server = Server::start(config.clone()).await.unwrap();
    let checks = checked(&config).await;
    let unwell = |check: &&Check| matches!(check.outcome, Outcome::Warn | Outcome::Fail);
    assert_eq!(checks.iter().filter(unwell).count(), 0, "{checks:#?}");
    let webhook = &of(&checks, "webhook").text;
    assert!(webhook.contains("by the running livekit-otel") && webhook.ends_with(", and counted"));
    assert!(of(&checks, "journal").text.contains(", in use by "), "{checks:#?}");
    for name in ["listener.webhooks", "listener.streams", "listener.admin"] {
        let text = &of(&checks, name).text;
        assert!(text.ends_with(" is served by the running livekit-otel"), "{text}");
    }
    let report = stop(server).await;
    adds_up(&report.ledger);
    let inputs = report.ledger.inputs.iter().map(|row| (row.source, row.accepted));
    let accepted: Vec<_> = inputs.filter(|(_, n)| *n > 0).collect();
    assert_eq!(accepted, [(Source::Webhook, 1)]);
    let refused = report.ledger.inputs.iter().flat_map(|row| row.refused).map(|(_, n)| n);
    assert_eq!(refused.sum::<u64>(), 0, "{report:#?}");
    // The collector has the three test records, of one trace, and the server's own metrics.
    let telemetry = Telemetry::read(&collector.stop().await);
    let spans: Vec<_> = telemetry.spans.iter().map(|span| &*span.name).collect();
    let logs: Vec<_> = telemetry.logs.iter().map(|log| (&*log.event_name, &*log.scope)).collect();
    assert_eq!((spans, logs), (vec!["doctor"], vec![("lk.otel.doctor", "livekit-otel")]));
    assert!(telemetry.spans[0].attributes.is_set("lk.otel.doctor"));
    let trace = &telemetry.spans[0].trace_id;
    assert!(of(&checks, "collector.traces").text.contains(trace), "{checks:#?}");
    let points = telemetry.points.iter().filter(|point| !point.name.starts_with("lk.otel."));
    assert_eq!(points.count(), 0);
    let marked = telemetry.points.iter().filter(|point| point.name == "lk.otel.doctor");
    assert_eq!(marked.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_webhook_goes_through_a_listener_of_the_doctor() {
    let collector = Collector::start().await.unwrap();
    let mut config = at_fixed_ports(&collector.endpoint());
    config.keys.insert("another", SECRET);
    let checks = checked(&config).await;
    let webhook = of(&checks, "webhook");
    assert_eq!(webhook.outcome, Outcome::Ok, "{checks:#?}");
    let opened = "a test webhook of each key was accepted by a listener that the doctor opened";
    assert!(webhook.text.starts_with(opened), "{}", webhook.text);
    assert_eq!(of(&checks, "server").outcome, Outcome::Skip);
    assert!(of(&checks, "listener.webhooks").text.ends_with(" is free"));
    assert_eq!(of(&checks, "journal").outcome, Outcome::Warn, "there is none");
    // Nothing keeps the address.
    drop(TcpListener::bind(config.http).await.unwrap());
    drop(collector.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named_and_no_webhook_is_sent_there() {
    let mut config = at_fixed_ports("http://127.0.0.1:1");
    config.http = served(Router::new()).await;
    let checks = checked(&config).await;
    let expected = format!(
        "FAIL  listener.webhooks   {} is in use, and no livekit-otel answers at {}. `ss -ltnp` names the \
         program. Unless it is a livekit-otel that hangs or has another listen.admin, end it or choose another \
         port\n",
        config.http, config.admin
    );
    assert_eq!(line(of(&checks, "listener.webhooks")), expected);
    let webhook = of(&checks, "webhook");
    assert_eq!(webhook.outcome, Outcome::Ok);
    assert!(webhook.text.contains("a listener that the doctor opened"), "{webhook:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_found_is_not_called_another_program() {
    let (mut config, place) = (at_fixed_ports("http://127.0.0.1:1"), tempfile::tempdir().unwrap());
    on_disk(&mut config, &place.path().join("journal"));
    let server = Server::start(Config { shutdown_timeout: Duration::ZERO, ..config.clone() });
    let server = server.await.unwrap();
    // It is asked at another admin address, as one with another configuration is.
    let elsewhere = Config { admin: unused_address(), ..config.clone() };
    let checks = checked(&elsewhere).await;
    let webhooks = of(&checks, "listener.webhooks");
    assert!(webhooks.text.contains("but what is there answers /healthz"), "{webhooks:?}");
    let streams = of(&checks, "listener.streams");
    let ours = format!("(process {})", std::process::id());
    assert!(streams.text.ends_with(&ours), "{streams:?}");
    for check in [webhooks, streams] {
        assert_eq!(check.outcome, Outcome::Fail);
        let advice = check.advice.as_ref().unwrap();
        assert!(advice.contains("another listen.admin?") && !advice.contains("nd it"), "{check:?}");
    }
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_secret_refuses_the_webhook_and_the_line_says_so() {
    let config = at_fixed_ports("http://127.0.0.1:1");
    let server = Server::start(Config { shutdown_timeout: Duration::ZERO, ..config.clone() });
    let server = server.await.unwrap();
    let mut keys = Keys::default();
    keys.insert(KEY, "another-secret-of-thirty-two-characters");
    let checks = checked(&Config { keys, ..config.clone() }).await;
    let webhook = line(of(&checks, "webhook"));
    assert!(webhook.starts_with("FAIL  webhook"), "{webhook}");
    for part in ["signed by devkey: answered 401 Unauthorized: ", "other keys than this conf"] {
        assert!(webhook.contains(part), "{webhook}");
    }
    assert!(!webhook.contains("another-secret"));
    // The server does not accuse LiveKit of it.
    let refused = line(of(&checked(&config).await, "server.refusals"));
    assert!(refused.contains("The sender names itself livekit-otel doctor"), "{refused}");
    assert!(!refused.contains("LiveKit has"), "{refused}");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_at_other_addresses_is_noticed() {
    let config = at_fixed_ports("http://127.0.0.1:1");
    let server = Server::start(Config { shutdown_timeout: Duration::ZERO, ..config.clone() });
    let server = server.await.unwrap();
    // As after a change of the file without a restart.
    let (http, grpc) = (unused_address(), unused_address());
    let checks = checked(&Config { http, grpc, ..config }).await;
    for name in ["listener.webhooks", "listener.streams"] {
        let check = of(&checks, name);
        assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
        assert!(check.advice.as_ref().is_some_and(|advice| advice.contains("Restart it")));
    }
    assert_eq!(of(&checks, "webhook").outcome, Outcome::Fail);
    stop(server).await;
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_exactly_the_configured_certificate_is_expected() {
    use livekit_otel::source::tls;

    let place = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let signed = rcgen::generate_simple_self_signed(["livekit-otel.test".to_owned()]).unwrap();
        let path = |suffix| place.path().join(format!("{name}.{suffix}"));
        std::fs::write(path("pem"), signed.cert.pem()).unwrap();
        std::fs::write(path("key"), signed.signing_key.serialize_pem()).unwrap();
        tls::Files { certificate: path("pem"), key: path("key"), client_ca: None }
    };
    let (files, others) = (write("ours"), write("another"));
    let mut config = at_fixed_ports("http://127.0.0.1:1");
    (config.http_tls, config.grpc_tls) = (Some(files.clone()), Some(files));
    let server = Server::start(Config { shutdown_timeout: Duration::ZERO, ..config.clone() });
    let server = server.await.unwrap();
    let names = ["listener.webhooks", "listener.streams", "webhook"];
    let checks = checked(&config).await;
    for name in names {
        assert_eq!(of(&checks, name).outcome, Outcome::Ok, "{checks:#?}");
    }
    assert!(of(&checks, "listener.streams").text.contains(" is served over TLS by "));
    // Its file was replaced, and the server was not reloaded.
    (config.http_tls, config.grpc_tls) = (Some(others.clone()), Some(others.clone()));
    let checks = checked(&config).await;
    for name in names {
        let line = line(of(&checks, name));
        assert!(
            line.starts_with("FAIL") && line.contains("it has another certificate than"),
            "{line}"
        );
    }
    stop(server).await;
    // The same without a server, through a listener of the doctor's own.
    assert_eq!(of(&checked(&config).await, "webhook").outcome, Outcome::Ok);
    // And with a client's certificate, which the doctor does not have.
    let client_ca = Some(others.certificate.clone());
    config.http_tls = Some(tls::Files { client_ca, ..others });
    assert_eq!(of(&checked(&config).await, "webhook").outcome, Outcome::Skip);
}

// A worker's registration, after a server that frames it as gorilla/websocket does.
async fn register(request: axum::extract::Request) -> axum::response::Response {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut stream = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
        let mut frame = [0; 200];
        let read = stream.read(&mut frame).await.unwrap();
        let message = lk::WorkerMessage::decode(&frame[6..read]).unwrap().message.unwrap();
        let lk::worker_message::Message::Register(register) = message else {
            panic!("{message:?}")
        };
        assert_eq!(register.agent_name, "livekit-otel-doctor");
        let (version, node_id) = ("1.13.11".to_owned(), "ND_1".to_owned());
        let info = lk::ServerInfo { version, node_id, protocol: 16, ..Default::default() };
        let answer = lk::RegisterWorkerResponse { server_info: Some(info), ..Default::default() };
        let message = Some(lk::server_message::Message::Register(answer));
        let message = lk::ServerMessage { message }.encode_to_vec();
        let mut frame = vec![0x82, u8::try_from(message.len()).unwrap()];
        frame.extend(message);
        stream.write_all(&frame).await.unwrap();
    });
    let upgrade = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
}

// An API that knows the keys with SECRET, and whose clock is so many seconds ahead.
async fn livekit(ahead: i64) -> SocketAddr {
    let answer = move |headers: HeaderMap| async move {
        let now = std::time::SystemTime::now();
        let by = Duration::from_secs(ahead.unsigned_abs());
        let date = if ahead < 0 { now - by } else { now + by };
        let date = [(header::DATE, httpdate::fmt_http_date(date))];
        let token = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok());
        let Some(token) = token.and_then(|token| token.strip_prefix("Bearer ")) else {
            return (StatusCode::OK, date, "OK".into());
        };
        if TokenVerifier::with_api_key(KEY, SECRET).verify(token).is_err() {
            return (StatusCode::UNAUTHORIZED, date, "invalid API key".into());
        }
        let rooms = ["RM_1", "RM_2"];
        let rooms =
            rooms.map(|sid| lk::Room { sid: sid.into(), name: sid.into(), ..Default::default() });
        let rooms = rooms.into();
        (StatusCode::OK, date, lk::ListRoomsResponse { rooms }.encode_to_vec())
    };
    served(Router::new().route("/agent", get(register)).fallback(answer)).await
}

fn with_api(mut config: Config, at: SocketAddr) -> Config {
    let url = format!("http://{at}/").parse().unwrap();
    let interval = Duration::from_mins(1);
    let (key, requests_per_second, route) = (KEY.to_owned(), 1000, Route::Direct);
    config.api = Some(Settings { url, key, interval, requests_per_second, route });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn livekit_accepts_the_key_and_shows_its_rooms_its_version_and_its_clock() {
    let at = livekit(0).await;
    let mut config = with_api(at_fixed_ports("http://127.0.0.1:1"), at);
    config.keys.insert("stranger", SECRET);
    let checks = checked(&config).await;
    let api = of(&checks, "livekit.api");
    assert_eq!(api.outcome, Outcome::Ok, "{api:?}");
    assert!(
        api.text.starts_with(&format!("{at} (http) accepts devkey, and lists 2 rooms in ")),
        "{api:?}"
    );
    let version = &of(&checks, "livekit.version").text;
    assert_eq!(*version, format!("{at} (http) runs LiveKit 1.13.11, protocol 16, node ND_1"));
    let stranger = line(of(&checks, "livekit.keys"));
    assert!(
        stranger.starts_with(&format!("warn  livekit.keys        {at} (http), with stranger: "))
    );
    assert!(stranger.contains("401"), "{stranger}");
    assert_eq!(of(&checks, "clock.livekit").outcome, Outcome::Ok, "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_minutes_fails_and_names_the_direction() {
    for (ahead, direction) in [(600, "behind"), (-600, "ahead of")] {
        let config = with_api(at_fixed_ports("http://127.0.0.1:1"), livekit(ahead).await);
        let checks = checked(&config).await;
        let clock = of(&checks, "clock.livekit");
        assert_eq!(clock.outcome, Outcome::Fail, "{clock:?}");
        assert!(clock.text.contains(&format!(" s {direction} that of 127.0.0.1:")), "{clock:?}");
        assert!(clock.advice.as_ref().is_some_and(|advice| advice.contains("tokens are refused")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_answers_is_in_its_line_and_its_clock_is_compared() {
    let answer = async || {
        (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "text/plain")], "no such\ntenant")
            .into_response()
    };
    let at = served(Router::new().fallback(answer)).await;
    let mut config = at_fixed_ports(&format!("http://{at}/v1/x"));
    for target in [&mut config.export.traces, &mut config.export.logs, &mut config.export.metrics] {
        target.protocol = Protocol::HttpProtobuf;
    }
    config.export.logs.enabled = false;
    let checks = checked(&config).await;
    for name in ["collector.traces", "collector.metrics"] {
        let line = line(of(&checks, name));
        assert!(line.starts_with("FAIL") && line.contains("401 Unauthorized"), "{line}");
        assert!(line.contains("no such") && line.contains("tenant"), "{line}");
        assert!(line.contains(&format!("{at} (http/protobuf)")) && line.lines().count() == 1);
    }
    assert_eq!(of(&checks, "collector.logs").outcome, Outcome::Skip);
    assert_eq!(of(&checks, "clock.collector").outcome, Outcome::Ok, "{checks:#?}");
    let clocks = checks.iter().filter(|check| check.check.starts_with("clock."));
    assert_eq!(clocks.count(), 1, "the same collector is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_does_not_answer_has_a_limit() {
    // Their connections are accepted by the kernel alone.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let mut config = with_api(at_fixed_ports(&format!("http://{at}")), at);
    config.admin = at;
    let mut checks = Vec::new();
    doctor::run(config, Duration::from_millis(50), |check| checks.push(check)).await;
    for name in ["livekit.api", "collector.traces", "collector.logs", "collector.metrics"] {
        assert_eq!(of(&checks, name).outcome, Outcome::Fail, "{checks:#?}");
    }
    let server = line(of(&checks, "server"));
    let expected = format!(
        "FAIL  server              {at}, the admin listener, does not answer /status: no answer in 50ms. Is it a \
         livekit-otel that hangs"
    );
    assert!(server.starts_with(&expected), "{server}");
    assert_eq!(of(&checks, "clock.livekit").outcome, Outcome::Skip);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_whether_a_check_failed_or_the_configuration_is_wrong() {
    let collector = Collector::start().await.unwrap();
    let run = |endpoint: &str, more: &[&str]| {
        let [http, grpc, admin] = [(); 3].map(|()| unused_address().to_string());
        let mut command = command(&["doctor", "--http", &http, "--grpc", &grpc]);
        command.args(["--admin", &admin, "--endpoint", endpoint]).args(more);
        command.env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(!text.concat().contains(SECRET), "{text:?}");
        (output.status.code(), text)
    };
    let (code, [out, _]) = run(&collector.endpoint(), &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("ok    config "), "{out}");
    let refused = format!("http://{}", unused_address());
    let (code, [out, err]) = run(&refused, &["--json"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(err.starts_with("livekit-otel: 3 of "), "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let failed = json["checks"].as_array().unwrap().iter().filter(|it| it["outcome"] == "fail");
    let failed: Vec<_> = failed.map(|it| it["check"].as_str().unwrap()).collect();
    assert_eq!(failed, ["collector.traces", "collector.logs", "collector.metrics"]);
    assert_eq!(json["failed"], 3);
    let (code, [out, _]) = run(&refused, &["--stats-level", "all", "--timeout", "1s"]);
    assert_eq!(code, Some(64));
    assert!(out.starts_with("FAIL  config              --stats-level: must be "), "{out}");
    let (code, _) = run(&refused, &["--timeout", "soon"]);
    assert_eq!(code, Some(64));
    drop(collector.stop().await);
}
