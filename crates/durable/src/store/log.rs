//! A log of numbered records in segments: appended in groups, read from any number, removed from its
//! front.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, is_full, sync_directory, write_all};
use super::frame::{Damage, Frames, LONGEST, encode, too_long};
use super::names::{first_of, path_of};
use super::private;
use super::reader::Readers;

// A sync that does not change a file's length is cheaper. So files grow by this many zeros at once.
const RESERVE: u64 = 256 << 10;
// At most this many full segments wait for a sync, as each is an open file.
const MAX_UNSYNCED: usize = 64;

#[derive(Debug)]
struct Segment {
    // The number of its first record.
    first: u64,
    bytes: u64,
}

// What follows the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    // Perhaps a part of a failed write.
    Torn,
    // Perhaps a part of a failed write, in a file whose sync failed.
    Distrusted,
}

/// The writing side of a log. Records are numbered from 1.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    segments: VecDeque<Segment>,
    segment: u64,
    file: Option<File>,
    // The length of the file, with the zeros at its end.
    reserved: u64,
    next: u64,
    end: End,
    // Whether the last segment was written to since the last sync.
    unsynced: bool,
    // Earlier segments that were not synced, by their first records.
    before: Vec<(u64, File)>,
    // Whether the name of a segment may not be synced.
    unnamed: bool,
    buffer: Vec<u8>,
}

/// The files of a log that are not synced, to be synced on another thread.
#[derive(Debug)]
pub struct Unsynced {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    files: Vec<(u64, File)>,
    named: bool,
}

impl Unsynced {
    /// Syncs them.
    ///
    /// # Errors
    /// Those of the file system: [`Log::put_back`] leaves them for the next sync.
    pub fn sync(&self) -> io::Result<()> {
        for (_, file) in &self.files {
            self.disk.sync(file)?;
        }
        if self.named { Ok(()) } else { sync_directory(&self.directory) }
    }
}

