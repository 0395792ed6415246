//! The journal on disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::schema;
use livekit_otel_durable::journal::Settings;
use livekit_otel_durable::store::{Disk, Files};
use livekit_otel_export::configure::Reader;

/// A journal on disk.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Its directory, which no other process uses.
    pub directory: PathBuf,
    /// Its sizes and waits.
    pub settings: Settings,
    /// Writes its files; anything but the system's own is for tests of faults.
    pub disk: Arc<dyn Disk>,
}

/// The journal, if it has a directory; the largest message is `longest` bytes long.
pub(super) fn read(
    file: schema::Journal,
    longest: usize,
    reader: &mut Reader<'_>,
) -> Option<JournalConfig> {
    let directory = file.dir?;
    let max_bytes = file.max_bytes.map_or(8 << 30, |bytes| bytes as u64);
    let settings = Settings { max_bytes, sync: file.sync, snapshot: file.snapshot };
    let least = Settings::least(longest as u64);
    if max_bytes < least {
        // A smaller one would always refuse the largest message.
        let what = format!(
            "must be at least {least} bytes, which is twice the larger of limits.webhook_body and \
             limits.analytics_message, for a message and a snapshot that has it, and 1MiB: raise \
             it, or lower those"
        );
        reader.wrong_setting("journal.max_bytes", what);
    }
    Some(JournalConfig { directory, settings, disk: Arc::new(Files) })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::tests::{KEYS, Yaml, env, wrong};

    #[test]
    fn a_journal_that_can_not_hold_the_largest_message_is_refused() {
        let text = "journal: {dir: j, max_bytes: 8MiB}\n";
        let yaml = Yaml::new("small-journal", text);
        let errors = wrong(&yaml.args(), &[KEYS]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        let expected = ":1: journal.max_bytes: must be at least 9437184 bytes, which is twice the";
        assert!(errors[0].contains(expected), "{errors:?}");
        let text = "limits: {webhook_body: 64KiB, analytics_message: 64KiB}\n\
                    journal: {dir: j, max_bytes: 2MiB}\n";
        let yaml = Yaml::new("small-messages", text);
        let config = Config::load(&yaml.args(), &env(&[KEYS])).unwrap();
        let settings = config.journal.unwrap().settings;
        assert_eq!((settings.max_bytes, settings.segment()), (2 << 20, 128 << 10));
    }

    #[test]
    fn messages_and_requests_longer_than_a_record_of_a_file_are_refused() {
        let text = "limits: {webhook_body: 33MiB, analytics_message: 65MiB}\n\
                    export: {max_request: 65MiB, max_queue: 100MiB}\n";
        let yaml = Yaml::new("long", text);
        let errors = wrong(&yaml.args(), &[KEYS]);
        let limit = |path: &str, most: u64| {
            let line = errors.iter().find(|line| line.contains(path)).unwrap();
            assert!(line.contains(&format!("must be at most {most}MiB")), "{line}");
        };
        limit("limits.webhook_body", 32);
        limit("limits.analytics_message", 32);
        limit("export.max_request", 64);
    }
}
