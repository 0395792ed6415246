//! What the program tells of itself: its log, its own traces if asked for, its ledger as metrics.

mod own_traces;
pub mod prometheus;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{LogFormat, LogSettings};
use livekit_otel_export as export;

/// What ours is logged and traced as.
const OURS: &str = "livekit_otel";

// By prefix: `hyper` is `hyper_util` too, `opentelemetry` all of its crates.
const NOISY: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];

const FLUSH: Duration = Duration::from_secs(5);

/// Why the log or the program's own traces can't start.
#[derive(Debug, Error)]
pub enum InitError {
    /// Something in this process logs already.
    #[error("a log was set up before")]
    AlreadySet,
    /// The exporter of the program's own traces can't be built.
    #[error("the program's own traces can't be sent: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A PEM file of the traces' target can't be read.
    #[error("the program's own traces can't be sent: {path} can't be read: {kind}")]
    Certificate {
        /// The file.
        path: String,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// Own traces over HTTP have no TLS.
    #[error("the program's own traces can't be sent over http/protobuf with https: use grpc")]
    HttpsWithoutGrpc,
    /// Own traces are sent on a tokio runtime, and there is none.
    #[error("the program's own traces need a tokio runtime")]
    NoRuntime,
}

/// Keeps the program's own traces going; [`Guard::shutdown`] sends the last of them.
#[derive(Debug)]
#[must_use = "the last of the own traces are lost without its shutdown"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends what is left of the own traces, for 5 s at most.
    pub async fn shutdown(self) {
        let Some(provider) = self.0 else { return };
        let shutdown = move || provider.shutdown_with_timeout(FLUSH);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(shutdown).await {
            tracing::warn!(%error, "the last of the program's own traces could not be sent");
        }
    }
}

/// Logs where a thread panics from now on, for the whole process, and never the panic's text: it may be of
/// what the thread worked on. Before [`init_logging`] it is a line on stderr.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let location =
            info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        // Functions and lines, where RUST_BACKTRACE asks for them.
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| tracing::field::display(&backtrace));
        if dispatcher::has_been_set() {
            tracing::error!(location, thread, backtrace, "a thread panicked: its text is left out");
        } else {
            // Where stderr is closed nothing can be said.
            let _ = writeln!(
                std::io::stderr(),
                "livekit-otel: a thread panicked at {location} ({thread}): its text is left out"
            );
        }
    }));
}

/// Logs on stderr from now on, for the whole process; with `own_traces` also sends the spans of
/// this crate where its traces go, if those are sent at all. Those need the current tokio runtime.
///
/// # Errors
/// Where the process has a log already, or the traces' target can't be used.
pub fn init_logging(
    log: &LogSettings,
    own_traces: Option<&export::Settings>,
) -> Result<Guard, InitError> {
    let provider = match own_traces {
        Some(settings) if settings.traces.enabled => Some(own_traces::provider(settings)?),
        _ => None,
    };
    let dispatch = dispatch(*log, provider.as_ref(), std::io::stderr, colour());
    dispatcher::set_global_default(dispatch).map_err(|_| InitError::AlreadySet)?;
    Ok(Guard(provider))
}

fn dispatch<W>(
    log: LogSettings,
    provider: Option<&SdkTracerProvider>,
    writer: W,
    colour: bool,
) -> Dispatch
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => layer.with_ansi(colour).boxed(),
        LogFormat::Json => layer.with_ansi(false).json().flatten_event(true).boxed(),
    };
    let noisy = NOISY.map(|target| (target, log.level.min(LevelFilter::WARN)));
    let levels = Targets::new().with_default(log.level).with_targets(noisy);
    // Only ours: what sends the spans must not make more of them.
    let traces = provider.map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
            .with_filter(Targets::new().with_target(OURS, LevelFilter::DEBUG))
    });
    Dispatch::new(Registry::default().with(layer.with_filter(levels)).with(traces))
}

// https://no-color.org: any value that is not empty.
fn colour() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests;
