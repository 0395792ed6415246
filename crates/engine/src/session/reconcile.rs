//! Compares lists of open rooms with the reported events: what was missed is opened or ended, and
//! logged.

use std::collections::HashSet;
use std::time::Duration;

use super::event_time::EventTime;
use super::outputs::Outputs;
use super::participant::{End, who};
use super::presence::{END_BY_LIST, GRACE};
use super::questions::Ask;
use super::room::Room;
use super::sessions::Sessions;
use super::settings::Settings;
use super::spans::room_attributes;
use crate::facts::{Disagreement, Fact};
use crate::ids;
use livekit_otel_model::event::rooms::{Coverage, ListedParticipant, ListedRoom, Rooms};
use livekit_otel_model::event::{self, NodeId, ParticipantSid, RoomSid, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Value};

// The server writes a room's number of participants every 5 s (livekit-server pkg/rtc/room.go); its clock and
// ours may differ a little.
const LAG: Duration = Duration::from_secs(10);

// The comparison of one list.
struct Round<'a> {
    coverage: &'a Coverage,
    at: Time,
    now: Time,
    settings: &'a Settings,
    out: &'a mut Outputs,
}

impl Sessions {
    /// Compares a list that was received at `now` with what is open. A listed room or participant that is
    /// older than the grace period, but was never reported, is opened. One that two lists in a row should
    /// contain, but do not, is ended. Nothing that has ended is opened again.
    pub fn reconcile(&mut self, list: &Rooms, now: Time, out: &mut Outputs) {
        // A clock that is ahead of ours must not shorten the grace period.
        let at = list.at.map_or(now, |at| at.min(now));
        let settings = self.settings.clone();
        let mut round = Round { coverage: &list.coverage, at, now, settings: &settings, out };
        let is_of_api = list.coverage == Coverage::Deployment;
        self.questions.rounds += u64::from(is_of_api);
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
            self.register(sid, &info, created.unwrap_or(at), now);
            let Some(room) = self.rooms.get_mut(sid) else { continue };
            // An ended room that is still listed must not be forgotten, or it would be opened again.
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
            if is_of_api {
                self.questions.listed(sid, now);
                if self.questions.is_turn_of(sid) {
                    self.questions.ask_once(now, Ask::Dispatches(sid.clone()));
                }
                if is_new || self.questions.is_turn_of(sid) || may_differ(room, listed, at) {
                    self.questions.ask_once(now, Ask::Participants(sid.clone()));
                }
            }
            self.settle(Some(listed.sid.clone()), now, round.out);
        }
        let is_absent = |room: &&Room| room.end.is_none() && !listed_sids.contains(&room.sid);
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let rooms = self.rooms.values().map(|room| &**room);
        let absent = rooms.filter(is_absent).filter(|room| round.covers(room));
        let mut absent: Vec<RoomSid> = absent.map(|room| room.sid.clone()).collect();
        absent.sort();
        for sid in absent {
            if let Some(room) = self.rooms.get_mut(&sid) {
                round.absent(room);
            }
            self.settle(Some(sid), now, round.out);
        }
        if is_of_api {
            self.ask_works(now);
        }
        self.apply_early(now, out);
    }

    /// Compares the participants of an open room, which the API listed at `at`, as a list of rooms is
    /// compared that has them.
    pub(super) fn compare_participants(
        &mut self,
        sid: &RoomSid,
        participants: &[ListedParticipant],
        (at, now): (Time, Time),
        out: &mut Outputs,
    ) {
        let Some(room) = self.rooms.get_mut(sid) else { return };
        let settings = self.settings.clone();
        let coverage = &Coverage::Deployment;
        let mut round = Round { coverage, at, now, settings: &settings, out };
        room.heard = now;
        round.participants(room, participants);
        self.settle(Some(sid.clone()), now, out);
    }
}

// Whether the number of participants says that they are others than those that are known: it does not count
// agents and egresses, and is as old as `LAG`.
fn may_differ(room: &Room, listed: &ListedRoom, at: Time) -> bool {
    let Some(size) = listed.size else { return false };
    let (mut least, mut most) = (0, 0);
    #[expect(clippy::disallowed_methods, clippy::iter_over_hash_type, reason = "counts")]
    for participant in room.participants.values() {
        let is_recent = |time: Time| time + LAG > at;
        let kind = participant.kind.as_deref();
        if matches!(kind, Some("AGENT" | "EGRESS")) {
            continue;
        }
        match participant.end {
            None => {
                most += 1;
                least += u32::from(kind.is_some() && !is_recent(participant.start()));
            }
            Some((end, _)) => most += u32::from(is_recent(end.at)),
        }
    }
    !(least..=most).contains(&size)
}

