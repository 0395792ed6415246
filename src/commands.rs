//! The commands that look at a running or stopped `serve` from outside.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;

use crate::config::Config;
use livekit_otel_durable::journal::{DeadLetter, Payload, letters, open_letter};
use livekit_otel_durable::store::Directory;
use livekit_otel_export as export;
use livekit_otel_ledger::report::grouped;
use livekit_otel_ledger::status::Status;
use livekit_otel_model::Signal;
use livekit_otel_model::printable::visible;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1 << 20;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CommandError {
    /// `serve` can't be asked.
    #[error("{uri} can't be asked: {error}")]
    Unreachable {
        /// Whom.
        uri: Uri,
        /// Why.
        error: String,
    },
    /// Nothing was ever set aside there.
    #[error("{} is no journal's directory: {why}", path.display())]
    NoJournal {
        /// What was given.
        path: PathBuf,
        /// What it lacks.
        why: &'static str,
    },
    /// There is no such letter.
    #[error("there is no letter {0}")]
    NoLetter(String),
    /// The output or a letter's file can't be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A letter was not taken; it is kept.
    #[error("{0} of the letters were not taken, and are kept")]
    NotTaken(usize),
}

/// Asks `serve` at `admin` for its ledger.
///
/// # Errors
/// Where it can't be asked, or answers something else.
pub async fn status(admin: &str) -> Result<Status, CommandError> {
    let uri: Uri = format!("http://{admin}/status").parse().unwrap_or_default();
    let unreachable = |error: &dyn std::fmt::Display| CommandError::Unreachable {
        uri: uri.clone(),
        error: error.to_string(),
    };
    let request = Request::get(&uri).body(Full::default()).map_err(|error| unreachable(&error))?;
    let (head, body) = ask(request).await.map_err(|error| unreachable(&error))?.into_parts();
    if head.status != StatusCode::OK {
        return Err(unreachable(&head.status));
    }
    let body = tokio::time::timeout(TIMEOUT, Limited::new(body, MAX_ANSWER).collect()).await;
    let body = body.map_err(|_| unreachable(&"no answer"))?.map_err(|error| unreachable(&error))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|_| unreachable(&"no ledger of this version"))
}

// Gives an answer's head, which decides; its body may still come.
async fn ask(request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
    let client: Client<HttpConnector, _> = Client::builder(TokioExecutor::new()).build_http();
    match tokio::time::timeout(TIMEOUT, client.request(request)).await {
        Ok(answer) => answer.map_err(|error| livekit_otel_transport::chain(&error)),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// What was set aside in a journal's directory.
#[derive(Debug)]
pub struct DeadLetterFiles {
    files: Vec<PathBuf>,
}

fn id(file: &Path) -> String {
    visible(&file.file_stem().unwrap_or_default().to_string_lossy()).into_owned()
}

impl DeadLetterFiles {
    /// Those of `ids`; all where there are none.
    ///
    /// # Errors
    /// Where the directory is no journal's or can't be read, or an id is no letter's.
    pub fn find(directory: &Path, ids: &[String]) -> Result<Self, CommandError> {
        let lacks = |why| CommandError::NoJournal { path: directory.to_owned(), why };
        if !directory.is_dir() {
            return Err(lacks("there is no such directory"));
        }
        if !Directory::was_at(directory) {
            return Err(lacks("no livekit-otel had its journal there"));
        }
        let mut files = letters(directory)?;
        for wanted in ids {
            if !files.iter().any(|file| id(file) == *wanted) {
                return Err(CommandError::NoLetter(wanted.clone()));
            }
        }
        files.retain(|file| ids.is_empty() || ids.contains(&id(file)));
        Ok(Self { files })
    }

    /// Writes a line for each.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn list(&self, out: &mut impl Write) -> Result<(), CommandError> {
        if self.files.is_empty() {
            writeln!(out, "Nothing is set aside.")?;
        }
        for file in &self.files {
            match open_letter(file) {
                Ok((letter, payload)) => {
                    let DeadLetter { items, at, reason, .. } = letter;
                    let at = Duration::from_nanos(at.nanos());
                    let at = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + at);
                    let reason = visible(&reason);
                    let (items, bytes) = (grouped(items), grouped(payload.len() as u64));
                    writeln!(out, "{}  {at}  {items} records  {bytes} bytes  {reason}", id(file))?;
                }
                Err(error) => writeln!(out, "{}  can't be read: {error}", id(file))?,
            }
        }
        Ok(())
    }

    /// Removes them.
    ///
    /// # Errors
    /// Where a file can't be removed.
    pub fn forget(&self, out: &mut impl Write) -> Result<(), CommandError> {
        for file in &self.files {
            std::fs::remove_file(file)?;
            writeln!(out, "{}  dropped", id(file))?;
        }
        Ok(())
    }

    /// Sends them once more: records to the collector, webhooks to `serve`. What is taken is
    /// removed.
    ///
    /// # Errors
    /// Where one is not taken.
    pub async fn retry(&self, config: &Config, out: &mut impl Write) -> Result<(), CommandError> {
        let mut kept = 0;
        for file in &self.files {
            let sent = match open_letter(file) {
                Ok((letter, payload)) => send(letter.payload, payload, config).await,
                Err(error) => Err(error.to_string()),
            };
            match sent {
                Ok(()) => {
                    std::fs::remove_file(file)?;
                    writeln!(out, "{}  taken", id(file))?;
                }
                Err(reason) => {
                    kept += 1;
                    writeln!(out, "{}  not taken: {}", id(file), visible(&reason))?;
                }
            }
        }
        if kept > 0 { Err(CommandError::NotTaken(kept)) } else { Ok(()) }
    }
}

