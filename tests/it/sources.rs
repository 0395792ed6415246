//! The listeners over real sockets: what is accepted, what is refused, and how each is counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use livekit_otel::source::Shared;
use livekit_otel::source::listen::{self, Listeners};
use livekit_otel_durable::journal::{self, DeadLetters, Reader};
use livekit_otel_ledger::{Ledger, Refused, Snapshot};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::Source;
use livekit_otel_model::event::Decoded;
use livekit_token::AccessToken;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const KEY: &str = "devkey";
const SECRET: &str = "made-up-secret-of-thirty-two-characters";
const BODY: &str = r#"{"event":"room_started","id":"EV_1","room":{"sid":"RM_1"}}"#;

struct Fixture {
    listeners: Listeners,
    reader: Reader,
    ledger: Arc<Ledger>,
}

async fn listening(journal_bytes: usize, dead_letter_bytes: u64) -> Fixture {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let settings = listen::Settings::plain(any, any, 1000, 1000);
    let mut keys = Keys::default();
    keys.insert(KEY, SECRET);
    keys.insert("second", "another-made-up-secret-of-some-length");
    let ledger = Arc::new(Ledger::default());
    let (journal, reader) = journal::in_memory(journal_bytes, &ledger);
    let dead_letters = Arc::new(DeadLetters::in_memory(dead_letter_bytes));
    let shared = Shared {
        keys: keys.into(),
        journal,
        ledger: Arc::clone(&ledger),
        dead_letters,
        reader: Arc::default(),
    };
    let listeners = listen::bind(&settings, shared).await.unwrap();
    Fixture { listeners, reader, ledger }
}

impl Fixture {
    fn refused(&self, source: Source, why: Refused) -> u64 {
        let row = row(&self.ledger.snapshot(), source);
        row.refused.iter().find(|(reason, _)| *reason == why).unwrap().1
    }
}

fn row(snapshot: &Snapshot, source: Source) -> livekit_otel_ledger::Input {
    snapshot.inputs.iter().find(|row| row.source == source).unwrap().clone()
}

fn token(body: &str, key: &str, secret: &str) -> AccessToken {
    AccessToken::with_api_key(key, secret).with_sha256(&STANDARD.encode(Sha256::digest(body)))
}

fn signed(body: &str) -> String {
    token(body, KEY, SECRET).to_jwt().unwrap()
}

/// Posts a body as it is and returns the whole answer.
async fn post(to: SocketAddr, authorization: Option<&str>, body: &str) -> String {
    let authorization =
        authorization.map_or(String::new(), |token| format!("Authorization: {token}\r\n"));
    let length = body.len();
    raw(to, &format!("{authorization}Content-Length: {length}\r\n\r\n{body}")).await
}

/// Posts headers and body as they are.
async fn raw(to: SocketAddr, rest: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = "POST /webhook HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
    stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_signed_webhook_is_accepted_with_each_key() {
    let mut fixture = listening(10_000, 0).await;
    let second = "another-made-up-secret-of-some-length";
    let other = token(BODY, "second", second).to_jwt().unwrap();
    let bearer = format!("Bearer {}", signed(BODY));
    for token in [signed(BODY), other, bearer] {
        assert_eq!(status(&post(fixture.listeners.http, Some(&token), BODY).await), 200);
        let Decoded::Events(events) = fixture.reader.next_input().await.unwrap().decoded.unwrap()
        else {
            panic!("events")
        };
        assert_eq!(&*events[0].id, "EV_1");
    }
    assert_eq!(row(&fixture.ledger.snapshot(), Source::Webhook).accepted, 3);
}

#[tokio::test]
async fn a_webhook_not_signed_by_a_known_key_is_refused() {
    let fixture = listening(10_000, 1000).await;
    let http = fixture.listeners.http;
    let wrong_secret = token(BODY, KEY, "a-wrong-secret-of-some-length-too").to_jwt().unwrap();
    let unknown_key = token(BODY, "nokey", SECRET).to_jwt().unwrap();
    let other_body = signed("{}");
    let no_hash = AccessToken::with_api_key(KEY, SECRET).to_jwt().unwrap();
    let unsigned = {
        let token = signed(BODY);
        let (head, _) = token.rsplit_once('.').unwrap();
        format!("{head}.")
    };
    let cases = [
        ("nothing", None),
        ("no token", Some("hello".to_owned())),
        ("unsigned", Some(unsigned)),
        ("wrong secret", Some(wrong_secret)),
        ("unknown key", Some(unknown_key)),
        ("another body", Some(other_body)),
        ("no hash", Some(no_hash)),
        ("expired", Some(expired())),
    ];
    let count = cases.len() as u64;
    for (what, token) in cases {
        let answer = post(http, token.as_deref(), BODY).await;
        assert_eq!(status(&answer), 401, "{what}");
        assert!(!answer.contains(SECRET), "{what}");
    }
    let row = row(&fixture.ledger.snapshot(), Source::Webhook);
    assert_eq!(crate::abuse::tokens::unauthorized(&row), count);
    assert_eq!(row.accepted, 0);
}

// A token that expired an hour ago; AccessToken can't make one.
fn expired() -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hash = STANDARD.encode(Sha256::digest(BODY));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = serde_json::json!({
        "iss": KEY, "sha256": hash, "nbf": now - 7200, "exp": now - 3600,
    });
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(hmac_sha256(SECRET.as_bytes(), signed.as_bytes()))
    )
}

