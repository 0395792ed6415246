//! The key of a stream's reports.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use livekit_otel_model::event::{Direction, TrackKind, TrackSource};

/// The kind and source of a track, for the node's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrackClass {
    /// Where it comes from; `None` if that is not known.
    pub source: Option<TrackSource>,
    /// audio, video or data.
    pub kind: TrackKind,
}

/// The key of a stream's reports: created once for the stream, used for each report. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatsKey(Arc<Key>);

#[derive(Debug)]
struct Key {
    room: Arc<str>,
    participant: Arc<str>,
    track: Arc<str>,
    country: Arc<str>,
    class: Option<TrackClass>,
    direction: Direction,
    worker_hash: u64,
    stream_hash: u64,
    class_hash: u64,
    room_hash: u64,
    // Where its stream was found last; a hint, as several services may use the same key.
    place: AtomicU32,
}

impl StatsKey {
    /// The key of a media track, as its publisher sends it (upstream) or a subscriber receives it
    /// (downstream). `country` is the participant's; empty if it is not known.
    pub fn for_track(
        room_sid: &str,
        participant_sid: &str,
        track_sid: &str,
        direction: Direction,
        country: &str,
        class: TrackClass,
    ) -> Self {
        Self::new([room_sid, participant_sid, track_sid, country], direction, Some(class))
    }

    /// The key of a participant's data or signalling, of which only packets and bytes are counted.
    pub fn for_data(
        room_sid: &str,
        participant_sid: &str,
        track_sid: &str,
        direction: Direction,
        country: &str,
    ) -> Self {
        Self::new([room_sid, participant_sid, track_sid, country], direction, None)
    }

    fn new(texts: [&str; 4], direction: Direction, class: Option<TrackClass>) -> Self {
        let [room, participant, track, country] = texts;
        let room_sid = room;
        let worker_hash = worker_hash(room, participant);
        let mut hasher = DefaultHasher::new();
        (worker_hash, track, direction).hash(&mut hasher);
        let stream_hash = hasher.finish();
        let mut hasher = DefaultHasher::new();
        (country, direction, &class).hash(&mut hasher);
        let class_hash = hasher.finish();
        let [room, participant, track, country] = texts.map(Arc::from);
        Self(Arc::new(Key {
            room,
            participant,
            track,
            country,
            class,
            direction,
            worker_hash,
            stream_hash,
            class_hash,
            room_hash: hash_of(room_sid),
            place: AtomicU32::new(u32::MAX),
        }))
    }

    /// The room's SID.
    pub fn room_sid(&self) -> &str {
        &self.0.room
    }

    /// The participant's SID.
    pub fn participant_sid(&self) -> &str {
        &self.0.participant
    }

    /// The track's SID.
    pub fn track_sid(&self) -> &Arc<str> {
        &self.0.track
    }

    /// The direction of the stream.
    pub fn direction(&self) -> Direction {
        self.0.direction
    }

    /// The participant's country; empty if it is not known.
    pub fn country(&self) -> &str {
        &self.0.country
    }

    /// The track's kind and source; `None` for data and signalling.
    pub fn class(&self) -> Option<&TrackClass> {
        self.0.class.as_ref()
    }

    pub(super) fn place(&self) -> u32 {
        self.0.place.load(Relaxed)
    }

    pub(super) fn set_place(&self, place: u32) {
        self.0.place.store(place, Relaxed);
    }

    /// Whether it is a clone of the same key.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    // For keys of one worker, whose room and participant are the same.
    pub(super) fn is_same_stream(&self, other: &Self) -> bool {
        self.is_same(other)
            || (self.0.direction == other.0.direction && self.0.track == other.0.track)
    }

    pub(super) fn worker_hash(&self) -> u64 {
        self.0.worker_hash
    }

    /// The hash of the room's SID.
    pub fn room_hash(&self) -> u64 {
        self.0.room_hash
    }

    pub(in crate::stats) fn class_hash(&self) -> u64 {
        self.0.class_hash
    }

    pub(super) fn stream_hash(&self) -> u64 {
        self.0.stream_hash
    }
}

/// A text's hash; the same in every process.
pub fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The hash by which a worker is found.
pub(super) fn worker_hash(room: &str, participant: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (room, participant).hash(&mut hasher);
    hasher.finish()
}
