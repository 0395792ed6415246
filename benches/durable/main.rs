//! The cost of durability: signed webhooks per second, verified and synced, beside a bare HTTP server
//! and, if there is one, the collector's own webhook receiver; stats windows per second; a simulated
//! server's whole traffic; a restart with many open tracks; a collector that is away. `cargo bench
//! --bench durable`; names of parts as arguments run only those.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod away;
mod floor;
mod intake;
#[path = "../otelcol/mod.rs"]
mod otelcol;
#[path = "../../tests/parts/port.rs"]
mod port;
mod process;
mod restart;
mod simulated;
mod sink;
mod windows;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(floor::ARGUMENT) {
        return floor::serve(arguments.next().unwrap().parse().unwrap());
    }
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("restart") {
        restart::run();
    }
    if wanted("away") {
        away::run();
    }
    if wanted("windows") {
        windows::run();
    }
    if wanted("simulated") {
        simulated::run();
    }
    if wanted("intake") {
        intake::run();
    }
}
