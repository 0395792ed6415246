//! How often the pages count what failed in a store with one room.

use super::of_room;
use crate::ui::pages::people::People;
use crate::ui::pages::tests::context;
use crate::ui::pages::{everywhere, rooms};
use crate::ui::store::Store;

/// The numbers that the pages show.
#[derive(Debug, Default)]
pub(in crate::ui) struct Counted {
    // In the list of rooms.
    room: usize,
    // Of its participants, together with what failed of none.
    people: usize,
    // In the room's table of failures.
    listed: usize,
    // Over all rooms, by kind.
    everywhere: usize,
}

impl Counted {
    pub(in crate::ui) fn of(store: &Store) -> Self {
        let held = store.rooms();
        let Some(held) = held.first() else { return Self::default() };
        let people = People::of(held);
        let listed = of_room(&people);
        let has_person = |sid| people.all.iter().any(|person| person.sid == sid);
        let of_none = listed.iter().filter(|it| !it.sid.is_some_and(has_person)).count();
        Self {
            room: number(&rooms(store, &context()), "✗ ", " failed"),
            people: of_none + people.all.iter().map(|person| person.failures).sum::<usize>(),
            listed: listed.len(),
            everywhere: number(&everywhere(store, &context()), "<b>", " failure"),
        }
    }

    pub(in crate::ui) fn all(&self) -> impl Iterator<Item = usize> {
        [self.room, self.people, self.listed, self.everywhere].into_iter()
    }
}

// The first number between two texts; 0 if there is none.
fn number(page: &str, before: &str, after: &str) -> usize {
    let mut numbers = page.split(before).skip(1).filter_map(|rest| rest.split_once(after));
    numbers.find_map(|(number, _)| number.parse().ok()).unwrap_or_default()
}
