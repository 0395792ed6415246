//! The memory of a server while so many sessions go on at once, after each cycle of all of them: about half a minute
//! of talk, which is sent without pauses. `SESSIONS` and `CYCLES` say how many.

use std::net::TcpListener;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::calls::Calls;
use crate::client::{Client, token};
use crate::port::reserved_port;
use crate::process::{Process, serve_to};
use crate::sink;

const CONNECTIONS: usize = 32;
// Ids of spans are remembered up to a number that a session reaches in 9 cycles.
const CYCLES: u32 = 14;
const PATIENCE: Duration = Duration::from_mins(5);

pub fn run() {
    let cycles = std::env::var("CYCLES").map_or(CYCLES, |cycles| cycles.parse().unwrap());
    let numbers = std::env::var("SESSIONS").unwrap_or_else(|_| "1000,10000".into());
    println!(
        "memory in MB after each cycle of so many sessions at once, and after they have ended"
    );
    for sessions in numbers.split(',') {
        measure(sessions.parse().unwrap(), cycles);
    }
}

fn measure(sessions: usize, cycles: u32) {
    let (cycle, end) = Calls::cycle_and_end("ordinary");
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let counts = sink::start(listener);
    let http = reserved_port();
    let mut command = serve_to(directory.path(), http, reserved_port(), (&endpoint, "grpc"));
    let program = Process::start(&mut command, http);
    println!("{sessions} sessions: {:.0} at the start", program.resident());
    let mut wanted = 0;
    for nth in 0..=cycles {
        let calls = if nth < cycles { &cycle } else { &end };
        let began = Instant::now();
        wanted += sessions * calls.spans;
        send(http, calls, sessions, nth);
        let sent = Instant::now();
        while counts.spans.load(Relaxed) < wanted {
            assert!(sent.elapsed() < PATIENCE, "{} of {wanted}", counts.spans.load(Relaxed));
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let what = if nth < cycles { "cycle" } else { "end" };
        println!(
            "  {what:>6} {nth:>3}{:>8.0}  ({:.0} s)",
            program.resident(),
            began.elapsed().as_secs_f64()
        );
    }
}

fn send(http: u16, calls: &Calls, sessions: usize, cycle: u32) {
    let token = &token();
    std::thread::scope(|scope| {
        for nth in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut client = Client::connect(http);
                for session in (nth..sessions).step_by(CONNECTIONS) {
                    for request in calls.call(session, cycle, token, false) {
                        client.send(&request);
                    }
                }
            });
        }
    });
}
