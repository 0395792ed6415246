//! Faults on purpose, for tests of what a panic costs; no part of a release build.
#![allow(clippy::missing_panics_doc)] // it is what they are for

use livekit_otel_model::event::Decoded;

use crate::Passed;

/// What makes the pipeline panic where an input holds it: a fault that only tests have.
pub const PANICS: &str = "made-up-fault-of-the-pipeline";

/// The same for the load of a snapshot that holds it.
pub const PANICS_AT_LOAD: &str = "made-up-fault-of-a-snapshot";

/// The same for the page of rooms, by a room's name.
pub const PANICS_ON_PAGE: &str = "made-up-fault-of-the-page";

/// Panics where the input holds `text`.
pub fn panic_if_asked(raw: &[u8], text: &str) {
    let mut parts = raw.windows(text.len());
    assert!(!parts.any(|part| part == text.as_bytes()), "{text}");
}

/// Panics where an event's room has the name [`PANICS`]: a library's input has no bytes.
pub fn panic_if_told(decoded: Option<&Decoded>) {
    let Some(Decoded::Events(events)) = decoded else { return };
    let mut rooms = events.iter().filter_map(|event| event.room.as_ref()?.name.as_ref());
    assert!(!rooms.any(|name| name.as_str() == PANICS), "{PANICS}");
}

/// Panics where a record has [`PANICS_ON_PAGE`].
pub fn panic_on_page(passed: &Passed) {
    let Passed::Logs(logs) = passed else { return };
    let mut values = logs.iter().flat_map(|log| &log.attributes).map(|attribute| &attribute.value);
    assert!(!values.any(|value| *value == PANICS_ON_PAGE.into()), "{PANICS_ON_PAGE}");
}
