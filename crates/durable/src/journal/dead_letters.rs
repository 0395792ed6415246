//! Dead letters: inputs that can't be processed and requests that can't be delivered, kept unchanged with
//! the reason, in memory or in files that `livekit-otel deadletter` lists.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::store::{self, Directory, Frames};
use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};

const FOLDER: &str = "deadletter";
const SUFFIX: &str = "letter";
const MINUTE: Duration = Duration::from_mins(1);

/// The kind of a dead letter's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// A message as it was received, or the header of a recording.
    Input(Source),
    /// An encoded OTLP request.
    Output(Signal),
}

impl Payload {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input(source) => source.as_str(),
            Self::Output(signal) => signal.as_str(),
        }
    }
}

/// A dead letter without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The payload's kind.
    pub payload: Payload,
    /// How many records or items it holds.
    pub items: u64,
    /// When it was kept.
    pub at: Time,
    /// Why.
    pub reason: String,
}

/// The result of storing a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Yes,
    /// The limit leaves no space for it.
    Full,
    /// The disk failed; a retry may succeed.
    Failed,
}

/// Stores dead letters.
#[derive(Debug)]
pub struct DeadLetters {
    place: Place,
    max_bytes: u64,
    // One is stored at a time, so that the limit holds.
    storing: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
    failing: Mutex<Failing>,
}

#[derive(Debug, Default)]
struct Failing {
    logged: Option<Instant>,
    // Since then.
    attempts: u64,
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    bytes: u64,
}

#[derive(Debug)]
enum Place {
    Memory(Mutex<Vec<(DeadLetter, Bytes)>>),
    Disk(Arc<Directory>),
}

impl DeadLetters {
    /// Holds up to `max_bytes`, until the process ends.
    pub fn in_memory(max_bytes: u64) -> Self {
        Self::new(Place::Memory(Mutex::default()), max_bytes, Held::default())
    }

    /// Holds up to `max_bytes` in files.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn on_disk(directory: &Arc<Directory>, max_bytes: u64) -> io::Result<Self> {
        store::create_directory(&directory.path().join(FOLDER))?;
        let mut held = Held::default();
        for letter in dead_letter_files(directory.path())? {
            held.count += 1;
            held.bytes += fs::metadata(&letter).map_or(0, |file| file.len());
        }
        let place = Place::Disk(Arc::clone(directory));
        Ok(Self::new(place, max_bytes, held))
    }

    fn new(place: Place, max_bytes: u64, held: Held) -> Self {
        let (storing, failing) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { place, max_bytes, storing, held: Mutex::new(held), failing }
    }

    /// Whether the limit allows so many bytes more.
    pub fn has_capacity(&self, bytes: usize) -> bool {
        self.held().bytes + bytes as u64 <= self.max_bytes
    }

    /// Stores `payload` if the limit allows. The same payload under the same `id` is stored once, as a
    /// replay stores it again; another payload under that id is stored beside it.
    pub async fn store(&self, id: &str, letter: &DeadLetter, payload: &Bytes) -> Stored {
        let _one = self.storing.lock().await;
        if !self.has_capacity(payload.len()) {
            return Stored::Full;
        }
        self.put(id, letter, payload).await
    }

    /// Stores `payload` regardless of the limit, as it is acknowledged already.
    pub async fn store_over_limit(&self, id: &str, letter: &DeadLetter, payload: &Bytes) -> Stored {
        let _one = self.storing.lock().await;
        self.put(id, letter, payload).await
    }

    // The lock of what is held is not taken during disk access, so that readers don't wait.
    async fn put(&self, id: &str, letter: &DeadLetter, payload: &Bytes) -> Stored {
        match &self.place {
            Place::Memory(letters) => {
                letters.lock().push((letter.clone(), payload.clone()));
            }
            Place::Disk(directory) => {
                match write(directory, id.to_owned(), letter, payload).await {
                    Ok(true) => {}
                    Ok(false) => return Stored::Yes,
                    Err(error) => {
                        self.note(&error);
                        return Stored::Failed;
                    }
                }
            }
        }
        let mut held = self.held();
        held.count += 1;
        held.bytes += payload.len() as u64;
        Stored::Yes
    }

    // Callers try again each few seconds: a line a minute says enough.
    fn note(&self, error: &io::Error) {
        let now = Instant::now();
        let mut failing = self.failing.lock();
        failing.attempts += 1;
        if failing.logged.is_none_or(|logged| now - logged >= MINUTE) {
            let attempts = std::mem::take(&mut failing.attempts);
            failing.logged = Some(now);
            tracing::error!(%error, attempts, "dead letters can't be stored");
        }
    }

    /// How many are stored.
    pub fn len(&self) -> usize {
        self.held().count
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock()
    }
}

