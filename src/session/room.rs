//! One room: its participants, what was told of it, and when its spans leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::Settings;
use super::fact::{Census, Fact};
use super::participant::Participant;
use super::spans;
use super::stamp::{Stamp, learn};
use super::track::Description;
use super::twins::Twins;
use crate::event::{
    Direction, Event, EventKind, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat, Teller,
    Time, TrackSid,
};
use crate::semconv::key;
use crate::signal::{Attribute, Span};

// A late twin or copy still finds its room; what comes later makes a new one.
const KEPT_AFTER_END: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct CatalogEntry {
    pub(super) description: Description,
    pub(super) publisher: Option<ParticipantSid>,
    subscribers: Vec<ParticipantSid>,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) sid: RoomSid,
    pub(super) name: Option<RoomName>,
    pub(super) node: Option<NodeId>,
    pub(super) first: Time,
    pub(super) newest: Time,
    pub(super) created: Option<Time>,
    pub(super) end: Option<Stamp>,
    pub(super) end_inferred: Option<&'static str>,
    pub(super) end_reason: Option<Attribute>,
    pub(super) participants: BTreeMap<ParticipantSid, Participant>,
    pub(super) catalog: HashMap<TrackSid, CatalogEntry>,
    pub(super) twins: Twins,
    // Participants that have ended and whose spans have not left yet.
    ending: BTreeSet<ParticipantSid>,
    released: usize,
    ended_at: Option<Time>,
    closed_at: Option<Time>,
    wake_at: Option<Time>,
}

impl Room {
    pub(super) fn new(sid: RoomSid, first: Time) -> Self {
        Self {
            sid,
            name: None,
            node: None,
            first,
            newest: first,
            created: None,
            end: None,
            end_inferred: None,
            end_reason: None,
            participants: BTreeMap::new(),
            catalog: HashMap::new(),
            twins: Twins::default(),
            ending: BTreeSet::new(),
            released: 0,
            ended_at: None,
            closed_at: None,
            wake_at: None,
        }
    }

    /// When it began, as far as that is known.
    pub(super) fn start(&self) -> Time {
        self.created.unwrap_or(self.first)
    }

    /// Applies an event of this room; gives when it happened, as well as that is known.
    pub(super) fn apply(&mut self, event: &Event, now: Time, facts: &mut Vec<Fact>) -> Stamp {
        self.describe(event);
        let stamp = Stamp::of(event, self.newest_of(event), now);
        self.newest = self.newest.max(stamp.at);
        match event.kind {
            EventKind::RoomEnded => self.on_ended(stamp, event, now),
            // Only the analytics tell of subscriptions: a webhook may be far ahead of them.
            EventKind::TrackUnpublished if event.teller == Teller::Analytics => {
                self.on_track_unpublished(event, stamp.at);
            }
            // The server's telling of a webhook is not the participant's doing.
            EventKind::Webhook => return stamp,
            _ => {}
        }
        self.apply_to_participant(event, stamp, now, facts);
        stamp
    }

    fn describe(&mut self, event: &Event) {
        if let Some(info) = &event.room {
            self.name = info.name.clone().or_else(|| self.name.take());
            self.created = self.created.or(info.created);
            if let Some(created) = info.created {
                self.newest = self.newest.max(created);
            }
        }
        if let (None, Some(node)) = (&self.node, &event.node) {
            self.node = Some(node.clone());
        }
        if let Some(info) = &event.track {
            let entry = self.catalog.entry(info.sid.clone()).or_default();
            entry.description.learn(info);
            if let Some(who) = &event.participant {
                match role(&event.kind) {
                    Some(Direction::Upstream) => entry.publisher = Some(who.sid.clone()),
                    Some(Direction::Downstream) if !entry.subscribers.contains(&who.sid) => {
                        entry.subscribers.push(who.sid.clone());
                    }
                    _ => {}
                }
            }
            entry.publisher = event.publisher.clone().or_else(|| entry.publisher.take());
        }
    }

