//! The likely reason of a failed request, and what to do: for the log and for commands, beside the error itself.

use std::error::Error;
use std::fmt;
use std::io;

use http::{StatusCode, Uri};

use crate::dial::ProxyError;
use crate::greeting::Unexpected;
use crate::proxy::{Proxy, Route, host_port};

#[cfg(feature = "tls")]
mod tls;

/// What a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, as protobuf.
    OtlpHttp,
    /// gRPC.
    Grpc,
    /// HTTP/1.1.
    Http,
}

impl Protocol {
    /// Its name in the log; that of OTLP's protocols is the value of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtlpGrpc | Self::Grpc => "grpc",
            Self::OtlpHttp => "http/protobuf",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a request went, and how. Its text is `host:port (protocol)`, with `over TLS` where the URL is `https`, and
/// with the proxy if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    host: String,
    address: String,
    has_tls: bool,
    protocol: Protocol,
    proxy: Option<String>,
}

impl Attempt {
    /// A request to `url`, of which the host, the port and the scheme are kept, and no credentials.
    pub fn new(url: &Uri, protocol: Protocol) -> Self {
        let host = url.host().unwrap_or_default().to_owned();
        let has_tls = url.scheme_str() == Some("https");
        Self { address: host_port(url), host, has_tls, protocol, proxy: None }
    }

    /// By this route.
    #[must_use]
    pub fn by(mut self, route: &Route) -> Self {
        self.proxy = route.proxy().map(ToString::to_string);
        self
    }

    /// `host:port` of the proxy, if there is one.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// `host:port`; an IPv6 address is in brackets.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The host alone; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether it is OTLP.
    pub fn is_otlp(&self) -> bool {
        matches!(self.protocol, Protocol::OtlpGrpc | Protocol::OtlpHttp)
    }

    /// Whether the URL is `https`.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, protocol, proxy, .. } = self;
        let tls = if self.has_tls { " over TLS" } else { "" };
        write!(f, "{address} ({protocol}{tls}")?;
        if let Some(proxy) = proxy {
            write!(f, ", through the proxy {proxy}")?;
        }
        f.write_str(")")
    }
}

/// The likely reason of `error` and what to do, in one or two sentences without data of the server but names of its
/// certificate; `None` for an error that explains itself, or whose reason is not known.
pub fn hint(error: &(dyn Error + 'static), attempted: &Attempt) -> Option<String> {
    if let Some(proxy) = ProxyError::find(error) {
        return of_proxy(proxy);
    }
    // A closed connection may be a consequence of another cause.
    let hint = causes(error).find_map(|cause| of_cause(cause, attempted));
    hint.or_else(|| causes(error).any(is_closed).then(|| closed(attempted)))
}

// The error and its causes. An `io::Error` returns as its source that of the error within it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        }
    })
}

fn of_cause(cause: &(dyn Error + 'static), attempted: &Attempt) -> Option<String> {
    if let Some(unexpected) = cause.downcast_ref() {
        return Some(of_greeting(*unexpected, attempted));
    }
    #[cfg(feature = "tls")]
    if let Some(error) = cause.downcast_ref() {
        return tls::hint(error, attempted);
    }
    if let Some(error) = cause.downcast_ref::<io::Error>().filter(|error| error.get_ref().is_none())
    {
        return of_io(error.kind(), attempted);
    }
    if cause.is::<tokio::time::error::Elapsed>() {
        return Some(silent(attempted));
    }
    of_text(&cause.to_string(), attempted)
}

fn is_closed(cause: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as Kind;

    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return matches!(
            error.kind(),
            Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::BrokenPipe
                | Kind::NotConnected
                | Kind::UnexpectedEof
        );
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    }
    let text = cause.to_string();
    ["broken pipe", "connection reset"].iter().any(|closed| text.contains(closed))
}

// Of errors whose types are private, and of h2's, which hold their causes as text.
fn of_text(text: &str, attempted: &Attempt) -> Option<String> {
    use Unexpected::{Http1, Http2, Tls, Unknown};

    let Attempt { address, host, .. } = attempted;
    if text.contains("failed to lookup address information") {
        return Some(if text.contains("Temporary failure") {
            format!("No DNS server answers for {host}. Check the DNS of this machine.")
        } else {
            format!(
                "This machine's DNS has no address for {host}. Check the name; in Kubernetes it needs the \
                 namespace, as in name.namespace."
            )
        });
    }
    if let Some(unexpected) =
        [Http1, Http2, Tls, Unknown].into_iter().find(|of| text == of.to_string())
    {
        return Some(of_greeting(unexpected, attempted));
    }
    #[cfg(feature = "tls")]
    if let Some(hint) = tls::of_text(text, attempted) {
        return Some(hint);
    }
    // tonic, where the TLS server chose no protocol.
    if text.contains("HTTP/2 was not negotiated") {
        return Some(no_http2(attempted));
    }
    // h2, on a connection that is not a `Greeting`.
    text.contains("frame with invalid size").then(|| {
        format!(
            "{address} does not answer in HTTP/2, which gRPC needs. Check the port, and whether it expects TLS \
             (https://)."
        )
    })
}

