//! Real agents in real calls, unmodified: what they upload is in one trace with what LiveKit's server reports, and
//! nothing of it is what was said. See `tests/agents`.

mod dispatches;
mod ledger;
mod said;
mod stack;
mod tree;

use std::collections::BTreeMap;

use livekit_otel_model::Source;
use rustix::process::{Signal, kill_process};

use crate::otlp::{self, Span};
use crate::parts::Client;
use crate::parts::agents::{Line, Runs, Worker};
use stack::{Stack, until};

const CALLER: &str = "alice@example.org";

// In each room the caller interrupts the agent, which then calls a tool, and one that fails.
fn talk(worker: &Worker, calls: &mut [(&str, Client)]) {
    let wait = |calls: &[(&str, Client)], awaited: &str, times: usize| {
        for (room, _) in calls {
            worker.wait_for(room, awaited, times);
        }
    };
    wait(calls, "item Welcome", 1);
    let awaited = [
        ("agent is speaking", 2),
        ("item You are welcome", 1),
        ("item Here you are", 1),
        ("item Here you are", 2),
    ];
    for (text, times) in awaited {
        for (_, caller) in calls.iter_mut() {
            caller.say("speak 1000");
        }
        wait(calls, text, times);
    }
}

// Returns once the collector has a span of the room with this name.
fn wait_for_span(stack: &Stack, room: &str, name: &str) {
    let trace = stack.trace(room);
    until(&format!("{name} of {room} is there"), || {
        let is_it = |span: &Span| span.trace == trace && span.name == name;
        stack.received().iter().any(is_it).then_some(())
    });
}

// The agent's process is killed while it tells a story of which the first spans are there.
fn kill_in_a_turn(stack: &Stack, room: &str, caller: &mut Client) {
    stack.worker.wait_for(room, "item Welcome", 1);
    caller.say("speak 1000");
    let line = stack.worker.wait_for(room, "agent is speaking", 2);
    wait_for_span(stack, room, "llm_node");
    kill_process(line.process.unwrap(), Signal::KILL).unwrap();
}

// What a worker says that is wrong with its uploads. A slow machine's "event loop blocked" names source files.
fn of_uploads(log: &[Line]) -> Vec<&str> {
    let words = ["upload", "export", "otlp", "opentelemetry", "observability", "telemetry"];
    let is_of_uploads = |line: &&Line| {
        let text = format!("{} {}", line.logger, line.text).to_lowercase();
        let is_such = words.iter().any(|word| text.contains(word));
        line.is_complaint && is_such && !line.text.starts_with("event loop blocked")
    };
    log.iter().filter(is_of_uploads).map(|line| line.text.as_str()).collect()
}

// What has to be in the traces of a call.
struct Expected {
    turns: usize,
    /// Spans that never came.
    missing: &'static [&'static str],
    /// What the agent uploads.
    uploads: &'static [Source],
    /// Names and values in the metrics.
    metrics: &'static [&'static str],
}

const WHOLE: Expected = Expected {
    turns: 4,
    missing: &[],
    uploads: &[
        Source::AgentTraces,
        Source::AgentLogs,
        Source::AgentMetrics,
        Source::AgentRecordings,
    ],
    metrics: &["lk.agents.turn.e2e_latency", "lk.agent.turns", "gen_ai.execute_tool.duration"],
};
// What an agent holds until the end of its session or a turn is gone with it.
const KILLED: Expected = Expected {
    turns: 1,
    missing: &["agent_session", "agent_turn"],
    uploads: &[Source::AgentTraces, Source::AgentLogs],
    metrics: &["lk.agents.turn.llm_ttft", "lk.agent.jobs", "partial"],
};

