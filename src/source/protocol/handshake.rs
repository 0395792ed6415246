//! Why a client's TLS handshake failed.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use livekit_otel_ledger::Listener;
use livekit_otel_transport::chain;

/// The name of the cause, and what an operator reads. `no_protocol` is what is said of a client that offers
/// none of the listener's protocols (ALPN).
pub(super) fn cause(
    error: &io::Error,
    listener: Listener,
    no_protocol: &'static str,
) -> (&'static str, String) {
    let authority = match listener {
        Listener::Streams => "listen.tls.grpc_client_ca",
        _ => "listen.tls.http_client_ca",
    };
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "the client closed the connection during the TLS handshake".to_owned()
            }
            _ => format!("the TLS handshake failed: {}", chain(error)),
        };
        return ("handshake", text);
    };
    match tls {
        Error::NoCertificatesPresented => {
            let text = format!("the client has no certificate, and {authority} asks for one");
            ("no_client_certificate", text)
        }
        Error::InvalidCertificate(certificate) => {
            ("client_certificate", client_certificate(certificate, authority))
        }
        Error::AlertReceived(alert) => alerted(*alert),
        Error::NoApplicationProtocol => ("protocol", no_protocol.to_owned()),
        Error::PeerIncompatible(reason) => ("incompatible", incompatible(reason)),
        error => ("handshake", format!("the TLS handshake failed: {}", chain(error))),
    }
}

fn client_certificate(error: &CertificateError, authority: &str) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client's certificate is expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("the client's certificate is not of the authority in {authority}")
        }
        // Some errors quote the certificate's names.
        error => {
            let kind = format!("{error:?}");
            let kind = kind.split(['(', ' ']).next().unwrap_or_default();
            format!("the client's certificate can't be used ({kind})")
        }
    }
}

// What the client says of the listener's certificate. Go sends bad_certificate for all that it refuses.
fn alerted(alert: AlertDescription) -> (&'static str, String) {
    match alert {
        // The latter if it trusts another authority of the same name.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            let text = "the client does not trust the authority of listen.tls.certificate. Give it that \
                        authority's certificate";
            ("unknown_authority", text.to_owned())
        }
        AlertDescription::CertificateExpired => {
            let text = "the client says that listen.tls.certificate is expired. Renew it, or is a clock wrong?";
            ("expired", text.to_owned())
        }
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            let text = "the client refuses listen.tls.certificate. Does it trust its authority, and does the \
                        certificate name the host in the client's URL?";
            ("bad_certificate", text.to_owned())
        }
        alert => ("alert", format!("the client ended the TLS handshake ({alert:?})")),
    }
}

fn incompatible(reason: &PeerIncompatible) -> String {
    format!(
        "the client and this listener have no version or cipher of TLS in common ({reason:?}). It serves TLS 1.2 and 1.3"
    )
}
