//! The directories that settings name: whether the program can use or create them. Nothing is created.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Uid, geteuid};

use super::Config;
use super::paths::existing;
use livekit_otel_durable::journal::Settings;
use livekit_otel_durable::memory;
use livekit_otel_export::configure::{Problem, Reader};

const JOURNAL: &str = "journal.dir";
const RECORDINGS: &str = "agents.recordings.dir";
// All access of users other than the owner.
const OTHERS: u32 = 0o077;

/// Adds errors for directories that can't be used, and what the machine is too small for.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>, failing: &mut Vec<Problem>) {
    let journal = config.journal.as_ref().map(|journal| journal.directory.as_path());
    let recordings = config.uploads.recordings.as_ref().map(|keep| keep.path.as_path());
    for (key, path) in [(JOURNAL, journal), (RECORDINGS, recordings)] {
        let Some(path) = path else { continue };
        if let Err(what) = usable(path) {
            let at = reader.places.at(key);
            reader.problems.push(Problem::new(at, what).with_value(&path.to_string_lossy()));
        }
    }
    if let (Some(journal), Some(recordings)) = (journal, recordings) {
        let (journal, recordings) = (resolved(journal), resolved(recordings));
        if recordings.starts_with(&journal) || journal.starts_with(&recordings) {
            let what = "must be neither inside journal.dir nor around it";
            let at = reader.places.at(RECORDINGS);
            reader.problems.push(Problem::new(at, what).with_value(&recordings.to_string_lossy()));
        }
    }
    failing.extend(volume(config, reader));
    if let Some(note) = machine(config, reader) {
        reader.note(note);
    }
}

fn usable(path: &Path) -> Result<(), String> {
    let (found, metadata) = existing(path);
    let metadata = metadata.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("can't be used: this user may not enter a directory above {}", shown(found))
        }
        _ => format!("can't be used: {error}"),
    })?;
    let is_there = found == path;
    if !metadata.is_dir() {
        return Err(if is_there {
            "is a file: must be a directory".to_owned()
        } else {
            format!("can't be created: {} is a file", shown(found))
        });
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let wanted = if is_there { wanted | Access::READ_OK } else { wanted };
    let directory = if found.as_os_str().is_empty() { Path::new(".") } else { found };
    access(directory, wanted).map_err(|error| refused(error, found, is_there, &metadata))?;
    if is_there { private(&metadata, geteuid()) } else { Ok(()) }
}

fn refused(error: Errno, found: &Path, is_there: bool, metadata: &Metadata) -> String {
    let can_not = if is_there { "can't be used" } else { "can't be created" };
    let it = if is_there { "it".to_owned() } else { shown(found) };
    match error {
        Errno::ROFS => format!("{can_not}: {it} is on a read-only file system"),
        Errno::ACCESS => format!(
            "{can_not}: user {} may not write to {it}, which is that of user {} and has mode {:04o}",
            geteuid().as_raw(),
            metadata.uid(),
            metadata.mode() & 0o7777
        ),
        error => format!("{can_not}: {it}: {error}"),
    }
}

// The program makes its directories private, which only the owner can.
fn private(metadata: &Metadata, us: Uid) -> Result<(), String> {
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 || us.is_root() || metadata.uid() == us.as_raw() {
        return Ok(());
    }
    let (us, owner) = (us.as_raw(), metadata.uid());
    Err(format!(
        "has mode {mode:04o}, so that others may open it, and is that of user {owner}: must be that \
         of user {us}, or have mode 0700"
    ))
}

// Without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (found, _) = existing(&path);
    let rest = path.strip_prefix(found).unwrap_or(Path::new(""));
    let mut resolved = found.canonicalize().unwrap_or_else(|_| found.to_owned());
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

fn volume(config: &Config, reader: &Reader<'_>) -> Option<Problem> {
    let journal = config.journal.as_ref()?;
    let (found, _) = existing(&journal.directory);
    let found = if found.as_os_str().is_empty() { Path::new(".") } else { found };
    let total = journal.disk.space(found).ok()?.total;
    let least = Settings::least(config.max_body.max(config.max_message) as u64);
    let what = format!(
        "its volume has {total} bytes: the largest message needs {least}, and may never be accepted"
    );
    let at = reader.places.at(JOURNAL);
    let value = journal.directory.to_string_lossy();
    (total < least).then(|| Problem::new(at, what).with_value(&value))
}

fn machine(config: &Config, reader: &Reader<'_>) -> Option<Problem> {
    let (limit, available) = (config.memory_limit?, memory::available()?);
    let what = format!(
        "is more than the {} MiB that this machine or container allows: the kernel ends the program \
         before intake pauses",
        available >> 20
    );
    (limit > available).then(|| Problem::new(reader.places.at("memory_limit"), what))
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_may_open_must_be_ours_to_make_it_private() {
        let place = tempfile::tempdir().unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            std::fs::metadata(place.path()).unwrap()
        };
        let owner = with_mode(0o700).uid();
        let (us, another) = (Uid::from_raw(owner), Uid::from_raw(owner + 1));
        assert_eq!(private(&with_mode(0o755), us), Ok(()));
        assert_eq!(private(&with_mode(0o755), Uid::ROOT), Ok(()));
        assert_eq!(private(&with_mode(0o700), another), Ok(()));
        let expected = format!(
            "has mode 0755, so that others may open it, and is that of user {owner}: must be that of \
             user {}, or have mode 0700",
            owner + 1
        );
        assert_eq!(private(&with_mode(0o755), another), Err(expected));
    }

    #[test]
    fn a_refused_access_says_who_may_not_write_where() {
        let place = tempfile::tempdir().unwrap();
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o750)).unwrap();
        let metadata = std::fs::metadata(place.path()).unwrap();
        let (us, owner) = (geteuid().as_raw(), metadata.uid());
        assert_eq!(
            refused(Errno::ACCESS, Path::new("/srv"), false, &metadata),
            format!(
                "can't be created: user {us} may not write to /srv, which is that of user {owner} and \
                 has mode 0750"
            )
        );
        assert_eq!(
            refused(Errno::ROFS, Path::new("/srv"), true, &metadata),
            "can't be used: it is on a read-only file system"
        );
    }
}
