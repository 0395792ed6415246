//! Accepts uploads: whom, once, and only what the journal has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{FORWARDED, HeaderName, ORIGIN};
use http::{Extensions, HeaderMap, Method, Request};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::Settings;
use super::answer::{Busy, Problem};
use super::body::{LARGE, Memory, work};
use super::files::Recordings;
use super::seen::{Claim, First, Key, Seen};
use crate::source::budget::Budget;
use crate::source::refusals::{Refusals, Sender, Warnings, advice};
use crate::source::{Peer, Shared, accepted};
use livekit_otel_ledger::Refused;
use livekit_otel_livekit::Read;
use livekit_otel_livekit::token::{self, Refusal};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Unknown};
use livekit_otel_model::foreign::{Facts, Upload};

// Agents send a request again for 10 s, and a recording for 15 minutes.
const REQUESTS_REMEMBERED: Duration = Duration::from_mins(1);
const RECORDINGS_REMEMBERED: Duration = Duration::from_mins(15);
// The requests of 10,000 sessions in that time; about 40 B each.
const MAX_REQUESTS: usize = 1 << 20;
const MAX_RECORDINGS: usize = 1 << 16;
// Jobs whose content must not be stored. A job's records repeat that.
const REDACTED_REMEMBERED: Duration = Duration::from_hours(24);
const MAX_REDACTED: usize = 1 << 17;
// For space in the journal below the reserve, which is left to senders that retry less.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What both listeners share.
#[derive(Debug)]
pub(in crate::source) struct Intake {
    pub(super) shared: Shared,
    pub(super) budget: Budget,
    pub(super) max_body: usize,
    pub(super) recordings: Option<Recordings>,
    requests_seen: Arc<Seen>,
    recordings_seen: Arc<Seen>,
    redacted: Seen,
    // A large request takes several times its size while it is read, so they are read one after the other.
    large: tokio::sync::Mutex<()>,
    pub(super) refusals: Refusals,
    /// About recordings that are not kept, by the cause.
    pub(super) recording_warnings: Warnings<&'static str>,
}

/// A listener through which uploads arrive.
#[derive(Debug, Clone)]
pub(in crate::source) struct Door {
    pub(super) intake: Arc<Intake>,
    is_served: bool,
    // All its clients have a certificate that it trusts.
    is_certified: bool,
}

impl Intake {
    /// # Errors
    /// If the directory of the recordings can't be used.
    pub(in crate::source) fn new(
        shared: Shared,
        settings: &Settings,
    ) -> std::io::Result<Arc<Self>> {
        let recordings = settings.recordings.as_ref().map(Recordings::open).transpose()?;
        let refusals = Refusals::new(&shared.ledger);
        Ok(Arc::new(Self {
            shared,
            budget: Budget::new(settings.unfinished, settings.max_body),
            max_body: settings.max_body,
            recordings,
            requests_seen: Arc::new(Seen::new(REQUESTS_REMEMBERED, MAX_REQUESTS)),
            recordings_seen: Arc::new(Seen::new(RECORDINGS_REMEMBERED, MAX_RECORDINGS)),
            large: tokio::sync::Mutex::default(),
            redacted: Seen::new(REDACTED_REMEMBERED, MAX_REDACTED),
            refusals,
            recording_warnings: Warnings::default(),
        }))
    }

    /// A listener at that address.
    pub(in crate::source) fn door(
        self: &Arc<Self>,
        enabled: Option<bool>,
        at: SocketAddr,
        is_certified: bool,
    ) -> Door {
        let is_served = enabled.unwrap_or_else(|| at.ip().is_loopback());
        Door { intake: Arc::clone(self), is_served, is_certified }
    }

    /// Records a refused upload.
    pub(super) fn refused(&self, source: Source, problem: Problem, of: &Extensions) -> Problem {
        let text = problem.advice(&self.shared.journal);
        self.refusals.note((source, problem.refused(), &text), &Sender::of(of));
        problem
    }

    /// Records a request to a path that no route serves. Scanners try many with GET.
    pub(super) fn not_served<B>(&self, request: &Request<B>) {
        if request.method() == Method::POST {
            let sender = Sender::of(request.extensions()).asking(request.uri().path());
            let refusal = (Source::Webhook, Refused::WrongPath, advice::WRONG_PATH);
            self.refusals.note(refusal, &sender);
        } else {
            self.refusals.count(Source::Webhook, Refused::WrongPath);
        }
    }

