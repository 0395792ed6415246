//! Each command of the README is run, and the demo prints the report that the README shows.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use livekit_otel_durable::store::{Directory, Files};
use livekit_otel_tools::demo::Collector;

use crate::port::reserved_port;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BIN: &str = env!("CARGO_BIN_EXE_livekit-otel");

fn readme() -> String {
    std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap()
}

/// The lines of all blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let mut lines = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = !inside && fence == language;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Runs a command of the README in a shell, with this build's program as `livekit-otel`.
fn shell(line: &str) -> Output {
    let folder = std::path::Path::new(BIN).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("PATH", path).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    shell.current_dir(ROOT).output().unwrap()
}

fn succeeds(line: &str) -> String {
    let output = shell(line);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}\n{printed}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_does_what_the_readme_says() {
    let collector = Collector::start().await.unwrap();
    let mut seen = BTreeSet::new();
    for line in blocks("sh") {
        let first = |word: &str| line.starts_with(word);
        let what = if line.ends_with(" demo --open") {
            // It runs until Ctrl-C, and is tested by `ui`.
            "demo --open"
        } else if first("cargo run --release -- ") {
            // The release build is the same program; building it here would take minutes.
            let report = succeeds(&line.replace("cargo run --release --", "livekit-otel"));
            shows_what_the_readme_shows(&report);
            "demo"
        } else if first("cargo run --example sfu") {
            let report = succeeds(&line);
            assert!(report.contains("subscribe camera of ada"), "{report}");
            assert!(report.contains("Every record is accounted for."), "{report}");
            "sfu"
        } else if first("make ") {
            // Not run: one runs this test, the others take minutes.
            let runs = if line == "make bench" { "cargo bench" } else { "cargo test" };
            assert!(succeeds(&line.replace("make", "make -n")).contains(runs));
            runs
        } else if first("LIVEKIT_KEYS=") {
            serves_and_accepts_what_is_sent(&line, &collector).await;
            "serve"
        } else if first("LIVEKIT_API_KEY=") {
            // Run by `serve` above, against its server.
            if line.contains(" simulate ") { "simulate" } else { "replay" }
        } else if first("livekit-otel demo --endpoint ") {
            let line = line.replace("http://127.0.0.1:4317", &collector.endpoint());
            assert!(succeeds(&line).contains("9d40fb37a77bc788cbfacd4a37d2d700"));
            "demo --endpoint"
        } else if first("otelcol --config ") {
            validates(&line);
            "otelcol"
        } else if first("prometheus ") {
            // tests/real runs a real Prometheus with this file.
            let (_, file) = line.split_once("--config.file=").unwrap();
            let file = file.split(' ').next().unwrap();
            assert!(std::path::Path::new(ROOT).join(file).is_file(), "{file}");
            "prometheus"
        } else if first("printf ") {
            assert_eq!(succeeds(&line).trim(), "9d40fb37a77bc788cbfacd4a37d2d700");
            "trace id"
        } else if first("livekit-otel trace-id ") {
            assert!(succeeds(&line).contains("9d40fb37a77bc788cbfacd4a37d2d700"));
            "trace-id"
        } else if first("livekit-otel serve --config ") {
            assert!(succeeds(&line).starts_with("ok\nwebhooks "));
            "check"
        } else if first("livekit-otel config print ") {
            assert!(succeeds(&line).contains("  interval: 60s # examples/livekit-otel.yaml:"));
            "config print"
        } else if first("livekit-analytics/build.sh ") {
            // It takes minutes; tests/real runs it.
            assert!(succeeds("livekit-analytics/build.sh --help").contains("[OUTPUT]"));
            "build.sh"
        } else if first("livekit-otel deadletter list ") {
            // A directory that never had a journal is an error.
            assert_eq!(shell(&line).status.code(), Some(1));
            let journal = tempfile::tempdir().unwrap();
            drop(Directory::open(journal.path(), std::sync::Arc::new(Files)).unwrap());
            let line = line.replace("./livekit-otel-journal", journal.path().to_str().unwrap());
            assert_eq!(succeeds(&line).trim(), "There are no dead letters.");
            "deadletter"
        } else {
            panic!("no test runs `{line}`");
        };
        seen.insert(what);
    }
    assert_eq!(seen.len(), 17, "{seen:?}");
}

fn shows_what_the_readme_shows(report: &str) {
    let report: BTreeSet<&str> = report.lines().collect();
    let shown = blocks("text");
    assert!(shown.len() > 40);
    for line in shown {
        assert!(report.contains(line.as_str()), "the demo does not print `{line}`");
    }
}

// On free ports; the README's three commands share a key.
async fn serves_and_accepts_what_is_sent(serve: &str, collector: &Collector) {
    let senders = |what: &str| {
        let is_one = |line: &String| line.starts_with("LIVEKIT_API_KEY=") && line.contains(what);
        blocks("sh").into_iter().find(is_one).unwrap()
    };
    let (http, grpc) = (reserved_port(), reserved_port());
    let serve = serve.replace("http://127.0.0.1:4317", &collector.endpoint());
    let serve = serve.replace(" livekit-otel ", &format!(" exec {BIN} "));
    let serve =
        format!("{serve} --http 127.0.0.1:{http} --grpc 127.0.0.1:{grpc} --admin 127.0.0.1:0");
    let mut child = Command::new("sh").args(["-c", &serve]).spawn().unwrap();
    let ready = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", http)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), ready).await.unwrap();
    let here = |line: &str| {
        line.replace(":9290", &format!(":{http}")).replace(":9291", &format!(":{grpc}"))
    };
    assert!(succeeds(&here(&senders(" replay "))).contains("of recordings"));
    // Shorter than the minute of the README.
    let simulate = here(&senders(" simulate ")).replace(" --duration 1m", " --duration 20s");
    let report = succeeds(&format!("{simulate} --speed inf"));
    assert!(report.contains("Everything was acknowledged."), "{report}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(!collector.received().traces.is_empty());
}

// Checks the structure; in tests/real a real collector validates the file.
fn validates(line: &str) {
    let file = line.rsplit(' ').next().unwrap();
    let text = std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let pipelines = config["service"]["pipelines"].as_object().unwrap();
    assert_eq!(pipelines.len(), 3, "{file}: traces, logs and metrics");
    for (name, pipeline) in pipelines {
        for kind in ["receivers", "processors", "exporters"] {
            for component in pipeline[kind].as_array().unwrap() {
                let component = component.as_str().unwrap();
                let defined = config[kind].get(component).is_some();
                assert!(defined, "{file}: {name} names the undefined {component}");
            }
        }
    }
}
