//! The journal's directory: its space, its mode, who uses it, and how long a sync takes. All calls block.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::{Check, millis, size};
use crate::config::{Config, JournalConfig};
use livekit_otel_durable::journal::Settings;
use livekit_otel_durable::store::{Disk, Files, Space};

const DIRECTORY: &str = "journal";
const SPACE: &str = "journal.space";
const SYNC: &str = "journal.sync";

const SYNCS: usize = 8;
const BLOCK: usize = 4 << 10;
// Each group of messages waits for a sync, and its senders with it.
const SLOW_SYNC: Duration = Duration::from_millis(100);

/// Checks the journal.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let Some(journal) = &config.journal else {
        let text = "no journal.dir: accepted input is in memory, and a crash loses it";
        return vec![Check::warn(DIRECTORY, text).advice("Set journal.dir to a directory on disk")];
    };
    let path = &*journal.directory;
    let place = path.display();
    let longest = config.max_body.max(config.max_message) as u64;
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let failed = Check::fail(DIRECTORY, format!("{place} is not a directory"));
            return vec![failed.advice("Set journal.dir to a directory")];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return absent(journal, longest),
        Err(error) => {
            let failed = Check::fail(DIRECTORY, format!("{place} can't be read: {error}"));
            return vec![failed.advice(run_as_the_server())];
        }
    }
    let syncs = match sync_times(path) {
        Ok(times) => synced(path, times),
        Err(error) => {
            let text = format!("{place} can't be written: {error}");
            return vec![Check::fail(DIRECTORY, text).advice(advice_for(&error))];
        }
    };
    vec![directory(path), space(journal, path, longest), syncs]
}

fn run_as_the_server() -> &'static str {
    "Run the doctor as the user that runs the server, and let that user own the directory"
}

fn advice_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free space on its volume: until then nothing is accepted"
        }
        io::ErrorKind::ReadOnlyFilesystem => "Mount its volume for writing",
        _ => run_as_the_server(),
    }
}

// The directory will be created at the start, if its nearest existing parent allows that.
fn absent(journal: &JournalConfig, longest: u64) -> Vec<Check> {
    let path = &*journal.directory;
    let place = path.display();
    let parent = path.ancestors().skip(1).map(here).find(|parent| parent.exists());
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let is_usable = |parent: &Path| parent.is_dir() && rustix::fs::access(parent, access).is_ok();
    match parent {
        Some(parent) if is_usable(parent) => {
            let text = format!("{place} does not exist yet, and is created at the start");
            vec![Check::ok(DIRECTORY, text), space(journal, parent, longest)]
        }
        parent => {
            let parent = parent.unwrap_or(path).display();
            let text = format!("{place} does not exist, and {parent} can't be written");
            let advice = "Create it, owned by the user that runs the server";
            vec![Check::fail(DIRECTORY, text).advice(advice)]
        }
    }
}

// The parent of a relative path of one part is empty.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn directory(path: &Path) -> Check {
    let place = path.display();
    let lock = match File::open(path.join("lock")) {
        Ok(lock) => user_of(&lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Use::Never,
        Err(error) => {
            let text = format!("the lock of {place} can't be read: {error}");
            return Check::warn(DIRECTORY, text).advice(run_as_the_server());
        }
    };
    let used = match lock {
        Use::Never => "never used".to_owned(),
        Use::Free => "not in use".to_owned(),
        Use::By(Some(process)) => format!("in use by {process}"),
        Use::By(None) => "in use by another process".to_owned(),
    };
    let mode = fs::metadata(path).map(|found| found.permissions().mode() & 0o7777);
    let mode = mode.unwrap_or_default();
    let text = format!("{place} can be written, mode {mode:04o}, {used}");
    let of_others = mode & 0o077;
    if of_others == 0 {
        return Check::ok(DIRECTORY, text);
    }
    let advice = "Other users may open it: the server takes their access away when it starts";
    Check::warn(DIRECTORY, text).advice(advice)
}

