//! The media of streams, and how the network affects it.

use std::time::Duration;

use pbjson_types::Timestamp;

use super::random::Random;
use livekit_otel_livekit::messages::{AnalyticsStream, RtpStats, TrackSource, TrackType};

/// The media of a track.
#[derive(Debug, Clone, Copy)]
pub(super) struct Media {
    pub(super) name: &'static str,
    pub(super) kind: TrackType,
    pub(super) source: TrackSource,
    pub(super) mime: &'static str,
    pub(super) size: (u32, u32),
    // Per second.
    packets: u32,
    packet_bytes: u32,
    frames: u32,
}

impl Media {
    pub(super) fn is_audio(&self) -> bool {
        self.kind == TrackType::Audio
    }
}

const MEDIA: [Media; 4] = [
    audio("mic", TrackSource::Microphone),
    video("cam", TrackSource::Camera, (1280, 720), 170, 30),
    video("screen", TrackSource::ScreenShare, (1920, 1080), 80, 10),
    audio("screen-audio", TrackSource::ScreenShareAudio),
];

const fn audio(name: &'static str, source: TrackSource) -> Media {
    let (kind, mime, size) = (TrackType::Audio, "audio/opus", (0, 0));
    Media { name, kind, source, mime, size, packets: 50, packet_bytes: 92, frames: 50 }
}

const fn video(
    name: &'static str,
    source: TrackSource,
    size: (u32, u32),
    packets: u32,
    frames: u32,
) -> Media {
    let (kind, mime) = (TrackType::Video, "video/VP8");
    Media { name, kind, source, mime, size, packets, packet_bytes: 1050, frames }
}

/// The media of a participant's `nth` track: microphone, camera, screen share, its audio, then
/// cameras.
pub(super) fn of(nth: usize) -> &'static Media {
    MEDIA.get(nth).unwrap_or(&MEDIA[1])
}

/// The quality of a participant's network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quality {
    loss: f64,
    jitter_micros: u32,
    rtt_millis: u32,
}

const BAD: f64 = 0.2;

impl Quality {
    /// Most networks are good and some are bad. On average, `loss` of the packets are lost.
    pub(super) fn draw(loss: f64, random: &mut Random) -> Self {
        // 0.8 x 0.25 + 0.2 x 4 = 1.
        let times =
            if random.chance(BAD) { 2.0 + 4.0 * random.unit() } else { random.unit() / 2.0 };
        let loss = (loss * times).min(0.9);
        let near = random.unit();
        Self {
            loss,
            jitter_micros: rounded(500.0 + 2500.0 * near + 200_000.0 * loss),
            rtt_millis: rounded(10.0 + 70.0 * near + 1500.0 * loss),
        }
    }

    /// LiveKit's score, from 1 to 4.5.
    pub(super) fn score(&self) -> f32 {
        let score = 4.5 - 12.0 * self.loss - f64::from(self.rtt_millis) / 1500.0;
        single(score.clamp(1.0, 4.5))
    }
}

// Counts are far below 2^32; larger numbers saturate.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded(number: f64) -> u32 {
    number.round() as u32
}

// LiveKit's messages have scores and percentages in single precision.
#[allow(clippy::cast_possible_truncation)]
fn single(number: f64) -> f32 {
    number as f32
}

/// A stream's totals since it started.
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    packets: u32,
    frames: u32,
    lost: u32,
    plis: u32,
}

impl Carried {
    fn after(sounding: Duration, media: &Media, quality: &Quality) -> Self {
        let sent = |a_second: u32| rounded((sounding.as_secs_f64() * f64::from(a_second)).floor());
        let sent_packets = sent(media.packets);
        let lost = rounded((f64::from(sent_packets) * quality.loss).floor());
        let plis = if media.is_audio() { 0 } else { lost / 50 };
        Self { packets: sent_packets - lost, frames: sent(media.frames), lost, plis }
    }

    fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets - before.packets,
            frames: self.frames - before.frames,
            lost: self.lost - before.lost,
            plis: self.plis - before.plis,
        }
    }
}

