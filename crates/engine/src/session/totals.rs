//! A track's lifetime totals, from stats windows and from `RTPStats`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{Counter, Counts, RtpTotals, StreamStat};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

/// The sum of a stream's stats windows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct WindowSum {
    windows: u64,
    counts: Counts,
    score_sum: f64,
    scored: u64,
    score_min: Option<f32>,
    rtt_max: Duration,
    jitter_max: Duration,
}

impl WindowSum {
    pub(super) fn add(&mut self, stat: &StreamStat) {
        self.windows += 1;
        self.counts += stat.counts;
        if let Some(score) = stat.score {
            self.score_sum += f64::from(score);
            self.scored += 1;
        }
        if let Some(score) = stat.min_score {
            self.score_min = Some(self.score_min.map_or(score, |lowest| lowest.min(score)));
        }
        self.rtt_max = self.rtt_max.max(stat.rtt.unwrap_or_default());
        self.jitter_max = self.jitter_max.max(stat.jitter.unwrap_or_default());
    }

    pub(super) fn count(&self) -> u64 {
        self.windows
    }

    pub(super) fn attributes(&self, to: &mut Vec<Attribute>) {
        if self.windows == 0 {
            return;
        }
        to.push(Attribute::new(key::STATS_WINDOWS, self.windows));
        to.push(Attribute::new(key::STATS_PACKETS, self.counts[Counter::Packets]));
        to.push(Attribute::new(key::STATS_BYTES, self.counts[Counter::Bytes]));
        to.push(Attribute::new(key::STATS_PACKETS_LOST, self.counts[Counter::PacketsLost]));
        to.push(Attribute::new(key::STATS_FRAMES, self.counts[Counter::Frames]));
        if self.scored > 0 {
            let average = self.score_sum / self.scored as f64;
            to.push(Attribute::new(key::STATS_SCORE_AVERAGE, average));
        }
        if let Some(score) = self.score_min {
            to.push(Attribute::new(key::STATS_SCORE_MIN, f64::from(score)));
        }
        seconds(to, key::STATS_ROUND_TRIP_MAX, self.rtt_max);
        seconds(to, key::STATS_JITTER_MAX, self.jitter_max);
    }
}

/// The sum of a track's `RTPStats`, which are reported for each of its codecs and layers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RtpSum {
    reports: u32,
    sum: RtpTotals,
}

impl RtpSum {
    pub(super) fn add(&mut self, totals: &RtpTotals) {
        self.reports += 1;
        let sum = &mut self.sum;
        sum.packets = sum.packets.saturating_add(totals.packets);
        sum.bytes = sum.bytes.saturating_add(totals.bytes);
        sum.packets_lost = sum.packets_lost.saturating_add(totals.packets_lost);
        sum.packets_out_of_order =
            sum.packets_out_of_order.saturating_add(totals.packets_out_of_order);
        sum.frames = sum.frames.saturating_add(totals.frames);
        sum.nacks = sum.nacks.saturating_add(totals.nacks);
        sum.plis = sum.plis.saturating_add(totals.plis);
        sum.firs = sum.firs.saturating_add(totals.firs);
        sum.key_frames = sum.key_frames.saturating_add(totals.key_frames);
        sum.jitter_max = sum.jitter_max.max(totals.jitter_max);
        sum.rtt_max = sum.rtt_max.max(totals.rtt_max);
    }

    pub(super) fn is_reported(&self) -> bool {
        self.reports > 0
    }

    pub(super) fn attributes(&self, to: &mut Vec<Attribute>) {
        if self.is_reported() {
            rtp_attributes(&self.sum, to);
        }
    }
}

/// The attributes of `RTPStats`.
pub(super) fn rtp_attributes(totals: &RtpTotals, to: &mut Vec<Attribute>) {
    to.push(Attribute::new(key::RTP_PACKETS, totals.packets));
    to.push(Attribute::new(key::RTP_BYTES, totals.bytes));
    to.push(Attribute::new(key::RTP_PACKETS_LOST, totals.packets_lost));
    to.push(Attribute::new(key::RTP_PACKETS_OUT_OF_ORDER, totals.packets_out_of_order));
    to.push(Attribute::new(key::RTP_FRAMES, totals.frames));
    to.push(Attribute::new(key::RTP_KEY_FRAMES, totals.key_frames));
    to.push(Attribute::new(key::RTP_NACKS, totals.nacks));
    to.push(Attribute::new(key::RTP_PLIS, totals.plis));
    to.push(Attribute::new(key::RTP_FIRS, totals.firs));
    seconds(to, key::RTP_JITTER_MAX, totals.jitter_max);
    seconds(to, key::RTP_ROUND_TRIP_MAX, totals.rtt_max);
}

// Zero is upstream's "not measured".
fn seconds(to: &mut Vec<Attribute>, key: &'static str, measured: Duration) {
    if !measured.is_zero() {
        to.push(Attribute::new(key, measured.as_secs_f64()));
    }
}
