//! Proxies by the rules of Go's programs, LiveKit and the collector among them: golang.org/x/net,
//! `http/httpproxy`, and for gRPC `internal/transport/proxy.go` of google.golang.org/grpc.
//!
//! `HTTP_PROXY` is for `http` URLs, `HTTPS_PROXY` for `https` URLs and for gRPC of either scheme; the names in
//! lower case count where those in upper case are empty. `bypass` has the targets that need none.

mod bypass;

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use thiserror::Error;

use bypass::NoProxy;

/// A proxy, and the variable that names it. Neither `Debug` nor `Display` shows its user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
    variable: &'static str,
    // A plain HTTP request is sent to the proxy itself, anything else through a tunnel.
    tunnels: bool,
}

impl Proxy {
    /// The variable that names it.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether requests are sent to the proxy itself, which reads its headers from them.
    pub(crate) fn forwards(&self) -> bool {
        !self.tunnels
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Its URL, without the user and password.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_port(&self.uri))
    }
}

/// How a client reaches its target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// No variable names a proxy, or the target is this machine.
    #[default]
    Direct,
    /// A variable names a proxy that is not used, for this reason.
    Bypass(&'static str),
    /// Through this proxy.
    Through(Box<Proxy>),
}

impl Route {
    /// The proxy, if one is used.
    pub fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Through(proxy) => Some(proxy),
            Self::Direct | Self::Bypass(_) => None,
        }
    }
}

/// A variable that applies can't be used. Neither field has the variable's value, which may have a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{variable}: {what}")]
pub struct WrongProxy {
    /// The variable.
    pub variable: &'static str,
    /// What would be right.
    pub what: &'static str,
}

/// The variables' values.
pub struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    bypass: NoProxy,
}

#[derive(Clone)]
struct Named {
    variable: &'static str,
    text: String,
}

impl Proxies {
    /// Reads the variables by `get`.
    pub fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let named = |names: [&'static str; 2]| {
            names.into_iter().find_map(|variable| {
                let text = get(variable)?.trim().to_owned();
                (!text.is_empty()).then_some(Named { variable, text })
            })
        };
        let bypass = named(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |found| found.text);
        Self {
            http: named(["HTTP_PROXY", "http_proxy"]),
            https: named(["HTTPS_PROXY", "https_proxy"]),
            bypass: NoProxy::new(&bypass),
        }
    }

    /// The route of requests to an `http` or `https` URL.
    ///
    /// # Errors
    /// If a proxy applies whose URL can't be used.
    pub fn of_http(&self, target: &Uri) -> Result<Route, WrongProxy> {
        if target.scheme_str() == Some("https") {
            let unused = "HTTP_PROXY is for http:// URLs, HTTPS_PROXY for https:// URLs";
            self.route(target, (&self.https, true), (&self.http, unused))
        } else {
            let unused = "HTTPS_PROXY is for https:// URLs and gRPC, HTTP_PROXY for http:// URLs";
            self.route(target, (&self.http, false), (&self.https, unused))
        }
    }

    /// The route of gRPC calls to an `http` or `https` URL.
    ///
    /// # Errors
    /// If a proxy applies whose URL can't be used.
    pub fn of_grpc(&self, target: &Uri) -> Result<Route, WrongProxy> {
        let unused = "HTTP_PROXY is for http:// URLs, HTTPS_PROXY for gRPC";
        self.route(target, (&self.https, true), (&self.http, unused))
    }

    fn route(
        &self,
        target: &Uri,
        (named, tunnels): (&Option<Named>, bool),
        (other, unused): (&Option<Named>, &'static str),
    ) -> Result<Route, WrongProxy> {
        if bypass::is_loopback(target) || named.is_none() && other.is_none() {
            return Ok(Route::Direct);
        }
        let Some(named) = named else { return Ok(Route::Bypass(unused)) };
        if self.bypass.contains(target, port(target)) {
            return Ok(Route::Bypass("NO_PROXY names it"));
        }
        named.parse(tunnels).map(|proxy| Route::Through(Box::new(proxy)))
    }
}

impl Named {
    fn parse(&self, tunnels: bool) -> Result<Proxy, WrongProxy> {
        let wrong = |what| WrongProxy { variable: self.variable, what };
        let not_url = || wrong("must be the URL of a proxy, such as http://proxy.example.com:3128");
        let text = match self.text.split_once("://") {
            Some(("http" | "https", _)) => self.text.clone(),
            Some(_) => {
                return Err(wrong("must start with http:// or https://: SOCKS can't be used"));
            }
            None => format!("http://{}", self.text),
        };
        let uri: Uri = text.parse().map_err(|_| not_url())?;
        let authority = uri.authority().ok_or_else(not_url)?.as_str();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        let base: Uri = format!("{scheme}://{address}/").parse().map_err(|_| not_url())?;
        if !is_possible(&base) {
            return Err(not_url());
        }
        if scheme == "https" && cfg!(not(feature = "tls")) {
            return Err(wrong("must start with http://: this build has no TLS (feature `tls`)"));
        }
        let authorization = user.map(authorization).transpose().map_err(|_| not_url())?;
        Ok(Proxy { uri: base, authorization, variable: self.variable, tunnels })
    }
}

// The parser accepts any digits as a port, and no host at all.
fn is_possible(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = uri.host().unwrap_or_default();
    let port = authority.strip_prefix(host).unwrap_or_default();
    !host.is_empty() && (port.is_empty() || uri.port_u16().is_some_and(|port| port > 0))
}

