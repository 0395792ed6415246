//! A directory that one process has locked, with files that are replaced as a whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Space, sync_directory};
use super::frame::{LONGEST, encode, too_long};
use super::private;

pub use super::error::OpenError;

const LOCK: &str = "lock";
const DRAFT: &str = "draft";

/// A directory, locked against other processes until this is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: File,
}

impl Directory {
    /// Locks the directory, creating it if necessary. If other users may open it or anything in it, takes
    /// their access away and logs that.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Io { path: path.to_owned(), error };
        private::create_directory(path).map_err(failed)?;
        let was_open = private::tighten(path, false, &fs::metadata(path).map_err(failed)?)?;
        let options = private::options().create(true).truncate(false).write(true).clone();
        // Another user may have put a link there, or a pipe that nobody reads.
        let options = private::without_following(options);
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
            tracing::warn!(%directory, files = open, "other users could open the journal: they no longer can");
        }
        Ok(Self { path: path.to_owned(), disk, _lock: lock })
    }

    /// Whether any process ever locked `path`.
    pub fn was_at(path: &Path) -> bool {
        path.join(LOCK).is_file()
    }

    /// Whether a process has locked `path` now. Changes nothing.
    pub fn is_in_use(path: &Path) -> bool {
        let options = private::without_following(private::options().read(true).clone());
        let lock = options.open(path.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size and the free space of its volume.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn space(&self) -> io::Result<Space> {
        self.disk.space(&self.path)
    }

    /// The disk that writes its files.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Writes a file of records as a whole, or not at all, in place of the file of that name. Returns its
    /// size.
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
            // It only takes space; the next one overwrites it.
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

// A process that was killed leaves incomplete files, which only take space.
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

/// A file of records while it is written.
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
    /// Those of the file system, and if the record is longer than [`LONGEST`].
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
