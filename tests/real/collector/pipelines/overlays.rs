//! The files that are laid over another: what they make of what passes.

mod aliases;
mod call;
mod made;
mod pii;
mod redact;

use std::collections::BTreeSet;

use livekit_otel_model::semconv::PERSONAL;
use livekit_otel_tools::demo::Received;

use super::super::Built;
use super::items::{self, Item, What};
use super::otelcol::{Running, listening_for_both};
use super::recorded::{self, send};
use super::{Backends, file};
use call::Uploads;

const KEY: &str = "a-made-up-key-of-at-least-thirty-two-bytes";

async fn through(built: &Built, overlays: &[String], received: &Received) -> Vec<Item> {
    through_with(built, overlays, received, &Uploads::default()).await
}

/// The same, with what agents and clients upload.
async fn through_with(
    built: &Built,
    overlays: &[String],
    received: &Received,
    uploads: &Uploads,
) -> Vec<Item> {
    let backends = Backends::start(built).await;
    let (grpc, http, own) = listening_for_both();
    let configs = [&[file("grafana.yaml")], overlays, &[own]].concat();
    let mut variables = backends.variables.to_vec();
    variables.push(("LIVEKIT_OTEL_PRIVACY_HASH_KEY", KEY.to_owned()));
    let otelcol = Running::start(built, &configs, &variables);
    send(&grpc, received).await;
    uploads.send(http);
    assert_eq!(otelcol.stop(), [""; 0]);
    backends.stop_at(items::count(received) + uploads.count()).await
}

/// A call, and simulated ones with failures.
async fn calls_of_all() -> Received {
    let mut received = recorded::call().await.clone();
    append(&mut received, recorded::calls().await.clone());
    received
}

fn append(received: &mut Received, other: Received) {
    received.traces.extend(other.traces);
    received.logs.extend(other.logs);
    received.metrics.extend(other.metrics);
}

/// All names and identities, and texts of errors.
fn personal(items: &[Item]) -> BTreeSet<String> {
    let texts = items.iter().flat_map(|item| PERSONAL.iter().map(|key| item.text(key)));
    texts.flatten().map(str::to_owned).collect()
}

/// None of these texts is anywhere in what came, and nothing personal of the call is part of one.
fn assert_no_names(items: &[Item], names: &BTreeSet<String>) {
    for item in items::counted(items).keys() {
        let texts: BTreeSet<_> = item.split('"').collect();
        let passed = names.iter().find(|name| texts.contains(&***name));
        assert!(passed.is_none(), "{passed:?} passed: {item}");
        let passed = call::PERSONAL.iter().find(|part| item.contains(**part));
        assert!(passed.is_none(), "{passed:?} passed: {item}");
    }
}

// A span's status says its error.type.
fn without_text(item: &mut Item) {
    let error = item.text("error.type").unwrap_or_default().to_owned();
    if let What::Span(span) = &mut item.what
        && let Some(status) = &mut span.status
    {
        status.message = error;
    }
}