// RFC 7617. The URL has the user and the password percent-encoded.
fn authorization(user: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair: Vec<u8> = percent_decode_str(name).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL's host and port for the log, the scheme's port where it names none.
pub fn host_port(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), port(uri))
}

/// A URL's port, or that of its scheme.
pub fn port(uri: &Uri) -> u16 {
    let of_scheme = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    uri.port_u16().unwrap_or(of_scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Proxies::new(|name| variables.get(name).map(|text| (*text).to_owned()))
    }

    fn https(text: &str) -> Result<Route, WrongProxy> {
        proxies(&[("HTTPS_PROXY", text)]).of_http(&Uri::from_static("https://livekit.example.com"))
    }

    #[test]
    fn each_kind_of_target_has_its_variable() {
        let both = proxies(&[("HTTP_PROXY", "http://plain:1"), ("https_proxy", "secure:2")]);
        let through = |route: Route| {
            let proxy = route.proxy().unwrap().clone();
            (proxy.to_string(), proxy.variable(), proxy.tunnels)
        };
        let (http, https) = (Uri::from_static("http://c:4318/"), Uri::from_static("https://c/"));
        let plain = ("plain:1".to_owned(), "HTTP_PROXY", false);
        let secure = ("secure:2".to_owned(), "https_proxy", true);
        assert_eq!(through(both.of_http(&http).unwrap()), plain);
        assert_eq!(through(both.of_http(&https).unwrap()), secure);
        assert_eq!(through(both.of_grpc(&http).unwrap()), secure);
        assert_eq!(through(both.of_grpc(&https).unwrap()), secure);
    }

    #[test]
    fn the_names_in_upper_case_come_first_unless_they_are_empty() {
        let target = Uri::from_static("http://collector:4318/");
        let of = |upper| {
            let both = proxies(&[("HTTP_PROXY", upper), ("http_proxy", "lower:1")]);
            both.of_http(&target).unwrap().proxy().unwrap().to_string()
        };
        assert_eq!(of("upper:1"), "upper:1");
        assert_eq!(of(" "), "lower:1");
    }

    #[test]
    fn a_proxy_that_is_not_used_has_a_reason() {
        let (http, https) = (Uri::from_static("http://c/"), Uri::from_static("https://c/"));
        let only_http = proxies(&[("HTTP_PROXY", "p:1")]);
        let only_https = proxies(&[("HTTPS_PROXY", "p:1")]);
        let excluded = proxies(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "c")]);
        for (route, reason) in [
            (
                only_http.of_http(&https),
                "HTTP_PROXY is for http:// URLs, HTTPS_PROXY for https:// URLs",
            ),
            (only_http.of_grpc(&http), "HTTP_PROXY is for http:// URLs, HTTPS_PROXY for gRPC"),
            (
                only_https.of_http(&http),
                "HTTPS_PROXY is for https:// URLs and gRPC, HTTP_PROXY for http:// URLs",
            ),
            (excluded.of_grpc(&http), "NO_PROXY names it"),
        ] {
            assert_eq!(route, Ok(Route::Bypass(reason)));
        }
        assert_eq!(proxies(&[("NO_PROXY", "c")]).of_http(&http), Ok(Route::Direct));
        let here = Uri::from_static("http://localhost:4317/");
        assert_eq!(only_https.of_grpc(&here), Ok(Route::Direct));
    }

    #[test]
    fn a_wrong_url_is_named_and_not_shown_and_only_where_it_applies() {
        let url = "must be the URL of a proxy, such as http://proxy.example.com:3128";
        let socks = "must start with http:// or https://: SOCKS can't be used";
        for (text, what) in [
            ("socks5://user:s3cret@p:1080", socks),
            ("ftp://p", socks),
            ("http://", url),
            ("http://user:s3cret@", url),
            ("http://:3128", url),
            ("http://p:0", url),
            ("http://p:99999", url),
            ("p:99999", url),
            ("http://user:s3 cret@p:1", url),
        ] {
            assert_eq!(https(text), Err(WrongProxy { variable: "HTTPS_PROXY", what }), "{text}");
        }
        let wrong = proxies(&[("HTTPS_PROXY", "socks5://p")]);
        assert_eq!(wrong.of_http(&Uri::from_static("https://127.0.0.1/")), Ok(Route::Direct));
    }

    #[test]
    fn a_user_and_password_become_a_header_that_no_output_shows() {
        for (text, pair) in [
            ("http://user:s3cret@p:3128", "user:s3cret"),
            ("http://user@p:3128", "user:"),
            ("user:s%40%3Acret@p:3128", "user:s@:cret"),
        ] {
            let route = https(text).unwrap();
            let proxy = route.proxy().unwrap();
            let header = proxy.authorization.as_ref().unwrap();
            assert_eq!(header, &format!("Basic {}", BASE64_STANDARD.encode(pair)));
            assert_eq!(proxy.to_string(), "p:3128");
            let shown = format!("{route:?}");
            assert!(!shown.contains("cret") && !shown.contains("Basic"), "{shown}");
        }
    }

    #[test]
    fn an_address_without_a_port_has_that_of_its_scheme() {
        for (uri, expected) in [
            ("http://collector/v1/traces", "collector:80"),
            ("https://collector", "collector:443"),
            ("https://[2001:db8::1]:4317", "[2001:db8::1]:4317"),
        ] {
            assert_eq!(host_port(&uri.parse().unwrap()), expected);
        }
    }
}
