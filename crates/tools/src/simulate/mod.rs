//! What a LiveKit server would tell of rooms that are not there: a load for those who size a
//! deployment.
//!
//! [`Simulation`] is a function of its settings and its start, without socket or clock: it gives
//! what is told, in its order, with the time since the start at which it is. [`send`] sends it.

mod encode;
mod media;
mod plan;
mod random;
pub mod report;
pub mod send;
mod settings;
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsStat, WebhookEvent};
use livekit_otel_model::event::Time;

use encode::Reporter;
use plan::Plan;
use random::Random;
pub use settings::Settings;
use steps::{Link, Step, What, links, steps};

/// What is told, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Since the start.
    pub at: Duration,
    /// Of which of the rooms that are there at once.
    pub place: usize,
    /// What is told.
    pub message: Message,
}

/// What is told, of one kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Message {
    Webhook(Box<WebhookEvent>),
    Event(Box<AnalyticsEvent>),
    Stats(Vec<AnalyticsStat>),
}

/// How many there were until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Population {
    pub rooms: u64,
    pub participants: u64,
    pub tracks: u64,
}

/// Rooms, from the first one's beginning until the last one's end.
#[derive(Debug)]
pub struct Simulation {
    settings: Settings,
    start: Time,
    node: String,
    // By when something happens next; the number keeps the order of what happens at one time.
    rooms: BTreeMap<(Duration, u64), Room>,
    begun: u64,
    told: VecDeque<Due>,
    population: Population,
    // When something happened last.
    last: Duration,
    // When all is told.
    over: Duration,
}

// A room that has begun, or will.
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
    /// Begins at `start`.
    pub fn new(settings: Settings, start: Time) -> Self {
        let node = Random::of(&[settings.seed, start.nanos()]).id("ND_");
        let mut simulation = Self {
            last: Duration::ZERO,
            over: settings.duration,
            start,
            node,
            rooms: BTreeMap::new(),
            begun: 0,
            told: VecDeque::new(),
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

    /// What is simulated.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The id of the node that has the rooms.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// When the next message is due, since the start; none where there is none any more.
    pub fn next_at(&mut self) -> Option<Duration> {
        self.fill();
        self.told.front().map(|due| due.at)
    }

    /// How many there were in what was told until now.
    pub fn population(&self) -> Population {
        self.population
    }

    /// All leave, and all rooms end: what follows tells that.
    pub fn stop(&mut self) {
        // What happened at the last moment has all happened.
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

    // Until something is told: not all that happens is.
    fn fill(&mut self) {
        while self.told.is_empty() {
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
            self.count(step.what);
            let mut told = Vec::new();
            let mut reporter = Reporter {
                settings: &self.settings,
                start: self.start,
                node: &self.node,
                plan: &room.plan,
                links: &room.links,
                ids: &mut room.ids,
                told: &mut told,
            };
            reporter.tell(step);
            let due = |message| Due { at: step.at, place: room.place, message };
            self.told.extend(told.into_iter().map(due));
            self.wait(room);
        }
    }

    fn is_stopped(&self) -> bool {
        self.over < self.settings.duration
    }

    fn count(&mut self, what: What) {
        match what {
            What::RoomCreated => self.population.rooms += 1,
            What::Joined(_) => self.population.participants += 1,
            What::Track(.., steps::TrackStep::Published) => self.population.tracks += 1,
            _ => {}
        }
    }
}

impl Iterator for Simulation {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        self.fill();
        self.told.pop_front()
    }
}
