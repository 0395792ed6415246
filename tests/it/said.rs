//! What was said in recorded calls of agents, searched for in all that the engine emits of both halves.

use livekit_otel_agents::{Content, Reader};
use livekit_otel_engine::session::Settings;

use crate::joined::{CAPTURES, lines_read_by, play};

/// Of the user, the agent, the prompt, the arguments of tools, and what the application wrote.
pub(crate) const SAID: [&str; 16] = [
    "Alice Liddell",
    "Alice was served",
    "my name is",
    "Lyon",
    "long story",
    "Stop, please",
    "Thank you",
    "sunny",
    "Once upon",
    "You are welcome",
    "You are helpful",
    "blue door",
    "4111 1111",
    "+33 6",
    "plan:free",
    "a call for",
];

// The words that leave. Bytes are shown as text, where they are text.
fn said(capture: &str, content: Content) -> Vec<&'static str> {
    let reader = Reader { content, ..Reader::default() };
    let out = play(&lines_read_by(capture, &reader), &Settings::default(), None);
    assert!(!out.foreign.logs.is_empty(), "{capture} has no log records");
    let text = format!("{out:?}");
    SAID.into_iter().filter(|word| text.contains(word)).collect()
}

#[test]
fn nothing_that_was_said_leaves_of_either_half() {
    for capture in CAPTURES {
        assert_eq!(said(capture, Content::Drop), [""; 0], "{capture}");
    }
}

#[test]
fn nothing_that_was_said_leaves_of_a_redacted_job_though_content_may() {
    assert_eq!(said("redaction", Content::Plain), [""; 0]);
    // So that the test can fail: what was said does leave of another.
    assert_eq!(said("ordinary", Content::Plain).len(), SAID.len());
}