// Ends all of it. Each room has a trace of its own that is whole, all that was received is in one of these, and
// nothing of it was said. The agent's log has no complaint about its uploads, and the ledger adds up.
fn check(mut stack: Stack, rooms: &[&str], expected: &Expected) {
    let status = stack.end(rooms);
    assert_eq!(of_uploads(&stack.worker.log()), [""; 0]);
    ledger::check(&status, expected.uploads);
    for text in expected.metrics {
        until(&format!("the metrics have {text}"), || stack.metrics().contains(text).then_some(()));
    }
    let traces: Vec<_> = rooms.iter().map(|room| stack.trace(room)).collect();
    let (jaeger, folder) = stack.stop();
    let spans: Vec<_> = traces.iter().map(|trace| stack::spans(&jaeger, trace)).collect();
    let mut by_room = BTreeMap::new();
    for (trace, spans) in traces.iter().zip(&spans) {
        by_room.insert(tree::check(trace, spans, expected.turns), trace);
        let inferred = tree::inferred(spans);
        let is_right = expected.missing.iter().all(|name| inferred.contains(name))
            && inferred.is_empty() == expected.missing.is_empty();
        assert!(is_right, "{inferred:?}");
        said::check_absent("Jaeger", &jaeger.trace(trace).unwrap().to_string());
    }
    assert_eq!(by_room.len(), rooms.len());
    let files = folder.path().join("collector");
    tree::check_records(&otlp::records(&files.join("logs.jsonl")), &by_room);
    let received = otlp::all_spans(&files.join("traces.jsonl"));
    let is_stray = |span: &&Span| !traces.contains(&span.trace) && span.name != "webhook delivery";
    assert_eq!(received.iter().find(is_stray), None);
    let [traces, logs, metrics] = ["traces", "logs", "metrics"]
        .map(|signal| std::fs::read_to_string(files.join(format!("{signal}.jsonl"))).unwrap());
    for (what, text) in [("a span", &traces), ("a log record", &logs), ("a metric", &metrics)] {
        said::check_absent(what, text);
    }
}

fn check_a_call(runs: Runs) {
    let Some(mut stack) = Stack::start(runs) else { return };
    stack.start_collector();
    let mut calls = [("ordinary", stack.caller("ordinary", CALLER))];
    talk(&stack.worker, &mut calls);
    calls[0].1.leave();
    if runs == Runs::NodeProcesses {
        // They upload every 5 s, and not at their job's end, which would be the room's.
        wait_for_span(&stack, "ordinary", "agent_session");
    }
    check(stack, &["ordinary"], &WHOLE);
}

#[test]
fn a_call_with_a_python_agent_is_one_trace() {
    check_a_call(Runs::PythonProcesses);
}

#[test]
fn a_call_with_an_npm_agent_is_one_trace() {
    check_a_call(Runs::NodeProcesses);
}

#[test]
fn two_rooms_on_one_thread_have_each_their_trace() {
    let Some(mut stack) = Stack::start(Runs::PythonThread) else { return };
    stack.start_collector();
    let mut calls = ["one", "two"].map(|room| (room, stack.caller(room, CALLER)));
    talk(&stack.worker, &mut calls);
    for (_, caller) in &mut calls {
        caller.leave();
    }
    check(stack, &["one", "two"], &WHOLE);
}

#[test]
fn an_agent_does_not_notice_that_the_collector_is_away_for_the_whole_call() {
    let Some(stack) = Stack::start(Runs::PythonThread) else { return };
    let mut calls = [("away", stack.caller("away", CALLER))];
    talk(&stack.worker, &mut calls);
    calls[0].1.leave();
    // It starts once the worker has ended.
    check(stack, &["away"], &WHOLE);
}

#[test]
fn the_spans_of_an_agent_that_is_killed_get_the_parents_that_never_came() {
    let Some(mut stack) = Stack::start(Runs::PythonProcesses) else { return };
    stack.start_collector();
    let mut caller = stack.caller("killed", CALLER);
    kill_in_a_turn(&stack, "killed", &mut caller);
    caller.leave();
    check(stack, &["killed"], &KILLED);
}
