//! The settings of the OpenTelemetry output.

use std::error::Error;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::endpoint::{self, EndpointError};
use livekit_otel_engine::session::{self, TraceScope};
use livekit_otel_engine::stats::{self, Histograms, Level};
use livekit_otel_export as export;
use livekit_otel_export::configure::schema::Sections;
use livekit_otel_export::configure::{self, Env, Errors, Flags, Reader, option, values};
use livekit_otel_export::settings::{Compression, Protocol, Target};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::Temporality;

// What the server keeps in memory if it has no journal on disk.
const JOURNAL_BYTES: usize = 64 << 20;
const DEAD_LETTER_BYTES: u64 = 16 << 20;

/// How a [`super::Telemetry`] makes and delivers spans, log records and metrics.
#[derive(Debug, Clone)]
#[must_use]
pub struct OtelSettings {
    pub(super) session: session::Settings,
    pub(super) stats: stats::Settings,
    pub(super) export: export::Settings,
    pub(super) journal_bytes: usize,
    pub(super) dead_letter_bytes: u64,
}

/// A header whose name or value can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("not a header's name and value")]
pub struct HeaderError(#[source] Box<dyn Error + Send + Sync>);

impl HeaderError {
    fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Env for Variables<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl Default for OtelSettings {
    /// OpenTelemetry's defaults: a collector on this machine, over gRPC.
    fn default() -> Self {
        Self::read(&Variables(|_: &str| None)).0
    }
}

impl OtelSettings {
    /// As OpenTelemetry's environment variables say (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, …), with its defaults for those that are not set.
    ///
    /// # Errors
    /// All errors in the variables, each with its variable, and its value unless it could be a secret.
    pub fn from_env() -> Result<Self, Errors> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`OtelSettings::from_env`], with the values that `variable` returns for their names.
    ///
    /// # Errors
    /// All errors in the variables, each with its variable, and its value unless it could be a secret.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Errors> {
        let (settings, problems) = Self::read(&Variables(variable));
        if problems.is_empty() { Ok(settings) } else { Err(Errors(problems)) }
    }

    fn read(env: &dyn Env) -> (Self, Vec<configure::Problem>) {
        let mut reader = Reader::new(env);
        let export = configure::read(&Flags::default(), &Sections::default(), &mut reader);
        let level = option(&reader, "--stats-level", None);
        let level = reader.parse(level, |text| values::one_of(text, &Level::NAMES));
        let stats = stats::Settings {
            level: level.unwrap_or_default(),
            temporality: export.temporality,
            ..stats::Settings::default()
        };
        let settings = Self {
            session: session::Settings::default(),
            stats,
            export,
            journal_bytes: JOURNAL_BYTES,
            dead_letter_bytes: DEAD_LETTER_BYTES,
        };
        (settings, reader.problems)
    }

    // For sinks alone: no signal is sent over OTLP.
    pub(super) fn unsent() -> Self {
        Self::default().traces(false).logs(false).metrics(false)
    }

    fn targets(&mut self) -> [&mut Target; 3] {
        let export = &mut self.export;
        [&mut export.traces, &mut export.logs, &mut export.metrics]
    }
}

/// Where the signals go.
impl OtelSettings {
    /// To this collector over gRPC, whatever the environment says: `http://127.0.0.1:4317`. An
    /// `https` endpoint needs the feature `tls`.
    ///
    /// # Errors
    /// If it is not an http or https URL with a host.
    pub fn endpoint(mut self, endpoint: &str) -> Result<Self, EndpointError> {
        let endpoint = endpoint::parse(endpoint)?;
        for target in self.targets() {
            target.endpoint = endpoint.clone();
            target.protocol = Protocol::Grpc;
        }
        Ok(self)
    }

    /// Whether traces are sent.
    pub fn traces(mut self, is_sent: bool) -> Self {
        self.export.traces.enabled = is_sent;
        self
    }

    /// Whether logs are sent.
    pub fn logs(mut self, is_sent: bool) -> Self {
        self.export.logs.enabled = is_sent;
        self
    }

    /// Whether metrics are sent.
    pub fn metrics(mut self, is_sent: bool) -> Self {
        self.export.metrics.enabled = is_sent;
        self
    }

