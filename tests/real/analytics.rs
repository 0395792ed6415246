//! LiveKit's server built by `livekit-analytics/build.sh`, and what it sends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::parts::{self, Parts, Server};
use crate::program::Program;
use crate::{PATIENCE, ROOM, of, one, wait_for_events};

const CA: &str = "ca.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

// Its exit code and what it says.
fn checked(source: &Path) -> (Option<i32>, String) {
    let output = parts::script().arg("--check").arg("--source").arg(source).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_server_whose_replaced_file_differs_is_refused_by_name_and_sums() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (missing, content) in [
        ("pkg/telemetry/analyticsservice.go", "package telemetry\n"),
        ("pkg/service/ioservice.go", "package service\n"),
    ] {
        let (code, printed) = checked(directory.path());
        assert_eq!(code, Some(1));
        assert!(printed.contains(&format!("there is no {missing}")), "{printed}");
        write(missing, content);
    }
    write("version/version.go", "package version\n\nconst Version = \"1.99.0\"\n");
    let (code, printed) = checked(directory.path());
    assert_eq!(code, Some(65));
    let script = std::fs::read_to_string(parts::script().get_program()).unwrap();
    let expected = script.split("sha256=").nth(1).unwrap().split('\n').next().unwrap();
    let found = "e8532825e81e61426d13026634fe07312a0c2484dd70c2c779f1a9d3c0bc1912";
    for part in [
        "LiveKit's server v1.99.0 has another pkg/telemetry/analyticsservice.go:\n",
        &format!("expected sha256 {expected}\n"),
        &format!("found    sha256 {found}\n"),
        "LiveKit's server v1.99.0 has no function UpdateSIPCallState in pkg/service/ioservice.go:\n",
    ] {
        assert!(printed.contains(part), "{printed} has no {part}");
    }
}

#[test]
fn a_server_whose_replaced_function_differs_is_refused_by_name_and_text() {
    let directory = tempfile::tempdir().unwrap();
    for folder in ["pkg/telemetry", "pkg/service"] {
        std::fs::create_dir_all(directory.path().join(folder)).unwrap();
    }
    std::fs::write(directory.path().join("pkg/telemetry/analyticsservice.go"), "").unwrap();
    let function = "func (s *IOInfoService) UpdateSIPCallState(ctx context.Context) error {\n\tif s == nil {\n\t}\n\treturn nil\n}\n";
    let text = format!("package service\n\n{function}\nfunc (s *IOInfoService) Stop() {{\n}}\n");
    std::fs::write(directory.path().join("pkg/service/ioservice.go"), text).unwrap();
    let (code, printed) = checked(directory.path());
    assert_eq!(code, Some(65));
    let script = std::fs::read_to_string(parts::script().get_program()).unwrap();
    let made_for = script.split("function_sha256=").nth(1).unwrap().split('\n').next().unwrap();
    let found = "2ea07fea613b870c18f117bdcd13f7eb74c967c2a48c99a856b3f8eedd63a434";
    let expected = format!(
        "has another function UpdateSIPCallState in pkg/service/ioservice.go:\n  expected sha256 {made_for}\n  \
         found    sha256 {found}\n{function}Compare it"
    );
    assert!(printed.contains(&expected), "{printed}");
}

#[test]
fn the_build_takes_a_version_or_a_source_and_not_both() {
    for arguments in [
        &["--version", "1.13.5", "--source", "."][..],
        &["--version"],
        &["--source"],
        &["--versions", "1.13.5"],
        &["--check", "output"],
    ] {
        let output = parts::script().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: build.sh"));
    }
}

#[test]
fn the_analytics_file_passes_its_tests_in_the_package_of_each_server() {
    // Without Go, too, there is no source to check.
    let checked = parts::ran(parts::script().arg("--check"));
    if parts::or_say("NO TEST OF LIVEKIT'S ANALYTICS", checked).is_none() {
        return;
    }
    parts::ran(parts::script().arg("--test")).unwrap();
    let work = tempfile::tempdir().unwrap();
    parts::newest(&["--test".as_ref()], work.path()).unwrap();
}

// An authority, and a certificate of it that is the server's and the client's.
fn certificates(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let files = [(CA, authority), (CERTIFICATE, certificate), (KEY, key.serialize_pem())];
    for (name, pem) in files {
        std::fs::write(directory.join(name), pem).unwrap();
    }
}

