//! The OpenTelemetry engine of a [`super::Telemetry`]: sessions, instruments, and their delivery.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prost::Message;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Clock;
use livekit_otel_durable::journal::{self, Accepted, DeadLetters, Journal};
use livekit_otel_engine::Engine;
use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::stats::worker::{Coalesced, Flushed};
use livekit_otel_engine::stats::{NodeReports, NodeStreamSource};
use livekit_otel_export::configure::{self, Document, Env, Errors, Flags, Reader, option, values};
use livekit_otel_export::settings::Protocol;
use livekit_otel_export::{self as export, Exporter};
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat};
use livekit_otel_livekit::{self as proto, Read};
use livekit_otel_model::Source;
use livekit_otel_model::event::{
    Caller, Counts, Decoded, Direction, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat,
    Time, TrackSid,
};
use livekit_otel_pipeline::periodic;
use livekit_otel_pipeline::{self as pipeline, Ticks};

/// How a [`super::Telemetry`] makes and delivers spans, log records and metrics.
#[derive(Debug, Clone)]
pub struct OtelSettings {
    /// How long the sessions wait.
    pub session: session::Settings,
    /// What the instruments are told.
    pub stats: stats::Settings,
    /// Where the signals go.
    pub export: export::Settings,
    /// How much may wait for the sessions, in bytes.
    pub journal_bytes: usize,
    /// How much of what can't be delivered is kept, in bytes.
    pub set_aside_bytes: u64,
}

impl OtelSettings {
    /// As OpenTelemetry's variables have it (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, …), its defaults where they are not set.
    ///
    /// # Errors
    /// All that is wrong in them, each with its variable.
    pub fn from_env(env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader { env, file: Document::default(), problems: Vec::new() };
        let settings = Self::read(&mut reader);
        if reader.problems.is_empty() { Ok(settings) } else { Err(Errors(reader.problems)) }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let export = configure::read(&Flags::default(), reader);
        let level = option(reader, "--stats-level", None, "stats.level");
        let level = reader.parse(level, |text| values::one_of(text, &stats::Level::NAMES));
        let stats = stats::Settings {
            level: level.unwrap_or_default(),
            temporality: export.temporality,
            ..stats::Settings::default()
        };
        Self {
            session: session::Settings::default(),
            stats,
            export,
            journal_bytes: JOURNAL_BYTES,
            set_aside_bytes: SET_ASIDE_BYTES,
        }
    }

    /// To this collector, over gRPC and without TLS, whatever the environment says:
    /// `http://127.0.0.1:4317`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &http::Uri) -> Self {
        let export = &mut self.export;
        for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
            target.endpoint = endpoint.clone();
            target.protocol = Protocol::Grpc;
        }
        self
    }

    /// Under this `service.name`, whatever the environment says.
    #[must_use]
    pub fn service_name(mut self, name: &str) -> Self {
        self.export.resource.retain(|(key, _)| key != "service.name");
        self.export.resource.insert(0, ("service.name".to_owned(), name.to_owned()));
        self
    }
}

impl Default for OtelSettings {
    /// OpenTelemetry's defaults: a collector on this machine, over gRPC.
    fn default() -> Self {
        let env = BTreeMap::new();
        Self::read(&mut Reader { env: &env, file: Document::default(), problems: Vec::new() })
    }
}

// What the server has in memory where it has no journal on disk.
const JOURNAL_BYTES: usize = 64 << 20;
const SET_ASIDE_BYTES: u64 = 16 << 20;

/// What the pipeline is called where it breaks off.
pub(super) const PIPELINE: &str = "the pipeline";

/// The way in.
pub(super) struct Inlet {
    // Gone once the service ends: with it ends the pipeline.
    journal: RwLock<Option<Journal>>,
    ticks: Ticks,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

/// What runs.
#[derive(Debug)]
pub(super) struct Running {
    pipeline: JoinHandle<pipeline::Ended>,
    exporter: Exporter,
}

impl Running {
    pub(super) fn start(
        settings: &OtelSettings,
        ledger: &Arc<Ledger>,
        clock: &Clock,
    ) -> Result<(Self, Inlet), export::StartError> {
        let set_aside = Arc::new(DeadLetters::in_memory(settings.set_aside_bytes));
        let exporter = Exporter::start(&settings.export, Arc::clone(ledger), &set_aside)?;
        let (journal, reader) = journal::in_memory(settings.journal_bytes, ledger);
        // Each report is seen here: a window must not count again.
        let stats = stats::Settings { node_streams: NodeStreamSource::Reports, ..settings.stats };
        let engine = Engine::new(settings.session.clone(), stats, clock.now());
        let parts = pipeline::Parts {
            engine,
            sink: Arc::new(exporter.clone()),
            ledger: Arc::clone(ledger),
            dead_letters: set_aside,
            durable: None,
            tap: None,
            clock: clock.clone(),
        };
        let (ticks, pipeline) = pipeline::start(parts, reader);
        let journal = RwLock::new(Some(journal));
        let inlet = Inlet { journal, ticks, ledger: Arc::clone(ledger) };
        Ok((Self { pipeline, exporter }, inlet))
    }

