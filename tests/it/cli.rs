//! The commands for operators: what a build is, scripts for shells, dead letters, and a server's status from afar.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use livekit_otel_durable::journal::{DeadLetter, DeadLetters, Payload};
use livekit_otel_durable::store::{Directory, Files};
use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};
use livekit_otel_tools::demo::Collector;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::binary::{Serve, command};
use crate::port::unused_address;

#[path = "../../build.rs"]
#[allow(clippy::print_stdout)] // it speaks to cargo
mod build_script;

fn printed(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn ran(args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).output().unwrap();
    let (out, err) = printed(&output);
    (output.status.code(), out, err)
}

#[test]
fn the_version_says_which_build_it_is() {
    let (code, version, _) = ran(&["--version"]);
    assert_eq!(code, Some(0));
    let build = version.strip_prefix("livekit-otel 0.1.0 (commit ").unwrap();
    let build = build.strip_suffix(")\n").unwrap();
    let parts: Vec<_> = build.split(", ").collect();
    let [commit, profile, target, features] = parts[..] else { panic!("{version}") };
    assert!(commit == "not recorded" || commit.len() == 12, "{version}");
    assert!(["debug", "release"].contains(&profile), "{version}");
    assert!(target.contains(std::env::consts::ARCH), "{version}");
    assert_eq!(features.contains("tls"), cfg!(feature = "tls"), "{version}");
    assert_eq!(ran(&["-V"]).1, version);
}

#[test]
fn the_commit_of_a_build_is_that_of_its_own_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join(".git").exists() {
        let commit = build_script::checked_out(root).unwrap();
        assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
    }
    // In another project's repository, and in a package.
    assert_eq!(build_script::checked_out(&root.join("src")), None);
    let package = tempfile::tempdir().unwrap();
    assert_eq!(build_script::packaged(package.path()), None);
    let write = |text: &str| std::fs::write(package.path().join(".cargo_vcs_info.json"), text);
    write("{\n  \"git\": {\n    \"sha1\": \"656cd95aa\"\n  },\n  \"path_in_vcs\": \"\"\n}")
        .unwrap();
    assert_eq!(build_script::packaged(package.path()).as_deref(), Some("656cd95aa"));
    for wrong in ["{}", "{\"git\": {\"sha1\": \"no commit\"}}", "{\"git\": {\"sha1\""] {
        write(wrong).unwrap();
        assert_eq!(build_script::packaged(package.path()), None, "{wrong}");
    }
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, err) = ran(&["completions", shell]);
        assert!(code == Some(0) && script.contains("deadletter"), "{shell}: {err}");
    }
    let (code, page, _) = ran(&["man"]);
    assert!(code == Some(0) && page.contains(".TH livekit-otel"), "{page}");
    let (code, page, _) = ran(&["man", "deadletter", "show"]);
    assert!(code == Some(0) && page.contains(".TH livekit-otel-deadletter-show"), "{page}");
    let (code, _, err) = ran(&["man", "no-such"]);
    assert!(code == Some(64) && err.contains("there is no command no-such: one of serve"), "{err}");
    assert_eq!(ran(&["completions", "no-such"]).0, Some(64));
}

#[test]
fn the_first_line_of_the_log_has_the_version() {
    let serve = Serve::start("http://127.0.0.1:1", &[]);
    let starts = &serve.seen[0];
    assert!(starts.contains("livekit-otel starts"), "{starts}");
    assert!(
        starts.contains("\"version\":\"0.1.0\"") && starts.contains("\"build\":\"commit "),
        "{starts}"
    );
}

#[test]
fn a_template_of_a_url_needs_its_field() {
    let (code, _, err) = ran(&["trace-id", "RM_1", "--url", "http://jaeger/trace/"]);
    assert!(code == Some(64) && err.contains("must have {trace_id} in it"), "{err}");
    let (code, out, _) = ran(&["trace-id", "RM_1", "--url", "http://jaeger/trace/{trace_id}"]);
    assert!(code == Some(0) && out.starts_with("http://jaeger/trace/") && out.len() == 53, "{out}");
}

#[test]
fn a_status_that_can_not_be_read_names_the_address_and_the_reason() {
    let nowhere = unused_address().to_string();
    for args in
        [&["status", "--admin", &nowhere][..], &["status", "--url", &format!("http://{nowhere}")]]
    {
        let (code, _, err) = ran(args);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(&format!("{nowhere} (http) did not return a ledger")), "{err}");
        assert!(err.contains("Connection refused"), "{err}");
    }
    let serve = Serve::start("http://127.0.0.1:1", &[]);
    let (code, _, err) = ran(&["status", "--url", &format!("http://{}", serve.http)]);
    assert!(code == Some(1) && err.contains("listen.status_on_webhooks"), "{err}");
    // TLS to a listener without it.
    let url = format!("https://{}", serve.admin);
    let ca = tls::Pki::new();
    let (code, _, err) = ran(&["status", "--url", &url, "--ca", &ca.path("ca.pem")]);
    assert!(code == Some(1) && err.contains(&serve.admin), "{err}");
}

