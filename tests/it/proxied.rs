//! The program behind a proxy, which alone knows the collector and LiveKit's API.

use std::net::SocketAddr;

use livekit_otel_tools::demo::Collector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::binary::Serve;

const API: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\nContent-Length: 0\r\n\r\n";

/// A proxy that answers for an API without rooms, and connects everything else to the collector. The receiver has the
/// heads of the requests.
async fn proxy(collector: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, collector, sender.clone()));
        }
    });
    (address, heads)
}

async fn serve(mut client: TcpStream, collector: SocketAddr, heads: mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let is_tunnel = head.starts_with("CONNECT ");
    let _ = heads.send(head);
    if is_tunnel {
        let mut server = TcpStream::connect(collector).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    } else {
        client.write_all(API).await.unwrap();
    }
}

// base64 of user:s3cret.
const AUTHORIZATION: &str = "proxy-authorization: basic dxnlcjpzm2nyzxq=";

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_own_traces_and_the_api_use_the_proxy_and_the_log_says_so() {
    let collector = Collector::start().await.unwrap();
    let at = collector.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let (proxy, mut heads) = proxy(at).await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("c.yaml");
    std::fs::write(&config, "observe: {traces: true}\n").unwrap();
    let url = format!("http://user:s3cret@{proxy}");
    let mut serve = Serve::start(
        "http://collector.test:4317",
        &[
            ("LIVEKIT_OTEL_CONFIG", config.to_str().unwrap()),
            ("LIVEKIT_URL", "http://livekit.test"),
            ("HTTPS_PROXY", &url),
            ("http_proxy", &url),
        ],
    );
    let line: serde_json::Value = serde_json::from_str(&serve.wait_for("\"sending\"")).unwrap();
    assert_eq!(
        (&line["collector"], &line["protocol"]),
        (&"collector.test:4317".into(), &"grpc".into())
    );
    assert_eq!(line["signals"], "traces, logs, metrics");
    for (target, variable) in
        [("collector.test:4317", "HTTPS_PROXY"), ("livekit.test:80", "http_proxy")]
    {
        let line: serde_json::Value =
            serde_json::from_str(&serve.wait_for("connecting through a proxy")).unwrap();
        assert_eq!((&line["to"], &line["variable"]), (&target.into(), &variable.into()));
        assert_eq!(line["proxy"], proxy.to_string());
    }
    let ended = tokio::task::spawn_blocking(|| {
        assert!(serve.replay().status.success());
        serve.terminate()
    });
    let (code, printed) = ended.await.unwrap();
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains("s3cret") && !printed.contains("dXNlcj"), "{printed}");
    let received = collector.stop().await;
    let resources = received.traces.iter().flat_map(|request| &request.resource_spans);
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    let names: Vec<_> =
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect();
    assert!(names.contains(&"export"), "own traces: {names:?}");
    assert!(!received.metrics.is_empty());

    let (mut tunnels, mut questions) = (0, 0);
    while let Ok(head) = heads.try_recv() {
        let head = head.to_lowercase();
        assert!(head.contains(AUTHORIZATION), "{head}");
        let line = head.lines().next().unwrap();
        if line == "connect collector.test:4317 http/1.1" {
            tunnels += 1;
        } else {
            assert!(line.starts_with("post http://livekit.test/twirp/livekit."), "{line}");
            questions += 1;
        }
    }
    // The telemetry's two signals and the own traces, at least.
    assert!(tunnels > 1 && questions > 0, "{tunnels} {questions}");
}
