//! When a room releases its spans: a participant's all at once, the room's own last.

use std::time::Duration;

use super::ended::QUIET;
use super::event_time::EventTime;
use super::legs;
use super::released::Released;
use super::room::Room;
use super::settings::Settings;
use super::spans;
use super::works::END_BY_SILENCE;
use crate::facts::Fact;
use crate::ids;
use livekit_otel_model::event::{ParticipantSid, Time, TrackSid};

// How many participants that left an open room are kept.
const MOST_LEFT: usize = 10_000;
// An empty room is closed by LiveKit after minutes (room.departure_timeout).
const SILENT_WHEN_EMPTY: Duration = Duration::from_hours(1);
// One deployment has one room of a name at a time, but several deployments may report to one server.
pub(super) const SILENT_WHEN_REPLACED: Duration = Duration::from_mins(10);
/// Messages until this long after the start of its successor are no sign that a room is still open.
pub(super) const REPLACED_SETTLES: Duration = Duration::from_mins(1);
const END_BY_ANOTHER: &str = "replaced";
const END_BY_EMPTINESS: &str = "empty";
/// The rule for a participant that outlived its room.
pub(super) const END_BY_ROOM: &str = "room_ended";

impl Room {
    /// Releases the spans that are due. Only participants that were just updated and those whose linger
    /// is over are checked: a room may have thousands of others.
    pub(super) fn release(&mut self, now: Time, settings: &Settings, out: &mut Released) {
        for sid in std::mem::take(&mut self.joining) {
            out.legs.extend(legs::of(self, &sid, false));
        }
        for sid in std::mem::take(&mut self.touched) {
            let unpublished = |track: &TrackSid| self.unpublished(track);
            if self.participants.get(&sid).is_some_and(|who| who.is_complete(unpublished)) {
                self.release_participant(&sid, now, out);
            }
        }
        while let Some((at, sid)) = self.ending.first().cloned()
            && at + settings.linger <= now
        {
            self.ending.pop_first();
            self.release_participant(&sid, now, out);
        }
        if self.ended_at.is_some_and(|at| at + settings.linger <= now) {
            let end = self.end.map_or(self.newest, |end| self.at_end(end));
            self.release_open(END_BY_ROOM, Some(end), now, out);
        }
        if let Some(rule) = self.inferred_end(now, settings) {
            self.close(now, rule, settings, out);
        }
        self.settle_dispatches((now, false), settings, out);
        self.release_room(now, settings, out);
        self.forget(now, settings.keep_ended, out);
    }

