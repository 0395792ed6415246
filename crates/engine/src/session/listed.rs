//! Applies lists of egresses and ingresses.

use std::collections::HashSet;

use super::outputs::Outputs;
use super::questions::Ask;
use super::sessions::Sessions;
use livekit_otel_model::event::answer::WorkList;
use livekit_otel_model::event::{Time, WorkKind};

// What is listed, and the question for it.
const LISTS: [(WorkKind, Ask); 2] =
    [(WorkKind::Egress, Ask::Egresses), (WorkKind::Ingress, Ask::Ingresses)];

impl Sessions {
    /// Asks for the lists that are wanted: of what runs, each time that the rooms are listed.
    pub(super) fn ask_works(&mut self, now: Time) {
        for (kind, ask) in LISTS {
            if self.works.wants_list(kind, now) {
                self.questions.ask(now, ask);
            }
        }
    }

    /// Compares a list of `at` with the operations that are known. None of them becomes a log record, as a list
    /// is no event. Of a list that is not complete nothing is missing.
    pub(super) fn compare_works(
        &mut self,
        kind: WorkKind,
        list: &WorkList,
        (at, now): (Time, Time),
        out: &mut Outputs,
    ) {
        let mut listed = HashSet::with_capacity(list.events.len());
        for event in &list.events {
            let Some(work) = event.work.as_deref().filter(|work| work.kind == kind) else {
                continue;
            };
            listed.insert(&work.id);
            let named = event.room.as_ref().and_then(|room| room.sid.clone());
            let sid = named.or_else(|| self.room_of_work(event, now));
            let room = sid.and_then(|sid| self.rooms.get_mut(&sid)).map(|room| &mut **room);
            self.works.list((event, work), room, (at, now), &self.settings);
        }
        if list.is_complete {
            self.works.miss(kind, &listed, (at, now), &self.settings);
        }
        self.settle(None, now, out);
    }
}
