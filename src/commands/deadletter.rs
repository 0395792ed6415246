//! `livekit-otel deadletter`: lists, shows, retries and removes the dead letters of a journal.

mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use thiserror::Error;

use super::{Failure, TIMEOUT};
use crate::cli::{Deadletter, DeadletterArgs, DeadletterRetryArgs, DeadletterShowArgs, ServeArgs};
use crate::config::Config;
use livekit_otel_durable::journal::{DeadLetter, Payload, dead_letter_files, read_dead_letter};
use livekit_otel_durable::store::Directory;
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_export::{SendError, send_once};
use livekit_otel_ledger::report::grouped;
use livekit_otel_livekit::post::SignedWebhook;
use livekit_otel_livekit::{token, uploads, webhook};
use livekit_otel_model::Source;
use livekit_otel_model::printable::visible;
use livekit_otel_model::privacy::{Content, Privacy};
use livekit_otel_transport::{chain, client};

/// Why dead letters can't be listed, retried or removed.
#[derive(Debug, Error)]
pub enum DeadLetterError {
    /// The directory never had a journal.
    #[error("{} is not a journal directory: {reason}", path.display())]
    NoJournal {
        /// The directory.
        path: PathBuf,
        /// What it lacks.
        reason: &'static str,
    },
    /// No dead letter has this id.
    #[error("there is no dead letter {0}")]
    UnknownId(String),
    /// The dead letter was received, and may have what a setting hides.
    #[error(
        "{id} is kept as it was received, with what {setting} hides: only {setting}: plain writes it"
    )]
    Hidden {
        /// Its id.
        id: String,
        /// The setting.
        setting: &'static str,
    },
    /// A dead letter can't be read.
    #[error("{0} can't be read: {1}")]
    Unreadable(String, String),
    /// The output or a file can't be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// So many dead letters were not accepted; they are kept.
    #[error("{0} dead letters were not accepted, and are kept")]
    NotAccepted(usize),
    /// The collector took the rest of them: sent again, that would be there twice.
    #[error("{0} records were rejected for good, and are lost; the others were accepted")]
    Rejected(u64),
}

pub(super) async fn run(command: Deadletter) -> Result<(), Failure> {
    let mut out = io::stdout();
    let find = |args: &DeadletterArgs| DeadLetterFiles::find(&args.journal_dir, &args.ids);
    match command {
        Deadletter::List(args) => find(&args)?.list(&mut out)?,
        Deadletter::Show(args) => show(&args, &mut out)?,
        Deadletter::Drop(args) => find(&args)?.remove(&mut out)?,
        Deadletter::Retry(args) => retry(&args, &mut out).await?,
    }
    Ok(())
}

async fn retry(args: &DeadletterRetryArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (config, files) = configured(&args.serve, &args.ids)?;
    Ok(files.retry(&config, out).await?)
}

fn show(args: &DeadletterShowArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (config, files) = configured(&args.serve, std::slice::from_ref(&args.id))?;
    if args.raw {
        files.write_raw(&config, out)?;
    } else {
        files.show(out)?;
    }
    Ok(())
}

// Those in the server's directory. LiveKit's keys sign webhooks and uploads alone, so there may be none.
fn configured(args: &ServeArgs, ids: &[String]) -> Result<(Config, DeadLetterFiles), Failure> {
    let config = Config::load_with_or_without_keys(args, &ProcessEnv)
        .map_err(|errors| Failure::usage(&errors))?;
    let Some(journal) = &config.journal else {
        return Err(Failure::Usage("journal.dir: must be set".to_owned()));
    };
    let files = DeadLetterFiles::find(&journal.directory, ids)?;
    Ok((config, files))
}

/// Dead letters in a journal's directory.
#[derive(Debug)]
pub struct DeadLetterFiles {
    files: Vec<PathBuf>,
}

fn id(file: &Path) -> String {
    visible(&file.file_stem().unwrap_or_default().to_string_lossy()).into_owned()
}

fn read(file: &Path) -> Result<(DeadLetter, Bytes), DeadLetterError> {
    read_dead_letter(file).map_err(|error| DeadLetterError::Unreadable(id(file), error.to_string()))
}

impl DeadLetterFiles {
    /// Finds the dead letters with these `ids`, or all if there are no `ids`.
    ///
    /// # Errors
    /// If the directory never had a journal or can't be read, or an id is unknown.
    pub fn find(directory: &Path, ids: &[String]) -> Result<Self, DeadLetterError> {
        let lacks = |reason| DeadLetterError::NoJournal { path: directory.to_owned(), reason };
        if !directory.is_dir() {
            return Err(lacks("there is no such directory"));
        }
        if !Directory::was_at(directory) {
            return Err(lacks("livekit-otel never had a journal there"));
        }
        let mut files = dead_letter_files(directory)?;
        for wanted in ids {
            if !files.iter().any(|file| id(file) == *wanted) {
                return Err(DeadLetterError::UnknownId(wanted.clone()));
            }
        }
        files.retain(|file| ids.is_empty() || ids.contains(&id(file)));
        Ok(Self { files })
    }

