use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;

// A disk that fails on demand.
#[derive(Debug, Default)]
struct Faulty {
    // Bytes that still fit; usize::MAX is no limit.
    space: AtomicUsize,
    // How long a file can be.
    longest: AtomicUsize,
    no_sync: AtomicBool,
}

impl Faulty {
    fn new() -> Arc<Self> {
        let disk = Self::default();
        disk.space.store(usize::MAX, Relaxed);
        disk.longest.store(usize::MAX, Relaxed);
        Arc::new(disk)
    }
}

impl Disk for Faulty {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        let space = self.space.load(Relaxed);
        let at = usize::try_from(file.stream_position()?).unwrap();
        let fits = self.longest.load(Relaxed).saturating_sub(at).min(space);
        if fits == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = Files.write(file, &bytes[..bytes.len().min(fits)])?;
        if space != usize::MAX {
            self.space.fetch_sub(written, Relaxed);
        }
        Ok(written)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.no_sync.load(Relaxed) { Err(io::Error::other("EIO")) } else { Files.sync(file) }
    }
}

fn open(at: &Path) -> (Log, Damage) {
    Log::open(at, Arc::new(Files), 8 << 20).unwrap()
}

fn all(log: &Log) -> (Vec<(u64, Vec<u8>)>, Damage) {
    let mut reader = log.readers().from(log.first());
    let mut records = Vec::new();
    while let Some((number, record)) = reader.next(log.next() - 1).unwrap() {
        records.push((number, record.to_vec()));
    }
    (records, reader.take_damage())
}

fn file_of(at: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn record(nth: u64) -> Vec<u8> {
    let length = 20 + usize::try_from(nth % 300).unwrap();
    std::iter::repeat_n(nth.to_le_bytes(), length).flatten().collect()
}

#[test]
fn records_are_read_back_after_a_reopen() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    log.append(&[record(1), record(2)], true).unwrap();
    log.append(&[record(3)], true).unwrap();
    drop(log);
    let (mut log, damage) = open(at.path());
    assert!(damage.is_none());
    assert_eq!(log.next(), 4);
    log.append(&[record(4)], true).unwrap();
    let expected: Vec<_> = (1..=4).map(|nth| (nth, record(nth))).collect();
    assert_eq!(all(&log), (expected, Damage::default()));
}

#[test]
fn an_incomplete_write_is_cut_off_and_counted() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    log.append(&[record(1), record(2)], true).unwrap();
    drop(log);
    let file = file_of(at.path());
    let length = 2 * 20 + record(1).len() + record(2).len();
    File::options().write(true).open(&file).unwrap().set_len(length as u64 - 3).unwrap();
    let (mut log, damage) = open(at.path());
    assert!(damage.bytes > 0);
    assert_eq!(log.next(), 2);
    log.append(&[record(9)], true).unwrap();
    assert_eq!(all(&log).0, [(1, record(1)), (2, record(9))]);
}

proptest! {
    #[test]
    fn damage_loses_only_the_records_that_it_hits(
        thousandth in 0usize..1000,
        bytes in proptest::collection::vec(any::<u8>(), 1..400),
    ) {
        let at = tempfile::tempdir().unwrap();
        let (mut log, _) = open(at.path());
        let records: Vec<_> = (1..=60).map(record).collect();
        log.append(&records, false).unwrap();
        let file = file_of(at.path());
        let mut content = fs::read(&file).unwrap();
        content.truncate(records.iter().map(|record| 20 + record.len()).sum());
        let size = content.len() - bytes.len();
        let start = size * thousandth / 1000;
        content[start..start + bytes.len()].copy_from_slice(&bytes);
        fs::write(&file, &content).unwrap();
        let (read, damage) = all(&log);
        let mut end = 0;
        let hit = records.iter().filter(|record| {
            let begin = end;
            end += 20 + record.len();
            begin < start + bytes.len() && end > start
        });
        let hit = hit.count();
        prop_assert!(read.len() >= 60 - hit, "{} read, {} hit", read.len(), hit);
        prop_assert_eq!(damage.records, 60 - read.len() as u64);
        for (number, bytes) in read {
            prop_assert_eq!(bytes, record(number));
        }
        // Opened again, only the damaged end is cut off.
        let (log, _) = open(at.path());
        prop_assert!(log.next() > 60 - hit as u64);
    }
}

