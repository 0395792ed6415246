//! Turns that wait for the stats window of the time around them.

use serde::{Deserialize, Serialize};

use super::waiting::Size;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::ForeignSpan;

/// How many bytes and turns wait in all jobs together.
pub(super) const MOST: Size = Size { bytes: 64 << 20, records: 50_000 };

/// How many turns of one job wait.
pub(super) const MOST_OF_JOB: usize = 1000;

/// Those of one job, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Turns {
    waiting: Vec<(Time, ForeignSpan)>,
    size: Size,
    // The earliest of them.
    next: Option<Time>,
}

impl Turns {
    pub(super) fn push(&mut self, due: Time, span: ForeignSpan) {
        self.size += Size::of_span(&span);
        self.next = self.next.into_iter().chain([due]).min();
        self.waiting.push((due, span));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Changes when they are due.
    pub(super) fn plan(&mut self, due: impl Fn(&ForeignSpan, Time) -> Time) {
        for (at, span) in &mut self.waiting {
            *at = due(span, *at);
        }
        self.find_next();
    }

    fn find_next(&mut self) {
        self.next = self.waiting.iter().map(|(due, _)| *due).min();
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// Removes and returns those that are due at `now`; without a time, all.
    pub(super) fn due(&mut self, now: Option<Time>) -> Vec<ForeignSpan> {
        let is_due = |(due, _): &mut (Time, ForeignSpan)| now.is_none_or(|now| *due <= now);
        let due: Vec<_> = self.waiting.extract_if(.., is_due).map(|(_, span)| span).collect();
        for span in &due {
            self.size -= Size::of_span(span);
        }
        if self.waiting.is_empty() {
            // Its job stays for hours.
            self.waiting = Vec::new();
        }
        self.find_next();
        due
    }
}
