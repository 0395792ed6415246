//! Where the signals go: flags, OpenTelemetry's variables, and the file's `export`.
//!
//! The rules are those of the OTLP exporter specification ("Configuration Options", "Endpoint URLs
//! for OTLP/HTTP") and of configuration/sdk-environment-variables.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};

use super::flags::Flags;
use super::place::Place;
use super::reader::{Found, Reader};
use super::schema::{Export, Sections};
use super::values::{self, Parsed};
use super::{endpoint, privacy, resource};
use crate::settings::{Headers, Protocol, Route, Settings, Target, Tls};
use livekit_otel_model::Signal;
use livekit_otel_model::signal::Temporality;

const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// The exporter's settings. Errors are added to `reader`, with the default in place of the wrong value.
pub fn read(flags: &Flags<'_>, file: &Sections, reader: &mut Reader<'_>) -> Settings {
    let found = reader.variable("OTEL_SDK_DISABLED");
    let enabled = !reader.parse(found, values::boolean).unwrap_or(false);
    let resource = resource::read(&file.resource, reader);
    let temporality = temporality(&file.export, reader);
    let privacy = privacy::read(flags, &file.privacy, reader);
    let Export { max_request, max_queue, .. } = file.export;
    if max_request > max_queue {
        let what = "must be at most export.max_queue (64MiB if that is not set)";
        reader.wrong_setting("export.max_request", what);
    }
    let [traces, logs, metrics] = Signal::ALL.map(|signal| {
        let place = Place { signal, before: reader.problems.len() };
        target(flags, &file.export, reader, &place, enabled)
    });
    Settings {
        resource,
        traces,
        logs,
        metrics,
        temporality,
        privacy,
        max_request_bytes: max_request,
        max_queue_bytes: max_queue,
    }
}

/// The keys of the file that a flag or variable overrides for all signals.
pub fn overridden(flags: &Flags<'_>, reader: &Reader<'_>) -> Vec<&'static str> {
    let by_variable = |option: &str| {
        let is_set = |signal| Place { signal, before: 0 }.either(reader, option).is_some();
        Signal::ALL.into_iter().all(is_set)
    };
    let keys = [
        ("export.protocol", flags.protocol.is_some() || by_variable("PROTOCOL")),
        ("export.timeout", by_variable("TIMEOUT")),
        ("export.compression", by_variable("COMPRESSION")),
        ("export.temporality", reader.variable(TEMPORALITY).is_some()),
        ("privacy.pii", privacy::is_overridden(flags, reader)),
    ];
    keys.into_iter().filter(|(_, is_overridden)| *is_overridden).map(|(key, _)| key).collect()
}

fn temporality(file: &Export, reader: &mut Reader<'_>) -> Temporality {
    let Some(found) = reader.variable(TEMPORALITY) else { return file.temporality };
    reader.parse(Some(found), values::temporality).unwrap_or_default()
}

fn target(
    flags: &Flags<'_>,
    file: &Export,
    reader: &mut Reader<'_>,
    place: &Place,
    enabled: bool,
) -> Target {
    let found = reader.variable(&format!("OTEL_{}_EXPORTER", place.upper()));
    let exported = reader.parse(found, values::exporter).unwrap_or(true);
    let found =
        Reader::flag("--protocol", flags.protocol).or_else(|| place.either(reader, "PROTOCOL"));
    let protocol = or_file(found, reader, values::protocol, file.protocol);
    let endpoint = endpoint::read(flags, file, reader, place, protocol);
    let headers = headers(file, reader, place);
    let timeout = or_file(place.either(reader, "TIMEOUT"), reader, values::millis, file.timeout);
    let found = place.either(reader, "COMPRESSION");
    let compression = or_file(found, reader, values::compression, file.compression);
    let tls = tls(file, reader, place);
    let enabled = enabled && exported;
    once(reader, place.before);
    let route = if enabled { route(reader, &endpoint, protocol) } else { Route::Direct };
    Target { enabled, endpoint, protocol, headers, timeout, compression, tls, route }
}

fn route(reader: &mut Reader<'_>, endpoint: &Uri, protocol: Protocol) -> Route {
    reader.route(|proxies| match protocol {
        Protocol::Grpc => proxies.of_grpc(endpoint),
        Protocol::HttpProtobuf => proxies.of_http(endpoint),
    })
}

// The value of a flag or variable, or the file's.
fn or_file<T>(
    found: Option<Found>,
    reader: &mut Reader<'_>,
    parse: fn(&str) -> Parsed<T>,
    of_file: T,
) -> T {
    reader.parse(found, parse).unwrap_or(of_file)
}

// An error of all signals is found once for each signal, and reported once.
fn once(reader: &mut Reader<'_>, before: usize) {
    let new = reader.problems.split_off(before);
    for problem in new {
        if !reader.problems.contains(&problem) {
            reader.problems.push(problem);
        }
    }
}

fn headers(file: &Export, reader: &mut Reader<'_>, place: &Place) -> Headers {
    let (at, pairs) = match place.either(reader, "HEADERS") {
        Some(found) => {
            let at = found.at.clone();
            (at, reader.parse_secret(Some(found), values::pairs).unwrap_or_default())
        }
        None => (reader.places.at("export.headers"), file.headers.0.clone()),
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

fn tls(file: &Export, reader: &mut Reader<'_>, place: &Place) -> Tls {
    let path = |option, of_file: &Option<PathBuf>, key| match place.either(reader, option) {
        Some(found) => Some((PathBuf::from(found.text), found.at)),
        None => of_file.clone().map(|path| (path, reader.places.at(key))),
    };
    let ca = path("CERTIFICATE", &file.certificate, "export.certificate");
    let certificate =
        path("CLIENT_CERTIFICATE", &file.client_certificate, "export.client_certificate");
    let key = path("CLIENT_KEY", &file.client_key, "export.client_key");
    match (&certificate, &key) {
        (Some((_, at)), None) => reader.wrong(at, "needs the client's key too"),
        (None, Some((_, at))) => reader.wrong(at, "needs the client's certificate too"),
        _ => {}
    }
    let found = [("CERTIFICATE", &ca), ("CLIENT_CERTIFICATE", &certificate), ("CLIENT_KEY", &key)];
    for (option, found) in found {
        if let Some((_, at)) = found {
            reader.places.of_signals.insert((place.signal.as_str(), option), at.clone());
        }
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