/// The process that has locked the journal, as far as it is known.
pub(super) fn user(config: &Config) -> Option<String> {
    let lock = File::open(config.journal.as_ref()?.directory.join("lock")).ok()?;
    match user_of(&lock) {
        Use::By(process) => Some(process.unwrap_or_else(|| "another process".to_owned())),
        Use::Never | Use::Free => None,
    }
}

// Who has locked a journal.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    Never,
    Free,
    By(Option<String>),
}

// The kernel's list is read first, as a lock taken here could hinder a server that starts now.
fn user_of(lock: &File) -> Use {
    let found = lock.metadata().ok();
    let list = fs::read_to_string("/proc/locks").unwrap_or_default();
    if let Some(pid) = found.as_ref().and_then(|found| holder(&list, found)) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return Use::By(Some(format!("{} (process {pid})", super::check::words(&name))));
    }
    // A holder in another container is not in the list.
    match lock.try_lock_shared() {
        Ok(()) => Use::Free,
        Err(_) => Use::By(None),
    }
}

// The process of the line for this file: `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF` (proc_locks(5)).
fn holder(locks: &str, file: &Metadata) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let id = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1).skip_while(|field| *field == "->");
        let (kind, pid, of) = (fields.next()?, fields.nth(2)?, fields.next()?);
        (kind == "FLOCK" && of == id).then(|| pid.parse().ok())?
    })
}

// The space of the volume at `path`.
fn space(journal: &JournalConfig, path: &Path, longest: u64) -> Check {
    match journal.disk.space(path) {
        Ok(space) => judge(space, &journal.directory, journal.settings, longest),
        Err(error) => {
            let text = format!("the space of {} is not known: {error}", path.display());
            Check::warn(SPACE, text).advice(run_as_the_server())
        }
    }
}

fn judge(space: Space, path: &Path, settings: Settings, longest: u64) -> Check {
    let Space { total, free } = space;
    let (most, least) = (settings.max_bytes, Settings::least(longest));
    if total == u64::MAX {
        return Check::ok(SPACE, format!("journal.max_bytes is {}", size(most)));
    }
    let text = format!(
        "{} of {} free for {}, journal.max_bytes is {}",
        size(free),
        size(total),
        path.display(),
        size(most)
    );
    if free < least {
        let advice = format!("Free at least {}: with less, nothing may be accepted", size(least));
        return Check::fail(SPACE, text).advice(advice);
    }
    // Some of the limit may be in use already.
    let used = directory_size(path);
    if free.saturating_add(used) < most {
        let advice = "The volume is full before that limit is: lower it, or use a larger volume";
        return Check::warn(SPACE, text).advice(advice);
    }
    Check::ok(SPACE, text)
}

// Unreadable parts count as nothing.
fn directory_size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => directory_size(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

// How long each of some syncs of a block took. A server that starts removes `.draft` files.
fn sync_times(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!("doctor-{}.draft", std::process::id()));
    // Of a process of that number that was killed.
    let _ = fs::remove_file(&path);
    let times = Files.create(&path).and_then(|file| {
        let block = [0; BLOCK];
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let mut rest = &block[..];
            while !rest.is_empty() {
                match Files.write(&file, rest)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => rest = &rest[written..],
                }
            }
            let began = Instant::now();
            Files.sync(&file)?;
            times.push(began.elapsed());
        }
        Ok(times)
    });
    let removed = fs::remove_file(&path);
    // A server that starts may have removed it.
    let times = times?;
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(times),
    }
}

