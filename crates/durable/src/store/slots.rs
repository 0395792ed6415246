//! A small value that is written over and over: two slots in one file, in turn, so that a torn write
//! leaves the one before. It takes no new room on a full disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::frame::{Frames, encode};
use super::private;

const SLOT: usize = 512;

/// The file and the number of its newest slot.
#[derive(Debug)]
pub struct Slots {
    file: File,
    number: u64,
    buffer: Vec<u8>,
}

impl Slots {
    /// Opens the file, which is made where it is not there; gives the newest value that can be read.
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
            // So that no later write needs room.
            file.write_all_at(&bytes[..2 * SLOT], 0)?;
        }
        Ok((Self { file, number, buffer: Vec::with_capacity(SLOT) }, value))
    }

    /// Writes a value, over the one before the last.
    ///
    /// # Errors
    /// Those of the file system, and where the value is longer than a slot.
    pub fn write(&mut self, value: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        encode(self.number + 1, value, &mut self.buffer);
        if self.buffer.len() > SLOT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A shorter value leaves nothing of a longer one.
        self.buffer.resize(SLOT, 0);
        let slot = if self.number.is_multiple_of(2) { 0 } else { SLOT as u64 };
        self.file.write_all_at(&self.buffer, slot)?;
        self.number += 1;
        Ok(())
    }

    /// The file, to be synced without this: then the value would survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}
