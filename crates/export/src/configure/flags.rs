//! The program's own options: flags, and the variables that are named after them.

use super::reader::{Found, Reader};

/// The command line's settings of the exporter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// `--endpoint`
    pub endpoint: Option<&'a String>,
    /// `--protocol`
    pub protocol: Option<&'a String>,
    /// `--privacy-pii`
    pub privacy_pii: Option<&'a String>,
}

/// One of livekit-otel's own options, if its flag or variable is set. The variable is named after the
/// flag: `LIVEKIT_OTEL_LOG_LEVEL` for `--log-level`.
pub fn option(reader: &Reader<'_>, flag: &str, value: Option<&String>) -> Option<Found> {
    let variable = flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
    Reader::flag(flag, value).or_else(|| reader.variable(&format!("LIVEKIT_OTEL_{variable}")))
}
