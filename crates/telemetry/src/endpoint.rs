//! Endpoints that a program gives as text.

use std::error::Error;

use http::Uri;

/// An endpoint that is not an http or https URL with a host.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint must be an http or https URL with a host")]
pub struct EndpointError(#[source] Option<Box<dyn Error + Send + Sync>>);

pub(super) fn parse(endpoint: &str) -> Result<Uri, EndpointError> {
    let uri: Uri = endpoint.parse().map_err(|error| EndpointError(Some(Box::new(error))))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if is_http && has_host { Ok(uri) } else { Err(EndpointError(None)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_url_with_a_host() {
        for endpoint in ["http://127.0.0.1:4317", "https://collector.example/otlp"] {
            assert!(parse(endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in ["", "collector:4317", "/v1/traces", "ftp://collector", "http://"] {
            assert!(parse(endpoint).is_err(), "{endpoint}");
        }
        assert!(parse("http://a b").unwrap_err().source().is_some());
    }
}
