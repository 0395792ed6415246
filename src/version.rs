//! Which build this is.

/// The version, the commit, the profile, the target and the features, as `--version` prints them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LIVEKIT_OTEL_BUILD"), ")");

/// The commit, the profile, the target and the features.
pub const BUILD: &str = env!("LIVEKIT_OTEL_BUILD");