    /// The clock of the flush.
    pub(super) fn clock(
        &self,
        interval: Duration,
        ledger: &Arc<Ledger>,
        tick: impl Fn() + Send + Sync + 'static,
    ) -> periodic::Clock {
        let exporter = self.exporter.clone();
        let export = move |metrics: &_| exporter.sdk_metrics(metrics);
        periodic::Clock::start(interval, Arc::clone(ledger), tick, export)
    }

    /// Once the inlet is closed: processes the rest and delivers. What was not, the ledger has. Gives
    /// what broke off.
    pub(super) async fn shutdown(
        mut self,
        clock: periodic::Clock,
        deadline: Instant,
    ) -> Vec<&'static str> {
        let mut broken = Vec::new();
        match tokio::time::timeout_at(deadline, &mut self.pipeline).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                // Not the panic's text: it may be of what was processed.
                tracing::error!("the pipeline broke off");
                broken.push(PIPELINE);
            }
            Err(_) => {
                self.pipeline.abort();
                // Only once it is gone nothing is processed behind the count.
                let _ = (&mut self.pipeline).await;
                tracing::warn!("not all that was told could be processed in time");
            }
        }
        clock.stop().await;
        self.exporter.shutdown(deadline).await;
        broken.extend(self.exporter.faults().all());
        broken
    }
}

impl Inlet {
    pub(super) fn event(&self, message: &AnalyticsEvent, caller: Option<Caller>, now: Time) {
        let mut read = proto::event(message);
        if let Decoded::Events(events) = &mut read.decoded {
            for event in events {
                event.caller = caller;
            }
        }
        self.append(Source::Events, read, message.encoded_len(), now);
    }

    pub(super) fn node_rooms(&self, message: &AnalyticsNodeRooms, now: Time) {
        self.append(Source::NodeRooms, proto::rooms(message), message.encoded_len(), now);
    }

    pub(super) fn stats(&self, messages: &[AnalyticsStat], now: Time) {
        let size = messages.iter().map(AnalyticsStat::encoded_len).sum();
        self.append(Source::Stats, proto::windows(messages), size, now);
    }

    /// One worker's windows, finished at `at`.
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
            counts: counts(window),
            rtt: (window.rtt > 0).then(|| Duration::from_millis(window.rtt.into())),
            jitter: (window.jitter > 0).then(|| Duration::from_micros(window.jitter.into())),
        };
        let stats: Vec<_> = flushed.windows.iter().map(stat).collect();
        let items = stats.len() as u64;
        // About what one takes in memory.
        let size = stats.len() * size_of::<StreamStat>();
        let decoded = Decoded::Stats(stats);
        let read = Read {
            decoded,
            items,
            unusable: 0,
            unknown: livekit_otel_model::event::Unknown::default(),
        };
        self.append(Source::Stats, read, size, at);
    }

    /// Asks for a flush; what is given is told once it is done.
    pub(super) fn flush(&self, reports: NodeReports) -> tokio::sync::oneshot::Receiver<()> {
        self.ticks.post_with(reports)
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        *self.journal.write().unwrap_or_else(PoisonError::into_inner) = None;
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
        let journal = self.journal.read().unwrap_or_else(PoisonError::into_inner);
        let taken = journal.as_ref().is_some_and(|journal| journal.try_append(accepted).is_ok());
        if !taken {
            // Of a message, as of a request: none of it is taken.
            self.ledger.refused(source, Refused::Busy);
        }
    }
}

// 1970 is "unset".
fn time(nanos: i64) -> Option<Time> {
    Time::from_nanos(u64::try_from(nanos).ok()?)
}

fn counts(window: &Coalesced) -> Counts {
    let sums = &window.sums;
    Counts {
        packets: sums.primary_packets.into(),
        bytes: sums.primary_bytes,
        retransmit_packets: sums.retransmit_packets.into(),
        retransmit_bytes: sums.retransmit_bytes,
        padding_packets: sums.padding_packets.into(),
        padding_bytes: sums.padding_bytes,
        packets_lost: sums.packets_lost.into(),
        packets_out_of_order: sums.packets_out_of_order.into(),
        frames: sums.frames.into(),
        nacks: sums.nacks.into(),
        plis: sums.plis.into(),
        firs: sums.firs.into(),
    }
}
