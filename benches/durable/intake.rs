//! Signed webhooks per second, verified and synced, over 32 connections. The same requests go to a bare
//! HTTP server (`floor`) and, if `OTELCOL` names a collector with the webhook receiver, to that; neither
//! checks a signature or writes anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use livekit_token::AccessToken;
use sha2::{Digest, Sha256};

use crate::otelcol::otelcol;
use crate::port::reserved_port;
use crate::process::{KEY, Process, SECRET, on_one_core, serve};

const CONNECTIONS: usize = 32;
const BODIES: usize = 200_000;
const RUN: Duration = Duration::from_secs(6);

pub fn run() {
    let requests = requests();
    println!("signed webhooks of about 700 bytes, {CONNECTIONS} connections, server on one core");
    println!("{:<22}{:>12}{:>14}{:>10}{:>10}", "", "a second", "µs CPU each", "p50 ms", "p99 ms");
    let directory = tempfile::tempdir().unwrap();
    let (http, grpc) = (reserved_port(), reserved_port());
    let ours = on_one_core(&serve(directory.path(), http, grpc, 1));
    let ours = measure("livekit-otel", ours, http, &requests);
    let port = reserved_port();
    let floor = on_one_core(&crate::floor::command(port));
    let floor = measure("bare hyper server", floor, port, &requests);
    println!(
        "  {:.1} times its CPU per webhook, {:.2} of its rate",
        ours.1 / floor.1,
        ours.0 / floor.0
    );
    let Some(otelcol) = otelcol() else { return };
    // As it comes it closes each connection after one webhook.
    for (name, keep_alives) in [("webhookeventreceiver", false), ("  with keep-alives", true)] {
        let http = reserved_port();
        let keep_alives =
            if keep_alives { ", read_timeout: 10s, keep_alives_enabled: true" } else { "" };
        let config = format!(
            "receivers: {{webhookevent: {{endpoint: '127.0.0.1:{http}', path: /webhook{keep_alives}}}}}\n\
             exporters: {{nop: {{}}}}\n\
             service: {{telemetry: {{metrics: {{level: none}}}}, \
             pipelines: {{logs: {{receivers: [webhookevent], exporters: [nop]}}}}}}\n"
        );
        let file = directory.path().join("otelcol.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(&otelcol);
        command.arg("--config").arg(file);
        let theirs = measure(name, on_one_core(&command), http, &requests);
        println!(
            "  {:.2} of its CPU a webhook (target 0.5), {:.2} times its rate (target 1.5)",
            ours.1 / theirs.1,
            ours.0 / theirs.0
        );
    }
}

fn requests() -> Vec<Vec<u8>> {
    let request = |nth: usize| {
        let body = format!(
            r#"{{"event":"participant_joined","room":{{"sid":"RM_{room}","name":"standup-{room}","emptyTimeout":5,"departureTimeout":3,"creationTime":"1795406961","creationTimeMs":"1795406961936","enabledCodecs":[{{"mime":"audio/opus"}},{{"mime":"video/VP8"}},{{"mime":"video/H264"}},{{"mime":"video/AV1"}}]}},"participant":{{"sid":"PA_{nth}","identity":"user-{nth}","state":"ACTIVE","joinedAt":"1795406961","joinedAtMs":"1795406961937","name":"Person {nth}","version":2,"permission":{{"canSubscribe":true,"canPublish":true,"canPublishData":true}}}},"id":"EV_{nth}","createdAt":"1795406961"}}"#,
            room = nth % 1000
        );
        let token = AccessToken::with_api_key(KEY, SECRET)
            .with_sha256(&STANDARD.encode(Sha256::digest(&body)))
            .to_jwt()
            .unwrap();
        format!(
            "POST /webhook HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
             Content-Type: application/webhook+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..BODIES).map(request).collect()
}

// Returns webhooks per second, and CPU for each in µs.
fn measure(name: &str, mut command: Command, http: u16, requests: &[Vec<u8>]) -> (f64, f64) {
    let program = Process::start(&mut command, http);
    let before = program.cpu();
    let began = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..CONNECTIONS)
            .map(|nth| {
                scope.spawn(move || send(http, requests.iter().skip(nth).step_by(CONNECTIONS)))
            })
            .collect();
        sending.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let took = began.elapsed().as_secs_f64();
    let cpu = (program.cpu() - before) * 1e6 / times.len() as f64;
    let rate = times.len() as f64 / took;
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("{name:<22}{rate:>12.0}{cpu:>14.1}{:>10.2}{:>10.2}", at(50), at(99));
    (rate, cpu)
}

fn send<'a>(http: u16, requests: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Duration> {
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", http)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let mut stream = connect();
    let until = Instant::now() + RUN;
    let mut times = Vec::new();
    let mut buffer = [0; 1024];
    for request in requests {
        let began = Instant::now();
        if began > until {
            break;
        }
        stream.write_all(request).unwrap();
        let read = stream.read(&mut buffer).unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        if answer.contains("Connection: close") {
            stream = connect();
        }
        times.push(began.elapsed());
    }
    times
}