// RFC 2104.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

#[test]
fn the_expired_token_is_refused_only_for_its_time() {
    use livekit_token::TokenVerifier;
    let error = TokenVerifier::with_api_key(KEY, SECRET).verify(&expired()).unwrap_err();
    assert!(format!("{error:?}").contains("ExpiredSignature"), "{error:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_length_without_reading_it() {
    let fixture = listening(10_000, 0).await;
    let token = signed(BODY);
    // The body is never sent: an answer shows that the server does not wait for it.
    let rest = format!("Authorization: {token}\r\nContent-Length: 5000\r\n\r\n");
    assert_eq!(status(&raw(fixture.listeners.http, &rest).await), 413);
    assert_eq!(fixture.refused(Source::Webhook, Refused::TooLarge), 1);
}

#[tokio::test]
async fn a_body_without_a_length_is_read_up_to_the_limit() {
    let fixture = listening(10_000, 0).await;
    let token = signed(BODY);
    // One chunk of 2,000 bytes is begun; the rest is never sent.
    let chunk = "x".repeat(1500);
    let rest =
        format!("Authorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{chunk}");
    assert_eq!(status(&raw(fixture.listeners.http, &rest).await), 413);
    assert_eq!(fixture.refused(Source::Webhook, Refused::TooLarge), 1);
}

#[tokio::test]
async fn a_signed_unreadable_body_is_kept_and_answered_200() {
    let mut fixture = listening(10_000, 1000).await;
    let body = "not json";
    assert_eq!(status(&post(fixture.listeners.http, Some(&signed(body)), body).await), 200);
    assert_eq!(row(&fixture.ledger.snapshot(), Source::Webhook).accepted, 1);
    let input = fixture.reader.next_input().await.unwrap();
    assert_eq!((input.decoded, &*input.raw), (None, body.as_bytes()));
}

#[tokio::test]
async fn an_unreadable_body_is_answered_503_if_dead_letters_are_full() {
    let fixture = listening(10_000, 3).await;
    let body = "not json";
    let answer = post(fixture.listeners.http, Some(&signed(body)), body).await;
    assert_eq!(status(&answer), 503);
    assert_eq!(row(&fixture.ledger.snapshot(), Source::Webhook).accepted, 0);
}

#[tokio::test]
async fn a_full_journal_makes_the_sender_retry() {
    let mut fixture = listening(BODY.len(), 0).await;
    let http = fixture.listeners.http;
    let token = signed(BODY);
    assert_eq!(status(&post(http, Some(&token), BODY).await), 200);
    let answer = post(http, Some(&token), BODY).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    assert_eq!(fixture.refused(Source::Webhook, Refused::Busy), 1);
    fixture.reader.next_input().await.unwrap();
    assert_eq!(status(&post(http, Some(&token), BODY).await), 200);
}

#[tokio::test]
async fn unknown_names_of_a_newer_server_are_accepted_and_counted() {
    let fixture = listening(10_000, 0).await;
    let body =
        r#"{"event":"room_upgraded","novelty":1,"participant":{"sid":"PA_1","kind":"ROBOT"}}"#;
    assert_eq!(status(&post(fixture.listeners.http, Some(&signed(body)), body).await), 200);
    let unknown = fixture.ledger.snapshot().unknown;
    assert_eq!((unknown.event_types, unknown.enum_values, unknown.fields), (1, 1, 1));
}

#[tokio::test]
async fn health_and_readiness_answer() {
    let fixture = listening(10_000, 0).await;
    for path in ["/healthz", "/readyz"] {
        let mut stream = TcpStream::connect(fixture.listeners.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), 200, "{path}");
    }
}

mod streams {
    use bytes::Bytes;
    use livekit_otel_transport::frames::RawCodec;
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::transport::{Channel, Endpoint};
    use tonic::{Code, Status};

    use super::*;

    type Answer = JoinHandle<Result<Bytes, Status>>;

    async fn channel(to: SocketAddr) -> Channel {
        Endpoint::from_shared(format!("http://{to}")).unwrap().connect().await.unwrap()
    }

