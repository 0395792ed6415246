//! Runs the demo: a capture is replayed to `serve`, which sends to a collector, all over sockets.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use thiserror::Error;

use crate::cli::ServeArgs;
use crate::config::{self, Config, Env};
use crate::serve::{Report, Server, StartError};
use crate::ui::Ui;
use livekit_otel_engine::ids;
use livekit_otel_ledger::report::render_ledger;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::event::RoomSid;
use livekit_otel_model::hex;
use livekit_otel_model::printable::visible;
use livekit_otel_tools::capture::{Capture, CaptureError};
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::demo::Style;
use livekit_otel_tools::demo::report;
use livekit_otel_tools::replay::{self, Destination, Stopped};

const CAPTURE: &str = include_str!("../../examples/captures/agent-call.jsonl");
const KEY: &str = "demo-key";
// Signs the demo's webhooks to itself on loopback.
const SECRET: &str = "a-made-up-secret-that-protects-nothing";

/// The duration of a replay, in seconds.
const REPLAY_SECONDS: f64 = 2.5;

/// The collector of the demo.
#[derive(Debug, Clone)]
pub enum Collect {
    /// The built-in collector, whose report is written.
    Own,
    /// The collector of a configuration (see [`config_for`]).
    Yours(Box<Config>),
}

/// The demo's configuration for another collector: its endpoint and protocol from the command line,
/// other OTLP settings from the environment.
///
/// # Errors
/// All errors of the configuration.
pub fn config_for(
    endpoint: Option<String>,
    protocol: Option<String>,
    env: &dyn Env,
) -> Result<Config, config::Errors> {
    struct OtelOnly<'a>(&'a dyn Env);
    impl Env for OtelOnly<'_> {
        fn get(&self, name: &str) -> Option<String> {
            match name {
                "LIVEKIT_API_KEY" => Some(KEY.to_owned()),
                "LIVEKIT_API_SECRET" => Some(SECRET.to_owned()),
                _ => name.starts_with("OTEL_").then(|| self.0.get(name)).flatten(),
            }
        }
    }
    let free = Some("127.0.0.1:0".to_owned());
    let args =
        ServeArgs { endpoint, protocol, http: free.clone(), grpc: free, ..ServeArgs::default() };
    Config::load(&args, &OtelOnly(env))
}

/// Why the demo could not run.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The capture's file can't be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The capture can't be read.
    #[error("the capture can't be read: {0}")]
    Capture(#[from] CaptureError),
    /// A part of the demo could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The capture can't be sent.
    #[error(transparent)]
    Replay(#[from] Box<Stopped>),
    /// The built-in collector could not start, or the report could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of a demo.
#[derive(Debug)]
pub struct Ran {
    /// The report of the server's run.
    pub report: Report,
    /// The live view of the call, if it was requested.
    pub ui: Option<Ui>,
}

/// Runs the demo with captures, by default the built-in one, and writes its report. With `opens` it
/// also starts the live view, on a free port of loopback.
///
/// # Errors
/// If a part can't start, or the capture can't be read or sent.
pub async fn run(
    captures: &[PathBuf],
    collect: Collect,
    opens: bool,
    style: Style,
    out: &mut impl Write,
) -> Result<Ran, DemoError> {
    let capture = match captures {
        [] => Capture::parse(CAPTURE.as_bytes())?,
        captures => read_captures(captures)?,
    };
    let at = opens.then_some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    match collect {
        Collect::Own => {
            let collector = Collector::start().await?;
            let mut keys = Keys::default();
            keys.insert(KEY, SECRET);
            let mut config = Config::for_keys(keys);
            let endpoint: Uri = collector.endpoint().parse().map_err(io::Error::other)?;
            let export = &mut config.export;
            for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
                target.endpoint = endpoint.clone();
            }
            config.ui = at;
            let (report, ui) = play(&capture, config).await?;
            let received = collector.stop().await;
            report::render(&received, &report.ledger, style, out)?;
            Ok(Ran { report, ui })
        }
        Collect::Yours(mut config) => {
            config.ui = at;
            let endpoint = config.export.traces.endpoint.clone();
            let (report, ui) = play(&capture, *config).await?;
            write_elsewhere(&capture, &endpoint, &report, out)?;
            Ok(Ran { report, ui })
        }
    }
}

/// Reads captures from files, and merges them by time.
///
/// # Errors
/// If a file or a capture can't be read.
pub fn read_captures(paths: &[PathBuf]) -> Result<Capture, DemoError> {
    let mut all = Capture { lines: Vec::new() };
    for path in paths {
        all = all.merged(read_capture(path, paths.len() > 1)?);
    }
    Ok(all)
}

fn read_capture(path: &Path, is_named: bool) -> Result<Capture, DemoError> {
    let failed = |error| DemoError::File { path: path.to_owned(), error };
    let name = is_named.then(|| Arc::from(visible(&path.display().to_string())));
    let file = std::fs::File::open(path).map_err(failed)?;
    Ok(Capture::parse_file(name, io::BufReader::new(file))?)
}

// Sends the capture through a server, and shuts the server down.
async fn play(capture: &Capture, config: Config) -> Result<(Report, Option<Ui>), DemoError> {
    let mut server = Server::start(config).await?;
    let destination = Destination {
        webhook: local(server.http(), "/webhook")?,
        analytics: local(server.grpc(), "")?,
        uploads: local(server.http(), "")?,
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: seconds(capture) / REPLAY_SECONDS,
        retry_for: Destination::RETRY_FOR,
    };
    let progress = Progress::new(capture.lines.len() as u64, "replaying a call");
    let sent = replay::replay(capture, &destination, |done| progress.set(done as u64)).await;
    progress.finish();
    let mut ui = server.take_ui();
    let report = server.shutdown().await;
    sent?;
    if let Some(ui) = &mut ui {
        ui.filled().await;
    }
    Ok((report, ui))
}

fn local(address: std::net::SocketAddr, path: &str) -> io::Result<Uri> {
    format!("http://{address}{path}").parse().map_err(io::Error::other)
}

fn seconds(capture: &Capture) -> f64 {
    let times = || capture.lines.iter().map(|line| line.at);
    let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
    (span as f64 / 1000.0).max(REPLAY_SECONDS)
}

fn write_elsewhere(
    capture: &Capture,
    endpoint: &Uri,
    report: &Report,
    out: &mut impl Write,
) -> io::Result<()> {
    let host = endpoint.authority().map_or("", |authority| {
        // Without the part before an @, which may have a password.
        authority.as_str().rsplit('@').next().unwrap_or_default()
    });
    writeln!(out, "\nSent to {host}\n")?;
    for room in rooms(capture) {
        writeln!(out, "  room {room}  trace {}", hex(&ids::trace(&room)))?;
    }
    writeln!(out)?;
    render_ledger(&report.ledger, out, 80)
}

// The rooms of a capture, in the order of their first messages.
fn rooms(capture: &Capture) -> Vec<RoomSid> {
    let mut rooms = Vec::new();
    for line in &capture.lines {
        let body = line.message();
        let items = ["events", "stats"].iter().filter_map(|list| body[*list].as_array()).flatten();
        for item in std::iter::once(body).chain(items) {
            let sid = item["roomId"].as_str().or_else(|| item["room"]["sid"].as_str());
            if let Some(sid) = sid.and_then(RoomSid::new)
                && !rooms.contains(&sid)
            {
                rooms.push(sid);
            }
        }
    }
    rooms
}
