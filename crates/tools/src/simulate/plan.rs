//! The plan of one room, made when it starts: who joins and leaves, and what they publish. Times
//! are since the simulation's start.

use std::time::Duration;

use super::jobs::Job;
use super::media::Quality;
use super::random::Random;
use super::settings::Settings;
use livekit_otel_livekit::messages::DisconnectReason;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// The longest average duration of rooms.
const LONG_ROOM: Duration = Duration::from_mins(20);
// The third track is published only for a while.
const SHARED: usize = 2;

/// LiveKit's reasons for a participant that is disconnected unintentionally.
const LOST: [DisconnectReason; 4] = [
    DisconnectReason::ConnectionTimeout,
    DisconnectReason::MediaFailure,
    DisconnectReason::StateMismatch,
    DisconnectReason::JoinFailure,
];

/// How a participant fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its media never connects.
    Aborted,
    /// It is disconnected.
    Lost(DisconnectReason),
    /// Its first subscription is refused.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) sid: String,
    pub(super) name: String,
    pub(super) begin: Duration,
    pub(super) end: Duration,
    pub(super) visits: Vec<Visit>,
}

/// A participant's visit of a room.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) sid: String,
    pub(super) identity: String,
    pub(super) join: Duration,
    pub(super) active: Duration,
    pub(super) leave: Duration,
    pub(super) failure: Option<Failure>,
    pub(super) quality: Quality,
    /// How long a subscription takes.
    pub(super) subscribing: Duration,
    pub(super) tracks: Vec<Publication>,
    /// The job, if it is an agent.
    pub(super) job: Option<Job>,
}

/// A published track.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) sid: String,
    pub(super) requested: Duration,
    pub(super) published: Duration,
    pub(super) unpublished: Duration,
    pub(super) mutes: Vec<(Duration, Duration)>,
}

impl Visit {
    /// Whether its media connects before it leaves.
    pub(super) fn connects(&self) -> bool {
        self.failure != Some(Failure::Aborted) && self.active < self.leave
    }
}

// The random choices, and the ids. Unlike the choices, the ids also depend on the start time.
struct Draw<'a> {
    settings: &'a Settings,
    random: Random,
    ids: &'a mut Random,
}

impl Plan {
    /// Plans the `nth` room of a place, which starts at `begin`.
    pub(super) fn new(
        settings: &Settings,
        place: usize,
        nth: u64,
        begin: Duration,
        ids: &mut Random,
    ) -> Self {
        let random = Random::of(&[settings.seed, place as u64, nth]);
        let mut draw = Draw { settings, random, ids };
        let end = draw.end(begin);
        let name = format!("sim-{}-{place}", settings.seed);
        let sid = draw.ids.id("RM_");
        let mut plan = Self { sid, name, begin, end, visits: Vec::new() };
        for seat in 0..settings.participants {
            draw.seat(&mut plan, &format!("sim-{place}-{seat}"));
        }
        // After all others, which are the same without agents.
        for _ in 0..settings.agents {
            draw.agent(&mut plan);
        }
        plan
    }

    /// When the next room of the place starts, if there is time for one.
    pub(super) fn next(&self, settings: &Settings) -> Option<Duration> {
        let gap = mean(settings) / 100;
        (self.end + mean(settings) / 4 < settings.duration).then(|| self.end + gap.min(millis(500)))
    }

    /// Lets all participants leave at `at`, and removes later visits.
    pub(super) fn cut(&mut self, at: Duration) {
        self.end = self.end.min(at);
        self.visits.retain(|visit| visit.join < at);
        for visit in &mut self.visits {
            visit.leave = visit.leave.min(at);
            if let Some(job) = &mut visit.job {
                job.cut(at);
            }
            for track in &mut visit.tracks {
                track.unpublished = track.unpublished.min(at);
                track.mutes.retain(|(muted, _)| *muted < at);
            }
        }
    }
}

// The average duration of rooms.
fn mean(settings: &Settings) -> Duration {
    (settings.duration / 3).min(LONG_ROOM)
}