// The name of a new file; `None` if one holds this payload. A dead letter is never overwritten.
fn vacant(directory: &Path, id: &str, payload: &Bytes) -> Option<String> {
    let ids = std::iter::once(id.to_owned()).chain((2..).map(|nth: u64| format!("{id}-{nth}")));
    for name in ids.map(|id| format!("{FOLDER}/{id}.{SUFFIX}")) {
        let path = directory.join(&name);
        if !path.exists() {
            return Some(name);
        }
        if read(&path).is_ok_and(|(_, stored)| stored == *payload) {
            return None;
        }
    }
    None
}

// Runs on a thread for blocking calls. Returns whether the payload was not stored before.
async fn write(
    directory: &Arc<Directory>,
    id: String,
    letter: &DeadLetter,
    payload: &Bytes,
) -> io::Result<bool> {
    let head = serde_json::to_vec(letter)?;
    let (directory, payload) = (Arc::clone(directory), payload.clone());
    let write = move || {
        let Some(name) = vacant(directory.path(), &id, &payload) else { return Ok(false) };
        directory.replace(&name, |records| {
            records.put(&head)?;
            records.put(&payload)
        })?;
        Ok(true)
    };
    // Without the panic's message, which may quote the payload.
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|_| Err(io::Error::other("the thread that writes it panicked")))
}

/// A dead letter's file can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged or of another version.
    #[error("it is damaged or of another version")]
    Damaged,
}

/// The files of dead letters in a journal's directory, sorted by name; none if it has no such folder.
///
/// # Errors
/// Those of the file system.
pub fn dead_letter_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Reads a dead letter and its payload.
///
/// # Errors
/// [`Unreadable`].
pub fn read(file: &Path) -> Result<(DeadLetter, Bytes), Unreadable> {
    let bytes = fs::read(file)?;
    let mut frames = Frames::new(&bytes);
    let mut next = || frames.next().map(|(_, record)| record).ok_or(Unreadable::Damaged);
    let head = serde_json::from_slice(next()?).map_err(|_| Unreadable::Damaged)?;
    Ok((head, Bytes::copy_from_slice(next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Files;

    fn letter(reason: &str) -> DeadLetter {
        let at = Time::from_secs(1_795_406_960).unwrap();
        DeadLetter {
            payload: Payload::Output(Signal::Logs),
            items: 1,
            at,
            reason: reason.to_owned(),
        }
    }

    fn payloads(directory: &Path) -> Vec<Bytes> {
        let files = dead_letter_files(directory).unwrap();
        let mut payloads: Vec<_> = files.iter().map(|file| read(file).unwrap().1).collect();
        payloads.sort_unstable();
        payloads
    }

    #[tokio::test]
    async fn one_id_stores_the_same_payload_once_and_another_beside_it() {
        let place = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let directory = Arc::new(Directory::open(place.path(), Arc::new(Files)).unwrap());
            let dead_letters = DeadLetters::on_disk(&directory, 1 << 20).unwrap();
            for payload in ["a", "b", "c", "b"] {
                assert_eq!(
                    dead_letters.store("logs-1", &letter("no"), &payload.into()).await,
                    Stored::Yes
                );
            }
            assert_eq!(dead_letters.len(), 3);
        }
        assert_eq!(payloads(place.path()), ["a", "b", "c"]);
    }

    // What the log of this test's thread gets.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_fails_is_one_line_a_minute() {
        let logged = Logged::default();
        let writer = logged.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let place = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open(place.path(), Arc::new(Files)).unwrap());
        let dead_letters = DeadLetters::on_disk(&directory, 1 << 20).unwrap();
        fs::remove_dir(place.path().join(FOLDER)).unwrap();
        for _ in 0..40 {
            let stored = dead_letters.store("logs-1", &letter("no"), &"a".into()).await;
            assert_eq!(stored, Stored::Failed);
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let text = String::from_utf8(logged.0.lock().clone()).unwrap();
        assert_eq!(text.matches("dead letters can't be stored").count(), 2, "{text}");
    }

    #[tokio::test]
    async fn an_unreadable_dead_letter_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open(place.path(), Arc::new(Files)).unwrap());
        let dead_letters = DeadLetters::on_disk(&directory, 1 << 20).unwrap();
        let damaged = place.path().join(FOLDER).join("logs-1.letter");
        fs::write(&damaged, "damaged").unwrap();
        assert_eq!(dead_letters.store("logs-1", &letter("no"), &"a".into()).await, Stored::Yes);
        assert_eq!(fs::read(&damaged).unwrap(), b"damaged");
        assert_eq!(dead_letter_files(place.path()).unwrap().len(), 2);
    }
}
