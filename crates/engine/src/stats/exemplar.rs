//! Some values of a distribution, and whose they were: the way from a bad value to its trace.

use serde::{Deserialize, Serialize};

use super::worker::StatsKey;
use crate::session::ids::place;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::signal::{Exemplar, SpanId, TraceId};

/// Whose a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// A participant's, whose trace is its own or its room's; `None` where it has no span.
    Participant(&'a RoomSid, &'a ParticipantSid, Option<bool>),
    /// The participant's of this stream, whose span is looked for when the value leaves.
    Stream(&'a StatsKey),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Whose {
    Span(Option<(TraceId, SpanId)>),
    // Never in a snapshot: the library, which alone sees reports, has none.
    #[serde(skip)]
    Stream(StatsKey),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sample {
    value: f64,
    // `None`: of the interval that ends with the flush.
    time: Option<Time>,
    whose: Whose,
}

/// At most one a bucket, the first of an interval: what comes after costs a look.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Exemplars(Vec<Option<Sample>>);

impl Exemplars {
    pub(super) fn new(buckets: usize) -> Self {
        Self(vec![None; buckets])
    }

    pub(super) fn offer(
        &mut self,
        bucket: usize,
        value: f64,
        time: Option<Time>,
        origin: &Origin<'_>,
    ) {
        if let Some(free @ None) = self.0.get_mut(bucket) {
            let whose = match origin {
                Origin::Participant(room, sid, own_trace) => {
                    Whose::Span(own_trace.map(|own| place(room, sid, own)))
                }
                Origin::Stream(key) => Whose::Stream((*key).clone()),
            };
            *free = Some(Sample { value, time, whose });
        }
    }

    /// Takes what `more` has and this has not.
    pub(super) fn merge(&mut self, more: &Self) {
        for (own, other) in self.0.iter_mut().zip(&more.0) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(None);
    }

    /// Looks for the spans of streams.
    pub(super) fn find(&mut self, span: &impl Fn(&StatsKey) -> Option<(TraceId, SpanId)>) {
        for sample in self.0.iter_mut().flatten() {
            if let Whose::Stream(key) = &sample.whose {
                sample.whose = Whose::Span(span(key));
            }
        }
    }

    /// As they leave with a flush at `now`.
    pub(super) fn told(&self, now: Time) -> Vec<Exemplar> {
        let told = |sample: &Sample| {
            let context = match &sample.whose {
                Whose::Span(context) => *context,
                Whose::Stream(_) => None,
            };
            Exemplar { value: sample.value, time: sample.time.unwrap_or(now), context }
        };
        self.0.iter().flatten().map(told).collect()
    }
}