    /// Writes one line for each.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn list(&self, out: &mut impl Write) -> Result<(), DeadLetterError> {
        if self.files.is_empty() {
            writeln!(out, "There are no dead letters.")?;
        }
        for file in &self.files {
            match read_dead_letter(file) {
                Ok((letter, payload)) => {
                    let DeadLetter { items, at, reason, .. } = letter;
                    let at = UNIX_EPOCH + Duration::from_nanos(at.nanos());
                    let at = humantime::format_rfc3339_seconds(at);
                    let reason = visible(&reason);
                    let (items, bytes) = (grouped(items), grouped(payload.len() as u64));
                    writeln!(out, "{}  {at}  {items} records  {bytes} bytes  {reason}", id(file))?;
                }
                Err(error) => writeln!(out, "{}  can't be read: {error}", id(file))?,
            }
        }
        Ok(())
    }

    /// Writes what each is, without what could be personal.
    ///
    /// # Errors
    /// If a file can't be read, and those of `out`.
    pub fn show(&self, out: &mut impl Write) -> Result<(), DeadLetterError> {
        for file in &self.files {
            let (letter, payload) = read(file)?;
            show::write(&id(file), file, &letter, &payload, out)?;
        }
        Ok(())
    }

    /// Writes the bytes of each. What was to be sent to the collector has passed the privacy settings; what was
    /// received has not.
    ///
    /// # Errors
    /// If a file can't be read, or was received and the settings hide what it may have; and those of `out`.
    pub fn write_raw(&self, config: &Config, out: &mut impl Write) -> Result<(), DeadLetterError> {
        for file in &self.files {
            let (letter, payload) = read(file)?;
            if let Payload::Input(source) = letter.payload {
                let hidden = |setting| Err(DeadLetterError::Hidden { id: id(file), setting });
                if !matches!(config.export.privacy, Privacy::Plain) {
                    return hidden("privacy.pii");
                }
                if source.is_upload() && config.content != Content::Plain {
                    return hidden("privacy.content");
                }
            }
            out.write_all(&payload)?;
        }
        Ok(out.flush()?)
    }

    /// Removes them.
    ///
    /// # Errors
    /// If a file can't be removed.
    pub fn remove(&self, out: &mut impl Write) -> Result<(), DeadLetterError> {
        for file in &self.files {
            std::fs::remove_file(file)?;
            writeln!(out, "{}  dropped", id(file))?;
        }
        Ok(())
    }

    /// Sends them again: OTLP records to the collector, webhooks and uploads to `serve`. Removes those that are
    /// accepted.
    ///
    /// # Errors
    /// If one is not accepted.
    pub async fn retry(
        &self,
        config: &Config,
        out: &mut impl Write,
    ) -> Result<(), DeadLetterError> {
        let (mut kept, mut lost) = (0, 0);
        for file in &self.files {
            let sent = match read_dead_letter(file) {
                Ok((letter, payload)) => send(&letter, payload, config).await,
                Err(error) => Err(error.to_string()),
            };
            match sent {
                Ok(rejected) => {
                    std::fs::remove_file(file)?;
                    match rejected {
                        None => writeln!(out, "{}  accepted", id(file))?,
                        Some((n, text)) => {
                            lost += n;
                            writeln!(out, "{}  accepted in part: {}", id(file), visible(&text))?;
                        }
                    }
                }
                Err(reason) => {
                    kept += 1;
                    writeln!(out, "{}  not accepted: {}", id(file), visible(&reason))?;
                }
            }
        }
        match (kept, lost) {
            (0, 0) => Ok(()),
            (0, lost) => Err(DeadLetterError::Rejected(lost)),
            (kept, _) => Err(DeadLetterError::NotAccepted(kept)),
        }
    }
}

// How many of its records the collector rejected, if it accepted the others, and the text about it.
type Rejected = Option<(u64, String)>;

