//! A room's bars, grouped by participant.

use std::collections::{BTreeMap, BTreeSet};

use super::outside::{Outside, name};
use super::plot::Metric;
use super::works;
use crate::ui::store::{Bar, Failure, Room, Turn, Windows};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_tools::labels::{self, rank};

/// A participant and its bars.
pub(super) struct Person<'a> {
    pub(super) sid: &'a str,
    /// Its own bar; `None` if only others are known.
    pub(super) own: Option<&'a Bar>,
    /// Ordered by [`rank`] and time.
    pub(super) children: Vec<&'a Bar>,
    /// How much failed of it.
    pub(super) failures: usize,
}

/// A room and its participants.
pub(super) struct People<'a> {
    pub(super) room: &'a Room,
    /// In the order in which they joined.
    pub(super) all: Vec<Person<'a>>,
    /// Egresses, ingresses, SIP calls with their transfers, and agents' jobs and dispatches.
    pub(super) works: Vec<&'a Bar>,
    /// Other bars of the room that belong to no participant.
    pub(super) others: Vec<&'a Bar>,
    /// The bars that failed, each failure once.
    pub(super) failed_bars: Vec<&'a Bar>,
    /// The turns with agents, oldest first.
    pub(super) turns: Vec<Turn<'a>>,
    /// What failed of agents, oldest first.
    pub(super) failed: Vec<Failure<'a>>,
    /// The participants with turns: people and agents.
    pub(super) speakers: BTreeSet<&'a str>,
    tracks: BTreeMap<&'a str, &'a Bar>,
}

const OF_A_PARTICIPANT: [&str; 5] = [
    span::PARTICIPANT_CONNECT,
    span::TRACK_PUBLISH,
    span::TRACK,
    span::TRACK_SUBSCRIBE,
    span::SUBSCRIPTION,
];

/// Whether a bar is a participant's own span or a child of it.
pub(super) fn is_of_a_participant(bar: &Bar) -> bool {
    bar.name == span::PARTICIPANT || OF_A_PARTICIPANT.contains(&bar.name)
}

impl<'a> People<'a> {
    pub(super) fn of(room: &'a Room) -> Self {
        let mut people: BTreeMap<&str, Person<'a>> = BTreeMap::new();
        let (mut works, mut others, mut tracks) = (Vec::new(), Vec::new(), BTreeMap::new());
        let person = |sid| Person { sid, own: None, children: Vec::new(), failures: 0 };
        for bar in room.bars() {
            match bar.participant() {
                Some(sid) if bar.name == span::PARTICIPANT => {
                    people.entry(sid).or_insert_with(|| person(sid)).own = Some(bar);
                }
                Some(sid) if OF_A_PARTICIPANT.contains(&bar.name) => {
                    people.entry(sid).or_insert_with(|| person(sid)).children.push(bar);
                }
                _ if bar.is_work() => works.push(bar),
                _ if bar.name != span::ROOM => others.push(bar),
                _ => {}
            }
            if let Some(sid) = bar.text(key::TRACK_ID).filter(|_| bar.name == span::TRACK) {
                tracks.insert(sid, bar);
            }
        }
        for sid in room.measured() {
            people.entry(sid).or_insert_with(|| person(sid));
        }
        let (turns, failed) = (room.agents.turns(), room.agents.failed());
        let failed_bars = room.failed();
        let of_agents = failed.iter().filter_map(|failure| room.agent(failure.job));
        for sid in of_agents.chain(failed_bars.iter().filter_map(|bar| bar.participant())) {
            if let Some(person) = people.get_mut(sid) {
                person.failures += 1;
            }
        }
        let mut all: Vec<_> = people.into_values().collect();
        for person in &mut all {
            person.children.sort_by_key(|bar| (rank(bar.name), bar.start));
        }
        all.sort_by_key(|person| (person.start().is_none(), person.start(), person.sid));
        others.sort_by_key(|bar| bar.start);
        let works = in_order(works);
        let speakers = speakers(room, &turns);
        Self { room, all, works, others, failed_bars, turns, failed, speakers, tracks }
    }

    /// Whether an agent took part that reported no span.
    pub(super) fn has_silent_agent(&self) -> bool {
        let is_agent = |bar: &Bar| {
            let kind = bar.text(key::PARTICIPANT_KIND);
            bar.name == span::PARTICIPANT
                && kind.is_some_and(|kind| kind.eq_ignore_ascii_case("agent"))
        };
        !self.room.agents.has_spans() && self.room.bars().any(is_agent)
    }

    /// The label of a bar.
    pub(super) fn label<'s>(&'s self, bar: &'s Bar) -> Outside<'s> {
        match bar.name {
            span::PARTICIPANT => bar.participant().map_or_else(|| name(""), |sid| self.who(sid)),
            _ if let Some(label) = works::label(bar) => name(label),
            span => {
                let track = bar.text(key::TRACK_ID).and_then(|sid| self.tracks.get(sid));
                let publisher = bar.text(key::PUBLISHER_ID).map(|sid| self.room.who(sid));
                let track = track.map(|track| &track.attributes[..]);
                name(labels::label(span, &bar.attributes[..], track, publisher))
            }
        }
    }

    pub(super) fn who<'s>(&'s self, sid: &'s str) -> Outside<'s> {
        name(self.room.who(sid))
    }
}

impl Person<'_> {
    fn start(&self) -> Option<Time> {
        let first = || self.children.iter().map(|bar| bar.start).min();
        self.own.map(|own| own.start).or_else(first)
    }

    pub(super) fn tracks(&self) -> usize {
        self.children.iter().filter(|bar| bar.name == span::TRACK).count()
    }
}

// By their start; a transfer after its call.
fn in_order(mut works: Vec<&Bar>) -> Vec<&Bar> {
    let calls: BTreeMap<&str, Time> = works
        .iter()
        .filter(|bar| bar.name == span::SIP_CALL)
        .filter_map(|bar| Some((bar.text(key::SIP_CALL_ID)?, bar.start)))
        .collect();
    works.sort_by_key(|bar| {
        let call = bar.text(key::SIP_CALL_ID).filter(|_| bar.name == span::SIP_TRANSFER);
        let call = call.and_then(|call| Some((*calls.get(call)?, call)));
        let own = (bar.start, bar.text(key::SIP_CALL_ID).unwrap_or_default());
        (call.unwrap_or(own), bar.name == span::SIP_TRANSFER, bar.start)
    });
    works
}

fn speakers<'a>(room: &'a Room, turns: &[Turn<'a>]) -> BTreeSet<&'a str> {
    let users = turns.iter().filter_map(|turn| turn.user?.participant.as_ref());
    let agents = turns.iter().filter_map(|turn| room.agents.agent(turn.job));
    users.map(|sid| sid.as_str()).chain(agents).collect()
}

/// The highest loss and the lowest score of any window.
pub(super) fn worst<'a>(windows: impl Iterator<Item = &'a Windows>) -> [Option<f64>; 2] {
    let metrics = [Metric::Loss, Metric::Score];
    windows.flat_map(|windows| &windows.all).fold([None; 2], |worst, window| {
        let of = |n: usize| metrics[n].worst(worst[n].into_iter().chain(metrics[n].of(window)));
        [of(0), of(1)]
    })
}
