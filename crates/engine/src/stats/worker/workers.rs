//! The stats workers of some rooms' participants, and the windows of their streams (livekit
//! pkg/telemetry/telemetryservice.go and statsworker.go).

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::guard::{ReferenceCount, ReferenceGuard};
use super::key::{StatsKey, worker_hash};
use super::slab::Slab;
use super::window::{Coalesced, Codecs, StreamWindow};
use livekit_otel_model::event::report::Report;
use livekit_otel_model::event::{Direction, Time};

/// How long a closed worker continues to flush.
pub const CLEANUP_WAIT: Duration = Duration::from_mins(3);

/// How long a worker that no guard ever held, so that nothing closes it, is kept without a report.
pub const UNHELD_WAIT: Duration = Duration::from_hours(1);

const NONE: u32 = u32::MAX;

/// A worker's room and participant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// The room's SID.
    pub room_sid: Arc<str>,
    /// The room's name.
    pub room_name: Arc<str>,
    /// The participant's SID.
    pub participant_sid: Arc<str>,
    /// The participant's identity.
    pub identity: Arc<str>,
}

/// A worker's number in its [`Workers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(u32);

/// The result of asking for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// The open worker, or, if the guard is already released, the closed one.
    Found(WorkerId),
    /// A new worker; there was none, or a closed one that it replaces.
    Created(WorkerId),
    /// None: there was none, and the guard is already released: the call arrived after the participant left.
    Refused,
}

/// The result of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It was added to the stream's window.
    Taken,
    /// It has a negative count; only its codec was used.
    Invalid,
    /// The participant has no worker.
    NoWorker,
}

/// The result of releasing a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    /// Whether the participant was ever connected.
    pub was_connected: bool,
    /// Whether this closed the worker.
    pub closed: bool,
}

/// One worker's finished windows, upstream before downstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Flushed {
    /// Their participant.
    pub who: Arc<Who>,
    /// The track's SID, the direction and the window.
    pub windows: Vec<(Arc<str>, Direction, Coalesced)>,
}

#[derive(Debug)]
struct Worker {
    who: Arc<Who>,
    hash: u64,
    // The first of its streams.
    streams: u32,
    holders: ReferenceCount,
    is_connected: bool,
    closed_at: Option<Time>,
    // The first flush since its last report.
    idle_since: Option<Time>,
}

#[derive(Debug)]
struct Stream {
    key: StatsKey,
    worker: u32,
    // The next stream of the same worker.
    next: u32,
    // Whether the worker is still listed for its participant.
    is_current: bool,
    window: StreamWindow,
}

/// The workers of some rooms. A report allocates nothing once its stream is known.
#[derive(Debug, Default)]
pub struct Workers {
    workers: Slab<Worker>,
    streams: Slab<Stream>,
    // The current worker of each participant, without closed ones that were replaced.
    by_participant: HashTable<u32>,
    by_key: HashTable<u32>,
    codecs: Codecs,
}

impl Workers {
    /// How many workers there are, including closed ones.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many streams have a window.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Finds the participant's open worker, or creates one, which inherits whether the participant was
    /// connected. `guard` holds it from then on.
    pub fn acquire(&mut self, who: &Who, guard: Option<&ReferenceGuard>) -> Acquired {
        let hash = worker_hash(&who.room_sid, &who.participant_sid);
        let known = self.find(hash, &who.room_sid, &who.participant_sid);
        let mut is_connected = false;
        if let Some(worker) = known.and_then(|known| self.workers.get_mut(known)) {
            if worker.closed_at.is_none() {
                worker.holders.activate(guard);
                worker.idle_since = None;
                return Acquired::Found(WorkerId(known.unwrap_or(NONE)));
            }
            is_connected = worker.is_connected;
        }
        if guard.is_some_and(ReferenceGuard::is_released) {
            return known.map_or(Acquired::Refused, |known| Acquired::Found(WorkerId(known)));
        }
        let mut holders = ReferenceCount::default();
        holders.activate(guard);
        let who = Arc::new(who.clone());
        let made = self.workers.insert(Worker {
            who,
            hash,
            streams: NONE,
            holders,
            is_connected,
            closed_at: None,
            idle_since: None,
        });
        if let Some(known) = known {
            self.unlist(known, hash);
        }
        let workers = &self.workers;
        let hash_of = |id: &u32| workers.get(*id).map_or(0, |worker| worker.hash);
        self.by_participant.insert_unique(hash, made, hash_of);
        Acquired::Created(WorkerId(made))
    }

    /// Notes that the participant's media is connected.
    pub fn set_connected(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(id.0) {
            worker.is_connected = true;
        }
    }

    /// Releases `guard`'s hold on the participant's worker, which closes with the last one.
    pub fn release(
        &mut self,
        room_sid: &str,
        participant_sid: &str,
        guard: Option<&ReferenceGuard>,
        now: Time,
    ) -> Released {
        let hash = worker_hash(room_sid, participant_sid);
        let known = self.find(hash, room_sid, participant_sid);
        let Some(worker) = known.and_then(|known| self.workers.get_mut(known)) else {
            return Released::default();
        };
        let closed = worker.holders.release(guard) && worker.closed_at.is_none();
        if closed {
            worker.closed_at = Some(now);
        }
        Released { was_connected: worker.is_connected, closed }
    }

