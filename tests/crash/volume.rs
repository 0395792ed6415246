//! A file system of a given size, so that a full disk is a real one.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A tmpfs; unmounted when it is dropped.
#[derive(Debug)]
pub(crate) struct Volume(TempDir);

impl Volume {
    /// Mounts one of so many MiB; `None`, and a loud line, where this process may not mount.
    pub(crate) fn mount(mib: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={mib}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(directory)),
            failed => {
                eprintln!(
                    "\n!!! NO VOLUME OF {mib} MiB, A PLAIN FOLDER IN ITS PLACE: {failed:?}\n"
                );
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}
