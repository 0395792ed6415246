//! Sizes and times: checks against each other.

use super::schema::File;
use livekit_otel_export::configure::{Problem, Reader};
use livekit_otel_export::settings::{Protocol, Settings};
use livekit_otel_model::Signal;

// The most that a gRPC server receives by default (grpc-go, `defaultServerMaxReceiveMessageSize`).
const COLLECTORS: usize = 4 << 20;

/// Refuses limits that could never hold one message, and intervals that could never do their work.
pub(super) fn check(file: &File, export: &Settings, reader: &mut Reader<'_>) {
    let message = file.limits.webhook_body.max(file.limits.analytics_message);
    let journal = &file.journal;
    // On disk it needs more, see `journal`.
    if journal.dir.is_none() && journal.max_bytes.is_some_and(|bytes| bytes < message) {
        let what = format!(
            "must be at least {message} bytes, which is the larger of limits.webhook_body and \
             limits.analytics_message: raise it, or lower those"
        );
        reader.wrong_setting("journal.max_bytes", what);
    }
    let letter = longest_dead_letter(file, export);
    if file.dead_letters.max_bytes.is_some_and(|bytes| bytes < letter) {
        let what = format!(
            "must be at least {letter} bytes, which is the largest of export.max_request, \
             limits.webhook_body and limits.analytics_message: raise it, or lower those"
        );
        reader.wrong_setting("set_aside.max_bytes", what);
    }
    let livekit = &file.livekit;
    if livekit.url.is_some() && livekit.interval >= file.session.silent_after {
        let what = "must be shorter than session.silent_after, or quiet rooms are ended between \
                    two lists";
        reader.wrong_setting("livekit.interval", what);
    }
    notes(file, export, reader);
}

/// The largest dead letter, in bytes.
pub(super) fn longest_dead_letter(file: &File, export: &Settings) -> u64 {
    let message = file.limits.webhook_body.max(file.limits.analytics_message);
    message.max(export.max_request_bytes) as u64
}

fn notes(file: &File, export: &Settings, reader: &mut Reader<'_>) {
    let targets = || Signal::ALL.into_iter().map(|signal| export.target(signal));
    let is_grpc = targets().any(|target| target.enabled && target.protocol == Protocol::Grpc);
    if is_grpc && export.max_request_bytes > COLLECTORS {
        let what = "is more than the 4MiB that collectors accept by default \
                    (max_recv_msg_size_mib)";
        reader.note(Problem::new(reader.places.at("export.max_request"), what));
    }
    let slowest = targets().filter(|target| target.enabled).map(|target| target.timeout).max();
    if slowest.is_some_and(|timeout| timeout > file.shutdown_timeout) {
        let what = "is shorter than export.timeout: one request without an answer takes the whole \
                    shutdown";
        reader.note(Problem::new(reader.places.at("shutdown_timeout"), what));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::super::tests::{notes_in, wrong_in};

    const KEYS: &str = "livekit: {keys: {a: s3cret}}\n";

    #[test]
    fn sizes_and_times_that_can_not_work_are_refused() {
        for (text, expected) in [
            ("limits: {webhook_body: 1KiB}", "limits.webhook_body: must be at least 4KiB (got"),
            ("limits: {analytics_message: 1}", "limits.analytics_message: must be at least 4KiB"),
            ("agents: {max_body: 1KiB}", "agents.max_body: must be at least 4KiB (got"),
            ("agents: {recordings: {max_bytes: 1}}", "agents.recordings.max_bytes: must be at lea"),
            ("export: {max_request: 1}", "export.max_request: must be at least 4KiB (got"),
            ("export: {timeout: 0s}", "export.timeout: must be longer than nothing (got"),
            ("memory_limit: 63MiB", "memory_limit: must be at least 64MiB (got"),
            ("shutdown_timeout: 0s", "shutdown_timeout: must be longer than nothing (got"),
            ("stats: {interval: 99ms}", "stats.interval: must be at least 100ms (got"),
            ("session: {silent_after: 59s}", "session.silent_after: must be at least 1m (got"),
            ("journal: {sync: 6s}", "journal.sync: must be at most 5s, as LiveKit gives up a webh"),
            ("journal: {snapshot: 1}", "journal.snapshot: must be at least 4KiB (got"),
            ("journal: {max_bytes: 3MiB}", "journal.max_bytes: must be at least 4194304 bytes, "),
            ("set_aside: {max_bytes: 3MiB}", "set_aside.max_bytes: must be at least 4194304 byte"),
        ] {
            let wrong = wrong_in(&format!("{KEYS}{text}"));
            let expected = format!("f.yaml:2: {expected}");
            assert!(wrong.len() == 1 && wrong[0].starts_with(&expected), "{text}: {wrong:?}");
        }
        let api = "livekit: {keys: {a: s3cret}, url: 'http://lk', interval: 1h}\n\
                   session: {silent_after: 1h}";
        let wrong = wrong_in(api);
        let expected = "f.yaml:1: livekit.interval: must be shorter than session.silent_after";
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{wrong:?}");
        let letters = |text: &str| {
            let config = Config::from_text(&format!("{KEYS}{text}"), &BTreeMap::new());
            config.unwrap().dead_letter_bytes >> 20
        };
        assert_eq!(letters("limits: {webhook_body: 4KiB, analytics_message: 4KiB}"), 16);
        // The default holds a dead letter of any allowed length.
        assert_eq!(letters("limits: {analytics_message: 32MiB}"), 32);
        assert_eq!(letters("export: {max_request: 64MiB}"), 64);
    }

    #[test]
    fn sizes_and_times_that_are_hardly_meant_are_noted() {
        let notes =
            |text: &str| notes_in(&format!("livekit: {{keys: {{a: {}}}}}\n{text}", "s".repeat(32)));
        assert_eq!(notes(""), <[&str; 0]>::default());
        assert_eq!(notes("export: {max_request: 4MiB}"), <[&str; 0]>::default());
        for (text, expected) in [
            ("export: {max_request: 5MiB}", "export.max_request: is more than the 4MiB that coll"),
            ("shutdown_timeout: 9s", "shutdown_timeout: is shorter than export.timeout: one req"),
        ] {
            let notes = notes(text);
            let expected = format!("f.yaml:2: {expected}");
            assert!(notes.len() == 1 && notes[0].starts_with(&expected), "{text}: {notes:?}");
        }
        let http = "export: {max_request: 5MiB, protocol: http/protobuf}";
        assert_eq!(notes(http), <[&str; 0]>::default());
    }
}
