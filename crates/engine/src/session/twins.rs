//! Merges events that both sources report: webhooks and analytics have different ids for the same
//! event, so twins are found by kind and SIDs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use livekit_otel_model::REMEMBERED;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use livekit_otel_model::event::{Event, EventKind, Origin, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::LogRecord;

/// What makes events of both sources the same: their kind and SIDs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Subject {
    kind: EventKind,
    sids: Vec<Arc<str>>,
}

impl Subject {
    /// The subject of an event that has a twin; `None` for kinds that only one source reports.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let participant = || event.participant.as_ref().map(|who| who.sid.shared());
        let track = || event.track.as_ref().map(|track| track.sid.shared());
        let detail = |key: &str| {
            let detail = event.details.iter().find(|detail| detail.key == key)?;
            match &detail.value {
                livekit_otel_model::event::DetailValue::Text(text) => Some(Arc::clone(text)),
                _ => None,
            }
        };
        let sids = match event.kind {
            EventKind::RoomCreated | EventKind::RoomEnded => Vec::new(),
            EventKind::ParticipantActive
            | EventKind::ParticipantLeft
            | EventKind::ParticipantConnectionAborted => vec![participant()?],
            EventKind::TrackPublished | EventKind::TrackUnpublished => vec![track()?],
            EventKind::EgressStarted | EventKind::EgressUpdated | EventKind::EgressEnded => {
                vec![detail(key::EGRESS_ID)?, detail(key::EGRESS_STATUS)?]
            }
            EventKind::IngressStarted | EventKind::IngressEnded => vec![detail(key::INGRESS_ID)?],
            _ => return None,
        };
        Some(Self { kind: event.kind.clone(), sids })
    }

    /// Its first SID: the participant's or the track's, or another id for other kinds.
    pub(super) fn sid(&self) -> Option<&Arc<str>> {
        self.sids.first()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Reports {
    webhook: u32,
    analytics: u32,
    last: Time,
}

/// How an event relates to the other source's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TwinOutcome {
    /// The other source has not reported it yet.
    First,
    /// It is the analytics' twin of a webhook whose record still waits, and replaces that record.
    Replaces,
    /// The other source has reported it, and its record stands for both.
    Second,
}

/// A log record of a webhook that waits for its twin.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    until: Time,
    subject: Subject,
    event_id: Arc<str>,
    record: LogRecord,
}

// Twins arrive seconds apart, or later from a server that was disconnected.
const TWINS_REMEMBERED: Duration = Duration::from_hours(1);
const FEW: usize = 1024;

/// How often each source reported each subject, and the webhooks that wait for their twins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Twins {
    #[serde(serialize_with = "crate::snapshot::in_order")]
    reports: HashMap<Subject, Reports>,
    // The number of subjects at which old ones are forgotten.
    many: usize,
    waiting: VecDeque<Waiting>,
}

impl Default for Twins {
    fn default() -> Self {
        Self { reports: HashMap::new(), many: FEW, waiting: VecDeque::new() }
    }
}

impl Twins {
    /// Records a report of `subject` and finds its twin. Subjects that `is_open` returns true for are
    /// never forgotten.
    pub(super) fn record(
        &mut self,
        subject: &Subject,
        origin: Origin,
        now: Time,
        is_open: impl Fn(&Subject) -> bool,
    ) -> TwinOutcome {
        if self.reports.len() >= self.many {
            #[expect(clippy::disallowed_methods, reason = "the order does not matter to `retain`")]
            self.reports.retain(|subject, reports| {
                now.since(reports.last) < TWINS_REMEMBERED || is_open(subject)
            });
            self.many = FEW.max(self.reports.len() * 2);
        }
        let first = Reports { webhook: 0, analytics: 0, last: now };
        let reports = self.reports.entry(subject.clone()).or_insert(first);
        reports.last = now;
        let (own, other) = match origin {
            Origin::Webhook => (&mut reports.webhook, reports.analytics),
            Origin::Analytics => (&mut reports.analytics, reports.webhook),
        };
        let has_twin = other > *own;
        *own += 1;
        if !has_twin {
            return TwinOutcome::First;
        }
        let waiting = self.waiting.iter().position(|waiting| waiting.subject == *subject);
        match waiting {
            Some(index) if origin == Origin::Analytics => {
                self.waiting.remove(index);
                TwinOutcome::Replaces
            }
            _ => TwinOutcome::Second,
        }
    }

