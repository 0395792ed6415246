//! The HTTP client, and its errors about certificates.

use super::settings::WebhookError;
pub(super) use livekit_otel_transport::client::Client;

/// With `https`, it is an error if the system has no certificates.
pub(super) fn new(https: bool) -> Result<Client, WebhookError> {
    livekit_otel_transport::client::new(https)
        .map_err(|error| WebhookError::Certificates(Box::new(error)))
}

/// Whether the receiver's certificate is not trusted, which no retry changes.
#[cfg(feature = "tls")]
pub(super) fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // The source of an io::Error is not the error that it wraps, but the wrapped one's source.
    let wrapped = match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|wrapped| wrapped as &(dyn std::error::Error + 'static)),
        None => error.source(),
    };
    wrapped.is_some_and(is_untrusted)
}

#[cfg(not(feature = "tls"))]
pub(super) fn is_untrusted(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}
