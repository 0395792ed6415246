//! Puts what flags and variables set into the tree of the file, where it has a key.

use std::fmt::Write;

use super::super::de::MASK;
use super::super::keys::of_server;
use super::super::overrides;
use super::super::tree::Tree;
use crate::cli::ServeArgs;
use livekit_otel_export::configure::{Found, Reader, option, values};

const SIGNALS: [&str; 3] = ["TRACES", "LOGS", "METRICS"];
const OPTIONS: [&str; 9] = [
    "ENDPOINT",
    "INSECURE",
    "PROTOCOL",
    "HEADERS",
    "TIMEOUT",
    "COMPRESSION",
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
];
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// Sets what OpenTelemetry's and LiveKit's variables set, and the flags beside them.
pub(super) fn variables(args: &ServeArgs, tree: &mut Tree, reader: &Reader<'_>) {
    exporter(args, tree, reader);
    if args.insecure_listen {
        tree.set("listen.insecure", "--insecure-listen", "true");
    }
    if let Some(found) = reader.variable("OTEL_EXPORTER_OTLP_HEADERS") {
        tree.remove("export.headers");
        pairs(tree, "export.headers", &found);
    }
    if let Some(found) = reader.variable("OTEL_RESOURCE_ATTRIBUTES") {
        pairs(tree, "resource", &found);
    }
    if let Some(found) = reader.variable("OTEL_SERVICE_NAME") {
        tree.set_entries("resource", &found.at, vec![("service.name".to_owned(), found.text)]);
    }
    service_name(tree);
    keys(tree, reader);
}

/// Sets the service's default name unless there is another.
pub(super) fn service_name(tree: &mut Tree) {
    let is_set = tree.root().get("resource").is_some_and(|map| map.get("service.name").is_some());
    if !is_set {
        let pair = ("service.name".to_owned(), "livekit-otel".to_owned());
        tree.set_entries("resource", "default", vec![pair]);
    }
}

fn exporter(args: &ServeArgs, tree: &mut Tree, reader: &Reader<'_>) {
    let flags = overrides::exporter(args);
    let otlp = |option: &str| reader.variable(&format!("OTEL_EXPORTER_OTLP_{option}"));
    let flag_or = |name, flag, variable| Reader::flag(name, flag).or_else(|| otlp(variable));
    let temporality = "METRICS_TEMPORALITY_PREFERENCE";
    for (key, found) in [
        ("export.endpoint", flag_or("--endpoint", flags.endpoint, "ENDPOINT")),
        ("export.protocol", flag_or("--protocol", flags.protocol, "PROTOCOL")),
        ("export.timeout", otlp("TIMEOUT").map(|found| with_unit(&found))),
        ("export.compression", otlp("COMPRESSION")),
        ("export.certificate", otlp("CERTIFICATE")),
        ("export.client_certificate", otlp("CLIENT_CERTIFICATE")),
        ("export.client_key", otlp("CLIENT_KEY")),
        ("export.temporality", otlp(temporality)),
        ("privacy.pii", option(reader, "--privacy-pii", flags.privacy_pii)),
        ("privacy.hash_key", reader.variable("LIVEKIT_OTEL_PRIVACY_HASH_KEY")),
    ] {
        if let Some(Found { text, at }) = found {
            let is_bare = key == "export.endpoint" && !text.contains("://");
            let text = if is_bare { with_scheme(&text, otlp("INSECURE")) } else { text };
            tree.set(key, &at, &text);
        }
    }
}

// The variable has milliseconds.
fn with_unit(found: &Found) -> Found {
    Found { text: format!("{}ms", found.text), at: found.at.clone() }
}

// OTEL_EXPORTER_OTLP_INSECURE, which must be set then, has no key.
fn with_scheme(text: &str, insecure: Option<Found>) -> String {
    let is_insecure = insecure.is_some_and(|found| found.text.eq_ignore_ascii_case("true"));
    format!("{}://{text}", if is_insecure { "http" } else { "https" })
}

fn pairs(tree: &mut Tree, key: &str, found: &Found) {
    tree.set_entries(key, &found.at, values::pairs(&found.text).unwrap_or_default());
}

// The environment's keys are used instead of the file's.
fn keys(tree: &mut Tree, reader: &Reader<'_>) {
    let named = ["LIVEKIT_KEYS", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];
    let [map, key, secret] = named.map(|name| reader.variable(name));
    if map.is_some() || key.is_some() {
        tree.remove("livekit.keys");
    }
    if let Some(found) = map {
        let pairs = of_server(&found.text).unwrap_or_default();
        tree.set_entries("livekit.keys", &found.at, pairs.into_iter().collect());
    }
    if let (Some(key), Some(secret)) = (key, secret) {
        tree.set("livekit.api_key", &key.at, &key.text);
        tree.set("livekit.api_secret", &secret.at, &secret.text);
    }
}

/// The variables in effect that no key stands for, as comments.
pub(super) fn without_key(args: &ServeArgs, reader: &Reader<'_>, is_masked: bool) -> String {
    let of_signal = |signal: &str, option: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{option}");
    let is_overridden = |option| match option {
        "ENDPOINT" | "INSECURE" => args.endpoint.is_some(),
        "PROTOCOL" => args.protocol.is_some(),
        _ => false,
    };
    let options = OPTIONS.into_iter().filter(|option| !is_overridden(option));
    let mut names: Vec<String> = vec!["OTEL_SDK_DISABLED".to_owned()];
    names.extend(SIGNALS.iter().map(|signal| format!("OTEL_{signal}_EXPORTER")));
    for option in options {
        names.extend(SIGNALS.iter().map(|signal| of_signal(signal, option)));
    }
    for name in PROXIES {
        names.extend([name.to_owned(), name.to_ascii_lowercase()]);
    }
    let mut lines = String::new();
    for name in names {
        let Some(Found { text, at }) = reader.variable(&name) else { continue };
        let is_secret = at.ends_with("_HEADERS") || text.contains(['?', '@']);
        let text = if is_secret && is_masked { MASK.to_owned() } else { text };
        // Writing to a text can't fail.
        let _ = writeln!(lines, "#   {at}={}", text.escape_debug());
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\n# Variables that are in effect, and for which the file has no key:\n{lines}")
}