    fn open(channel: &Channel, method: &'static str) -> (mpsc::Sender<Bytes>, Answer) {
        let (messages, outgoing) = mpsc::channel(8);
        let channel = channel.clone();
        let answer = tokio::spawn(async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static(method);
            let request = tonic::Request::new(ReceiverStream::new(outgoing));
            grpc.client_streaming(request, path, RawCodec).await.map(tonic::Response::into_inner)
        });
        (messages, answer)
    }

    const EVENTS: &str = "/livekit.AnalyticsRecorderService/IngestEvents";
    const STATS: &str = "/livekit.AnalyticsRecorderService/IngestStats";
    const NODE_ROOMS: &str = "/livekit.AnalyticsRecorderService/IngestNodeRoomStates";

    // AnalyticsEvents { events: [ { room_id: "RM_1" } ] }
    fn an_event() -> Bytes {
        Bytes::from_static(b"\x0a\x06\x1a\x04RM_1")
    }

    #[tokio::test]
    async fn each_stream_is_acknowledged_when_it_is_closed() {
        let mut fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        for (method, message) in
            [(EVENTS, an_event()), (STATS, Bytes::new()), (NODE_ROOMS, Bytes::new())]
        {
            let (messages, answer) = open(&channel, method);
            messages.send(message).await.unwrap();
            drop(messages);
            assert_eq!(answer.await.unwrap().unwrap(), Bytes::new());
            fixture.reader.next_input().await.unwrap();
        }
        assert_eq!(row(&fixture.ledger.snapshot(), Source::Events).accepted, 1);
    }

    #[tokio::test]
    async fn a_malformed_message_ends_its_stream_and_no_other() {
        let mut fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let (good, good_answer) = open(&channel, EVENTS);
        let (bad, bad_answer) = open(&channel, EVENTS);
        bad.send(an_event()).await.unwrap();
        bad.send(Bytes::from_static(&[0xff; 9])).await.unwrap();
        let status = bad_answer.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(fixture.refused(Source::Events, Refused::Malformed), 1);
        good.send(an_event()).await.unwrap();
        drop(good);
        assert!(good_answer.await.unwrap().is_ok());
        for _ in 0..2 {
            fixture.reader.next_input().await.unwrap();
        }
        assert_eq!(row(&fixture.ledger.snapshot(), Source::Events).accepted, 2);
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_its_stream_and_is_counted() {
        let fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let (messages, answer) = open(&channel, STATS);
        messages.send(Bytes::from(vec![0; 5000])).await.unwrap();
        assert!(answer.await.unwrap().is_err());
        assert_eq!(fixture.refused(Source::Stats, Refused::TooLarge), 1);
    }

    #[tokio::test]
    async fn fields_of_a_newer_server_are_counted() {
        let mut fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let (messages, answer) = open(&channel, EVENTS);
        // Field 1000 of AnalyticsEvents, a varint.
        messages.send(Bytes::from_static(b"\xc0\x3e\x01")).await.unwrap();
        drop(messages);
        answer.await.unwrap().unwrap();
        fixture.reader.next_input().await.unwrap();
        assert_eq!(fixture.ledger.snapshot().unknown.fields, 1);
    }

    #[tokio::test]
    async fn a_webhook_expects_its_twin_while_an_event_stream_is_open() {
        let mut fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let http = fixture.listeners.http;
        let (messages, answer) = open(&channel, EVENTS);
        messages.send(an_event()).await.unwrap();
        fixture.reader.next_input().await.unwrap();
        post(http, Some(&signed(BODY)), BODY).await;
        assert!(fixture.reader.next_input().await.unwrap().twin_expected);
        drop(messages);
        answer.await.unwrap().unwrap();
        post(http, Some(&signed(BODY)), BODY).await;
        assert!(!fixture.reader.next_input().await.unwrap().twin_expected);
    }

    #[tokio::test]
    async fn a_shutdown_reads_open_streams_and_releases_the_journal() {
        let mut fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let (messages, answer) = open(&channel, EVENTS);
        messages.send(an_event()).await.unwrap();
        fixture.reader.next_input().await.unwrap();
        // An idle connection must not delay the shutdown.
        let _idle = TcpStream::connect(fixture.listeners.http).await.unwrap();
        fixture.listeners.stop(Instant::now() + Duration::from_mins(1)).await;
        // The client has not closed its stream: more may be on the way, so it receives no Empty.
        assert_eq!(answer.await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(fixture.reader.next().await.is_none());
    }

    #[tokio::test]
    async fn an_unknown_method_is_unimplemented() {
        let fixture = listening(10_000, 0).await;
        let channel = channel(fixture.listeners.grpc).await;
        let (_messages, answer) =
            open(&channel, "/livekit.AnalyticsRecorderService/IngestProjectReport");
        assert_eq!(answer.await.unwrap().unwrap_err().code(), Code::Unimplemented);
    }
}
