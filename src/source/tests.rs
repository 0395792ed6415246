//! How the listeners stop, and replays to them.

use std::io::BufReader;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

use super::Shared;
use super::listen::{Listeners, Settings, bind};
use livekit_otel_durable::journal::{self, DeadLetters, Reader};
use livekit_otel_ledger::{Input, Ledger, Refused};
use livekit_otel_livekit as livekit;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::token::sign;
use livekit_otel_model::Source;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::replay::{Destination, Sent, replay};
use livekit_otel_transport::frames::RawCodec;

const KEY: &str = "devkey";
const SECRET: &str = "made-up-secret-of-thirty-two-characters";
const BODY: &str = r#"{"event":"room_started","id":"EV_1","room":{"sid":"RM_1"}}"#;
const ROOMY: usize = 1 << 20;
// Far longer than any step: a test that waits for it fails.
const LONG: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(5);

struct Fixture {
    listeners: Listeners,
    reader: Reader,
    ledger: Arc<Ledger>,
}

async fn listening(journal_bytes: usize) -> Fixture {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let settings = Settings::plain(any, any, 1 << 20, 1 << 20);
    let mut keys = Keys::default();
    keys.insert(KEY, SECRET);
    let ledger = Arc::new(Ledger::default());
    let (journal, reader) = journal::in_memory(journal_bytes, &ledger);
    let dead_letters = Arc::new(DeadLetters::in_memory(1000));
    let shared = Shared {
        keys: keys.into(),
        journal,
        ledger: Arc::clone(&ledger),
        dead_letters,
        reader: Arc::default(),
    };
    let listeners = bind(&settings, shared).await.unwrap();
    Fixture { listeners, reader, ledger }
}

fn row(ledger: &Ledger, source: Source) -> Input {
    ledger.snapshot().inputs.into_iter().find(|row| row.source == source).unwrap()
}

fn refused(ledger: &Ledger, source: Source, why: Refused) -> u64 {
    row(ledger, source).refused.iter().find(|(reason, _)| *reason == why).unwrap().1
}

async fn until(what: impl Fn() -> bool) {
    let condition = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, condition).await.unwrap();
}

// A webhook whose server waits for the body.
async fn begin_webhook(to: SocketAddr) -> TcpStream {
    let token = sign(BODY.as_bytes(), KEY, SECRET).unwrap();
    let length = BODY.len();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n\
         Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 25];
    stream.read_exact(&mut status).await.unwrap();
    assert!(status.starts_with(b"HTTP/1.1 100 Continue"), "{}", status.escape_ascii());
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

fn an_event() -> Bytes {
    let event = json!({ "id": "AE_1", "roomId": "RM_1", "type": "ROOM_ENDED" });
    livekit::encode_capture("events", &json!({ "events": [event] })).unwrap().into()
}

type Answer = JoinHandle<Result<Bytes, Status>>;

async fn events(to: SocketAddr, gzip: bool) -> (mpsc::Sender<Bytes>, Answer) {
    let address = format!("http://{to}");
    let channel: Channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let (messages, outgoing) = mpsc::channel(8);
    let answer = tokio::spawn(async move {
        let mut grpc = tonic::client::Grpc::new(channel);
        if gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(livekit::method(Source::Events).unwrap());
        let request = tonic::Request::new(ReceiverStream::new(outgoing));
        grpc.client_streaming(request, path, RawCodec).await.map(tonic::Response::into_inner)
    });
    (messages, answer)
}

// Stops the listeners; they have the signal when this returns.
async fn stopping(listeners: Listeners, within: Duration) -> JoinHandle<()> {
    let signal = listeners.stopping();
    let stopped = tokio::spawn(listeners.stop(Instant::now() + within));
    until(|| *signal.borrow()).await;
    stopped
}

#[tokio::test]
async fn what_was_sent_before_the_stop_is_read_before_it_is_acknowledged() {
    let message = an_event();
    let Fixture { listeners, mut reader, ledger } = listening(message.len()).await;
    let (messages, answer) = events(listeners.grpc, false).await;
    for _ in 0..3 {
        messages.send(message.clone()).await.unwrap();
    }
    drop(messages);
    // The journal has memory for one; the others have arrived and are not read.
    until(|| row(&ledger, Source::Events).accepted == 1).await;
    let stopped = stopping(listeners, LONG).await;
    for _ in 0..3 {
        assert!(timeout(SOON, reader.next()).await.unwrap().is_some());
    }
    assert!(answer.await.unwrap().is_ok());
    timeout(SOON, stopped).await.unwrap().unwrap();
    assert!(timeout(SOON, reader.next()).await.unwrap().is_none());
    assert_eq!(row(&ledger, Source::Events).accepted, 3);
}

