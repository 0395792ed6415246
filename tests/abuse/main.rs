//! What strangers do to a listener: the program answers its probes, stays below `memory_limit`, and takes
//! what honest senders have for it. All of it on loopback, bounded in time and count.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod bodies;
mod floods;
mod h2;
mod honest;
mod idle;
mod messages;
#[path = "../crash/program.rs"]
#[allow(dead_code)] // what the crash test alone needs
mod program;
mod shapes;
mod uploads;

use std::time::Duration;

use honest::Server;

/// Of the process, as `memory_limit` says it in its configuration: 200 MiB.
const MEMORY_LIMIT: u64 = 200 << 20;

/// Far longer than any answer takes, and less than the 30 s after which idle connections are closed: a test
/// that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// File descriptors for all connections of a test, of which the usual limit has too few.
fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}
