//! A collector that counts metric points and keeps nothing: OTLP over HTTP/1.1, in a process of its
//! own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub struct Sink {
    process: Child,
    pub port: u16,
}

impl Sink {
    pub fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = command.arg("sink").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }

    /// How many points have come.
    pub fn points(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the process does.
pub fn run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let points = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming().map_while(Result::ok) {
        let points = Arc::clone(&points);
        std::thread::spawn(move || serve(stream, &points));
    }
}

fn serve(stream: TcpStream, points: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    let mut body = Vec::new();
    while let Some(is_metrics) = request(&mut reader, &mut body) {
        if is_metrics {
            points.fetch_add(count(&body), Relaxed);
        }
        let reason = points.load(Relaxed);
        let answer = format!("HTTP/1.1 200 {reason}\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Option<bool> {
    let (mut is_metrics, mut length) = (false, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        is_metrics |= line.starts_with("POST /v1/metrics");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            body.resize(length, 0);
            reader.read_exact(body).ok()?;
            return Some(is_metrics);
        }
    }
}

// resource_metrics, scope_metrics, metrics; then gauge, sum or histogram; then data_points.
const PATH: [&[u64]; 5] = [&[1], &[2], &[2], &[5, 7, 9, 10], &[1]];

fn count(request: &[u8]) -> u64 {
    within(request, &PATH)
}

fn within(mut bytes: &[u8], path: &[&[u64]]) -> u64 {
    let Some((wanted, rest)) = path.split_first() else { return 1 };
    let mut points = 0;
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        match key & 7 {
            0 => drop(varint(&mut bytes)),
            1 => bytes = &bytes[8..],
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (content, after) = bytes.split_at(length);
                bytes = after;
                if wanted.contains(&(key >> 3)) {
                    points += within(content, rest);
                }
            }
            other => panic!("wire type {other}"),
        }
    }
    points
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}
