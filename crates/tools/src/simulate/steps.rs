//! The steps of a planned room, in their order.

use std::time::Duration;

use super::jobs::{Job, Turn};
use super::media::Part;
use super::plan::{Failure, Plan, Publication, Visit};
use livekit_otel_model::Source;

// How often agents upload (livekit-agents, telemetry/traces.py).
const SPANS: Duration = Duration::from_secs(5);
const LOGS: Duration = Duration::from_secs(1);
const METRICS: Duration = Duration::from_secs(30);

/// One step. Visits and tracks are identified by their places in the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    RoomCreated,
    RoomEnded,
    Joined(usize),
    Active(usize),
    Left(usize),
    Track(usize, usize, TrackStep),
    Link(Link, LinkStep),
    /// The stats of a participant from one time to another.
    Stats(usize, Duration, Duration),
    /// What an agent uploads of what happened from one time to another.
    Upload(usize, Source, Duration, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackStep {
    Requested,
    Updated,
    Published,
    Muted,
    Unmuted,
    Unpublished,
    Totals,
}

/// A participant's subscription to another's track.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) subscriber: usize,
    pub(super) publisher: usize,
    pub(super) track: usize,
    pub(super) requested: Duration,
    /// When media starts to flow, or the subscription is refused.
    pub(super) answered: Duration,
    pub(super) ended: Duration,
    pub(super) is_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkStep {
    Requested,
    Subscribed,
    Failed,
    Unsubscribed,
    Totals,
}

impl Link {
    /// Whether media ever flows.
    pub(super) fn flows(&self) -> bool {
        !self.is_refused && self.answered < self.ended
    }
}

impl Publication {
    /// Whether it is published before its publisher leaves.
    fn is_published(&self) -> bool {
        self.published < self.unpublished
    }

    /// For how long media had flowed at `at`. A muted track has none.
    fn sounding(&self, at: Duration) -> Duration {
        let at = at.min(self.unpublished);
        let muted = self.mutes.iter().map(|(muted, unmuted)| {
            let unmuted = (*unmuted).min(at);
            unmuted.saturating_sub(*muted)
        });
        at.saturating_sub(self.published).saturating_sub(muted.sum())
    }

    /// The part from one time to another of the media since `since`.
    pub(super) fn part(&self, since: Duration, from: Duration, to: Duration) -> Part {
        let before = self.sounding(since.max(self.published));
        let carried = |at: Duration| self.sounding(at.max(since)).saturating_sub(before);
        Part { before: carried(from), after: carried(to) }
    }
}

/// All subscriptions of a room, those of each subscriber in the order of their requests.
pub(super) fn links(plan: &Plan) -> Vec<Link> {
    let mut links = Vec::new();
    for (subscriber, visit) in plan.visits.iter().enumerate().filter(|(_, each)| each.connects()) {
        let first = links.len();
        for (publisher, other) in plan.visits.iter().enumerate() {
            for (track, publication) in other.tracks.iter().enumerate() {
                let requested = visit.active.max(publication.published);
                let ended = visit.leave.min(publication.unpublished);
                if publisher != subscriber && requested < ended {
                    let answered = requested + visit.subscribing;
                    let is_refused = false;
                    links.push(Link {
                        subscriber,
                        publisher,
                        track,
                        requested,
                        answered,
                        ended,
                        is_refused,
                    });
                }
            }
        }
        links[first..].sort_by_key(|link| link.requested);
        if let Some(link) = links.get_mut(first) {
            link.is_refused = visit.failure == Some(Failure::Refused);
        }
    }
    links
}

/// All steps of a room, including its last stats. Windows are sent at each `interval`, the last one
/// at `over`.
pub(super) fn steps(plan: &Plan, links: &[Link], interval: Duration, over: Duration) -> Vec<Step> {
    let mut steps = vec![Step { at: plan.begin, what: What::RoomCreated }];
    for visit in 0..plan.visits.len() {
        of_visit(plan, visit, &mut steps);
    }
    for link in links {
        of_link(*link, &mut steps);
    }
    for (nth, visit) in plan.visits.iter().enumerate().filter(|(_, visit)| visit.connects()) {
        windows(nth, (visit.active, visit.leave), interval, over, &mut steps);
        if let Some(job) = &visit.job {
            uploads(nth, visit, job, &mut steps);
        }
    }
    steps.push(Step { at: plan.end, what: What::RoomEnded });
    // A stable sort: steps of the same time keep this order.
    steps.sort_by_key(|step| step.at);
    steps
}

fn of_visit(plan: &Plan, nth: usize, steps: &mut Vec<Step>) {
    let visit = &plan.visits[nth];
    let mut push = |at, what| steps.push(Step { at, what });
    push(visit.join, What::Joined(nth));
    if visit.connects() {
        push(visit.active, What::Active(nth));
    }
    let tracks = || visit.tracks.iter().enumerate();
    for (track, publication) in tracks().filter(|(_, each)| each.requested < visit.leave) {
        let step = |step| What::Track(nth, track, step);
        push(publication.requested, step(TrackStep::Requested));
        if !publication.is_published() {
            continue;
        }
        if !super::media::of(track).is_audio() {
            push(publication.published, step(TrackStep::Updated));
        }
        push(publication.published, step(TrackStep::Published));
        for (muted, unmuted) in &publication.mutes {
            push(*muted, step(TrackStep::Muted));
            if *unmuted < publication.unpublished {
                push(*unmuted, step(TrackStep::Unmuted));
            }
        }
        push(publication.unpublished, step(TrackStep::Unpublished));
    }
    push(visit.leave, What::Left(nth));
    // Like a server, after the participant left.
    for (track, publication) in tracks().filter(|(_, each)| each.is_published()) {
        push(publication.unpublished, What::Track(nth, track, TrackStep::Totals));
    }
}

fn of_link(link: Link, steps: &mut Vec<Step>) {
    let mut push = |at, step| steps.push(Step { at, what: What::Link(link, step) });
    push(link.requested, LinkStep::Requested);
    if link.is_refused {
        if link.answered < link.ended {
            push(link.answered, LinkStep::Failed);
        }
    } else if link.flows() {
        push(link.answered, LinkStep::Subscribed);
        push(link.ended, LinkStep::Unsubscribed);
        push(link.ended, LinkStep::Totals);
    }
}

// At a job's end spans, the last log records and metrics, and the recording, unless it is killed.
fn uploads(nth: usize, visit: &Visit, job: &Job, steps: &mut Vec<Step>) {
    let (active, leave) = (visit.active, visit.leave);
    for (source, interval) in
        [(Source::AgentTraces, SPANS), (Source::AgentLogs, LOGS), (Source::AgentMetrics, METRICS)]
    {
        let mut from = active;
        for end in job.turns.iter().map(Turn::end).filter(|end| *end < leave) {
            let ticks =
                end.saturating_sub(active).as_nanos().saturating_sub(1) / interval.as_nanos() + 1;
            let to = active + interval * u32::try_from(ticks).unwrap_or(u32::MAX);
            // A window that has more than one turn is one upload.
            if to > from && to < leave {
                steps.push(Step { at: to, what: What::Upload(nth, source, from, to) });
                from = to;
            }
        }
        if !job.is_killed {
            steps.push(Step { at: leave, what: What::Upload(nth, source, from, leave) });
        }
    }
    if !job.is_killed {
        let what = What::Upload(nth, Source::AgentRecordings, active, leave);
        steps.push(Step { at: leave, what });
    }
}

// At the node's ticks, from the first after `active` to the first after `leave`.
fn windows(
    visit: usize,
    (active, leave): (Duration, Duration),
    interval: Duration,
    over: Duration,
    steps: &mut Vec<Step>,
) {
    let interval = interval.max(Duration::from_millis(1));
    let ticks = u32::try_from(active.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
    let mut from = active;
    let mut tick = interval * ticks;
    while from < leave {
        tick += interval;
        let to = tick.min(leave);
        steps.push(Step { at: tick.min(over.max(leave)), what: What::Stats(visit, from, to) });
        from = to;
    }
}
