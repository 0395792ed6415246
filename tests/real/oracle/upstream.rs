//! The Go program of `tests/upstream`, built and asked.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::calls::Call;
use crate::parts::{or_say, ran};

pub(super) struct Upstream {
    program: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) start_ms: u64,
    pub(super) events: Vec<Value>,
    pub(super) webhooks: Vec<Value>,
    pub(super) stats: Vec<Value>,
    pub(super) node_rooms: Vec<Value>,
    pub(super) metrics: Map<String, Value>,
    #[serde(default)]
    error: String,
}

/// Builds it; where it can't be built says so, loudly.
pub(super) fn build() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("upstream");
    let mut build = Command::new("go");
    build.args(["test", "-c", "-o"]).arg(&program).arg(".").current_dir(folder);
    let built = ran(&mut build).map(|_| program);
    or_say("NOT COMPARED WITH UPSTREAM'S SERVICE", built)
}

impl Upstream {
    pub(super) fn run(program: &Path) -> Self {
        let mut program = Command::new(program)
            .args(["-test.run", "^TestOracle$", "-test.timeout", "0"])
            .env("UPSTREAM_MODE", "oracle")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let questions = program.stdin.take().unwrap();
        let answers = BufReader::new(program.stdout.take().unwrap());
        Self { program, questions, answers }
    }

    pub(super) fn ask(&mut self, prefix: &str, calls: &[Call]) -> Answer {
        let calls: Vec<Value> = calls.iter().map(|call| call.json(prefix)).collect();
        let question = format!("{}\n", json!({ "ops": calls }));
        self.questions.write_all(question.as_bytes()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Answer = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(answer.error, "");
        answer
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
