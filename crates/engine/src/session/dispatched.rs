//! When what became of a room's dispatches is asked for, logged and released.

use super::dispatches::{Dispatches, LISTED_AFTER};
use super::participant::Participant;
use super::released::Released;
use super::room::Room;
use super::settings::Settings;
use super::verdict::Verdict;
use livekit_otel_model::event::Time;
use livekit_otel_model::event::answer;

impl Room {
    /// Applies a list of its dispatches that was asked for at `at`.
    pub(super) fn list_dispatches(&mut self, dispatches: &[answer::Dispatch], at: Time) {
        self.dispatches.list(dispatches, at);
        // Their jobs may be known from now on.
        self.joining.extend(self.dispatches.agents.iter().cloned());
    }

    /// Asks for its dispatches, and logs and releases those that are due; all of them with `is_last`.
    pub(super) fn settle_dispatches(
        &mut self,
        (now, is_last): (Time, bool),
        settings: &Settings,
        out: &mut Released,
    ) {
        let mut dispatches = std::mem::take(&mut self.dispatches);
        if dispatches.looked.is_none() {
            dispatches.look(now);
        }
        dispatches.settle(self, (now, is_last), settings, out);
        self.dispatches = dispatches;
    }
}

impl Dispatches {
    // When the agents joined whose dispatch no list has named.
    fn strangers(&self, room: &Room) -> Vec<Time> {
        let agents = self.agents.iter().filter_map(|sid| room.participants.get(sid));
        let is_stranger = |who: &&Box<Participant>| {
            who.identity.as_ref().is_some_and(|identity| !self.identities.contains_key(identity))
        };
        agents.filter(is_stranger).map(|who| who.joined_at()).collect()
    }

    // When their dispatches are listed, unless a list that is awaited may have them.
    fn of_strangers(&self, strangers: &[Time]) -> Vec<Time> {
        if self.looked.is_some_and(|at| !self.is_listed(at + LISTED_AFTER)) {
            return Vec::new();
        }
        let lists = strangers.iter().map(|at| self.ours(*at + LISTED_AFTER));
        lists.filter(|at| !self.is_listed(*at)).collect()
    }

    // When an agent first joined, or was first dispatched by name: each room has an automatic dispatch, also where that
    // is how its agents come. `None` if neither happened.
    fn another(&self, room: &Room) -> Option<Time> {
        let agents = self.agents.iter().filter_map(|sid| room.participants.get(sid));
        let named = self.known.values().filter(|dispatch| dispatch.agent_name.is_some());
        agents.map(|who| who.joined_at()).chain(named.map(|dispatch| dispatch.created)).min()
    }

    // Asks, logs and releases what is due; everything with `is_last`.
    fn settle(
        &mut self,
        room: &mut Room,
        (now, is_last): (Time, bool),
        settings: &Settings,
        out: &mut Released,
    ) {
        let strangers = self.strangers(room);
        let wanted = std::mem::take(&mut self.wanted);
        if room.end.is_none() {
            out.asks.extend(wanted);
            out.asks.extend(self.of_strangers(&strangers));
        }
        let another = self.another(room);
        let mut known = std::mem::take(&mut self.known);
        for (id, dispatch) in &mut known {
            if dispatch.is_released {
                continue;
            }
            let verdict = Verdict::of(dispatch, room, settings);
            let is_alone = another.is_none_or(|at| dispatch.deadline(settings) < at);
            let is_shown = verdict.has_agent()
                || dispatch.agent_name.is_some()
                || (settings.agents_expected && is_alone);
            if is_shown && dispatch.is_admitted.is_none() {
                dispatch.is_admitted = Some(room.admits(dispatch.created, settings));
            }
            let from = self.conclusive(dispatch, &strangers, settings);
            let is_over = room.end.is_some() && verdict.is_rejected();
            let is_certain = !verdict.is_failure() || is_over || self.is_listed(from);
            if is_shown && !is_certain && room.end.is_none() {
                out.asks.push(from);
            }
            let is_due = is_last || (is_certain && self.due(dispatch, settings) <= now);
            // An agent whose dispatch is unknown may be that of this one.
            let is_known =
                is_certain || (is_last && !self.may_be_of(dispatch, &strangers, settings));
            if is_shown && is_known && verdict.is_failure() && !dispatch.is_logged {
                dispatch.is_logged = true;
                out.logs.extend(verdict.record(id, dispatch, room, now, settings));
            }
            if is_due {
                dispatch.is_released = true;
                if is_shown && is_known {
                    verdict.release(id, dispatch, room, out);
                }
            }
        }
        self.known = known;
    }
}
