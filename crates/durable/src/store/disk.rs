//! The calls that fail on a bad disk, behind a trait so that tests can make them fail.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::private;

/// The size of a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// How much may still be written.
    pub free: u64,
}

/// Whether a write failed because the disk or the quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The file system, as far as its failures matter.
pub trait Disk: Debug + Send + Sync {
    /// Creates a file that only its owner may open.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<File> {
        private::options().create_new(true).write(true).read(true).open(path)
    }

    /// Writes some of `bytes`; returns how many.
    ///
    /// # Errors
    /// Those of the file system.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    /// Returns once all that was written is on the device, so that a loss of power does not lose it.
    ///
    /// # Errors
    /// Those of the file system: all that was written since the last sync may be lost.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// The size and the free space of the volume that holds `directory`.
    ///
    /// # Errors
    /// Those of the file system.
    fn space(&self, directory: &Path) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(directory)?;
        // A volume without a size has no limit (tmpfs(5)).
        let bytes =
            |blocks: u64| if volume.f_blocks == 0 { u64::MAX } else { blocks * volume.f_frsize };
        Ok(Space { total: bytes(volume.f_blocks), free: bytes(volume.f_bavail) })
    }
}

/// The system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Disk for Files {}

/// Writes all of `bytes`.
///
/// # Errors
/// As [`Disk::write`].
pub(super) fn write_all(disk: &dyn Disk, file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Syncs a directory, so that a loss of power does not lose the names in it.
///
/// # Errors
/// Those of the file system.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
