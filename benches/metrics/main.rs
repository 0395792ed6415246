//! A flush of many streams: encoded, beside hand-written protobuf and the OpenTelemetry SDK; and sent,
//! to a sink that counts and to a real collector where `OTELCOL` names one. `cargo bench --bench
//! metrics`, with parts' names as arguments those alone, and with numbers those of streams.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

#[path = "../telemetry/clock.rs"]
#[allow(dead_code)] // the wall, which CPU time replaces here
mod clock;
mod encode;
mod floor;
#[path = "../otelcol/mod.rs"]
mod otelcol;
#[path = "../../tests/parts/port.rs"]
mod port;
mod sdk;
mod send;
mod sink;
mod streams;

// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if args.first().is_some_and(|arg| arg == "sink") {
        return sink::run();
    }
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let of = |default: &[usize]| if sizes.is_empty() { default.to_vec() } else { sizes.clone() };
    let parts = ["encode", "sdk", "send"];
    let named = |part: &str| args.iter().any(|arg| arg == part);
    let wanted = |part: &str| named(part) || !parts.iter().any(|part| named(part));
    if wanted("encode") {
        encode::run(&of(&[10_000, 100_000, 1_000_000]));
    }
    if wanted("sdk") {
        sdk::run(&of(&[10_000, 100_000]));
    }
    if wanted("send") {
        send::run(&of(&[100_000, 1_000_000]));
    }
}
