//! Logs how the delivery of a signal goes, and reports it to the health of the process. A cause is logged once a
//! minute at most, with what happened since.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Cause;
use livekit_otel_ledger::Ledger;
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_transport::hint::{Attempt, Protocol};
use livekit_otel_transport::repeats::{self, Ended, Outage};

// Between lines about the same cause.
const MINUTE: Duration = Duration::from_mins(1);
// Further statuses within a minute are counted with another one.
const MOST_LINES: usize = 16;

/// Reports the delivery of one signal.
pub(crate) struct Reporter {
    signal: Signal,
    attempted: Attempt,
    // Without query and credentials; `None` over gRPC, where it has no more than host and port.
    url: Option<String>,
    ledger: Arc<Ledger>,
    outage: Mutex<Outage>,
    lines: Mutex<Vec<Line>>,
}

/// How a collector answered a request, other than by accepting all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It never accepts them: they are dead letters.
    Refused,
    /// It never accepts them, and there is no space for dead letters.
    Lost,
    /// It never accepts them, and dead letters can't be written now.
    Waiting,
    /// It may accept the halves of the request.
    TooLarge,
    /// It rejected some of the request.
    Rejected,
    /// It accepted them with a warning.
    Warned,
}

// A kind of answer that was logged within the last minute.
struct Line {
    answered: Answered,
    cause: Cause,
    // Not logged yet.
    records: u64,
    requests: u64,
    logged: Instant,
}

impl Line {
    // The status without the collector's words, which may differ each time.
    fn is_of(&self, answered: Answered, cause: &Cause) -> bool {
        let code = |cause: &Cause| cause.text.split(':').next().map(ToOwned::to_owned);
        let has_code = !matches!(answered, Answered::Rejected | Answered::Warned);
        self.answered == answered && (!has_code || code(&self.cause) == code(cause))
    }
}

impl Reporter {
    pub(crate) fn new(
        signal: Signal,
        attempted: Attempt,
        url: String,
        ledger: Arc<Ledger>,
    ) -> Self {
        let protocol = attempted.protocol().as_str();
        ledger.health().set_target(signal, attempted.address(), protocol);
        let url = Some(url).filter(|_| attempted.protocol() == Protocol::OtlpHttp);
        Self { signal, attempted, url, ledger, outage: Mutex::default(), lines: Mutex::default() }
    }

    /// An attempt failed, and is repeated. `is_misconfigured`: the answer is not from an OTLP endpoint.
    pub(crate) fn failed(&self, cause: &Cause, is_misconfigured: bool) {
        let (now, time) = (Instant::now().into_std(), SystemTime::now());
        let (hint, at) = (cause.hint.as_deref(), Time::from_system(time));
        self.ledger.health().delivery_failed(self.signal, at, &cause.text, hint);
        match self.outage.lock().failed(&cause.text, (now, time)) {
            Some(repeats::Line::Failed) => self.log_failure(cause, is_misconfigured),
            Some(repeats::Line::Still(since)) => self.log_again(since, cause),
            None => {}
        }
    }

    fn log_failure(&self, cause: &Cause, is_misconfigured: bool) {
        let (signal, collector, protocol) = self.target();
        let proxy = self.attempted.proxy();
        let (reason, hint) = (&cause.text, cause.hint.as_deref());
        if is_misconfigured {
            let url = self.url.as_deref();
            tracing::warn!(
                signal,
                collector,
                protocol,
                proxy,
                url,
                reason,
                hint,
                "this is not an OTLP endpoint: nothing is delivered until the endpoint is corrected"
            );
        } else {
            tracing::warn!(
                signal,
                collector,
                protocol,
                proxy,
                reason,
                hint,
                "can't deliver, retrying"
            );
        }
    }

    fn log_again(&self, since: SystemTime, cause: &Cause) {
        let (signal, collector, protocol) = self.target();
        let waiting = self.waiting();
        let proxy = self.attempted.proxy();
        let (reason, hint, since) = (&cause.text, cause.hint.as_deref(), rfc3339(since));
        tracing::warn!(
            signal,
            collector,
            protocol,
            proxy,
            reason,
            hint,
            "still undeliverable, {waiting} waiting, since {since}"
        );
    }

