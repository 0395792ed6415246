//! Every LogQL and TraceQL of the dashboards is taken by the grammars that Grafana's editors parse with
//! (npm: @grafana/lezer-logql, @grafana/lezer-traceql). Loki and Tempo themselves are not run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::parts::{or_say, ran};
use crate::shipped::{self, Backend, filled};
use serde_json::{Value as Json, json};

const FILES: [&str; 3] = ["check.mjs", "package.json", "package-lock.json"];

fn installed() -> Result<PathBuf, String> {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grammars");
    std::fs::create_dir_all(&made).map_err(|error| error.to_string())?;
    ran(Command::new("node").arg("--version"))?;
    for name in FILES {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grammars").join(name);
        std::fs::copy(from, made.join(name)).map_err(|error| error.to_string())?;
    }
    ran(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&made))?;
    Ok(made)
}

/// What it says, and whether it took them all.
fn parsed(made: &Path, queries: &[Json]) -> (bool, String) {
    let mut command = Command::new("node");
    command.arg("check.mjs").current_dir(made).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(json!(queries).to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn queries() -> Vec<Json> {
    let mut queries = Vec::new();
    for query in shipped::dashboards().iter().flat_map(shipped::Dashboard::queries) {
        let language = match query.backend {
            Backend::Loki => "LogQL",
            Backend::Tempo => "TraceQL",
            Backend::Prometheus => continue,
        };
        let text = filled(&query.text, &mut |name| match name {
            "" => None,
            "__range" | "__auto" => Some("1h".to_owned()),
            _ => Some("value".to_owned()),
        });
        queries.push(json!({"place": query.place, "language": language, "text": text}));
    }
    queries
}

#[test]
fn logql_and_traceql_of_the_dashboards_can_be_parsed() {
    let Some(made) = or_say("NO GRAMMARS OF LOGQL AND TRACEQL", installed()) else { return };
    let queries = queries();
    let (is_good, printed) = parsed(&made, &queries);
    assert!(is_good, "{printed}");
    assert!(printed.contains(&format!("{} queries", queries.len())), "{printed}");

    // Each with something in it that is none.
    let mut broken = queries;
    for query in &mut broken {
        query["text"] = query["text"].as_str().unwrap().replacen('{', "{ |", 1).into();
    }
    let (is_good, printed) = parsed(&made, &broken);
    assert!(!is_good);
    for query in &broken {
        assert!(printed.contains(query["text"].as_str().unwrap()), "{query} was parsed");
    }
    assert!(!parsed(&made, &[]).0);
}
