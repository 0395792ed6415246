//! The program's own log, and its own traces if they are enabled.
//!
//! Uses `config`; only `commands` and `main.rs` use it.

mod own_traces;

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

/// The target of this program's log and spans, as a prefix.
const OURS: &str = "livekit_otel";

// Prefixes: `hyper` includes `hyper_util`, `opentelemetry` all its crates.
const NOISY: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];

const FLUSH: Duration = Duration::from_secs(5);

/// Why the log or the own traces can't start.
#[derive(Debug, Error)]
pub enum InitError {
    /// The process has a log already.
    #[error("the process has a log already")]
    AlreadySet,
    /// The exporter of the program's own traces can't be built.
    #[error("the program's own traces can't be sent")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The traces' target can't be used.
    #[error("the program's own traces can't be sent")]
    Target(#[from] export::StartError),
    /// There is no tokio runtime to send own traces on.
    #[error("the program's own traces need a tokio runtime")]
    NoRuntime,
}

/// Keeps the own traces running; [`Guard::shutdown`] sends the last of them.
#[derive(Debug)]
#[must_use = "the last of the own traces are lost without its shutdown"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends the remaining own traces, within 5 s.
    pub async fn shutdown(self) {
        let Some(provider) = self.0 else { return };
        let shutdown = move || provider.shutdown_with_timeout(FLUSH);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(shutdown).await {
            tracing::warn!(%error, "the last of the program's own traces could not be sent");
        }
    }
}

/// Makes the process log the place of each panic, without the panic's text, which may contain data of
/// rooms. Before [`init_logging`], the place is a line on stderr.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let location =
            info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        // If RUST_BACKTRACE is set.
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| tracing::field::display(&backtrace));
        if dispatcher::has_been_set() {
            tracing::error!(location, thread, backtrace, "a thread panicked: its text is left out");
        } else {
            // Nothing can be reported if stderr is closed.
            let _ = writeln!(
                std::io::stderr(),
                "livekit-otel: a thread panicked at {location} ({thread}): its text is left out"
            );
        }
    }));
}

/// Makes the process log on stderr. With `own_traces`, also sends the program's own spans to the target
/// of its traces, if that is enabled; this needs a tokio runtime.
///
/// # Errors
/// If the process has a log already, or the traces' target can't be used.
pub fn init_logging(
    log: &LogSettings,
    own_traces: Option<&export::Settings>,
) -> Result<Guard, InitError> {
    let provider = match own_traces {
        Some(settings) if settings.traces.enabled => Some(own_traces::provider(settings)?),
        _ => None,
    };
    let dispatch = dispatch(*log, provider.as_ref(), std::io::stderr, is_coloured());
    dispatcher::set_global_default(dispatch).map_err(|_| InitError::AlreadySet)?;
    Ok(Guard(provider))
}

/// Logs warnings as text with `writer`, for a command that shows its progress.
///
/// # Errors
/// If the process has a log already.
pub fn log_warnings<W>(writer: W) -> Result<(), InitError>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let log = LogSettings { level: LevelFilter::WARN, format: LogFormat::Text };
    dispatcher::set_global_default(dispatch(log, None, writer, is_coloured()))
        .map_err(|_| InitError::AlreadySet)
}

fn dispatch<W>(
    log: LogSettings,
    provider: Option<&SdkTracerProvider>,
    writer: W,
    is_coloured: bool,
) -> Dispatch
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => layer.with_ansi(is_coloured).boxed(),
        LogFormat::Json => layer.with_ansi(false).json().flatten_event(true).boxed(),
    };
    let noisy = NOISY.map(|target| (target, log.level.min(LevelFilter::WARN)));
    let levels = Targets::new().with_default(log.level).with_targets(noisy);
    // Only own spans: sending spans must not create more.
    let traces = provider.map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
            .with_filter(Targets::new().with_target(OURS, LevelFilter::DEBUG))
    });
    Dispatch::new(Registry::default().with(layer.with_filter(levels)).with(traces))
}

// https://no-color.org: any value but an empty one.
fn is_coloured() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests;
