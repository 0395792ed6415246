//! Signed test webhooks, through the real listener: the running server's, otherwise one of a server that only
//! lives for this, without a journal and without a collector. They report nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, StatusCode, Uri};

use super::check::{Check, millis, words};
use super::local;
use super::server::Running;
use crate::config::Config;
use crate::serve::Server;
use livekit_otel_livekit::post::{self, PostError, SignedWebhook, test_body};
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
    let now = Running::find(config.admin, limit).await.ok();
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
            return Check::skip(WEBHOOK, text);
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

// The configuration, of which only the listener for webhooks is left. At its configured address it would
// accept LiveKit's webhooks, and lose them.
fn alone(config: &Config) -> Config {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = config.clone();
    (config.http, config.grpc, config.admin, config.ui) = (free, free, free, None);
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
        let failed = Check::fail(WEBHOOK, &text);
        match (said, status) {
            (said, Some(StatusCode::UNAUTHORIZED)) => {
                // Its first sentence; the next one is for who reads the server's log.
                let said = said.and_then(|said| said.split(". ").next());
                let said = said.map_or_else(String::new, |said| format!(": {said}"));
                Check::fail(WEBHOOK, format!("{text}{said}")).advice(
                    "The running server has other keys than this configuration: restart it or send it \
                     SIGHUP after a change, or run the doctor with its configuration",
                )
            }
            (Some(said), _) => failed.advice(said),
            (None, Some(StatusCode::SERVICE_UNAVAILABLE)) => {
                failed.advice("It accepts nothing now: see the line of the server")
            }
            (None, Some(StatusCode::NOT_FOUND)) => {
                failed.advice("Is it livekit-otel that answers?")
            }
            _ => failed.advised(hint),
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
    let signed = signed.user_agent(HeaderValue::from_static(post::DOCTOR));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(check: &Check) -> String {
        let mut out = Vec::new();
        check.render(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_webhook_that_was_not_accepted_has_a_reason_for_each_status() {
        let unsent = |status: Option<u16>, said: Option<&str>, hint: Option<&str>| {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let unsent = Unsent {
                key: "dev\x1bkey".to_owned(),
                to: "http://127.0.0.1:9290/webhook".parse().unwrap(),
                why: status.map_or("no answer".to_owned(), |status| format!("answered {status}")),
                status,
                hint: hint.map(ToOwned::to_owned),
            };
            line(&unsent.check(said))
        };
        let start =
            "FAIL  webhook             POST http://127.0.0.1:9290/webhook, signed by dev�key: ";
        for (status, said, hint, end) in [
            (
                Some(401),
                Some("the secret differs. Is it the doctor?"),
                None,
                "answered 401 Unauthorized: the secret differs. The running server has other keys than this \
                 configuration: restart it or send it SIGHUP after a change, or run the doctor with its \
                 configuration",
            ),
            (
                Some(401),
                None,
                None,
                "answered 401 Unauthorized. The running server has other keys than this configuration: restart \
                 it or send it SIGHUP after a change, or run the doctor with its configuration",
            ),
            (Some(413), Some("too large"), None, "answered 413 Payload Too Large. Too large"),
            (
                Some(503),
                None,
                None,
                "answered 503 Service Unavailable. It accepts nothing now: see the line of the server",
            ),
            (Some(404), None, None, "answered 404 Not Found. Is it livekit-otel that answers?"),
            (None, None, Some("Is it running?"), "no answer. Is it running?"),
        ] {
            assert_eq!(unsent(status, said, hint), format!("{start}{end}\n"));
        }
    }

    #[test]
    fn the_doctors_own_listener_is_not_where_livekit_sends_to() {
        let mut config = Config::for_keys(livekit_otel_livekit::keys::Keys::default());
        config.http = ([0, 0, 0, 0], 9290).into();
        let config = alone(&config);
        for address in [config.http, config.grpc, config.admin] {
            assert_eq!(address, ([127, 0, 0, 1], 0).into());
        }
    }

    #[test]
    fn an_accepted_webhook_must_be_counted() {
        let judge = |n, counted| {
            line(&judge(n, Duration::from_millis(2), counted, "the running livekit-otel"))
        };
        let one = "webhook             a signed test webhook was accepted by the running livekit-otel in 2.0 ms";
        assert_eq!(judge(1, Some(1)), format!("ok    {one}, and counted\n"));
        let lost = ", but is not counted. Did the server restart meanwhile? Run the doctor again\n";
        assert_eq!(judge(1, Some(0)), format!("FAIL  {one}{lost}"));
        assert_eq!(judge(1, None), format!("warn  {one}; its ledger can't be read\n"));
        assert!(
            judge(2, Some(3))
                .starts_with("ok    webhook             a test webhook of each key was")
        );
        assert!(judge(2, Some(1)).starts_with("FAIL"));
    }
}