/// A part of a stream's life: how long media had flowed before it, and how long at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) before: Duration,
    pub(super) after: Duration,
}

/// The stats window of a part; `None` if no packet was carried in it.
pub(super) fn window(media: &Media, quality: &Quality, part: Part) -> Option<AnalyticsStream> {
    let carried = |sounding| Carried::after(sounding, media, quality);
    let Carried { packets, frames, lost, plis } = carried(part.after).since(carried(part.before));
    (packets > 0).then(|| AnalyticsStream {
        primary_packets: packets,
        primary_bytes: u64::from(packets) * u64::from(media.packet_bytes),
        packets_lost: lost,
        frames,
        rtt: quality.rtt_millis,
        jitter: quality.jitter_micros,
        nacks: lost,
        plis,
        ..AnalyticsStream::default()
    })
}

/// The totals of a stream's whole life.
pub(super) fn totals(
    media: &Media,
    quality: &Quality,
    sounding: Duration,
    (start, end): (Timestamp, Timestamp),
    lasted: Duration,
) -> RtpStats {
    let Carried { packets, frames, lost, plis } = Carried::after(sounding, media, quality);
    let bytes = u64::from(packets) * u64::from(media.packet_bytes);
    let seconds = lasted.as_secs_f64().max(0.001);
    let expected = f64::from(packets.saturating_add(lost).max(1));
    RtpStats {
        start_time: Some(start),
        end_time: Some(end),
        duration: seconds,
        packets,
        packet_rate: f64::from(packets) / seconds,
        bytes,
        header_bytes: u64::from(packets) * 12,
        bitrate: bytes as f64 * 8.0 / seconds,
        packets_lost: lost,
        packet_loss_rate: f64::from(lost) / seconds,
        packet_loss_percentage: single(f64::from(lost) * 100.0 / expected),
        frames,
        frame_rate: f64::from(frames) / seconds,
        jitter_current: f64::from(quality.jitter_micros),
        jitter_max: f64::from(quality.jitter_micros),
        nacks: lost,
        plis,
        rtt_current: quality.rtt_millis,
        rtt_max: quality.rtt_millis,
        ..RtpStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_add_up_to_the_totals() {
        let quality = Quality { loss: 0.037, jitter_micros: 1, rtt_millis: 1 };
        let part = |before, after| Part {
            before: Duration::from_secs(before),
            after: Duration::from_secs(after),
        };
        let windows = [part(0, 7), part(7, 7), part(7, 31)];
        let stats = windows.map(|part| window(of(1), &quality, part));
        assert!(stats[1].is_none());
        let sum = |of: fn(&AnalyticsStream) -> u32| stats.iter().flatten().map(of).sum::<u32>();
        let times = (Timestamp::default(), Timestamp::default());
        let lasted = Duration::from_secs(31);
        let totals = totals(of(1), &quality, lasted, times, lasted);
        assert_eq!(sum(|window| window.primary_packets), totals.packets);
        assert_eq!(sum(|window| window.packets_lost), totals.packets_lost);
        assert_eq!(totals.packets + totals.packets_lost, 31 * 170);
        assert_eq!(totals.packets_lost, 194);
    }

    #[test]
    fn some_networks_are_bad_and_the_average_loss_is_as_set() {
        let mut random = Random::of(&[1]);
        let drawn: Vec<_> = (0..20_000).map(|_| Quality::draw(0.02, &mut random)).collect();
        let average = drawn.iter().map(|each| each.loss).sum::<f64>() / drawn.len() as f64;
        assert!((0.019..0.021).contains(&average), "{average}");
        let (bad, good): (Vec<Quality>, Vec<Quality>) =
            drawn.iter().partition(|each| each.loss > 0.02);
        assert!(bad.len() * 3 < good.len());
        let best = good.iter().map(|each| each.score()).fold(1.0, f32::max);
        assert!((4.4..=4.5).contains(&best), "{best}");
        for each in bad {
            assert!((1.0..4.5).contains(&each.score()) && each.rtt_millis > 30);
        }
    }
}
