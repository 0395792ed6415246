//! `livekit-otel status`: the ledger of a running server.

use std::error::Error;
use std::io::Write;

use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use thiserror::Error;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::{Failure, TIMEOUT};
use crate::cli::StatusArgs;
use livekit_otel_ledger::report::render_ledger;
use livekit_otel_ledger::status::Status;
use livekit_otel_transport::client;

const MAX_ANSWER: usize = 1 << 20;

/// A server's ledger can't be read.
#[derive(Debug, Error)]
#[error("{uri} did not return a ledger")]
pub struct StatusError {
    uri: Uri,
    source: Reason,
}

#[derive(Debug, Error)]
enum Reason {
    #[error(transparent)]
    Request(#[from] http::Error),
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

/// Requests the ledger from the server whose admin listener is at `admin`.
///
/// # Errors
/// If the server can't be reached, or the answer is not a ledger.
pub async fn fetch(admin: &Authority) -> Result<Status, StatusError> {
    let path = format!("http://{admin}/status");
    let uri: Uri = path.parse().unwrap_or_default();
    read(&uri).await.map_err(|source| StatusError { uri, source })
}

async fn read(uri: &Uri) -> Result<Status, Reason> {
    let request = Request::get(uri).body(Full::default())?;
    let (head, body) = timeout(TIMEOUT, client::plain().request(request)).await??.into_parts();
    if head.status != StatusCode::OK {
        return Err(Reason::Status(head.status));
    }
    let body = timeout(TIMEOUT, Limited::new(body, MAX_ANSWER).collect()).await?;
    let body = body.map_err(Reason::Body)?;
    serde_json::from_slice(&body.to_bytes()).map_err(Reason::Format)
}

pub(super) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let status = fetch(&args.admin).await?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
        return Ok(());
    }
    render_ledger(&status.ledger, &mut out, 80)?;
    Ok(status.ledger.check()?)
}
