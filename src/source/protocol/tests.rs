use super::*;

#[test]
fn the_first_bytes_show_what_a_client_speaks() {
    let table: [(&[u8], Option<Spoken>); 9] = [
        (b"", None),
        (b"PRI", None),
        (b"PRI * HTTP/2.0", Some(Spoken::Http(Version::Http2))),
        (b"POST / HTTP/1.1", Some(Spoken::Http(Version::Http1))),
        (b"PUT /", Some(Spoken::Http(Version::Http1))),
        (b"GET ", Some(Spoken::Http(Version::Http1))),
        (b"\x16", Some(Spoken::Tls)),
        (b"\x16\x03\x01\x02\0", Some(Spoken::Tls)),
        (b"SSH-2.0", Some(Spoken::Other)),
    ];
    for (bytes, spoken) in table {
        assert_eq!(Spoken::of(bytes), spoken, "{}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn the_first_bytes_are_recognised_however_they_arrive() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let address = "127.0.0.1:1".parse().unwrap();
    let clients = || Arc::new(Clients::new(Listener::Streams, address, Version::Http2, false));
    for (sent, is_wrong) in [(&b"POST / HTTP/1.1"[..], true), (b"PRI * HTTP/2.0", false)] {
        for at_once in [1, 3, 100] {
            let clients = clients();
            let (mut sender, receiver) = tokio::io::duplex(at_once);
            let mut stream = Watched::new(receiver, Arc::clone(&clients), address);
            let mut read = Vec::new();
            let writing = async move { sender.write_all(sent).await };
            let (written, received) = tokio::join!(writing, stream.read_to_end(&mut read));
            written.unwrap();
            received.unwrap();
            assert_eq!(read, sent);
            // The second report of a cause is not due.
            assert_eq!(clients.warnings.due("http1", Instant::now()).is_none(), is_wrong);
        }
    }
}

#[test]
fn a_limit_of_the_system_is_named() {
    let of = |code| limit(&io::Error::from_raw_os_error(code));
    assert_eq!(of(EMFILE), ". Raise the process's limit of open files (ulimit -n, LimitNOFILE)");
    assert_eq!(of(ENFILE), ". Raise the system's limit of open files (fs.file-max)");
    assert_eq!(of(104), "");
}

#[cfg(feature = "tls")]
#[test]
fn the_texts_about_handshakes_are_those_that_were_reviewed() {
    use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

    let of = |error: Error| {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        handshake::cause(
            &error,
            Listener::Webhooks,
            "the client offers no HTTP/1.1. gRPC is for listen.grpc",
        )
        .1
    };
    let table = [
        (
            Error::NoCertificatesPresented,
            "the client has no certificate, and listen.tls.http_client_ca asks for one",
        ),
        (
            Error::InvalidCertificate(CertificateError::Expired),
            "the client's certificate is expired, or this machine's clock is wrong",
        ),
        (
            Error::InvalidCertificate(CertificateError::NotValidYet),
            "the client's certificate is not valid yet, or this machine's clock is wrong",
        ),
        (
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            "the client's certificate is not of the authority in listen.tls.http_client_ca",
        ),
        (
            Error::InvalidCertificate(CertificateError::InvalidPurpose),
            "the client's certificate can't be used (InvalidPurpose)",
        ),
        (
            Error::AlertReceived(AlertDescription::UnknownCA),
            "the client does not trust the authority of listen.tls.certificate. Give it that authority's certificate",
        ),
        (
            Error::AlertReceived(AlertDescription::CertificateExpired),
            "the client says that listen.tls.certificate is expired. Renew it, or is a clock wrong?",
        ),
        (
            Error::AlertReceived(AlertDescription::BadCertificate),
            "the client refuses listen.tls.certificate. Does it trust its authority, and does the certificate name \
             the host in the client's URL?",
        ),
        (
            Error::AlertReceived(AlertDescription::UserCanceled),
            "the client ended the TLS handshake (UserCanceled)",
        ),
        (Error::NoApplicationProtocol, "the client offers no HTTP/1.1. gRPC is for listen.grpc"),
        (
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "the client and this listener have no version or cipher of TLS in common (NoCipherSuitesInCommon). It serves TLS 1.2 and 1.3",
        ),
        (Error::DecryptError, "the TLS handshake failed: cannot decrypt peer's message"),
    ];
    for (error, text) in table {
        assert_eq!(of(error), text);
    }
    let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
    let (cause, text) = handshake::cause(&ended, Listener::Streams, "");
    assert_eq!(
        (cause, &*text),
        ("handshake", "the client closed the connection during the TLS handshake")
    );
}
