//! The participants of a SIP call or an agent's job, and what they say of it together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::session::legs::{Answer, Leg};
use livekit_otel_model::event::{ParticipantSid, Time};
use livekit_otel_model::interned::Name;
use livekit_otel_model::signal::Link;

// There is one participant, or another one after its connection to the room was lost. Of more, the first one is kept,
// with which the operation began, and the newest ones, whatever the order in which they are reported.
const MOST: usize = 8;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Joined {
    legs: BTreeMap<ParticipantSid, Leg>,
}

impl Joined {
    /// Adds what is known of a participant at `now`, in place of what was known before.
    pub(super) fn add(&mut self, mut leg: Leg, now: Time) {
        match self.legs.get(&leg.sid) {
            Some(before) if before.is_final => return,
            Some(before) => leg.keep(before),
            None => {}
        }
        if leg.is_final {
            leg.ended_at = leg.ended_at.or(Some(now));
        }
        self.legs.insert(leg.sid.clone(), leg);
        if self.legs.len() > MOST
            && let Some(sid) = self.second()
        {
            self.legs.remove(&sid);
        }
    }

    // The one that began after the first.
    fn second(&self) -> Option<ParticipantSid> {
        let order = |leg: &&Leg| (leg.start, leg.sid.clone());
        let first = self.legs.values().min_by_key(order)?;
        let others = self.legs.values().filter(|leg| leg.sid != first.sid);
        others.min_by_key(order).map(|leg| leg.sid.clone())
    }

    /// Whether there is a participant that may still change.
    pub(super) fn has_open(&self) -> bool {
        self.legs.values().any(|leg| !leg.is_final)
    }

    /// When the last end became known, if there are participants and all have left for good.
    pub(super) fn left_at(&self) -> Option<Time> {
        if self.has_open() {
            return None;
        }
        self.legs.values().filter_map(|leg| leg.ended_at).max()
    }

    /// The participant that left last, or has not left.
    pub(super) fn last(&self) -> Option<&Leg> {
        let order = |leg: &&Leg| (leg.end.is_none(), leg.end.map(|(at, _)| at), leg.sid.clone());
        self.legs.values().max_by_key(order)
    }

    /// When the first of them began.
    pub(super) fn start(&self) -> Option<Time> {
        self.legs.values().map(|leg| leg.start).min()
    }

    /// The newest time known of them.
    pub(super) fn newest(&self) -> Option<Time> {
        self.legs.values().map(|leg| leg.newest).max()
    }

    /// When the last of them ended, if all have, and the rule that inferred this.
    pub(super) fn end(&self) -> Option<(Time, Option<Name>)> {
        let last = self.last()?;
        last.end.map(|(at, _)| (at, last.inferred()))
    }

    /// Whether one of them says that the call was answered, or else what the last says.
    pub(super) fn answer(&self) -> Answer {
        let answers = || self.legs.values().map(Leg::answer);
        if answers().any(|answer| answer == Answer::Answered) {
            return Answer::Answered;
        }
        self.last().map_or(Answer::Unknown, Leg::answer)
    }

    /// When the call was answered, if that is known.
    pub(super) fn answered(&self) -> Option<Time> {
        self.legs.values().filter_map(Leg::answered).min()
    }

    /// Links to their spans.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        let link = |leg: &Leg| Link { trace_id: leg.place.0, span_id: leg.place.1 };
        self.legs.values().map(link)
    }
}
