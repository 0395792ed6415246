//! Why a directory can't be opened.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A directory can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has locked it.
    #[error("{} is in use by another livekit-otel: each needs a journal.dir of its own", .0.display())]
    InUse(PathBuf),
    /// It can't be created, read or written.
    #[error("{} can't be used: {error}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// Other users may open it, and that can't be changed.
    #[error(
        "{} has mode {mode:04o}, so that others may open it, and can't be made private: {error}",
        path.display()
    )]
    Exposed {
        /// Which file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Why the mode can't be changed.
        #[source]
        error: io::Error,
    },
}
