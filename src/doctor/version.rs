//! LiveKit's version. No method of its API returns it; a server sends it to a worker of agents that registers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::api::attempt;
use super::check::{Check, no_answer, words};
use crate::config::Config;
use crate::source::reconcile;
use livekit_otel_livekit::worker::{self, Version};
use livekit_otel_transport::{chain, client};

const VERSION: &str = "livekit.version";

/// Registers a worker for a moment. It gets no job, and its name is `livekit-otel-doctor`.
pub(super) async fn check(config: Arc<Config>, limit: Duration) -> Vec<Check> {
    let Some(api) = &config.api else { return Vec::new() };
    let secret = config.keys.secret(&api.key).unwrap_or_default();
    let asked = timeout(limit, ask(api, secret)).await;
    let at = attempt(api);
    vec![match asked.unwrap_or_else(|_| Err(no_answer(limit))) {
        Ok(Version { version, protocol, node }) => {
            let (version, node) = (words(&version), words(&node));
            let text = format!("{at} runs LiveKit {version}, protocol {protocol}, node {node}");
            Check::ok(VERSION, text)
        }
        // Nothing depends on it.
        Err(why) => Check::skip(VERSION, format!("{at} does not show it: {}", words(&why))),
    }]
}

async fn ask(api: &reconcile::Settings, secret: &str) -> Result<Version, String> {
    let request = worker::request(&api.url, &api.key, secret).map_err(|error| chain(&*error))?;
    let client = client::routed(api.url.scheme_str() == Some("https"), &api.route);
    let client = client.map_err(|error| chain(&error))?;
    let response = client.request(request.map(|()| Full::<Bytes>::default())).await;
    let response = response.map_err(|error| chain(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("a worker's request is answered {}", response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| chain(&error))?;
    let mut stream = TokioIo::new(upgraded);
    stream.write_all(&worker::registration()).await.map_err(|error| error.to_string())?;
    let mut received = Vec::new();
    loop {
        if let Some(version) = worker::version(&received).map_err(|error| error.to_string())? {
            return Ok(version);
        }
        if stream.read_buf(&mut received).await.map_err(|error| error.to_string())? == 0 {
            return Err("the connection was closed".to_owned());
        }
    }
}