    /// Adds a report to its stream's window.
    pub fn report(&mut self, key: &StatsKey, report: &impl Report) -> Reported {
        let place = key.place();
        let is_there = |stream: &Stream| stream.is_current && stream.key.is_same(key);
        let stream = if self.streams.get(place).is_some_and(is_there) {
            place
        } else {
            let known = self.find(key.worker_hash(), key.room_sid(), key.participant_sid());
            let Some(worker) = known else { return Reported::NoWorker };
            let stream = self.stream(key, worker);
            key.set_place(stream);
            stream
        };
        let codecs = &mut self.codecs;
        let stream = self.streams.get_mut(stream);
        let is_valid = stream.is_some_and(|stream| stream.window.add(report, codecs));
        if is_valid { Reported::Taken } else { Reported::Invalid }
    }

    fn stream(&mut self, key: &StatsKey, worker: u32) -> u32 {
        let streams = &self.streams;
        let is_it = |id: &u32| {
            let stream = streams.get(*id);
            stream.is_some_and(|stream| stream.worker == worker && stream.key.is_same_stream(key))
        };
        if let Some(known) = self.by_key.find(key.stream_hash(), is_it) {
            return *known;
        }
        let next = self.workers.get(worker).map_or(NONE, |worker| worker.streams);
        let window = StreamWindow::default();
        let key = key.clone();
        let stream = Stream { key: key.clone(), worker, next, is_current: true, window };
        let made = self.streams.insert(stream);
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.streams = made;
        }
        let streams = &self.streams;
        let hash_of = |id: &u32| streams.get(*id).map_or(0, |stream| stream.key.stream_hash());
        self.by_key.insert_unique(key.stream_hash(), made, hash_of);
        made
    }

    /// Finishes the windows of all workers and passes them to `each`, except for workers without any.
    /// Removes the workers that were closed more than [`CLEANUP_WAIT`] ago, and those that no guard holds
    /// and that had no report for [`UNHELD_WAIT`]; returns the number of the latter.
    pub fn flush(&mut self, now: Time, mut each: impl FnMut(Flushed)) -> i64 {
        let mut unheld = 0;
        for id in 0..self.workers.end() {
            let Some(worker) = self.workers.get(id) else { continue };
            let is_over = worker.closed_at.is_some_and(|closed| now.since(closed) > CLEANUP_WAIT);
            let (who, hash) = (Arc::clone(&worker.who), worker.hash);
            let windows = self.finish(id);
            let is_abandoned = self.is_abandoned(id, windows.is_empty(), now);
            unheld += i64::from(is_abandoned);
            if !windows.is_empty() {
                each(Flushed { who, windows });
            }
            if is_over || is_abandoned {
                self.remove_worker(id, hash);
            }
        }
        unheld
    }

    // Whether no guard holds it and it had no report for UNHELD_WAIT.
    fn is_abandoned(&mut self, worker: u32, is_idle: bool, now: Time) -> bool {
        let Some(worker) = self.workers.get_mut(worker) else { return false };
        let is_unheld = worker.closed_at.is_none() && worker.holders.is_none();
        if !is_idle || !is_unheld {
            worker.idle_since = None;
            return false;
        }
        now.since(*worker.idle_since.get_or_insert(now)) >= UNHELD_WAIT
    }

    // The windows of a worker. Removes streams without a report.
    fn finish(&mut self, worker: u32) -> Vec<(Arc<str>, Direction, Coalesced)> {
        let mut windows = Vec::new();
        let mut kept = NONE;
        let mut next = self.workers.get(worker).map_or(NONE, |worker| worker.streams);
        while let Some(stream) = self.streams.get_mut(next) {
            let id = next;
            next = stream.next;
            match stream.window.finish() {
                Some(window) => {
                    let track = Arc::clone(stream.key.track_sid());
                    windows.push((track, stream.key.direction(), window));
                    stream.next = kept;
                    kept = id;
                }
                None => self.remove_stream(id),
            }
        }
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.streams = kept;
        }
        windows.sort_by_key(|(_, direction, _)| *direction);
        windows
    }

    fn remove_stream(&mut self, stream: u32) {
        if let Some(gone) = self.streams.remove(stream)
            && let Ok(entry) =
                self.by_key.find_entry(gone.key.stream_hash(), |other| *other == stream)
        {
            entry.remove();
        }
    }

    fn remove_worker(&mut self, worker: u32, hash: u64) {
        let mut next = self.workers.get(worker).map_or(NONE, |worker| worker.streams);
        while let Some(stream) = self.streams.get(next) {
            let id = next;
            next = stream.next;
            self.remove_stream(id);
        }
        self.unlist(worker, hash);
        self.workers.remove(worker);
    }

    fn unlist(&mut self, worker: u32, hash: u64) {
        let mut next = self.workers.get(worker).map_or(NONE, |worker| worker.streams);
        while let Some(stream) = self.streams.get_mut(next) {
            stream.is_current = false;
            next = stream.next;
        }
        if let Ok(entry) = self.by_participant.find_entry(hash, |other| *other == worker) {
            entry.remove();
        }
    }

    fn find(&self, hash: u64, room_sid: &str, participant_sid: &str) -> Option<u32> {
        let is_it = |id: &u32| {
            self.workers.get(*id).is_some_and(|worker| {
                *worker.who.participant_sid == *participant_sid && *worker.who.room_sid == *room_sid
            })
        };
        self.by_participant.find(hash, is_it).copied()
    }
}