mod tls {
    use livekit_otel::serve::Server;
    use livekit_otel::source::tls::Files;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use crate::serve::config;

    /// A certificate authority, and a certificate for 127.0.0.1 that it signed.
    pub(super) struct Pki(tempfile::TempDir);

    impl Pki {
        pub(super) fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let authority = params.self_signed(&key).unwrap().pem();
            let issuer = Issuer::new(params, key);
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
            let server = params.signed_by(&key, &issuer).unwrap().pem();
            for (name, pem) in
                [("ca.pem", authority), ("server.pem", server), ("server.key", key.serialize_pem())]
            {
                std::fs::write(directory.path().join(name), pem).unwrap();
            }
            Self(directory)
        }

        pub(super) fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_str().unwrap().to_owned()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_status_is_read_over_tls_from_a_url() {
        let pki = Pki::new();
        let mut config = config("http://127.0.0.1:1");
        config.status_on_webhooks = true;
        let [certificate, key] = ["server.pem", "server.key"].map(|name| pki.path(name).into());
        config.http_tls = Some(Files { certificate, key, client_ca: None });
        let server = Server::start(config).await.unwrap();
        let url = format!("https://{}", server.http());
        let args = ["status", "--url", &url, "--ca", &pki.path("ca.pem")].map(str::to_owned);
        let read = move || super::ran(&args.each_ref().map(String::as_str));
        let (code, out, err) = tokio::task::spawn_blocking(read).await.unwrap();
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("Every record is accounted for."), "{out}");
        // Another authority, and none.
        let other = Pki::new().path("ca.pem");
        let args = ["status", "--url", &url, "--ca", &other].map(str::to_owned);
        let read = move || super::ran(&args.each_ref().map(String::as_str));
        let (code, _, err) = tokio::task::spawn_blocking(read).await.unwrap();
        assert!(code == Some(1) && err.contains(" (http over TLS) did not return"), "{err}");
    }
}

// A journal with a dead letter of each kind.
async fn letters() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path(), Arc::new(Files)).unwrap();
    let letters = DeadLetters::on_disk(&Arc::new(directory), 1 << 20).unwrap();
    let span = Span { name: "lk.room".to_owned(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let spans = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let webhook = br#"{"event": "room_started", "room": {"name": "Jane's room", "sid": 7}}"#;
    for (id, payload, bytes) in [
        ("traces-1", Payload::Output(Signal::Traces), spans),
        ("webhook-1", Payload::Input(Source::Webhook), webhook.to_vec()),
        ("agent_logs-1", Payload::Input(Source::AgentLogs), b"Jane said hello".to_vec()),
    ] {
        let at = Time::from_secs(1_795_406_960).unwrap();
        let letter = DeadLetter { payload, items: 1, at, reason: "a test".to_owned() };
        letters.store(id, &letter, &bytes.into()).await;
    }
    place
}

fn of_letters(what: &[&str], journal: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let journal = journal.to_str().unwrap();
    ran(&[&["deadletter"], what, &["--journal-dir", journal], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_by_name_and_raw_as_privacy_allows() {
    let place = letters().await;
    let show = |id: &str, more: &[&str]| of_letters(&["show", id], place.path(), more);
    let (code, out, err) = show("traces-1", &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("what     spans for the collector\n"), "{out}");
    assert!(out.contains("content  1 x lk.room\n"), "{out}");
    let (_, out, _) = show("webhook-1", &[]);
    assert!(out.contains("event room_started") && !out.contains("Jane"), "{out}");
    let (code, _, err) = show("no-such", &[]);
    assert!(code == Some(1) && err.contains("there is no dead letter no-such"), "{err}");

    let (code, out, _) = show("webhook-1", &["--raw"]);
    assert!(code == Some(0) && out.starts_with("{\"event\"") && out.ends_with('}'), "{out}");
    let (code, out, err) = show("webhook-1", &["--raw", "--privacy-pii", "drop"]);
    assert!(code == Some(1) && out.is_empty() && err.contains("privacy.pii hides"), "{err}");
    // What was said never leaves by default.
    let (code, out, err) = show("agent_logs-1", &["--raw"]);
    assert!(code == Some(1) && out.is_empty() && err.contains("privacy.content hides"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_for_the_collector_are_sent_again_without_livekits_keys() {
    let place = letters().await;
    let collector = Collector::start().await.unwrap();
    let to = collector.endpoint();
    // The unit of the server has the keys in its environment, and this shell has not.
    let file = place.path().join("server.yaml");
    std::fs::write(&file, "listen: {grpc_auth: token, grpc_keys: [devkey]}\n").unwrap();
    let retry = ["--endpoint", &to, "--config", file.to_str().unwrap()];
    let (code, out, err) = of_letters(&["retry", "traces-1"], place.path(), &retry);
    assert!(code == Some(0) && out.contains("traces-1  accepted"), "{out} {err}");
    let received = collector.stop().await;
    assert_eq!(received.traces.len(), 1);
    let (code, out, _) = of_letters(&["retry", "agent_logs-1"], place.path(), &retry);
    assert!(code == Some(1) && out.contains("there is no API key to sign it with"), "{out}");
}