async fn send(letter: &DeadLetter, content: Bytes, config: &Config) -> Result<Rejected, String> {
    match letter.payload {
        Payload::Output(signal) => match send_once(&config.export, signal, content).await {
            Ok(_) => Ok(None),
            Err(error) => match &error {
                SendError::Rejected { records, .. } if *records < letter.items => {
                    Ok(Some((*records, chain(&error))))
                }
                _ => Err(chain(&error)),
            },
        },
        Payload::Input(Source::Webhook) => send_webhook(content, config).await.map(|()| None),
        // A recording's audio and history are gone.
        Payload::Input(Source::AgentRecordings) => Err("it can't be sent again".to_owned()),
        Payload::Input(source) => {
            let path = uploads::path(source).ok_or("it can't be sent again")?;
            send_upload(path, content, config).await.map(|()| None)
        }
    }
}

// Through `serve`, as the first time: a newer version may be able to read it.
async fn send_webhook(body: Bytes, config: &Config) -> Result<(), String> {
    if webhook(&body).is_err() {
        return Err("this version can't read it either".to_owned());
    }
    let (key, secret) = config.keys.first().ok_or("there is no API key to sign it with")?;
    let signed = SignedWebhook::new(body, &key, &secret).map_err(|error| chain(&error))?;
    let to: Uri =
        format!("http://{}/webhook", config.http).parse().map_err(|error| chain(&error))?;
    let posted = signed.post(&client::plain(), &to, TIMEOUT).await;
    posted.map(|_| ()).map_err(|error| chain(&error))
}

// Through `serve` too.
async fn send_upload(path: &str, body: Bytes, config: &Config) -> Result<(), String> {
    let (key, secret) = config.keys.first().ok_or("there is no API key to sign it with")?;
    let token = token::mint(&key, &secret).map_err(|error| chain(&error))?;
    let media = if body.starts_with(b"{") { "application/json" } else { "application/x-protobuf" };
    let request = Request::post(format!("http://{}{path}", config.http))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, media)
        .body(Full::new(body))
        .map_err(|error| chain(&error))?;
    let answer = tokio::time::timeout(TIMEOUT, client::plain().request(request)).await;
    let answer = answer.map_err(|_| "it was not answered in time".to_owned())?;
    match answer.map_err(|error| chain(&error))?.status() {
        StatusCode::OK => Ok(()),
        status => Err(format!("answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use livekit_otel_durable::journal::DeadLetters;
    use livekit_otel_durable::store::{Directory, Files};
    use livekit_otel_model::Signal;
    use livekit_otel_model::event::Time;

    #[tokio::test]
    async fn control_characters_in_a_reason_do_not_reach_the_terminal() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), Arc::new(Files)).unwrap();
        let dead_letters = DeadLetters::on_disk(&Arc::new(directory), 1000).unwrap();
        let at = Time::from_secs(1_795_406_960).unwrap();
        let reason = "no\x1b[2J\u{202e}\r\n".to_owned();
        let letter = DeadLetter { payload: Payload::Output(Signal::Logs), items: 1, at, reason };
        dead_letters.store("logs-1", &letter, &Bytes::new()).await;
        let mut out = Vec::new();
        DeadLetterFiles::find(place.path(), &[]).unwrap().list(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("  no�[2J���\n"), "{out:?}");
    }

    #[tokio::test]
    async fn what_is_accepted_in_part_is_not_sent_again() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), Arc::new(Files)).unwrap();
        let dead_letters = DeadLetters::on_disk(&Arc::new(directory), 1000).unwrap();
        let at = Time::from_secs(1_795_406_960).unwrap();
        for (id, items) in [("logs-1", 1), ("logs-2", 2)] {
            let (payload, reason) = (Payload::Output(Signal::Logs), "no".to_owned());
            dead_letters.store(id, &DeadLetter { payload, items, at, reason }, &Bytes::new()).await;
        }
        // A partial success: 1 rejected, "bad" (ExportLogsServiceResponse).
        let router = axum::Router::new().fallback(async || {
            ([(CONTENT_TYPE, "application/x-protobuf")], *b"\x0a\x07\x08\x01\x12\x03bad")
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut config = Config::for_library(&std::collections::BTreeMap::new()).unwrap();
        config.export.logs.endpoint = format!("http://{collector}/v1/logs").parse().unwrap();
        config.export.logs.protocol = livekit_otel_export::settings::Protocol::HttpProtobuf;
        let mut out = Vec::new();
        let find = || DeadLetterFiles::find(place.path(), &[]).unwrap();
        let kept = find().retry(&config, &mut out).await.unwrap_err();
        assert_eq!(kept.to_string(), "1 dead letters were not accepted, and are kept");
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("logs-1  not accepted: ") && out.contains("logs-2  accepted in part: ")
        );
        assert!(out.contains("1 of its records were rejected: bad"), "{out}");
        assert_eq!(find().files.iter().map(|file| id(file)).collect::<Vec<_>>(), ["logs-1"]);
        server.abort();
    }
}
