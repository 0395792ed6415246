//! A collector that is away for a million records.

use std::net::TcpListener;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_otel_livekit as livekit;
use livekit_otel_transport::frames::RawCodec;
use serde_json::json;
use tonic::transport::Endpoint;

use crate::port::reserved_port;
use crate::process::{Process, serve};
use crate::sink;

const RECORDS: usize = 1_000_000;
const A_MESSAGE: usize = 100;
const A_STREAM: usize = 100;

pub fn run() {
    let directory = tempfile::tempdir().unwrap();
    let (http, grpc, collector) = (reserved_port(), reserved_port(), reserved_port());
    let program = Process::start(&mut serve(directory.path(), http, grpc, collector), http);
    println!("{RECORDS} events while the collector is away");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took = Instant::now();
    println!("  {:>9} sent, {:6.0} MB of memory", 0, program.resident());
    runtime.block_on(send(grpc, |sent| {
        println!("  {sent:>9} sent, {:6.0} MB of memory", program.resident());
    }));
    println!("  all acknowledged after {:.1} s", took.elapsed().as_secs_f64());
    let took = Instant::now();
    let records = sink::start(TcpListener::bind(("127.0.0.1", collector)).unwrap());
    let mut highest = 0.0f64;
    while records.load(Relaxed) < RECORDS as u64 {
        assert!(took.elapsed() < Duration::from_mins(3), "{} came", records.load(Relaxed));
        highest = highest.max(program.resident());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    println!(
        "  all delivered {:.1} s after it was back, {:.0} MB of memory at most",
        took.elapsed().as_secs_f64(),
        highest
    );
    assert_eq!(records.load(Relaxed), RECORDS as u64);
}

// In streams, each acknowledged by its end.
async fn send(grpc: u16, mut progress: impl FnMut(usize)) {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut sent = 0;
    while sent < RECORDS {
        let messages: Vec<Bytes> =
            (0..A_STREAM).map(|nth| message(sent + nth * A_MESSAGE)).collect();
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = "/livekit.AnalyticsRecorderService/IngestEvents".parse().unwrap();
        let request = tonic::Request::new(tokio_stream::iter(messages));
        client.client_streaming(request, path, RawCodec).await.unwrap();
        sent += A_STREAM * A_MESSAGE;
        if sent.is_multiple_of(RECORDS / 5) {
            progress(sent);
        }
    }
}

// Mutes in rooms of their own: what is open stays as it is.
fn message(first: usize) -> Bytes {
    let event = |nth: usize| {
        json!({
            "id": format!("AE_{nth}"), "type": "TRACK_MUTED",
            "timestamp": "2026-11-23T04:09:20.5Z", "roomId": format!("RM_{}", nth % 100),
            "participantId": format!("PA_{}", nth % 1000), "trackId": format!("TR_{}", nth % 1000),
        })
    };
    let events: Vec<_> = (first..first + A_MESSAGE).map(event).collect();
    livekit::encode_capture("events", &json!({"events": events})).unwrap().into()
}