/// For a server that speaks another protocol.
pub fn of_greeting(unexpected: Unexpected, attempted: &Attempt) -> String {
    let address = attempted.address();
    match unexpected {
        Unexpected::Http1 => {
            let more = other_protocol(attempted);
            format!("{address} speaks HTTP/1, not gRPC. Use the server's port for gRPC{more}.")
        }
        Unexpected::Http2 => {
            let more = other_protocol(attempted);
            format!(
                "{address} speaks HTTP/2 alone, as a port for gRPC does. Use the server's port for HTTP{more}."
            )
        }
        Unexpected::Tls => format!("{address} expects TLS. Write https:// in the URL."),
        Unexpected::Unknown => {
            format!("{address} speaks neither HTTP nor TLS. Check the port.")
        }
    }
}

fn of_proxy(error: &ProxyError) -> Option<String> {
    match error {
        ProxyError::Unreachable { proxy, error } => {
            hint(&**error, &Attempt::new(proxy.uri(), Protocol::Http))
        }
        ProxyError::NoProxy { proxy, .. } => Some(format!(
            "{} has to be the URL of an HTTP proxy. Check its host and port, and whether it expects TLS.",
            proxy.variable()
        )),
        ProxyError::Refused { proxy, target, status } => refused(proxy, target, *status),
    }
}

fn refused(proxy: &Proxy, target: &str, status: StatusCode) -> Option<String> {
    let variable = proxy.variable();
    Some(match (status, proxy.authorization()) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => {
            format!("Add a user and password to {variable}: http://USER:PASSWORD@{proxy}.")
        }
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(_)) => {
            format!(
                "Check the user and password in {variable}; special characters are percent-encoded."
            )
        }
        (StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED, _) => {
            let what = if proxy.forwards() { "requests" } else { "CONNECT" };
            format!("Let the proxy allow {what} to {target}, or add the host to NO_PROXY.")
        }
        (status, _) if status.is_server_error() => {
            format!("Check that the proxy reaches {target}, or add the host to NO_PROXY.")
        }
        _ if proxy.forwards() => format!(
            "Check that {variable} names an HTTP proxy that reaches {target}, or add the host to NO_PROXY."
        ),
        _ => return None,
    })
}

// What OTLP's settings allow beside another port.
fn other_protocol(attempted: &Attempt) -> &'static str {
    match attempted.protocol {
        Protocol::OtlpGrpc => {
            " (usually 4317), or set export.protocol (OTEL_EXPORTER_OTLP_PROTOCOL) to http/protobuf"
        }
        Protocol::OtlpHttp => {
            " (usually 4318), or set export.protocol (OTEL_EXPORTER_OTLP_PROTOCOL) to grpc"
        }
        Protocol::Grpc | Protocol::Http => "",
    }
}

fn no_http2(attempted: &Attempt) -> String {
    let (address, more) = (attempted.address(), other_protocol(attempted));
    format!(
        "The TLS server at {address} does not offer HTTP/2, which gRPC needs. If it is a proxy, let it forward \
         HTTP/2; else use the server's port for gRPC{more}."
    )
}

fn of_io(kind: io::ErrorKind, attempted: &Attempt) -> Option<String> {
    use io::ErrorKind as Kind;

    let address = attempted.address();
    Some(match kind {
        Kind::ConnectionRefused => format!(
            "Nothing listens at {address}. Check that the server runs, and the host and port."
        ),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            format!("This machine has no route to {address}. Check the address and the network.")
        }
        Kind::PermissionDenied => format!(
            "This machine does not let the program connect to {address}. Check its firewall and sandbox."
        ),
        Kind::TimedOut => silent(attempted),
        _ => return None,
    })
}

/// For a request without an answer in time.
pub fn silent(attempted: &Attempt) -> String {
    let address = attempted.address();
    if let Some(proxy) = attempted.proxy() {
        return format!(
            "{address} does not answer through the proxy {proxy}. Check that the proxy reaches it, or add the host to \
             NO_PROXY."
        );
    }
    format!(
        "{address} does not answer. Check the address, firewalls that drop packets, and the server's load."
    )
}