#[tokio::test]
async fn a_stream_that_is_never_quiet_is_not_acknowledged() {
    let Fixture { listeners, mut reader, ledger } = listening(ROOMY).await;
    let (messages, answer) = events(listeners.grpc, false).await;
    let sending = tokio::spawn(async move { while messages.send(an_event()).await.is_ok() {} });
    let reading = tokio::spawn(async move { while reader.next().await.is_some() {} });
    until(|| row(&ledger, Source::Events).accepted > 0).await;
    let stopped = stopping(listeners, LONG).await;
    assert!(timeout(SOON, answer).await.unwrap().unwrap().is_err());
    timeout(SOON, stopped).await.unwrap().unwrap();
    // The listeners dropped the journal, so that its reader ends.
    timeout(SOON, reading).await.unwrap().unwrap();
    timeout(SOON, sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_webhook_that_has_begun_is_finished_by_the_stop() {
    let Fixture { listeners, mut reader, .. } = listening(ROOMY).await;
    let mut stream = begin_webhook(listeners.http).await;
    let stopped = stopping(listeners, LONG).await;
    stream.write_all(BODY.as_bytes()).await.unwrap();
    let answer = answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(SOON, stopped).await.unwrap().unwrap();
    assert!(timeout(SOON, reader.next()).await.unwrap().is_some());
    assert!(timeout(SOON, reader.next()).await.unwrap().is_none());
}

// On two threads, so that a connection can run while it is aborted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_keeps_the_journal_open_after_the_deadline() {
    let message = an_event();
    let Fixture { listeners, mut reader, ledger } = listening(message.len()).await;
    let _slow = begin_webhook(listeners.http).await;
    let (messages, answer) = events(listeners.grpc, false).await;
    for _ in 0..2 {
        messages.send(message.clone()).await.unwrap();
    }
    until(|| row(&ledger, Source::Events).accepted == 1).await;
    // Neither the body nor memory in the journal arrives.
    timeout(SOON, listeners.stop(Instant::now())).await.unwrap();
    assert!(reader.try_next().is_some());
    assert!(timeout(SOON, reader.next()).await.unwrap().is_none());
    assert!(answer.await.unwrap().is_err(), "what was not journaled is not acknowledged");
}

#[tokio::test]
async fn a_kept_connection_does_not_delay_the_stop() {
    let Fixture { listeners, .. } = listening(ROOMY).await;
    // Accepted before the next one is, and never used.
    let _unused = TcpStream::connect(listeners.http).await.unwrap();
    let mut kept = TcpStream::connect(listeners.http).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    timeout(SOON, listeners.stop(Instant::now() + LONG)).await.unwrap();
}

#[tokio::test]
async fn an_open_stream_does_not_delay_the_stop() {
    let Fixture { listeners, mut reader, .. } = listening(ROOMY).await;
    // Accepted before the next one is, and never used.
    let _unused = TcpStream::connect(listeners.grpc).await.unwrap();
    let (messages, answer) = events(listeners.grpc, false).await;
    messages.send(an_event()).await.unwrap();
    reader.next_input().await.unwrap();
    timeout(SOON, listeners.stop(Instant::now() + LONG)).await.unwrap();
    // More may be on the way: it is not acknowledged.
    assert_eq!(answer.await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn an_incomplete_body_is_refused_as_malformed() {
    let fixture = listening(ROOMY).await;
    let mut stream = begin_webhook(fixture.listeners.http).await;
    stream.write_all(&BODY.as_bytes()[..10]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    until(|| refused(&fixture.ledger, Source::Webhook, Refused::Malformed) == 1).await;
}

#[tokio::test]
async fn a_sender_of_too_large_a_body_receives_the_refusal() {
    let fixture = listening(ROOMY).await;
    let token = sign(BODY.as_bytes(), KEY, SECRET).unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n\
         Content-Length: 4000000\r\n\r\n"
    );
    let mut stream = TcpStream::connect(fixture.listeners.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // As a client that writes all before it reads; the write may fail.
    let _ = timeout(SOON, stream.write_all(&vec![b' '; 4_000_000])).await.unwrap();
    let answer = answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(refused(&fixture.ledger, Source::Webhook, Refused::TooLarge), 1);
}

#[tokio::test]
async fn compressed_messages_are_accepted() {
    let mut fixture = listening(ROOMY).await;
    let (messages, answer) = events(fixture.listeners.grpc, true).await;
    messages.send(an_event()).await.unwrap();
    drop(messages);
    answer.await.unwrap().unwrap();
    assert_eq!(fixture.reader.next_input().await.unwrap().items, 1);
}

#[tokio::test]
async fn an_invalid_frame_is_refused_as_malformed() {
    let fixture = listening(ROOMY).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let method = livekit::method(Source::Stats).unwrap();
    // Compression flags are 0 and 1.
    let request = http::Request::post(format!("http://{}{method}", fixture.listeners.grpc))
        .header("content-type", "application/grpc")
        .body(Full::from(&[2, 0, 0, 0, 0][..]))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "13");
    answer.into_body().collect().await.unwrap();
    assert_eq!(refused(&fixture.ledger, Source::Stats, Refused::Malformed), 1);
}

fn example() -> Capture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/captures/one-call.jsonl");
    Capture::parse(BufReader::new(std::fs::File::open(path).unwrap())).unwrap()
}

fn destination(listeners: &Listeners, secret: &str) -> Destination {
    Destination {
        webhook: format!("http://{}/webhook", listeners.http).parse().unwrap(),
        analytics: format!("http://{}", listeners.grpc).parse().unwrap(),
        uploads: format!("http://{}", listeners.http).parse().unwrap(),
        key: KEY.to_owned(),
        secret: secret.to_owned(),
        speed: f64::INFINITY,
        retry_for: Destination::RETRY_FOR,
    }
}

#[tokio::test]
async fn all_of_a_replayed_call_is_accepted() {
    let fixture = listening(ROOMY).await;
    let capture = example();
    let mut done = 0;
    let to = destination(&fixture.listeners, SECRET);
    let sent = replay(&capture, &to, |lines| done = lines).await.unwrap();
    assert_eq!(sent, Sent { webhooks: 18, events: 96, stats: 6, node_rooms: 0, ..Sent::default() });
    assert_eq!(done, 120);
    let items = |source: Source, field: &str| {
        let lines = capture.lines.iter().filter(|line| line.source == source);
        lines.map(|line| line.message()[field].as_array().unwrap().len() as u64).sum::<u64>()
    };
    assert_eq!(row(&fixture.ledger, Source::Webhook).accepted, 18);
    let events = items(Source::Events, "events");
    assert_eq!(row(&fixture.ledger, Source::Events).accepted, events);
    let stats = items(Source::Stats, "stats");
    assert_eq!(row(&fixture.ledger, Source::Stats).accepted, stats);
}

#[tokio::test]
async fn a_refused_webhook_ends_the_replay_with_its_line() {
    let fixture = listening(ROOMY).await;
    let to = destination(&fixture.listeners, "another-made-up-secret-of-some-length");
    let error = replay(&example(), &to, |_| ()).await.unwrap_err();
    let expected = format!(
        "line 5: {} (http) answered a webhook with 401 Unauthorized: are LIVEKIT_API_KEY and \
         LIVEKIT_API_SECRET those of the server, and do the clocks agree?",
        fixture.listeners.http
    );
    assert_eq!(error.to_string(), expected);
    let unsigned = destination(&fixture.listeners, "");
    assert!(replay(&example(), &unsigned, |_| ()).await.is_err());
}

#[tokio::test]
async fn a_webhook_is_sent_again_to_a_busy_server() {
    let Fixture { listeners, mut reader, ledger } = listening(BODY.len()).await;
    let line = format!(r#"{{"at":1,"kind":"webhook","body":{BODY}}}"#);
    let capture = Capture::parse(format!("{line}\n{line}\n").as_bytes()).unwrap();
    let reading = {
        let ledger = Arc::clone(&ledger);
        async move {
            until(|| refused(&ledger, Source::Webhook, Refused::Busy) == 1).await;
            reader.next_input().await.unwrap();
            reader
        }
    };
    let to = destination(&listeners, SECRET);
    let (sent, _reader) = tokio::join!(replay(&capture, &to, |_| ()), reading);
    assert_eq!(sent.unwrap().webhooks, 2);
    assert_eq!(row(&ledger, Source::Webhook).accepted, 2);
}

#[tokio::test]
async fn a_stream_without_a_message_does_not_delay_the_stop() {
    let Fixture { listeners, mut reader, .. } = listening(ROOMY).await;
    let (_messages, answer) = events(listeners.grpc, false).await;
    let opened = async {
        loop {
            let mut stream = begin_webhook(listeners.http).await;
            stream.write_all(BODY.as_bytes()).await.unwrap();
            if reader.next_input().await.unwrap().twin_expected {
                return;
            }
        }
    };
    timeout(SOON, opened).await.unwrap();
    timeout(SOON, listeners.stop(Instant::now() + LONG)).await.unwrap();
    // More may be on the way: it is not acknowledged.
    assert_eq!(answer.await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
}
