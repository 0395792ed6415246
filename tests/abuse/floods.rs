//! Frames of HTTP/2 by the thousand.

use std::time::Duration;

use crate::Server;
use crate::h2::{
    CONTINUATION, Connection, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, frame,
    head, header,
};

const FRAMES: u32 = 20_000;

/// Sends so many frames as the server takes, reading nothing or all that it answers.
async fn flood(server: &Server, reads: bool, frames: impl Fn(u32) -> Vec<u8>) -> Connection {
    let mut connection = Connection::open(&server.program.grpc);
    for nth in 0..FRAMES / 100 {
        let part: Vec<u8> = (0..100).flat_map(|of| frames(nth * 100 + of)).collect();
        connection.send(&part);
        while reads && connection.next(Duration::ZERO).is_some() {}
        if connection.closed {
            break;
        }
    }
    server.is_well().await;
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_do_no_harm() {
    let server = Server::start();
    for reads in [true, false] {
        let connection = flood(&server, reads, |nth| {
            let stream = 2 * nth + 1;
            let begin = frame(HEADERS, END_HEADERS, stream, &head(&[]));
            [begin, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
        });
        connection.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_cut_off() {
    let server = Server::start();
    let connection = flood(&server, true, |nth| {
        if nth == 0 {
            return frame(HEADERS, END_STREAM, 1, &head(&[]));
        }
        let (name, value) = (format!("x-{nth}"), "y".repeat(100));
        frame(CONTINUATION, 0, 1, &header(&name, &value))
    });
    assert!(connection.await.closed, "two megabytes of a head are taken");
    // Empty ones, of which no limit of bytes sees anything.
    let connection = flood(&server, true, |nth| {
        let (kind, flags) = if nth == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        frame(kind, flags, 1, if nth == 0 { b"\x82" } else { b"" })
    });
    assert!(connection.await.closed, "twenty thousand frames of a head are taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_do_no_harm_whether_their_answers_are_read_or_not() {
    let server = Server::start();
    for reads in [true, false] {
        flood(&server, reads, |nth| {
            let payload = u64::from(nth).to_be_bytes();
            frame(PING, 0, 0, &payload)
        })
        .await;
        // The size of the header table, the initial window, and an empty one.
        flood(&server, reads, |nth| {
            let one = [0, if nth % 2 == 0 { 1 } else { 4 }, 0, 0, 0x10, 0];
            frame(SETTINGS, 0, 0, if nth % 3 == 0 { &[] } else { &one })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_packed_do_not_unpack_to_more_than_a_head_may_be() {
    let server = Server::start();
    // A value of 120 bytes into the dynamic table, and then nothing but its index.
    let mut packed = vec![0x40, 1, b'x', 120];
    packed.extend([b'y'; 120]);
    let head = [head(&[]), packed, vec![0xbe; 10_000]].concat();
    let connection = flood(&server, true, |nth| {
        frame(HEADERS, END_HEADERS, 2 * nth + 1, if nth < 50 { &head } else { b"\x82" })
    });
    connection.await;
}
