//! The essentials of a configuration, a line each.

use std::fmt::Write;
use std::net::SocketAddr;

use http::Uri;

use super::values::shown_size;
use super::{Checked, Config};
use crate::source::listen::GrpcAuth;
use livekit_otel_durable::store::Directory;
use livekit_otel_export::settings::{Protocol, Route, Target};
use livekit_otel_model::Signal;
use livekit_otel_model::privacy::{Content, Privacy};

impl Checked {
    /// Where the server listens, what it trusts, and where it sends and keeps records: a line each, then the notes.
    /// Without secrets.
    pub fn essentials(&self) -> String {
        let config = &self.config;
        let mut lines = vec![
            ("webhooks", format!("{}/webhook", listener(config.http, config.http_tls.is_some()))),
            ("streams", streams(config)),
            ("admin", format!("http://{}", config.admin)),
        ];
        lines.extend(config.ui.map(|ui| ("live view", format!("http://{ui}/ui"))));
        lines.push(("API keys", keys(config)));
        lines.extend(targets(config));
        lines.push(("LiveKit API", api(config)));
        lines.push(("journal", journal(config)));
        lines.push(("personal data", personal(config)));
        let mut text = String::new();
        let notes = self.notes.iter().map(|note| ("note", note.to_string()));
        for (name, value) in lines.into_iter().chain(notes) {
            // Writing to a text can't fail.
            let _ = writeln!(text, "{name:<14}{value}");
        }
        text
    }
}

fn listener(address: SocketAddr, is_tls: bool) -> String {
    format!("{}://{address}", if is_tls { "https" } else { "http" })
}

fn streams(config: &Config) -> String {
    let who = match config.grpc_auth {
        GrpcAuth::None => "from anyone",
        GrpcAuth::Token => "with a server's token",
        GrpcAuth::Certificate => "with a client's certificate",
    };
    format!("{} {who}", listener(config.grpc, config.grpc_tls.is_some()))
}

fn keys(config: &Config) -> String {
    // Its `Debug` has the names alone.
    format!("{:?}", config.keys).trim_matches(['{', '}']).to_owned()
}

// A line for each of the signals, or one for all if they have the same target.
fn targets(config: &Config) -> Vec<(&'static str, String)> {
    let all = Signal::ALL.map(|signal| (signal.as_str(), target(config.export.target(signal))));
    if all.iter().all(|(_, target)| *target == all[0].1) {
        return vec![("collector", all.into_iter().next().map_or_else(String::new, |one| one.1))];
    }
    all.into_iter().collect()
}

fn target(target: &Target) -> String {
    let protocol = match target.protocol {
        Protocol::Grpc => "grpc",
        _ => "http/protobuf",
    };
    if !target.enabled {
        return "none".into();
    }
    format!("{} ({protocol}){}", url(&target.endpoint), through(&target.route))
}

fn through(route: &Route) -> String {
    route.proxy().map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"))
}

// The query can hold a key.
fn url(url: &Uri) -> String {
    let text = url.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

fn api(config: &Config) -> String {
    let Some(api) = &config.api else { return "not asked: no livekit.url".into() };
    let every = humantime::format_duration(api.interval);
    format!("{} each {every}, as {:?}{}", url(&api.url), api.key, through(&api.route))
}

fn journal(config: &Config) -> String {
    let Some(journal) = &config.journal else {
        let most = shown_size(config.journal_bytes as u64);
        return format!("in memory, up to {most}: a crash loses what is in it");
    };
    let (directory, most) = (&journal.directory, shown_size(journal.settings.max_bytes));
    let by = if Directory::is_in_use(directory) { ", in use by a running server" } else { "" };
    format!("{}, up to {most}{by}", directory.display())
}

fn personal(config: &Config) -> String {
    let names = match config.export.privacy {
        Privacy::Plain => "plain",
        Privacy::Hash(_) => "hashed",
        _ => "dropped",
    };
    let said = match config.content {
        Content::Plain => "plain",
        Content::Drop => "dropped",
    };
    format!("{names}; what was said: {said}")
}
