//! A collector that takes all and keeps nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;

/// Counts the log records that came.
pub fn start(listener: TcpListener) -> Arc<AtomicU64> {
    let records = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&records);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some((is_logs, body)) = request(&mut reader) {
                    if is_logs {
                        let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
                        let scopes = request.resource_logs.iter().flat_map(|one| &one.scope_logs);
                        let n: usize = scopes.map(|one| one.log_records.len()).sum();
                        counted.fetch_add(n as u64, Relaxed);
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    records
}

fn request(reader: &mut BufReader<std::net::TcpStream>) -> Option<(bool, Vec<u8>)> {
    let (mut is_logs, mut length) = (false, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        is_logs |= line.starts_with("POST /v1/logs");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            return Some((is_logs, body));
        }
    }
}
