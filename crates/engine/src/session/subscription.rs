//! A participant's attempts to subscribe to one track. Their steps may be reported in any order.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

// From this number of steps on, a request that follows another is counted with it.
const KEPT: usize = 64;
// After 15 s the server reports that a track was not bound (livekit pkg/rtc, `subscriptionTimeout`).
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// How an attempt to subscribe was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Answer {
    Subscribed,
    Failed(Option<Arc<str>>),
    /// The subscriber unsubscribed before an answer.
    Unsubscribed,
    /// The track was unpublished before an answer.
    Unpublished,
}

/// One attempt to subscribe to a track, requested once or more.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) requested: Time,
    pub(super) times: u64,
    pub(super) answer: Option<(Time, Answer)>,
    /// When the subscription ended, if that is known.
    pub(super) ended: Option<Time>,
}

impl Attempt {
    /// When the subscription began, if it did.
    pub(super) fn subscribed(&self) -> Option<Time> {
        let (at, answer) = self.answer.as_ref()?;
        (*answer == Answer::Subscribed).then_some(*at)
    }

    /// How long it took and whether it failed, if it was answered.
    pub(super) fn answered(&self) -> Option<(Duration, bool)> {
        let (at, answer) = self.answer.as_ref()?;
        let failed = match answer {
            Answer::Subscribed => false,
            Answer::Failed(_) => true,
            Answer::Unsubscribed | Answer::Unpublished => return None,
        };
        Some((at.since(self.requested), failed))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Step {
    Requested,
    Answered(Answer),
}

/// The reported steps of a participant's subscription to one track.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Subscription {
    // In the order of their times, each with how often.
    steps: Vec<(Time, Step, u64)>,
    rtp_reported: Option<Time>,
}

impl Subscription {
    /// Whether a request at that time begins another attempt.
    pub(super) fn is_further(&self, at: Time) -> bool {
        let place = self.steps.partition_point(|(time, _, _)| *time <= at);
        !matches!(
            place.checked_sub(1).and_then(|before| self.steps.get(before)),
            Some((_, Step::Requested, _))
        )
    }

    /// Records a request; returns its attempt if that is answered already.
    pub(super) fn request(&mut self, at: Time) -> Option<Attempt> {
        self.record(at, Step::Requested)
    }

    /// When it was first requested.
    pub(super) fn first_request(&self) -> Option<Time> {
        let is_request = |(_, step, _): &&(Time, Step, u64)| *step == Step::Requested;
        self.steps.iter().find(is_request).map(|(at, _, _)| *at)
    }

    /// Records an answer; returns its attempt if one was open.
    pub(super) fn answer(&mut self, at: Time, answer: Answer) -> Option<Attempt> {
        self.record(at, Step::Answered(answer))
    }

    fn record(&mut self, at: Time, step: Step) -> Option<Attempt> {
        let place = self.steps.partition_point(|(time, known, _)| (time, known) <= (&at, &step));
        let is_full = self.steps.len() >= KEPT;
        let before = place.checked_sub(1).and_then(|before| self.steps.get_mut(before));
        match before {
            Some((_, Step::Requested, times)) if is_full && step == Step::Requested => *times += 1,
            _ => self.steps.insert(place, (at, step, 1)),
        }
        let attempts = self.attempts(None, None);
        attempts.into_iter().find(|attempt| {
            let answered = attempt.answer.as_ref().is_some_and(|(answer, _)| *answer == at);
            answered || (attempt.requested == at && attempt.answer.is_some())
        })
    }

    /// Records that the totals of its RTP stream were reported, at its end.
    pub(super) fn rtp(&mut self, at: Time) {
        self.rtp_reported = self.rtp_reported.max(Some(at));
    }

    /// Its attempts, in their order. `unpublished` is when the track ended, `left` when the subscriber
    /// did: a request after an answered attempt and just before either is a repetition by the server
    /// during teardown, and counts for the attempt before it.
    pub(super) fn attempts(&self, unpublished: Option<Time>, left: Option<Time>) -> Vec<Attempt> {
        let mut attempts = self.answered();
        if let Some(end) = unpublished {
            end_by_unpublish(&mut attempts, end, left);
        }
        // Of one that waited longer the server would have reported the failure.
        let is_cut_off = |last: &Attempt, left: Time| {
            last.answer.is_none() && left.since(last.requested) < ANSWERED_WITHIN
        };
        if let Some(left) = left
            && attempts.len() > 1
            && let Some(cut_off) = attempts.pop_if(|last| is_cut_off(last, left))
            && let Some(before) = attempts.last_mut()
        {
            before.times += cut_off.times;
        }
        attempts
    }

