//! Files and directories that only their owner may read: they hold LiveKit's messages unchanged, which can
//! contain passwords.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::error::OpenError;

const OTHERS: u32 = 0o077;

/// Options that create files which only their owner may open.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::new().mode(0o600).clone()
}

/// Options that follow no symbolic link, and do not wait for the other end of a pipe.
pub(super) fn without_following(mut options: OpenOptions) -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    options
}

/// Creates a directory that only its owner may enter, and its parents, if they do not exist.
///
/// # Errors
/// Those of the file system.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes other users' access to `path` away. Returns whether they had any. Fails instead of changing the
/// target of a symbolic link.
pub(super) fn tighten(path: &Path, is_link: bool, found: &Metadata) -> Result<bool, OpenError> {
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    let tightened = if is_link {
        Err(io::Error::other("it is behind a symbolic link"))
    } else {
        fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))
    };
    let exposed = |error| OpenError::Exposed { path: path.to_owned(), mode, error };
    tightened.map(|()| true).map_err(exposed)
}

/// Tightens everything in a directory. Returns how many files and directories others could open.
pub(super) fn tighten_all(directory: &Path) -> Result<u64, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    };
    let mut open = 0;
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let path = entry.path();
        let is_link = entry.file_type().map_err(failed(&path))?.is_symlink();
        let found = match fs::metadata(&path) {
            // A dangling link, or removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(failed(&path))?,
        };
        if !found.is_dir() && !found.is_file() {
            // Opening a pipe would block forever.
            return Err(failed(&path)(io::Error::other("it is neither a file nor a directory")));
        }
        open += u64::from(tighten(&path, is_link, &found)?);
        if found.is_dir() && !is_link {
            open += tighten_all(&path)?;
        }
    }
    Ok(open)
}
