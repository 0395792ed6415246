//! A running livekit-otel at the configured admin address: its version, whether it is ready, and what does
//! not work in it.

use std::iter;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Deserialize;
use tokio::time::timeout;

use super::check::{Check, no_answer, words};
use super::http::Got;
use super::local;
use livekit_otel_ledger::health::Delivering;
use livekit_otel_ledger::sentences::Sentence;
use livekit_otel_ledger::status::Status;
use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};

const SERVER: &str = "server";
const REFUSALS: &str = "server.refusals";
const DELIVERY: [&str; 3] = ["server.traces", "server.logs", "server.metrics"];

// Older ones are of no more use than the ledger.
const RECENT: Duration = Duration::from_mins(10);

/// A running server.
#[derive(Debug, Clone)]
pub(super) struct Running {
    address: SocketAddr,
    version: String,
    /// `None` if its format is of another version.
    pub(super) status: Option<Status>,
    // What /readyz answered.
    ready: Result<(), String>,
}

/// No running server answers at the admin address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing listens there.
    Closed,
    /// Something is there that does not answer as livekit-otel does: it may be one that hangs.
    Unclear(String),
}

impl Running {
    /// Requests the status of the server whose admin listener is at `address`, for up to `limit`.
    pub(super) async fn find(address: SocketAddr, limit: Duration) -> Result<Self, Absent> {
        let found = timeout(limit, Self::at(address)).await;
        found.unwrap_or_else(|_| Err(Absent::Unclear(no_answer(limit))))
    }

    async fn at(address: SocketAddr) -> Result<Self, Absent> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        if local::connects(address).await.is_err() {
            return Err(Absent::Closed);
        }
        let got = ask(address, "/status").await.map_err(Absent::Unclear)?;
        let Ok(Version { version }) = serde_json::from_slice(&got.body) else {
            return Err(Absent::Unclear(format!("/status is answered {}", got.status)));
        };
        let status = serde_json::from_slice(&got.body).ok();
        let ready = match ask(address, "/readyz").await {
            Ok(got) if got.status == StatusCode::OK => Ok(()),
            Ok(got) => Err(words(&String::from_utf8_lossy(&got.body))),
            Err(why) => Err(why),
        };
        Ok(Self { address, version: words(&version), status, ready })
    }

    /// How many webhooks it has accepted.
    pub(super) fn webhooks(&self) -> Option<u64> {
        let mut inputs = self.status.as_ref()?.ledger.inputs.iter();
        Some(inputs.find(|row| row.source == Source::Webhook)?.accepted)
    }

    /// Why it refused a webhook last, if it refused any after `since`.
    pub(super) fn refused_since(&self, since: SystemTime) -> Option<&str> {
        let since = Time::from_system(since);
        let refusals = self.status.as_ref()?.health.refusals.iter();
        let refusals = refusals.filter(|it| it.source == Source::Webhook && it.last >= since);
        Some(&refusals.max_by_key(|it| it.last)?.text)
    }
}

async fn ask(address: SocketAddr, path: &str) -> Result<Got, String> {
    local::get(address, None, path).await.map_err(|error| words(&error))
}

/// What the running server reports of itself.
pub(super) fn check(
    running: Result<&Running, &Absent>,
    admin: SocketAddr,
    now: SystemTime,
) -> Vec<Check> {
    let running = match running {
        Ok(running) => running,
        Err(Absent::Closed) => {
            let text = format!("no livekit-otel answers at {admin}, the admin listener");
            return vec![Check::skip(SERVER, text)];
        }
        Err(Absent::Unclear(why)) => {
            let text = format!("{admin}, the admin listener, does not answer /status: {why}");
            let advice =
                "Is it a livekit-otel that hangs, or another program (`ss -ltnp` names it)?";
            return vec![Check::fail(SERVER, text).advice(advice)];
        }
    };
    let mut checks = vec![running.check()];
    let Some(status) = &running.status else { return checks };
    checks.extend(status.journal.as_ref().filter(|usage| usage.is_high()).map(|usage| {
        Check::warn(SERVER, usage.sentence().text)
            .advice("At the limit nothing is accepted. Is the collector reachable?")
    }));
    checks.extend(status.health.delivery.iter().flat_map(|it| delivering(it, status)));
    let since = Time::from_system(now - RECENT);
    let recent = status.health.refusals.iter().filter(|refused| refused.last >= since);
    checks.extend(recent.map(|refused| Check::warn(REFUSALS, refused.sentence().text)));
    checks
}

impl Running {
    fn check(&self) -> Check {
        let Self { address, version, status, ready } = self;
        let ours = env!("CARGO_PKG_VERSION");
        let what = format!("livekit-otel {version} runs at {address}");
        let paused = status.as_ref().and_then(|status| status.health.intake.as_ref());
        if let Some(paused) = paused {
            let Sentence { text, advice } = paused.sentence();
            return Check::fail(SERVER, format!("{what}, and {text}")).advised(advice);
        }
        match ready {
            Err(why) => Check::fail(SERVER, format!("{what}, and is not ready: {why}")),
            Ok(()) if status.is_none() => {
                let text =
                    format!("{what}, and is ready; this is {ours}, which can't read its status");
                Check::warn(SERVER, text).advice("Use the doctor of the server's version")
            }
            Ok(()) => Check::ok(SERVER, format!("{what}, and is ready")),
        }
    }
}

