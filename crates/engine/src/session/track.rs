//! A participant's tracks.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::callers::Callers;
use super::mutes::Mutes;
use super::stamp::Stamp;
use super::totals::{RtpSum, WindowSum};
use livekit_otel_model::event::{StreamStat, Track as TrackInfo, TrackKind, TrackSource};

/// What is known of a track, whoever publishes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Description {
    pub(super) kind: Option<TrackKind>,
    pub(super) source: Option<TrackSource>,
    pub(super) mime_type: Option<Arc<str>>,
}

impl Description {
    /// Of a track of this kind and source.
    pub fn new(kind: Option<TrackKind>, source: Option<TrackSource>) -> Self {
        Self { kind, source, mime_type: None }
    }

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

    /// How long its publication took, where that is known; a webhook's whole second measures nothing.
    pub(super) fn publication(&self) -> Option<Duration> {
        let published = self.published.filter(|published| published.exact)?;
        Some(published.at.since(self.requested?.at))
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