fn closed(attempted: &Attempt) -> String {
    let address = attempted.address();
    let (tls, scheme) = if attempted.has_tls { ("no TLS", "http") } else { ("TLS", "https") };
    format!(
        "{address} closed the connection. If it never worked, check the port, and whether it expects {tls} \
         ({scheme}://)."
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::proxy::Proxies;

    fn attempt(url: &'static str, protocol: Protocol) -> Attempt {
        Attempt::new(&Uri::from_static(url), protocol)
    }

    #[test]
    fn an_attempt_has_a_port_and_no_credentials() {
        for (url, protocol, text) in [
            ("http://collector:4317", Protocol::OtlpGrpc, "collector:4317 (grpc)"),
            (
                "https://u:p@collector/x?k=1",
                Protocol::OtlpHttp,
                "collector:443 (http/protobuf over TLS)",
            ),
            ("http://[::1]/", Protocol::Http, "[::1]:80 (http)"),
        ] {
            assert_eq!(attempt(url, protocol).to_string(), text);
        }
    }

    #[test]
    fn a_silent_target_behind_a_proxy_is_not_looked_for_directly() {
        let url = Uri::from_static("http://livekit:7880");
        let set = |name: &str| (name == "HTTP_PROXY").then(|| "http://proxy:3128".to_owned());
        let route = Proxies::new(set).of_http(&url).unwrap();
        assert_eq!(
            silent(&Attempt::new(&url, Protocol::Http).by(&route)),
            "livekit:7880 does not answer through the proxy proxy:3128. Check that the proxy reaches it, or add the \
             host to NO_PROXY."
        );
    }

    #[test]
    fn each_cause_has_its_hint() {
        use io::ErrorKind as Kind;

        const DNS: &str = "failed to lookup address information";
        let kinds = [
            Kind::ConnectionRefused,
            Kind::HostUnreachable,
            Kind::PermissionDenied,
            Kind::TimedOut,
            Kind::BrokenPipe,
            Kind::OutOfMemory,
        ];
        let others = [
            io::Error::other(format!("{DNS}: Name or service not known")),
            io::Error::other(format!("{DNS}: Temporary failure in name resolution")),
            io::Error::other("frame with invalid size"),
            io::Error::other("stream closed because of a broken pipe"),
            io::Error::new(Kind::BrokenPipe, Unexpected::Tls),
            io::Error::other("the answer is HTTP/1, not gRPC"),
            io::Error::other("no reason is known"),
        ];
        let collector = attempt("http://collector:4317", Protocol::OtlpGrpc);
        let mut texts = String::new();
        for error in kinds.map(io::Error::from).into_iter().chain(others) {
            let hint = hint(&error, &collector);
            writeln!(texts, "{error}\n  {}", hint.as_deref().unwrap_or("-")).unwrap();
        }
        assert_eq!(texts, include_str!("hint/causes.txt"));
    }

    #[test]
    fn another_protocol_is_named_with_the_port_that_it_usually_has() {
        let mut texts = String::new();
        for (unexpected, protocol) in [
            (Unexpected::Http1, Protocol::OtlpGrpc),
            (Unexpected::Http1, Protocol::Grpc),
            (Unexpected::Http2, Protocol::OtlpHttp),
            (Unexpected::Http2, Protocol::Http),
            (Unexpected::Tls, Protocol::OtlpHttp),
            (Unexpected::Unknown, Protocol::OtlpGrpc),
        ] {
            let error = io::Error::other(unexpected);
            let hint = hint(&error, &attempt("http://collector:1", protocol)).unwrap();
            writeln!(texts, "{protocol}: {error}\n  {hint}").unwrap();
        }
        assert_eq!(texts, include_str!("hint/protocols.txt"));
    }

    fn proxy(url: &str) -> Box<Proxy> {
        let proxies = Proxies::new(|name| (name == "HTTPS_PROXY").then(|| url.to_owned()));
        match proxies.of_grpc(&Uri::from_static("http://collector:4317")).unwrap() {
            Route::Through(proxy) => proxy,
            route => panic!("{route:?}"),
        }
    }

    #[test]
    fn each_failure_of_a_proxy_has_its_hint_and_none_shows_the_password() {
        let anonymous = || proxy("http://proxy:3128");
        let known = || proxy("http://user:s3cret@proxy:3128");
        let refused = |proxy, status| ProxyError::Refused {
            proxy,
            target: "collector:4317".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
        };
        let error = io::Error::from(io::ErrorKind::ConnectionRefused).into();
        let errors = [
            ProxyError::Unreachable { proxy: known(), error },
            refused(anonymous(), 407),
            refused(known(), 407),
            refused(known(), 403),
            refused(known(), 503),
            refused(known(), 400),
        ];
        let mut texts = String::new();
        for error in errors {
            let hint = hint(&error, &attempt("http://collector:4317", Protocol::OtlpGrpc));
            let hint = hint.as_deref().unwrap_or("-");
            writeln!(texts, "{}\n  {hint}", crate::chain(&error)).unwrap();
        }
        assert_eq!(texts, include_str!("hint/proxy.txt"));
    }

    #[test]
    fn an_attempt_names_the_proxy() {
        let route = Route::Through(proxy("http://user:s3cret@proxy:3128"));
        let attempt = attempt("https://collector:4317", Protocol::OtlpGrpc).by(&route);
        let text = "collector:4317 (grpc over TLS, through the proxy proxy:3128)";
        assert_eq!(attempt.to_string(), text);
    }
}
