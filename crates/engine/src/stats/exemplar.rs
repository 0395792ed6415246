//! Exemplars: some values of a distribution with their spans, which lead from a bad value to its trace.

use serde::{Deserialize, Serialize};

use super::worker::StatsKey;
use crate::ids;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::signal::{Exemplar, SpanId, TraceId};

/// Whose a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// This participant, and whether its trace is its own or its room's; `None` if it has no span.
    Participant(&'a RoomSid, &'a ParticipantSid, Option<bool>),
    /// The participant of this stream, whose span is looked up at the flush.
    Stream(&'a StatsKey),
    /// This span.
    Span(TraceId, SpanId),
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

/// At most one for each bucket: the first of an interval, so that later values cost one comparison. In the order of
/// the buckets, as most series of one job have values in few of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Exemplars(Vec<(u16, Sample)>);

impl Exemplars {
    /// With memory for so many.
    pub(super) fn with_capacity(buckets: usize) -> Self {
        Self(Vec::with_capacity(buckets))
    }

    pub(super) fn offer(
        &mut self,
        bucket: usize,
        value: f64,
        time: Option<Time>,
        origin: &Origin<'_>,
    ) {
        let Ok(bucket) = u16::try_from(bucket) else { return };
        if let Err(place) = self.find_bucket(bucket) {
            self.0.insert(place, (bucket, Sample { value, time, context: context(origin) }));
        }
    }

    fn find_bucket(&self, bucket: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&bucket, |(of, _)| *of)
    }

    /// Adds those of `more` for buckets that have none.
    pub(super) fn merge(&mut self, more: &Self) {
        for (bucket, sample) in &more.0 {
            if let Err(place) = self.find_bucket(*bucket) {
                self.0.insert(place, (*bucket, sample.clone()));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Looks up the spans of streams.
    pub(super) fn find(&mut self, span: &impl Fn(&StatsKey) -> Option<(TraceId, SpanId)>) {
        for (_, sample) in &mut self.0 {
            if let Context::Stream(key) = &sample.context {
                sample.context = Context::Span(span(key));
            }
        }
    }

    /// The exemplars of a flush at `now`.
    pub(super) fn at_flush(&self, now: Time) -> Vec<Exemplar> {
        let exemplar = |(_, sample): &(u16, Sample)| {
            let context = match &sample.context {
                Context::Span(context) => *context,
                Context::Stream(_) => None,
            };
            Exemplar { value: sample.value, time: sample.time.unwrap_or(now), context }
        };
        self.0.iter().map(exemplar).collect()
    }
}

fn context(origin: &Origin<'_>) -> Context {
    match *origin {
        Origin::Participant(room, sid, own_trace) => {
            Context::Span(own_trace.map(|own| ids::place(room, sid, own)))
        }
        Origin::Stream(key) => Context::Stream(key.clone()),
        Origin::Span(trace, span) => Context::Span(Some((trace, span))),
    }
}