impl Log {
    /// Opens the log in `directory`, creating it if necessary. Cuts an incomplete write off its end, and
    /// returns how much that was. A new segment begins once one has `segment` bytes.
    ///
    /// # Errors
    /// Those of the file system. Damage is not an error.
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
            end: End::Clean,
            unsynced: false,
            before: Vec::new(),
            unnamed: false,
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

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the first record that the log has, or of the next one.
    pub fn first(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.first)
    }

    /// Its size on disk, in bytes.
    pub fn bytes(&self) -> u64 {
        let zeros = self.segments.back().map_or(0, |last| self.reserved.saturating_sub(last.bytes));
        zeros + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.bytes == 0)
    }

    /// Numbers the next record `number` if that is ahead of the log: the records between are elsewhere.
    ///
    /// # Errors
    /// Those of the file system: the log is unchanged.
    pub fn skip_to(&mut self, number: u64) -> io::Result<()> {
        if number > self.next {
            self.close_segment()?;
            self.next = number;
        }
        Ok(())
    }

    /// Appends a group. With `sync`, returns once it is synced.
    ///
    /// # Errors
    /// Those of the file system, and if a record is longer than [`LONGEST`], as it could not be read back:
    /// none of the group is in the log.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R], sync: bool) -> io::Result<()> {
        self.repair()?;
        if records.is_empty() {
            return Ok(());
        }
        if records.iter().any(|record| record.as_ref().len() > LONGEST) {
            return Err(too_long());
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
                if self.end == End::Clean {
                    self.end = End::Torn;
                }
                // If that fails too, the next group retries it.
                let _ = self.repair();
            }
        }
        // Frees the memory of a large group.
        self.buffer.shrink_to(1 << 20);
        appended
    }

    fn write(&mut self, sync: bool) -> io::Result<()> {
        let is_full = self.segments.back().is_none_or(|last| last.bytes >= self.segment);
        if is_full || self.file.is_none() {
            self.rotate()?;
        }
        let (Some(file), Some(last)) = (self.file.as_ref(), self.segments.back()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (start, end) = (last.bytes, last.bytes + self.buffer.len() as u64);
        self.unsynced = true;
        if end > self.reserved {
            let records = self.buffer.len();
            let reserve = end.next_multiple_of(RESERVE.min(self.segment.max(1)));
            let zeros = usize::try_from(reserve - end).unwrap_or(0);
            self.buffer.resize(records + zeros, 0);
            self.reserved = reserve;
            match write_at(&*self.disk, file, start, &self.buffer) {
                Err(error) if self::is_full(&error) && zeros > 0 => {
                    // The records may fit without the zeros.
                    file.set_len(start)?;
                    self.reserved = end;
                    write_at(&*self.disk, file, start, &self.buffer[..records])?;
                }
                written => written?,
            }
        } else {
            write_at(&*self.disk, file, start, &self.buffer)?;
        }
        if sync {
            let synced = self.sync();
            if synced.is_err() {
                self.end = End::Distrusted;
            }
            return synced;
        }
        Ok(())
    }

    /// Begins a segment at the next record.
    ///
    /// # Errors
    /// Those of the file system: the log is unchanged.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let path = path_of(&self.directory, self.next);
        if self.segments.back().is_some_and(|last| last.bytes == 0 && last.first == self.next) {
            self.file = Some(OpenOptions::new().write(true).read(true).open(path)?);
            self.reserved = 0;
            return Ok(());
        }
        self.close_segment()?;
        self.file = Some(self.disk.create(&path)?);
        self.segments.push_back(Segment { first: self.next, bytes: 0 });
        self.reserved = 0;
        self.unnamed = true;
        Ok(())
    }

    // Ends the last segment, and cuts the zeros off its end.
    fn close_segment(&mut self) -> io::Result<()> {
        let Some((file, last)) = self.file.take().zip(self.segments.back()) else { return Ok(()) };
        if let Err(error) = file.set_len(last.bytes) {
            self.file = Some(file);
            return Err(error);
        }
        self.reserved = last.bytes;
        if std::mem::take(&mut self.unsynced) {
            self.before.push((last.first, file));
        }
        if self.before.len() > MAX_UNSYNCED { self.sync() } else { Ok(()) }
    }

    /// Begins a segment if the last one has a record up to `number`, so that it can be removed.
    ///
    /// # Errors
    /// Those of the file system: the log is unchanged.
    pub fn roll(&mut self, number: u64) -> io::Result<()> {
        let holds = |last: &Segment| last.bytes > 0 && last.first <= number;
        if self.segments.back().is_some_and(holds) { self.rotate() } else { Ok(()) }
    }

    /// Returns once all records are synced.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&mut self) -> io::Result<()> {
        while let Some((_, file)) = self.before.last() {
            self.disk.sync(file)?;
            self.before.pop();
        }
        if let Some(file) = self.file.as_ref().filter(|_| self.unsynced) {
            self.disk.sync(file)?;
        }
        self.unsynced = false;
        if self.unnamed {
            sync_directory(&self.directory)?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// Takes the files that are not synced, so that more can be appended while they are.
    ///
    /// # Errors
    /// Those of the file system: nothing is taken.
    pub fn take_unsynced(&mut self) -> io::Result<Unsynced> {
        let last = match (&self.file, self.segments.back()) {
            (Some(file), Some(last)) if self.unsynced => Some((last.first, file.try_clone()?)),
            _ => None,
        };
        let mut files = std::mem::take(&mut self.before);
        files.extend(last);
        self.unsynced = false;
        let named = !std::mem::take(&mut self.unnamed);
        let (directory, disk) = (self.directory.clone(), Arc::clone(&self.disk));
        Ok(Unsynced { directory, disk, files, named })
    }

    /// Leaves files that could not be synced for the next sync.
    pub fn put_back(&mut self, unsynced: Unsynced) {
        self.unnamed |= !unsynced.named;
        self.before.extend(unsynced.files);
        self.close_removed();
    }

    // An open file would occupy the disk even after its segment is removed.
    fn close_removed(&mut self) {
        let first = self.first();
        self.before.retain(|(segment, _)| *segment >= first);
    }

    /// Removes the segments whose records are all up to `number`.
    ///
    /// # Errors
    /// Those of the file system; the next call removes the rest.
    pub fn drop_until(&mut self, number: u64) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].first <= number + 1 {
            match fs::remove_file(path_of(&self.directory, self.segments[0].first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.segments.pop_front();
            self.close_removed();
        }
        Ok(())
    }

    /// Creates readers of it.
    pub fn readers(&self) -> Readers {
        Readers::new(&self.directory)
    }

    // Cuts off what a failed write may have left.
    fn repair(&mut self) -> io::Result<()> {
        if self.end == End::Clean {
            return Ok(());
        }
        if let (Some(file), Some(last)) = (&self.file, self.segments.back()) {
            file.set_len(last.bytes)?;
            self.reserved = last.bytes;
            // After a failed sync of a file, a sync that succeeds may mean nothing, so a new file is begun.
            // The records that stay in this one were synced before.
            if self.end == End::Distrusted && last.bytes > 0 {
                self.file = None;
                self.unsynced = false;
            }
        }
        self.end = End::Clean;
        Ok(())
    }
}

fn write_at(disk: &dyn Disk, mut file: &File, start: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    write_all(disk, file, bytes)
}
