//! The tree of a room's trace, compared with what happened in the room.

use std::collections::{BTreeMap, BTreeSet};

use crate::otlp::Span;

/// Who was there, and how many of each span there are below theirs. Nothing else is in the trace.
pub(crate) struct Participant {
    pub(crate) who: &'static str,
    pub(crate) publishes: usize,
    pub(crate) subscribes: usize,
    /// The names of those of its spans that are errors.
    pub(crate) errors: &'static [&'static str],
}

impl Participant {
    pub(crate) fn new(who: &'static str, publishes: usize, subscribes: usize) -> Self {
        Self { who, publishes, subscribes, errors: &[] }
    }

    pub(crate) fn failed(self, errors: &'static [&'static str]) -> Self {
        Self { errors, ..self }
    }
}

// By name, parent's name and identity: how many, and how many errors.
type Counts = BTreeMap<(String, String, String), (usize, usize)>;

fn expected(participants: &[Participant]) -> Counts {
    let mut counts = Counts::from([(("room".to_owned(), String::new(), String::new()), (1, 0))]);
    for Participant { who, publishes, subscribes, errors } in participants {
        for (name, parent, n) in [
            ("participant", "room", 1),
            ("participant connect", "participant", 1),
            ("track publish", "participant", *publishes),
            ("track", "participant", *publishes),
            ("track subscribe", "participant", *subscribes),
        ] {
            let key = (name.to_owned(), parent.to_owned(), (*who).to_owned());
            let failed = if errors.contains(&name) { n } else { 0 };
            let _ = (n > 0).then(|| counts.insert(key, (n, failed)));
        }
    }
    counts
}

/// Whether it is one of those that LiveKit's server makes of somebody's leaving, now and then: it asks for
/// a track again that is gone, and gets no answer.
pub(crate) fn is_in_vain(span: &Span) -> bool {
    span.name == "track subscribe" && !span.attribute("lk.end.inferred").is_empty()
}

fn found(spans: &[Span], problems: &mut Vec<String>) -> Counts {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let mut counts = Counts::new();
    for span in spans.iter().filter(|span| !is_in_vain(span)) {
        let parent = by_id.get(span.parent.as_str());
        if parent.is_none() && !span.parent.is_empty() {
            problems.push(format!("the parent of a span {} is not there", span.name));
        }
        let who = span.attribute("lk.pii.participant_identity");
        if parent.is_some_and(|parent| {
            parent.name == "participant" && parent.attribute("lk.pii.participant_identity") != who
        }) {
            problems.push(format!("a span {} of {who} is another's", span.name));
        }
        let parent = parent.map(|parent| parent.name.clone()).unwrap_or_default();
        let count = counts.entry((span.name.clone(), parent, who.to_owned())).or_default();
        *count = (count.0 + 1, count.1 + usize::from(span.is_error));
    }
    counts
}

/// The spans with an inferred end.
pub(crate) fn without_an_end(spans: &[Span]) -> Vec<String> {
    let inferred = spans.iter().filter(|span| !span.attribute("lk.end.inferred").is_empty());
    let inferred = inferred.filter(|span| !is_in_vain(span));
    inferred.map(|span| format!("the end of {} is inferred", span.name)).collect()
}

/// What is wrong with the spans of a trace.
pub(crate) fn problems(trace: &str, spans: &[Span], participants: &[Participant]) -> Vec<String> {
    let mut problems = Vec::new();
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    if ids.len() != spans.len() {
        problems.push(format!("{} spans have {} ids", spans.len(), ids.len()));
    }
    if let Some(span) = spans.iter().find(|span| span.trace != trace) {
        problems.push(format!("{} is of the trace {}, not of {trace}", span.name, span.trace));
    }
    let (found, expected) = (found(spans, &mut problems), expected(participants));
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        let [found, expected] =
            [&found, &expected].map(|counts| counts.get(key).copied().unwrap_or_default());
        if found != expected {
            let (name, parent, who) = key;
            problems.push(format!(
                "{name} of '{who}' below '{parent}': {} with {} errors, not {} with {}",
                found.0, found.1, expected.0, expected.1
            ));
        }
    }
    problems
}
