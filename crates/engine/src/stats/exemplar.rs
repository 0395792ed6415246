//! Exemplars: some values of a distribution with their spans, which lead from a bad value to its trace.

use serde::{Deserialize, Serialize};

use super::worker::StatsKey;
use crate::ids::place;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::signal::{Exemplar, SpanId, TraceId};

/// The participant of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// This participant, and whether its trace is its own or its room's; `None` if it has no span.
    Participant(&'a RoomSid, &'a ParticipantSid, Option<bool>),
    /// The participant of this stream, whose span is looked up at the flush.
    Stream(&'a StatsKey),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Context {
    Span(Option<(TraceId, SpanId)>),
    // Never in a snapshot: only the library has reports, and it has no snapshots.
    #[serde(skip)]
    Stream(StatsKey),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sample {
    value: f64,
    // `None` stands for the time of the flush.
    time: Option<Time>,
    context: Context,
}

/// At most one for each bucket: the first of an interval, so that later values cost one comparison.
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
            let context = match origin {
                Origin::Participant(room, sid, own_trace) => {
                    Context::Span(own_trace.map(|own| place(room, sid, own)))
                }
                Origin::Stream(key) => Context::Stream((*key).clone()),
            };
            *free = Some(Sample { value, time, context });
        }
    }

    /// Adds those of `more` for buckets that have none.
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

    /// Looks up the spans of streams.
    pub(super) fn find(&mut self, span: &impl Fn(&StatsKey) -> Option<(TraceId, SpanId)>) {
        for sample in self.0.iter_mut().flatten() {
            if let Context::Stream(key) = &sample.context {
                sample.context = Context::Span(span(key));
            }
        }
    }

    /// The exemplars of a flush at `now`.
    pub(super) fn at_flush(&self, now: Time) -> Vec<Exemplar> {
        let exemplar = |sample: &Sample| {
            let context = match &sample.context {
                Context::Span(context) => *context,
                Context::Stream(_) => None,
            };
            Exemplar { value: sample.value, time: sample.time.unwrap_or(now), context }
        };
        self.0.iter().flatten().map(exemplar).collect()
    }
}
