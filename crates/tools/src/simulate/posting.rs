//! Posts the uploads of simulated agents.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::AgentUpload;
use super::message::Message;
use super::report::Outcome;
use crate::destination::Destination;
use crate::uploads::{UploadError, Uploads};
use livekit_otel_model::Source;

// Each room uses one of these connections, which keeps its order.
const CONNECTIONS: usize = 64;
const WAITING: usize = 16;
const SOURCES: [Source; 4] =
    [Source::AgentTraces, Source::AgentLogs, Source::AgentMetrics, Source::AgentRecordings];

type Counted = Arc<Mutex<[Outcome; SOURCES.len()]>>;

/// The connections of agents, and the outcomes.
pub(super) struct Posting {
    connections: Vec<mpsc::Sender<Box<AgentUpload>>>,
    posting: JoinSet<()>,
    outcomes: Counted,
}

impl Posting {
    /// Opens the connections.
    pub(super) fn start(to: &Destination) -> Self {
        let poster = Arc::new(Uploads::new(to));
        let outcomes = Counted::default();
        let (mut connections, mut posting) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let (uploads, waiting) = mpsc::channel(WAITING);
            connections.push(uploads);
            posting.spawn(post(Arc::clone(&poster), waiting, Arc::clone(&outcomes)));
        }
        Self { connections, posting, outcomes }
    }

    /// Waits for space in the queue of a room's connection. Returns false if the server is gone.
    pub(super) async fn send(&self, place: usize, upload: Box<AgentUpload>) -> bool {
        self.connections[place % CONNECTIONS].send(upload).await.is_ok()
    }

    /// Counts an upload that will be sent.
    pub(super) fn count(&self, source: Source, message: &Message) {
        of(&self.outcomes, source, |outcome| outcome.count(message));
    }

    /// Waits until everything is acknowledged, until `deadline` at most.
    pub(super) async fn finish(mut self, deadline: Instant) -> Vec<(Source, Outcome)> {
        self.connections.clear();
        while let Ok(Some(_)) = timeout_at(deadline, self.posting.join_next()).await {}
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SOURCES.into_iter().zip(outcomes).collect()
    }
}

fn of(counted: &Counted, source: Source, change: impl FnOnce(&mut Outcome)) {
    let mut outcomes = counted.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = SOURCES.iter().position(|each| *each == source) {
        change(&mut outcomes[place]);
    }
}

// Posts one upload after the other, until the server is gone.
async fn post(
    poster: Arc<Uploads>,
    mut waiting: mpsc::Receiver<Box<AgentUpload>>,
    outcomes: Counted,
) {
    while let Some(upload) = waiting.recv().await {
        let source = upload.source;
        let retrying = || of(&outcomes, source, |outcome| outcome.retried += 1);
        let posted = poster.send(source, &upload.upload, retrying).await;
        let is_gone = matches!(posted, Err(UploadError::Away { .. }));
        of(&outcomes, source, |outcome| match posted {
            Ok(()) => outcome.acknowledged += 1,
            Err(error) => {
                outcome.error.get_or_insert_with(|| error.to_string());
            }
        });
        if is_gone {
            return;
        }
    }
}
