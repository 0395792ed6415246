//! The listeners: served by a running server, or free for one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::check::{Check, late};
use super::local::{self, open_http2};
use crate::config::Config;
use crate::source::tls::Files;

const WEBHOOKS: &str = "listener.webhooks";
const STREAMS: &str = "listener.streams";
const ADMIN: &str = "listener.admin";
const VIEW: &str = "listener.ui";

/// Checks all listeners.
pub(super) async fn check(config: &Config, is_running: bool, limit: Duration) -> Vec<Check> {
    let mut listeners =
        vec![(WEBHOOKS, config.http), (STREAMS, config.grpc), (ADMIN, config.admin)];
    listeners.extend(config.ui.map(|ui| (VIEW, ui)));
    let mut checks = Vec::new();
    for (name, address) in listeners {
        checks.push(match (address.port(), is_running) {
            (0, _) => Check::ok(name, format!("{address}: a free port at each start")),
            (_, false) => bindable(name, address).await,
            (_, true) => {
                let served = timeout(limit, served(config, name, address)).await;
                served.unwrap_or_else(|_| late(name, limit))
            }
        });
    }
    checks
}

async fn bindable(name: &'static str, address: SocketAddr) -> Check {
    let Err(error) = TcpListener::bind(address).await else {
        return Check::ok(name, format!("{address} is free"));
    };
    let (text, advice) = match error.kind() {
        ErrorKind::AddrInUse => (
            format!("{address} is in use by another program"),
            "End that program, or choose another port (`ss -ltnp` names it)",
        ),
        ErrorKind::AddrNotAvailable => (
            format!("{address} is no address of this machine"),
            "Listen on one of its own, or on 0.0.0.0 or [::] for all of them",
        ),
        ErrorKind::PermissionDenied => (
            format!("{address} may not be used: {error}"),
            "Choose a port from 1024, or allow the program lower ones",
        ),
        _ => (format!("{address} can't be used: {error}"), "Choose another address"),
    };
    Check::fail(name, text).advice(advice)
}

async fn served(config: &Config, name: &'static str, address: SocketAddr) -> Check {
    let (tls, served) = match name {
        STREAMS => {
            let tls = config.grpc_tls.as_ref();
            (tls, open_http2(address, tls).await)
        }
        WEBHOOKS => {
            let tls = config.http_tls.as_ref();
            (tls, healthy(address, tls).await)
        }
        VIEW => (None, answers(address).await),
        _ => (None, healthy(address, None).await),
    };
    let over = if tls.is_some() { " over TLS" } else { "" };
    match served {
        Ok(()) => Check::ok(name, format!("{address} is served{over} by the running livekit-otel")),
        Err(why) => {
            let advice =
                "Does the running livekit-otel have this configuration? Restart it with this one";
            Check::fail(name, format!("{address} is not served{over}: {why}")).advice(advice)
        }
    }
}

async fn healthy(address: SocketAddr, tls: Option<&Files>) -> Result<(), String> {
    if tls.is_some_and(|files| files.client_ca.is_some()) {
        // Without a client's certificate, only the connection can be tried.
        return connects(address).await;
    }
    let got = local::get(address, tls, "/healthz").await?;
    if got.status == StatusCode::OK && &*got.body == b"ok\n" {
        Ok(())
    } else {
        Err(format!("another program answers there, with {}", got.status))
    }
}

async fn answers(address: SocketAddr) -> Result<(), String> {
    local::get(address, None, "/ui").await.map(|_| ())
}

async fn connects(address: SocketAddr) -> Result<(), String> {
    let connected = TcpStream::connect(local::reachable(address)).await;
    connected.map(|_| ()).map_err(|error| error.to_string())
}
