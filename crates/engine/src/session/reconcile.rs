//! Lists of open rooms against what was told: what was missed is opened or ended, and said.

use std::collections::HashSet;

use super::fact::{Disagreement, Fact};
use super::ids;
use super::participant::{End, who};
use super::presence::GRACE;
use super::room::Room;
use super::settings::Settings;
use super::spans::room_attributes;
use super::stamp::Stamp;
use super::{Outputs, Sessions};
use livekit_otel_model::event::rooms::{ListedParticipant, ListedRoom, Rooms, Scope};
use livekit_otel_model::event::{self, NodeId, ParticipantSid, RoomSid, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Value};

/// The rule for what is listed no more.
const END_BY_LIST: &str = "reconciled";

// One list, and what comes of it.
struct Round<'a> {
    scope: &'a Scope,
    at: Time,
    now: Time,
    settings: &'a Settings,
    out: &'a mut Outputs,
}

impl Sessions {
    /// Compares a list that came at `now` with what is open. What it has for longer than a grace
    /// and nobody told of is opened; what it should have, and the list before it should have had, is
    /// ended. What has ended stays so.
    pub fn reconcile(&mut self, list: &Rooms, now: Time, out: &mut Outputs) {
        // A clock that is ahead of ours must not cut the grace.
        let at = list.at.map_or(now, |at| at.min(now));
        let settings = self.settings.clone();
        let mut round = Round { scope: &list.scope, at, now, settings: &settings, out };
        let mut listed_sids = HashSet::with_capacity(list.rooms.len());
        for listed in &list.rooms {
            listed_sids.insert(&listed.sid);
            let is_new = !self.rooms.contains_key(&listed.sid) && !self.ended.has(&listed.sid);
            let keep = settings.keep_ended_ids;
            if is_new && (!round.lasts(listed.created) || self.gone.has(&listed.sid, now, keep)) {
                continue;
            }
            let ListedRoom { sid, name, created, .. } = listed;
            let info =
                event::Room { sid: Some(sid.clone()), name: name.clone(), created: *created };
            self.meet(sid, &info, created.unwrap_or(at), now);
            let Some(room) = self.rooms.get_mut(sid) else { continue };
            // Forgotten, one that has ended would be opened again.
            room.heard = now;
            if room.end.is_some() {
                if room.closed_at.is_some() {
                    self.settle(Some(sid.clone()), now, round.out);
                }
                continue;
            }
            if is_new {
                round.open(room, listed);
            }
            round.listed(room, listed);
            self.settle(Some(listed.sid.clone()), now, round.out);
        }
        let is_absent = |room: &&Room| room.end.is_none() && !listed_sids.contains(&room.sid);
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let rooms = self.rooms.values().map(|room| &**room);
        let absent = rooms.filter(is_absent).filter(|room| round.judges(room));
        let mut absent: Vec<RoomSid> = absent.map(|room| room.sid.clone()).collect();
        absent.sort();
        for sid in absent {
            if let Some(room) = self.rooms.get_mut(&sid) {
                round.absent(room);
            }
            self.settle(Some(sid), now, round.out);
        }
    }
}