fn delivering(it: &Delivering, status: &Status) -> Vec<Check> {
    let check = name(it.signal);
    let row = &status.ledger.outputs[it.signal as usize];
    let warnings =
        it.refused_sentence(status.ledger.is_durable).into_iter().chain(it.warning_sentence());
    let warnings =
        warnings.map(|sentence| Check::warn(check, sentence.text).advised(sentence.advice));
    let Sentence { text, advice } = it.sentence(row);
    if it.failing.is_some() {
        return iter::once(Check::fail(check, text).advised(advice)).chain(warnings).collect();
    }
    let warnings: Vec<Check> = warnings.collect();
    if warnings.is_empty() { vec![Check::ok(check, text)] } else { warnings }
}

fn name(signal: Signal) -> &'static str {
    DELIVERY[signal as usize]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use livekit_otel_ledger::health::NotReady;
    use livekit_otel_ledger::status::{JournalUse, LimitedBy};
    use livekit_otel_ledger::{Ledger, Refused};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_406_960 + seconds)
    }

    fn lines(running: Result<&Running, &Absent>) -> String {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 9293));
        let mut out = Vec::new();
        for check in check(running, admin, at(700)) {
            check.render(&mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn running(ledger: &Ledger, ready: Result<(), String>) -> Running {
        let status = Status::new(ledger.snapshot(), ledger.health().report(), None, 0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9293));
        Running { address, version: "0.1.0".to_owned(), status: Some(status), ready }
    }

    #[test]
    fn a_server_that_works_has_a_line_for_itself_and_for_each_signal() {
        let ledger = Ledger::default();
        ledger.health().set_target(Signal::Traces, "collector:4317", "grpc");
        let expected = "\
ok    server              livekit-otel 0.1.0 runs at 127.0.0.1:9293, and is ready
ok    server.traces       no traces were sent to collector:4317 (grpc) yet
";
        assert_eq!(lines(Ok(&running(&ledger, Ok(())))), expected);
        let mut full = running(&ledger, Ok(()));
        let limited_by = LimitedBy::MaxBytes;
        let usage = JournalUse { used: 800, limit: 1000, highest: 900, limited_by };
        full.status.as_mut().unwrap().journal = Some(usage);
        let warned = "warn  server              the journal uses 80% of 1,000 bytes (journal.max_bytes), \
                      and used up to 90% since the start. At the limit nothing is accepted. Is the \
                      collector reachable?\n";
        assert!(lines(Ok(&full)).contains(warned), "{}", lines(Ok(&full)));
        let absent = "skip  server              no livekit-otel answers at 127.0.0.1:9293, the admin listener\n";
        assert_eq!(lines(Err(&Absent::Closed)), absent);
    }

    #[test]
    fn each_fault_of_a_running_server_has_a_line_with_its_cause() {
        let (ledger, time) = (Ledger::default(), |seconds| Time::from_system(at(seconds)));
        let health = ledger.health();
        let full = "1.0 MiB of 1.0 MiB: raise journal.max_bytes".to_owned();
        health.set_intake(time(0), Some((NotReady::JournalFull, full.clone())));
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        health.delivery_failed(Signal::Logs, time(1), "connection refused", Some("Is it running?"));
        health.records_refused(Signal::Logs, time(2), 3, "no such tenant");
        health.records_warned(Signal::Logs, time(3), "a name was shortened");
        ledger.queued(Signal::Logs, 5);
        health.refused(Source::Webhook, Refused::Signature, time(99), "too long ago");
        health.refused(Source::Webhook, Refused::Signature, time(600), "the secret differs");
        health.refused(Source::Stats, Refused::NoGrant, time(99), "too long ago");
        let expected = "\
FAIL  server              livekit-otel 0.1.0 runs at 127.0.0.1:9293, and nothing is accepted since 2026-11-23T04:09:20Z: journal_full. 1.0 MiB of 1.0 MiB: raise journal.max_bytes
FAIL  server.logs         logs are not delivered to collector:4317 (grpc) since 2026-11-23T04:09:21Z, 5 records wait: connection refused. Is it running?
warn  server.logs         collector:4317 refused 3 records of logs for good, the last at 2026-11-23T04:09:22Z: no such tenant
warn  server.logs         collector:4317 accepts logs with a warning, the last at 2026-11-23T04:09:23Z: a name was shortened
warn  server.refusals     webhook refused, the last at 2026-11-23T04:19:20Z: signature: the secret differs
";
        let running = running(&ledger, Err("journal_full".to_owned()));
        assert_eq!(lines(Ok(&running)), expected);
        assert_eq!(running.refused_since(at(600)), Some("the secret differs"));
        assert_eq!(running.refused_since(at(601)), None);
    }
}
