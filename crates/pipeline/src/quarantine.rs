//! Entries at which the pipeline panicked. After a second panic an entry is skipped, so that a restart does
//! not panic again. The list is on disk before any later entry is processed, until no replay can reach the
//! entry: a replay must produce the same outputs under the same numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use livekit_otel_durable::store::{Directory, Reader};
use livekit_otel_export::{Exporter, Saved};

const NAME: &str = "quarantine";
// The cause of one panic may be memory or the disk; a second one at the same entry is the entry's.
const MAX_PANICS: u32 = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Crash {
    times: u32,
    // The highest numbers of outputs: those of later entries continue from there.
    outputs: [Saved; 3],
}

/// The entries of one journal at which the pipeline panicked, by number.
#[derive(Debug)]
pub(super) struct Quarantine {
    directory: Arc<Directory>,
    exporter: Exporter,
    crashes: BTreeMap<u64, Crash>,
    // The entry that is being processed; 0 before the first one.
    at: u64,
}

impl Quarantine {
    /// Reads the list.
    pub(super) fn open(directory: &Arc<Directory>, exporter: &Exporter) -> Self {
        let crashes = read(directory);
        let (directory, exporter) = (Arc::clone(directory), exporter.clone());
        Self { directory, exporter, crashes, at: 0 }
    }

    /// Notes that the entry `number` is being processed. If it must be skipped, returns the numbers that
    /// outputs continue from.
    pub(super) fn begin(&mut self, number: u64) -> Option<[Saved; 3]> {
        self.at = number;
        let crash = self.crashes.get(&number);
        crash.filter(|crash| crash.times >= MAX_PANICS).map(|crash| crash.outputs)
    }

    /// Whether the entry `number` may be one with a panic. It is applied alone then, so that the outputs of
    /// all entries before it have their numbers.
    pub(super) fn may_panic(&self, number: u64) -> bool {
        self.crashes.last_key_value().is_some_and(|(last, _)| number <= *last)
    }

    /// Forgets the entries up to `number`: a snapshot covers them, so no replay reaches them.
    pub(super) fn forget_until(&mut self, number: u64) {
        let rest = self.crashes.split_off(&(number + 1));
        if !std::mem::replace(&mut self.crashes, rest).is_empty() {
            self.write();
        }
    }

    fn note(&mut self) {
        let crash = self.crashes.entry(self.at).or_default();
        crash.times += 1;
        let numbered = self.exporter.numbered();
        for (outputs, numbered) in crash.outputs.iter_mut().zip(numbered) {
            *outputs = (*outputs).max(numbered);
        }
        self.write();
    }

    fn write(&self) {
        let written = postcard::to_stdvec(&self.crashes)
            .map_err(std::io::Error::other)
            .and_then(|bytes| self.directory.replace(NAME, |records| records.put(&bytes)));
        if let Err(error) = written {
            tracing::error!(%error, "the list of entries that made the pipeline panic can't be written");
        }
    }
}

fn read(directory: &Directory) -> BTreeMap<u64, Crash> {
    let Ok(mut reader) = Reader::of_file(&directory.path().join(NAME)) else {
        return BTreeMap::new();
    };
    let record = reader.next_of_file().ok().flatten();
    record.and_then(|record| postcard::from_bytes(&record).ok()).unwrap_or_else(|| {
        tracing::error!("the list of entries that made the pipeline panic can't be read");
        BTreeMap::new()
    })
}

// A panic of the pipeline drops this: only then is there something to note.
impl Drop for Quarantine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if self.at == 0 {
            let directory = self.directory.path().display();
            tracing::error!(
                %directory,
                "the pipeline panicked while it loaded the snapshot, and will at each start. If the file `snapshot` is \
                 removed, it reads the journal alone, and lacks the state that only the snapshot has"
            );
            return;
        }
        tracing::error!(entry = self.at, "the pipeline panicked at an entry of the journal");
        self.note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_durable::journal::DeadLetters;
    use livekit_otel_durable::store::Files;
    use livekit_otel_export::Settings;

    fn panics_at(directory: &Arc<Directory>, exporter: &Exporter, number: u64) {
        let mut quarantine = Quarantine::open(directory, exporter);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            quarantine.begin(number);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
    }

    #[tokio::test]
    async fn an_entry_is_skipped_after_its_second_panic_until_a_snapshot_covers_it() {
        let path = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open(path.path(), Arc::new(Files)).unwrap());
        let settings = Settings::default();
        let dead_letters = Arc::new(DeadLetters::in_memory(0));
        let exporter = Exporter::start(&settings, Arc::default(), &dead_letters).unwrap();
        let open = || Quarantine::open(&directory, &exporter);
        panics_at(&directory, &exporter, 7);
        assert!(open().may_panic(6) && open().may_panic(7) && !open().may_panic(8));
        assert_eq!(open().begin(7), None);
        panics_at(&directory, &exporter, 5);
        panics_at(&directory, &exporter, 7);
        assert_eq!(open().begin(5), None);
        assert!(open().begin(7).is_some());
        let mut quarantine = open();
        quarantine.forget_until(6);
        assert!(open().begin(7).is_some());
        quarantine.forget_until(7);
        assert_eq!(open().begin(7), None);
        assert!(!open().may_panic(1));
    }
}
