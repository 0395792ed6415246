//! A small value that is overwritten often. Two slots of one file hold it in turns, so that an incomplete
//! write leaves the previous value. The file never grows, so a write succeeds on a full disk too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::frame::{Frames, encode};
use super::private;

const SLOT: usize = 512;

/// A file of two slots.
#[derive(Debug)]
pub struct Slots {
    file: File,
    number: u64,
    buffer: Vec<u8>,
}

impl Slots {
    /// Opens the file, creating it if necessary. Returns the newest readable value too.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Vec<u8>>)> {
        let options =
            private::options().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(path)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut &file, &mut bytes)?;
        bytes.resize(2 * SLOT, 0);
        let newest = Frames::new(&bytes).max_by_key(|(number, _)| *number);
        let number = newest.map_or(0, |(number, _)| number);
        let value = newest.map(|(_, value)| value.to_vec());
        if value.is_none() {
            // No later write needs more space.
            file.write_all_at(&bytes[..2 * SLOT], 0)?;
        }
        Ok((Self { file, number, buffer: Vec::with_capacity(SLOT) }, value))
    }

    /// Writes a value over the one before the last.
    ///
    /// # Errors
    /// Those of the file system, and if the value is longer than a slot.
    pub fn write(&mut self, value: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        encode(self.number + 1, value, &mut self.buffer);
        if self.buffer.len() > SLOT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Overwrites a longer value completely.
        self.buffer.resize(SLOT, 0);
        let slot = if self.number.is_multiple_of(2) { 0 } else { SLOT as u64 };
        self.file.write_all_at(&self.buffer, slot)?;
        self.number += 1;
        Ok(())
    }

    /// The file, to be synced on another thread.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}
