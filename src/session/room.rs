//! One room: its participants, what was told of it, and when its spans leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::attributes::attribute;
use super::callers::Callers;
use super::fact::{Census, Fact};
use super::participant::Participant;
use super::reconcile::Presence;
use super::stamp::{Stamp, learn};
use super::track::Description;
use super::twins::{Subject, Twins};
use crate::event::{
    Direction, Event, EventKind, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat, Teller,
    Time, TrackSid,
};
use crate::interned::Name;
use crate::semconv::key;
use crate::signal::Attribute;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CatalogEntry {
    pub(super) description: Description,
    pub(super) publisher: Option<ParticipantSid>,
    subscribers: BTreeSet<ParticipantSid>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) sid: RoomSid,
    pub(super) name: Option<RoomName>,
    pub(super) node: Option<NodeId>,
    pub(super) first: Time,
    pub(super) newest: Time,
    pub(super) created: Option<Time>,
    pub(super) end: Option<Stamp>,
    #[serde(with = "crate::interned::option")]
    pub(super) end_inferred: Option<Name>,
    pub(super) end_reason: Option<Attribute>,
    pub(super) callers: Callers,
    pub(super) participants: BTreeMap<ParticipantSid, Participant>,
    pub(super) catalog: HashMap<TrackSid, CatalogEntry>,
    pub(super) twins: Twins,
    // Participants that have ended and whose spans have not left yet, by when that was told.
    pub(super) ending: BTreeSet<(Time, ParticipantSid)>,
    // Those of them that something was told of since they were looked at.
    pub(super) touched: Vec<ParticipantSid>,
    pub(super) released: usize,
    pub(super) ended_at: Option<Time>,
    pub(super) closed_at: Option<Time>,
    pub(super) wake_at: Option<Time>,
    pub(super) presence: Presence,
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
            callers: Callers::default(),
            participants: BTreeMap::new(),
            catalog: HashMap::new(),
            twins: Twins::default(),
            ending: BTreeSet::new(),
            touched: Vec::new(),
            released: 0,
            ended_at: None,
            closed_at: None,
            wake_at: None,
            presence: Presence::default(),
        }
    }

    /// When it began, as far as that is known.
    pub(super) fn start(&self) -> Time {
        self.created.unwrap_or(self.first)
    }

    /// Applies an event of this room; gives when it happened, as well as that is known.
    pub(super) fn apply(&mut self, event: &Event, now: Time, facts: &mut Vec<Fact>) -> Stamp {
        self.describe(event);
        self.presence.tell(now);
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
        self.learn_caller(event);
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
                    Some(Direction::Downstream) => {
                        entry.subscribers.insert(who.sid.clone());
                    }
                    None => {}
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

    // The span that a call was made in is linked from that of what the call is about.
    fn learn_caller(&mut self, event: &Event) {
        let Some(caller) = event.caller else { return };
        let participant = event.participant.as_ref();
        match participant.and_then(|info| self.participants.get_mut(&info.sid)) {
            Some(participant) => participant.learn_caller(event, caller),
            None => self.callers.add(caller),
        }
    }

    fn on_ended(&mut self, stamp: Stamp, event: &Event, now: Time) {
        // What is told is better than what a list made of its absence.
        if self.end_inferred.take_if(|_| self.closed_at.is_none()).is_some() {
            self.end = None;
        }
        learn(&mut self.end, stamp);
        for detail in event.details.iter().filter(|detail| detail.key == key::ROOM_END_REASON) {
            self.end_reason = Some(attribute(detail));
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
        participant.presence.tell(now);
        participant.describe(info, event);
        participant.apply(event, stamp, now, &description, facts);
        self.newest = self.newest.max(participant.newest);
        if let Some(at) = participant.ended_at().filter(|_| !participant.released) {
            self.ending.insert((at, info.sid.clone()));
            self.touched.push(info.sid.clone());
        }
    }

    /// Applies a finished stats window of one of its participants.
    pub(super) fn window(&mut self, stat: &StreamStat, now: Time) {
        if self.name.is_none() {
            self.name.clone_from(&stat.room_name);
        }
        self.presence.tell(now);
        let first = stat.start.or(stat.at).unwrap_or(now);
        let participant = self
            .participants
            .entry(stat.participant.clone())
            .or_insert_with(|| Participant::new(first));
        participant.presence.tell(now);
        participant.window(stat);
        self.newest = self.newest.max(participant.newest);
        let is_ending = participant.ended_at().is_some();
        if is_ending && self.touched.last() != Some(&stat.participant) {
            self.touched.push(stat.participant.clone());
        }
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

/// Whether what a subject is of has not ended: a participant, the publisher of a track, or the room.
pub(super) fn is_open(
    participants: &BTreeMap<ParticipantSid, Participant>,
    catalog: &HashMap<TrackSid, CatalogEntry>,
    subject: &Subject,
) -> bool {
    let Some(sid) = subject.sid() else { return true };
    let publisher = TrackSid::from_shared(sid).and_then(|track| catalog.get(&track));
    let publisher = publisher.and_then(|entry| entry.publisher.clone());
    let participant = publisher.or_else(|| ParticipantSid::from_shared(sid));
    let participant = participant.and_then(|sid| participants.get(&sid));
    participant.is_some_and(|participant| participant.end.is_none())
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
