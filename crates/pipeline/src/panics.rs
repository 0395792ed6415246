//! Deliberate panics, for tests of their consequences; not part of a release build.
#![allow(clippy::missing_panics_doc)] // all of them panic

use livekit_otel_model::event::Decoded;

use crate::tap::Passed;

/// The pipeline panics at an input that contains this.
pub const PANICS: &str = "made-up-fault-of-the-pipeline";

/// The pipeline panics while it loads a snapshot that contains this.
pub const PANICS_AT_LOAD: &str = "made-up-fault-of-a-snapshot";

/// The live view panics at a room of this name.
pub const PANICS_ON_PAGE: &str = "made-up-fault-of-the-page";

/// Panics if `raw` contains `text`.
pub(crate) fn panic_if_asked(raw: &[u8], text: &str) {
    let mut parts = raw.windows(text.len());
    assert!(!parts.any(|part| part == text.as_bytes()), "{text}");
}

/// Panics if an event's room has the name [`PANICS`]: inputs of the library have no bytes.
pub(crate) fn panic_if_room_named(decoded: Option<&Decoded>) {
    let Some(Decoded::Events(events)) = decoded else { return };
    let mut rooms = events.iter().filter_map(|event| event.room.as_ref()?.name.as_ref());
    assert!(!rooms.any(|name| name.as_str() == PANICS), "{PANICS}");
}

/// Panics if a log record contains [`PANICS_ON_PAGE`].
pub fn panic_on_page(passed: &Passed) {
    let Passed::Logs(logs) = passed else { return };
    let mut values = logs.iter().flat_map(|log| &log.attributes).map(|attribute| &attribute.value);
    assert!(!values.any(|value| *value == PANICS_ON_PAGE.into()), "{PANICS_ON_PAGE}");
}
