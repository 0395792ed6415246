//! Whether an egress is stuck. Its service reports changes of its status and nothing else, and LiveKit's server
//! keeps the last status for ever (livekit `pkg/service/ioservice.go`): an egress whose service died stays active.
//! The time since its last status shows that, or the end of its room, or the leave of its participant: the recorder
//! joins the room as a hidden participant whose identity is the egress's id (protocol `egress`, `BuildEgressToken`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::session::participant::{End, Participant};
use crate::session::presence::END_BY_LIST;
use crate::session::room::Room;
use crate::session::settings::Settings;
use livekit_otel_model::event::{EgressPhase, Identity, ParticipantSid, Time};
use livekit_otel_model::interned::Name;

/// How long an egress may be active after its room or its participant. A sound one is ending within seconds.
const GRACE: Duration = Duration::from_secs(30);
// An egress has one participant, or another one after its connection to the room was lost.
const MOST: usize = 8;

/// Why an egress is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Reason {
    /// It has not begun to record.
    Starting,
    /// It is ending, and does not end.
    Ending,
    /// It is active, but its room has ended.
    RoomEnded,
    /// It is active, but its participant has left the room.
    ParticipantLeft,
}

impl Reason {
    /// The emitted value.
    pub(super) fn name(self) -> Name {
        match self {
            Self::Starting => "starting",
            Self::Ending => "ending",
            Self::RoomEnded => "room_ended",
            Self::ParticipantLeft => "participant_left",
        }
    }
}

/// What is known of an egress beside its reports, and of the times of its phases.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Watch {
    // The first times at which it was active, and ending.
    active: Option<Time>,
    ending: Option<Time>,
    room_end: Option<Time>,
    stays: BTreeMap<ParticipantSid, Stay>,
    // When something new of it was last received: what follows may be on its way.
    heard: Option<Time>,
    logged: BTreeSet<Reason>,
    /// Why it is stuck now, if it is.
    pub(super) current: Option<Reason>,
}

/// A participant of the egress in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stay {
    start: Time,
    end: Option<Time>,
    // Whether it ended because the room did.
    with_room: bool,
}

/// The times of an egress: its start, its first frame and its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) start: Time,
    pub(super) frame: Option<Time>,
    pub(super) over: Option<Time>,
}

/// A time in which it was stuck: from `since` on, and until it went on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stuck {
    pub(super) since: Time,
    pub(super) reason: Reason,
    until: Option<Time>,
}

impl Watch {
    /// Adds a report of its phase.
    pub(super) fn report(&mut self, phase: Option<EgressPhase>, at: Time) {
        let first = match phase {
            Some(EgressPhase::Active) => &mut self.active,
            Some(EgressPhase::Ending) => &mut self.ending,
            Some(EgressPhase::Starting) | None => return,
        };
        *first = Some(first.map_or(at, |known| known.min(at)));
    }

    /// An event of it was received.
    pub(super) fn hear(&mut self, now: Time) {
        self.heard = Some(now);
    }

    /// Adds what its room says of the egress with this id.
    pub(super) fn observe(&mut self, id: &Arc<str>, room: &Room, now: Time) {
        let end = room.end.map(|end| room.at_end(end));
        let mut is_new = std::mem::replace(&mut self.room_end, end) != end;
        let sids = Identity::new(id).and_then(|identity| room.identities.get(&identity));
        let mut stays = self.stays.clone();
        for sid in sids.into_iter().flatten() {
            let Some(participant) = room.participants.get(sid) else { continue };
            stays.insert(sid.clone(), Stay::of(participant));
        }
        let order = |&(sid, stay): &(&ParticipantSid, &Stay)| (stay.start, sid.clone());
        while stays.len() > MOST
            && let Some(sid) = stays.iter().min_by_key(order).map(|(sid, _)| sid.clone())
        {
            stays.remove(&sid);
        }
        // One that is not among the newest is nothing new.
        is_new |= stays != self.stays;
        self.stays = stays;
        if is_new {
            self.heard = Some(now);
        }
    }

