//! The arrows of ARCHITECTURE.md, held: who may import what.

use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, to: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, to);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                to.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.into_iter().map(|(path, text)| (path.strip_prefix(&root).unwrap().into(), text)).collect()
}

// Whether code, not a comment, says `word`.
fn says(text: &str, word: &str) -> bool {
    text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
}

fn only_in(word: &str, rooms: &[&str]) {
    for (path, text) in sources() {
        let at_home = rooms.iter().any(|room| path.starts_with(room));
        assert!(at_home || !says(&text, word), "{} says {word}", path.display());
    }
}

fn never_in(room: &str, words: &[&str]) {
    let files: Vec<_> = sources().into_iter().filter(|(path, _)| path.starts_with(room)).collect();
    assert!(!files.is_empty(), "{room} is gone");
    for (path, text) in files {
        for word in words {
            assert!(!says(&text, word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn only_proto_reads_livekits_messages() {
    only_in("livekit_protocol", &["proto"]);
}

#[test]
fn only_who_tells_as_a_server_is_handed_livekits_messages() {
    only_in("proto::messages", &["proto", "telemetry", "simulate"]);
}

#[test]
fn what_is_simulated_depends_on_no_socket_and_no_clock() {
    let names = ["mod", "media", "plan", "random", "report", "settings", "steps", "tell"];
    for name in names {
        let file = format!("simulate/{name}.rs");
        never_in(&file, &["tokio", "::now()", "Instant", "std::net"]);
    }
    never_in("simulate", &["crate::session", "crate::stats", "crate::engine", "crate::export"]);
}

#[test]
fn only_export_and_the_demos_collector_know_otlp() {
    only_in("opentelemetry_proto", &["export", "demo", "observe/tests.rs"]);
}

#[test]
fn sessions_and_stats_are_sans_io() {
    let words = ["tokio", "SystemTime", "Instant", "std::net", "std::fs", "opentelemetry"];
    for room in ["session", "stats", "engine.rs"] {
        never_in(room, &words);
        never_in(room, &["crate::export", "crate::source", "crate::journal", "crate::proto"]);
    }
}

#[test]
fn what_the_page_shows_is_worked_out_without_a_socket_and_a_clock() {
    for room in ["ui/store", "ui/pages", "words.rs"] {
        never_in(room, &["tokio", "::now()", "Instant", "std::net", "axum", "crate::export"]);
    }
    only_in("crate::ui", &["ui", "serve.rs", "demo/run.rs"]);
    // What is not escaped.
    only_in("PreEscaped", &[]);
}

#[test]
fn the_words_import_nothing_of_ours() {
    for room in ["event.rs", "event", "semconv.rs"] {
        never_in(room, &["use crate::"]);
    }
}

#[test]
fn personal_data_is_seen_to_in_one_place() {
    only_in("Privacy", &["privacy.rs", "config", "export"]);
    only_in("privacy.value(", &["privacy.rs", "config/tests.rs", "export/record.rs"]);
}

#[test]
fn no_file_has_more_than_500_lines() {
    for (path, text) in sources() {
        assert!(text.lines().count() <= 500, "{} wants splitting", path.display());
    }
}