    /// Holds a webhook's record until its twin is reported, or until that time.
    pub(super) fn wait(&mut self, until: Time, subject: Subject, id: Arc<str>, record: LogRecord) {
        self.waiting.push_back(Waiting { until, subject, event_id: id, record });
    }

    /// Sets the exact time of the event that the webhook `event_id` reports: when the server queued it.
    pub(super) fn queued(&mut self, event_id: &str, at: Time) {
        for waiting in self.waiting.iter_mut().filter(|waiting| *waiting.event_id == *event_id) {
            waiting.record.time = at;
            waiting.record.attributes.retain(|attribute| attribute.key != key::TIME_PRECISION);
        }
    }

    /// When the next record has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// The records that are due at `now`; all of them without a `now`.
    pub(super) fn due(&mut self, now: Option<Time>) -> Vec<LogRecord> {
        let is_due = |waiting: &Waiting| now.is_none_or(|now| waiting.until <= now);
        let count = self.waiting.iter().take_while(|waiting| is_due(waiting)).count();
        self.waiting.drain(..count).map(|waiting| waiting.record).collect()
    }
}

/// The ids of the last 15 minutes, as 128 bits of their SHA-256, so that nobody can make an id that
/// counts as a copy of another.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<u128>,
    order: VecDeque<(Time, u128)>,
    early: u64,
}

impl Seen {
    /// Whether `id` was seen before, which is never true for an empty one. Of more than `most` ids the
    /// oldest are forgotten.
    pub(super) fn before(&mut self, id: &str, now: Time, most: usize) -> bool {
        while let Some((at, hash)) = self.order.front().copied() {
            if now.since(at) <= REMEMBERED {
                break;
            }
            self.known.remove(&hash);
            self.order.pop_front();
        }
        if id.is_empty() {
            return false;
        }
        let digest: [u8; 32] = Sha256::digest(id).into();
        let hash = digest[..16].iter().fold(0, |hash, byte| hash << 8 | u128::from(*byte));
        let new = self.known.insert(hash);
        if new {
            self.order.push_back((now, hash));
            while self.order.len() > most
                && let Some((_, oldest)) = self.order.pop_front()
            {
                self.known.remove(&oldest);
                self.early += 1;
            }
        }
        !new
    }

    /// How many were forgotten early.
    pub(super) fn early(&self) -> u64 {
        self.early
    }

    /// The ids in the order in which they were seen, each with its time.
    pub(super) fn order(&self) -> &VecDeque<(Time, u128)> {
        &self.order
    }

    /// Adds the ids that [`Seen::order`] returned.
    pub(super) fn restore(&mut self, order: Vec<(Time, u128)>) {
        self.known.extend(order.iter().map(|(_, hash)| *hash));
        self.order.extend(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_subjects_are_forgotten_once_there_are_many() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let subject = |nth: i64| Subject {
            kind: EventKind::IngressStarted,
            sids: vec![format!("IN_{nth}").into()],
        };
        let mut twins = Twins::default();
        for nth in 0..10_000 {
            twins.record(&subject(nth), Origin::Webhook, at(nth * 10), |of| *of == subject(7));
        }
        // An hour holds 360 of them.
        assert!(twins.reports.len() <= FEW + 361, "{}", twins.reports.len());
        for known in [9_999, 7] {
            let twin = twins.record(&subject(known), Origin::Analytics, at(100_000), |_| false);
            assert_eq!(twin, TwinOutcome::Second);
        }
        assert_eq!(
            twins.record(&subject(8), Origin::Analytics, at(100_000), |_| false),
            TwinOutcome::First
        );
    }

    #[test]
    fn a_copy_is_known_for_15_minutes() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let mut seen = Seen::default();
        assert!(!seen.before("AE_1", at(0), 10));
        assert!(seen.before("AE_1", at(900), 10));
        assert!(!seen.before("AE_1", at(901), 10));
        assert!(!seen.before("", at(901), 10) && !seen.before("", at(901), 10));
        assert_eq!(seen.early(), 0);
    }

    #[test]
    fn of_too_many_ids_the_oldest_are_forgotten_and_counted() {
        let now = Time::from_secs(1_795_406_960).unwrap();
        let mut seen = Seen::default();
        for nth in 0..1000 {
            assert!(!seen.before(&format!("AS_{nth}"), now, 100));
        }
        assert_eq!((seen.order().len(), seen.known.len(), seen.early()), (100, 100, 900));
        assert!(seen.before("AS_900", now, 100) && seen.before("AS_999", now, 100));
        assert!(!seen.before("AS_899", now, 100));
    }
}
