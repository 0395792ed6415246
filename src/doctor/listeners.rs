//! The listeners: served by a running server, or free for one.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::check::{Check, late};
use super::local::{self, open_http2};
use crate::config::Config;
use crate::source::tls::Files;

const WEBHOOKS: &str = "listener.webhooks";
const STREAMS: &str = "listener.streams";
const ADMIN: &str = "listener.admin";
const VIEW: &str = "listener.ui";

/// What is expected at the addresses.
pub(super) enum Expected {
    /// The running server.
    Served,
    /// Nothing, as no server was found. One that hangs is not found, but has its journal.
    Free { journal: Option<String> },
}

/// Checks all listeners.
pub(super) async fn check(config: &Config, expected: &Expected, limit: Duration) -> Vec<Check> {
    let mut listeners =
        vec![(WEBHOOKS, config.http), (STREAMS, config.grpc), (ADMIN, config.admin)];
    listeners.extend(config.ui.map(|ui| (VIEW, ui)));
    let mut checks = Vec::new();
    for (name, address) in listeners {
        checks.push(match (address.port(), expected) {
            (0, _) => Check::ok(name, format!("{address}: a free port at each start")),
            (_, Expected::Free { journal }) => match bind(address) {
                Ok(()) => Check::ok(name, format!("{address} is free")),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    let is_ours = timeout(limit, is_ours(config, name, address)).await;
                    in_use(config, name, address, (is_ours.unwrap_or(false), journal.as_deref()))
                }
                Err(error) => unusable(name, address, &error),
            },
            (_, Expected::Served) => {
                let served = timeout(limit, served(config, name, address)).await;
                served.unwrap_or_else(|_| late(name, limit))
            }
        });
    }
    checks
}

// Without listening, it takes no connection from a sender, and does not hinder a server that starts now.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

// Whether what answers there may be a livekit-otel.
async fn is_ours(config: &Config, name: &'static str, address: SocketAddr) -> bool {
    match (name, &config.http_tls) {
        (WEBHOOKS, Some(files)) if files.client_ca.is_some() => false,
        (WEBHOOKS, tls) => healthy(address, tls.as_ref()).await.is_ok(),
        (ADMIN, _) => healthy(address, None).await.is_ok(),
        _ => false,
    }
}

// A server in production that hangs looks like this too: it must not be ended lightly.
fn in_use(
    config: &Config,
    name: &'static str,
    address: SocketAddr,
    (is_ours, journal): (bool, Option<&str>),
) -> Check {
    let text = format!("{address} is in use, and no livekit-otel answers at {}", config.admin);
    let (text, advice) = match (is_ours, journal) {
        (true, _) => (
            format!("{text}, but what is there answers /healthz as livekit-otel does"),
            "Has it another listen.admin? Run the doctor with its configuration",
        ),
        (false, Some(process)) => (
            format!("{text}; the journal is in use by {process}"),
            "Does that livekit-otel hang, or has it another listen.admin? `ss -ltnp` names the program at the \
             address",
        ),
        (false, None) => (
            text,
            "`ss -ltnp` names the program. Unless it is a livekit-otel that hangs or has another listen.admin, \
             end it or choose another port",
        ),
    };
    Check::fail(name, text).advice(advice)
}

fn unusable(name: &'static str, address: SocketAddr, error: &io::Error) -> Check {
    let (text, advice) = match error.kind() {
        ErrorKind::AddrNotAvailable => (
            format!("{address} is no address of this machine"),
            "Listen on one of its own, or on 0.0.0.0 or [::] for all of them",
        ),
        ErrorKind::PermissionDenied => (
            format!("this user may not listen on {address}: {error}"),
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
        return local::connects(address).await;
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
