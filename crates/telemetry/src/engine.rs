//! The OpenTelemetry engine of a [`super::Telemetry`]: sessions, instruments, and their delivery.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::guarded::Guarded;
use super::settings::OtelSettings;
use super::sinks::Sinks;
use livekit_otel_durable::journal::{self, Accepted, DeadLetters, Journal};
use livekit_otel_engine::Engine;
use livekit_otel_engine::stats;
use livekit_otel_engine::stats::worker::{Coalesced, Flushed};
use livekit_otel_engine::stats::{NodeReports, NodeStreamSource};
use livekit_otel_export::{Exporter, StartError};
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat};
use livekit_otel_livekit::{self as livekit, Read};
use livekit_otel_model::Source;
use livekit_otel_model::event::{
    Caller, Counts, Decoded, Direction, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat,
    Time, TrackSid, Unknown,
};
use livekit_otel_model::sink::Sink;
use livekit_otel_pipeline::periodic;
use livekit_otel_pipeline::{self as pipeline, Clock, Ticks};

/// The pipeline's name in a fault.
pub(super) const PIPELINE: &str = "the pipeline";

/// The entrance of the pipeline.
pub(super) struct Inlet {
    // `None` once the service has ended, which ends the pipeline.
    journal: RwLock<Option<Journal>>,
    ticks: Ticks,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

/// The running parts.
#[derive(Debug)]
pub(super) struct Running {
    pipeline: JoinHandle<pipeline::Ended>,
    exporter: Exporter,
}

impl Running {
    pub(super) fn start(
        settings: &OtelSettings,
        (others, guarded): (Vec<Arc<dyn Sink>>, &Arc<Guarded>),
        ledger: &Arc<Ledger>,
        clock: &Clock,
    ) -> Result<(Self, Inlet), StartError> {
        let dead_letters = Arc::new(DeadLetters::in_memory(settings.dead_letter_bytes));
        let exporter = Exporter::start(&settings.export, Arc::clone(ledger), &dead_letters)?;
        let (journal, reader) = journal::in_memory(settings.journal_bytes, ledger);
        // The node counts each report: a window must not count again.
        let stats = stats::Settings { node_streams: NodeStreamSource::Reports, ..settings.stats };
        let engine = Engine::new(settings.session.clone(), stats, clock.now());
        let sink: Arc<dyn Sink> = if others.is_empty() {
            Arc::new(exporter.clone())
        } else {
            let (exporter, guarded) = (exporter.clone(), Arc::clone(guarded));
            Arc::new(Sinks { exporter, others, guarded })
        };
        let parts = pipeline::Parts {
            engine,
            sink,
            ledger: Arc::clone(ledger),
            dead_letters,
            durable: None,
            tap: None,
            clock: clock.clone(),
            questions: None,
        };
        let (ticks, pipeline) = pipeline::start(parts, reader);
        let journal = RwLock::new(Some(journal));
        let inlet = Inlet { journal, ticks, ledger: Arc::clone(ledger) };
        Ok((Self { pipeline, exporter }, inlet))
    }

    /// The clock of the flushes.
    pub(super) fn clock(
        &self,
        interval: Duration,
        ledger: &Arc<Ledger>,
        tick: impl Fn() + Send + Sync + 'static,
    ) -> periodic::FlushTimer {
        let exporter = self.exporter.clone();
        let export = move |metrics: &_| exporter.sdk_metrics(metrics);
        periodic::FlushTimer::start(interval, Arc::clone(ledger), tick, export)
    }

    /// Processes the rest and delivers it, once the inlet is closed. The ledger counts what was not
    /// delivered. Returns the parts that panicked.
    pub(super) async fn shutdown(
        mut self,
        clock: periodic::FlushTimer,
        deadline: Instant,
    ) -> Vec<&'static str> {
        let mut panicked = Vec::new();
        match tokio::time::timeout_at(deadline, &mut self.pipeline).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                // Without the panic's text, which may contain what was processed.
                tracing::error!("the pipeline panicked");
                panicked.push(PIPELINE);
            }
            Err(_) => {
                self.pipeline.abort();
                // Until it has ended it may still process, and change the ledger.
                let _ = (&mut self.pipeline).await;
                tracing::warn!("not all events could be processed in time");
            }
        }
        clock.stop().await;
        self.exporter.shutdown(deadline).await;
        panicked.extend(self.exporter.faults().all());
        panicked
    }
}