    // The newest time known of what the event is of.
    fn newest_of(&self, event: &Event) -> Option<Time> {
        let who = event.participant.as_ref();
        let joined = who.and_then(|info| info.joined);
        let known = who.and_then(|info| self.participants.get(&info.sid));
        let newest = known.map(|participant| participant.newest).max(joined);
        if event.kind == EventKind::RoomEnded || newest.is_none() {
            Some(self.newest)
        } else {
            newest
        }
    }

    fn on_ended(&mut self, stamp: Stamp, event: &Event, now: Time) {
        learn(&mut self.end, stamp);
        for detail in event.details.iter().filter(|detail| detail.key == key::ROOM_END_REASON) {
            self.end_reason = Some(super::log::attribute(detail));
        }
        self.ended_at = self.ended_at.or(Some(now));
    }

    fn on_track_unpublished(&mut self, event: &Event, at: Time) {
        let Some(info) = &event.track else { return };
        let Some(entry) = self.catalog.get(&info.sid) else { return };
        for subscriber in &entry.subscribers {
            if let Some(participant) = self.participants.get_mut(subscriber) {
                participant.on_unpublished(&info.sid, at);
            }
        }
    }

    fn apply_to_participant(
        &mut self,
        event: &Event,
        stamp: Stamp,
        now: Time,
        facts: &mut Vec<Fact>,
    ) {
        let Some(info) = &event.participant else { return };
        let description = event.track.as_ref().and_then(|track| self.catalog.get(&track.sid));
        let description = description.map(|entry| entry.description.clone()).unwrap_or_default();
        let participant = self
            .participants
            .entry(info.sid.clone())
            .or_insert_with(|| Participant::new(info.joined.unwrap_or(stamp.at)));
        participant.describe(info, event);
        participant.apply(event, stamp, now, &description, facts);
        self.newest = self.newest.max(participant.newest);
        if participant.end.is_some() && !participant.released {
            self.ending.insert(info.sid.clone());
        }
    }

    /// Applies a finished stats window of one of its participants.
    pub(super) fn window(&mut self, stat: &StreamStat, now: Time) {
        if self.name.is_none() {
            self.name.clone_from(&stat.room_name);
        }
        let first = stat.start.or(stat.at).unwrap_or(now);
        let participant = self
            .participants
            .entry(stat.participant.clone())
            .or_insert_with(|| Participant::new(first));
        participant.window(stat);
        self.newest = self.newest.max(participant.newest);
    }

    /// Lets go of the spans that are due.
    pub(super) fn release(&mut self, now: Time, settings: &Settings, out: &mut Released) {
        if self.ended_at.is_some_and(|at| at + settings.linger <= now) {
            self.infer_participants_end(END_BY_ROOM);
        }
        self.release_participants(out, |participant| {
            participant.is_complete()
                || participant.release_at(settings.linger).is_none_or(|at| at <= now)
        });
        self.release_room(now, settings, out);
    }

    /// Ends what is open by `rule` and lets go of everything.
    pub(super) fn close(&mut self, now: Time, rule: &'static str, out: &mut Released) {
        let participants_rule = if self.end.is_some() { END_BY_ROOM } else { rule };
        if self.end.is_none() {
            self.end = Some(Stamp { at: self.newest, exact: false });
            self.end_inferred = Some(rule);
        }
        self.infer_participants_end(participants_rule);
        self.release_participants(out, |_| true);
        self.release_span(now, out);
    }

    fn infer_participants_end(&mut self, rule: &'static str) {
        if self.released + self.ending.len() == self.participants.len() {
            return;
        }
        let room_end = self.end.map_or(self.newest, |end| end.at);
        for (sid, participant) in &mut self.participants {
            participant.infer_end(room_end.max(participant.newest), rule);
            if !participant.released {
                self.ending.insert(sid.clone());
            }
        }
    }

