//! Errors of TLS.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::{Attempt, no_http2};

pub(super) fn hint(error: &Error, attempted: &Attempt) -> Option<String> {
    let address = attempted.address();
    Some(match error {
        Error::InvalidMessage(_) => {
            format!(
                "{address} does not speak TLS. Write http:// in the URL, or use the server's port for TLS."
            )
        }
        Error::InvalidCertificate(error) => of_certificate(error, attempted)?,
        Error::AlertReceived(alert) => of_alert(*alert, attempted)?,
        Error::NoApplicationProtocol => no_http2(attempted),
        Error::PeerIncompatible(_) => versions(attempted),
        _ => return None,
    })
}

// Alerts that servers send of their clients.
const ALERTS: [AlertDescription; 10] = [
    AlertDescription::CertificateRequired,
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
    AlertDescription::HandshakeFailure,
];

/// Of the text of an error: an alert that arrives after the handshake passes through h2, as text.
pub(super) fn of_text(text: &str, attempted: &Attempt) -> Option<String> {
    let is_text = |alert: &AlertDescription| text == Error::AlertReceived(*alert).to_string();
    of_alert(ALERTS.into_iter().find(is_text)?, attempted)
}

fn of_certificate(error: &CertificateError, attempted: &Attempt) -> Option<String> {
    use CertificateError as E;

    let address = attempted.address();
    Some(match error {
        // The latter where another authority has the same name.
        E::UnknownIssuer | E::BadSignature => {
            let setting = if attempted.is_otlp() {
                ": export.certificate or OTEL_EXPORTER_OTLP_CERTIFICATE"
            } else {
                ""
            };
            format!(
                "The certificate of {address} is signed by an authority that is not trusted here. Add that \
                 authority's certificate to the trusted ones{setting}."
            )
        }
        E::NotValidForName => other_names(attempted, &[]),
        E::NotValidForNameContext { presented, .. } => other_names(attempted, presented),
        E::Expired => format!("The certificate of {address} has expired. Renew it."),
        E::ExpiredContext { time, not_after } => {
            let since = difference(*time, *not_after);
            format!(
                "The certificate of {address} expired {since} ago by the clock of this machine. Renew it, or \
                 correct the clock."
            )
        }
        E::NotValidYet => format!("The certificate of {address} is not valid yet."),
        E::NotValidYetContext { time, not_before } => {
            let left = difference(*not_before, *time);
            format!(
                "The certificate of {address} becomes valid in {left} by the clock of this machine. Correct the \
                 clock."
            )
        }
        E::Other(OtherError(error)) if error.to_string().contains("CaUsedAsEndEntity") => format!(
            "{address} uses the certificate of an authority as its own. Create one for the server, signed by \
             that authority."
        ),
        E::Revoked => format!("The certificate of {address} is revoked. Renew it."),
        _ => return None,
    })
}

const MOST_NAMES: usize = 3;

fn other_names(attempted: &Attempt, presented: &[String]) -> String {
    let (address, host) = (attempted.address(), attempted.host());
    let names = presented.iter().take(MOST_NAMES).map(|name| shown(name)).collect::<Vec<_>>();
    let more = if presented.len() > MOST_NAMES { ", …" } else { "" };
    let names =
        if names.is_empty() { String::new() } else { format!(", but {}{more}", names.join(", ")) };
    format!(
        "The certificate of {address} is not for the name {host}{names}. Connect by a name of the certificate, \
         or renew it with this name."
    )
}

const LONGEST_NAME: usize = 64;

// A name as rustls writes it, `DnsName("collector")`, without the kind.
fn shown(name: &str) -> String {
    let name = name.split_once('(').map_or(name, |(_, name)| name);
    let name = name.trim_end_matches(')').trim_matches('"');
    let is_shown = |c: &char| c.is_ascii_graphic();
    name.chars().filter(is_shown).take(LONGEST_NAME).collect()
}

// The largest unit alone.
fn difference(later: UnixTime, earlier: UnixTime) -> String {
    let seconds = later.as_secs().saturating_sub(earlier.as_secs());
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86400 => (seconds / 3600, "h"),
        _ => (seconds / 86400, "days"),
    };
    format!("{count} {unit}")
}

fn of_alert(alert: AlertDescription, attempted: &Attempt) -> Option<String> {
    use AlertDescription as A;

    let address = attempted.address();
    Some(match alert {
        A::CertificateRequired => {
            let settings = if attempted.is_otlp() {
                ": export.client_certificate and export.client_key, or OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
                 OTEL_EXPORTER_OTLP_CLIENT_KEY"
            } else {
                ""
            };
            format!(
                "{address} requires a certificate of its clients. Set one with its key{settings}."
            )
        }
        A::UnknownCA
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::AccessDenied
        | A::DecryptError => format!(
            "{address} does not accept the client's certificate, or requires one. An authority that the server \
             trusts must have signed it, and it must not have expired."
        ),
        A::NoApplicationProtocol => no_http2(attempted),
        A::UnrecognisedName => {
            let host = attempted.host();
            format!("The TLS server at {address} does not know the name {host}. Check the name.")
        }
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => versions(attempted),
        _ => return None,
    })
}

fn versions(attempted: &Attempt) -> String {
    let address = attempted.address();
    format!(
        "{address} and this program have no version or cipher of TLS in common. The server must allow TLS 1.2 or \
         1.3."
    )
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use rustls::pki_types::ServerName;
    use rustls::{InvalidMessage, PeerIncompatible};

    use super::*;
    use crate::hint::Protocol;

    fn named(presented: &[&str]) -> CertificateError {
        let presented = presented.iter().map(|name| (*name).to_owned()).collect();
        let expected = ServerName::try_from("collector").unwrap();
        CertificateError::NotValidForNameContext { expected, presented }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_000_000_000 + seconds))
    }

    fn expired(seconds: u64) -> CertificateError {
        CertificateError::ExpiredContext { time: at(seconds), not_after: at(0) }
    }

    #[test]
    fn each_fault_of_tls_has_its_hint() {
        let certificates = [
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
            CertificateError::NotValidForName,
            named(&["DnsName(\"a.example\")", "IpAddress(10.0.0.1)"]),
            named(&["a\u{1b}[2J", "b", "c", "d"]),
            expired(59),
            expired(86_400 * 9 + 1),
            CertificateError::NotValidYetContext { time: at(0), not_before: at(7300) },
            CertificateError::BadEncoding,
        ];
        let alerts = [
            AlertDescription::CertificateRequired,
            AlertDescription::UnknownCA,
            AlertDescription::NoApplicationProtocol,
            AlertDescription::UnrecognisedName,
            AlertDescription::InternalError,
        ];
        let others = [
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
        ];
        let collector = Uri::from_static("https://collector:4317");
        let collector = Attempt::new(&collector, Protocol::OtlpGrpc);
        let all = certificates.into_iter().map(Error::InvalidCertificate);
        let all = all.chain(alerts.into_iter().map(Error::AlertReceived)).chain(others);
        let mut texts = String::new();
        for error in all {
            let hint = hint(&error, &collector);
            texts.extend([hint.as_deref().unwrap_or("-"), "\n"]);
        }
        assert_eq!(texts, include_str!("tls.txt"));
    }
}
