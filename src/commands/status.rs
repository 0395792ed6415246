//! `livekit-otel status`: the ledger of a running server, and what does not work.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use thiserror::Error;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::{Failure, TIMEOUT};
use crate::cli::StatusArgs;
use livekit_otel_ledger::health::Report;
use livekit_otel_ledger::report::render_ledger;
use livekit_otel_ledger::status::Status;
use livekit_otel_transport::client::{self, Client};
use livekit_otel_transport::hint::{Attempt, Protocol, hint};

const MAX_ANSWER: usize = 1 << 20;

/// A server's ledger can't be read.
#[derive(Debug, Error)]
#[error("{attempted} did not return a ledger{}", advice(.source, .attempted))]
pub struct StatusError {
    attempted: Attempt,
    source: Reason,
}

#[derive(Debug, Error)]
enum Reason {
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    #[error("the request failed")]
    NoAnswer(#[from] hyper_util::client::legacy::Error),
    #[error("no answer in time")]
    Timeout(#[from] Elapsed),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer broke off, or is too large")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("the answer is not a ledger of this version")]
    Format(#[source] serde_json::Error),
}

// The likely reason, and what to do.
fn advice(reason: &Reason, attempted: &Attempt) -> String {
    let text = match reason {
        Reason::Status(StatusCode::NOT_FOUND) => Some(
            "The admin listener has /status (listen.admin); the webhook listener has it with \
             listen.status_on_webhooks"
                .to_owned(),
        ),
        reason => hint(reason, attempted),
    };
    text.map(|text| format!(" ({})", text.trim_end_matches('.'))).unwrap_or_default()
}

/// Requests the ledger from the server whose admin listener is at `admin`.
///
/// # Errors
/// If the server can't be reached, or the answer is not a ledger.
pub async fn fetch(admin: &Authority) -> Result<Status, StatusError> {
    let url = format!("http://{admin}/status");
    fetch_url(&url.parse().unwrap_or_default(), None).await
}

/// Requests the ledger from a URL; over TLS it trusts the certificates in `ca`, or those of the system.
///
/// # Errors
/// If the server can't be reached, or the answer is not a ledger.
pub async fn fetch_url(url: &Uri, ca: Option<&Path>) -> Result<Status, StatusError> {
    let attempted = Attempt::new(url, Protocol::Http);
    read(url, ca).await.map_err(|source| StatusError { attempted, source })
}

async fn read(uri: &Uri, ca: Option<&Path>) -> Result<Status, Reason> {
    let request = Request::get(uri).body(Full::default())?;
    let client = client(uri, ca)?;
    let (head, body) = timeout(TIMEOUT, client.request(request)).await??.into_parts();
    if head.status != StatusCode::OK {
        return Err(Reason::Status(head.status));
    }
    let body = timeout(TIMEOUT, Limited::new(body, MAX_ANSWER).collect()).await?;
    let body = body.map_err(Reason::Body)?;
    serde_json::from_slice(&body.to_bytes()).map_err(Reason::Format)
}

fn client(uri: &Uri, ca: Option<&Path>) -> Result<Client, Reason> {
    let is_https = uri.scheme_str() == Some("https");
    #[cfg(feature = "tls")]
    if let Some(ca) = ca.filter(|_| is_https) {
        let tls = livekit_otel_transport::tls::Tls::default().with_ca(ca);
        let config = tls.for_http().map_err(|error| Reason::Tls(super::chain(&error)))?;
        return Ok(client::trusting(config));
    }
    #[cfg(not(feature = "tls"))]
    if is_https || ca.is_some() {
        return Err(Reason::Tls("this build has no TLS".to_owned()));
    }
    client::new(is_https).map_err(|error| Reason::Tls(super::chain(&error)))
}

pub(super) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    let mut out = io::stdout();
    let status = match &args.url {
        Some(url) => fetch_url(url, args.ca.as_deref()).await?,
        None => fetch(&args.admin).await?,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
    } else {
        render_ledger(&status.ledger, &mut out, 80)?;
        render_health(&status, &mut out)?;
    }
    // A container's health check runs this: to start it again mends no collector and no disk.
    Ok(status.ledger.check()?)
}

fn render_health(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let health = &status.health;
    if *health == Report::default() {
        return Ok(());
    }
    writeln!(out)?;
    match &health.intake {
        None => writeln!(out, "  ready: input is accepted")?,
        Some(paused) => writeln!(out, "  NOT ready: {}", paused.sentence())?,
    }
    if let Some(usage) = &status.journal {
        writeln!(out, "  {}", usage.sentence())?;
    }
    let has_journal = status.ledger.is_durable;
    for delivering in &health.delivery {
        let row = &status.ledger.outputs[delivering.signal as usize];
        writeln!(out, "  {}", delivering.sentence(row))?;
        let refused = delivering.refused_sentence(has_journal);
        for sentence in delivering.warning_sentence().iter().chain(&refused) {
            writeln!(out, "  {sentence}")?;
        }
    }
    for refused in &health.refusals {
        writeln!(out, "  {}", refused.sentence())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_ledger::health::NotReady;
    use livekit_otel_ledger::{Ledger, Refused};
    use livekit_otel_model::event::Time;
    use livekit_otel_model::{Signal, Source};

    fn time(seconds: i64) -> Time {
        Time::from_secs(1_795_406_960 + seconds).unwrap()
    }

    fn rendered(ledger: &Ledger) -> String {
        let status = Status::new(ledger.snapshot(), ledger.health().report(), None, 0);
        let mut text = Vec::new();
        render_health(&status, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_does_not_work_is_shown() {
        let ledger = Ledger::default();
        let health = ledger.health();
        ledger.queued(Signal::Logs, 5);
        health.set_target(Signal::Traces, "collector:4317", "grpc");
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        health.set_intake(time(0), Some((NotReady::DiskFull, "0 bytes left".to_owned())));
        health.delivery_failed(Signal::Logs, time(1), "refu\x1bsed", Some("Is it running?"));
        health.records_refused(Signal::Traces, time(2), 7, "no such tenant");
        health.records_warned(Signal::Traces, time(2), "soon");
        health.refused(Source::Webhook, Refused::Signature, time(3), "the secret differs");
        let expected = "
  NOT ready: nothing is accepted since 2026-11-23T04:09:20Z: disk_full. 0 bytes left
  collector:4317 (grpc) has not accepted any traces
  collector:4317 accepts traces with a warning, the last at 2026-11-23T04:09:22Z: soon
  collector:4317 refused 7 records of traces for good, the last at 2026-11-23T04:09:22Z: no such tenant
  logs are not delivered to collector:4317 (grpc) since 2026-11-23T04:09:21Z, 5 records wait: refu\u{fffd}sed. Is it running?
  webhook refused, the last at 2026-11-23T04:09:23Z: signature: the secret differs
";
        assert_eq!(rendered(&ledger), expected);
    }

    #[test]
    fn a_server_that_reports_no_health_has_no_lines_for_it() {
        assert_eq!(rendered(&Ledger::default()), "");
    }
}
