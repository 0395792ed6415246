//! Upstream's own service under the same load: the Go program of `tests/upstream`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// What a window costs upstream.
#[derive(Debug, Deserialize)]
pub struct Figures {
    pub call_cpu_ns: f64,
    pub held_bytes_per_stream: f64,
    pub flush_coalesce_cpu_ns_per_stream: f64,
    pub flush_marshal_cpu_ns_per_stream: f64,
}

/// Builds it; `None` where there is no Go, or its modules are not to be had.
pub fn build() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("upstream-bench");
    let mut build = Command::new("go");
    build.args(["test", "-c", "-o"]).arg(&program).arg(".").current_dir(folder);
    let built = build.output().is_ok_and(|built| built.status.success());
    built.then_some(program)
}

pub fn run(program: &Path, streams: usize, threads: usize) -> Figures {
    let ran = Command::new(program)
        .args(["-test.run", "^TestBench$", "-test.timeout", "0"])
        .env("UPSTREAM_MODE", "bench")
        .env("STREAMS", streams.to_string())
        .env("THREADS", threads.to_string())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&ran.stdout);
    let line = out.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{ran:?}"));
    serde_json::from_str(line).unwrap()
}