    /// The times in which it was stuck, the first one first.
    pub(super) fn all(&self, times: Times, settings: &Settings) -> Vec<Stuck> {
        let begun = earliest([self.active, times.frame]);
        let ending = earliest([self.ending, times.over]);
        let went_on = earliest([begun, ending]);
        let mut all = Vec::new();
        let mut add = |reason, from: Time, after: Duration, until: Option<Time>| {
            let since = from + after;
            if until.is_none_or(|until| since < until) {
                all.push(Stuck { since, reason, until });
            }
        };
        add(Reason::Starting, times.start, settings.egress_starting, went_on);
        if let Some(ending) = self.ending {
            add(Reason::Ending, ending, settings.egress_ending, times.over);
        }
        if let Some(begun) = begun {
            if let Some(end) = self.room_end {
                add(Reason::RoomEnded, end.max(begun), GRACE, ending);
            }
            for (left, back) in self.leaves() {
                add(Reason::ParticipantLeft, left.max(begun), GRACE, earliest([ending, back]));
            }
        }
        all.sort_by_key(|stuck| (stuck.since, stuck.reason));
        all
    }

    // When its participant left and was not there again soon, and when it was there again.
    fn leaves(&self) -> impl Iterator<Item = (Time, Option<Time>)> {
        let left = self.stays.values().filter(|stay| !stay.with_room).filter_map(|stay| stay.end);
        left.filter_map(|left| {
            let covers =
                |stay: &Stay| stay.start <= left + GRACE && stay.end.is_none_or(|end| end > left);
            if self.stays.values().any(covers) {
                return None;
            }
            let back = self.stays.values().map(|stay| stay.start).filter(|start| *start > left);
            Some((left, back.min()))
        })
    }

    // Since when, and why, it is stuck or will be. What just arrived may be followed by more.
    fn open(&self, all: &[Stuck]) -> impl Iterator<Item = (Time, Stuck)> {
        let settled = self.heard.map(|heard| heard + GRACE);
        let open = all.iter().filter(|stuck| stuck.until.is_none());
        open.map(move |stuck| (settled.map_or(stuck.since, |at| at.max(stuck.since)), *stuck))
    }

    /// Notes whether it is stuck at `now`; returns what was not logged before.
    pub(super) fn check(&mut self, all: &[Stuck], now: Time) -> Vec<Stuck> {
        let mut stuck: Vec<Stuck> =
            self.open(all).filter(|(from, _)| *from <= now).map(|(_, stuck)| stuck).collect();
        self.current = stuck.first().map(|stuck| stuck.reason);
        stuck.retain(|stuck| self.logged.insert(stuck.reason));
        stuck
    }

    /// Notes that it is not stuck any more, unless it is.
    pub(super) fn recheck(&mut self, all: &[Stuck]) {
        let is_open = |reason: Reason| self.open(all).any(|(_, stuck)| stuck.reason == reason);
        self.current = self.current.filter(|reason| is_open(*reason));
    }

    /// When it is to be checked next.
    pub(super) fn next_deadline(&self, all: &[Stuck]) -> Option<Time> {
        let is_new = |stuck: &Stuck| !self.logged.contains(&stuck.reason) || self.current.is_none();
        self.open(all).filter(|(_, stuck)| is_new(stuck)).map(|(from, _)| from).min()
    }
}

impl Stay {
    fn of(participant: &Participant) -> Self {
        let reason = participant.disconnect_reason.as_deref();
        let with_room = match participant.end {
            Some((_, End::Inferred(rule))) => rule != END_BY_LIST,
            _ => matches!(reason, Some("ROOM_DELETED" | "ROOM_CLOSED")),
        };
        let end = participant.end.map(|(at, _)| participant.at_end(at));
        Self { start: participant.start(), end, with_room }
    }
}

fn earliest<const N: usize>(times: [Option<Time>; N]) -> Option<Time> {
    times.into_iter().flatten().min()
}
