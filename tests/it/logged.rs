//! The log of a test's thread, which is that of the servers it starts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;

const SOON: Duration = Duration::from_secs(10);

/// What was logged since [`Log::start`].
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// The thread logs until this is dropped.
pub(crate) struct Logging {
    _second: Dispatch,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn start() -> (Self, Logging) {
        Self::start_at(LevelFilter::INFO)
    }

    pub(crate) fn start_at(level: LevelFilter) -> (Self, Logging) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(level);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        // With one subscriber alone, an event that another thread logs first would be disabled for all.
        let second = Dispatch::new(tracing_subscriber::registry());
        let guard = tracing::subscriber::set_default(subscriber);
        (log, Logging { _second: second, _guard: guard })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines with this text.
    pub(crate) fn lines(&self, with: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(with)).map(ToOwned::to_owned).collect()
    }

    /// Waits for a line with this text, which must be the only one.
    pub(crate) async fn line(&self, with: &str) -> String {
        let logged = async {
            while self.lines(with).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let logged = tokio::time::timeout(SOON, logged).await;
        assert!(logged.is_ok(), "{with:?} is not in {}", self.text());
        let mut lines = self.lines(with);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
