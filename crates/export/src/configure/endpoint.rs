//! The collector's URL, as the OTLP exporter specification has it ("Endpoint URLs for OTLP/HTTP", "Configuration
//! Options"), without what can't work.

use http::Uri;

use super::errors::Problem;
use super::flags::Flags;
use super::place::Place;
use super::reader::{Found, Reader};
use super::schema::Export;
use super::values::{self, Parsed};
use crate::settings::Protocol;
use livekit_otel_model::Signal;

// The ports on which collectors receive OTLP (OTLP specification, "OTLP/gRPC Default Port" and its sibling).
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;

/// The URL of the signal's requests. An error is added to `reader`, with the default in place of the wrong URL.
pub(super) fn read(
    flags: &Flags<'_>,
    file: &Export,
    reader: &mut Reader<'_>,
    place: &Place,
    protocol: Protocol,
) -> Uri {
    let found = place.either(reader, "INSECURE");
    let insecure = reader.parse(found, values::boolean);
    let flag = Reader::flag("--endpoint", flags.endpoint);
    let own = if flag.is_none() { place.own(reader, "ENDPOINT") } else { None };
    let as_is = own.is_some();
    let of_file =
        |text: &String| Found { text: text.clone(), at: reader.places.at("export.endpoint") };
    let found = flag
        .or(own)
        .or_else(|| reader.variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
        .or_else(|| file.endpoint.as_ref().map(of_file));
    let default = match protocol {
        Protocol::Grpc => Uri::from_static("http://localhost:4317/"),
        Protocol::HttpProtobuf => Uri::from_static("http://localhost:4318/"),
    };
    let (text, at) =
        found.map_or_else(|| (default.to_string(), String::new()), |found| (found.text, found.at));
    if !at.is_empty() {
        reader.places.of_signals.insert((place.signal.as_str(), "ENDPOINT"), at.clone());
    }
    let whole = url(&text, protocol, insecure).and_then(|base| {
        if let Some(what) = doubt(&base, protocol, as_is) {
            reader.note(Problem::new(at.clone(), what).with_value(&text));
        }
        match protocol {
            Protocol::HttpProtobuf if !as_is => with_path(&base, place.signal),
            _ => Ok(base),
        }
    });
    whole.unwrap_or_else(|what| {
        reader.problems.push(Problem::new(at, what).with_value(&text));
        default
    })
}

fn url(text: &str, protocol: Protocol, insecure: Option<bool>) -> Parsed<Uri> {
    let wrong = || "must be a URL, such as http://localhost:4317".to_owned();
    let text = match (text.contains("://"), protocol, insecure) {
        (true, ..) => text.to_owned(),
        (false, Protocol::Grpc, Some(true)) => format!("http://{text}"),
        (false, Protocol::Grpc, Some(false)) => format!("https://{text}"),
        // By the specification it would be TLS, which is hardly ever meant.
        (false, ..) => {
            return Err("must start with http://, or https:// for TLS".into());
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
    values::port(&uri)?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return Err("this build has no TLS (feature `tls`): use http://".into()),
        _ => return Err("must start with http://, or https:// for TLS".into()),
    }
    let is_root = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if protocol == Protocol::Grpc && !is_root {
        return Err(
            "must have no path with gRPC: remove it, or set the protocol to http/protobuf".into()
        );
    }
    Ok(uri)
}

// The URL for all signals, with the signal's path.
fn with_path(base: &Uri, signal: Signal) -> Parsed<Uri> {
    let path = base.path().trim_end_matches('/');
    if Signal::ALL.into_iter().any(|signal| path.ends_with(&format!("/v1/{}", signal.as_str()))) {
        return Err("must not end in a signal's path, which is added: remove /v1/…, or set \
                    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and the like"
            .into());
    }
    let query = base.query().map_or(String::new(), |query| format!("?{query}"));
    let mut parts = base.clone().into_parts();
    let whole = format!("{path}/v1/{}{query}", signal.as_str());
    parts.path_and_query = whole.parse().ok();
    Uri::from_parts(parts).map_err(|_| "must be a URL, such as http://localhost:4318".to_owned())
}

// What is probably not meant.
fn doubt(url: &Uri, protocol: Protocol, as_is: bool) -> Option<&'static str> {
    match (protocol, url.port_u16()) {
        (Protocol::Grpc, None) if url.scheme_str() == Some("http") => {
            Some("has no port, so that gRPC connects to port 80: collectors have 4317")
        }
        (Protocol::Grpc, Some(HTTP)) => {
            Some("has the port that collectors have for http/protobuf, and the protocol is grpc")
        }
        (Protocol::HttpProtobuf, Some(GRPC)) => {
            Some("has the port that collectors have for grpc, and the protocol is http/protobuf")
        }
        (Protocol::HttpProtobuf, _) if as_is && matches!(url.path(), "" | "/") => {
            Some("has no path: it is used as it is, and collectors have /v1/traces and the like")
        }
        _ => None,
    }
}
