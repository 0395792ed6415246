//! The addresses of listeners and targets: checks against each other.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

use super::listen;
use super::schema::{File, Listen};
use livekit_otel_export as export;
use livekit_otel_export::configure::Reader;
use livekit_otel_model::Signal;
use livekit_otel_transport::proxy::port;

/// Refuses two listeners on one port, and targets that are a listener of this program.
pub(super) fn check(file: &File, export: &export::Settings, reader: &mut Reader<'_>) {
    let listeners = listeners(&file.listen);
    two_on_one_port(&listeners, reader);
    for signal in Signal::ALL {
        let target = export.target(signal);
        if !target.enabled {
            continue;
        }
        // What this program sends would come back as an upload.
        if let Some((own, _)) = own(&target.endpoint, &listeners) {
            let at = reader.places.of_signal(signal, "ENDPOINT", "export.endpoint");
            let what = format!("is {own}, on which this program listens: must be the collector's");
            if !reader.problems.iter().any(|problem| problem.at == at && problem.what == what) {
                reader.wrong(at, what);
            }
        }
    }
    if let Some((own, _)) = file.livekit.url.as_ref().and_then(|url| own(url, &listeners)) {
        let what = format!("is {own}, on which this program listens: must be LiveKit's");
        reader.wrong_setting("livekit.url", what);
    }
}

type Named = (&'static str, SocketAddr);

fn listeners(file: &Listen) -> Vec<Named> {
    let all = [
        ("listen.http", Some(file.http)),
        ("listen.grpc", Some(file.grpc)),
        ("listen.admin", Some(listen::admin(file))),
        ("listen.ui", file.ui),
    ];
    all.into_iter().filter_map(|(key, address)| Some((key, address?))).collect()
}

fn two_on_one_port(listeners: &[Named], reader: &mut Reader<'_>) {
    for (nth, (key, address)) in listeners.iter().enumerate() {
        let before = listeners[..nth].iter().find(|(_, other)| is_taken_by(*address, *other));
        let Some((other_key, other)) = before else { continue };
        // An address that is a default has no line.
        let (key, other_key, other) = match (is_set(key, reader), is_set(other_key, reader)) {
            (false, true) => (other_key, key, address),
            _ => (key, other_key, other),
        };
        let what =
            format!("has the port of {other_key} ({other}): each listener needs one of its own");
        reader.wrong_setting(key, what);
    }
}

fn is_set(key: &str, reader: &Reader<'_>) -> bool {
    reader.places.known.contains_key(key)
}

// Port 0 is a free one.
fn is_taken_by(address: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (address.ip().to_canonical(), other.ip().to_canonical());
    // `[::]` accepts IPv4 too.
    let is_all = |ip: IpAddr, of: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || of.is_ipv4());
    address.port() != 0
        && address.port() == other.port()
        && (a == b || is_all(a, b) || is_all(b, a))
}

