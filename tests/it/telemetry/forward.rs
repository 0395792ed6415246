//! The forwarder, to the server's listener and to a recorder whose streams fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use livekit_otel::source::Shared;
use livekit_otel::source::listen::{self, Listeners};
use livekit_otel_durable::journal::{self, DeadLetters, Reader};
use livekit_otel_ledger::Ledger;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::Source;
use livekit_otel_model::event::Decoded;
use livekit_otel_telemetry::messages::{
    AnalyticsEvent, AnalyticsEvents, AnalyticsNodeRooms, AnalyticsStat, AnalyticsStats,
};
use livekit_otel_telemetry::{
    AnalyticsForwarder, AnalyticsService, ForwardError, ForwardSettings, Forwarded, TokenError,
    Tokens,
};
use livekit_otel_transport::frames::RawCodec;
use proptest::prelude::*;
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{ClientStreamingService, Grpc};
use tonic::{Request, Response, Status, Streaming};

use crate::logged::Log;
use crate::port::unused_address;

async fn listening(grpc: SocketAddr) -> (Listeners, Reader) {
    let ledger = Arc::new(Ledger::default());
    let (journal, reader) = journal::in_memory(1 << 20, &ledger);
    let dead_letters = Arc::new(DeadLetters::in_memory(1000));
    let settings = listen::Settings::plain("127.0.0.1:0".parse().unwrap(), grpc, 1000, 1000);
    let shared = Shared {
        keys: Keys::default().into(),
        journal,
        ledger,
        dead_letters,
        reader: Arc::default(),
    };
    (listen::bind(&settings, shared).await.unwrap(), reader)
}

fn settings(to: SocketAddr) -> ForwardSettings {
    let settings = ForwardSettings::to(&format!("http://{to}")).unwrap();
    settings.node_id("ND_1").interval(Duration::from_millis(20))
}

fn event(nth: usize) -> AnalyticsEvent {
    AnalyticsEvent { id: format!("AE_{nth}"), ..AnalyticsEvent::default() }
}

fn of(forwarder: &AnalyticsForwarder, kind: Source) -> Forwarded {
    forwarder.counts(kind)
}

