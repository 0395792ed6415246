//! The calls that can fail on a disk, so that a test can make them.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::private;

/// How large a volume is, and what of it is free, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What may still be written.
    pub free: u64,
}

/// Whether a write failed for want of room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The file system, as far as its faults matter.
pub trait Disk: Debug + Send + Sync {
    /// Makes a new file that only its owner may open.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<File> {
        private::options().create_new(true).write(true).read(true).open(path)
    }

    /// Writes some of `bytes`; gives how many.
    ///
    /// # Errors
    /// Those of the file system.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    /// Returns once what was written would survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system: what was written since the last time may be gone.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// How much room the volume has that `directory` is on.
    ///
    /// # Errors
    /// Those of the file system.
    fn space(&self, directory: &Path) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(directory)?;
        // One without a size has no limit (tmpfs(5)).
        let bytes =
            |blocks: u64| if volume.f_blocks == 0 { u64::MAX } else { blocks * volume.f_frsize };
        Ok(Space { total: bytes(volume.f_blocks), free: bytes(volume.f_bavail) })
    }
}

/// The system's own.
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

/// Makes the names in a directory survive a loss of power.
///
/// # Errors
/// Those of the file system.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
