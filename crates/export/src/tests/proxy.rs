//! Delivery through a proxy: tunnels, forwarded requests, and proxies that refuse.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::log::logging;
use super::*;
use crate::answer::Answer;
use crate::transport::Transport;
use livekit_otel_transport::proxy::Proxies;

pub(super) const COLLECTOR: &str = "collector.test";
const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
// It answers nothing, and keeps the connection.
const SILENT: &str = "";
const REFUSED: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";

/// A proxy that gives its scripted answers, then connects every client to one collector.
pub(super) struct Proxy {
    address: SocketAddr,
    // The heads of the clients' first requests.
    heads: mpsc::UnboundedReceiver<String>,
}

impl Proxy {
    pub(super) async fn start(answers: &'static [&'static str], collector: SocketAddr) -> Self {
        let (listener, address) = bound().await;
        let (sender, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut answers, mut silent) = (answers.iter(), Vec::new());
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let Some(head) = read_head(&mut client).await else { continue };
                let _ = sender.send(head.clone());
                match answers.next() {
                    Some(&SILENT) => silent.push(client),
                    Some(answer) => client.write_all(answer.as_bytes()).await.unwrap(),
                    None => drop(tokio::spawn(connect(client, head, collector))),
                }
            }
        });
        Self { address, heads }
    }

    /// Settings by which one record is sent to the collector by its name, which this proxy alone knows.
    pub(super) fn settings(&self, protocol: Protocol, scheme: &str, user: &str) -> Settings {
        through(protocol, scheme, &format!("http://{user}{}", self.address))
    }

    /// The head of the next request.
    pub(super) async fn head(&mut self) -> String {
        self.heads.recv().await.unwrap()
    }
}

fn through(protocol: Protocol, scheme: &str, proxy: &str) -> Settings {
    let path = if protocol == Protocol::Grpc { "" } else { "/v1/logs" };
    let mut settings = settings(&format!("{scheme}://{COLLECTOR}:4317{path}"), protocol);
    let proxies = Proxies::new(|name| name.ends_with("_PROXY").then(|| proxy.to_owned()));
    let endpoint = &settings.logs.endpoint;
    let route = match protocol {
        Protocol::Grpc => proxies.of_grpc(endpoint),
        Protocol::HttpProtobuf => proxies.of_http(endpoint),
    };
    settings.logs.route = route.unwrap();
    settings
}

async fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn connect(mut client: TcpStream, head: String, collector: SocketAddr) {
    let mut server = TcpStream::connect(collector).await.unwrap();
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    } else {
        server.write_all(head.as_bytes()).await.unwrap();
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// A collector that accepts everything.
async fn collector(protocol: Protocol) -> SocketAddr {
    let (listener, address) = bound().await;
    match protocol {
        Protocol::Grpc => drop(tokio::spawn(async { drain(serve(listener, Vec::new())).await })),
        Protocol::HttpProtobuf => {
            let app = axum::Router::new().route("/v1/logs", axum::routing::post(async || ""));
            tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        }
    }
    address
}

async fn drain(mut requests: Requests) {
    while requests.recv().await.is_some() {}
}

#[tokio::test]
async fn records_reach_a_collector_that_the_proxy_alone_knows() {
    for (protocol, request) in [
        (Protocol::Grpc, "CONNECT collector.test:4317 HTTP/1.1"),
        (Protocol::HttpProtobuf, "POST http://collector.test:4317/v1/logs HTTP/1.1"),
    ] {
        let mut proxy = Proxy::start(&[], collector(protocol).await).await;
        let fixture = exporting(&proxy.settings(protocol, "http", "user:s3cret@"));
        fixture.log(&["a"]);
        assert_eq!(fixture.shutdown().await.delivered, 1, "{protocol:?}");
        let head = proxy.head().await.to_lowercase();
        assert_eq!(head.lines().next().unwrap(), request.to_lowercase());
        // base64 of user:s3cret.
        assert!(head.contains("\r\nproxy-authorization: basic dxnlcjpzm2nyzxq=\r\n"), "{head}");
        assert!(head.contains("\r\nhost: collector.test:4317\r\n"), "{head}");
    }
}

// The reasons for which a request is sent again.
async fn reason(settings: &Settings) -> String {
    let transport = Transport::new(Signal::Logs, &settings.logs).unwrap();
    match transport.send(Bytes::new()).await {
        Answer::Retry { cause, .. } => cause.text,
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_record_waits_until_the_proxy_accepts_the_password() {
    for protocol in PROTOCOLS {
        let proxy = Proxy::start(&[REFUSED], collector(protocol).await).await;
        let fixture = exporting(&proxy.settings(protocol, "http", "user:s3cret@"));
        fixture.log(&["a"]);
        assert_eq!(fixture.shutdown().await.delivered, 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_password_that_the_proxy_refuses_is_no_refusal_of_the_collector() {
    for (protocol, variable) in
        [(Protocol::Grpc, "HTTPS_PROXY"), (Protocol::HttpProtobuf, "HTTP_PROXY")]
    {
        let proxy = Proxy::start(&[REFUSED], reserved()).await;
        let reason = reason(&proxy.settings(protocol, "http", "user:s3cret@")).await;
        let at = proxy.address;
        let expected = format!(
            "the proxy {at} ({variable}) answered 407 Proxy Authentication Required for \
             collector.test:4317"
        );
        assert_eq!(reason, expected);
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_named_with_its_answer() {
    for (answer, expected) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403 Forbidden for collector.test:4317"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 Bad Gateway for collector.test:4317"),
        ("SSH-2.0-OpenSSH_9.7\r\n", "does not answer as a proxy"),
        ("\n", "does not answer as a proxy"),
    ] {
        let proxy = Proxy::start(Box::leak(Box::new([answer])), reserved()).await;
        let reason = reason(&proxy.settings(Protocol::Grpc, "http", "")).await;
        let expected = format!("the proxy {} (HTTPS_PROXY) {expected}", proxy.address);
        assert!(reason.contains(&expected), "{reason}");
    }
}

// Whether the answer of the proxy to a forwarded request keeps the records.
async fn is_kept(answer: &'static str) -> (bool, String) {
    let proxy = Proxy::start(Box::leak(Box::new([answer])), reserved()).await;
    let settings = proxy.settings(Protocol::HttpProtobuf, "http", "");
    let transport = Transport::new(Signal::Logs, &settings.logs).unwrap();
    let answer = transport.send(Bytes::new()).await;
    let text = format!("{answer:?}").replace(&proxy.address.to_string(), "PROXY");
    (matches!(answer, Answer::Retry { .. }), text)
}

#[tokio::test]
async fn a_page_of_a_forwarding_proxy_is_no_refusal_of_the_collector() {
    for (head, says) in [
        (
            "403 Forbidden\r\nContent-Type: text/html;charset=utf-8",
            "the proxy PROXY (HTTP_PROXY) answered 403 Forbidden for collector.test:4317",
        ),
        (
            "403 Forbidden\r\nContent-Type: text/html",
            "Let the proxy allow requests to collector.test:4317, or add the host to NO_PROXY.",
        ),
        ("404 Not Found\r\nX-Squid-Error: ERR_DNS_FAIL 0", "answered 404 Not Found"),
        ("400 Bad Request\r\nContent-Type: Text/HTML", "names an HTTP proxy that reaches"),
        (
            "405 Not Allowed\r\nProxy-Status: p; error=http_request_denied",
            "add the host to NO_PROXY",
        ),
        ("501 Not Implemented\r\nContent-Type: text/html", "Check that the proxy reaches"),
        ("503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111", "the proxy PROXY"),
    ] {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        let (is_kept, text) = is_kept(answer.leak()).await;
        assert!(is_kept && text.contains(says), "{head}: {text}");
    }
}

#[tokio::test]
async fn an_answer_of_the_collector_by_a_forwarding_proxy_is_the_collectors() {
    for head in [
        "403 Forbidden\r\nContent-Type: application/x-protobuf",
        "401 Unauthorized\r\nContent-Type: application/json\r\nVia: 1.1 squid",
        "400 Bad Request\r\nProxy-Status: p; received-status=400",
    ] {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        let (is_kept, text) = is_kept(answer.leak()).await;
        assert!(!is_kept && text.starts_with("Refused"), "{head}: {text}");
    }
    let page = "HTTP/1.1 413 Too Large\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    assert!(is_kept(page).await.1.starts_with("Halve"));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    for protocol in PROTOCOLS {
        let at = reserved();
        let reason = reason(&through(protocol, "http", &at.to_string())).await;
        assert!(reason.contains(&format!("can't connect to the proxy {at} (HTTP")), "{reason}");
        assert!(reason.contains("refused"), "{reason}");
    }
}

#[tokio::test]
async fn a_silent_proxy_holds_no_request_longer_than_its_timeout() {
    for protocol in PROTOCOLS {
        let proxy = Proxy::start(&[SILENT], collector(protocol).await).await;
        let mut settings = proxy.settings(protocol, "http", "");
        settings.logs.timeout = Duration::from_millis(200);
        let transport = Transport::new(Signal::Logs, &settings.logs).unwrap();
        let answer = transport.send(Bytes::new()).await;
        assert!(matches!(answer, Answer::Retry { .. }), "{answer:?}");
        // No later request waits for the connection that was being made.
        let again =
            async { while matches!(transport.send(Bytes::new()).await, Answer::Retry { .. }) {} };
        tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    }
}

#[tokio::test]
async fn the_log_names_the_proxy_and_not_its_password() {
    let (logged, _logging) = logging();
    for protocol in PROTOCOLS {
        let (listener, closes) = bound().await;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                drop(client);
            }
        });
        let proxy = Proxy::start(&[], closes).await;
        let expected = format!("proxy=\"{}\"", proxy.address);
        let settings = proxy.settings(protocol, "http", "user:s3cret@");
        let is_logged = async {
            while !logged.text().contains(&expected) {
                // Tests without a log, in other threads, may have made tracing skip the line.
                tracing::callsite::rebuild_interest_cache();
                let fixture = exporting(&settings);
                fixture.log(&["a"]);
                let is_failing = || {
                    let delivery = fixture.ledger.health().report().delivery;
                    delivery[0].failing.is_some()
                };
                while !is_failing() {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_logged).await.unwrap();
        let text = logged.text();
        assert!(text.contains(&format!("collector=\"{COLLECTOR}:4317\"")), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("Basic"), "{text}");
    }
}
