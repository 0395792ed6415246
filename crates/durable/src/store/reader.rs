//! The reading side of a log, which skips damage.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{Damage, Found, HEAD, find, resume};
use super::names::{first_of, path_of};

// Bytes per read; a longer record is read as a whole.
const CHUNK: usize = 256 << 10;

/// Reads a log's records in order. Another thread may append meanwhile.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    // Set for a single file.
    file: Option<File>,
    is_file: bool,
    // The number of the next record.
    next: u64,
    segment: Option<(u64, File)>,
    // The segment that was read to its end.
    done: Option<u64>,
    // A part of the segment's file, its place in the file, and how far it was parsed.
    buffer: Vec<u8>,
    offset: u64,
    at: usize,
    // Whether the buffer was filled after the requested records were appended.
    is_fresh: bool,
    damage: Damage,
}

/// Creates readers of a log.
#[derive(Debug, Clone)]
pub struct Readers(PathBuf);

impl Readers {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// A reader that begins at the record `from`, or at the first existing one after it.
    pub fn from(&self, from: u64) -> Reader {
        Reader {
            directory: self.0.clone(),
            file: None,
            is_file: false,
            next: from.max(1),
            segment: None,
            done: None,
            buffer: Vec::new(),
            offset: 0,
            at: 0,
            is_fresh: false,
            damage: Damage::default(),
        }
    }
}

impl Reader {
    /// Reads a file that [`super::Directory::replace`] wrote.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let file = Some(File::open(path)?);
        Ok(Self { file, is_file: true, ..Readers::new(path).from(1) })
    }

    /// The next readable record of a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn next_of_file(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.next(u64::MAX - 1)?.map(|(_, record)| record))
    }

    /// The next readable record up to `last`, with its number; `None` if there is none. All records up to
    /// `last` must have been appended, so a record that can't be read is damaged.
    ///
    /// # Errors
    /// Those of the file system; the next call retries.
    pub fn next(&mut self, last: u64) -> io::Result<Option<(u64, Bytes)>> {
        self.is_fresh = false;
        while self.next <= last {
            if self.segment.is_none() && !self.open()? {
                self.lost_until(last + 1);
                return Ok(None);
            }
            match find(&self.buffer, self.at) {
                Found::Record { number, record } => {
                    self.at = record.end;
                    if number < self.next {
                        continue;
                    }
                    if number > last {
                        self.at = record.start - HEAD;
                        self.lost_until(last + 1);
                        return Ok(None);
                    }
                    self.lost_until(number);
                    self.next = number + 1;
                    return Ok(Some((number, Bytes::copy_from_slice(&self.buffer[record]))));
                }
                Found::Needs(bytes) => {
                    if !self.fill(bytes)? {
                        self.skip();
                    }
                }
                Found::Damaged if !self.is_fresh => self.reload()?,
                Found::Damaged => {
                    if self.at < self.buffer.len() || !self.fill(1)? {
                        self.skip();
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes the damage that was found since the last call.
    pub fn take_damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }

    fn lost_until(&mut self, number: u64) {
        // A file does not say how many records it should have.
        if !self.is_file || number < u64::MAX {
            self.damage.records += number - self.next;
        }
        self.next = number;
    }

    // Skips to the next possible record, or to the next segment at the end of this one.
    fn skip(&mut self) {
        if self.at < self.buffer.len() {
            let to = resume(&self.buffer, self.at);
            // Zeros were never written.
            let written = self.buffer[self.at..to].iter().filter(|byte| **byte != 0);
            self.damage.bytes += written.count() as u64;
            self.at = to;
        } else {
            self.done = self.segment.take().map(|(first, _)| first);
        }
    }

    // Reads the buffer again from `at` on: the writer may have written there since.
    fn reload(&mut self) -> io::Result<()> {
        self.offset += self.at as u64;
        self.buffer.clear();
        self.at = 0;
        self.fill(1)?;
        self.is_fresh = true;
        Ok(())
    }

    // Reads until the buffer has `needed` bytes after `at`; `false` if the file has fewer.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        let Some((_, file)) = &self.segment else { return Ok(false) };
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let have = self.buffer.len();
        self.buffer.resize(needed.max(have + CHUNK), 0);
        let mut end = have;
        let filled = loop {
            if end == self.buffer.len() {
                break Ok(());
            }
            match file.read_at(&mut self.buffer[end..], self.offset + end as u64) {
                Ok(0) => break Ok(()),
                Ok(read) => end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.buffer.truncate(end);
        filled.map(|()| end >= needed)
    }

    // Opens the segment that holds the next record, or the first one after it; `false` if there is none.
    fn open(&mut self) -> io::Result<bool> {
        if self.is_file {
            self.segment = self.file.take().map(|file| (1, file));
            return Ok(self.segment.is_some());
        }
        let mut firsts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            firsts.extend(first_of(&entry?.path()));
        }
        firsts.sort_unstable();
        let holding = firsts.iter().rposition(|first| *first <= self.next).unwrap_or(0);
        let mut candidates = firsts.iter().skip(holding).filter(|first| Some(**first) > self.done);
        let Some(first) = candidates.next() else {
            // More may be appended to the last segment.
            self.done = None;
            return Ok(false);
        };
        self.segment = Some((*first, File::open(path_of(&self.directory, *first))?));
        self.buffer.clear();
        self.offset = 0;
        self.at = 0;
        Ok(true)
    }
}
