//! Where to listen, and for whom.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::keys::FOR_STREAMS;
use super::option;
use super::values;
use crate::cli::ServeArgs;
use crate::source::listen::{self, GrpcAuth};
use crate::source::tls::Files;
use livekit_otel_export::configure::Reader;

/// The listeners.
pub(super) struct Listen {
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) status_on_webhooks: bool,
    pub(super) max_connections: usize,
    pub(super) idle_timeout: Duration,
    pub(super) ui: Option<SocketAddr>,
    pub(super) grpc_auth: GrpcAuth,
    pub(super) http_tls: Option<Files>,
    pub(super) grpc_tls: Option<Files>,
}

pub(super) fn read(args: &ServeArgs, reader: &mut Reader<'_>) -> Listen {
    let http = address(reader, "--http", args.http.as_ref(), "listen.http", 9290);
    let grpc = address(reader, "--grpc", args.grpc.as_ref(), "listen.grpc", 9291);
    // Who takes a free port for webhooks is not alone on this machine.
    let admin_port = if http.port() == 0 { 0 } else { 9293 };
    let admin = address(reader, "--admin", args.admin.as_ref(), "listen.admin", admin_port);
    let status_on_webhooks = reader.in_file("listen.status_on_webhooks", values::boolean);
    let max_connections = reader.in_file("listen.max_connections", values::connections);
    let idle_timeout = reader.in_file("listen.idle_timeout", values::idle_timeout);
    let auth = option(reader, "--grpc-auth", args.grpc_auth.as_ref(), "listen.grpc_auth");
    let grpc_auth = reader.parse(auth, values::grpc_auth).unwrap_or_default();
    let [http_tls, grpc_tls] = tls(reader);
    let client_ca = grpc_tls.as_ref().and_then(|files| files.client_ca.as_ref());
    if grpc_auth == GrpcAuth::Certificate && client_ca.is_none() {
        let at = reader.file.at("listen.grpc_auth");
        reader.wrong(at, "certificate needs listen.tls.grpc_client_ca");
    }
    if grpc_auth != GrpcAuth::Token && reader.file.list(FOR_STREAMS).is_some() {
        let at = reader.file.at(FOR_STREAMS);
        reader.wrong(at, "needs listen.grpc_auth: token");
    }
    let insecure = reader.in_file("listen.insecure", values::boolean).unwrap_or(false);
    let is_open = grpc_auth == GrpcAuth::None && client_ca.is_none();
    if is_open && !grpc.ip().is_loopback() && !insecure && !args.insecure_listen {
        let at = reader.file.at("listen.grpc");
        let what = "whoever reaches it could tell anything: must be a loopback address, or have \
                    listen.grpc_auth: token or certificate, or listen.insecure: true";
        reader.wrong(at, what);
    }
    let ui = option(reader, "--ui", args.ui.as_ref(), "listen.ui");
    let ui = reader.parse(ui, values::loopback);
    Listen {
        http,
        grpc,
        admin,
        status_on_webhooks: status_on_webhooks.unwrap_or(false),
        max_connections: max_connections.unwrap_or(listen::MAX_CONNECTIONS),
        idle_timeout: idle_timeout.unwrap_or(listen::IDLE_TIMEOUT),
        ui,
        grpc_auth,
        http_tls,
        grpc_tls,
    }
}

/// How much unfinished messages may take. Half of it is for each kind, of which it takes two of the largest.
/// Unless it is set, it is at most a quarter of what the process may take.
pub(super) fn unfinished(
    reader: &mut Reader<'_>,
    largest: [usize; 2],
    memory_limit: Option<u64>,
) -> usize {
    let found = reader.in_file("limits.unfinished", values::memory);
    let least = largest.into_iter().max().unwrap_or_default().saturating_mul(4);
    if found.is_some_and(|unfinished| unfinished < least) {
        let at = reader.file.at("limits.unfinished");
        reader.wrong(at, "must be at least four times the largest webhook and analytics message");
    }
    let quarter = memory_limit.and_then(|limit| usize::try_from(limit / 4).ok());
    let default = quarter.map_or(listen::UNFINISHED, |quarter| quarter.min(listen::UNFINISHED));
    found.unwrap_or(default).max(least)
}