impl Round<'_> {
    // Whether what began then should have been told by now.
    fn lasts(&self, since: Option<Time>) -> bool {
        since.is_none_or(|since| since + GRACE <= self.at)
    }

    fn node(&self) -> Option<&NodeId> {
        match self.scope {
            Scope::Node(node) => Some(node),
            Scope::Deployment | Scope::Unnamed => None,
        }
    }

    // Whether the list would have the room if it were open.
    fn judges(&self, room: &Room) -> bool {
        let is_here = |node: &Option<(Time, NodeId)>| {
            node.as_ref().is_none_or(|(_, node)| self.on(Some(node)))
        };
        #[expect(clippy::disallowed_methods, reason = "all of them are looked at, or one says no")]
        let mut open = room.participants.values().filter(|who| who.end.is_none());
        self.on(room.node.as_ref().map(|(_, node)| node)) && open.all(|who| is_here(&who.node))
    }

    // Whether the list has all of a node.
    fn on(&self, node: Option<&NodeId>) -> bool {
        match self.scope {
            Scope::Deployment => true,
            Scope::Node(own) => node == Some(own),
            Scope::Unnamed => false,
        }
    }

    fn open(&mut self, room: &mut Room, listed: &ListedRoom) {
        room.name.clone_from(&listed.name);
        room.created = listed.created;
        room.presence.reconciled = true;
        self.say(Disagreement::RoomMissing, room, None);
    }

    fn listed(&mut self, room: &mut Room, listed: &ListedRoom) {
        room.presence.list(self.at);
        room.name = room.name.take().or_else(|| listed.name.clone());
        room.created = room.created.or(listed.created);
        room.node = room.node.take().or_else(|| self.node().map(|node| (self.at, node.clone())));
        let Some(participants) = &listed.participants else { return };
        for listed in participants {
            self.listed_participant(room, listed);
        }
        let listed: HashSet<_> = participants.iter().map(|listed| &listed.sid).collect();
        self.absent_participants(room, |sid| !listed.contains(sid));
    }

    fn listed_participant(&mut self, room: &mut Room, listed: &ListedParticipant) {
        let is_new = !room.participants.contains_key(&listed.sid);
        if is_new && (listed.is_forwarded || !self.lasts(listed.joined)) {
            return;
        }
        let first = listed.joined.unwrap_or(self.at);
        let node = self.node().map(|node| (self.at, node.clone()));
        let Some(participant) = room.participant(&listed.sid, first, self.settings) else { return };
        if participant.end.is_some() {
            return;
        }
        participant.presence.list(self.at);
        let is_named = participant.identity.is_some();
        participant.identity = participant.identity.take().or_else(|| listed.identity.clone());
        participant.kind = participant.kind.take().or_else(|| listed.kind.clone());
        participant.joined = participant.joined.or(listed.joined.map(Stamp::exact));
        participant.node = participant.node.take().or(node);
        participant.presence.reconciled |= is_new;
        if let (false, Some(identity)) = (is_named, &listed.identity) {
            room.identities.entry(identity.clone()).or_default().push(listed.sid.clone());
        }
        if is_new {
            room.newest = room.newest.max(first);
            self.say(Disagreement::ParticipantMissing, room, Some(&listed.sid));
        }
    }

    fn absent(&mut self, room: &mut Room) {
        self.absent_participants(room, |_| true);
        if room.presence.miss(self.at) {
            let at = room.presence.newest(room.newest);
            room.end = Some(Stamp { at, exact: false });
            room.end_inferred = Some(END_BY_LIST);
            room.ended_at = Some(self.now);
            self.say(Disagreement::RoomGone, room, None);
        }
    }

    fn absent_participants(
        &mut self,
        room: &mut Room,
        is_absent: impl Fn(&ParticipantSid) -> bool,
    ) {
        let mut gone = Vec::new();
        #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
        for (sid, participant) in &mut room.participants {
            let node = participant.node.as_ref().or(room.node.as_ref()).map(|(_, node)| node);
            let is_open = participant.end.is_none();
            if is_open && is_absent(sid) && self.on(node) && participant.presence.miss(self.at) {
                let newest = participant.newest.max(participant.start());
                let at = participant.presence.newest(newest);
                let stamp = Stamp { at, exact: false };
                participant.on_end(stamp, End::Inferred(END_BY_LIST), self.now);
                room.newest = room.newest.max(at);
                gone.push(sid.clone());
            }
        }
        // A map's order is another in each process.
        gone.sort_unstable();
        for sid in gone {
            self.say(Disagreement::ParticipantGone, room, Some(&sid));
            room.ending.insert((self.now, sid));
        }
    }

    fn say(&mut self, what: Disagreement, room: &Room, participant: Option<&ParticipantSid>) {
        let mut attributes = room_attributes(room);
        let (mut trace_id, mut span_id) = (ids::trace(&room.sid), ids::room(&room.sid));
        if let Some((sid, known)) = participant.and_then(|sid| room.participants.get_key_value(sid))
        {
            attributes
                .push(Attribute { key: key::PARTICIPANT_SID, value: Value::Text(sid.shared()) });
            who(known, &mut attributes);
            (trace_id, span_id) = room.place(sid);
        } else if let Some((_, node)) = &room.node {
            attributes.push(Attribute { key: key::NODE_ID, value: Value::Text(node.shared()) });
        }
        let source = if *self.scope == Scope::Deployment { "api" } else { "analytics" };
        attributes.push(Attribute::new(key::SOURCE, source));
        self.out.logs.push(LogRecord {
            event_name: what.event_name().into(),
            time: self.at,
            observed: self.now,
            severity: Severity::Warn,
            context: Some((trace_id, span_id)),
            attributes,
        });
        self.out.facts.push(Fact::Disagreement(what));
    }
}

#[cfg(test)]
mod tests;
