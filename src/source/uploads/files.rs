//! A directory for the audio and the history of recordings. A recording's files appear under their names
//! once they are whole and synced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use super::Directory;

// Of a name of a room or a job.
const MAX_NAME: usize = 64;
// Written together.
const BLOCK: usize = 256 << 10;
const UNFINISHED: &str = "part";

/// A part of a recording that may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    History,
    Audio,
}

impl Piece {
    fn extension(self) -> &'static str {
        match self {
            Self::History => "json",
            Self::Audio => "ogg",
        }
    }
}

// Whether it is a file of this program, `NUMBER.ogg.part` or `NUMBER.json.part`, that was not finished.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts: Vec<_> = name.split('.').collect();
    let [number, "ogg" | "json", UNFINISHED] = parts[..] else { return false };
    path.is_file() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The directory.
#[derive(Debug, Clone)]
pub(in crate::source) struct Recordings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    max_bytes: u64,
    used: AtomicU64,
    next: AtomicU64,
}

impl Recordings {
    /// Opens or creates the directory, for its owner only. Removes what was not finished.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        let Directory { path, max_bytes } = directory.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if fs::metadata(&path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        }
        let mut used = 0;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if is_unfinished(&entry.path()) {
                fs::remove_file(entry.path())?;
            } else {
                used += entry.metadata()?.len();
            }
        }
        let (used, next) = (AtomicU64::new(used), AtomicU64::new(0));
        Ok(Self(Arc::new(Shared { path, max_bytes, used, next })))
    }

    /// Begins a recording.
    pub(super) fn begin(&self) -> Writer {
        let number = self.0.next.fetch_add(1, Relaxed);
        let unfinished = Unfinished {
            shared: Arc::clone(&self.0),
            number,
            files: Vec::new(),
            bytes: 0,
            is_full: false,
        };
        Writer { unfinished: Some(unfinished), pending: Vec::new(), size: 0 }
    }
}

/// Writes the files of one recording. Dropped before it is committed, it removes them.
#[derive(Debug)]
pub(super) struct Writer {
    // Taken while another thread writes, and gone after an error.
    unfinished: Option<Unfinished>,
    pending: Vec<(Piece, Bytes)>,
    size: usize,
}

impl Writer {
    /// Writes the next bytes of a part.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) async fn write(&mut self, piece: Piece, bytes: Bytes) -> io::Result<()> {
        self.size += bytes.len();
        self.pending.push((piece, bytes));
        if self.size < BLOCK { Ok(()) } else { self.flush(|_| Ok(())).await }
    }

    /// Syncs the files and gives them their name. Returns how many bytes they have; `None` if they did not
    /// fit into the directory and are discarded.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) async fn commit(mut self, name: String) -> io::Result<Option<u64>> {
        self.flush(move |unfinished| unfinished.commit(&name)).await
    }

    async fn flush<T: Send + 'static>(
        &mut self,
        then: impl FnOnce(&mut Unfinished) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let gone = || io::Error::other("an earlier write failed");
        let mut unfinished = self.unfinished.take().ok_or_else(gone)?;
        let pending = std::mem::take(&mut self.pending);
        self.size = 0;
        let written = tokio::task::spawn_blocking(move || {
            for (piece, bytes) in pending {
                unfinished.write(piece, &bytes)?;
            }
            let done = then(&mut unfinished)?;
            Ok::<_, io::Error>((unfinished, done))
        });
        let (unfinished, done) = written.await.map_err(io::Error::other)??;
        self.unfinished = Some(unfinished);
        Ok(done)
    }
}

// Files that have no name yet; removed when this is dropped.
#[derive(Debug)]
struct Unfinished {
    shared: Arc<Shared>,
    number: u64,
    files: Vec<(Piece, PathBuf, File)>,
    bytes: u64,
    is_full: bool,
}

impl Unfinished {
    fn write(&mut self, piece: Piece, bytes: &[u8]) -> io::Result<()> {
        if self.is_full || !self.take(bytes.len() as u64) {
            self.is_full = true;
            self.discard();
            return Ok(());
        }
        self.file(piece)?.write_all(bytes)
    }

