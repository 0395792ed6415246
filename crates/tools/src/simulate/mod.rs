//! The messages of a LiveKit server with simulated rooms, and the uploads of agents in them: a load
//! for sizing a deployment.
//!
//! [`Simulation`] is a function of its settings and its start, without a socket or a clock. It
//! yields messages in their order, each with its time since the start. [`send`] sends them.

mod encode;
mod jobs;
mod measures;
mod media;
mod message;
mod plan;
mod posting;
mod random;
mod records;
pub mod report;
pub mod send;
mod settings;
mod spans;
mod steps;
mod uploads;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use livekit_otel_model::event::Time;

use encode::Reporter;
pub use message::{Due, Message};
use plan::Plan;
use random::Random;
pub use settings::Settings;
use steps::{Link, Step, What, links, steps};
pub use uploads::AgentUpload;

/// How many there have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Population {
    pub rooms: u64,
    pub participants: u64,
    pub tracks: u64,
    /// The jobs of agents, whose participants are counted too.
    pub agents: u64,
}

/// Simulated rooms, from the start of the first to the end of the last.
#[derive(Debug)]
pub struct Simulation {
    settings: Settings,
    start: Time,
    node: String,
    // By the time of the next step. The number orders steps of the same time.
    rooms: BTreeMap<(Duration, u64), Room>,
    begun: u64,
    due: VecDeque<Due>,
    population: Population,
    // The time of the last step.
    last: Duration,
    // When the last message is due.
    over: Duration,
}

// A room that has started or will start.
#[derive(Debug)]
struct Room {
    place: usize,
    nth: u64,
    plan: Plan,
    links: Vec<Link>,
    steps: Vec<Step>,
    done: usize,
    ids: Random,
}

impl Simulation {
    /// A simulation that starts at `start`.
    pub fn new(settings: Settings, start: Time) -> Self {
        let node = Random::of(&[settings.seed, start.nanos()]).id("ND_");
        let mut simulation = Self {
            last: Duration::ZERO,
            over: settings.duration,
            start,
            node,
            rooms: BTreeMap::new(),
            begun: 0,
            due: VecDeque::new(),
            population: Population::default(),
            settings,
        };
        let spread = (simulation.settings.duration / 20).min(Duration::from_secs(5));
        for place in 0..simulation.settings.rooms {
            let begin = Random::of(&[simulation.settings.seed, place as u64]).up_to(spread);
            simulation.begin(place, 0, begin);
        }
        simulation
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The id of the node that hosts the rooms.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// When the next message is due, since the start; `None` after the last one.
    pub fn next_at(&mut self) -> Option<Duration> {
        self.fill();
        self.due.front().map(|due| due.at)
    }

    /// The rooms, participants and tracks in the messages so far.
    pub fn population(&self) -> Population {
        self.population
    }

    /// Lets all participants leave and all rooms end. The remaining messages report that.
    pub fn stop(&mut self) {
        // After all steps of the last moment.
        let at = self.last + Duration::from_nanos(1);
        self.over = self.over.min(at);
        for (_, mut room) in std::mem::take(&mut self.rooms) {
            if room.done == 0 {
                continue;
            }
            room.plan.cut(at);
            (room.links, room.steps) = self.course(&room.plan);
            self.wait(room);
        }
    }

    fn course(&self, plan: &Plan) -> (Vec<Link>, Vec<Step>) {
        let links = if self.settings.subscribe { links(plan) } else { Vec::new() };
        let steps = steps(plan, &links, self.settings.interval, self.over);
        (links, steps)
    }

    fn begin(&mut self, place: usize, nth: u64, begin: Duration) {
        let seed = self.settings.seed;
        let mut ids = Random::of(&[seed, self.start.nanos(), place as u64, nth]);
        let plan = Plan::new(&self.settings, place, nth, begin, &mut ids);
        let (links, steps) = self.course(&plan);
        self.wait(Room { place, nth, plan, links, steps, done: 0, ids });
    }

    fn wait(&mut self, room: Room) {
        if let Some(step) = room.steps.get(room.done) {
            self.begun += 1;
            self.rooms.insert((step.at, self.begun), room);
        }
    }

    // Takes steps until there is a message; some steps have none.
    fn fill(&mut self) {
        while self.due.is_empty() {
            let Some((_, mut room)) = self.rooms.pop_first() else { return };
            let step = room.steps[room.done];
            if room.done == 0 {
                let next = room.plan.next(&self.settings).filter(|_| !self.is_stopped());
                if let Some(next) = next {
                    self.begin(room.place, room.nth + 1, next);
                }
            }
            room.done += 1;
            self.last = step.at;
            self.count(step.what, &room.plan);
            let mut messages = Vec::new();
            let mut reporter = Reporter {
                settings: &self.settings,
                start: self.start,
                node: &self.node,
                plan: &room.plan,
                links: &room.links,
                ids: &mut room.ids,
                messages: &mut messages,
            };
            reporter.report(step);
            let due = |message| Due { at: step.at, place: room.place, message };
            self.due.extend(messages.into_iter().map(due));
            self.wait(room);
        }
    }

    fn is_stopped(&self) -> bool {
        self.over < self.settings.duration
    }

    fn count(&mut self, what: What, plan: &Plan) {
        match what {
            What::RoomCreated => self.population.rooms += 1,
            What::Joined(visit) => {
                self.population.participants += 1;
                self.population.agents += u64::from(plan.visits[visit].job.is_some());
            }
            What::Track(.., steps::TrackStep::Published) => self.population.tracks += 1,
            _ => {}
        }
    }
}

impl Iterator for Simulation {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        self.fill();
        self.due.pop_front()
    }
}