// Accepted, acknowledged, dropped and waiting.
fn all(counts: Forwarded) -> [u64; 4] {
    [counts.accepted, counts.acknowledged, counts.dropped, counts.waiting]
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

async fn until(what: impl Fn() -> bool) {
    let deadline = soon();
    while !what() {
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn forwarded_messages_arrive_stamped_and_in_order() {
    let (listeners, mut reader) = listening("127.0.0.1:0".parse().unwrap()).await;
    let forwarder = AnalyticsForwarder::start(settings(listeners.grpc)).unwrap();
    for nth in 0..3 {
        forwarder.send_event(event(nth));
    }
    forwarder.send_event(AnalyticsEvent::default());
    let stat = AnalyticsStat {
        room_id: "RM_1".into(),
        participant_id: "PA_1".into(),
        track_id: "TR_1".into(),
        ..AnalyticsStat::default()
    };
    forwarder.send_stats(vec![stat]);
    forwarder.send_node_room_states(AnalyticsNodeRooms::default());
    assert_eq!(forwarder.shutdown(soon()).await, 0);
    let mut ids = Vec::new();
    for _ in 0..6 {
        match reader.next_input().await.unwrap().decoded.unwrap() {
            Decoded::Events(events) => {
                assert_eq!(events[0].node.as_ref().unwrap().as_str(), "ND_1");
                ids.push(events[0].id.to_string());
            }
            Decoded::Stats(stats) => {
                assert!(stats[0].id.starts_with("AS_"), "{}", stats[0].id);
                assert_eq!(stats[0].node.as_ref().unwrap().as_str(), "ND_1");
            }
            Decoded::Rooms(rooms) => {
                assert_eq!(rooms.event.unwrap().node.unwrap().as_str(), "ND_1");
            }
            Decoded::Answer(_) | Decoded::Upload(_) => panic!("not from a forwarder"),
        }
    }
    ids.retain(|id| !id.is_empty());
    assert_eq!(ids[..3], ["AE_0", "AE_1", "AE_2"]);
    assert!(ids[3].starts_with("AE_") && ids[3].len() == 15, "{}", ids[3]);
    assert_eq!(all(of(&forwarder, Source::Events)), [4, 4, 0, 0]);
}

#[tokio::test]
async fn a_stream_ends_after_its_interval_or_its_most_messages() {
    let (recorder, address) = Recorder::start("127.0.0.1:0", []).await;
    let quick = AnalyticsForwarder::start(settings(address)).unwrap();
    quick.send_event(event(0));
    until(|| of(&quick, Source::Events).acknowledged == 1).await;
    let by_number = settings(address).interval(Duration::from_hours(1)).max_messages(5);
    let by_number = AnalyticsForwarder::start(by_number).unwrap();
    for nth in 1..=11 {
        by_number.send_event(event(nth));
    }
    until(|| of(&by_number, Source::Events).acknowledged == 10).await;
    assert_eq!(of(&by_number, Source::Events).waiting, 1, "its stream is not full");
    assert_eq!(by_number.shutdown(soon()).await, 0);
    let streams: Vec<_> = recorder.streams().iter().map(Vec::len).collect();
    assert_eq!(streams, [1, 5, 5, 1]);
}

#[tokio::test]
async fn a_late_receiver_gets_all_messages() {
    let address = unused_address();
    let forwarder = AnalyticsForwarder::start(settings(address)).unwrap();
    forwarder.send_event(event(0));
    forwarder.send_event(event(1));
    // Its first attempt finds no listener.
    tokio::task::yield_now().await;
    assert_eq!(of(&forwarder, Source::Events).waiting, 2);
    let (_listeners, mut reader) = listening(address).await;
    for nth in 0..2 {
        let Decoded::Events(events) = reader.next_input().await.unwrap().decoded.unwrap() else {
            panic!()
        };
        assert_eq!(*events[0].id, *format!("AE_{nth}"));
    }
    until(|| of(&forwarder, Source::Events).acknowledged == 2).await;
}

#[tokio::test]
async fn a_receiver_that_is_away_is_one_line_with_its_likely_reason() {
    let (log, _logging) = Log::start();
    let address = unused_address();
    let forwarder = AnalyticsForwarder::start(settings(address)).unwrap();
    forwarder.send_event(event(0));
    until(|| forwarder.retried(Source::Events).messages > 2).await;
    let (_listeners, _reader) = listening(address).await;
    until(|| of(&forwarder, Source::Events).acknowledged == 1).await;
    let [away] = &log.lines("does not acknowledge")[..] else { panic!("{}", log.text()) };
    assert!(away.contains(&format!("receiver=\"{address}\"")), "{away}");
    assert!(away.contains(&format!("hint=\"Nothing listens at {address}.")), "{away}");
    assert!(away.contains("waiting=1"), "{away}");
    // The shutdown logs the recovery, which otherwise has to last for 5 seconds.
    assert_eq!(forwarder.shutdown(soon()).await, 0);
    assert_eq!(log.lines("is back").len(), 1, "{}", log.text());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_dropped_and_the_rest_is_sent() {
    let (listeners, mut reader) = listening("127.0.0.1:0".parse().unwrap()).await;
    let forwarder = AnalyticsForwarder::start(settings(listeners.grpc)).unwrap();
    forwarder.send_event(event(0));
    forwarder.send_event(AnalyticsEvent { error: "x".repeat(2000), ..event(1) });
    forwarder.send_event(event(2));
    until(|| of(&forwarder, Source::Events).waiting == 0).await;
    assert_eq!(all(of(&forwarder, Source::Events)), [3, 2, 1, 0]);
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 2 {
        let Decoded::Events(events) = reader.next_input().await.unwrap().decoded.unwrap() else {
            panic!()
        };
        ids.insert(events[0].id.to_string());
    }
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["AE_0", "AE_2"]);
}

#[tokio::test]
async fn an_acknowledgement_counts_however_large_it_is() {
    let (recorder, address) = Recorder::start("127.0.0.1:0", []).await;
    recorder.answer_bytes.store(5 << 20, Relaxed);
    let forwarder = AnalyticsForwarder::start(settings(address)).unwrap();
    for nth in 0..3 {
        forwarder.send_event(event(nth));
    }
    assert_eq!(forwarder.shutdown(soon()).await, 0);
    assert_eq!(all(of(&forwarder, Source::Events)), [3, 3, 0, 0]);
    assert_eq!(recorder.streams().concat(), ["AE_0", "AE_1", "AE_2"]);
}

#[tokio::test]
async fn messages_beyond_the_buffer_are_dropped_and_the_shutdown_counts_the_rest() {
    let small = settings(unused_address()).max_bytes(100);
    let forwarder = AnalyticsForwarder::start(small).unwrap();
    for nth in 0..100 {
        forwarder.send_event(event(nth));
    }
    let counts = of(&forwarder, Source::Events);
    assert!(counts.waiting > 0 && counts.dropped > 0);
    assert_eq!(counts.accepted, counts.acknowledged + counts.dropped + counts.waiting);
    let end = forwarder.shutdown(Instant::now() + Duration::from_millis(50));
    let left = tokio::time::timeout_at(soon(), end).await.expect("it ends at its deadline");
    assert_eq!(left, counts.waiting);
    forwarder.send_event(event(100));
    assert_eq!(of(&forwarder, Source::Events).dropped, counts.dropped + 1, "it takes no more");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    for endpoint in ["ftp://127.0.0.1:1", "127.0.0.1:1", "http:///"] {
        let refused = ForwardSettings::to(endpoint);
        assert!(matches!(refused, Err(ForwardError::Endpoint(_))), "{endpoint}");
    }
    assert!(matches!(Tokens::fixed("a\nb"), Err(TokenError::Characters)));
    for (key, secret) in [("", "secret"), ("key", "")] {
        assert!(matches!(Tokens::minted(key, secret), Err(TokenError::NoKey)));
    }
    let hush = Tokens::minted("key", "hush").unwrap();
    let secret = ForwardSettings::to("http://127.0.0.1:1").unwrap().tokens(hush);
    assert!(!format!("{secret:?}").contains("hush"));
    let forwarder = AnalyticsForwarder::start(secret).unwrap();
    assert!(!format!("{forwarder:?}").contains("hush"));
}

#[tokio::test]
async fn waiting_for_capacity_ends_with_an_acknowledgement() {
    let address = unused_address();
    let forwarder = AnalyticsForwarder::start(settings(address)).unwrap();
    forwarder.wait_for_capacity(Source::Events, 1).await;
    forwarder.send_event(event(1));
    let mut room = std::pin::pin!(forwarder.wait_for_capacity(Source::Events, 1));
    let none = tokio::time::timeout(Duration::from_millis(50), &mut room).await;
    assert!(none.is_err(), "there is room for a second one");
    forwarder.wait_for_capacity(Source::Stats, 1).await;
    until(|| forwarder.retried(Source::Events).messages > 0).await;
    assert_eq!(
        forwarder.retried(Source::Events).last,
        Some(tonic::Code::Unavailable.description())
    );
    let (_listeners, _reader) = listening(address).await;
    tokio::time::timeout_at(soon(), room).await.unwrap();
    assert_eq!(of(&forwarder, Source::Events).acknowledged, 1);
}

#[tokio::test]
async fn each_stream_has_its_own_token() {
    let (recorder, address) = Recorder::start("127.0.0.1:0", []).await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let next = move || Ok::<_, TokenError>(format!("made-up-{}", count.fetch_add(1, Relaxed)));
    let tokens = Some(Tokens::from_fn(next));
    let with_tokens = settings(address).tokens(tokens).max_messages(1);
    let forwarder = AnalyticsForwarder::start(with_tokens).unwrap();
    for nth in 0..3 {
        forwarder.send_event(event(nth));
    }
    assert_eq!(forwarder.shutdown(soon()).await, 0);
    let sent = recorder.tokens.lock().unwrap().clone();
    assert_eq!(sent, ["Bearer made-up-0", "Bearer made-up-1", "Bearer made-up-2"]);
}

#[tokio::test]
async fn a_fixed_token_is_used_for_each_stream() {
    let (recorder, address) = Recorder::start("127.0.0.1:0", []).await;
    let tokens = Some(Tokens::fixed("made-up").unwrap());
    let with_tokens = settings(address).tokens(tokens).max_messages(1);
    let forwarder = AnalyticsForwarder::start(with_tokens).unwrap();
    forwarder.send_event(event(0));
    forwarder.send_event(event(1));
    assert_eq!(forwarder.shutdown(soon()).await, 0);
    assert_eq!(*recorder.tokens.lock().unwrap(), ["Bearer made-up", "Bearer made-up"]);
}

#[tokio::test]
async fn messages_wait_until_there_is_a_token() {
    let (recorder, address) = Recorder::start("127.0.0.1:0", []).await;
    let there_is_one = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&there_is_one);
    let tokens = Tokens::from_fn(move || {
        if flag.load(Relaxed) { Ok("made-up".to_owned()) } else { Err("the vault is closed") }
    });
    let with_tokens = settings(address).tokens(tokens);
    let forwarder = AnalyticsForwarder::start(with_tokens).unwrap();
    forwarder.send_event(event(0));
    let last = || forwarder.retried(Source::Events).last;
    until(|| last() == Some(tonic::Code::Unauthenticated.description())).await;
    assert_eq!(of(&forwarder, Source::Events).waiting, 1);
    assert!(recorder.streams().is_empty());
    there_is_one.store(true, Relaxed);
    until(|| of(&forwarder, Source::Events).acknowledged == 1).await;
    assert_eq!(*recorder.tokens.lock().unwrap(), ["Bearer made-up"]);
}

// Fails the nth stream after this many messages; streams without a number succeed.
#[derive(Clone, Default)]
struct Recorder {
    breaks: Arc<Mutex<VecDeque<usize>>>,
    streams: Arc<Mutex<Vec<Vec<String>>>>,
    tokens: Arc<Mutex<Vec<String>>>,
    // The size of an acknowledgement.
    answer_bytes: Arc<AtomicUsize>,
}

impl Recorder {
    async fn start(address: &str, breaks: impl IntoIterator<Item = usize>) -> (Self, SocketAddr) {
        let recorder =
            Self { breaks: Arc::new(Mutex::new(breaks.into_iter().collect())), ..Self::default() };
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = recorder.clone();
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { return };
                let service = hyper_util::service::TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let http = hyper_util::server::conn::auto::Builder::new(executor);
                    let connection = hyper_util::rt::TokioIo::new(connection);
                    drop(http.serve_connection(connection, service).await);
                });
            }
        });
        (recorder, address)
    }

    fn streams(&self) -> Vec<Vec<String>> {
        self.streams.lock().unwrap().clone()
    }
}

