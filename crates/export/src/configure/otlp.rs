//! Where the signals go: OpenTelemetry's variables, the flags and the file's `export`.
//!
//! The rules are those of the OTLP exporter specification ("Configuration Options", "Endpoint URLs
//! for OTLP/HTTP") and of configuration/sdk-environment-variables.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::reader::{Found, Reader};
use super::values::{self, Parsed};
use super::{privacy, resource};
use crate::settings::{Headers, Protocol, Settings, Target, Tls};
use livekit_otel_model::Signal;
use livekit_otel_model::signal::Temporality;

const TIMEOUT: Duration = Duration::from_secs(10);
// Below the 4 MiB that collectors take.
// A quarter of what collectors take by default: with several on their way at once larger ones would be
// no faster, and take more memory at both ends.
const MAX_REQUEST: usize = 1 << 20;
const MAX_QUEUE: usize = 64 << 20;

/// What the command line says of the exporter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// `--endpoint`
    pub endpoint: Option<&'a String>,
    /// `--protocol`
    pub protocol: Option<&'a String>,
    /// `--privacy-pii`
    pub privacy_pii: Option<&'a String>,
}

/// The exporter's settings. What is wrong is noted in `reader`, and the default stands in for it.
pub fn read(flags: &Flags<'_>, reader: &mut Reader<'_>) -> Settings {
    let found = reader.variable("OTEL_SDK_DISABLED");
    let enabled = !reader.parse(found, values::boolean).unwrap_or(false);
    let resource = resource::read(reader);
    let temporality = temporality(reader);
    let privacy = privacy::read(flags, reader);
    let max_request_bytes =
        reader.in_file("export.max_request", values::request).unwrap_or(MAX_REQUEST);
    let max_queue_bytes = reader.in_file("export.max_queue", values::memory).unwrap_or(MAX_QUEUE);
    if max_request_bytes > max_queue_bytes {
        let at = reader.file.at("export.max_request");
        reader.wrong(at, "must be at most export.max_queue (64MiB where that is not set)");
    }
    let [traces, logs, metrics] = Signal::ALL.map(|signal| {
        let place = Place { signal, before: reader.problems.len() };
        target(flags, reader, &place, enabled)
    });
    Settings {
        resource,
        traces,
        logs,
        metrics,
        temporality,
        privacy,
        max_request_bytes,
        max_queue_bytes,
    }
}

fn temporality(reader: &mut Reader<'_>) -> Temporality {
    let found = reader
        .variable("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
        .or_else(|| reader.leaf("export.temporality"));
    reader.parse(found, values::temporality).unwrap_or_default()
}

/// Which signal is read, and what was wrong before it.
struct Place {
    signal: Signal,
    before: usize,
}

impl Place {
    fn upper(&self) -> &'static str {
        match self.signal {
            Signal::Traces => "TRACES",
            Signal::Logs => "LOGS",
            Signal::Metrics => "METRICS",
        }
    }

    /// The signal's variable.
    fn own(&self, reader: &Reader<'_>, option: &str) -> Option<Found> {
        reader.variable(&format!("OTEL_EXPORTER_OTLP_{}_{option}", self.upper()))
    }

    /// The signal's variable, or that for all signals.
    fn either(&self, reader: &Reader<'_>, option: &str) -> Option<Found> {
        self.own(reader, option)
            .or_else(|| reader.variable(&format!("OTEL_EXPORTER_OTLP_{option}")))
    }
}

fn target(flags: &Flags<'_>, reader: &mut Reader<'_>, place: &Place, enabled: bool) -> Target {
    let found = reader.variable(&format!("OTEL_{}_EXPORTER", place.upper()));
    let exported = reader.parse(found, values::exporter).unwrap_or(true);
    let found = Reader::flag("--protocol", flags.protocol)
        .or_else(|| place.either(reader, "PROTOCOL"))
        .or_else(|| reader.leaf("export.protocol"));
    let protocol = reader.parse(found, values::protocol).unwrap_or(Protocol::Grpc);
    let endpoint = endpoint(flags, reader, place, protocol);
    let headers = headers(reader, place);
    let timeout = match place.either(reader, "TIMEOUT") {
        found @ Some(_) => reader.parse(found, values::millis),
        None => reader.in_file("export.timeout", values::positive_duration),
    };
    let found = place.either(reader, "COMPRESSION").or_else(|| reader.leaf("export.compression"));
    let compression = reader.parse(found, values::compression).unwrap_or_default();
    let tls = tls(reader, place);
    once(reader, place.before);
    let timeout = timeout.unwrap_or(TIMEOUT);
    let enabled = enabled && exported;
    Target { enabled, endpoint, protocol, headers, timeout, compression, tls }
}

