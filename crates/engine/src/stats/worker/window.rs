//! One stream since the last flush: upstream's `coalesce` (livekit pkg/telemetry/statsworker.go),
//! applied to each report instead of to a list of them.

use std::sync::Arc;

use livekit_otel_model::event::report::{Layer, Report, ReportCounts};

const SCORES: usize = 8;
const LAYERS: usize = 4;

/// One stream's window. Scores and layers beyond the inline ones go to `spill`.
#[derive(Debug, Default)]
pub(super) struct StreamWindow {
    counts: ReportCounts,
    start: i64,
    end: i64,
    rtt: u32,
    jitter: u32,
    // In the order of the reports, which a sum of floats depends on.
    score_sum: f32,
    score_count: u32,
    scores: [f32; SCORES],
    layer_count: u8,
    layers: [PackedLayer; LAYERS],
    has_report: bool,
    has_stream: bool,
    mime_type: Option<Arc<str>>,
    spill: Option<Box<Spill>>,
}

#[derive(Debug, Default)]
struct Spill {
    scores: Vec<f32>,
    layers: Vec<PackedLayer>,
}

// A layer without padding bytes: its byte count is in two halves.
#[derive(Debug, Clone, Copy, Default)]
struct PackedLayer {
    layer: i32,
    packets: u32,
    frames: u32,
    bytes: [u32; 2],
}

/// A finished window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coalesced {
    /// The sums over all valid reports.
    pub counts: ReportCounts,
    /// Earliest start and latest end in Unix nanoseconds, 0 if a stream had none; `None` if no valid
    /// report had a stream.
    pub span: Option<(i64, i64)>,
    /// Highest round trip, ms; 0 if none was measured.
    pub rtt: u32,
    /// Highest jitter, µs; 0 if none was measured.
    pub jitter: u32,
    /// Mean of the measured scores; 0 if none was.
    pub score: f32,
    /// Lowest of these scores.
    pub min_score: f32,
    /// Their median.
    pub median_score: f32,
    /// The codec of the last report, valid or not.
    pub mime_type: Option<Arc<str>>,
    /// The sums of the highest video layer.
    pub layer: Option<Layer>,
}

/// The reported codecs: a few, shared by all windows.
#[derive(Debug, Default)]
pub(super) struct Codecs(Vec<Arc<str>>);

impl Codecs {
    // There are about ten; beyond this limit they are not shared.
    const MOST: usize = 64;

    fn get(&mut self, mime_type: &str) -> Option<Arc<str>> {
        if mime_type.is_empty() {
            return None;
        }
        if let Some(known) = self.0.iter().find(|known| ***known == *mime_type) {
            return Some(Arc::clone(known));
        }
        let made: Arc<str> = mime_type.into();
        if self.0.len() < Self::MOST {
            self.0.push(Arc::clone(&made));
        }
        Some(made)
    }
}

impl StreamWindow {
    /// Adds a report; `false` if it is invalid, of which only the codec is used.
    pub(super) fn add(&mut self, report: &impl Report, codecs: &mut Codecs) -> bool {
        self.has_report = true;
        let mime_type = report.mime_type();
        if self.mime_type.as_deref().unwrap_or_default() != mime_type {
            self.mime_type = codecs.get(mime_type);
        }
        if !report.is_valid() {
            return false;
        }
        self.add_score(report.score());
        for stream in report.streams() {
            self.start = if self.has_stream { self.start.min(stream.start) } else { stream.start };
            self.end = if self.has_stream { self.end.max(stream.end) } else { stream.end };
            self.has_stream = true;
            self.rtt = self.rtt.max(stream.rtt);
            self.jitter = self.jitter.max(stream.jitter);
            self.counts.add(&stream.counts);
        }
        for layer in report.layers() {
            self.add_layer(layer);
        }
        true
    }

    fn add_score(&mut self, score: f32) {
        // Also false for NaN.
        if score > 0.0 {
            match self.scores.get_mut(self.score_count as usize) {
                Some(place) => *place = score,
                None => self.spill.get_or_insert_default().scores.push(score),
            }
            self.score_sum += score;
            self.score_count += 1;
        }
    }

