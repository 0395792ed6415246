//! A panic ends the program as a failure, and the same input does not end it for ever.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use livekit_otel_model::semconv::key;
use livekit_otel_pipeline::panics::PANICS;
use livekit_otel_pipeline::panics::PANICS_AT_LOAD;
use livekit_otel_pipeline::panics::PANICS_ON_PAGE;
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;

use crate::binary::{Serve, command};
use crate::durable::{signed, webhook};

const PATIENCE: Duration = Duration::from_mins(1);

// The status of a webhook's answer; none where the connection ended without one.
fn post(serve: &Serve, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(&serve.http).ok()?;
    stream.write_all(signed(body).as_bytes()).ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    Some(String::from_utf8_lossy(&status[9..]).into_owned())
}

fn that_panics() -> String {
    webhook(2).replace("EV_2", PANICS)
}

// The program may end before it has answered.
fn post_that_panics(serve: &Serve, body: &str) {
    let answer = post(serve, body);
    assert!(answer.as_deref().is_none_or(|status| status == "200"), "{answer:?}");
}

fn serve(collector: &Collector, journal: Option<&Path>) -> Serve {
    Serve::start(&collector.endpoint(), &environment(journal))
}

// Of a server that panics at its start: it may end before it listens.
fn spawn(collector: &Collector, journal: &Path) -> Serve {
    Serve::spawn(&collector.endpoint(), &environment(Some(journal)))
}

fn environment(journal: Option<&Path>) -> Vec<(&'static str, &str)> {
    let journal = journal.map(|path| ("LIVEKIT_OTEL_JOURNAL_DIR", path.to_str().unwrap()));
    journal.into_iter().collect()
}

// Waits until the program ends by itself; returns its exit code and all of its output.
fn ends(mut serve: Serve) -> (Option<i32>, String) {
    let mut printed = String::new();
    serve.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let code = serve.child.wait().unwrap().code();
    printed.extend(serve.seen.iter().map(String::as_str));
    printed.extend(serve.log.iter());
    (code, printed)
}

// The number of participants with a log record: records in flight during a kill may arrive twice.
fn joined(received: &Received) -> usize {
    let telemetry = Telemetry::read(received);
    let joined = telemetry.logs.iter().filter_map(|log| log.attributes.text(key::PARTICIPANT_ID));
    joined.collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_pipeline_is_a_failure() {
    let collector = Collector::start().await.unwrap();
    let serve = serve(&collector, None);
    assert_eq!(post(&serve, &webhook(1)).as_deref(), Some("200"));
    post_that_panics(&serve, &that_panics());
    let (code, printed) = ends(serve);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("the pipeline panicked: this is a bug in livekit-otel"), "{printed}");
    // The panic's location, but not its text, which may contain an input.
    assert!(printed.contains(r#""location":"crates/pipeline/src/panics.rs:"#), "{printed}");
    assert!(!printed.contains(PANICS), "{printed}");
    // The input in progress is lost, and reported as lost.
    assert!(printed.contains("webhook: 1 lost (shutdown)"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_panics_twice_becomes_a_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let first = serve(&collector, Some(directory.path()));
    assert_eq!(post(&first, &webhook(1)).as_deref(), Some("200"));
    post_that_panics(&first, &that_panics());
    let (code, printed) = ends(first);
    assert_eq!(code, Some(1), "{printed}");
    // The second start panics at the same input.
    let (code, printed) = ends(spawn(&collector, directory.path()));
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("the pipeline panicked"), "{printed}");
    // Two starts: after the kill of the third the fourth reads everything again.
    for nth in 3..5 {
        let mut third = serve(&collector, Some(directory.path()));
        let dead_letter = "an input made the pipeline panic twice: it becomes a dead letter";
        // Before it listens, or after.
        if !third.seen.iter().any(|line| line.contains(dead_letter)) {
            third.wait_for(dead_letter);
        }
        assert_eq!(post(&third, &webhook(nth)).as_deref(), Some("200"));
        let arrived = collector.received_when(|received| joined(received) == nth - 1);
        tokio::time::timeout(PATIENCE, arrived).await.expect("not all records arrived");
        third.child.kill().unwrap();
        third.child.wait().unwrap();
    }
    let last = serve(&collector, Some(directory.path()));
    let (code, printed) = last.terminate();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Every record is accounted for."), "{printed}");
    // A snapshot covers the input: it is not skipped again.
    let after = serve(&collector, Some(directory.path()));
    let status =
        livekit_otel::commands::status::fetch(&after.admin.parse().unwrap()).await.unwrap();
    assert_eq!((status.ledger.inputs[0].accepted, status.ledger.inputs[0].dead_letters), (4, 1));
    let (code, printed) = after.terminate();
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains("panic twice"), "{printed}");
    assert_eq!(joined(&collector.stop().await), 3);
    let path = directory.path().to_str().unwrap();
    let list = command(&["deadletter", "list", "--journal-dir", path]).output().unwrap();
    let listed = String::from_utf8(list.stdout).unwrap();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.starts_with("webhook-") && listed.contains("livekit-otel panic"), "{listed}");
}

#[test]
fn release_builds_do_not_have_the_injected_panics() {
    let manifest = include_str!("../../Cargo.toml");
    let default = manifest.lines().find(|line| line.starts_with("default = ")).unwrap();
    assert!(manifest.contains("\nfuzzing = [") && !default.contains("fuzzing"));
    // A panic can be caught and named only if it unwinds.
    assert!(!manifest.contains("panic = \"abort\""));
    for recipe in ["deploy/Dockerfile", "Makefile", ".github/workflows/ci.yml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(recipe);
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let builds = text.lines().filter(|line| line.contains("cargo build --release"));
        assert!(builds.into_iter().all(|line| !line.contains("fuzzing")), "{recipe}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_panics_is_named_and_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let first = serve(&collector, Some(directory.path()));
    let room = webhook(1).replace(r#""name":"room""#, &format!(r#""name":"{PANICS_AT_LOAD}""#));
    assert_eq!(post(&first, &room).as_deref(), Some("200"));
    let (code, printed) = first.terminate();
    assert_eq!(code, Some(0), "{printed}");
    // No journal entry is blamed for it.
    for _ in 0..3 {
        let (code, printed) = ends(spawn(&collector, directory.path()));
        assert_eq!(code, Some(1), "{printed}");
        assert!(
            printed.contains("the pipeline panicked while it loaded the snapshot"),
            "{printed}"
        );
        assert!(
            printed.contains("the pipeline panicked: this is a bug in livekit-otel"),
            "{printed}"
        );
    }
    std::fs::remove_file(directory.path().join("snapshot")).unwrap();
    let (code, printed) = serve(&collector, Some(directory.path())).terminate();
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_view_that_panics_is_a_failure() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[("LIVEKIT_OTEL_UI", "127.0.0.1:0")]);
    let room = webhook(1).replace(r#""name":"room""#, &format!(r#""name":"{PANICS_ON_PAGE}""#));
    post_that_panics(&serve, &room);
    let (code, printed) = ends(serve);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("the live view panicked: this is a bug in livekit-otel"), "{printed}");
    assert!(printed.contains("Every record is accounted for."), "{printed}");
}