#[test]
fn a_failed_group_leaves_nothing_and_the_next_one_is_appended() {
    for cut in [0, 7, 30, 100] {
        let at = tempfile::tempdir().unwrap();
        let disk = Faulty::new();
        let (mut log, _) = Log::open(at.path(), Arc::<Faulty>::clone(&disk), 8 << 20).unwrap();
        log.append(&[record(1)], true).unwrap();
        disk.space.store(cut, Relaxed);
        let full = log.append(&[record(2), record(3)], true).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(log.next(), 2);
        assert_eq!(all(&log).0.len(), 1);
        disk.space.store(usize::MAX, Relaxed);
        log.append(&[record(4)], true).unwrap();
        drop(log);
        let (log, damage) = open(at.path());
        assert!(damage.is_none());
        assert_eq!(all(&log), (vec![(1, record(1)), (2, record(4))], Damage::default()));
    }
}

#[test]
fn a_group_that_could_not_be_synced_is_not_in_the_log() {
    let at = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let (mut log, _) = Log::open(at.path(), Arc::<Faulty>::clone(&disk), 8 << 20).unwrap();
    log.append(&[record(1)], true).unwrap();
    disk.no_sync.store(true, Relaxed);
    assert!(log.append(&[record(2)], true).is_err());
    disk.no_sync.store(false, Relaxed);
    log.append(&[record(3)], true).unwrap();
    let (log, _) = open(at.path());
    assert_eq!(all(&log).0, [(1, record(1)), (2, record(3))]);
}

#[test]
fn segments_are_removed_from_the_front() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    for nth in 1..=3 {
        log.append(&[record(nth)], false).unwrap();
        log.rotate().unwrap();
    }
    log.drop_until(1).unwrap();
    assert_eq!(log.first(), 2);
    log.drop_until(3).unwrap();
    assert_eq!((log.first(), log.is_empty()), (4, true));
    drop(log);
    let (mut log, _) = open(at.path());
    assert_eq!(log.next(), 4);
    log.append(&[record(4)], false).unwrap();
    assert_eq!(all(&log).0, [(4, record(4))]);
}

#[test]
fn the_last_segment_is_removed_once_none_of_its_records_is_needed() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    log.append(&[record(1), record(2)], true).unwrap();
    let used = |at: &Path| {
        let files = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        files.sum::<u64>()
    };
    assert_eq!(used(at.path()), log.bytes());
    log.roll(0).unwrap();
    log.drop_until(0).unwrap();
    assert_eq!(log.first(), 1);
    log.roll(2).unwrap();
    log.drop_until(2).unwrap();
    assert_eq!((log.first(), log.bytes(), used(at.path())), (3, 0, 0));
    log.append(&[record(3)], true).unwrap();
    let (log, _) = open(at.path());
    assert_eq!(all(&log).0, [(3, record(3))]);
}

#[test]
fn records_are_written_without_zeros_if_only_they_fit() {
    let at = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let (mut log, _) = Log::open(at.path(), Arc::<Faulty>::clone(&disk), 8 << 20).unwrap();
    disk.longest.store(1 << 10, Relaxed);
    log.append(&[record(1)], true).unwrap();
    log.append(&[record(2)], true).unwrap();
    let full = log.append(&[record(150)], true).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(all(&log).0, [(1, record(1)), (2, record(2))]);
}

#[test]
fn a_record_too_long_to_be_read_back_is_refused() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    let refused = log.append(&[vec![0; LONGEST + 1]], true).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    log.append(&[record(1)], true).unwrap();
    assert_eq!(all(&log).0, [(1, record(1))]);
    let directory = Directory::open(&at.path().join("files"), Arc::new(Files)).unwrap();
    let refused = directory.replace("file", |records| records.put(&vec![0; LONGEST + 1]));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn files_that_could_not_be_synced_are_synced_next_time() {
    let at = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let (mut log, _) = Log::open(at.path(), Arc::<Faulty>::clone(&disk), 1 << 10).unwrap();
    for nth in 1..5 {
        log.append(&[record(nth)], false).unwrap();
        log.rotate().unwrap();
    }
    let unsynced = log.take_unsynced().unwrap();
    disk.no_sync.store(true, Relaxed);
    assert!(unsynced.sync().is_err());
    log.put_back(unsynced);
    assert!(log.sync().is_err());
    disk.no_sync.store(false, Relaxed);
    log.sync().unwrap();
    disk.no_sync.store(true, Relaxed);
    // Nothing is left to sync.
    log.take_unsynced().unwrap().sync().unwrap();
}

