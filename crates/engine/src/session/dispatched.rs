//! When what became of a room's dispatches is asked for, logged and released.

use std::sync::Arc;

use super::dispatches::{Dispatch, Dispatches, LISTED_AFTER};
use super::released::Released;
use super::room::Room;
use super::settings::Settings;
use super::verdict::Verdict;
use livekit_otel_model::event::{Identity, Time, answer};

impl Room {
    /// Applies a list of its dispatches that was asked for at `at`; `is_current` unless its name is that of a newer room.
    pub(super) fn list_dispatches(
        &mut self,
        dispatches: &[answer::Dispatch],
        at: Time,
        is_current: bool,
    ) {
        let end = self.end.map(|end| self.at_end(end));
        for identity in self.dispatches.list(dispatches, at, (end, is_current)) {
            self.joining.extend(self.identities.get(&identity).into_iter().flatten().cloned());
        }
    }

    /// Asks for its dispatches, and logs and releases those that are due; all of them with `is_last`.
    pub(super) fn settle_dispatches(
        &mut self,
        times: (Time, bool),
        settings: &Settings,
        out: &mut Released,
    ) {
        if self.dispatches.is_settled && self.dispatches.open.is_empty() {
            return;
        }
        let mut dispatches = std::mem::take(&mut self.dispatches);
        if dispatches.looked.is_none() {
            dispatches.since = Some(times.0);
            dispatches.look(times.0);
        }
        dispatches.settle(self, times, settings, out);
        dispatches.is_settled = true;
        self.dispatches = dispatches;
    }
}

impl Dispatches {
    // When the agents joined whose dispatch no list has named.
    fn strangers(&self, room: &Room) -> Vec<Time> {
        let agents = self.agents.iter().filter_map(|sid| room.participants.get(sid));
        let is_known = |identity: &Identity| self.identities.contains_key(identity);
        let strangers = agents.filter(|who| who.identity.as_ref().is_some_and(|it| !is_known(it)));
        strangers.map(|who| who.joined_at()).collect()
    }

    // When their dispatches are listed, unless a list that is awaited may have them.
    fn of_strangers(&self, strangers: &[Time], now: Time) -> Vec<Time> {
        let is_awaited = |at: Time| at <= now && !self.is_listed(at + LISTED_AFTER);
        if self.looked.is_some_and(is_awaited) {
            return Vec::new();
        }
        let lists = strangers.iter().map(|at| self.ours(*at + LISTED_AFTER));
        lists.filter(|at| !self.is_listed(*at)).collect()
    }

    // Whether an agent had joined, or had been dispatched by name, by then: each room has an automatic dispatch, also
    // where that is how its agents come.
    fn has_other(&self, room: &Room, by: Time) -> bool {
        let mut agents = self.agents.iter().filter_map(|sid| room.participants.get(sid));
        let mut listed = self.listed_agents.values();
        let is_named =
            |dispatch: &Dispatch| dispatch.agent_name.is_some() && dispatch.created <= by;
        agents.any(|who| who.joined_at() <= by)
            || listed.any(|(joined, _)| *joined <= by)
            || self.known.values().any(is_named)
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
            out.asks.extend(self.of_strangers(&strangers, now));
        }
        for id in self.open.clone() {
            let Some(mut dispatch) = self.known.remove(&id) else { continue };
            self.settle_one(
                (&id, &mut dispatch),
                room,
                (now, is_last),
                (&strangers, settings),
                out,
            );
            if dispatch.is_released {
                self.open.remove(&id);
            }
            self.known.insert(id, dispatch);
        }
    }

    fn settle_one(
        &self,
        (id, dispatch): (&Arc<str>, &mut Dispatch),
        room: &mut Room,
        (now, is_last): (Time, bool),
        (strangers, settings): (&[Time], &Settings),
        out: &mut Released,
    ) {
        let deadline = dispatch.deadline(self.triggers, settings);
        let verdict = Verdict::of(dispatch, &self.listed_agents, room, deadline);
        let is_expected = || match deadline {
            _ if dispatch.agent_name.is_some() => true,
            Some(deadline) => settings.agents_expected && !self.has_other(room, deadline),
            None => false,
        };
        let is_shown = verdict.has_agent() || (!self.is_before(dispatch) && is_expected());
        if is_shown && dispatch.is_admitted.is_none() {
            dispatch.is_admitted = Some(room.admits(dispatch.created, settings));
        }
        let from = deadline.map(|at| self.conclusive(dispatch, at, strangers));
        let is_confirmed = |from| !verdict.is_absence() || self.is_seen(from);
        let is_listed = from.is_some_and(|from| self.is_listed(from) && is_confirmed(from));
        let is_over = room.end.is_some() && verdict.is_rejected();
        let is_certain = !verdict.is_failure() || is_over || is_listed;
        if let Some(from) = from.filter(|_| is_shown && !is_certain && room.end.is_none()) {
            out.asks.extend((!self.is_listed(from)).then_some(from));
            out.lists.extend((!is_confirmed(from)).then_some(from));
        }
        // An agent that is not known, or whose dispatch is not, may be that of this one.
        let may_have_come = verdict.is_absence() || self.may_be_of(dispatch, strangers);
        let is_known = is_certain || (is_last && !may_have_come);
        if is_shown && is_known && verdict.is_failure() && !dispatch.is_logged {
            dispatch.is_logged = true;
            out.logs.extend(verdict.record(id, dispatch, room, now, settings));
        }
        let is_due = deadline.is_some_and(|at| self.due(at, settings) <= now);
        if is_last || (is_certain && is_due) {
            dispatch.is_released = true;
            if is_shown && is_known {
                verdict.release(id, dispatch, room, out);
            }
        }
    }
}
