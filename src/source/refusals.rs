//! Refused requests: counted in the ledger, reported to the health, and logged with the likely reason. No
//! sender can fill the log: each cause of each source is one warning a minute.

pub(super) mod advice;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Peer;
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::token::{self, Refusal};
use livekit_otel_model::event::Time;
use livekit_otel_model::{Source, printable};

// The least time between two warnings of the same cause.
const QUIET: Duration = Duration::from_mins(1);
// The longest path that is shown, in characters.
const MAX_PATH: usize = 64;

/// What the log names of a refused request, and nothing else does: it comes from the sender.
#[derive(Debug, Clone, Default)]
pub(super) struct Sender {
    peer: Option<SocketAddr>,
    key: Option<String>,
    path: Option<String>,
}

impl Sender {
    /// Of a request with these extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer>().map(|Peer(peer)| *peer);
        Self { peer, ..Self::default() }
    }

    /// The key that the request's token names.
    pub(super) fn named(self, headers: &HeaderMap, keys: &Keys) -> Self {
        Self { key: token::named_key(headers, keys), ..self }
    }

    /// This program, with one of its keys.
    pub(super) fn ours(key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::default() }
    }

    /// The request's path.
    pub(super) fn asking(self, path: &str) -> Self {
        let path = path.chars().take(MAX_PATH).map(printable::shown).collect();
        Self { path: Some(path), ..self }
    }
}

/// Records refused requests of a listener, or of the API.
#[derive(Debug)]
pub(super) struct Refusals {
    ledger: Arc<Ledger>,
    warnings: Warnings<(usize, usize)>,
}

impl Refusals {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Arc::clone(ledger), warnings: Warnings::default() }
    }

    /// Counts a refused request of which there is no warning.
    pub(super) fn count(&self, source: Source, why: Refused) {
        self.ledger.refused(source, why);
    }

    /// Records a refused request. `text` has the likely reason, and nothing that the sender chose.
    pub(super) fn note(&self, (source, why, text): (Source, Refused, &str), sender: &Sender) {
        self.count(source, why);
        let now = Time::from_system(SystemTime::now());
        self.ledger.health().refused(source, why, now, text);
        let Sender { peer, key, path } = sender;
        let peer = peer.map(tracing::field::display);
        let (what, source_name, reason) = (advice::what(source), source.as_str(), why.as_str());
        let due = self.warnings.due((source as usize, why as usize), Instant::now());
        if let Some(refused) = due {
            tracing::warn!(
                source = source_name,
                reason,
                refused,
                peer,
                key,
                path,
                "{what} refused: {text}"
            );
        } else {
            tracing::debug!(
                source = source_name,
                reason,
                peer,
                key,
                path,
                "{what} refused: {text}"
            );
        }
    }

    /// Records a request that was refused for its token.
    pub(super) fn token(&self, source: Source, rule: Refusal, sender: &Sender) {
        self.note((source, advice::reason(rule), &advice::token(source, rule)), sender);
    }
}

/// Decides what is logged: each cause at most once in a minute.
#[derive(Debug)]
pub(super) struct Warnings<K>(Mutex<BTreeMap<K, Unlogged>>);

#[derive(Debug, Default)]
struct Unlogged {
    warned: Option<Instant>,
    since: u64,
}

impl<K> Default for Warnings<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Warnings<K> {
    /// If a warning about `cause` is due, how often it occurred since the last one, with this time.
    pub(super) fn due(&self, cause: K, now: Instant) -> Option<u64> {
        let mut causes = self.0.lock();
        let unlogged = causes.entry(cause).or_default();
        unlogged.since += 1;
        if unlogged.warned.is_some_and(|warned| now.saturating_duration_since(warned) < QUIET) {
            return None;
        }
        unlogged.warned = Some(now);
        Some(std::mem::take(&mut unlogged.since))
    }
}

#[cfg(test)]
mod tests;
