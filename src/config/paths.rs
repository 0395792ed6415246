//! Files and directories: what is there.

use std::io;
use std::path::Path;

/// Why a file can't be used.
#[cfg(feature = "tls")]
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "its directory is a file".to_owned(),
        _ => error.to_string(),
    }
}

/// The nearest directory, or file, that exists: `path` or one above it.
pub(super) fn existing(path: &Path) -> (&Path, io::Result<std::fs::Metadata>) {
    let here = |path: &Path| {
        // A relative path of one part has an empty parent.
        if path.as_os_str().is_empty() { std::fs::metadata(".") } else { std::fs::metadata(path) }
    };
    let is_missing = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    for above in path.ancestors() {
        match here(above) {
            Err(error) if is_missing(&error) => {}
            found => return (above, found),
        }
    }
    (path, here(path))
}