async fn send(payload: Payload, content: Bytes, config: &Config) -> Result<(), String> {
    let signal = match payload {
        Payload::Traces => Signal::Traces,
        Payload::Logs => Signal::Logs,
        Payload::Metrics => Signal::Metrics,
        Payload::Webhook => return post(content, config).await,
        Payload::Events | Payload::Stats | Payload::NodeRooms | Payload::Api => {
            return Err("only webhooks and records can be sent once more".to_owned());
        }
    };
    export::send_once(&config.export, signal, content).await
}

// A webhook that a newer version may read goes the way that it came.
async fn post(body: Bytes, config: &Config) -> Result<(), String> {
    if livekit_otel_livekit::webhook(&body).is_err() {
        return Err("this version can't read it either".to_owned());
    }
    let (key, secret) = config.keys.first().ok_or("there is no key to sign it with")?;
    let token = livekit_otel_livekit::token::sign(&body, &key, &secret)
        .map_err(|error| error.to_string())?;
    let request = Request::post(format!("http://{}/webhook", config.http));
    let request = request.header(AUTHORIZATION, token).body(Full::new(body));
    taken(request.map_err(|error| error.to_string())?).await
}

async fn taken(request: Request<Full<Bytes>>) -> Result<(), String> {
    let status = ask(request).await?.status();
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use livekit_otel_durable::journal::DeadLetters;
    use livekit_otel_durable::store::{Directory, Files};
    use livekit_otel_model::event::Time;

    #[tokio::test]
    async fn a_letters_reason_does_nothing_to_the_terminal() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), Arc::new(Files)).unwrap();
        let set_aside = DeadLetters::on_disk(&Arc::new(directory), 1000).unwrap();
        let at = Time::from_secs(1_795_406_960).unwrap();
        let reason = "no\x1b[2J\u{202e}\r\n".to_owned();
        let letter = DeadLetter { payload: Payload::Logs, items: 1, at, reason };
        set_aside.keep("logs-1", &letter, &Bytes::new()).await;
        let mut out = Vec::new();
        DeadLetterFiles::find(place.path(), &[]).unwrap().list(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("  no�[2J���\n"), "{out:?}");
    }

    #[tokio::test]
    async fn a_webhook_is_taken_by_its_status_whatever_the_body_is() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut", Ok(())),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone", Ok(())),
            ("HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\n", Err("401 Unauthorized".to_owned())),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = format!("http://{}/webhook", listener.local_addr().unwrap());
            let answering = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1000]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let request = Request::post(to).body(Full::from("{}")).unwrap();
            assert_eq!(taken(request).await, expected, "{answer}");
            answering.await.unwrap();
        }
    }
}
