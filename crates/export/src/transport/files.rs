//! Finds out whether the PEM files of a target were replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::settings::Target;

// How often the files are checked while requests succeed. After a failed request they are checked before the next.
const CHECK_AGAIN: Duration = Duration::from_secs(30);

/// Changes with each replacement; nothing where there is no file.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    checked: Instant,
    is_unusable: bool,
}

impl Files {
    /// The target's files as they are now. Call it before they are read.
    pub(super) fn new(target: &Target) -> Self {
        let paths = match target.endpoint.scheme_str() {
            Some("https") => target.tls.paths(),
            _ => Vec::new(),
        };
        Self { stamps: stamps(&paths), paths, checked: Instant::now(), is_unusable: false }
    }

    /// Whether other files than those in use are to be read. `has_failed`: the last request failed.
    pub(super) fn are_replaced(&mut self, has_failed: bool) -> bool {
        if self.paths.is_empty() || !has_failed && self.checked.elapsed() < CHECK_AGAIN {
            return false;
        }
        self.checked = Instant::now();
        let before = std::mem::replace(&mut self.stamps, stamps(&self.paths));
        self.is_unusable || self.stamps != before
    }

    /// Notes whether the files can be used. Returns whether they could before.
    pub(super) fn set_usable(&mut self, is_usable: bool) -> bool {
        !std::mem::replace(&mut self.is_unusable, !is_usable)
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    paths.iter().map(|path| stamp(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, Tls};

    fn target(endpoint: &str, ca: PathBuf) -> Target {
        let mut target = Settings::default().logs;
        target.endpoint = endpoint.parse().unwrap();
        target.tls = Tls::default().with_ca(ca);
        target
    }

    struct File(PathBuf);

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_checked_after_a_failure_and_every_half_minute() {
        let name = format!("livekit-otel-files-{}.pem", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        std::fs::write(&file.0, "1").unwrap();
        let mut files = Files::new(&target("https://collector", file.0.clone()));
        assert!(!files.are_replaced(true));
        std::fs::write(&file.0, "22").unwrap();
        assert!(!files.are_replaced(false));
        assert!(files.are_replaced(true));
        assert!(!files.are_replaced(true));
        std::fs::remove_file(&file.0).unwrap();
        tokio::time::advance(CHECK_AGAIN).await;
        assert!(files.are_replaced(false));
        assert!(!files.are_replaced(false));
    }

    #[tokio::test(start_paused = true)]
    async fn unusable_files_are_read_again() {
        let mut files = Files::new(&target("https://collector", "no/such/file.pem".into()));
        assert!(files.set_usable(false));
        assert!(files.are_replaced(true));
        assert!(!files.set_usable(false));
        assert!(files.are_replaced(true));
        files.set_usable(true);
        assert!(!files.are_replaced(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_target_has_no_files() {
        let mut files = Files::new(&target("http://collector", "no/such/file.pem".into()));
        files.set_usable(false);
        assert!(!files.are_replaced(true));
    }
}