    fn take(&mut self, bytes: u64) -> bool {
        let fits =
            |used: u64| used.checked_add(bytes).filter(|used| *used <= self.shared.max_bytes);
        let fits = self.shared.used.fetch_update(Relaxed, Relaxed, fits).is_ok();
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    fn file(&mut self, piece: Piece) -> io::Result<&mut File> {
        let at = match self.files.iter().position(|(of, _, _)| *of == piece) {
            Some(at) => at,
            None => {
                let name = format!("{}.{}.{UNFINISHED}", self.number, piece.extension());
                let path = self.shared.path.join(name);
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                self.files.push((piece, path, file));
                self.files.len() - 1
            }
        };
        Ok(&mut self.files[at].2)
    }

    fn commit(&mut self, name: &str) -> io::Result<Option<u64>> {
        if self.is_full {
            return Ok(None);
        }
        for (_, _, file) in &self.files {
            file.sync_all()?;
        }
        for (piece, path, _) in std::mem::take(&mut self.files) {
            let named = self.shared.path.join(format!("{name}.{}", piece.extension()));
            // Of the same recording, sent again after a crash.
            let replaced = fs::metadata(&named).map_or(0, |found| found.len());
            fs::rename(path, named)?;
            // It may have been changed since its size was counted.
            let less = |used: u64| Some(used.saturating_sub(replaced));
            let _ = self.shared.used.fetch_update(Relaxed, Relaxed, less);
        }
        sync_directory(&self.shared.path)?;
        Ok(Some(std::mem::take(&mut self.bytes)))
    }

    fn discard(&mut self) {
        for (_, path, _) in self.files.drain(..) {
            // A file that is left is removed at the next start.
            let _ = fs::remove_file(path);
        }
        self.shared.used.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.discard();
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The name of a recording's files. It has letters, digits, dashes and underlines only, whatever the
/// sender says.
pub(super) fn name(room: &str, job: &str, start: u64) -> String {
    let part = |text: &str| {
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let text: String = text.chars().take(MAX_NAME).map(safe).collect();
        if text.is_empty() { "unknown".to_owned() } else { text }
    };
    format!("{}.{}.{}", part(room), part(job), start / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, max_bytes: u64) -> Recordings {
        Recordings::open(&Directory { path: path.to_owned(), max_bytes }).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn files_are_their_owners_and_appear_when_they_are_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("recordings");
        let recordings = open(&path, 1 << 20);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        let mut writer = recordings.begin();
        for piece in [Piece::History, Piece::Audio, Piece::Audio] {
            writer.write(piece, Bytes::from(vec![b'x'; BLOCK])).await.unwrap();
        }
        assert_eq!(names(&path), ["0.json.part", "0.ogg.part"]);
        let name = name("RM_1", "AJ_1", 5_000_000);
        assert_eq!(writer.commit(name).await.unwrap(), Some(3 * BLOCK as u64));
        assert_eq!(names(&path), ["RM_1.AJ_1.5.json", "RM_1.AJ_1.5.ogg"]);
        assert_eq!(mode(&path.join("RM_1.AJ_1.5.ogg")), 0o600);
        assert_eq!(fs::metadata(path.join("RM_1.AJ_1.5.ogg")).unwrap().len(), 2 * BLOCK as u64);
        // Sent again after a crash: replaced, and counted once.
        let recordings = open(&path, 1 << 20);
        let mut writer = recordings.begin();
        writer.write(Piece::Audio, Bytes::from_static(b"again")).await.unwrap();
        writer.commit("RM_1.AJ_1.5".to_owned()).await.unwrap();
        assert_eq!(recordings.0.used.load(Relaxed), BLOCK as u64 + 5);
    }

    #[tokio::test]
    async fn a_recording_that_breaks_off_or_does_not_fit_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let recordings = open(place.path(), BLOCK as u64);
        let mut writer = recordings.begin();
        writer.write(Piece::Audio, Bytes::from(vec![0; BLOCK])).await.unwrap();
        drop(writer);
        assert_eq!((names(place.path()).len(), recordings.0.used.load(Relaxed)), (0, 0));
        let mut writer = recordings.begin();
        for _ in 0..3 {
            writer.write(Piece::Audio, Bytes::from(vec![0; BLOCK])).await.unwrap();
        }
        assert_eq!(writer.commit("x".to_owned()).await.unwrap(), None);
        assert_eq!((names(place.path()).len(), recordings.0.used.load(Relaxed)), (0, 0));
        fs::write(place.path().join("7.ogg.part"), "unfinished").unwrap();
        fs::write(place.path().join("film.part"), "another program's").unwrap();
        fs::create_dir(place.path().join("7.json.part")).unwrap();
        open(place.path(), 1);
        assert_eq!(names(place.path()), ["7.json.part", "film.part"]);
    }

    #[tokio::test]
    async fn a_file_that_grew_since_it_was_counted_leaves_space_for_others() {
        let place = tempfile::tempdir().unwrap();
        let recordings = open(place.path(), 1 << 20);
        fs::write(place.path().join("x.ogg"), vec![0; 3 * BLOCK]).unwrap();
        for name in ["x", "y"] {
            let mut writer = recordings.begin();
            writer.write(Piece::Audio, Bytes::from_static(b"audio")).await.unwrap();
            assert_eq!(writer.commit(name.to_owned()).await.unwrap(), Some(5), "{name}");
        }
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        for (room, job) in [("../..", "/etc/passwd"), ("a.b\0c", "d\ne"), ("", "é")] {
            let name = name(room, job, 0);
            let parts: Vec<_> = name.split('.').collect();
            assert_eq!(parts.len(), 3, "{name}");
            let safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            assert!(parts.iter().all(|part| !part.is_empty() && part.chars().all(safe)), "{name}");
        }
        assert!(name(&"a".repeat(1000), "b", u64::MAX).len() < 200);
    }
}
