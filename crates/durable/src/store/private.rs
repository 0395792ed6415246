//! Files and directories that only their owner may read: they hold what LiveKit sent as it came, with
//! the passwords in it.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::directory::OpenError;

const OTHERS: u32 = 0o077;

/// Options that make a file which only its owner may open.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::new().mode(0o600).clone()
}

/// Options that follow no link, and wait for no other end of a pipe.
pub(super) fn as_it_is(mut options: OpenOptions) -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    options
}

/// Makes a directory that only its owner may enter, with those above it, where it is not there.
///
/// # Errors
/// Those of the file system.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes from others what they may do with the file or directory at `path`; whether they might do
/// anything. What a symbolic link leads to is not changed.
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

/// As [`tighten`], of all that is in a directory; gives how many were open to others.
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
            // A link to nothing, or gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(failed(&path))?,
        };
        if !found.is_dir() && !found.is_file() {
            // To open a pipe is to wait for ever.
            return Err(failed(&path)(io::Error::other("it is neither a file nor a directory")));
        }
        open += u64::from(tighten(&path, is_link, &found)?);
        if found.is_dir() && !is_link {
            open += tighten_all(&path)?;
        }
    }
    Ok(open)
}