    fn answered(&self) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        for (at, step, times) in &self.steps {
            let open = attempts.last_mut().filter(|attempt| attempt.answer.is_none());
            match (step, open) {
                (Step::Requested, Some(open)) => open.times += times,
                (Step::Requested, None) => {
                    let (requested, times) = (*at, *times);
                    attempts.push(Attempt { requested, times, answer: None, ended: None });
                }
                (Step::Answered(answer), Some(open)) => {
                    open.answer = Some((*at, answer.clone()));
                }
                (Step::Answered(Answer::Unsubscribed), None) => {
                    if let Some(last) = attempts.last_mut().filter(|last| last.ended.is_none()) {
                        last.ended = last.subscribed().map(|_| *at);
                    }
                }
                (Step::Answered(_), None) => {}
            }
        }
        attempts
    }

    /// Whether everything that is reported at a subscription's end was received.
    pub(super) fn is_complete(&self, unpublished: Option<Time>, left: Time) -> bool {
        let mut subscribed = None;
        let mut is_over = true;
        for (at, step, _) in &self.steps {
            match step {
                Step::Answered(Answer::Subscribed) => {
                    subscribed = Some(*at);
                    is_over = false;
                }
                Step::Answered(Answer::Unsubscribed | Answer::Unpublished) => is_over = true,
                Step::Requested | Step::Answered(Answer::Failed(_)) => {}
            }
        }
        let is_over = is_over || subscribed <= unpublished;
        is_over
            && self.attempts(unpublished, Some(left)).iter().all(|attempt| attempt.answer.is_some())
            && subscribed.is_none_or(|at| self.rtp_reported.is_some_and(|reported| reported >= at))
    }
}

fn end_by_unpublish(attempts: &mut Vec<Attempt>, end: Time, left: Option<Time>) {
    if let Some(last) = attempts.last_mut().filter(|last| last.ended.is_none()) {
        last.ended = last.subscribed().filter(|at| *at <= end).map(|_| end);
    }
    // When a room ends, some leave before the tracks of others are unpublished.
    if left.is_some_and(|left| end.since(left) >= ANSWERED_WITHIN) {
        return;
    }
    if let Some(open) = attempts.pop_if(|last| last.answer.is_none() && last.requested <= end) {
        match attempts.last_mut() {
            Some(before) => before.times += open.times,
            None => attempts.push(Attempt { answer: Some((end, Answer::Unpublished)), ..open }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Report = fn(&mut Subscription, fn(i64) -> Time);

    #[test]
    fn a_track_that_is_unpublished_long_after_the_subscriber_left_answers_no_request() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs);
        let mut subscription = Subscription::default();
        drop(subscription.request(at(1).unwrap()));
        let answer = |unpublished, left| {
            let attempts = subscription.attempts(unpublished, left);
            attempts[0].answer.clone().map(|(_, answer)| answer)
        };
        assert_eq!(answer(at(5), at(9)), Some(Answer::Unpublished));
        assert_eq!(answer(at(10), at(9)), Some(Answer::Unpublished));
        assert_eq!(answer(at(300), at(9)), None);
    }

    #[test]
    fn the_order_of_reports_does_not_matter() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let reports: [Report; 6] = [
            |to, at| drop(to.request(at(1))),
            |to, at| drop(to.request(at(2))),
            |to, at| drop(to.answer(at(3), Answer::Failed(None))),
            |to, at| drop(to.request(at(4))),
            |to, at| drop(to.answer(at(6), Answer::Subscribed)),
            |to, at| drop(to.answer(at(9), Answer::Unsubscribed)),
        ];
        for turn in 0..reports.len() {
            let mut subscription = Subscription::default();
            for nth in 0..reports.len() {
                reports[(nth + turn) % reports.len()](&mut subscription, at);
            }
            let attempts = subscription.attempts(None, None);
            let tooks: Vec<_> = attempts.iter().map(|attempt| attempt.answered()).collect();
            assert_eq!(
                tooks,
                [Some((Duration::from_secs(2), true)), Some((Duration::from_secs(2), false)),],
                "{turn}"
            );
            assert_eq!(attempts.iter().map(|attempt| attempt.times).collect::<Vec<_>>(), [2, 1]);
        }
    }
}
