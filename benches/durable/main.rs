//! What durability costs and what it is worth: signed webhooks a second, verified and synced, beside
//! the collector's own webhook receiver where there is one; stats windows a second; all that a server
//! tells, simulated; a restart with many open tracks; a collector that is away. `cargo bench --bench
//! durable`, with parts' names as arguments those alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod away;
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
