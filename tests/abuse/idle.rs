//! Connections that ask for nothing, more of them than a listener takes.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::h2::Connection;
use crate::honest::get;
use crate::{PATIENCE, Server};

const MANY: usize = 700;

fn connections(to: &str) -> Vec<TcpStream> {
    (0..MANY).map(|_| TcpStream::connect(to).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_either_listener_keep_no_sender_and_no_probe_out() {
    let server = Server::start();
    let _webhooks = connections(&server.program.http);
    let _streams = connections(&server.program.grpc);
    server.is_well().await;
    let metrics = get(&server.program.admin, "/metrics");
    for listener in ["webhooks", "streams"] {
        let displaced =
            format!("lk_otel_connection_displaced_total{{lk_otel_listener=\"{listener}\"}} ");
        let (_, count) = metrics.split_once(&displaced).unwrap_or_else(|| panic!("{metrics}"));
        let count: u64 = count.lines().next().unwrap().parse().unwrap();
        assert!(count >= MANY as u64 - 512, "{listener}: {count}");
    }
    let log = server.program.kill();
    let notices =
        log.iter().filter(|line| line.contains("closes the one that is idle for longest")).count();
    assert_eq!(notices, 2, "once for each listener: {log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_file_descriptors_for_probes_and_the_rest() {
    // One that it may raise, and one that it may not.
    for ulimit in ["-Sn 1024", "-n 600"] {
        let server = Server::start_limited(ulimit);
        let _webhooks = connections(&server.program.http);
        let _streams = connections(&server.program.grpc);
        server.is_well().await;
        let log = server.program.kill();
        assert!(!log.iter().any(|line| line.contains("Too many open files")), "{log:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_only_answer_pings_keep_no_sender_out() {
    let server = Server::start();
    let mut connections: Vec<_> =
        (0..MANY).map(|_| Connection::open(&server.program.grpc)).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&ended);
    let answering = std::thread::spawn(move || {
        while !is_over.load(Relaxed) {
            for connection in connections.iter_mut().filter(|connection| !connection.closed) {
                while connection.next(Duration::ZERO).is_some() {}
            }
        }
    });
    server.is_well().await;
    server.is_well().await;
    ended.store(true, Relaxed);
    answering.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_only_answers_pings_is_closed_after_the_idle_time() {
    let server = Server::start_with(", idle_timeout: 1s");
    let mut connection = Connection::open(&server.program.grpc);
    let until = Instant::now() + PATIENCE;
    while !connection.closed && Instant::now() < until {
        connection.next(Duration::from_millis(100));
    }
    assert!(connection.closed, "it is kept");
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_a_head_and_never_ends_it_makes_place_too() {
    use std::io::Write;
    let server = Server::start_with(", max_connections: 50");
    let mut slow = connections(&server.program.http);
    for stream in &mut slow {
        // Those that made place are closed.
        let _ = stream.write_all(b"POST /webhook HTTP/1.1\r\nHost: te");
    }
    server.is_well().await;
    let until = Instant::now() + PATIENCE;
    loop {
        let open = slow.iter().filter(|stream| is_open(stream)).count();
        if open <= 50 {
            break;
        }
        assert!(Instant::now() < until, "{open} are open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
