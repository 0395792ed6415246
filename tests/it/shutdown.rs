//! How the program shuts down: what is delivered, how long that may take, and when it is a success.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use livekit_otel_durable::store::Files;
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Telemetry;

use crate::binary::{Serve, command};
use crate::durable::{durable, post};
use crate::serve::stop;

// A collector that accepts connections and sends `answer`, or nothing.
fn answering(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let Some(answer) = answer else {
                open.push(stream);
                continue;
            };
            std::thread::spawn(move || {
                let mut request = vec![0; 64 << 10];
                // The head and what arrived with it: the answer does not wait for the whole body.
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

const UNAUTHORIZED: &str =
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const OVER_HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_senders_do_not_delay_the_delivery() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "2s")]);
    assert!(serve.replay().status.success());
    // A request's first line, and an HTTP/2 connection whose stream never ends.
    let mut half_sent = TcpStream::connect(&serve.http).unwrap();
    half_sent.write_all(b"POST /webhook HTTP/1.1\r\n").unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", serve.grpc));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path =
        http::uri::PathAndQuery::from_static("/livekit.AnalyticsRecorderService/IngestEvents");
    let open = tokio::spawn(async move {
        let messages = tokio_stream::pending::<bytes::Bytes>();
        let request = tonic::Request::new(messages);
        grpc.client_streaming(request, path, livekit_otel_transport::frames::RawCodec).await
    });
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Every record is accounted for."), "{printed}");
    assert!(open.await.unwrap().is_err());
    let telemetry = Telemetry::read(&collector.stop().await);
    assert_eq!((telemetry.spans.len(), telemetry.logs.len()), (45, 96));
    drop(half_sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_collector_delays_the_shutdown_by_no_more_than_its_timeout() {
    let collector = answering(None);
    let timeout = [("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "1s")];
    let serve = Serve::start(&format!("http://{collector}"), &timeout);
    assert!(serve.replay().status.success());
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("traces: 45 lost (shutdown)"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_program_at_once() {
    let collector = answering(None);
    let timeout = [("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "1h")];
    let mut serve = Serve::start(&format!("http://{collector}"), &timeout);
    assert!(serve.replay().status.success());
    let pid = serve.child.id().to_string();
    for (signal, what) in [("-TERM", "shutting down"), ("-INT", "second signal")] {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        serve.wait_for(what);
    }
    assert_eq!(serve.child.wait().unwrap().code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_in_memory_are_lost_and_no_success() {
    let collector = format!("http://{}", answering(Some(UNAUTHORIZED)));
    let serve = Serve::start(&collector, &[OVER_HTTP]);
    assert!(serve.replay().status.success());
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("traces: 45 lost (shutdown)"), "{printed}");
    assert!(printed.contains("ARE LOST"), "{printed}");
    assert!(!printed.contains("Every record is accounted for."), "{printed}");

    let mut demo = command(&["demo", "--endpoint", &collector]);
    let output = demo.env(OVER_HTTP.0, OVER_HTTP.1).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("ARE LOST"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_on_disk_are_kept_and_a_success() {
    let collector = format!("http://{}", answering(Some(UNAUTHORIZED)));
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_str().unwrap();
    let serve = Serve::start(&collector, &[OVER_HTTP, ("LIVEKIT_OTEL_JOURNAL_DIR", at)]);
    assert!(serve.replay().status.success());
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(0), "{printed}");
    let list = command(&["deadletter", "list", "--journal-dir", at]).output().unwrap();
    let listed = String::from_utf8(list.stdout).unwrap();
    assert_eq!(list.status.code(), Some(0));
    assert!(listed.contains("logs-"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_never_had_a_journal_has_no_dead_letters_to_list() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    for path in [&nowhere, directory.path()] {
        let path = path.to_str().unwrap();
        for what in ["list", "drop", "retry"] {
            let mut deadletter = command(&["deadletter", what, "--journal-dir", path]);
            deadletter.env("LIVEKIT_KEYS", "devkey: made-up-secret-of-thirty-two-characters");
            let output = deadletter.output().unwrap();
            let printed = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{what} {printed}");
            assert!(printed.contains(&format!("{path} is not a journal directory")), "{printed}");
            assert!(output.stdout.is_empty());
        }
    }
    assert!(!nowhere.exists());
    // A journal that never had a dead letter has none.
    let config = durable("http://127.0.0.1:1", directory.path(), Arc::new(Files));
    let server = livekit_otel::serve::Server::start(config).await.unwrap();
    assert_eq!(post(&server, &crate::durable::webhook(1)).await.0, 200);
    stop(server).await;
    let path = directory.path().to_str().unwrap();
    let output = command(&["deadletter", "list", "--journal-dir", path]).output().unwrap();
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(0), &b"There are no dead letters.\n"[..])
    );
}