#[test]
fn incomplete_files_of_a_killed_process_are_removed() {
    let at = tempfile::tempdir().unwrap();
    fs::create_dir(at.path().join("deadletter")).unwrap();
    let drafts =
        ["snapshot.draft", "deadletter/logs-1.letter.draft"].map(|name| at.path().join(name));
    for draft in &drafts {
        fs::write(draft, "half").unwrap();
    }
    Directory::open(at.path(), Arc::new(Files)).unwrap();
    assert!(drafts.iter().all(|draft| !draft.exists()));
}

#[test]
fn a_reader_follows_the_writer() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    let mut reader = log.readers().from(1);
    for nth in 1..=50 {
        assert_eq!(reader.next(nth - 1).unwrap(), None);
        log.append(&[record(nth)], false).unwrap();
        if nth % 7 == 0 {
            log.rotate().unwrap();
        }
        let (number, bytes) = reader.next(nth).unwrap().unwrap();
        assert_eq!((number, bytes.to_vec()), (nth, record(nth)));
    }
    assert!(reader.take_damage().is_none());
}

#[test]
fn skipped_numbers_leave_a_gap() {
    let at = tempfile::tempdir().unwrap();
    let (mut log, _) = open(at.path());
    log.append(&[record(1)], false).unwrap();
    log.skip_to(10).unwrap();
    log.append(&[record(10)], false).unwrap();
    assert_eq!(all(&log).0, [(1, record(1)), (10, record(10))]);
    let (log, _) = open(at.path());
    assert_eq!(log.next(), 11);
}

#[test]
fn an_incomplete_write_of_a_slot_leaves_the_value_before() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("slots");
    let (mut slots, value) = Slots::open(&path).unwrap();
    assert_eq!(value, None);
    for value in [b"one".as_slice(), b"two", b"three"] {
        slots.write(value).unwrap();
        assert_eq!(Slots::open(&path).unwrap().1.as_deref(), Some(value));
    }
    let mut bytes = fs::read(&path).unwrap();
    // "three" overwrote "one".
    bytes[22] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(Slots::open(&path).unwrap().1.as_deref(), Some(b"two".as_slice()));
}

#[test]
fn a_pipe_or_a_link_in_place_of_a_file_is_refused_without_waiting() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let pipe = |at: &Path| mknodat(CWD, at, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    for name in ["lock", "snapshot"] {
        let at = tempfile::tempdir().unwrap();
        pipe(&at.path().join(name));
        let refused = Directory::open(at.path(), Arc::new(Files)).unwrap_err().to_string();
        assert!(refused.contains(name) || name == "lock", "{refused}");
    }
    let at = tempfile::tempdir().unwrap();
    let elsewhere = at.path().join("elsewhere");
    let journal = at.path().join("journal");
    fs::create_dir(&journal).unwrap();
    std::os::unix::fs::symlink(&elsewhere, journal.join("lock")).unwrap();
    assert!(Directory::open(&journal, Arc::new(Files)).is_err());
    assert!(!elsewhere.exists(), "the link was followed");
}

#[test]
fn a_directory_is_locked() {
    let at = tempfile::tempdir().unwrap();
    let first = Directory::open(at.path(), Arc::new(Files)).unwrap();
    let second = Directory::open(at.path(), Arc::new(Files));
    assert!(matches!(second, Err(directory::OpenError::InUse(_))));
    drop(first);
    Directory::open(at.path(), Arc::new(Files)).unwrap();
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let at = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let directory = Directory::open(at.path(), Arc::<Faulty>::clone(&disk)).unwrap();
    directory.replace("state", |records| records.put(b"old")).unwrap();
    disk.space.store(10, Relaxed);
    assert!(directory.replace("state", |records| records.put(b"new")).is_err());
    let bytes = fs::read(at.path().join("state")).unwrap();
    assert_eq!(Frames::new(&bytes).collect::<Vec<_>>(), [(1, b"old".as_slice())]);
    assert!(!at.path().join("state.draft").exists());
}
