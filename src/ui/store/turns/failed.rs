//! What failed of agents. A failed request fails the spans around it too; it is one failure.

use std::collections::{BTreeMap, BTreeSet};

use super::held::Agents;
use super::stage::{ENTRYPOINT, SESSION_CLOSE, is_attempt, is_failed};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::SpanId;
use livekit_otel_pipeline::AgentSpan;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ui) enum What<'a> {
    /// A language model, with its provider.
    Model(Option<&'a str>, Option<&'a str>),
    /// A tool.
    Tool(Option<&'a str>),
    /// A speech model, with its provider.
    Speech(Option<&'a str>, Option<&'a str>),
    /// An agent's job.
    Job,
    /// An agent's session, which closed because of an error.
    Session,
    /// Another span, by its name.
    Span(&'a str),
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct Failure<'a> {
    pub(in crate::ui) what: What<'a>,
    /// The agent's job.
    pub(in crate::ui) job: Option<&'a str>,
    pub(in crate::ui) error: &'a str,
    /// The first attempt's start.
    pub(in crate::ui) start: Time,
    /// The last attempt's end.
    pub(in crate::ui) end: Time,
    /// How many attempts of the same request failed.
    pub(in crate::ui) attempts: usize,
    /// Whether the request of the attempts went well.
    pub(in crate::ui) is_mended: bool,
    /// The failed span and the spans around it, as far as they are held.
    pub(in crate::ui) around: Vec<SpanId>,
}

// A turn, its model, the request and an attempt are four.
const MOST_AROUND: usize = 8;

// Failed spans that are one failure: the attempts of a request, or one span.
type Group<'a> = Vec<&'a AgentSpan>;

impl Agents {
    /// The failures, oldest first.
    pub(in crate::ui) fn failed(&self) -> Vec<Failure<'_>> {
        let known: BTreeMap<SpanId, &AgentSpan> =
            self.spans.iter().chain(&self.failed).map(|span| (span.span_id, span)).collect();
        let groups = self.groups();
        let mut all: Vec<_> = groups.iter().filter_map(|group| failure(group, &known)).collect();
        all.extend(self.without_spans());
        all.sort_by_key(|failure| (failure.end, failure.start, failure.what));
        all
    }

    /// How many failures there are.
    pub(in crate::ui) fn failures(&self) -> usize {
        self.groups().len() + self.without_spans().count()
    }

    /// The jobs that failed, as their agents report.
    pub(in crate::ui::store) fn failed_jobs(&self) -> impl Iterator<Item = &str> {
        let roots = self.failed.iter().filter(|span| is_root(span));
        let without_spans = self.without_spans().filter_map(|failure| failure.job);
        roots.filter_map(|span| span.of.job.as_deref()).chain(without_spans)
    }

    /// Whether a model of a kind failed in a job: `llm` or `tts`.
    pub(in crate::ui::store) fn has_failed_model(
        &self,
        job: Option<&str>,
        kind: Option<&str>,
    ) -> bool {
        let kind = kind.map(|kind| format!("{kind}_"));
        let is_it = |span: &AgentSpan| {
            span.of.job.as_deref() == job
                && kind.as_deref().is_some_and(|kind| span.name.starts_with(kind))
        };
        self.failed.iter().any(is_it)
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let parents: BTreeSet<SpanId> = self.failed.iter().filter_map(|span| span.parent).collect();
        let mut requests: BTreeMap<SpanId, Group<'_>> = BTreeMap::new();
        let mut all = Vec::new();
        for span in &self.failed {
            // The innermost says what failed; only a job's root has its own line too.
            if parents.contains(&span.span_id) && &*span.name != ENTRYPOINT {
                continue;
            }
            match span.parent.filter(|_| is_attempt(span)) {
                Some(request) => requests.entry(request).or_default().push(span),
                None => all.push(vec![span]),
            }
        }
        all.extend(requests.into_values());
        all
    }

    // Jobs that failed before they had a span.
    pub(super) fn without_spans(&self) -> impl Iterator<Item = Failure<'_>> {
        self.jobs.iter().filter(|(_, job)| !job.has_spans).filter_map(|(name, job)| {
            let (time, error) = job.error.as_ref()?;
            Some(Failure {
                what: What::Job,
                job: Some(name),
                error,
                start: *time,
                end: *time,
                attempts: 1,
                is_mended: false,
                around: Vec::new(),
            })
        })
    }
}

// Whether it stands for its job.
fn is_root(span: &AgentSpan) -> bool {
    &*span.name == ENTRYPOINT || &*span.name == "agent_session" && span.parent.is_none()
}

fn failure<'a>(
    group: &[&'a AgentSpan],
    known: &BTreeMap<SpanId, &'a AgentSpan>,
) -> Option<Failure<'a>> {
    let last = *group.iter().max_by_key(|span| (span.end, span.start))?;
    // Spans of agents form no circle; those of others may.
    let mut around = vec![last];
    while let Some(outer) = around.last().and_then(|span| known.get(&span.parent?))
        && around.len() < MOST_AROUND
    {
        around.push(outer);
    }
    let error = last.measured.as_deref().and_then(|it| it.error.as_deref());
    let error = last.failure.as_deref().filter(|text| !text.is_empty()).or(error);
    Some(Failure {
        what: what(last, &around),
        job: last.of.job.as_deref(),
        error: error.unwrap_or("error"),
        start: group.iter().map(|span| span.start).min()?,
        end: last.end,
        attempts: group.len(),
        is_mended: is_attempt(last) && around.get(1).is_some_and(|request| !is_failed(request)),
        around: around.iter().map(|span| span.span_id).collect(),
    })
}

fn what<'a>(span: &'a AgentSpan, around: &[&'a AgentSpan]) -> What<'a> {
    let measured = around.iter().filter_map(|span| span.measured.as_deref());
    let provider = measured.clone().find_map(|it| it.provider.as_deref());
    // npm's attempts do not say whose they are.
    let model = measured.clone().find_map(|it| it.model.as_deref());
    match &*span.name {
        "llm_node" | "llm_request" | "llm_request_run" => What::Model(model, provider),
        "tts_node" | "tts_request" | "tts_request_run" => What::Speech(model, provider),
        "function_tool" => What::Tool(measured.clone().find_map(|it| it.tool.as_deref())),
        SESSION_CLOSE => What::Session,
        _ if is_root(span) => What::Job,
        name => What::Span(name),
    }
}
