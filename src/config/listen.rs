//! The listeners: checks of their settings against each other.

use std::net::{Ipv4Addr, SocketAddr};

use super::schema::{Limits, Listen, ListenTls};
use crate::cli::ServeArgs;
use crate::source::listen::{self, GrpcAuth};
use crate::source::tls::Files;
use livekit_otel_export::configure::Reader;

/// TLS for webhooks, and for streams.
pub(super) fn read(args: &ServeArgs, file: &Listen, reader: &mut Reader<'_>) -> [Option<Files>; 2] {
    let [http_tls, grpc_tls] = tls(&file.tls, reader);
    let has_client_ca = grpc_tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    if file.grpc_auth == GrpcAuth::Certificate && !has_client_ca {
        let what = "certificate needs listen.tls.grpc_client_ca";
        reader.wrong_setting("listen.grpc_auth", what);
    }
    if file.grpc_auth != GrpcAuth::Token && file.grpc_keys.is_some() {
        reader.wrong_setting("listen.grpc_keys", "needs listen.grpc_auth: token");
    }
    let is_open = file.grpc_auth == GrpcAuth::None && !has_client_ca;
    let is_allowed = file.insecure || args.insecure_listen;
    if is_open && !file.grpc.ip().is_loopback() && !is_allowed {
        let what = "anyone who reaches it could send anything: must be a loopback address, or have \
                    listen.grpc_auth: token or certificate, or listen.insecure: true";
        reader.wrong_setting("listen.grpc", what);
    }
    [http_tls, grpc_tls]
}

/// The listener for operators. A server on a free port is one of several on its machine.
pub(super) fn admin(file: &Listen) -> SocketAddr {
    let port = if file.http.port() == 0 { 0 } else { 9293 };
    file.admin.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Memory for unfinished messages: half for each kind, which must hold two of the largest. Unless it is
/// set, it is at most a quarter of the process's limit.
pub(super) fn unfinished(
    limits: &Limits,
    memory_limit: Option<u64>,
    reader: &mut Reader<'_>,
) -> usize {
    let least = limits.webhook_body.max(limits.analytics_message).saturating_mul(4);
    if limits.unfinished.is_some_and(|unfinished| unfinished < least) {
        let what = "must be at least four times the largest webhook and analytics message";
        reader.wrong_setting("limits.unfinished", what);
    }
    let quarter = memory_limit.and_then(|limit| usize::try_from(limit / 4).ok());
    let default = quarter.map_or(listen::UNFINISHED, |quarter| quarter.min(listen::UNFINISHED));
    limits.unfinished.unwrap_or(default).max(least)
}

fn tls(file: &ListenTls, reader: &mut Reader<'_>) -> [Option<Files>; 2] {
    let ListenTls { certificate, key, http_client_ca, grpc_client_ca } = file;
    let wrong = match (certificate, key) {
        (Some(_), None) => Some("needs listen.tls.key too"),
        (None, Some(_)) => Some("needs listen.tls.certificate too"),
        (None, None) if http_client_ca.is_some() || grpc_client_ca.is_some() => {
            Some("a client's certificate needs listen.tls.certificate and listen.tls.key")
        }
        _ if cfg!(not(feature = "tls")) && certificate.is_some() => {
            Some("this build has no TLS (feature `tls`)")
        }
        _ => None,
    };
    if let Some(what) = wrong {
        reader.wrong_setting("listen.tls", what);
    }
    let files = certificate.clone().zip(key.clone());
    [http_client_ca, grpc_client_ca].map(|client_ca| {
        let (certificate, key) = files.clone()?;
        Some(Files { certificate, key, client_ca: client_ca.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::{Yaml, env, wrong_in};

    #[test]
    fn keys_for_streams_need_token_authentication() {
        let keys = "livekit: {keys: {a: s3cret}}\n";
        let expected = "f.yaml:2: listen.grpc_keys: needs listen.grpc_auth: token";
        assert_eq!(wrong_in(&format!("{keys}listen: {{grpc_keys: [a]}}")), [expected]);
        let text = format!("{keys}listen: {{grpc_auth: token, grpc_keys: [a]}}");
        assert_eq!(wrong_in(&text), <[&str; 0]>::default());
    }

    #[test]
    fn the_listeners_limits_have_defaults_and_ranges() {
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
        // Unless it is set, it grows with the messages.
        assert_eq!(load("limits: {analytics_message: 32MiB}").unwrap().unfinished, 128 << 20);
        // And is at most a quarter of memory_limit, if the messages allow it.
        for (limit, unfinished) in [("100MiB", 25), ("2GiB", 64), ("64MiB", 16)] {
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
            assert!(error.contains(&format!(".yaml:2: {path}: ")), "{error}");
        }
    }
}
