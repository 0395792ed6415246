//! The directory of one process: locked, and whole files that replace each other.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::disk::{Disk, Space, sync_directory};
use super::frame::{LONGEST, encode, too_long};
use super::private;

const LOCK: &str = "lock";
const DRAFT: &str = "draft";

/// Why a directory can't be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another livekit-otel: each needs a journal.dir of its own", .0.display())]
    InUse(PathBuf),
    /// It can't be made, read or written.
    #[error("{} can't be used: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may open it, and that can't be changed.
    #[error(
        "{} has mode {mode:04o}, so that others may open it, and can't be made private: {error}",
        path.display()
    )]
    Exposed {
        /// Which file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Why it can't be changed.
        error: io::Error,
    },
}

/// A directory that no other process has; until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: File,
}

impl Directory {
    /// Makes the directory where it is not there, and locks it. Where others may open it, or what is
    /// in it, they no longer may, and a line of the log says so.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Io { path: path.to_owned(), error };
        private::create_directory(path).map_err(failed)?;
        let was_open = private::tighten(path, false, &fs::metadata(path).map_err(failed)?)?;
        let options = private::options().create(true).truncate(false).write(true).clone();
        // Whoever might write here before may have put a link there, or a pipe that nobody reads.
        let options = private::as_it_is(options);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        remove_drafts(path).map_err(failed)?;
        let open = u64::from(was_open) + private::tighten_all(path)?;
        if open > 0 {
            let directory = path.display();
            tracing::warn!(%directory, files = open, "others could open the journal: they no longer can");
        }
        Ok(Self { path: path.to_owned(), disk, _lock: lock })
    }

    /// Whether a process has it, or had it once.
    pub fn was_at(path: &Path) -> bool {
        path.join(LOCK).is_file()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much room its volume has.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn space(&self) -> io::Result<Space> {
        self.disk.space(&self.path)
    }

    /// What writes its files.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Writes a file of records, all of it or none: it replaces what had its name.
    ///
    /// # Errors
    /// Those of the file system, and of `write`.
    pub fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut Records<'_>) -> io::Result<()>,
    ) -> io::Result<u64> {
        let draft = self.path.join(format!("{name}.{DRAFT}"));
        let replaced = self.draft(&draft, write).and_then(|bytes| {
            fs::rename(&draft, self.path.join(name))?;
            sync_directory(draft.parent().unwrap_or(&self.path))?;
            Ok(bytes)
        });
        if replaced.is_err() {
            // It only takes room; the next one writes over it.
            let _ = fs::remove_file(&draft);
        }
        replaced
    }

    fn draft(
        &self,
        draft: &Path,
        write: impl FnOnce(&mut Records<'_>) -> io::Result<()>,
    ) -> io::Result<u64> {
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(draft)?;
        let to = BufWriter::with_capacity(256 << 10, Through { disk: &*self.disk, file: &file });
        let mut records = Records { to, number: 1, bytes: 0, buffer: Vec::new() };
        write(&mut records)?;
        records.to.flush()?;
        let bytes = records.bytes;
        drop(records);
        self.disk.sync(&file)?;
        Ok(bytes)
    }
}

// What a process that was killed left takes room, and is of no use.
fn remove_drafts(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_drafts(&path)?;
        } else if path.extension().is_some_and(|suffix| suffix == DRAFT) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A file of records that is being written.
#[derive(Debug)]
pub struct Records<'a> {
    to: BufWriter<Through<'a>>,
    number: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Records<'_> {
    /// Adds a record.
    ///
    /// # Errors
    /// Those of the file system, and where the record is longer than [`LONGEST`].
    pub fn put(&mut self, record: &[u8]) -> io::Result<()> {
        if record.len() > LONGEST {
            return Err(too_long());
        }
        self.buffer.clear();
        encode(self.number, record, &mut self.buffer);
        self.number += 1;
        self.bytes += self.buffer.len() as u64;
        self.to.write_all(&self.buffer)
    }
}

#[derive(Debug)]
struct Through<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
}

impl Write for Through<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
