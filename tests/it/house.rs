//! The rules of ARCHITECTURE.md that Cargo's dependencies don't enforce.

use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, to: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, to);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                to.push((path.strip_prefix(ROOT).unwrap().into(), text));
            }
        }
    }
    let mut files = Vec::new();
    for folder in ["src", "crates"] {
        walk(&Path::new(ROOT).join(folder), &mut files);
    }
    files
}

// Whether code, not a comment, contains `word`.
fn contains(text: &str, word: &str) -> bool {
    text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
}

fn only_in(word: &str, places: &[&str]) {
    for (path, text) in sources() {
        let at_home = places.iter().any(|place| path.starts_with(place));
        assert!(at_home || !contains(&text, word), "{} contains {word}", path.display());
    }
}

fn never_in(place: &str, words: &[&str]) {
    let files: Vec<_> = sources().into_iter().filter(|(path, _)| path.starts_with(place)).collect();
    assert!(!files.is_empty(), "{place} is gone");
    for (path, text) in files {
        for word in words {
            assert!(!contains(&text, word), "{} contains {word}", path.display());
        }
    }
}

// The crates that a member depends on, without those of its tests.
fn dependencies(member: &str) -> Vec<String> {
    let path = Path::new(ROOT).join("crates").join(member).join("Cargo.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let list = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names = list.lines().filter_map(|line| line.split(['.', ' ']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

// In the root package, a module uses only those before it. `main.rs`, `descriptors` and `fuzz` are leaves.
const LAYERS: [&str; 9] =
    ["cli", "source", "config", "observe", "ui", "serve", "doctor", "demo", "commands"];

#[test]
fn the_modules_of_the_server_import_in_one_direction() {
    for (nth, module) in LAYERS.iter().enumerate() {
        let later = LAYERS[nth + 1..].iter().map(|later| format!("crate::{later}"));
        let later: Vec<String> = later.chain(["crate::{".to_owned()]).collect();
        let files = [format!("src/{module}"), format!("src/{module}.rs")];
        let own = |path: &Path| files.iter().any(|file| path.starts_with(file));
        let files: Vec<_> = sources().into_iter().filter(|(path, _)| own(path)).collect();
        assert!(!files.is_empty(), "{module} is gone");
        for (path, text) in files {
            for word in &later {
                assert!(!contains(&text, word), "{} contains {word}", path.display());
            }
        }
    }
}

#[test]
fn the_model_and_the_engine_depend_on_no_runtime_and_no_protocol() {
    for member in ["model", "engine"] {
        for dependency in dependencies(member) {
            let foreign = ["tokio", "tonic", "hyper", "http", "opentelemetry", "livekit-protocol"];
            assert!(!foreign.contains(&&*dependency), "{member} depends on {dependency}");
        }
    }
    let words = ["SystemTime::now", "Instant", "std::net", "std::fs", "std::thread"];
    for place in ["crates/engine/src", "crates/model/src"] {
        never_in(place, &words);
    }
}

#[test]
fn only_one_crate_depends_on_livekits_messages_and_few_on_otlp() {
    let members = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    for member in members {
        let member = member.unwrap().file_name().into_string().unwrap();
        let dependencies = dependencies(&member);
        let has = |name: &str| dependencies.iter().any(|dependency| dependency == name);
        assert!(!has("livekit-protocol") || member == "livekit", "{member}");
        let reads_otlp = ["agents", "export", "tools"].contains(&&*member);
        assert!(!has("opentelemetry-proto") || reads_otlp, "{member}");
    }
    only_in("livekit_protocol", &["crates/livekit"]);
    only_in(
        "opentelemetry_proto",
        &[
            "crates/agents",
            "crates/export",
            "crates/tools/src/demo",
            "crates/tools/src/simulate",
            "src/observe/tests.rs",
        ],
    );
}

#[test]
fn the_simulation_depends_on_no_socket_and_no_clock() {
    let names =
        ["mod", "media", "message", "plan", "random", "report", "settings", "steps", "encode"];
    let of_agents = ["jobs", "measures", "records", "spans", "uploads"];
    let names = names.into_iter().chain(of_agents);
    for name in names {
        let file = format!("crates/tools/src/simulate/{name}.rs");
        never_in(&file, &["tokio", "::now()", "Instant", "std::net"]);
    }
    never_in("crates/tools/src/simulate", &["livekit_otel_engine", "livekit_otel_export"]);
}

#[test]
fn the_live_view_is_computed_without_a_socket_and_a_clock() {
    let words = ["tokio", "::now()", "Instant", "std::net", "axum", "livekit_otel_export"];
    for place in ["src/ui/store", "src/ui/pages", "crates/tools/src/labels.rs"] {
        never_in(place, &words);
    }
    only_in(
        "crate::ui",
        &["src/ui", "src/serve", "src/serve.rs", "src/demo/run.rs", "src/commands/demo.rs"],
    );
    // HTML that is not escaped.
    only_in("PreEscaped", &[]);
}

#[test]
fn personal_data_is_removed_in_one_place() {
    // The exporter applies it to what is sent, the live view to what it shows, and the reader of uploads to what
    // passes through encoded.
    only_in(
        "privacy.value(",
        &[
            "crates/agents/src/clean.rs",
            "crates/model/src/privacy.rs",
            "crates/export/src/record.rs",
            "src/config/print/tests.rs",
            "src/config/tests.rs",
        ],
    );
    only_in(
        "privacy.redact_",
        &["crates/model/src/privacy.rs", "crates/telemetry/src/sdk.rs", "src/ui/mod.rs"],
    );
    never_in("src/ui", &["livekit_otel_export"]);
}

#[test]
fn no_file_has_more_than_500_lines_and_main_has_less_than_120() {
    for (path, text) in sources() {
        let most = if path == Path::new("src/main.rs") { 119 } else { 500 };
        assert!(text.lines().count() <= most, "{} has more than {most} lines", path.display());
    }
}