    /// How long one attempt to send may take; 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        for target in self.targets() {
            target.timeout = timeout;
        }
        self
    }

    /// How requests are compressed; not by default.
    pub fn compression(mut self, compression: Compression) -> Self {
        for target in self.targets() {
            target.compression = compression;
        }
        self
    }

    /// A header of each request, in place of one with the same name. `Debug` does not show its value.
    ///
    /// # Errors
    /// If a name or value like this can't be sent.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        let name = HeaderName::try_from(name).map_err(HeaderError::new)?;
        let mut value = HeaderValue::try_from(value).map_err(HeaderError::new)?;
        value.set_sensitive(true);
        for target in self.targets() {
            target.headers.0.retain(|(each, _)| *each != name);
            target.headers.0.push((name.clone(), value.clone()));
        }
        Ok(self)
    }

    /// The PEM file of the trusted certificates, in place of the system's.
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        for target in self.targets() {
            target.tls = mem::take(&mut target.tls).with_ca(&path);
        }
        self
    }

    /// The PEM files of the client's certificate and its key, for mTLS.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        for target in self.targets() {
            target.tls = mem::take(&mut target.tls).with_client(&certificate, &key);
        }
        self
    }

    /// The resource's `service.name`, whatever the environment says.
    pub fn service_name(self, name: &str) -> Self {
        self.attribute("service.name", name)
    }

    /// An attribute of the resource, in place of one with the same key. `service.name` comes first.
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        let resource = &mut self.export.resource;
        resource.retain(|(each, _)| each != key);
        let place = if key == "service.name" { 0 } else { resource.len() };
        resource.insert(place, (key.to_owned(), value.to_owned()));
        self
    }

    /// How personal data is sent; unchanged by default.
    pub fn privacy(mut self, privacy: Privacy) -> Self {
        self.export.privacy = privacy;
        self
    }
}

/// How rooms become spans.
impl OtelSettings {
    /// How long a participant's spans wait after its end for its last stats; 35 s. Longer than the
    /// interval of the flushes ([`super::Builder::flush_interval`]).
    pub fn linger(mut self, linger: Duration) -> Self {
        self.session.linger = linger;
        self
    }

    /// A room that reported nothing for this long counts as over; 24 h.
    pub fn silent_after(mut self, silence: Duration) -> Self {
        self.session.silent_after = silence;
        self
    }

    /// After how long an egress that has not begun to record is reported as stuck; 90 s.
    pub fn egress_starting(mut self, time: Duration) -> Self {
        self.session.egress_starting = time;
        self
    }

    /// After how long an egress that is ending, with its uploads, is reported as stuck; 5 min.
    pub fn egress_ending(mut self, time: Duration) -> Self {
        self.session.egress_ending = time;
        self
    }

    /// How long ended rooms are kept for late events; 1 h.
    pub fn keep_ended(mut self, time: Duration) -> Self {
        self.session.keep_ended = time;
        self
    }

    /// How long after that the ids of ended rooms are remembered, so that no room has two spans; 48 h.
    pub fn keep_ended_ids(mut self, time: Duration) -> Self {
        self.session.keep_ended_ids = time;
        self
    }

    /// What shares a trace; a room and everything in it.
    pub fn trace_scope(mut self, scope: TraceScope) -> Self {
        self.session.scope = scope;
        self
    }

    /// The most spans of a trace; 5000.
    pub fn max_spans(mut self, spans: usize) -> Self {
        self.session.max_spans = spans;
        self
    }

    /// Participants who join a room that is older than this get a trace of their own; 6 h.
    pub fn max_trace_age(mut self, age: Duration) -> Self {
        self.session.max_age = age;
        self
    }

    /// Whether each subscription has a span. A room's subscriptions grow as the square of its
    /// participants; not by default.
    pub fn subscription_spans(mut self, are_made: bool) -> Self {
        self.session.subscriptions = are_made;
        self
    }

    /// The URL that shows a trace, with `{trace_id}` in place of its id.
    pub fn trace_url(mut self, url: &str) -> Self {
        self.session.trace_url = Some(Arc::from(url));
        self
    }
}

/// How streams become metrics.
impl OtelSettings {
    /// What has its own series; each participant.
    pub fn level(mut self, level: Level) -> Self {
        self.stats.level = level;
        self
    }

    /// The most series of each instrument of streams, operations and usage; 100,000. Further ones share one series.
    pub fn cardinality_limit(mut self, series: usize) -> Self {
        self.stats.cardinality_limit = series;
        self
    }

    /// Whether series have the names of their room and participant beside the ids; they have by default.
    pub fn names(mut self, are_sent: bool) -> Self {
        self.stats.names = are_sent;
        self
    }

    /// How many of the participants with the worst media are named; none by default.
    pub fn top_n(mut self, participants: usize) -> Self {
        self.stats.top_n = participants;
        self
    }

    /// The buckets of histograms.
    pub fn histograms(mut self, histograms: Histograms) -> Self {
        self.stats.histograms = histograms;
        self
    }

