//! A flush, collected and encoded into a sink that drops it.

use std::hint::black_box;

use livekit_otel_export::encode_table;
use livekit_otel_model::privacy::Privacy;

use crate::clock::{Took, took};
use crate::floor::Floor;
use crate::streams::{Streams, flush};

const ROUNDS: u32 = 7;

/// The best of some flushes, and how many bytes it makes.
pub fn ours(streams: usize) -> (Took, usize) {
    let load = Streams::of(streams);
    let mut stats = load.open();
    let mut best: Option<(Took, usize)> = None;
    for nth in 2..2 + ROUNDS {
        load.apply(&mut stats, nth);
        let (bytes, took) = took(|| {
            let mut bytes = 0;
            flush(&mut stats, nth, |table| {
                for metric in encode_table(&Privacy::Plain, table) {
                    bytes += black_box(&metric).len();
                }
            });
            bytes
        });
        best = best.filter(|(best, _)| best.cpu <= took.cpu).or(Some((took, bytes)));
    }
    best.unwrap()
}

fn floor(streams: usize) -> (Took, usize) {
    let floor = Floor::of(streams);
    let encode = || {
        let mut bytes = 0;
        floor.encode(&mut |metric| bytes += black_box(metric).len());
        bytes
    };
    (0..ROUNDS)
        .map(|_| took(encode))
        .map(|(bytes, took)| (took, bytes))
        .min_by_key(|it| it.0.cpu)
        .unwrap()
}

pub fn run(sizes: &[usize]) {
    println!("\ncollected and encoded, 15 values and 7 attributes a stream; the best of {ROUNDS}");
    println!(
        "{:>12}{:>14}{:>14}{:>10}{:>10}",
        "streams", "ours, ns", "floor, ns", "ratio", "target"
    );
    let mut of_each = Vec::new();
    for streams in sizes {
        let (ours, bytes) = ours(*streams);
        let (floor, least) = floor(*streams);
        assert_eq!(bytes, least, "the floor writes something else");
        let (ours, floor) = (ours.cpu_ns_per(*streams), floor.cpu_ns_per(*streams));
        println!("{streams:>12}{ours:>14.0}{floor:>14.0}{:>10.2}{:>10}", ours / floor, "1.5");
        of_each.push(ours);
    }
    if let [first, .., last] = of_each[..] {
        println!("{:>12}{:>14.2}{:>34}", "last / first", last / first, "1.3");
    }
}