    // The rule by which the room's end is inferred now, if any.
    fn inferred_end(&self, now: Time, settings: &Settings) -> Option<&'static str> {
        if self.end.is_some() || self.closed_at.is_some() {
            return None;
        }
        let (at, rule) = self.silence(settings);
        (at <= now).then_some(rule)
    }

    // When it will have been silent for too long, and the rule for that.
    fn silence(&self, settings: &Settings) -> (Time, &'static str) {
        let is_empty = self.released > 0 && self.released == self.participants.len();
        let replaced = self.replaced_at.filter(|at| self.heard <= *at + REPLACED_SETTLES);
        if replaced.is_some() {
            (self.heard + SILENT_WHEN_REPLACED.min(settings.silent_after), END_BY_ANOTHER)
        } else if is_empty {
            (self.heard + SILENT_WHEN_EMPTY.min(settings.silent_after), END_BY_EMPTINESS)
        } else {
            (self.heard + settings.silent_after, END_BY_SILENCE)
        }
    }

    // Forgets participants that left long ago, except the ids of their spans, so that none is made twice.
    fn forget(&mut self, now: Time, keep: Duration, out: &mut Released) {
        loop {
            let is_full = self.leaving.len() > MOST_LEFT;
            let next = self.leaving.pop_front_if(|(at, _, _)| is_full || *at + keep <= now);
            let Some((at, sid, tracks)) = next else { return };
            out.early += u64::from(at + keep > now);
            self.gone.insert(ids::participant(&self.sid, &sid));
            self.changes.push((sid.shared(), false));
            self.dispatches.forget(&sid);
            for track in tracks {
                if self.catalog.get(&track).is_some_and(|it| it.publisher.as_ref() == Some(&sid)) {
                    self.catalog.remove(&track);
                    self.changes.push((track.shared(), false));
                }
            }
            let Some(participant) = self.participants.remove(&sid) else { continue };
            self.released -= 1;
            if let Some(identity) = participant.identity
                && let Some(sessions) = self.identities.get_mut(&identity)
            {
                sessions.retain(|session| *session != sid);
                if sessions.is_empty() {
                    self.identities.remove(&identity);
                }
            }
        }
    }

    /// Ends what is open by `rule` and releases everything.
    pub(super) fn close(
        &mut self,
        now: Time,
        rule: &'static str,
        settings: &Settings,
        out: &mut Released,
    ) {
        let participants_rule = if self.end.is_some() { END_BY_ROOM } else { rule };
        if self.end.is_none() {
            let at = self.presence.newest(self.newest);
            self.end = Some(EventTime { at, exact: false });
            self.end_inferred = Some(rule);
        }
        for (_, sid) in std::mem::take(&mut self.ending) {
            self.release_participant(&sid, now, out);
        }
        self.release_open(participants_rule, None, now, out);
        self.release_span(now, settings, out);
    }

    // Infers the ends of the participants that are still open and began before that time, if any: who
    // began after the room's end may be in a room that goes on.
    fn release_open(
        &mut self,
        rule: &'static str,
        before: Option<Time>,
        now: Time,
        out: &mut Released,
    ) {
        if self.released + self.ending.len() == self.participants.len() {
            return;
        }
        let room_end = self.end.map_or(self.newest, |end| self.at_end(end));
        let mut open = Vec::new();
        #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
        for (sid, participant) in &mut self.participants {
            let began = participant.start();
            if participant.end.is_none() && before.is_none_or(|before| began < before) {
                participant.infer_end(room_end.max(participant.newest), rule);
                open.push(sid.clone());
            }
        }
        open.sort_unstable();
        for sid in open {
            self.release_participant(&sid, now, out);
        }
    }

    fn release_participant(&mut self, sid: &ParticipantSid, now: Time, out: &mut Released) {
        if self.participants.get(sid).is_none_or(|participant| participant.released) {
            return;
        }
        let used = spans::of_participant(self, sid, &mut out.spans);
        out.facts.extend(used.map(|used| Fact::ParticipantUsed(Box::new(used))));
        out.legs.extend(legs::of(self, sid, true));
        self.released += 1;
        let (mut is_agent, mut identity) = (false, None);
        if let Some(participant) = self.participants.get_mut(sid) {
            is_agent = participant.is_agent();
            identity.clone_from(&participant.identity);
            self.egresses.changed(participant.egress());
            if let Some(at) = participant.ended_at() {
                self.ending.remove(&(at, sid.clone()));
            }
            let tracks = participant.tracks.keys().cloned().collect();
            participant.release(&mut out.facts);
            self.leaving.push_back((now, sid.clone(), tracks));
        }
        let (room, participant) = (self.sid.clone(), sid.clone());
        out.facts.push(Fact::ParticipantReleased { room, participant, is_agent, identity });
    }

    fn release_room(&mut self, now: Time, settings: &Settings, out: &mut Released) {
        let Some(ended_at) = self.ended_at else { return };
        let lingered = ended_at + settings.linger <= now;
        let all_left = self.released == self.participants.len();
        // A webhook's whole second may still be made exact by the analytics.
        let exact = self.end.is_some_and(|end| end.exact);
        let any_left = self.released > 0 || !self.gone.is_empty();
        if (all_left && exact && any_left) || (lingered && self.ending.is_empty()) {
            self.release_span(now, settings, out);
        }
    }

    fn release_span(&mut self, now: Time, settings: &Settings, out: &mut Released) {
        if self.closed_at.is_none() {
            self.settle_dispatches((now, true), settings, out);
            self.closed_at = Some(now);
            let span = spans::of_room(self);
            out.facts.push(Fact::RoomEnded { took: span.end.since(span.start) });
            out.facts.push(Fact::RoomReleased { room: self.sid.clone() });
            out.spans.push(span);
        }
    }

    /// Its next deadline, if that is earlier than the one returned before.
    pub(super) fn next_deadline(&mut self, now: Time, settings: &Settings) -> Option<Time> {
        let participants = self.ending.first().map(|(at, _)| *at + settings.linger);
        let room = match self.closed_at {
            Some(at) => {
                let (quiet, over) = self.kept_from(at, settings);
                Some(if quiet > now { quiet.min(over) } else { over })
            }
            // After its linger it waits for the participants that left after it ended.
            None => match self.ended_at {
                Some(at) => Some(at + settings.linger).filter(|at| *at > now),
                None => Some(self.silence(settings).0),
            },
        };
        let dispatches = self.dispatches.next_deadline(now, settings);
        let next = [participants, room, self.twins.next_deadline(), dispatches];
        let next = next.into_iter().flatten().min()?;
        let scheduled = self.wake_at.filter(|at| *at > now);
        if scheduled.is_some_and(|at| at <= next) {
            return None;
        }
        self.wake_at = Some(next);
        Some(next)
    }

    // For a room that was closed at that time: from when it may be packed, and until when it is kept.
    fn kept_from(&self, closed: Time, settings: &Settings) -> (Time, Time) {
        let last = closed.max(self.heard);
        (last + QUIET, last + settings.keep_ended)
    }

    /// Whether it was closed so long ago that it can be forgotten.
    pub(super) fn is_over(&self, now: Time, settings: &Settings) -> bool {
        self.closed_at.is_some_and(|at| self.kept_from(at, settings).1 <= now)
    }

    /// Until when it is kept, if it waits for nothing and no message about it was received for a while.
    pub(super) fn is_quiet(&self, now: Time, settings: &Settings) -> Option<Time> {
        let (quiet, over) = self.kept_from(self.closed_at?, settings);
        let is_empty = self.released == self.participants.len() && self.ending.is_empty();
        (quiet <= now && is_empty && self.twins.next_deadline().is_none()).then_some(over)
    }
}