fn config(directory: &Path, collector: &str, grpc: u16) -> PathBuf {
    let path = directory.join("livekit-otel.yaml");
    let text = format!(
        "listen:\n  http: '127.0.0.1:0'\n  grpc: '127.0.0.1:{grpc}'\n  grpc_auth: token\n  \
         tls: {{certificate: '{at}/{CERTIFICATE}', key: '{at}/{KEY}', \
         grpc_client_ca: '{at}/{CA}'}}\n\
         session: {{linger: 10s}}\n\
         journal: {{dir: '{at}/journal'}}\n\
         export: {{endpoint: '{collector}'}}\n",
        at = directory.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn server(parts: &Parts, directory: &Path, grpc: u16) -> Server {
    let [ca, certificate, key] =
        [CA, CERTIFICATE, KEY].map(|name| directory.join(name).display().to_string());
    let analytics = [
        ("LIVEKIT_OTEL_ADDR", format!("https://127.0.0.1:{grpc}")),
        ("LIVEKIT_OTEL_TLS_CA", ca),
        ("LIVEKIT_OTEL_TLS_CERT", certificate),
        ("LIVEKIT_OTEL_TLS_KEY", key),
    ];
    let analytics = analytics.each_ref().map(|(name, value)| (*name, value.as_str()));
    Server::start(parts, directory, parts::reserved_port(), None, &analytics)
}

// Until as many events as they should be wait at LiveKit's server for their acknowledgement.
async fn waiting(server: &Server, is: impl Fn(usize) -> bool) {
    let wait = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        while !is(server.metric("livekit_otel_analytics_waiting", "stream=\"events\"")) {
            look.tick().await;
        }
    });
    assert!(wait.await.is_ok(), "the server's buffer is not as it should be");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_reported_whole_though_the_receiver_is_stopped_and_killed_in_it() {
    let Some(parts) = parts::build() else { return };
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    certificates(directory.path());
    // The same port in all of its lives.
    let grpc = parts::reserved_port();
    let config = config(directory.path(), &collector.endpoint(), grpc);
    let program = Program::start(&config);
    let server = server(&parts, directory.path(), grpc);
    let mut ann = server.client("ann", &["-publish"]);
    ann.joined();
    wait_for_events(&collector, "lk.track.published", 1).await;

    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    let mut ben = server.client("ben", &["-publish"]);
    ben.joined();
    ann.say("mute");
    // Joined, active, published, subscribed, muted.
    waiting(&server, |events| events >= 8).await;
    let program = Program::start(&config);
    wait_for_events(&collector, "lk.track.muted", 1).await;
    // Before one of them leaves, both hear each other.
    wait_for_events(&collector, "lk.track.subscribed", 2).await;

    // What is sent to it from now on is taken by its system, and never read.
    let pid = rustix::process::Pid::from_child(&program.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    ann.say("unmute");
    ben.leave();
    let mut cid = server.client("cid", &[]);
    cid.joined();
    waiting(&server, |events| events >= 5).await;
    program.kill();
    let program = Program::start(&config);
    wait_for_events(&collector, "lk.participant.left", 1).await;
    wait_for_events(&collector, "lk.track.subscribed", 3).await;
    server.delete_room(ROOM);
    wait_for_events(&collector, "lk.participant.left", 3).await;
    wait_for_events(&collector, "lk.room.ended", 1).await;
    let has_room = |received: &Received| {
        Telemetry::read(received).spans.iter().any(|span| span.name == "room")
    };
    tokio::time::timeout(PATIENCE, collector.received_when(has_room)).await.unwrap();
    waiting(&server, |events| events == 0).await;
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    let acknowledged =
        server.metric("livekit_otel_analytics_acknowledged_total", "stream=\"events\"");
    assert_eq!(server.metric("livekit_otel_analytics_dropped_total", ""), 0);
    check(&Telemetry::read(&collector.stop().await), acknowledged);
}

fn check(telemetry: &Telemetry, acknowledged: usize) {
    // What was in flight at the kill may be sent twice, with the same ids.
    let records =
        telemetry.logs.iter().map(|log| (&log.event_name, log.attributes.text("log.record.uid")));
    let records: BTreeSet<_> = records.filter(|(_, uid)| uid.is_some()).collect();
    assert_eq!(records.len(), acknowledged, "each event is recorded");
    let times = |event: &str| records.iter().filter(|(name, _)| *name == event).count();
    for event in ["joined", "active", "left"] {
        assert_eq!(times(&format!("lk.participant.{event}")), 3, "{event}");
    }
    let spans = &telemetry.spans;
    let room = one(spans, "room", "");
    assert_eq!(room.attributes.text("lk.pii.room_name"), Some(ROOM));
    for who in ["ann", "ben", "cid"] {
        let participant = one(spans, "participant", who);
        assert_eq!(participant.parent.as_ref(), Some(&room.span_id));
        assert!(one(spans, "participant connect", who).error.is_none());
    }
    for who in ["ann", "ben"] {
        let track = one(spans, "track", who);
        let packets = track.attributes.number("lk.rtp.packets");
        assert!(packets.is_some_and(|packets| packets > 0.0), "{track:#?}");
        one(spans, "track publish", who);
    }
    assert_eq!(one(spans, "track", "ann").attributes.number("lk.track.mutes"), Some(1.0));
    assert_eq!(["ann", "ben", "cid"].map(|who| of(spans, "track subscribe", who).len()), [1, 1, 1]);
    let inferred = spans.iter().find(|span| span.attributes.text("lk.end.inferred").is_some());
    assert_eq!(inferred, None);
}
