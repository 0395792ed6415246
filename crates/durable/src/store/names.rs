//! How a log's segments are named: after the number of their first record.

use std::path::{Path, PathBuf};

const SUFFIX: &str = "log";

pub(super) fn path_of(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{SUFFIX}"))
}

/// The number of the first record of a segment's file; `None` for any other file.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    let is_segment = path.extension().is_some_and(|suffix| suffix == SUFFIX);
    path.file_stem().filter(|_| is_segment)?.to_str()?.parse().ok()
}