impl Service<http::Request<hyper::body::Incoming>> for Recorder {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        let ingest = Ingest(self.clone());
        Box::pin(async move { Ok(Grpc::new(RawCodec).client_streaming(ingest, request).await) })
    }
}

struct Ingest(Recorder);

impl ClientStreamingService<Bytes> for Ingest {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let recorder = self.0.clone();
        if let Some(token) = request.metadata().get("authorization") {
            recorder.tokens.lock().unwrap().push(token.to_str().unwrap().to_owned());
        }
        let nth = {
            let mut streams = recorder.streams.lock().unwrap();
            streams.push(Vec::new());
            streams.len() - 1
        };
        Box::pin(async move {
            let breaks_after = recorder.breaks.lock().unwrap().pop_front();
            let mut stream = request.into_inner();
            let mut read = 0;
            loop {
                if breaks_after == Some(read) {
                    return Err(Status::internal("on purpose"));
                }
                let Some(message) = stream.message().await? else {
                    let answer = vec![0; recorder.answer_bytes.load(Relaxed)];
                    return Ok(Response::new(answer.into()));
                };
                read += 1;
                recorder.streams.lock().unwrap()[nth].push(id_of(message));
            }
        })
    }
}

fn id_of(message: Bytes) -> String {
    let events = AnalyticsEvents::decode(message.clone()).map(|message| message.events);
    match events.unwrap_or_default().first() {
        Some(event) => event.id.clone(),
        None => AnalyticsStats::decode(message).unwrap().stats[0].id.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_that_break_anywhere_lose_nothing_and_keep_the_order(
        breaks in prop::collection::vec(0..12_usize, 0..4),
        messages in 1..40_usize,
        max_messages in 1..10_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (recorder, address) = Recorder::start("127.0.0.1:0", breaks).await;
            let settings = settings(address).max_messages(max_messages);
            let forwarder = AnalyticsForwarder::start(settings).unwrap();
            for nth in 0..messages {
                forwarder.send_event(event(nth));
            }
            assert_eq!(forwarder.shutdown(soon()).await, 0);
            let mut first = Vec::new();
            for id in recorder.streams().into_iter().flatten() {
                if !first.contains(&id) {
                    first.push(id);
                }
            }
            let expected: Vec<_> = (0..messages).map(|nth| format!("AE_{nth}")).collect();
            assert_eq!(first, expected);
            let messages = messages as u64;
            assert_eq!(all(of(&forwarder, Source::Events)), [messages, messages, 0, 0]);
        });
    }
}
