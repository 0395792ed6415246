//! The names of a log's segments: the number of their first record.

use std::path::{Path, PathBuf};

const SUFFIX: &str = "log";

pub(super) fn path_of(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{SUFFIX}"))
}

/// The number of a segment's first record; `None` if the file is not a segment.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    let is_segment = path.extension().is_some_and(|suffix| suffix == SUFFIX);
    path.file_stem().filter(|_| is_segment)?.to_str()?.parse().ok()
}
