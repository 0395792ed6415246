//! The library's service under the load.

use std::time::Duration;

use livekit_otel_engine::stats::worker::{Reported, Who, Workers};
use livekit_otel_livekit::StatReport;
use livekit_otel_model::event::Time;
use livekit_otel_telemetry::messages::{ParticipantInfo, Room};
use livekit_otel_telemetry::{
    Direction, NullTelemetry, OtelSettings, ParticipantContext, ReferenceGuard, StatsKey,
    Telemetry, TelemetryService, TrackClass, TrackKind, TrackSource,
};
use tokio::runtime::Runtime;

use crate::clock::{Took, took};
use crate::load::{Load, REPORTS};

pub struct Ours {
    runtime: Runtime,
    telemetry: Telemetry,
}

impl Ours {
    /// A service whose messages are dropped, with all participants joined.
    pub fn start(load: &Load) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let telemetry = runtime.block_on(async {
            let builder = Telemetry::builder().flush_interval(Duration::ZERO);
            builder.analytics(std::sync::Arc::new(NullTelemetry)).start().unwrap()
        });
        for chunk in load.members.chunks(10_000) {
            for (room, participant) in chunk {
                let at = ParticipantContext::new(room, participant);
                let guard = ReferenceGuard::new();
                telemetry.participant_joined(at, None, None, false, Some(&guard));
            }
            runtime.block_on(telemetry.idle());
        }
        assert_eq!(telemetry.held().0, load.members.len());
        Self { runtime, telemetry }
    }

    /// One window of reports by `threads`, each of rooms of its own, until all are processed.
    pub fn window(&self, load: &Load, threads: usize) -> Took {
        let part = load.keys.len().div_ceil(threads);
        let report = |nth: usize| {
            let keys = load.keys.chunks(part).nth(nth).unwrap_or_default();
            let stats = load.stats.chunks(part).nth(nth).unwrap_or_default();
            for _ in 0..REPORTS {
                for (key, stat) in keys.iter().zip(stats) {
                    self.telemetry.track_stats(key, stat);
                }
            }
        };
        let ((), took) = took(|| {
            if threads == 1 {
                report(0);
            } else {
                std::thread::scope(|scope| {
                    for nth in 0..threads {
                        scope.spawn(move || report(nth));
                    }
                });
            }
            self.runtime.block_on(self.telemetry.idle());
        });
        let refused: u64 = self
            .telemetry
            .ledger()
            .inputs
            .iter()
            .flat_map(|input| &input.refused)
            .map(|r| r.1)
            .sum();
        assert_eq!(refused, 0, "the queue was full");
        took
    }

    /// The mean of so many windows, with a flush between that is not counted.
    pub fn windows(&self, load: &Load, threads: usize, n: u32) -> Took {
        let mut sum = Took::default();
        for _ in 0..n {
            let took = self.window(load, threads);
            sum.cpu += took.cpu;
            sum.wall += took.wall;
            self.telemetry.flush_stats();
        }
        sum / n
    }

    /// Bytes held by the service for a window's streams: what the calling thread allocated.
    pub fn held(&self, load: &Load) -> (u64, u64) {
        let mut window = None;
        let info = allocation_counter::measure(|| window = Some(self.window(load, 1)));
        (u64::try_from(info.bytes_current).unwrap_or_default(), info.count_total)
    }

    /// A flush to a service that drops the messages.
    pub fn flush(&self) -> Took {
        took(|| self.telemetry.flush_stats()).1
    }
}

/// A report into its stream's window alone: no lock, and no metrics of the node.
pub fn record(load: &Load) -> Took {
    const WINDOWS: u32 = 50;
    let mut workers = workers(load);
    let now = Time::from_secs(1_795_400_030).unwrap();
    let mut sum = Took::default();
    for _ in 0..WINDOWS {
        let window = took(|| {
            for (key, stat) in load.keys.iter().zip(&load.stats) {
                assert_eq!(workers.report(key, &StatReport(stat)), Reported::Taken);
            }
        });
        sum.cpu += window.1.cpu;
        workers.flush(now, |_| ());
    }
    sum / WINDOWS
}

fn workers(load: &Load) -> Workers {
    let mut workers = Workers::default();
    for (room, who) in &load.members {
        let who = Who {
            room_sid: room.sid.as_str().into(),
            participant_sid: who.sid.as_str().into(),
            ..Who::default()
        };
        workers.acquire(&who, None);
    }
    workers
}

/// The work that is left for a flush once a window's reports are recorded, ns CPU per stream.
pub fn coalesce(load: &Load) -> f64 {
    let mut workers = workers(load);
    for _ in 0..REPORTS {
        for (key, stat) in load.keys.iter().zip(&load.stats) {
            workers.report(key, &StatReport(stat));
        }
    }
    let now = Time::from_secs(1_795_400_030).unwrap();
    let (flushed, took) = took(|| {
        let mut flushed = 0;
        workers.flush(now, |worker| flushed += std::hint::black_box(worker).windows.len());
        flushed
    });
    assert_eq!(flushed, load.keys.len());
    took.cpu_ns_per(load.keys.len())
}

/// A flush in which every stream has its own series, up to its encoding as OTLP; nothing is sent.
pub fn otlp(load: &Load) -> Took {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settings = OtelSettings::default().max_unprocessed_bytes(usize::MAX);
    let settings = settings.traces(false).logs(false).metrics(false);
    let telemetry = runtime.block_on(async {
        Telemetry::builder().flush_interval(Duration::from_hours(24)).otel(settings).start()
    });
    let telemetry = telemetry.unwrap();
    let streams = load.keys.len();
    let keys: Vec<_> = (0..streams)
        .map(|nth| {
            let class = TrackClass { source: Some(TrackSource::Camera), kind: TrackKind::Video };
            let (room, who, track) =
                (format!("RM_{:09}", nth / 100), format!("PA_{nth:012}"), format!("TR_{nth:012}"));
            let who = ParticipantInfo { sid: who, ..ParticipantInfo::default() };
            let room = Room { sid: room, name: "a room".into(), ..Room::default() };
            let at = ParticipantContext::new(&room, &who);
            telemetry.participant_joined(at, None, None, false, None);
            if nth % 10_000 == 0 {
                runtime.block_on(telemetry.idle());
            }
            StatsKey::for_track(&room.sid, &who.sid, &track, Direction::Upstream, "DE", class)
        })
        .collect();
    let window = || {
        runtime.block_on(telemetry.idle());
        for _ in 0..REPORTS {
            for (key, stat) in keys.iter().zip(&load.stats) {
                telemetry.track_stats(key, stat);
            }
        }
    };
    // The first window opens the series, with a zero point each.
    window();
    runtime.block_on(telemetry.force_flush()).unwrap();
    window();
    took(|| runtime.block_on(telemetry.force_flush()).unwrap()).1
}