    fn release_participants(&mut self, out: &mut Released, due: impl Fn(&Participant) -> bool) {
        let is_due = |sid: &&ParticipantSid| self.participants.get(sid).is_none_or(&due);
        let due: Vec<ParticipantSid> = self.ending.iter().filter(is_due).cloned().collect();
        for sid in due {
            spans::of_participant(self, &sid, &mut out.spans);
            self.ending.remove(&sid);
            self.released += 1;
            if let Some(participant) = self.participants.get_mut(&sid) {
                participant.release(&mut out.facts);
            }
            out.facts.push(Fact::ParticipantReleased { room: self.sid.clone(), participant: sid });
        }
    }

    fn release_room(&mut self, now: Time, settings: &Settings, out: &mut Released) {
        let Some(ended_at) = self.ended_at else { return };
        let lingered = ended_at + settings.linger <= now;
        let all_left = self.released == self.participants.len();
        // A webhook's whole second may still be made exact by the analytics.
        let exact = self.end.is_some_and(|end| end.exact);
        if all_left && (lingered || (exact && self.released > 0)) {
            self.release_span(now, out);
        }
    }

    fn release_span(&mut self, now: Time, out: &mut Released) {
        if self.closed_at.is_none() {
            self.closed_at = Some(now);
            let span = spans::of_room(self);
            out.facts.push(Fact::RoomEnded { took: span.end.since(span.start) });
            out.spans.push(span);
        }
    }

    /// When it wants to be looked at again, where that is sooner than what it has said before.
    pub(super) fn next(&mut self, now: Time, settings: &Settings) -> Option<Time> {
        let ending = self.ending.iter().filter_map(|sid| self.participants.get(sid));
        let participants = ending.filter_map(|who| who.release_at(settings.linger)).min();
        let room = match self.closed_at {
            Some(at) => Some(at + KEPT_AFTER_END),
            None => self.ended_at.map(|at| at + settings.linger),
        };
        let next = [participants, room, self.twins.next()].into_iter().flatten().min()?;
        let asked = self.wake_at.filter(|at| *at > now);
        if asked.is_some_and(|asked| asked <= next) {
            return None;
        }
        self.wake_at = Some(next);
        Some(next)
    }

    /// Whether it was closed so long ago that it can be forgotten.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.closed_at.is_some_and(|at| at + KEPT_AFTER_END <= now)
    }

    /// Adds what there is now.
    pub(super) fn count(&self, census: &mut Census) {
        if self.end.is_none() {
            census.rooms += 1;
        }
        for participant in self.participants.values().filter(|who| who.end.is_none()) {
            census.participants += 1;
            for (sid, track) in &participant.tracks {
                if track.published.is_some() && track.unpublished.is_none() {
                    let entry = self.catalog.get(sid);
                    let known = entry.map(|entry| entry.description.clone()).unwrap_or_default();
                    *census.tracks.entry((known.kind, known.source)).or_default() += 1;
                }
            }
        }
    }
}

/// The rule for a participant that outlived its room.
pub(super) const END_BY_ROOM: &str = "room_ended";
/// The rule for a track or an attempt that outlived its participant.
pub(super) const END_BY_PARTICIPANT: &str = "participant_left";

/// What a room has let go of.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) spans: Vec<Span>,
    pub(super) facts: Vec<Fact>,
}

// Whether an event's participant sends the event's track or gets it.
fn role(kind: &EventKind) -> Option<Direction> {
    match kind {
        EventKind::TrackPublishRequested
        | EventKind::TrackPublished
        | EventKind::TrackUnpublished
        | EventKind::TrackPublishStats => Some(Direction::Upstream),
        EventKind::TrackSubscribeRequested
        | EventKind::TrackSubscribed
        | EventKind::TrackSubscribeFailed => Some(Direction::Downstream),
        _ => None,
    }
}