impl Draw<'_> {
    fn end(&mut self, begin: Duration) -> Duration {
        let (all, mean) = (self.settings.duration, mean(self.settings));
        let end = begin + self.random.between(mean / 2, mean * 3 / 2);
        // No next room is started for a short rest of the time.
        let last = all.saturating_sub(self.random.up_to((all / 50).min(millis(2000))));
        if end + mean / 2 > all { last } else { end }
    }

    // Fills a seat with one participant after the other until the room ends.
    fn seat(&mut self, plan: &mut Plan, name: &str) {
        let length = plan.end.saturating_sub(plan.begin);
        let close = plan.end.saturating_sub((length / 100).min(millis(500)));
        let mut who = 0;
        let mut join = plan.begin + self.random.up_to((length / 20).min(millis(2000)));
        loop {
            let visit = self.visit(format!("{name}-{who}"), join, close, length);
            join = visit.leave + self.random.up_to((length / 50).min(millis(2000)));
            plan.visits.push(visit);
            if join + length / 8 > close {
                return;
            }
            // Some return; others are followed by another participant.
            who += u32::from(self.random.chance(0.75));
        }
    }

    fn visit(
        &mut self,
        identity: String,
        join: Duration,
        close: Duration,
        length: Duration,
    ) -> Visit {
        let failure = self.failure();
        let leave = if failure == Some(Failure::Aborted) {
            join + self.random.between(length / 20, length / 10).min(millis(15_000))
        } else {
            join + self.random.between(length * 3 / 10, length)
        };
        // Nobody joins in the last moments.
        let late = close.saturating_sub(self.random.up_to((length / 50).min(millis(1000))));
        let leave = if leave + length / 5 > close { late.max(join) } else { leave };
        let stay = leave.saturating_sub(join);
        let active = join + self.random.between(millis(20), millis(600)).min(stay / 5);
        let mut visit = Visit {
            sid: self.ids.id("PA_"),
            identity,
            join,
            active,
            leave,
            failure,
            quality: Quality::draw(self.settings.loss, &mut self.random),
            subscribing: self.random.between(millis(20), millis(200)).min(stay / 20),
            tracks: Vec::new(),
            job: None,
        };
        if visit.connects() {
            visit.tracks = (0..self.settings.tracks).map(|nth| self.track(nth, &visit)).collect();
        }
        visit
    }

    // An agent joins soon after the room's start, and leaves at its end.
    fn agent(&mut self, plan: &mut Plan) {
        let length = plan.end.saturating_sub(plan.begin);
        let join = plan.begin + self.random.between(millis(200), millis(400)).min(length / 10);
        let active = join + self.random.between(millis(20), millis(100)).min(length / 10);
        let caller = plan.visits.iter().find(|visit| visit.connects());
        let caller = caller.map(|visit| visit.sid.clone()).unwrap_or_default();
        let times = (active, plan.end);
        let failures = self.settings.failures;
        let job = Job::new(&mut self.random, self.ids, caller, times, failures);
        let killed = Failure::Lost(DisconnectReason::ConnectionTimeout);
        let mut visit = Visit {
            sid: self.ids.id("PA_"),
            identity: format!("agent-{}", job.id),
            join,
            active,
            leave: plan.end,
            failure: job.is_killed.then_some(killed),
            quality: Quality::draw(0.0, &mut self.random),
            subscribing: self.random.between(millis(20), millis(50)).min(length / 20),
            tracks: Vec::new(),
            job: Some(job),
        };
        if visit.connects() {
            visit.tracks.push(self.track(0, &visit));
        }
        plan.visits.push(visit);
    }

    fn failure(&mut self) -> Option<Failure> {
        if !self.random.chance(self.settings.failures) {
            return None;
        }
        let lost = Failure::Lost(self.random.of_these(&LOST));
        let has_others = self.settings.subscribe && self.settings.participants > 1;
        let all = [Failure::Aborted, lost, Failure::Refused];
        let known = if has_others && self.settings.tracks > 0 { 3 } else { 2 };
        Some(self.random.of_these(&all[..known]))
    }

    fn track(&mut self, nth: usize, visit: &Visit) -> Publication {
        let stay = visit.leave.saturating_sub(visit.active);
        let asks = if nth == SHARED {
            self.random.between(stay / 10, stay / 3)
        } else {
            // Tracks are published one after the other.
            let pace = millis(100).min(stay / 40);
            pace * u32::try_from(nth).unwrap_or_default() + self.random.up_to(pace)
        };
        let requested = visit.active + asks;
        let published = requested + self.random.between(millis(20), millis(300)).min(stay / 10);
        let shared = self.random.between(stay / 5, stay / 2);
        let unpublished = if nth == SHARED { published + shared } else { visit.leave };
        let unpublished = unpublished.min(visit.leave);
        let is_audio = super::media::of(nth).is_audio();
        let mutes = if is_audio { self.mutes(published, unpublished) } else { Vec::new() };
        Publication { sid: self.ids.id("TR_"), requested, published, unpublished, mutes }
    }

    fn mutes(&mut self, from: Duration, to: Duration) -> Vec<(Duration, Duration)> {
        let most = (to.saturating_sub(from) / 2).min(millis(240_000));
        let mut mutes = Vec::new();
        let mut unmuted = from;
        loop {
            let muted = unmuted + self.random.between(most / 4, most);
            unmuted = muted + self.random.between(most / 8, most / 2);
            if unmuted >= to || most.is_zero() {
                return mutes;
            }
            mutes.push((muted, unmuted));
        }
    }
}
