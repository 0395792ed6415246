//! What the records of agents ask of the sessions, and add to them.

use std::sync::Arc;

use super::room::Room;
use super::sessions::Sessions;
use crate::ids;
use livekit_otel_model::event::{Caller, ParticipantSid, RoomSid, Time};
use livekit_otel_model::signal::{Link, SpanId, TraceId};

/// Whether somebody is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Nothing is known of it.
    Unknown,
    /// It is there.
    There,
    /// It is gone, which became known at about that time.
    Gone(Time),
}

impl Sessions {
    /// Whether the server has reported the room, also if it is over.
    pub fn knows(&self, room: &RoomSid) -> bool {
        self.rooms.contains_key(room) || self.ended.has(room) || self.gone.knows(room)
    }

    /// The trace of a known room, and its span at that time.
    pub fn room_place(&self, room: &RoomSid, at: Time) -> Option<(TraceId, SpanId)> {
        let span = self.look(room, |room| room.span_at(at));
        let span = span.or_else(|| self.gone.knows(room).then(|| ids::room(room)));
        span.map(|span| (ids::trace(room), span))
    }

    /// Whether one of these participants is still in the room; without any, whether the room is open.
    pub fn stay(&self, room: &RoomSid, among: &[ParticipantSid], now: Time) -> Stay {
        let known = self.look(room, |room| room.stay(among));
        let gone = || if self.gone.knows(room) { Stay::Gone(now) } else { Stay::Unknown };
        known.unwrap_or_else(gone)
    }

    /// The only participant of a known room that is none of these and no agent of another job.
    pub fn only_caller(&self, room: &RoomSid, but: &[ParticipantSid]) -> Option<ParticipantSid> {
        self.look(room, |room| room.only_caller(but))?
    }

    /// How many spans of agents' jobs an open room's trace has, and how many more it may have: at most half
    /// of it is theirs.
    pub fn job_spans(&self, room: &RoomSid) -> Option<(usize, usize)> {
        let room = self.rooms.get(room)?;
        let left = self.settings.max_spans.saturating_sub(room.spans);
        let most = self.settings.max_spans / 2;
        Some((room.of_jobs, left.min(most.saturating_sub(room.of_jobs))))
    }

    /// Counts a span of an agent's job in the trace of an open room.
    pub fn count_job_span(&mut self, room: &RoomSid) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.spans += 1;
            room.of_jobs += 1;
        }
    }

    /// Adds to the span of a job, unless it was released, what its agent says: the job's own span, and what failed.
    pub fn job_uploaded(
        &mut self,
        job: &Arc<str>,
        place: (TraceId, SpanId),
        error: Option<Arc<str>>,
    ) {
        self.works.upload(job, place, error);
    }

    /// Links the spans of the room and of these participants to a span, unless they were released.
    pub fn link_back(&mut self, room: &RoomSid, among: &[ParticipantSid], to: Link) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        let caller = Caller { trace_id: to.trace_id, span_id: to.span_id };
        room.callers.add(caller);
        for sid in among {
            if let Some(participant) = room.participants.get_mut(sid) {
                participant.callers.add(caller);
            }
        }
    }

    // Reads of a room, also of one that has ended.
    fn look<T>(&self, room: &RoomSid, read: impl FnOnce(&Room) -> T) -> Option<T> {
        match self.rooms.get(room) {
            Some(room) => Some(read(room)),
            None => self.ended.look(room).map(|room| read(&room)),
        }
    }
}

impl Room {
    // Its span in the life that it had at that time.
    fn span_at(&self, at: Time) -> SpanId {
        match self.lives.again.filter(|life| at < life.since) {
            Some(life) => life.before,
            None => self.span_id(),
        }
    }

    fn only_caller(&self, but: &[ParticipantSid]) -> Option<ParticipantSid> {
        #[expect(clippy::disallowed_methods, reason = "only one is used, whatever the order is")]
        let participants = self.participants.iter();
        let mut callers = participants.filter(|(sid, participant)| {
            let is_caller = !matches!(participant.kind.as_deref(), Some("AGENT" | "EGRESS"));
            is_caller && !but.contains(sid)
        });
        let (sid, _) = callers.next()?;
        callers.next().is_none().then(|| sid.clone())
    }

    fn stay(&self, among: &[ParticipantSid]) -> Stay {
        let over = self.ended_at.or(self.closed_at);
        let mut gone = None;
        for sid in among {
            match self.participants.get(sid) {
                Some(participant) if participant.end.is_none() => {
                    return over.map_or(Stay::There, Stay::Gone);
                }
                Some(participant) => gone = gone.max(participant.ended_at().or(Some(self.heard))),
                None if self.gone.contains(&ids::participant(&self.sid, sid)) => {
                    gone = gone.max(Some(self.heard));
                }
                None => {}
            }
        }
        match (over, gone) {
            (Some(at), _) | (None, Some(at)) => Stay::Gone(at),
            (None, None) if among.is_empty() => Stay::There,
            (None, None) => Stay::Unknown,
        }
    }
}
