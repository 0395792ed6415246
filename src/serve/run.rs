//! Runs a server until a signal or a fault.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::server::{Server, StartError, ended};
use super::signals::Signals;
use super::stop::Report;
use crate::config::{Config, Errors};
use crate::descriptors;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_transport::chain;
use livekit_otel_transport::hint::Attempt;
use livekit_otel_transport::proxy::{Route, host_port};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// After a shutdown.
    Drained(Box<Report>),
    /// By a second signal, of this number, during the shutdown.
    Interrupted(u8),
}

/// Runs until SIGTERM or SIGINT, then shuts down; a second of them ends that. At each SIGHUP, takes the
/// keys from `reload`, and reads the listeners' certificates again.
///
/// # Errors
/// If the server can't start.
pub async fn run(
    mut config: Config,
    reload: impl Fn() -> Result<Keys, Errors>,
) -> Result<Outcome, StartError> {
    log_journal(&config);
    let (collectors, routes) = (collectors(&config), routes(&config));
    config.max_connections = descriptors::reserve_for_connections(config.max_connections);
    let mut server = Server::start(config).await?;
    // Before "listening" is logged: without a handler, an early signal ends the process.
    let (hangup, mut signals) = (signal(SignalKind::hangup()), Signals::new());
    log_listeners(&server);
    if collectors.is_empty() {
        tracing::warn!("export is disabled: input is counted and not sent");
    }
    for (attempt, signals) in &collectors {
        let (collector, protocol) = (attempt.address(), attempt.protocol().as_str());
        tracing::info!(collector, protocol, signals, "sending");
    }
    for (target, route) in &routes {
        log_route(target, route);
    }
    let mut pipeline = server.pipeline.take();
    tokio::select! {
        _ = signals.next() => {}
        () = reloading(&server, hangup, reload) => {}
        // Nothing processes what is accepted: end, so that a supervisor restarts the program.
        _ = ended(&mut pipeline) => {}
        () = server.broken() => {}
    }
    server.pipeline = pipeline;
    tracing::info!("shutting down; a second signal ends the program at once");
    tokio::select! {
        biased;
        report = server.shutdown() => Ok(Outcome::Drained(Box::new(report))),
        signal = signals.next() => {
            tracing::error!("ended by a second signal before all was delivered");
            Ok(Outcome::Interrupted(signal))
        }
    }
}

fn log_journal(config: &Config) {
    match &config.journal {
        Some(journal) => {
            let directory = journal.directory.display();
            tracing::info!(%directory, "undelivered records are kept on disk");
        }
        None => {
            tracing::warn!(
                "no journal.dir: a crash loses undelivered records, which are in memory"
            );
        }
    }
}

// Where the signals that are sent go, each address and protocol once with its signals.
fn collectors(config: &Config) -> Vec<(Attempt, String)> {
    let mut collectors: Vec<(Attempt, String)> = Vec::new();
    for signal in livekit_otel_model::Signal::ALL {
        let target = config.export.target(signal);
        if !target.enabled {
            continue;
        }
        let attempt = target.attempt();
        match collectors.iter_mut().find(|(known, _)| *known == attempt) {
            Some((_, signals)) => signals.extend([", ", signal.as_str()]),
            None => collectors.push((attempt, signal.as_str().to_owned())),
        }
    }
    collectors
}

// How collectors and LiveKit's API are reached, each address once.
fn routes(config: &Config) -> Vec<(String, Route)> {
    let Config { export, api, .. } = config;
    let targets = [&export.traces, &export.logs, &export.metrics].into_iter();
    let collectors =
        targets.filter(|target| target.enabled).map(|target| (&target.endpoint, &target.route));
    let mut routes: Vec<(String, Route)> = Vec::new();
    for (url, route) in collectors.chain(api.iter().map(|api| (&api.url, &api.route))) {
        let route = (host_port(url), route.clone());
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

fn log_route(target: &str, route: &Route) {
    match route {
        Route::Direct => {}
        Route::Bypass(reason) => {
            tracing::info!(to = target, reason, "connecting without the proxy");
        }
        Route::Through(proxy) => {
            let variable = proxy.variable();
            tracing::info!(to = target, %proxy, variable, "connecting through a proxy");
        }
    }
}

fn log_listeners(server: &Server) {
    let admin = server.admin().map(tracing::field::display);
    tracing::info!(http = %server.http(), grpc = %server.grpc(), admin, "listening");
    if let Some(ui) = server.ui() {
        tracing::info!(url = ui.url(), "serving the live view");
    }
}

// Never returns.
async fn reloading(
    server: &Server,
    hangup: std::io::Result<Signal>,
    reload: impl Fn() -> Result<Keys, Errors>,
) {
    let Ok(mut hangup) = hangup else { return std::future::pending().await };
    while hangup.recv().await.is_some() {
        match reload().map(|keys| server.reload(keys)) {
            Ok(Ok(())) => tracing::info!("reloaded keys and certificates"),
            Ok(Err(error)) => {
                tracing::error!(error = chain(&error), "reloaded keys; certificates not reloaded");
            }
            Err(errors) => {
                tracing::error!(error = chain(&errors), "keys and certificates not reloaded");
            }
        }
    }
    std::future::pending::<()>().await;
}
