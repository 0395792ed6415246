//! The real parts that calls are tried with: LiveKit's server, clients and agents of it, an OpenTelemetry Collector,
//! Prometheus, Jaeger. Each is built or installed from the module registry of its language, and run on loopback.
#![allow(dead_code, unused_imports)] // each test binary has use for some of them

pub(crate) mod agents;
mod build;
pub(crate) mod collector;
pub(crate) mod jaeger;
mod livekit;
mod port;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod redis;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

pub(crate) use build::{Built, Part, build as build_part, livekit_registry, newest, script};
pub(crate) use livekit::{Client, Server};
pub(crate) use port::reserved_port;

/// What a call is made with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) server: PathBuf,
    pub(crate) client: PathBuf,
}

/// Builds them, once; where that can't be done says so, loudly.
pub(crate) fn build() -> Option<Parts> {
    build_with(Part::Livekit)
}

/// The same with LiveKit's newest server.
pub(crate) fn build_newest() -> Option<Parts> {
    build_with(Part::NewestLivekit)
}

fn build_with(server: Part) -> Option<Parts> {
    let built = build_part(server).and_then(|server| {
        let client = build_part(Part::Client)?.path;
        Ok(Parts { server: server.path, client })
    });
    or_say("NO CALL WITH A REAL LIVEKIT SERVER", built)
}

/// What was built; where it can't be says so, loudly.
pub(crate) fn or_say<T>(what: &str, built: Result<T, String>) -> Option<T> {
    let why = match built {
        Ok(built) => return Some(built),
        Err(why) => why,
    };
    say(&format!("\n!!! {what}: {why}\n"));
    assert!(std::env::var_os("REQUIRE_REAL").is_none(), "{why}");
    None
}

/// Past the test harness, which keeps what a test that passes prints.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Runs a step of a build to its end; returns its output.
pub(crate) fn ran(command: &mut Command) -> Result<Vec<u8>, String> {
    let what = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{what} can't be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(format!("{what} fails:\n{}", String::from_utf8_lossy(&printed)))
}
