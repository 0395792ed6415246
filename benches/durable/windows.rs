//! Stats windows a second, over streams that are ended, and so acknowledged, every 512 messages.

use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_otel_livekit as livekit;
use livekit_otel_transport::frames::RawCodec;
use serde_json::json;
use tonic::transport::Endpoint;

use crate::port::reserved_port;
use crate::process::{Process, serve};

const A_MESSAGE: usize = 10;
const A_STREAM: usize = 512;
const STREAMS: usize = 60;

pub fn run() {
    let directory = tempfile::tempdir().unwrap();
    let (http, grpc) = (reserved_port(), reserved_port());
    let program = Process::start(&mut serve(directory.path(), http, grpc, 1), http);
    let streams: Vec<Vec<Bytes>> = (0..STREAMS)
        .map(|stream| (0..A_STREAM).map(|nth| message(stream * A_STREAM + nth)).collect())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = program.cpu();
    let began = Instant::now();
    let mut times = runtime.block_on(send(grpc, streams));
    let windows = (STREAMS * A_STREAM * A_MESSAGE) as f64;
    let rate = windows / began.elapsed().as_secs_f64();
    let cpu = (program.cpu() - before) * 1e6 / windows;
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "stats windows, {A_MESSAGE} a message, {A_STREAM} messages a stream, one stream at a time"
    );
    println!("  {rate:.0} a second, {cpu:.1} µs CPU each");
    println!("  a stream acknowledged: p50 {:.1} ms, p99 {:.1} ms", at(50), at(99));
}

async fn send(grpc: u16, streams: Vec<Vec<Bytes>>) -> Vec<Duration> {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut times = Vec::new();
    for messages in streams {
        let began = Instant::now();
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = "/livekit.AnalyticsRecorderService/IngestStats".parse().unwrap();
        let request = tonic::Request::new(tokio_stream::iter(messages));
        client.client_streaming(request, path, RawCodec).await.unwrap();
        times.push(began.elapsed());
    }
    times
}

fn message(nth: usize) -> Bytes {
    let who = format!("PA_{}", nth % 5000);
    let window = |track: usize| {
        json!({
            "id": format!("AS_{nth}_{track}"), "kind": "UPSTREAM",
            "timeStamp": "2026-11-23T04:09:50Z", "roomId": format!("RM_{}", nth % 100),
            "participantId": who, "trackId": format!("TR_{}_{track}", nth % 5000),
            "mime": "video/vp8", "streams": [{"primaryPackets": 100, "primaryBytes": "100000"}],
        })
    };
    let stats: Vec<_> = (0..A_MESSAGE).map(window).collect();
    livekit::encode_capture("stats", &json!({"stats": stats})).unwrap().into()
}
