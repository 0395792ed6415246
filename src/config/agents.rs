//! Uploads: checks of their settings against each other.

use super::JournalConfig;
use super::schema::Agents;
use crate::source::uploads::{Directory, MAX_BODY, Settings};
use livekit_otel_durable::journal;
use livekit_otel_export::configure::Reader;

// Of `memory_limit`: a request is in memory as it arrives, decompressed, and read.
const OF_MEMORY: u64 = 16;
const LEAST_BODY: usize = 1 << 20;

/// The settings of uploads.
pub(super) fn read(
    file: Agents,
    journal: Option<&JournalConfig>,
    memory_limit: Option<u64>,
    reader: &mut Reader<'_>,
) -> Settings {
    let of_memory = memory_limit.map_or(u64::MAX, |limit| limit / OF_MEMORY);
    let of_journal = journal.map_or(u64::MAX, |journal| longest(journal.settings.max_bytes));
    let default = of_memory.max(LEAST_BODY as u64).min(of_journal).min(MAX_BODY as u64);
    let default = usize::try_from(default).unwrap_or(MAX_BODY);
    let max_body = file.max_body.unwrap_or(default);
    if max_body as u64 > of_journal {
        let what = format!("must be at most {of_journal} bytes, which journal.max_bytes allows");
        reader.wrong_setting("agents.max_body", what);
    }
    let least = 2 * max_body;
    if file.unfinished.is_some_and(|unfinished| unfinished < least) {
        reader.wrong_setting("agents.unfinished", "must be at least twice agents.max_body");
    }
    let max_bytes = file.recordings.max_bytes;
    Settings {
        enabled: file.enabled,
        max_body,
        unfinished: file.unfinished.unwrap_or(least),
        recordings: file.recordings.dir.map(|path| Directory { path, max_bytes }),
    }
}

// The longest message of a journal of that size.
fn longest(max_bytes: u64) -> u64 {
    max_bytes.saturating_sub(journal::Settings::least(0)) / 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::Config;
    use super::super::tests::wrong_in;
    use super::*;
    use livekit_otel_engine::session::AgentTraces;

    const KEYS: &str = "livekit: {keys: {a: s3cret}}\n";

    fn settings(text: &str) -> Settings {
        Config::from_text(&format!("{KEYS}{text}"), &BTreeMap::new()).unwrap().uploads
    }

    #[test]
    fn the_largest_upload_fits_into_memory_and_the_journal() {
        let sizes = |text: &str| {
            let Settings { max_body, unfinished, .. } = settings(text);
            (max_body >> 20, unfinished >> 20)
        };
        assert_eq!(sizes(""), (64, 128));
        assert_eq!(sizes("journal: {dir: j}"), (64, 128));
        assert_eq!(sizes("journal: {dir: j, max_bytes: 21MiB}"), (10, 20));
        assert_eq!(sizes("memory_limit: 512MiB"), (32, 64));
        assert_eq!(sizes("memory_limit: 64MiB"), (4, 8));
        assert_eq!(sizes("memory_limit: 512MiB\nagents: {max_body: 64MiB}"), (64, 128));
        assert_eq!(sizes("agents: {max_body: 2MiB, unfinished: 5MiB}"), (2, 5));
    }

    #[test]
    fn limits_that_can_not_work_are_refused() {
        for (text, expected) in [
            ("agents: {max_body: 65MiB}", "agents.max_body: must be at most 64MiB"),
            (
                "agents: {max_body: 9MiB, unfinished: 17MiB}",
                "agents.unfinished: must be at least twice agents.max_body",
            ),
            (
                "{agents: {max_body: 11MiB}, journal: {dir: j, max_bytes: 21MiB}}",
                "agents.max_body: must be at most 10485760 bytes, which journal.max_bytes allows",
            ),
        ] {
            let text = match text.strip_prefix('{') {
                Some(pairs) => format!("{{livekit: {{keys: {{a: s3cret}}}}, {pairs}"),
                None => format!("{KEYS}{text}"),
            };
            let wrong = wrong_in(&text);
            assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}");
        }
    }

    #[test]
    fn agents_traces_follow_the_scope_unless_they_are_set() {
        let traces = |text: &str| {
            let config = Config::from_text(&format!("{KEYS}{text}"), &BTreeMap::new()).unwrap();
            config.session.agent_traces()
        };
        assert_eq!(traces(""), AgentTraces::Join);
        assert_eq!(traces("traces: {scope: participant}"), AgentTraces::Link);
        for off in ["off", "'off'"] {
            assert_eq!(traces(&format!("agents: {{traces: {off}}}")), AgentTraces::Off);
        }
        let config = Config::from_text(&format!("{KEYS}log: {{level: off}}"), &BTreeMap::new());
        assert_eq!(config.unwrap().log.level, tracing::level_filters::LevelFilter::OFF);
        assert_eq!(traces("agents: {traces: link}"), AgentTraces::Link);
    }

    #[test]
    fn an_agent_has_a_deadline_and_is_expected_only_if_that_is_set() {
        let session = |text: &str| {
            let config = Config::from_text(&format!("{KEYS}{text}"), &BTreeMap::new()).unwrap();
            (config.session.dispatch_deadline, config.session.agents_expected)
        };
        assert_eq!(session(""), (Duration::from_secs(15), false));
        let set = session("agents: {dispatch_deadline: 10m, expected: true}");
        assert_eq!(set, (Duration::from_mins(10), true));
        for deadline in ["999ms", "601s"] {
            let wrong = wrong_in(&format!("{KEYS}agents: {{dispatch_deadline: {deadline}}}"));
            let expected =
                format!("agents.dispatch_deadline: must be from 1s to 10m (got \"{deadline}\")");
            assert!(wrong.len() == 1 && wrong[0].ends_with(&expected), "{wrong:?}");
        }
    }

    #[test]
    fn recordings_are_discarded_without_a_directory() {
        assert_eq!(settings("").recordings, None);
        let Directory { path, max_bytes } =
            settings("agents: {recordings: {dir: /r, max_bytes: 2GiB}}").recordings.unwrap();
        assert_eq!((path.to_str().unwrap(), max_bytes), ("/r", 2 << 30));
        assert_eq!(settings("agents: {enabled: false}").enabled, Some(false));
    }
}
