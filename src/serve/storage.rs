//! The journal and the dead letters, in memory or on disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::server::StartError;
use crate::config::{Config, JournalConfig};
use crate::source;
use livekit_otel_agents::Reader;
use livekit_otel_durable::journal::{self, DeadLetters, Journal};
use livekit_otel_durable::store::Directory;
use livekit_otel_export as export;
use livekit_otel_ledger::Ledger;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_pipeline::Checkpoints;

/// Where input is kept until it is processed, and records until they are delivered.
pub(super) struct Storage {
    pub(super) journal: Journal,
    pub(super) reader: journal::Reader,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) disk: Option<Disk>,
    /// Panics of the journal's threads; the server adds its own.
    pub(super) faults: Faults,
    /// Reads uploads, as they arrive and from the journal.
    pub(super) uploads_reader: Arc<Reader>,
    /// The thread that writes the journal.
    pub(super) writer: Option<JoinHandle<()>>,
}

pub(super) struct Disk {
    directory: Arc<Directory>,
    // Bytes of a file of the journal.
    segment: u64,
    pub(super) checkpoints: Checkpoints,
}

impl Storage {
    pub(super) fn open(config: &Config, ledger: &Arc<Ledger>) -> Result<Self, StartError> {
        match &config.journal {
            Some(journal) => Self::on_disk(config, journal, ledger),
            None => Ok(Self::in_memory(config, ledger)),
        }
    }

    fn in_memory(config: &Config, ledger: &Arc<Ledger>) -> Self {
        let (journal, reader) = journal::in_memory(config.journal_bytes, ledger);
        let dead_letters = Arc::new(DeadLetters::in_memory(config.dead_letter_bytes));
        Self {
            journal,
            reader,
            dead_letters,
            disk: None,
            faults: Faults::default(),
            uploads_reader: uploads_reader(config),
            writer: None,
        }
    }

    fn on_disk(
        config: &Config,
        journal: &JournalConfig,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, StartError> {
        let directory = Arc::new(Directory::open(&journal.directory, Arc::clone(&journal.disk))?);
        let dead_letters = Arc::new(DeadLetters::on_disk(&directory, config.dead_letter_bytes)?);
        let total = directory.space().map_or(u64::MAX, |space| space.total);
        let settings = journal.settings.on_volume(total);
        let checkpoints = Checkpoints::open(&directory, settings);
        let next = checkpoints.next();
        let uploads_reader = uploads_reader(config);
        let read = source::read_again(&uploads_reader);
        let opened = journal::open(&directory, next, journal.settings, read, ledger)?;
        let journal::Opened { journal, reader, first, saved, faults, thread } = opened;
        let checkpoints = checkpoints.attach(journal.ticker(), first, saved);
        let disk = Some(Disk { directory, segment: settings.segment(), checkpoints });
        let writer = Some(thread);
        Ok(Self { journal, reader, dead_letters, disk, faults, uploads_reader, writer })
    }

    /// The disk for records that do not fit into the exporter's memory.
    pub(super) fn outbox(&self) -> Option<export::OutboxSettings<'_>> {
        let Disk { directory, segment, .. } = self.disk.as_ref()?;
        let budget = self.journal.budget();
        Some(export::OutboxSettings { directory, budget, segment: *segment })
    }
}

fn uploads_reader(config: &Config) -> Arc<Reader> {
    Arc::new(Reader { privacy: config.export.privacy.clone(), content: config.content })
}