impl Inlet {
    pub(super) fn event(&self, message: &AnalyticsEvent, caller: Option<Caller>, now: Time) {
        let mut read = livekit::event(message);
        if let Decoded::Events(events) = &mut read.decoded {
            for event in events {
                event.caller = caller;
            }
        }
        self.append(Source::Events, read, message.encoded_len(), now);
    }

    pub(super) fn node_rooms(&self, message: &AnalyticsNodeRooms, now: Time) {
        self.append(Source::NodeRooms, livekit::rooms(message), message.encoded_len(), now);
    }

    pub(super) fn stats(&self, messages: &[AnalyticsStat], now: Time) {
        let size = messages.iter().map(AnalyticsStat::encoded_len).sum();
        self.append(Source::Stats, livekit::windows(messages), size, now);
    }

    /// One worker's windows, which were finished at `at`.
    pub(super) fn windows(&self, flushed: &Flushed, at: Time, node: Option<&NodeId>) {
        let who = &flushed.who;
        let participant = ParticipantSid::from_shared(&who.participant_sid);
        let whose = RoomSid::from_shared(&who.room_sid).zip(participant);
        let Some((room, participant)) = whose else {
            return self.ledger.unusable(Source::Stats, flushed.windows.len() as u64);
        };
        let room_name = RoomName::from_shared(&who.room_name);
        let empty: Arc<str> = Arc::default();
        let stat = |(track, direction, window): &(Arc<str>, Direction, Coalesced)| StreamStat {
            id: Arc::clone(&empty),
            at: Some(at),
            node: node.cloned(),
            room: room.clone(),
            room_name: room_name.clone(),
            participant: participant.clone(),
            track: TrackSid::from_shared(track).unwrap_or_else(TrackSid::data),
            direction: *direction,
            mime_type: window.mime_type.clone(),
            score: (window.score > 0.0).then_some(window.score),
            min_score: (window.min_score > 0.0).then_some(window.min_score),
            start: window.span.and_then(|(start, _)| time(start)),
            end: window.span.and_then(|(_, end)| time(end)),
            counts: Counts::from(&window.counts),
            rtt: (window.rtt > 0).then(|| Duration::from_millis(window.rtt.into())),
            jitter: (window.jitter > 0).then(|| Duration::from_micros(window.jitter.into())),
        };
        let stats: Vec<_> = flushed.windows.iter().map(stat).collect();
        let items = stats.len() as u64;
        // About their size in memory.
        let size = stats.len() * size_of::<StreamStat>();
        let decoded = Decoded::Stats(stats);
        let read = Read { decoded, items, unusable: 0, unknown: Unknown::default() };
        self.append(Source::Stats, read, size, at);
    }

    /// Requests a flush; the receiver hears when it is done.
    pub(super) fn flush(&self, reports: NodeReports) -> oneshot::Receiver<()> {
        self.ticks.post_with(reports)
    }

    /// Accepts no more.
    pub(super) fn close(&self) {
        *self.journal.write() = None;
    }

    fn append(&self, source: Source, read: Read, size: usize, at: Time) {
        let Read { decoded, items, unusable, unknown } = read;
        let (decoded, raw) = (Some(decoded), bytes::Bytes::new());
        let accepted = Accepted {
            at,
            source,
            items,
            unusable,
            unknown,
            twin_expected: false,
            decoded,
            raw,
            size,
        };
        let journal = self.journal.read();
        let is_accepted =
            journal.as_ref().is_some_and(|journal| journal.try_append(accepted).is_ok());
        if !is_accepted {
            // A message is accepted or refused as a whole.
            self.ledger.refused(source, Refused::Busy);
        }
    }
}

// 1970 means that the time is unset.
fn time(nanos: i64) -> Option<Time> {
    Time::from_nanos(u64::try_from(nanos).ok()?)
}
