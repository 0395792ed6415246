//! Log records that wait until it is known what becomes of their job.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{Body, ForeignLink, ForeignLog, ForeignSpan};

/// How long they wait.
const WAIT: Duration = Duration::from_secs(10);
/// How many bytes and records wait in all jobs together.
pub(super) const MOST: Size = Size { bytes: 16 << 20, records: 50_000 };
// The memory of a record beside its body.
const OVERHEAD: usize = 512;
// That of a span, with what is measured on it, beside its body and its links.
const SPAN: usize = 1024;

/// The size of records in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

impl Size {
    /// Whether both are at most these.
    pub(super) fn fits(self, most: Self) -> bool {
        self.bytes <= most.bytes && self.records <= most.records
    }
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.records += other.records;
    }
}

impl std::ops::SubAssign for Size {
    fn sub_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.records = self.records.saturating_sub(other.records);
    }
}

impl Size {
    /// One record with this body, and so much beside it.
    pub(super) fn of(body: &Body, beside: usize) -> Self {
        let redacted = body.redacted.as_ref().map_or(0, Bytes::len);
        Self { bytes: beside + body.sent.len() + redacted, records: 1 }
    }

    /// One span.
    pub(super) fn of_span(span: &ForeignSpan) -> Self {
        let links = span.links.iter().map(|link| Self::of(&link.body, size_of::<ForeignLink>()));
        let links: usize = links.map(|size| size.bytes).sum();
        Self::of(&span.body, SPAN + links)
    }
}

/// Those of one job, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Waiting {
    logs: VecDeque<(Time, ForeignLog)>,
    size: Size,
}

impl Waiting {
    pub(super) fn push(&mut self, log: ForeignLog, now: Time) {
        self.size += Size::of(&log.body, OVERHEAD);
        self.logs.push_back((now, log));
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.logs.front().map(|(received, _)| *received + WAIT)
    }

    /// Those that have waited long enough at `now`; without a time, all.
    pub(super) fn due(&mut self, now: Option<Time>) -> Vec<ForeignLog> {
        let mut due = Vec::new();
        let is_due = |(at, _): &mut (Time, ForeignLog)| now.is_none_or(|now| *at + WAIT <= now);
        while let Some((_, log)) = self.logs.pop_front_if(is_due) {
            self.size -= Size::of(&log.body, OVERHEAD);
            due.push(log);
        }
        if self.logs.is_empty() {
            // Its job stays for hours.
            self.logs = VecDeque::new();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use livekit_otel_model::foreign::Facts;

    #[test]
    fn what_has_left_takes_no_memory() {
        let mut waiting = Waiting::default();
        let log = |secs| ForeignLog {
            origin: Arc::default(),
            time: Time::from_secs(secs).unwrap(),
            context: None,
            facts: Facts::default(),
            failure: None,
            body: Body::default(),
        };
        for secs in 1..=100 {
            waiting.push(log(secs), Time::from_secs(secs).unwrap());
        }
        assert_eq!(waiting.due(Time::from_secs(50)).len(), 40);
        assert_eq!(waiting.due(None).len(), 60);
        assert_eq!((waiting.logs.capacity(), waiting.size()), (0, Size::default()));
    }
}
