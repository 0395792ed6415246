//! The flags and variables that override settings of the file.

use super::tree::Tree;
use super::values;
use crate::cli::ServeArgs;
use livekit_otel_export::configure::{self, Flags, Found, Reader, option};

const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

/// Overrides what the program's own flags and their variables set, and removes what OpenTelemetry's
/// variables override.
pub(super) fn apply(args: &ServeArgs, tree: &mut Tree, reader: &mut Reader<'_>) {
    let directory = args.journal_dir.as_ref().map(|directory| directory.display().to_string());
    for (flag, value, key) in [
        ("--http", &args.http, "listen.http"),
        ("--grpc", &args.grpc, "listen.grpc"),
        ("--admin", &args.admin, "listen.admin"),
        ("--ui", &args.ui, "listen.ui"),
        ("--grpc-auth", &args.grpc_auth, "listen.grpc_auth"),
        ("--journal-dir", &directory, "journal.dir"),
        ("--stats-level", &args.stats_level, "stats.level"),
        ("--log-level", &args.log_level, "log.level"),
        ("--log-format", &args.log_format, "log.format"),
        ("--shutdown-timeout", &args.shutdown_timeout, "shutdown_timeout"),
    ] {
        set(tree, key, option(reader, flag, value.as_ref()));
    }
    for key in configure::overridden(&exporter(args), reader) {
        tree.remove(key);
    }
    interval(tree, reader);
}

/// Overrides LiveKit's URL. Agents that use the library have this variable for other reasons.
pub(super) fn url(tree: &mut Tree, reader: &Reader<'_>) {
    set(tree, "livekit.url", reader.variable("LIVEKIT_URL"));
}

/// The exporter's flags.
pub(super) fn exporter(args: &ServeArgs) -> Flags<'_> {
    let ServeArgs { endpoint, protocol, privacy_pii, .. } = args;
    Flags {
        endpoint: endpoint.as_ref(),
        protocol: protocol.as_ref(),
        privacy_pii: privacy_pii.as_ref(),
    }
}

fn set(tree: &mut Tree, key: &str, found: Option<Found>) {
    if let Some(Found { text, at }) = found {
        tree.set(key, &at, &text);
    }
}

// The variable has milliseconds without their unit.
fn interval(tree: &mut Tree, reader: &mut Reader<'_>) {
    let Some(found) = reader.variable(INTERVAL) else { return };
    tree.remove("stats.interval");
    if let Some(interval) = reader.parse(Some(found), values::millis) {
        tree.set("stats.interval", INTERVAL, &format!("{}ms", interval.as_millis()));
    }
}
