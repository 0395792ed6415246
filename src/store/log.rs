//! A log of numbered records in segments: appended in groups, read from any number, dropped from
//! its front.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, sync_directory, write_all};
use super::frame::{Damage, Frames, encode};
use super::names::{first_of, path_of};
use super::private;
use super::reader::Readers;

// A sync of what makes a file no longer need not write the file's length: so it is made longer by so
// many zeros at once.
const RESERVE: u64 = 256 << 10;

#[derive(Debug)]
struct Segment {
    // The number of its first record.
    first: u64,
    bytes: u64,
}

/// The writing side. Its records are numbered from 1.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    segments: VecDeque<Segment>,
    segment: u64,
    file: Option<File>,
    // How long its file is, with the zeros behind its end.
    reserved: u64,
    next: u64,
    // Whether bytes past the last segment's end may be in its file.
    torn: bool,
    // Whether its last sync failed.
    distrusted: bool,
    // Whether something was written since the last sync.
    unsynced: bool,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the log in `directory`, which is made where it is not there. What an interrupted write
    /// left at its end is cut off, and counted. A segment of at least `segment` bytes is followed by
    /// the next.
    ///
    /// # Errors
    /// Those of the file system. Damage is none.
    pub fn open(directory: &Path, disk: Arc<dyn Disk>, segment: u64) -> io::Result<(Self, Damage)> {
        private::create_directory(directory)?;
        let mut segments: Vec<Segment> = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(first) = first_of(&entry.path()) {
                segments.push(Segment { first, bytes: entry.metadata()?.len() });
            }
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        let mut log = Self {
            directory: directory.to_owned(),
            disk,
            segments: segments.into(),
            segment,
            file: None,
            reserved: 0,
            next: 1,
            torn: false,
            distrusted: false,
            unsynced: false,
            buffer: Vec::new(),
        };
        let damage = log.find_end()?;
        Ok((log, damage))
    }

    fn find_end(&mut self) -> io::Result<Damage> {
        let Some(last) = self.segments.back_mut() else { return Ok(Damage::default()) };
        let path = path_of(&self.directory, last.first);
        let bytes = fs::read(&path)?;
        let mut frames = Frames::new(&bytes);
        self.next = last.first;
        for (number, _) in frames.by_ref() {
            self.next = number + 1;
        }
        let end = frames.end();
        let torn = bytes[end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let file = OpenOptions::new().write(true).read(true).open(&path)?;
        file.set_len(end as u64)?;
        last.bytes = end as u64;
        self.reserved = last.bytes;
        self.file = Some(file);
        Ok(Damage { records: 0, bytes: torn as u64 })
    }

    /// The number that the next record will get.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the first record that is still here, or will be.
    pub fn first(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.first)
    }

    /// How much it takes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Numbers the next record `number`, where the log is behind that: those between are elsewhere.
    ///
    /// # Errors
    /// Those of the file system: the log is as before.
    pub fn skip_to(&mut self, number: u64) -> io::Result<()> {
        if number > self.next {
            self.sync()?;
            self.next = number;
            // A segment has no gaps.
            self.file = None;
        }
        Ok(())
    }

    /// Appends a group, and with `sync` returns once it would survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system: none of the group is in the log.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R], sync: bool) -> io::Result<()> {
        self.repair()?;
        if records.is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        for (number, record) in (self.next..).zip(records) {
            encode(number, record.as_ref(), &mut self.buffer);
        }
        let bytes = self.buffer.len() as u64;
        let appended = self.write(sync);
        match appended {
            Ok(()) => {
                self.next += records.len() as u64;
                if let Some(last) = self.segments.back_mut() {
                    last.bytes += bytes;
                }
            }
            Err(_) => {
                self.torn = true;
                // Where that fails too it is tried again before the next group.
                let _ = self.repair();
            }
        }
        // One large group should not be kept for ever.
        self.buffer.shrink_to(1 << 20);
        appended
    }

    fn write(&mut self, sync: bool) -> io::Result<()> {
        let is_full = self.segments.back().is_none_or(|last| last.bytes >= self.segment);
        if is_full || self.file.is_none() {
            self.rotate()?;
        }
        let (Some(mut file), Some(last)) = (self.file.as_ref(), self.segments.back()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let end = last.bytes + self.buffer.len() as u64;
        if end > self.reserved {
            let reserve = end.next_multiple_of(RESERVE.min(self.segment.max(1)));
            let zeros = usize::try_from(reserve - end).unwrap_or(0);
            self.buffer.resize(self.buffer.len() + zeros, 0);
            self.reserved = reserve;
        }
        self.unsynced = true;
        file.seek(SeekFrom::Start(last.bytes))?;
        write_all(&*self.disk, file, &self.buffer)?;
        if sync {
            if let Err(error) = self.disk.sync(file) {
                self.distrusted = true;
                return Err(error);
            }
            self.unsynced = false;
        }
        Ok(())
    }

    /// Begins a segment with the next record.
    ///
    /// # Errors
    /// Those of the file system: the log is as before.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        if let (Some(file), Some(last)) = (&self.file, self.segments.back()) {
            file.set_len(last.bytes)?;
            self.reserved = last.bytes;
        }
        if self.segments.back().is_some_and(|last| last.bytes == 0 && last.first == self.next) {
            let path = path_of(&self.directory, self.next);
            self.file = Some(OpenOptions::new().write(true).read(true).open(path)?);
            self.reserved = 0;
            return Ok(());
        }
        let path = path_of(&self.directory, self.next);
        let file = self.disk.create(&path)?;
        if let Err(error) = sync_directory(&self.directory) {
            // Without its name on disk it would hold nothing that lasts.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.segments.push_back(Segment { first: self.next, bytes: 0 });
        self.file = Some(file);
        self.reserved = 0;
        Ok(())
    }

    /// Returns once all that was appended would survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.unsynced) {
            self.disk.sync(file)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Drops the segments that hold nothing past `number`.
    ///
    /// # Errors
    /// Those of the file system; what was not dropped is dropped the next time.
    pub fn drop_until(&mut self, number: u64) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].first <= number + 1 {
            match fs::remove_file(path_of(&self.directory, self.segments[0].first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Makes readers of it.
    pub fn readers(&self) -> Readers {
        Readers::new(&self.directory)
    }

    // Cuts what a failed write may have left.
    fn repair(&mut self) -> io::Result<()> {
        if !self.torn {
            return Ok(());
        }
        if let (Some(file), Some(last)) = (&self.file, self.segments.back()) {
            file.set_len(last.bytes)?;
            self.reserved = last.bytes;
            // A file whose sync failed is not to be trusted with more: a later one that succeeds
            // may mean nothing. What is in it was synced before.
            if self.distrusted && last.bytes > 0 {
                self.file = None;
                self.unsynced = false;
            }
        }
        self.distrusted = false;
        self.torn = false;
        Ok(())
    }
}
