//! Whether the PEM files of a target were replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::settings::Target;

// Looked at this often while requests succeed, and before each attempt after one that failed.
const LOOK: Duration = Duration::from_secs(30);

/// Changes with each replacement; nothing where there is no file.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    looked: Instant,
    unusable: bool,
}

impl Files {
    /// The target's files as they are now: call it before they are read.
    pub(super) fn of(target: &Target) -> Self {
        let tls = &target.tls;
        let paths = match target.endpoint.scheme_str() {
            Some("https") => [&tls.ca, &tls.client_certificate, &tls.client_key]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            _ => Vec::new(),
        };
        Self { stamps: stamps(&paths), paths, looked: Instant::now(), unusable: false }
    }

    /// Whether there is something to read: other files than those in use.
    pub(super) fn replaced(&mut self, failed: bool) -> bool {
        if self.paths.is_empty() || !failed && self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let before = std::mem::replace(&mut self.stamps, stamps(&self.paths));
        self.unusable || self.stamps != before
    }

    /// Notes whether what was read can be used; gives whether it could before.
    pub(super) fn read(&mut self, usable: bool) -> bool {
        !std::mem::replace(&mut self.unusable, !usable)
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
    use crate::Settings;

    fn target(endpoint: &str, ca: PathBuf) -> Target {
        let mut target = Settings::default().logs;
        target.endpoint = endpoint.parse().unwrap();
        target.tls.ca = Some(ca);
        target
    }

    struct File(PathBuf);

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_looked_at_after_a_failure_and_every_half_minute() {
        let name = format!("livekit-otel-files-{}.pem", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        std::fs::write(&file.0, "1").unwrap();
        let mut files = Files::of(&target("https://collector", file.0.clone()));
        assert!(!files.replaced(true));
        std::fs::write(&file.0, "22").unwrap();
        assert!(!files.replaced(false));
        assert!(files.replaced(true));
        assert!(!files.replaced(true));
        std::fs::remove_file(&file.0).unwrap();
        tokio::time::advance(LOOK).await;
        assert!(files.replaced(false));
        assert!(!files.replaced(false));
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_can_not_be_used_are_read_again() {
        let mut files = Files::of(&target("https://collector", "no/such/file.pem".into()));
        assert!(files.read(false));
        assert!(files.replaced(true));
        assert!(!files.read(false));
        assert!(files.replaced(true));
        files.read(true);
        assert!(!files.replaced(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_target_has_no_files() {
        let mut files = Files::of(&target("http://collector", "no/such/file.pem".into()));
        files.read(false);
        assert!(!files.replaced(true));
    }
}