impl Round<'_> {
    // Whether something that began then should have been reported by now.
    fn lasts(&self, since: Option<Time>) -> bool {
        since.is_none_or(|since| since + GRACE <= self.at)
    }

    fn node(&self) -> Option<&NodeId> {
        match self.coverage {
            Coverage::Node(node) => Some(node),
            Coverage::Deployment | Coverage::Unnamed => None,
        }
    }

    // Whether the list would contain the room if it were open.
    fn covers(&self, room: &Room) -> bool {
        let is_here = |node: &Option<(Time, NodeId)>| {
            node.as_ref().is_none_or(|(_, node)| self.covers_node(Some(node)))
        };
        #[expect(clippy::disallowed_methods, reason = "the order does not matter to `all`")]
        let mut open = room.participants.values().filter(|who| who.end.is_none());
        self.covers_node(room.node.as_ref().map(|(_, node)| node))
            && open.all(|who| is_here(&who.node))
    }

    // Whether the list contains all rooms of a node.
    fn covers_node(&self, node: Option<&NodeId>) -> bool {
        match self.coverage {
            Coverage::Deployment => true,
            Coverage::Node(own) => node == Some(own),
            Coverage::Unnamed => false,
        }
    }

    fn open(&mut self, room: &mut Room, listed: &ListedRoom) {
        room.name.clone_from(&listed.name);
        room.created = listed.created;
        room.presence.reconciled = true;
        self.log(Disagreement::RoomMissing, room, None);
    }

    fn listed(&mut self, room: &mut Room, listed: &ListedRoom) {
        room.presence.list(self.at);
        room.name = room.name.take().or_else(|| listed.name.clone());
        room.created = room.created.or(listed.created);
        room.node = room.node.take().or_else(|| self.node().map(|node| (self.at, node.clone())));
        if let Some(participants) = &listed.participants {
            self.participants(room, participants);
        }
    }

    // The list has all participants of the room.
    fn participants(&mut self, room: &mut Room, participants: &[ListedParticipant]) {
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
        let (is_named, was_agent) = (participant.identity.is_some(), participant.is_agent());
        participant.identity = participant.identity.take().or_else(|| listed.identity.clone());
        participant.kind = participant.kind.take().or_else(|| listed.kind.clone());
        participant.joined = participant.joined.or(listed.joined.map(EventTime::exact));
        participant.node = participant.node.take().or(node);
        participant.presence.reconciled |= is_new;
        if participant.is_agent() && !was_agent {
            room.dispatches.add_agent(&listed.sid);
            room.joining.push(listed.sid.clone());
        }
        if let (false, Some(identity)) = (is_named, &listed.identity) {
            room.identities.entry(identity.clone()).or_default().push(listed.sid.clone());
        }
        room.poll(listed, self.at);
        if is_new {
            room.newest = room.newest.max(first);
            self.log(Disagreement::ParticipantMissing, room, Some(&listed.sid));
        }
    }

    fn absent(&mut self, room: &mut Room) {
        self.absent_participants(room, |_| true);
        if room.presence.miss(self.at) {
            let at = room.presence.newest(room.newest);
            room.end = Some(EventTime { at, exact: false });
            room.end_inferred = Some(END_BY_LIST);
            room.ended_at = Some(self.now);
            self.log(Disagreement::RoomGone, room, None);
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
            if is_open
                && is_absent(sid)
                && self.covers_node(node)
                && participant.presence.miss(self.at)
            {
                let newest = participant.newest.max(participant.start());
                let at = participant.presence.newest(newest);
                let end = EventTime { at, exact: false };
                participant.on_end(end, End::Inferred(END_BY_LIST), self.now);
                room.newest = room.newest.max(at);
                gone.push(sid.clone());
            }
        }
        // A map's order differs between processes.
        gone.sort_unstable();
        for sid in gone {
            self.log(Disagreement::ParticipantGone, room, Some(&sid));
            room.ending.insert((self.now, sid));
        }
    }

    fn log(&mut self, what: Disagreement, room: &Room, participant: Option<&ParticipantSid>) {
        let mut attributes = room_attributes(room);
        let (mut trace_id, mut span_id) = (ids::trace(&room.sid), room.span_id());
        if let Some((sid, known)) = participant.and_then(|sid| room.participants.get_key_value(sid))
        {
            attributes
                .push(Attribute { key: key::PARTICIPANT_ID, value: Value::Text(sid.shared()) });
            who(known, &mut attributes);
            (trace_id, span_id) = room.place(sid);
        } else if let Some((_, node)) = &room.node {
            attributes.push(Attribute { key: key::NODE_ID, value: Value::Text(node.shared()) });
        }
        let source = if *self.coverage == Coverage::Deployment { "api" } else { "analytics" };
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
