//! A participant's tracks and subscriptions, and how each becomes spans.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::callers::Callers;
use super::stamp::Stamp;
use super::totals::{RtpSum, WindowSum};
use crate::event::{StreamStat, Time, Track as TrackInfo, TrackKind, TrackSource};

/// What is known of a track, whoever publishes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Description {
    pub(super) kind: Option<TrackKind>,
    pub(super) source: Option<TrackSource>,
    pub(super) mime_type: Option<Arc<str>>,
}

impl Description {
    /// Adds what a message says; short messages leave out what longer ones said.
    pub(super) fn learn(&mut self, info: &TrackInfo) {
        self.kind = info.kind.or(self.kind);
        self.source = info.source.or(self.source);
        if let Some(mime_type) = &info.mime_type {
            self.mime_type = Some(Arc::clone(mime_type));
        }
    }
}

/// A track that a participant publishes or asked to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) requested: Option<Stamp>,
    pub(super) published: Option<Stamp>,
    pub(super) unpublished: Option<Stamp>,
    pub(super) muted_since: Option<Time>,
    pub(super) mutes: u64,
    pub(super) muted_for: Duration,
    pub(super) windows: WindowSum,
    pub(super) rtp: RtpSum,
    pub(super) callers: Callers,
}

impl Track {
    pub(super) fn mute(&mut self, at: Time) {
        if self.muted_since.is_none() {
            self.muted_since = Some(at);
            self.mutes += 1;
        }
    }

    pub(super) fn unmute(&mut self, at: Time) {
        if let Some(since) = self.muted_since.take() {
            self.muted_for += at.since(since);
        }
    }

    pub(super) fn window(&mut self, stat: &StreamStat) {
        self.windows.add(stat);
    }

    /// Whether it exists beyond the request for it.
    pub(super) fn was_published(&self) -> bool {
        self.published.is_some() || self.unpublished.is_some() || self.windows.count() > 0
    }

    /// Whether all that a track tells at its end has been told.
    pub(super) fn is_complete(&self) -> bool {
        !self.was_published() || (self.unpublished.is_some() && self.rtp.is_told())
    }
}

/// How an attempt to subscribe was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Subscribed,
    Failed(Option<Arc<str>>),
    /// The subscriber gave up on it.
    Unsubscribed,
    /// The track went away before an answer.
    Unpublished,
}

/// One attempt to subscribe to a track, asked for once or more.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) requested: Stamp,
    pub(super) times: u64,
    pub(super) answer: Option<(Time, Answer)>,
}

/// A participant's attempts to subscribe to one track.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) attempts: Vec<Attempt>,
    subscribed: bool,
    rtp_told: bool,
}

impl Subscription {
    /// A repeated request is the same attempt, counted.
    pub(super) fn request(&mut self, stamp: Stamp) {
        match self.attempts.last_mut() {
            Some(attempt) if attempt.answer.is_none() => attempt.times += 1,
            _ => self.attempts.push(Attempt { requested: stamp, times: 1, answer: None }),
        }
    }

    /// Answers the open attempt; gives how long it took, where one is open.
    pub(super) fn answer(&mut self, at: Time, answer: Answer) -> Option<Duration> {
        match answer {
            Answer::Subscribed => {
                self.subscribed = true;
                self.rtp_told = false;
            }
            Answer::Unsubscribed | Answer::Unpublished => self.subscribed = false,
            Answer::Failed(_) => {}
        }
        let attempt = self.attempts.last_mut().filter(|attempt| attempt.answer.is_none())?;
        attempt.answer = Some((at, answer));
        Some(at.since(attempt.requested.at))
    }

    /// The track went away. A request that came after an answered attempt and just before that is
    /// the server asking again while it tears down: it counts for the attempt before it.
    pub(super) fn unpublish(&mut self, at: Time) {
        let open = self.attempts.last().is_some_and(|attempt| attempt.answer.is_none());
        self.answer(at, Answer::Unpublished);
        if open && self.attempts.len() > 1 {
            let asked_again = self.attempts.pop().map_or(0, |attempt| attempt.times);
            if let Some(attempt) = self.attempts.last_mut() {
                attempt.times += asked_again;
            }
        }
    }

    pub(super) fn rtp(&mut self) {
        self.rtp_told = true;
    }

    /// Whether all that a subscription tells at its end has been told.
    pub(super) fn is_complete(&self) -> bool {
        !self.subscribed
            && self.attempts.iter().all(|attempt| attempt.answer.is_some())
            && (self.rtp_told || !self.was_subscribed())
    }

    fn was_subscribed(&self) -> bool {
        let subscribed =
            |attempt: &Attempt| matches!(attempt.answer, Some((_, Answer::Subscribed)));
        self.attempts.iter().any(subscribed)
    }
}
