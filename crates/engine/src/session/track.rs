//! A participant's tracks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::callers::Callers;
use super::event_time::EventTime;
use super::mutes::Mutes;
use super::totals::{RtpSum, WindowSum};
use livekit_otel_model::event::StreamStat;

/// A track that a participant publishes, or requested to publish.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) requested: Option<EventTime>,
    pub(super) published: Option<EventTime>,
    pub(super) unpublished: Option<EventTime>,
    pub(super) mutes: Mutes,
    pub(super) updates: u64,
    pub(super) quality_changes: u64,
    pub(super) windows: WindowSum,
    pub(super) rtp: RtpSum,
    pub(super) callers: Callers,
}

impl Track {
    pub(super) fn window(&mut self, stat: &StreamStat) {
        self.windows.add(stat);
    }

    /// How long its publication took, if that is known. A webhook's whole second is too coarse.
    pub(super) fn publication(&self) -> Option<Duration> {
        let published = self.published.filter(|published| published.exact)?;
        Some(published.at.since(self.requested?.at))
    }

    /// Whether it was published, and not only requested.
    pub(super) fn was_published(&self) -> bool {
        self.published.is_some() || self.unpublished.is_some() || self.windows.count() > 0
    }

    /// Whether everything that is reported at a track's end was received.
    pub(super) fn is_complete(&self) -> bool {
        !self.was_published() || (self.unpublished.is_some() && self.rtp.is_reported())
    }
}
