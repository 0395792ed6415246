//! The ledger balances whatever senders and the disk do: no more is processed than was accepted.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use livekit_otel::serve::Server;
use livekit_otel_durable::journal::{self, Entry, Settings};
use livekit_otel_durable::store::directory::OpenError;
use livekit_otel_durable::store::{Directory, Disk, Files};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};
use livekit_otel_tools::demo::Collector;
use livekit_otel_transport::frames::RawCodec;
use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::durable::{durable, post, short_of_space, signed, webhook};
use crate::port::unused_address;
use crate::serve::stop;

// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

// A disk whose syncs wait while it is shut.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
    fails: AtomicBool,
}

impl Gate {
    fn shut(&self, shut: bool) {
        *self.is_shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl Disk for Gate {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        Files.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.waiting.fetch_add(1, SeqCst);
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
        self.waiting.fetch_sub(1, SeqCst);
        if self.fails.load(SeqCst) { Err(io::Error::other("EIO")) } else { Files.sync(file) }
    }
}

async fn until(mut what: impl FnMut() -> bool) {
    let condition = async move {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, condition).await.expect("the condition is not met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_sender_hangs_up_while_it_is_synced_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let gate = Arc::new(Gate::default());
    let config = durable(&collector.endpoint(), directory.path(), Arc::<Gate>::clone(&gate));
    let server = Server::start(config).await.unwrap();
    gate.shut(true);
    let mut stream = TcpStream::connect(server.http()).await.unwrap();
    stream.write_all(signed(&webhook(1)).as_bytes()).await.unwrap();
    until(|| gate.waiting.load(SeqCst) > 0).await;
    drop(stream);
    // Meanwhile the server reads the end of the connection.
    for _ in 0..20 {
        let mut other = TcpStream::connect(server.http()).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        other.write_all(request).await.unwrap();
        other.read_to_end(&mut Vec::new()).await.unwrap();
    }
    gate.shut(false);
    until(|| server.ledger().inputs[0].processed == 1).await;
    let input = server.ledger().inputs[0].clone();
    assert_eq!((input.accepted, input.processed), (1, 1));
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_in_use_for_as_long_as_its_journal_is_written() {
    let place = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = Arc::<Gate>::clone(&gate);
    let directory = Arc::new(Directory::open(place.path(), disk).unwrap());
    let settings = Settings { max_bytes: 1 << 20, sync: Duration::ZERO, snapshot: 64 << 10 };
    let opened = journal::open(
        &directory,
        1,
        settings,
        journal::Read::new(|_, _| (None, 0, 0)),
        &Arc::default(),
    );
    let opened = opened.unwrap();
    gate.shut(true);
    opened.journal.ticker().post(Entry::Tick(Time::from_secs(1).unwrap()));
    until(|| gate.waiting.load(SeqCst) > 0).await;
    // Everything but the writer thread, as when a server is dropped.
    drop((opened, directory));
    let open = || Directory::open(place.path(), Arc::new(Files));
    assert!(matches!(open(), Err(OpenError::InUse(_))));
    gate.shut(false);
    until(|| open().is_ok()).await;
}

// A stream of events that are sent as fast as they are accepted, until it is cut off.
async fn flooding(grpc: SocketAddr, id: usize) {
    let channel: Channel =
        Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap();
    let messages = tokio_stream::iter((0..).map(move |nth| {
        let event =
            json!({"id": format!("AE_{id}_{nth}"), "roomId": "RM_1", "type": "ROOM_CREATED"});
        Bytes::from(livekit::encode_capture("events", &json!({"events": [event]})).unwrap())
    }));
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/livekit.AnalyticsRecorderService/IngestEvents");
    let _ = grpc.client_streaming(tonic::Request::new(messages), path, RawCodec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_hang_up_at_the_high_water_mark_leave_the_ledger_balanced() {
    let directory = tempfile::tempdir().unwrap();
    let away = unused_address();
    let server = Server::start(short_of_space(away, directory.path())).await.unwrap();
    let floods: Vec<_> = (0..4).map(|id| tokio::spawn(flooding(server.grpc(), id))).collect();
    let events = || server.ledger().inputs[Source::Events as usize].clone();
    // Until nothing more is read: the streams wait for capacity.
    let mut before = 0;
    until(|| {
        let accepted = events().accepted;
        assert_eq!(server.ledger().check(), Ok(()));
        accepted > 100 && std::mem::replace(&mut before, accepted) == accepted
    })
    .await;
    for flood in floods {
        flood.abort();
    }
    let collector = Collector::start_on(away).await.unwrap();
    until(|| {
        assert_eq!(server.ledger().check(), Ok(()));
        let logs = server.ledger().outputs[Signal::Logs as usize].clone();
        events().waiting() == 0 && logs.waiting() == 0
    })
    .await;
    let report = stop(server).await;
    assert_eq!(report.ledger.inputs[Source::Events as usize].waiting(), 0);
    drop(collector);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A webhook, answered 200.
    Accepted,
    /// One that can't be read: it becomes a dead letter.
    Unreadable,
    /// One whose sender hangs up before it is synced.
    HangUp,
    /// One that the disk refuses.
    Busy,
    /// The process ends between two instructions, and another begins.
    Crash,
    /// It shuts down, and another begins.
    Restart,
}

struct Life {
    runtime: Runtime,
    server: Option<Server>,
    gate: Arc<Gate>,
}

impl Life {
    fn start(collector: &str, directory: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        let gate = Arc::new(Gate::default());
        let began = std::time::Instant::now();
        // The previous server may still hold the directory.
        let server = loop {
            let config = durable(collector, directory, Arc::<Gate>::clone(&gate));
            match runtime.block_on(Server::start(config)) {
                Ok(server) => break server,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::yield_now();
        };
        Self { runtime, server: Some(server), gate }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn crash(mut self) {
        let entered = self.runtime.enter();
        drop(self.server.take());
        drop(entered);
        self.runtime.shutdown_background();
    }

    fn step(&self, step: Step, nth: usize) {
        let (server, gate) = (self.server(), &self.gate);
        self.runtime.block_on(async {
            match step {
                Step::Accepted => assert_eq!(post(server, &webhook(nth)).await.0, 200),
                Step::Unreadable => assert_eq!(post(server, "not json").await.0, 200),
                Step::HangUp => {
                    gate.shut(true);
                    let mut stream = TcpStream::connect(server.http()).await.unwrap();
                    stream.write_all(signed(&webhook(nth)).as_bytes()).await.unwrap();
                    until(|| gate.waiting.load(SeqCst) > 0).await;
                    drop(stream);
                    gate.shut(false);
                }
                Step::Busy => {
                    gate.fails.store(true, SeqCst);
                    assert_eq!(post(server, &webhook(nth)).await.0, 503);
                    gate.fails.store(false, SeqCst);
                }
                Step::Crash | Step::Restart => {}
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_ledger_balances_after_each_step_of_any_history(
        steps in proptest::collection::vec(
            prop_oneof![
                4 => Just(Step::Accepted),
                1 => Just(Step::Unreadable),
                2 => Just(Step::HangUp),
                1 => Just(Step::Busy),
                2 => Just(Step::Crash),
                1 => Just(Step::Restart),
            ],
            1..14,
        ),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let outer = Runtime::new().unwrap();
        let collector = outer.block_on(Collector::start()).unwrap();
        let mut life = Life::start(&collector.endpoint(), directory.path());
        let (mut least, mut most) = (0, 0);
        for (nth, step) in steps.into_iter().enumerate() {
            life.step(step, nth);
            match step {
                Step::Accepted | Step::Unreadable => (least, most) = (least + 1, most + 1),
                Step::HangUp => most += 1,
                Step::Busy => {}
                Step::Crash => {
                    life.crash();
                    life = Life::start(&collector.endpoint(), directory.path());
                }
                Step::Restart => {
                    let server = life.server.take().unwrap();
                    life.runtime.block_on(stop(server));
                    life.crash();
                    life = Life::start(&collector.endpoint(), directory.path());
                }
            }
            prop_assert_eq!(life.server().ledger().check(), Ok(()));
        }
        // Everything acknowledged ends in one column, across all restarts.
        life.runtime.block_on(until(|| {
            let ledger = life.server().ledger();
            assert_eq!(ledger.check(), Ok(()));
            let input = &ledger.inputs[0];
            let settled = input.processed + input.dead_letters;
            settled >= least && input.waiting() == 0 && ledger.outputs[1].waiting() == 0
        }));
        let input = life.server().ledger().inputs[0].clone();
        prop_assert!((least..=most).contains(&input.accepted), "{least} {most} {input:?}");
        let server = life.server.take().unwrap();
        life.runtime.block_on(stop(server));
    }
}