    /// The collector answered for itself. Returns whether it did not before; `is_delivered`: it accepted records.
    pub(crate) fn answered(&self, is_delivered: bool) -> bool {
        let mut outage = self.outage.lock();
        if !outage.succeeded(Instant::now().into_std()) {
            return false;
        }
        if !is_delivered {
            outage.forget();
        }
        self.ledger.health().delivery_recovered(self.signal);
        true
    }

    fn log_recovery(&self, outage: Ended) {
        let (signal, collector, protocol) = self.target();
        let (since, seconds) = (rfc3339(outage.since), outage.lasted.as_secs());
        // More than one where it came and went.
        let times = Some(outage.times).filter(|times| *times > 1);
        tracing::info!(signal, collector, protocol, since, seconds, times, "delivering again");
    }

    /// The collector said `cause` of a request, which concerns so many records.
    pub(crate) fn note(&self, answered: Answered, cause: &Cause, records: u64) {
        let time = Time::from_system(SystemTime::now());
        let health = self.ledger.health();
        match answered {
            Answered::Refused | Answered::Rejected => {
                health.records_refused(self.signal, time, records, &cause.text);
            }
            Answered::Lost => {
                health.records_refused(self.signal, time, records, &cause.text);
                health.refused_lost(self.signal, records);
            }
            Answered::Warned => health.records_warned(self.signal, time, &cause.text),
            Answered::TooLarge | Answered::Waiting => {}
        }
        let now = Instant::now();
        let mut lines = self.lines.lock();
        let is_full = lines.len() >= MOST_LINES;
        let known = lines.iter().position(|line| line.is_of(answered, cause));
        let known = known.or_else(|| {
            let same = lines.iter().position(|line| line.answered == answered);
            same.filter(|_| is_full)
        });
        if let Some(line) = known.map(|at| &mut lines[at]) {
            line.cause.clone_from(cause);
            line.records += records;
            line.requests += 1;
            return;
        }
        let mut line = Line { answered, cause: cause.clone(), records, requests: 1, logged: now };
        self.log(&line);
        (line.records, line.requests) = (0, 0);
        lines.push(line);
    }

    /// When [`Reporter::flush`] has something to log.
    pub(crate) fn due(&self) -> Option<Instant> {
        let recovered = self.outage.lock().due().map(Instant::from_std);
        let lines = self.lines.lock();
        let pending = lines.iter().filter(|line| line.requests > 0);
        pending.map(|line| line.logged + MINUTE).chain(recovered).min()
    }

    /// Logs what was not logged for a minute, or with `all` everything that was not logged.
    pub(crate) fn flush(&self, all: bool) {
        let now = Instant::now();
        if let Some(outage) = self.outage.lock().over(now.into_std(), all) {
            self.log_recovery(outage);
        }
        self.lines.lock().retain_mut(|line| {
            if !all && now - line.logged < MINUTE {
                return true;
            }
            let is_pending = line.requests > 0;
            self.log(line);
            (line.records, line.requests, line.logged) = (0, 0, now);
            is_pending
        });
    }

    fn log(&self, line: &Line) {
        let Line { answered, cause, records, requests, .. } = line;
        if *requests == 0 {
            return;
        }
        let (signal, collector, protocol) = self.target();
        let proxy = self.attempted.proxy();
        let (reason, hint, url) = (&cause.text, cause.hint.as_deref(), self.url.as_deref());
        macro_rules! log {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    signal, collector, protocol, proxy, url, reason, hint, records, requests, $text
                )
            };
        }
        match answered {
            Answered::Refused => log!(warn, "the collector refused records: they are dead letters"),
            Answered::Lost => log!(
                error,
                "the collector refused records, and they are lost: dead letters are full (set_aside.max_bytes)"
            ),
            Answered::Waiting => log!(
                warn,
                "the collector refused records: they wait until dead letters can be written"
            ),
            Answered::TooLarge => log!(warn, "too large for the collector: requests are split"),
            Answered::Rejected => log!(warn, "the collector rejected some records of a request"),
            Answered::Warned => log!(warn, "the collector accepted records with a warning"),
        }
    }

    fn target(&self) -> (&'static str, &str, &'static str) {
        let Self { signal, attempted, .. } = self;
        (signal.as_str(), attempted.address(), attempted.protocol().as_str())
    }

    fn waiting(&self) -> u64 {
        self.ledger.snapshot().outputs[self.signal as usize].waiting()
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.flush(true);
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
