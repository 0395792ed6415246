//! Open spans: what the log records of a room, or of no room, say of spans that were not sent yet.

use std::collections::BTreeMap;

use super::bar::Bar;
use super::live::{self, Step, Subject};
use livekit_otel_model::semconv::{event, key};
use livekit_otel_model::signal::{Attribute, LogRecord};

/// Open spans, by what identifies them.
#[derive(Debug, Default)]
pub(super) struct Open {
    bars: BTreeMap<Subject, Bar>,
    bytes: usize,
}

impl Open {
    /// Whether a step that `record` reports opens a span that is not known: it starts, or it failed.
    pub(super) fn opens(step: Step, record: &LogRecord) -> bool {
        step != Step::Ends || live::failure(record).is_some()
    }

    /// Applies a step that `record` reports.
    pub(super) fn apply(&mut self, step: Step, subject: Subject, record: &LogRecord) {
        let name = subject.0;
        let before = self.bars.get(&subject).map_or(0, Bar::bytes);
        let bar = self.bars.entry(subject).or_insert_with(|| Bar {
            name,
            sent: None,
            start: record.time,
            end: None,
            attributes: Vec::new(),
            stuck_at: None,
        });
        let status = bar.text(key::EGRESS_STATUS).map(str::to_owned);
        apply(bar, step, record);
        if &*record.event_name == event::EGRESS_STUCK {
            bar.stuck_at.get_or_insert(record.time);
        } else if bar.stuck_at.is_some() && bar.text(key::EGRESS_STATUS) != status.as_deref() {
            // It has gone on.
            bar.stuck_at = None;
            bar.attributes.retain(|attribute| attribute.key != key::EGRESS_STUCK_REASON);
        }
        self.bytes = self.bytes + bar.bytes() - before;
    }

    /// Whether a span is open.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.bars.contains_key(subject)
    }

    /// An open span.
    pub(super) fn get(&self, subject: &Subject) -> Option<&Bar> {
        self.bars.get(subject)
    }

    /// Adds a span that was open elsewhere, unless it is known here.
    pub(super) fn adopt(&mut self, subject: Subject, bar: Bar) {
        let bytes = bar.bytes();
        if let std::collections::btree_map::Entry::Vacant(place) = self.bars.entry(subject) {
            place.insert(bar);
            self.bytes += bytes;
        }
    }

    /// Removes a span, which was sent or is open elsewhere.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<Bar> {
        let bar = self.bars.remove(subject)?;
        self.bytes -= bar.bytes();
        Some(bar)
    }

    /// Removes the spans that were sent.
    pub(super) fn close(&mut self, is_sent: impl Fn(&Subject) -> bool) {
        let bytes = &mut self.bytes;
        self.bars.retain(|subject, bar| {
            let is_dropped = is_sent(subject);
            *bytes -= if is_dropped { bar.bytes() } else { 0 };
            !is_dropped
        });
    }

    pub(super) fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.bars.values()
    }

    pub(super) fn len(&self) -> usize {
        self.bars.len()
    }

    /// Its approximate size in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn apply(bar: &mut Bar, step: Step, record: &LogRecord) {
    match step {
        // A late report of what has ended changes only the start, and what is not known.
        Step::Begins if bar.end.is_some() => bar.learn_missing(&record.attributes),
        Step::Begins | Step::BeginsAgain | Step::Ends => bar.learn(&record.attributes),
    }
    match step {
        Step::Begins => bar.start = bar.start.min(record.time),
        Step::BeginsAgain if bar.end.is_some() => {
            (bar.start, bar.end) = (record.time, None);
            let of_failure = [key::ERROR_TYPE, key::ERROR];
            bar.attributes.retain(|attribute| !of_failure.contains(&attribute.key));
        }
        Step::BeginsAgain => {}
        Step::Ends => {
            bar.end = Some(record.time.max(bar.start));
            if let Some(error_type) = live::failure(record) {
                bar.learn(&[Attribute::new(key::ERROR_TYPE, &*error_type)]);
            }
        }
    }
}