// The listener to which a URL leads.
fn own<'a>(url: &Uri, listeners: &'a [Named]) -> Option<&'a Named> {
    let host = url.host().unwrap_or_default().trim_end_matches('.');
    let ip = host.trim_matches(['[', ']']).parse().ok().map(|ip: IpAddr| ip.to_canonical());
    // Every address of this machine that is not that of an interface.
    let is_this_machine = host.eq_ignore_ascii_case("localhost")
        || ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
    let port = port(url);
    listeners.iter().find(|(_, own)| {
        let at = own.ip().to_canonical();
        let is_here =
            ip == Some(at) || (is_this_machine && (at.is_loopback() || at.is_unspecified()));
        is_here && port == own.port()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::super::tests::{KEYS, env, wrong, wrong_in};
    use crate::cli::ServeArgs;

    const OURS: &str = "livekit: {keys: {a: s3cret}}\n";

    #[test]
    fn two_listeners_on_one_port_are_refused_where_the_second_is_set() {
        let listen = |text: &str| wrong_in(&format!("{OURS}listen: {{{text}}}"));
        for (text, expected) in [
            (
                "http: '127.0.0.1:7000', grpc: '127.0.0.1:7000'",
                "listen.grpc: has the port of listen.http (127.0.0.1:7000)",
            ),
            (
                "http: '0.0.0.0:7000', grpc: '127.0.0.1:7000'",
                "listen.grpc: has the port of listen.http (0.0.0.0:7000)",
            ),
            (
                "http: '[::]:7000', admin: '127.0.0.1:7000'",
                "listen.admin: has the port of listen.http ([::]:7000)",
            ),
            (
                "http: '127.0.0.1:7000', admin: '0.0.0.0:7000'",
                "listen.admin: has the port of listen.http (127.0.0.1:7000)",
            ),
            ("ui: '127.0.0.1:9291'", "listen.ui: has the port of listen.grpc (127.0.0.1:9291)"),
            // The admin listener's address is the default.
            ("http: '0.0.0.0:9293'", "listen.http: has the port of listen.admin (127.0.0.1:9293)"),
        ] {
            let expected = format!("f.yaml:2: {expected}: each listener needs one of its own");
            assert_eq!(listen(text), [expected], "{text}");
        }
        for right in [
            "http: '127.0.0.1:0', grpc: '127.0.0.1:0'",
            "http: '127.0.0.1:7000', grpc: '127.0.0.2:7000'",
            "http: '0.0.0.0:7000', grpc: '[::1]:7000'",
            "http: '127.0.0.1:7000', grpc: '[::1]:7000'",
        ] {
            assert_eq!(listen(right), <[&str; 0]>::default(), "{right}");
        }
        let args = ServeArgs { grpc: Some("127.0.0.1:9290".into()), ..ServeArgs::default() };
        let wrong = wrong(&args, &[KEYS]);
        assert!(wrong.len() == 1 && wrong[0].starts_with("--grpc: has the port of listen.http"));
    }

    #[test]
    fn an_endpoint_that_is_a_listener_of_the_program_is_refused_where_it_is_set() {
        let endpoint = |listen: &str, endpoint: &str| {
            format!("{OURS}listen: {{{listen}}}\nexport: {{endpoint: '{endpoint}'}}\n")
        };
        for (listen, own, of) in [
            ("", "http://127.0.0.1:9291", "listen.grpc"),
            ("", "http://localhost:9290", "listen.http"),
            ("", "http://localhost:9293", "listen.admin"),
            ("ui: '127.0.0.1:9292'", "http://localhost:9292", "listen.ui"),
            ("http: '127.0.0.1:80'", "http://localhost", "listen.http"),
            ("grpc: '[::1]:7000'", "http://[::1]:7000", "listen.grpc"),
            ("grpc: '[::1]:7000'", "http://LOCALHOST.:7000", "listen.grpc"),
            ("grpc: '0.0.0.0:7000', insecure: true", "http://127.0.0.1:7000", "listen.grpc"),
            ("", "http://0.0.0.0:9290", "listen.http"),
            ("", "http://[::]:9291", "listen.grpc"),
            ("", "http://[::ffff:127.0.0.1]:9291", "listen.grpc"),
        ] {
            let expected = format!(
                "f.yaml:3: export.endpoint: is {of}, on which this program listens: \
                 must be the collector's"
            );
            assert_eq!(wrong_in(&endpoint(listen, own)), [expected], "{own}");
        }
        for (listen, other) in [("", "http://127.0.0.1:4317"), ("", "http://collector:9291")] {
            Config::from_text(&endpoint(listen, other), &BTreeMap::new()).unwrap();
        }
        let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:9291");
        let of_logs = wrong(&ServeArgs::default(), &[KEYS, own]);
        assert!(of_logs.len() == 1 && of_logs[0].starts_with(own.0), "{of_logs:?}");
        let disabled = env(&[KEYS, own, ("OTEL_LOGS_EXPORTER", "none")]);
        Config::load(&ServeArgs::default(), &disabled).unwrap();
        let api = wrong(&ServeArgs::default(), &[KEYS, ("LIVEKIT_URL", "ws://localhost:9290")]);
        let expected = "LIVEKIT_URL: is listen.http, on which this program listens";
        assert!(api.len() == 1 && api[0].starts_with(expected), "{api:?}");
    }
}
