//! Signed test webhooks, through the real listener: the running server's, otherwise one of a server at its
//! address that only lives for this, without a journal and without a collector. They report nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use http::{StatusCode, Uri};

use super::check::{Check, millis, words};
use super::local;
use super::server::Running;
use crate::config::Config;
use crate::serve::Server;
use livekit_otel_livekit::post::{PostError, SignedWebhook, test_body};
use livekit_otel_model::Source;
use livekit_otel_transport::chain;
use livekit_otel_transport::hint::{Attempt, Protocol, hint};

const WEBHOOK: &str = "webhook";

/// Posts one webhook for each key, and checks that each is counted as accepted.
pub(super) async fn check(config: &Config, running: Option<&Running>, limit: Duration) -> Check {
    if config.http_tls.as_ref().is_some_and(|files| files.client_ca.is_some()) {
        let text = "listen.tls.http_client_ca is set, and the doctor has no client's certificate";
        return Check::skip(WEBHOOK, text);
    }
    match running {
        Some(running) => through_the_running(config, running, limit).await,
        None => through_its_own(config, limit).await,
    }
}

async fn through_the_running(config: &Config, running: &Running, limit: Duration) -> Check {
    if config.http.port() == 0 {
        let text = "the port of the running server's listener for webhooks is not known";
        return Check::skip(WEBHOOK, text).advice("Set listen.http to a fixed port");
    }
    let began = SystemTime::now();
    let posted = post_all(config, config.http, limit).await;
    let now = Running::find(config.admin).await;
    match posted {
        Ok((n, took)) => {
            let accepted = now.as_ref().and_then(Running::webhooks).zip(running.webhooks());
            let counted = accepted.map(|(now, before)| now.saturating_sub(before));
            judge(n, took, counted, "the running livekit-otel")
        }
        Err(unsent) => {
            let said = now.as_ref().and_then(|now| now.refused_since(began));
            unsent.check(said)
        }
    }
}

async fn through_its_own(config: &Config, limit: Duration) -> Check {
    let server = match Server::start(alone(config)).await {
        Ok(server) => server,
        Err(error) => {
            let text = format!("no listener could be started for it: {}", chain(&error));
            return Check::skip(WEBHOOK, text).advice("See listener.webhooks");
        }
    };
    let posted = post_all(config, server.http(), limit).await;
    let report = server.shutdown().await;
    match posted {
        Ok((n, took)) => {
            let row = report.ledger.inputs.iter().find(|row| row.source == Source::Webhook);
            judge(n, took, row.map(|row| row.accepted), "a listener that the doctor opened for it")
        }
        Err(unsent) => unsent.check(None),
    }
}

// The configuration, of which only the listener for webhooks is left.
fn alone(config: &Config) -> Config {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = config.clone();
    (config.grpc, config.admin, config.ui) = (free, free, None);
    (config.grpc_tls, config.api, config.journal) = (None, None, None);
    (config.memory_limit, config.uploads.recordings) = (None, None);
    let export = &mut config.export;
    for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
        target.enabled = false;
    }
    config
}

// A webhook that was not accepted.
struct Unsent {
    key: String,
    to: Uri,
    status: Option<StatusCode>,
    why: String,
    hint: Option<String>,
}

impl Unsent {
    // `said` is the server's own reason.
    fn check(self, said: Option<&str>) -> Check {
        let Self { key, to, status, why, hint } = self;
        let text = format!("POST {to}, signed by {}: {why}", words(&key));
        let failed = Check::fail(WEBHOOK, text);
        match (said, status) {
            (Some(said), _) => failed.advice(said),
            (None, Some(StatusCode::UNAUTHORIZED)) => failed.advice(
                "Does the running server have this key, with this secret? Restart it or send it SIGHUP \
                 after a change",
            ),
            (None, Some(StatusCode::SERVICE_UNAVAILABLE)) => {
                failed.advice("It accepts nothing now: see the line of the server")
            }
            (None, Some(StatusCode::NOT_FOUND)) => failed.advice("Is it livekit-otel that answers?"),
            _ => hint.into_iter().fold(failed, Check::advice),
        }
    }
}

// How many were accepted, and how long the slowest took.
async fn post_all(
    config: &Config,
    at: SocketAddr,
    limit: Duration,
) -> Result<(u64, Duration), Unsent> {
    let to = local::url(at, config.http_tls.as_ref(), "/webhook");
    let (mut n, mut slowest) = (0, Duration::ZERO);
    for key in config.keys.names() {
        let began = Instant::now();
        post(config, key, &to, limit).await?;
        (n, slowest) = (n + 1, slowest.max(began.elapsed()));
    }
    Ok((n, slowest))
}

async fn post(config: &Config, key: &str, to: &Uri, limit: Duration) -> Result<(), Unsent> {
    let unsent =
        |why: String| Unsent { key: key.to_owned(), to: to.clone(), status: None, why, hint: None };
    let client = local::client(config.http_tls.as_ref()).map_err(unsent)?;
    let secret = config.keys.secret(key).unwrap_or_default();
    let signed = SignedWebhook::new(test_body(), key, secret);
    let signed = signed.map_err(|error| unsent(chain(&error)))?;
    let error = match signed.post(&client, to, limit).await {
        Ok(_) => return Ok(()),
        Err(PostError::Refused { status, .. }) => {
            let refused = unsent(format!("answered {status}"));
            return Err(Unsent { status: Some(status), ..refused });
        }
        Err(error) => error,
    };
    let hint = hint(&error, &Attempt::new(to, Protocol::Http));
    Err(Unsent { hint, ..unsent(chain(&error)) })
}

fn judge(n: u64, took: Duration, counted: Option<u64>, whose: &str) -> Check {
    let webhooks = if n == 1 { "a signed test webhook" } else { "a test webhook of each key" };
    let text = format!("{webhooks} was accepted by {whose} in {}", millis(took));
    match counted {
        // Others may have come meanwhile.
        Some(counted) if counted >= n => Check::ok(WEBHOOK, format!("{text}, and counted")),
        Some(_) => Check::fail(WEBHOOK, format!("{text}, but is not counted"))
            .advice("Did the server restart meanwhile? Run the doctor again"),
        None => Check::warn(WEBHOOK, format!("{text}; its ledger can't be read")),
    }
}
