//! The trace of a room: the server's spans and those of the room's agent.

use std::collections::{BTreeMap, BTreeSet};

use super::CALLER;
use crate::otlp::{Attributes, Record, Span};

/// Whether the room's span is there, and the parent of each.
pub(super) fn is_whole(spans: &[Span]) -> bool {
    spans.iter().any(|span| span.name == "room") && orphan(spans).is_none()
}

fn orphan(spans: &[Span]) -> Option<&Span> {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    spans.iter().find(|span| !span.parent.is_empty() && !ids.contains(span.parent.as_str()))
}

/// That it has one root, no orphan, nothing of another room, and so many turns of the caller, each linked to the
/// caller's span. Returns the room's SID.
pub(super) fn check<'a>(trace: &str, spans: &'a [Span], turns: usize) -> &'a str {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "an id is there twice");
    assert_eq!(orphan(spans), None);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    let sid = roots[0].attribute("lk.room_id");
    assert_eq!((roots[0].name.as_str(), sid.is_empty()), ("room", false));
    for span in spans {
        assert_eq!(span.trace, trace, "{span:#?}");
        assert!([sid, ""].contains(&room(&span.attributes)), "it is of another room: {span:#?}");
    }
    // What Python's agents and what Node's have on top.
    let is_agents = |span: &Span| ["job_entrypoint", "agent_session"].contains(&&*span.name);
    let below = spans.iter().filter(|span| span.parent == roots[0].id && is_agents(span));
    assert_eq!(below.count(), 1, "{spans:#?}");
    check_turns(trace, spans, turns);
    sid
}

fn check_turns(trace: &str, spans: &[Span], turns: usize) {
    let identity = |span: &Span| span.attribute("lk.pii.participant_identity").to_owned();
    let participants = spans.iter().filter(|span| span.name == "participant");
    let participants: BTreeMap<_, _> = participants.map(|span| (identity(span), span)).collect();
    let is_agent = |identity: &&String| identity.starts_with("agent-");
    assert_eq!(participants.keys().filter(is_agent).count(), 1, "{participants:#?}");
    assert_eq!(participants.len(), 2, "{participants:#?}");
    let link = (trace.to_owned(), participants[CALLER].id.clone());
    let had: Vec<_> = spans.iter().filter(|span| span.name == "user_turn").collect();
    assert!(had.len() >= turns, "{had:#?}");
    assert!(had.iter().all(|turn| turn.links.contains(&link)), "{had:#?}");
    let has_network = |turn: &Span| !turn.attribute("lk.network.loss").is_empty();
    assert!(had.iter().any(|turn| has_network(turn)), "{had:#?}");
}

/// That the records of each room are in its trace, and its agent's are among them.
pub(super) fn check_records(records: &[Record], traces: &BTreeMap<&str, &String>) {
    // The delivery of a webhook is a trace of its own.
    let records = records.iter().filter(|record| record.event != "lk.webhook");
    let mut of_agents = BTreeMap::<_, usize>::new();
    for record in records.filter(|record| !room(&record.attributes).is_empty()) {
        let room = room(&record.attributes);
        assert_eq!(traces.get(room), Some(&&record.trace), "{record:#?}");
        let jobs = ["lk.job_id", "job_id"].map(|key| record.attribute(key));
        *of_agents.entry(room).or_default() += usize::from(jobs != ["", ""]);
    }
    assert!(of_agents.len() == traces.len() && of_agents.values().all(|n| *n > 5), "{of_agents:?}");
}

/// The room's SID, under either of its keys.
fn room(attributes: &Attributes) -> &str {
    let ids = ["lk.room_id", "room_id"].map(|key| attributes.get(key));
    ids.into_iter().flatten().next().map_or("", String::as_str)
}

/// The names of spans that nobody reported.
pub(super) fn inferred(spans: &[Span]) -> BTreeSet<&str> {
    let is_inferred = |span: &&Span| !span.attribute("lk.end.inferred").is_empty();
    // LiveKit's server asks for a track that is gone, now and then, and gets no answer.
    let spans = spans.iter().filter(is_inferred).filter(|span| span.name != "track subscribe");
    spans.map(|span| span.name.as_str()).collect()
}
