//! Operations outside of any known room: an egress of a web page, an ingress before its room, a failed
//! call of the API.

use std::collections::VecDeque;

use super::bar::Bar;
use super::limits::Limits;
use super::live::{self, Step, Subject, WORKS};
use super::open::Open;
use livekit_otel_model::semconv::span;
use livekit_otel_model::signal::{LogRecord, Span};

/// The newest of them.
#[derive(Debug, Default)]
pub(in crate::ui) struct Apart {
    open: Open,
    // In the order in which their spans were sent.
    works: VecDeque<Bar>,
    // Failed API calls and deliveries of webhooks. A burst of them must not displace the others.
    requests: VecDeque<Bar>,
    /// How many are no longer held.
    pub(in crate::ui) forgotten: u64,
    bytes: usize,
}

impl Apart {
    /// Adds a log record without a room.
    pub(super) fn log(&mut self, record: &LogRecord, limits: &Limits) {
        for (step, name) in live::steps(&record.event_name) {
            let id = record.context.map(|(_, id)| id);
            let subject = live::subject(name, &record.attributes, id);
            if let Some(subject) = subject.filter(|_| WORKS.contains(name)) {
                self.step(*step, subject, record, limits);
            }
        }
    }

    fn step(&mut self, step: Step, subject: Subject, record: &LogRecord, limits: &Limits) {
        if !self.open.has(&subject) {
            let is_it = |bar: &Bar| bar.subject().as_ref() == Some(&subject);
            if !Open::opens(step, record) || self.works.iter().any(is_it) {
                return;
            }
            if self.open.len() >= limits.apart || self.bytes() > limits.apart_bytes {
                self.forgotten += 1;
                return;
            }
        }
        self.open.apply(step, subject, record);
    }

    /// Adds a finished span without a room: one of an operation, or a failed request.
    pub(super) fn span(&mut self, span: Span, limits: &Limits) {
        let bar = Bar::of(span);
        let is_request = matches!(bar.name, span::API_CALL | span::WEBHOOK_DELIVERY);
        if !(bar.is_work() || is_request && bar.failed()) {
            return;
        }
        if let Some(subject) = bar.subject() {
            self.open.take(&subject);
        }
        self.bytes += bar.bytes();
        let to = if is_request { &mut self.requests } else { &mut self.works };
        to.push_back(bar);
        let is_full = to.len() > limits.apart;
        if is_full && let Some(old) = to.pop_front() {
            self.forget(&old);
        }
        while self.bytes() > limits.apart_bytes {
            let old = self.requests.pop_front().or_else(|| self.works.pop_front());
            let Some(old) = old else { return };
            self.forget(&old);
        }
    }

    fn forget(&mut self, bar: &Bar) {
        self.bytes -= bar.bytes();
        self.forgotten += 1;
    }

    /// The running operations that a record in a room is about: from now on they belong to the room.
    pub(super) fn leave(&mut self, record: &LogRecord) -> Vec<(Subject, Bar)> {
        let id = record.context.map(|(_, id)| id);
        let steps = live::steps(&record.event_name).iter();
        let works = steps.filter(|(_, name)| self.open.len() > 0 && WORKS.contains(name));
        let subjects: Vec<_> =
            works.filter_map(|(_, name)| live::subject(name, &record.attributes, id)).collect();
        subjects.into_iter().filter_map(|it| Some((it.clone(), self.open.take(&it)?))).collect()
    }

    /// Removes the running operation of a span that was sent with a room.
    pub(super) fn close(&mut self, span: &Span) {
        if let Some(subject) = live::subject(span.name, &span.attributes, Some(span.span_id)) {
            self.open.take(&subject);
        }
    }

    /// All of them, running ones first.
    pub(in crate::ui) fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.open.bars().chain(&self.works).chain(&self.requests)
    }

    /// Its approximate size in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.open.bytes()
    }
}
