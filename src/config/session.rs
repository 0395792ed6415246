//! How long sessions wait, and what is one trace.

use super::values;
use livekit_otel_engine::session::Settings;
use livekit_otel_export::configure::Reader;

pub(super) fn read(reader: &mut Reader<'_>) -> Settings {
    let default = Settings::default();
    let mut time = |path, default| reader.in_file(path, values::duration).unwrap_or(default);
    let linger = time("session.linger", default.linger);
    let twin_wait = time("session.twin_wait", default.twin_wait);
    let max_age = time("traces.max_age", default.max_age);
    let silent_after = reader.in_file("session.silent_after", values::positive_duration);
    Settings {
        linger,
        twin_wait,
        silent_after: silent_after.unwrap_or(default.silent_after),
        keep_ended: reader
            .in_file("session.keep_ended", values::kept)
            .unwrap_or(default.keep_ended),
        keep_ended_ids: reader
            .in_file("session.keep_ended_ids", values::remembered)
            .unwrap_or(default.keep_ended_ids),
        max_ended: reader.in_file("session.max_ended", values::ended).unwrap_or(default.max_ended),
        max_ids: reader.in_file("session.max_ids", values::ids).unwrap_or(default.max_ids),
        scope: reader.in_file("traces.scope", values::scope).unwrap_or(default.scope),
        max_spans: reader.in_file("traces.max_spans", values::spans).unwrap_or(default.max_spans),
        max_age,
        subscriptions: reader
            .in_file("traces.subscriptions", values::boolean)
            .unwrap_or(default.subscriptions),
        trace_url: reader.in_file("traces.url", values::trace_url),
    }
}