fn synced(path: &Path, mut times: Vec<Duration>) -> Check {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    let (n, block) = (times.len(), size(BLOCK as u64));
    let text = format!(
        "{n} writes of {block} to {} were synced in {} each, the slowest in {}",
        path.display(),
        millis(median),
        millis(longest)
    );
    if median < SLOW_SYNC {
        return Check::ok(SYNC, text);
    }
    let advice = "Each webhook waits for a sync: use a local disk";
    Check::warn(SYNC, text).advice(advice)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::doctor::check::Outcome;
    use livekit_otel_durable::store::Directory;
    use livekit_otel_livekit::keys::Keys;

    fn with_journal(path: &Path) -> Config {
        let settings = Settings { max_bytes: 16 << 20, sync: Duration::ZERO, snapshot: 1 << 20 };
        let (directory, disk) = (path.to_owned(), Arc::new(Files));
        let mut config = Config::for_keys(Keys::default());
        config.journal = Some(JournalConfig { directory, settings, disk });
        config
    }

    fn outcomes(config: &Config) -> Vec<(&'static str, Outcome)> {
        check(config).iter().map(|check| (check.check, check.outcome)).collect()
    }

    #[test]
    fn a_directory_that_works_is_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let expected = [DIRECTORY, SPACE, SYNC].map(|check| (check, Outcome::Ok));
        assert_eq!(outcomes(&with_journal(place.path())), expected);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_locked_directory_names_the_process() {
        let place = tempfile::tempdir().unwrap();
        let locked = Directory::open(place.path(), Arc::new(Files)).unwrap();
        let found = directory(place.path());
        assert!(found.text.contains("in use by "), "{}", found.text);
        let pid = format!("(process {})", std::process::id());
        assert!(!Path::new("/proc/locks").exists() || found.text.contains(&pid), "{}", found.text);
        drop(locked);
        assert!(directory(place.path()).text.contains("not in use"));
    }

    #[test]
    fn other_users_access_is_a_warning() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let found = directory(place.path());
        assert_eq!(found.outcome, Outcome::Warn);
        assert!(found.text.contains("mode 0755, never used"), "{}", found.text);
    }

    #[test]
    fn a_directory_that_is_none_or_can_not_be_created_fails() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(outcomes(&with_journal(&file)), [(DIRECTORY, Outcome::Fail)]);
        let below = check(&with_journal(&file.join("journal"))).remove(0);
        assert_eq!(below.outcome, Outcome::Fail, "{below:?}");
        let new = check(&with_journal(&place.path().join("a/b")));
        let expected = [DIRECTORY, SPACE].map(|check| (check, Outcome::Ok));
        assert_eq!(new.iter().map(|it| (it.check, it.outcome)).collect::<Vec<_>>(), expected);
        assert!(new[0].text.ends_with("/a/b does not exist yet, and is created at the start"));
        assert!(!place.path().join("a").exists());
    }

    #[test]
    fn space_is_judged_by_the_least_that_works_and_by_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let judged = |free: u64| {
            let (space, longest) = (Space { total: 1 << 40, free }, 4 << 20);
            let settings = Settings { max_bytes: 1 << 30, sync: Duration::ZERO, snapshot: 1 };
            judge(space, place.path(), settings, longest).outcome
        };
        assert_eq!(judged(9 << 20), Outcome::Warn);
        assert_eq!(judged((9 << 20) - 1), Outcome::Fail);
        assert_eq!(judged(1 << 30), Outcome::Ok);
        fs::write(place.path().join("log"), [0; 100]).unwrap();
        assert_eq!(
            (judged((1 << 30) - 100), judged((1 << 30) - 101)),
            (Outcome::Ok, Outcome::Warn)
        );
    }

    #[test]
    fn a_slow_sync_is_a_warning() {
        let synced = |millis| synced(Path::new("/j"), vec![Duration::from_millis(millis); 8]);
        assert_eq!(synced(99).outcome, Outcome::Ok);
        let slow = synced(250);
        let text = "8 writes of 4.0 KiB to /j were synced in 250 ms each, the slowest in 250 ms";
        assert_eq!((slow.outcome, &*slow.text), (Outcome::Warn, text));
    }

    #[test]
    fn a_line_of_the_kernels_locks_names_its_process() {
        let place = tempfile::tempdir().unwrap();
        let found = fs::metadata(place.path()).unwrap();
        let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
        let id = format!("{major:02x}:{minor:02x}:{}", found.ino());
        let line = |kind| {
            format!(
                "1: POSIX  ADVISORY  READ 1 00:01:2 0 EOF\n2: {kind}  ADVISORY  WRITE 77 {id} 0 EOF\n"
            )
        };
        assert_eq!(holder(&line("FLOCK"), &found), Some(77));
        assert_eq!(holder(&line("POSIX"), &found), None);
        assert_eq!(holder("no such list", &found), None);
    }
}