    /// Accepts an OTLP request, once it is in the journal. Returns how many of its records can't be used.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) async fn request(
        &self,
        source: Source,
        body: Bytes,
        memory: Memory,
    ) -> Result<u64, Problem> {
        let hashed = body.clone();
        let key = work(body.len(), move || key([&[source as u8], &hashed])).await?;
        let claim = match self.requests_seen.first(key).await {
            First::New(claim) => claim,
            First::Repeat(items) => {
                self.repeated(source, items);
                return Ok(0);
            }
        };
        self.append(source, body, claim, memory).await
    }

    /// The claim of a recording's header; `None` if the recording was acknowledged before.
    ///
    /// # Errors
    /// If the header can't be read.
    pub(super) async fn recording(
        &self,
        header: &Bytes,
    ) -> Result<(Option<Claim>, RecordingFacts), Problem> {
        let read = self.shared.reader.read(Source::AgentRecordings, header);
        let Ok(Upload::Recording(recording)) = read.map(|read| read.upload) else {
            return Err(Problem::Malformed);
        };
        let start = recording.start.map_or(0, |start| start.nanos());
        let Facts { room, job, is_redacted, .. } = recording.facts;
        let room = room.map(|room| room.to_string()).unwrap_or_default();
        let job = job.unwrap_or_default();
        let is_redacted = is_redacted || self.redacted.contains(&key([job.as_bytes()]));
        let key = if room.is_empty() {
            key([header.as_ref()])
        } else {
            key([room.as_bytes(), b"\0", job.as_bytes(), b"\0", &start.to_le_bytes()])
        };
        let facts = RecordingFacts { room, job, start, is_redacted };
        match self.recordings_seen.first(key).await {
            First::New(claim) => Ok((Some(claim), facts)),
            First::Repeat(items) => {
                self.repeated(Source::AgentRecordings, items);
                Ok((None, facts))
            }
        }
    }

    /// Appends an upload to the journal, and returns once that is synced.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) async fn append(
        &self,
        source: Source,
        body: Bytes,
        claim: Claim,
        memory: Memory,
    ) -> Result<u64, Problem> {
        let (reader, raw, size) = (Arc::clone(&self.shared.reader), body.clone(), body.len());
        let turn = if body.len() < LARGE { None } else { Some(self.large.lock().await) };
        let read = work(body.len(), move || reader.read(source, &raw).ok()).await?;
        drop(turn);
        let read = read.ok_or(Problem::Malformed)?;
        self.note_redacted(&read.upload);
        let (items, unusable) = (read.items, read.unusable);
        if items == 0 {
            // Nothing to process.
            self.shared.ledger.unusable(source, unusable);
            claim.acknowledged(0);
            return Ok(unusable);
        }
        let decoded = Decoded::Upload(read.upload);
        let read = Read { decoded, items, unusable, unknown: Unknown::default() };
        let input = accepted(source, Some(read), body, false);
        let appended = timeout(APPEND_TIMEOUT, self.shared.journal.append(input)).await;
        let Ok(Ok(mut pending)) = appended else { return Err(Problem::Busy(Busy::Journal(size))) };
        // The journal's budget has the upload now.
        drop(memory);
        // A task of its own: a client that gives up meanwhile sends the same again.
        let synced = tokio::spawn(async move {
            pending.durable().await.ok()?;
            claim.acknowledged(items);
            Some(())
        });
        match synced.await {
            Ok(Some(())) => Ok(unusable),
            Ok(None) | Err(_) => Err(Problem::Busy(Busy::Journal(size))),
        }
    }

    fn repeated(&self, source: Source, items: u64) {
        let ledger = &self.shared.ledger;
        ledger.accepted(source, items);
        ledger.processed(source, items);
        ledger.duplicates(source, items);
    }

    // Remembers jobs whose records say that content must not leave: their recordings do not.
    fn note_redacted(&self, upload: &Upload) {
        if self.recordings.is_none() {
            return;
        }
        let facts: Box<dyn Iterator<Item = &Facts>> = match upload {
            Upload::Spans(spans) => Box::new(spans.iter().map(|span| &span.facts)),
            Upload::Logs(logs) => Box::new(logs.iter().map(|log| &log.facts)),
            Upload::Metrics(_) | Upload::Recording(_) => return,
        };
        for job in facts.filter(|facts| facts.is_redacted).filter_map(|facts| facts.job.as_ref()) {
            self.redacted.insert(key([job.as_bytes()]));
        }
    }
}

/// What names a recording's files, and whether there may be any.
#[derive(Debug)]
pub(super) struct RecordingFacts {
    pub(super) room: String,
    pub(super) job: Arc<str>,
    /// When the session began, in Unix nanoseconds.
    pub(super) start: u64,
    pub(super) is_redacted: bool,
}

impl Door {
    /// Checks whether an upload may be sent. Plain OTLP needs a token, unless the client has a certificate
    /// or is on this machine; LiveKit's paths always need one.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn admit(
        &self,
        source: Source,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), Problem> {
        let refusals = &self.intake.refusals;
        if !self.is_served {
            refusals.token(source, Refusal::NotServed, &Sender::of(extensions));
            return Err(Problem::NotServed);
        }
        let is_plain =
            matches!(source, Source::OtlpTraces | Source::OtlpLogs | Source::OtlpMetrics);
        if is_plain && (self.is_certified || is_local(headers, extensions)) {
            return Ok(());
        }
        let keys = self.intake.shared.keys.now();
        token::uploads(headers, &keys, SystemTime::now()).map_err(|rule| {
            refusals.token(source, rule, &Sender::of(extensions).named(headers, &keys));
            Problem::Unauthorized
        })
    }
}

// Whether a program on this machine sent the request for itself: not a proxy, and not a browser for a page.
fn is_local(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let is_loopback = |Peer(peer): &Peer| peer.ip().to_canonical().is_loopback();
    extensions.get::<Peer>().is_some_and(is_loopback)
        && ![FORWARDED, FORWARDED_FOR, ORIGIN].iter().any(|header| headers.contains_key(header))
}

fn key<const N: usize>(parts: [&[u8]; N]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut key = Key::default();
    key.copy_from_slice(&hash[..16]);
    key
}