// What is wrong for all signals is found once for each: it is told once.
fn once(reader: &mut Reader<'_>, before: usize) {
    let new = reader.problems.split_off(before);
    for problem in new {
        if !reader.problems.contains(&problem) {
            reader.problems.push(problem);
        }
    }
}

fn endpoint(flags: &Flags<'_>, reader: &mut Reader<'_>, place: &Place, protocol: Protocol) -> Uri {
    let found = place.either(reader, "INSECURE");
    let insecure = reader.parse(found, values::boolean).unwrap_or(false);
    let flag = Reader::flag("--endpoint", flags.endpoint);
    let own = if flag.is_none() { place.own(reader, "ENDPOINT") } else { None };
    let as_is = own.is_some();
    let found = flag
        .or(own)
        .or_else(|| reader.variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
        .or_else(|| reader.leaf("export.endpoint"));
    let default = match protocol {
        Protocol::Grpc => Uri::from_static("http://localhost:4317/"),
        Protocol::HttpProtobuf => Uri::from_static("http://localhost:4318/"),
    };
    let (at, base) = match found {
        Some(Found { text, at }) => (at, uri(&text, protocol, insecure)),
        None => (String::new(), Ok(default.clone())),
    };
    let whole = base.and_then(|base| match protocol {
        Protocol::HttpProtobuf if !as_is => with_path(&base, place.signal),
        _ => Ok(base),
    });
    whole.unwrap_or_else(|what| {
        reader.wrong(at, what);
        default
    })
}

fn uri(text: &str, protocol: Protocol, insecure: bool) -> Parsed<Uri> {
    let wrong = || "must be a URL, such as http://localhost:4317".to_owned();
    let text = match (text.contains("://"), protocol, insecure) {
        (true, ..) => text.to_owned(),
        (false, Protocol::Grpc, true) => format!("http://{text}"),
        (false, Protocol::Grpc, false) => format!("https://{text}"),
        (false, Protocol::HttpProtobuf, _) => {
            return Err("must start with http:// or https://".into());
        }
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.host().is_empty() {
        return Err(wrong());
    }
    if authority.as_str().contains('@') {
        return Err("must not hold a user and password: use the headers".into());
    }
    match uri.scheme_str() {
        Some("http") => Ok(uri),
        Some("https") if cfg!(feature = "tls") => Ok(uri),
        Some("https") => Err("this build has no TLS (feature `tls`): use http://".into()),
        _ => Err("must start with http:// or https://".into()),
    }
}

fn with_path(base: &Uri, signal: Signal) -> Parsed<Uri> {
    let path = base.path().trim_end_matches('/');
    let query = base.query().map_or(String::new(), |query| format!("?{query}"));
    let mut parts = base.clone().into_parts();
    let whole = format!("{path}/v1/{}{query}", signal.as_str());
    parts.path_and_query = whole.parse().ok();
    Uri::from_parts(parts).map_err(|_| "must be a URL, such as http://localhost:4318".to_owned())
}

fn headers(reader: &mut Reader<'_>, place: &Place) -> Headers {
    let (at, pairs) = match place.either(reader, "HEADERS") {
        Some(found) => {
            let at = found.at.clone();
            (at, reader.parse(Some(found), values::pairs).unwrap_or_default())
        }
        None => (reader.file.at("export.headers"), reader.file.map("export.headers").to_vec()),
    };
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in pairs {
        let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
        else {
            reader.wrong(&at, "has a name or value that is not allowed in a header");
            continue;
        };
        value.set_sensitive(true);
        headers.retain(|(before, _)| *before != name);
        headers.push((name, value));
    }
    Headers(headers)
}

fn tls(reader: &mut Reader<'_>, place: &Place) -> Tls {
    let path = |option, key| {
        let found = place.either(reader, option).or_else(|| reader.leaf(key));
        found.map(|found| (PathBuf::from(found.text), found.at))
    };
    let ca = path("CERTIFICATE", "export.certificate");
    let certificate = path("CLIENT_CERTIFICATE", "export.client_certificate");
    let key = path("CLIENT_KEY", "export.client_key");
    match (&certificate, &key) {
        (Some((_, at)), None) => reader.wrong(at, "needs the client's key too"),
        (None, Some((_, at))) => reader.wrong(at, "needs the client's certificate too"),
        _ => {}
    }
    let mut tls = Tls::default();
    if let Some((ca, _)) = ca {
        tls = tls.with_ca(ca);
    }
    if let (Some((certificate, _)), Some((key, _))) = (certificate, key) {
        tls = tls.with_client(certificate, key);
    }
    tls
}
