//! The telemetry service beside upstream's and the OpenTelemetry SDK, in one run: a table of
//! ratios, by `cargo bench --bench telemetry`. Arguments are the sizes to run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod clock;
mod load;
mod ours;
mod round_trip;
mod sdk;
mod upstream;

use load::{Load, REPORTS};
use ours::Ours;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const MANY: usize = 8;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let upstream = upstream::build();
    if upstream.is_none() {
        println!("!!! upstream's service can't be built here: no ratios to it");
    }
    for streams in sizes {
        let theirs = upstream.as_deref().map(|program| upstream::run(program, streams, 1));
        println!("\n{streams} streams, {REPORTS} reports each in a window");
        println!("{:<46}{:>10}{:>12}{:>9}{:>9}", "", "ours", "upstream's", "ratio", "target");
        let load = Load::of(streams);
        let call = table(&load, theirs.as_ref());
        println!("{:<46}{:>10}{:>12}{:>9}{:>9}", "", "messages", "whole", "ratio", "");
        let (messages, whole) =
            (round_trip::through_messages(&load), round_trip::whole_calls(&load));
        row("an event through messages, a whole call, ns CPU", messages, Some(whole), "");
        if streams == SIZES[0] {
            let calls = load.keys.len();
            println!("{:<46}{:>10}{:>12}{:>9}{:>9}", "", "ours", "the SDK's", "ratio", "target");
            let all = sdk::bound(&load, true).cpu_ns_per(calls);
            row("a stats call, and its 29 bound ones, ns CPU", call, Some(all), "0.1");
            let bound = sdk::bound(&load, false).cpu_ns_per(calls);
            let window = ours::record(&load).cpu_ns_per(calls);
            row("its stream alone, and its 15 bound ones, ns CPU", window, Some(bound), "0.1");
            row("a stats call, and these 15 alone, ns CPU", call, Some(bound), "");
            let unbound = sdk::unbound(&load).cpu_ns_per(calls);
            row("the same with attributes each time, ns CPU", call, Some(unbound), "");
        }
    }
}

fn row(what: &str, ours: f64, theirs: Option<f64>, target: &str) {
    let (theirs, ratio) = match theirs {
        Some(theirs) => (format!("{theirs:.0}"), format!("{:.3}", ours / theirs)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    println!("{what:<46}{ours:>10.0}{theirs:>12}{ratio:>9}{target:>9}");
}

// Returns the CPU time of a stats call.
fn table(load: &Load, theirs: Option<&upstream::Figures>) -> f64 {
    let streams = load.keys.len();
    let calls = streams * REPORTS;
    // Many windows of a small load, so that a figure is not measured over milliseconds.
    let windows = u32::try_from((2_000_000 / streams).max(1)).unwrap();
    let ours = Ours::start(load);
    let (held, allocations) = ours.held(load);
    ours.flush();
    ours.window(load, 1);
    let one = ours.windows(load, 1, windows);
    ours.window(load, 1);
    let to_messages = ours.flush();
    row(
        "a stats call until processed, ns CPU",
        one.cpu_ns_per(calls),
        theirs.map(|theirs| theirs.call_cpu_ns),
        "0.125",
    );
    row(
        "held at the end of a window, B/stream",
        held as f64 / streams as f64,
        theirs.map(|theirs| theirs.held_bytes_per_stream),
        "0.1",
    );
    let coalesce = theirs.map(|theirs| theirs.flush_coalesce_cpu_ns_per_stream);
    row("left to coalesce at the flush, ns/stream", ours::coalesce(load), coalesce, "0.1");
    row("a flush to messages, ns/stream", to_messages.cpu_ns_per(streams), coalesce, "");
    let otlp = ours::otlp(load);
    row(
        "a flush as OTLP, a series a stream, ns/stream",
        otlp.cpu_ns_per(streams),
        theirs.map(|theirs| theirs.flush_marshal_cpu_ns_per_stream),
        "1",
    );
    // A small window ends before eight threads have begun.
    if streams >= 100_000 {
        let many = ours.windows(load, MANY, windows);
        let speed = one.wall.as_secs_f64() / many.wall.as_secs_f64();
        let what = format!("{MANY} callers process, times one's rate");
        println!("{what:<46}{speed:>10.2}{:>30}", "1.7");
    }
    let of_known = allocation_counter::measure(|| {
        ours.window(load, 1);
    });
    println!("{:<46}{allocations:>10}", "allocations of a window of new streams");
    println!("{:<46}{:>10}", "the same of known streams", of_known.count_total);
    one.cpu_ns_per(calls)
}
