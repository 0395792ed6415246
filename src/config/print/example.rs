//! `examples/livekit-otel.yaml`, which has the settings' order and their defaults.

/// The settings' reference; a test compares it with the schema.
pub(in crate::config) const EXAMPLE: &str = include_str!("../../../examples/livekit-otel.yaml");

/// The example with the settings that are commented out.
pub(in crate::config) fn with_all_settings() -> String {
    let setting = |line: &str| {
        let (indent, rest) = line.split_once("# ")?;
        let key = rest.trim_start().split_once(':')?.0;
        let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (indent.trim().is_empty() && is_key).then(|| format!("{indent}{rest}"))
    };
    EXAMPLE.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}