fn tls(reader: &mut Reader<'_>) -> [Option<Files>; 2] {
    let mut path = |key: &str| reader.leaf(key).map(|found| PathBuf::from(found.text));
    let [certificate, key] = ["listen.tls.certificate", "listen.tls.key"].map(&mut path);
    let authorities = ["listen.tls.http_client_ca", "listen.tls.grpc_client_ca"].map(&mut path);
    let wrong = match (&certificate, &key) {
        (Some(_), None) => Some("needs listen.tls.key too"),
        (None, Some(_)) => Some("needs listen.tls.certificate too"),
        (None, None) if authorities.iter().any(Option::is_some) => {
            Some("a client's certificate needs listen.tls.certificate and listen.tls.key")
        }
        _ if cfg!(not(feature = "tls")) && certificate.is_some() => {
            Some("this build has no TLS (feature `tls`)")
        }
        _ => None,
    };
    if let Some(what) = wrong {
        let at = reader.file.at("listen.tls");
        reader.wrong(at, what);
    }
    let files = certificate.zip(key);
    authorities.map(|client_ca| {
        let (certificate, key) = files.clone()?;
        Some(Files { certificate, key, client_ca })
    })
}

fn address(
    reader: &mut Reader<'_>,
    flag: &str,
    value: Option<&String>,
    path: &str,
    port: u16,
) -> SocketAddr {
    let found = option(reader, flag, value, path);
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    reader.parse(found, values::address).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::super::file;
    use super::super::tests::{Yaml, env};
    use super::*;

    #[test]
    fn a_list_of_keys_for_streams_that_need_no_token_is_wrong() {
        let wrong = |text: &str| {
            let env = BTreeMap::new();
            let mut problems = Vec::new();
            let file = file::parse("f.yaml", text, &mut problems);
            let mut reader = Reader { env: &env, file, problems };
            read(&ServeArgs::default(), &mut reader);
            reader.problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expected = "listen.grpc_keys in f.yaml: needs listen.grpc_auth: token";
        assert_eq!(wrong("listen: {grpc_keys: [a]}"), [expected]);
        assert_eq!(wrong("listen: {grpc_auth: token, grpc_keys: [a]}"), <[&str; 0]>::default());
    }

    #[test]
    fn the_listeners_have_limits_and_what_is_out_of_range_is_said() {
        let load = |text: &str| {
            let file = Yaml::new("limits", &format!("livekit: {{keys: {{key: secret}}}}\n{text}"));
            Config::load(&file.args(), &env(&[]))
        };
        let config = load("").unwrap();
        let ours = (config.max_connections, config.idle_timeout.as_secs(), config.unfinished >> 20);
        assert_eq!((ours, config.status_on_webhooks), ((512, 30, 64), false));
        let config = load(
            "listen: {max_connections: 9, idle_timeout: 1s, status_on_webhooks: true}\n\
             limits: {unfinished: 16MiB}",
        );
        let config = config.unwrap();
        let ours = (config.max_connections, config.idle_timeout.as_secs(), config.unfinished >> 20);
        assert_eq!((ours, config.status_on_webhooks), ((9, 1, 16), true));
        // Where nothing is said of it, it grows with the messages.
        assert_eq!(load("limits: {analytics_message: 32MiB}").unwrap().unfinished, 128 << 20);
        // And is no larger than a quarter of a small memory_limit, as far as the messages allow.
        for (limit, unfinished) in [("100MiB", 25), ("2GiB", 64), ("20MiB", 16)] {
            let config = load(&format!("memory_limit: {limit}")).unwrap();
            assert_eq!(config.unfinished >> 20, unfinished, "{limit}");
        }
        let config = load("memory_limit: 100MiB\nlimits: {unfinished: 64MiB}").unwrap();
        assert_eq!(config.unfinished >> 20, 64, "it is set");
        for (text, path) in [
            ("listen: {max_connections: 0}", "listen.max_connections"),
            ("listen: {idle_timeout: 10ms}", "listen.idle_timeout"),
            ("limits: {unfinished: 15MiB}", "limits.unfinished"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