    /// Whether sums and histograms count from their start or from the last flush.
    pub fn temporality(mut self, temporality: Temporality) -> Self {
        self.stats.temporality = temporality;
        self.export.temporality = temporality;
        self
    }
}

/// Limits of memory.
impl OtelSettings {
    /// The most bytes of events and stats that wait to be processed; 64 MiB. Further ones are refused
    /// and counted.
    pub fn max_unprocessed_bytes(mut self, bytes: usize) -> Self {
        self.journal_bytes = bytes;
        self
    }

    /// The most encoded bytes of each signal that wait for delivery; 64 MiB.
    pub fn max_queue_bytes(mut self, bytes: usize) -> Self {
        self.export.max_queue_bytes = bytes;
        self
    }

    /// The most bytes of a request before compression; 1 MiB. Collectors accept 4 MiB by default.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.export.max_request_bytes = bytes;
        self
    }

    /// The most bytes of ended rooms; 128 MiB. Beyond that the oldest are forgotten early.
    pub fn max_ended_bytes(mut self, bytes: usize) -> Self {
        self.session.max_ended = bytes;
        self
    }

    /// The most ids of received messages, and of forgotten rooms, that are remembered; 3,500,000 of each.
    /// Beyond that the oldest are forgotten early.
    pub fn max_ids(mut self, ids: usize) -> Self {
        self.session.max_ids = ids;
        self
    }

    /// The most bytes of records that are kept because they can't be delivered; 16 MiB.
    pub fn dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.dead_letter_bytes = bytes;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Without `..`, so that a new setting of the engine does not compile before it is here.
    #[test]
    fn each_setting_of_the_engine_can_be_set() {
        let time = Duration::from_secs;
        let settings = OtelSettings::default()
            .linger(time(1))
            .silent_after(time(2))
            .egress_starting(time(11))
            .egress_ending(time(12))
            .keep_ended(time(3))
            .keep_ended_ids(time(4))
            .max_trace_age(time(5))
            .max_ended_bytes(6)
            .max_ids(7)
            .max_spans(8)
            .trace_scope(TraceScope::Participant)
            .subscription_spans(true)
            .trace_url("https://traces.example/{trace_id}")
            .level(Level::Track)
            .cardinality_limit(9)
            .names(false)
            .top_n(10)
            .histograms(Histograms::Exponential)
            .temporality(Temporality::Delta);
        let default = session::Settings::default();
        let session = session::Settings {
            linger: time(1),
            silent_after: time(2),
            egress_starting: time(11),
            egress_ending: time(12),
            keep_ended: time(3),
            keep_ended_ids: time(4),
            max_age: time(5),
            max_ended: 6,
            max_ids: 7,
            max_spans: 8,
            scope: TraceScope::Participant,
            subscriptions: true,
            trace_url: Some("https://traces.example/{trace_id}".into()),
            // A program has one source of its events.
            twin_wait: default.twin_wait,
            // It receives no uploads.
            agent_traces: default.agent_traces,
            // It asks no API for dispatches.
            dispatch_deadline: default.dispatch_deadline,
            agents_expected: default.agents_expected,
        };
        assert_eq!(settings.session, session);
        let stats = stats::Settings {
            level: Level::Track,
            cardinality_limit: 9,
            names: false,
            top_n: 10,
            histograms: Histograms::Exponential,
            temporality: Temporality::Delta,
            // Starting the service sets it.
            node_streams: stats::NodeStreamSource::default(),
        };
        assert_eq!(settings.stats, stats);
        assert_eq!(settings.export.temporality, Temporality::Delta);
    }

    #[test]
    fn settings_of_requests_apply_to_each_signal() {
        let settings = OtelSettings::default().compression(Compression::Zstd);
        let settings = settings.header("x-tenant", "a").unwrap().header("X-Tenant", "b").unwrap();
        let settings = settings.timeout(Duration::from_secs(1)).max_request_bytes(1 << 10);
        let mut settings = settings.ca("ca.pem").client_certificate("c.pem", "k.pem");
        for target in settings.targets() {
            assert_eq!(
                (target.compression, target.timeout),
                (Compression::Zstd, Duration::from_secs(1))
            );
            let header = ("x-tenant".parse().unwrap(), "b".parse().unwrap());
            assert_eq!(target.headers.0, [header]);
            assert_eq!(target.tls.paths(), ["ca.pem", "c.pem", "k.pem"].map(PathBuf::from));
        }
        assert_eq!(settings.export.max_request_bytes, 1 << 10);
        for (name, value) in [("x tenant", "a"), ("x-tenant", "a\n")] {
            let error = OtelSettings::default().header(name, value).unwrap_err();
            assert!(error.source().is_some());
        }
    }
}
