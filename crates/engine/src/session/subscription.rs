//! A participant's attempts to subscribe to one track, told in any order.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

// From so many on a request that follows another is counted with that.
const KEPT: usize = 64;

/// How an attempt to subscribe was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Answer {
    Subscribed,
    Failed(Option<Arc<str>>),
    /// The subscriber gave up on it.
    Unsubscribed,
    /// The track went away before an answer.
    Unpublished,
}

/// One attempt to subscribe to a track, asked for once or more.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) requested: Time,
    pub(super) times: u64,
    pub(super) answer: Option<(Time, Answer)>,
    /// When it ended, where it was subscribed and that is known.
    pub(super) ended: Option<Time>,
}

impl Attempt {
    /// When the subscription began, where it did.
    pub(super) fn subscribed(&self) -> Option<Time> {
        let (at, answer) = self.answer.as_ref()?;
        (*answer == Answer::Subscribed).then_some(*at)
    }

    /// How long it took, and whether it failed, where it was answered.
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

/// What was told of a participant's subscription to one track.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Subscription {
    // In the order of its times, and how often.
    told: Vec<(Time, Step, u64)>,
    rtp_told: Option<Time>,
}

impl Subscription {
    /// Whether a request at that time begins a further attempt.
    pub(super) fn is_further(&self, at: Time) -> bool {
        let place = self.told.partition_point(|(told, _, _)| *told <= at);
        !matches!(
            place.checked_sub(1).and_then(|before| self.told.get(before)),
            Some((_, Step::Requested, _))
        )
    }

    /// It was asked for; gives the attempt, where that is answered already.
    pub(super) fn request(&mut self, at: Time) -> Option<Attempt> {
        self.tell(at, Step::Requested)
    }

    /// It was answered; gives the attempt, where one was open.
    pub(super) fn answer(&mut self, at: Time, answer: Answer) -> Option<Attempt> {
        self.tell(at, Step::Answered(answer))
    }

    fn tell(&mut self, at: Time, told: Step) -> Option<Attempt> {
        let place = self.told.partition_point(|(time, known, _)| (time, known) <= (&at, &told));
        let is_full = self.told.len() >= KEPT;
        let before = place.checked_sub(1).and_then(|before| self.told.get_mut(before));
        match before {
            Some((_, Step::Requested, times)) if is_full && told == Step::Requested => *times += 1,
            _ => self.told.insert(place, (at, told, 1)),
        }
        let attempts = self.attempts(None);
        attempts.into_iter().find(|attempt| {
            let answered = attempt.answer.as_ref().is_some_and(|(answer, _)| *answer == at);
            answered || (attempt.requested == at && attempt.answer.is_some())
        })
    }

    /// The totals of its RTP stream were told, at its end.
    pub(super) fn rtp(&mut self, at: Time) {
        self.rtp_told = self.rtp_told.max(Some(at));
    }

    /// Its attempts, in their order. `unpublished` is when the track went away: a request that came
    /// after an answered attempt and just before that is the server asking again while it tears down,
    /// and counts for the attempt before it.
    pub(super) fn attempts(&self, unpublished: Option<Time>) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        for (at, told, times) in &self.told {
            let open = attempts.last_mut().filter(|attempt| attempt.answer.is_none());
            match (told, open) {
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
        let Some(end) = unpublished else { return attempts };
        if let Some(last) = attempts.last_mut().filter(|last| last.ended.is_none()) {
            last.ended = last.subscribed().filter(|at| *at <= end).map(|_| end);
        }
        if let Some(open) = attempts.pop_if(|last| last.answer.is_none() && last.requested <= end) {
            match attempts.last_mut() {
                Some(before) => before.times += open.times,
                None => {
                    attempts.push(Attempt { answer: Some((end, Answer::Unpublished)), ..open });
                }
            }
        }
        attempts
    }

    /// Whether all that a subscription tells at its end has been told.
    pub(super) fn is_complete(&self, unpublished: Option<Time>) -> bool {
        let mut subscribed = None;
        let mut is_over = true;
        for (at, told, _) in &self.told {
            match told {
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
            && self.attempts(unpublished).iter().all(|attempt| attempt.answer.is_some())
            && subscribed.is_none_or(|at| self.rtp_told.is_some_and(|told| told >= at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tell = fn(&mut Subscription, fn(i64) -> Time);

    #[test]
    fn the_order_of_telling_does_not_matter() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let told: [Tell; 6] = [
            |to, at| drop(to.request(at(1))),
            |to, at| drop(to.request(at(2))),
            |to, at| drop(to.answer(at(3), Answer::Failed(None))),
            |to, at| drop(to.request(at(4))),
            |to, at| drop(to.answer(at(6), Answer::Subscribed)),
            |to, at| drop(to.answer(at(9), Answer::Unsubscribed)),
        ];
        for turn in 0..told.len() {
            let mut subscription = Subscription::default();
            for nth in 0..told.len() {
                told[(nth + turn) % told.len()](&mut subscription, at);
            }
            let attempts = subscription.attempts(None);
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