    fn add_layer(&mut self, layer: Layer) {
        let inline = &mut self.layers[..usize::from(self.layer_count)];
        let spilled = self.spill.as_deref_mut().map_or(&mut [][..], |spill| &mut spill.layers);
        let mut known = inline.iter_mut().chain(spilled);
        if let Some(known) = known.find(|known| known.layer == layer.layer) {
            known.add(layer);
            return;
        }
        let layer = PackedLayer::from(layer);
        match self.layers.get_mut(usize::from(self.layer_count)) {
            Some(place) => {
                *place = layer;
                self.layer_count += 1;
            }
            None => self.spill.get_or_insert_default().layers.push(layer),
        }
    }

    /// Finishes the window and begins the next; `None` if nothing was reported.
    pub(super) fn finish(&mut self) -> Option<Coalesced> {
        if !self.has_report {
            return None;
        }
        let mut window = std::mem::take(self);
        // Most streams keep their codec, which then need not be looked up again.
        self.mime_type.clone_from(&window.mime_type);
        let (min_score, median_score) = window.min_and_median();
        let score =
            if window.score_count > 0 { window.score_sum / window.score_count as f32 } else { 0.0 };
        Some(Coalesced {
            counts: window.counts,
            span: window.has_stream.then_some((window.start, window.end)),
            rtt: window.rtt,
            jitter: window.jitter,
            score,
            min_score,
            median_score,
            layer: window.highest_layer(),
            mime_type: window.mime_type,
        })
    }

    fn min_and_median(&mut self) -> (f32, f32) {
        let count = (self.score_count as usize).min(SCORES);
        match &mut self.spill {
            Some(spill) if !spill.scores.is_empty() => {
                spill.scores.extend_from_slice(&self.scores[..count]);
                min_and_median(&mut spill.scores)
            }
            _ => min_and_median(&mut self.scores[..count]),
        }
    }

    fn highest_layer(&self) -> Option<Layer> {
        let spilled = self.spill.as_ref().map_or(&[][..], |spill| &spill.layers);
        let all = self.layers[..usize::from(self.layer_count)].iter().chain(spilled);
        all.copied().max_by_key(|layer| layer.layer).map(Layer::from)
    }
}

// Upstream's median (livekit pkg/utils/math.go): the mean of the two in the middle if their number is even, rounded as
// upstream rounds it.
fn min_and_median(scores: &mut [f32]) -> (f32, f32) {
    scores.sort_unstable_by(f32::total_cmp);
    let middle = scores.len() / 2;
    let Some(min) = scores.first() else { return (0.0, 0.0) };
    let median = if scores.len() % 2 == 1 {
        scores[middle]
    } else {
        let (left, right) = (scores[middle - 1], scores[middle]);
        left + (right - left) / 2.0
    };
    (*min, median)
}

impl PackedLayer {
    fn bytes(self) -> u64 {
        u64::from(self.bytes[0]) << 32 | u64::from(self.bytes[1])
    }

    fn set_bytes(&mut self, bytes: u64) {
        #[allow(clippy::cast_possible_truncation)] // the halves
        let halves = [(bytes >> 32) as u32, bytes as u32];
        self.bytes = halves;
    }

    fn add(&mut self, more: Layer) {
        self.packets = self.packets.wrapping_add(more.packets);
        self.frames = self.frames.wrapping_add(more.frames);
        self.set_bytes(self.bytes().wrapping_add(more.bytes));
    }
}

impl From<Layer> for PackedLayer {
    fn from(layer: Layer) -> Self {
        let Layer { bytes, layer, packets, frames } = layer;
        let mut packed = Self { layer, packets, frames, bytes: [0; 2] };
        packed.set_bytes(bytes);
        packed
    }
}

impl From<PackedLayer> for Layer {
    fn from(packed: PackedLayer) -> Self {
        let PackedLayer { layer, packets, frames, .. } = packed;
        Self { bytes: packed.bytes(), layer, packets, frames }
    }
}
