//! What uploads of LiveKit's agents cost: a whole server beside a collector that passes the same requests on, and the
//! memory of sessions. `cargo bench --bench agents`; names of parts as arguments run only those.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod calls;
mod client;
mod compared;
mod hours;
#[path = "../../tests/parts/port.rs"]
mod port;
#[path = "../durable/process.rs"]
#[allow(dead_code)] // another protocol
mod process;
mod sessions;
mod sink;

// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("compared") {
        compared::run();
    }
    if wanted("hours") {
        hours::run();
    }
    if wanted("sessions") {
        sessions::run();
    }
}
