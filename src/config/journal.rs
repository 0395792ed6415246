//! The journal on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{JournalConfig, option, values};
use crate::cli::ServeArgs;
use livekit_otel_durable::journal::Settings;
use livekit_otel_durable::store::Files;
use livekit_otel_export::configure::Reader;

/// Reads it; the largest message is `longest` bytes long.
pub(super) fn read(
    args: &ServeArgs,
    longest: usize,
    reader: &mut Reader<'_>,
) -> Option<JournalConfig> {
    let directory = args.journal_dir.as_ref().map(|directory| directory.display().to_string());
    let found = option(reader, "--journal-dir", directory.as_ref(), "journal.dir");
    let sync = reader.in_file("journal.sync", values::duration);
    let snapshot = reader.in_file("journal.snapshot", values::size).unwrap_or(64 << 20);
    let directory = PathBuf::from(found?.text);
    let max_bytes = reader.in_file("journal.max_bytes", values::size).unwrap_or(8 << 30);
    let sync = sync.unwrap_or(Duration::ZERO);
    let settings = Settings { max_bytes, sync, snapshot };
    let least = Settings::least(longest as u64);
    if max_bytes < least {
        // Less would refuse the largest message for ever.
        let at = reader.file.at("journal.max_bytes");
        let what = format!(
            "must be at least {least} bytes, which is twice the larger of limits.webhook_body and \
             limits.analytics_message, for a message and a snapshot that has it, and 1MiB: raise \
             it, or lower those"
        );
        reader.wrong(at, what);
    }
    Some(JournalConfig { directory, settings, disk: Arc::new(Files) })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::tests::{KEYS, Yaml, env, wrong};

    #[test]
    fn a_journal_that_could_never_take_the_largest_message_is_refused() {
        let text = "journal: {dir: j, max_bytes: 8MiB}\n";
        let yaml = Yaml::new("small-journal", text);
        let said = wrong(&yaml.args(), &[KEYS]);
        assert_eq!(said.len(), 1, "{said:?}");
        let expected = "must be at least 9437184 bytes, which is twice the larger of";
        assert!(
            said[0].contains("journal.max_bytes in ") && said[0].contains(expected),
            "{said:?}"
        );
        let text = "limits: {webhook_body: 64KiB, analytics_message: 64KiB}\n\
                    journal: {dir: j, max_bytes: 2MiB}\n";
        let yaml = Yaml::new("small-messages", text);
        let config = Config::load(&yaml.args(), &env(&[KEYS])).unwrap();
        let settings = config.journal.unwrap().settings;
        assert_eq!((settings.max_bytes, settings.segment()), (2 << 20, 128 << 10));
    }

    #[test]
    fn what_could_not_be_read_again_from_a_file_is_refused() {
        let text = "limits: {webhook_body: 33MiB, analytics_message: 65MiB}\n\
                    export: {max_request: 65MiB, max_queue: 100MiB}\n";
        let yaml = Yaml::new("long", text);
        let said = wrong(&yaml.args(), &[KEYS]);
        let limit = |path: &str, most: u64| {
            let line = said.iter().find(|line| line.contains(path)).unwrap();
            assert!(line.contains(&format!("must be at most {most}MiB")), "{line}");
        };
        limit("limits.webhook_body", 32);
        limit("limits.analytics_message", 32);
        limit("export.max_request", 64);
    }
}
