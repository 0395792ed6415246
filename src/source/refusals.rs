//! Refused requests: counted in the ledger, reported to the health, and logged with the likely reason. No
//! sender can fill the log: each cause of each source is one warning a minute, which counts all senders.

pub(super) mod advice;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::mem::{Discriminant, discriminant, take};
use std::net::{IpAddr, SocketAddr};
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
// The most peers that a warning counts by their addresses.
const MOST_PEERS: usize = 3;
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
    warnings: Warnings<Cause>,
}

// With the rule of a token, as one reason has several.
type Cause = (usize, usize, Option<Discriminant<Refusal>>);

impl Refusals {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Arc::clone(ledger), warnings: Warnings::default() }
    }

    /// Counts a refused request of which there is no warning.
    pub(super) fn count(&self, source: Source, why: Refused) {
        self.ledger.refused(source, why);
    }

    /// Records a refused request. `text` has the likely reason, and nothing that the sender chose.
    pub(super) fn note(&self, refusal: (Source, Refused, &str), sender: &Sender) {
        self.note_rule(refusal, None, sender);
    }

    fn note_rule(
        &self,
        (source, why, text): (Source, Refused, &str),
        rule: Option<Refusal>,
        sender: &Sender,
    ) {
        self.count(source, why);
        let now = Time::from_system(SystemTime::now());
        self.ledger.health().refused(source, why, now, text);
        let Sender { peer, key, path } = sender;
        let (what, source_name, reason) = (advice::refused(source), source.as_str(), why.as_str());
        let cause = (source as usize, why as usize, rule.as_ref().map(discriminant));
        let due = self.warnings.due_from(cause, *peer, Instant::now());
        let peer = peer.map(tracing::field::display);
        if let Some((refused, peers)) = due {
            let peers = peers.map(tracing::field::display);
            tracing::warn!(
                source = source_name,
                reason,
                refused,
                peer,
                peers,
                key,
                path,
                "{what}: {text}"
            );
        } else {
            tracing::debug!(source = source_name, reason, peer, key, path, "{what}: {text}");
        }
    }

    /// Requests of `source` succeed again.
    pub(super) fn end(&self, source: Source) {
        self.ledger.health().answered(source);
    }

    /// Records a request that was refused for its token.
    pub(super) fn token(&self, source: Source, rule: Refusal, sender: &Sender) {
        let text = advice::token(source, rule);
        self.note_rule((source, advice::reason(rule), &text), Some(rule), sender);
    }
}

/// Decides what is logged: each cause at most once in a minute.
#[derive(Debug)]
pub(super) struct Warnings<K>(Mutex<HashMap<K, Unlogged>>);

#[derive(Debug, Default)]
struct Unlogged {
    warned: Option<Instant>,
    since: u64,
    peers: Peers,
}

/// The first peers since a warning, with their numbers: one that sends much hides no other.
#[derive(Debug, Default)]
pub(super) struct Peers {
    first: Vec<(IpAddr, u64)>,
    others: u64,
}

impl Peers {
    fn add(&mut self, peer: IpAddr) {
        let peer = peer.to_canonical();
        if let Some((_, times)) = self.first.iter_mut().find(|(known, _)| *known == peer) {
            *times += 1;
        } else if self.first.len() < MOST_PEERS {
            self.first.push((peer, 1));
        } else {
            self.others += 1;
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (peer, times)) in self.first.iter().enumerate() {
            write!(f, "{}{peer} ({times})", if nth == 0 { "" } else { ", " })?;
        }
        if self.others > 0 {
            write!(f, ", others ({})", self.others)?;
        }
        Ok(())
    }
}

impl<K> Default for Warnings<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Warnings<K> {
    /// If a warning about `cause` is due, how often it occurred since the last one, with this time.
    pub(super) fn due(&self, cause: K, now: Instant) -> Option<u64> {
        self.due_from(cause, None, now).map(|(since, _)| since)
    }

    /// The same of a request or a connection of `peer`, with the peers since the last warning if `peer` is not the
    /// only one.
    pub(super) fn due_from(
        &self,
        cause: K,
        peer: Option<SocketAddr>,
        now: Instant,
    ) -> Option<(u64, Option<Peers>)> {
        let mut causes = self.0.lock();
        let unlogged = causes.entry(cause).or_default();
        unlogged.since += 1;
        if let Some(peer) = peer {
            unlogged.peers.add(peer.ip());
        }
        if unlogged.warned.is_some_and(|warned| now.saturating_duration_since(warned) < QUIET) {
            return None;
        }
        unlogged.warned = Some(now);
        let (since, peers) = (take(&mut unlogged.since), take(&mut unlogged.peers));
        let has_several = peers.first.len() > 1;
        Some((since, has_several.then_some(peers)))
    }
}

#[cfg(test)]
mod tests;
