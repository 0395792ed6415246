//! Entries that the pipeline panicked at. One that it panicked at twice is set aside, so that a restart
//! does not end as the one before. Which those are is on disk before anything behind them is processed,
//! and as long as a replay may come to them: a replay makes the same outputs under the same numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use livekit_otel_durable::store::{Directory, Reader};
use livekit_otel_export::{Exporter, Saved};

const NAME: &str = "quarantine";
// The first panic may be the memory's or the disk's fault; the second at the same entry is not.
const TIMES: u32 = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Crash {
    times: u32,
    // How far outputs were numbered: those behind the entry go on from there.
    outputs: [Saved; 3],
}

/// The entries of one journal that were panicked at, by their numbers.
#[derive(Debug)]
pub(super) struct Quarantine {
    directory: Arc<Directory>,
    exporter: Exporter,
    crashes: BTreeMap<u64, Crash>,
    // What is being processed.
    at: u64,
}

impl Quarantine {
    /// Reads which they are.
    pub(super) fn open(directory: &Arc<Directory>, exporter: &Exporter) -> Self {
        let crashes = read(directory);
        let (directory, exporter) = (Arc::clone(directory), exporter.clone());
        Self { directory, exporter, crashes, at: 0 }
    }

    /// The entry `number` is processed from now on; gives how far outputs were numbered where it is not
    /// to be processed.
    pub(super) fn begin(&mut self, number: u64) -> Option<[Saved; 3]> {
        self.at = number;
        let crash = self.crashes.get(&number);
        crash.filter(|crash| crash.times >= TIMES).map(|crash| crash.outputs)
    }

    /// Whether the entry `number` may be one that was panicked at: what is processed together with others
    /// is only known by the last of them.
    pub(super) fn may_panic(&self, number: u64) -> bool {
        self.crashes.last_key_value().is_some_and(|(last, _)| number <= *last)
    }

    /// A snapshot has all until the entry `number`: a replay does not come to it again.
    pub(super) fn forget_until(&mut self, number: u64) {
        let rest = self.crashes.split_off(&(number + 1));
        if !std::mem::replace(&mut self.crashes, rest).is_empty() {
            self.write();
        }
    }

    fn note(&mut self) {
        let crash = self.crashes.entry(self.at).or_default();
        crash.times += 1;
        let made = self.exporter.numbered();
        for (outputs, made) in crash.outputs.iter_mut().zip(made) {
            *outputs = (*outputs).max(made);
        }
        self.write();
    }

    fn write(&self) {
        let written = postcard::to_stdvec(&self.crashes)
            .map_err(std::io::Error::other)
            .and_then(|bytes| self.directory.replace(NAME, |records| records.put(&bytes)));
        if let Err(error) = written {
            tracing::error!(%error, "which entries the pipeline panicked at can't be noted");
        }
    }
}

fn read(directory: &Directory) -> BTreeMap<u64, Crash> {
    let Ok(mut reader) = Reader::of_file(&directory.path().join(NAME)) else {
        return BTreeMap::new();
    };
    let record = reader.next_of_file().ok().flatten();
    record.and_then(|record| postcard::from_bytes(&record).ok()).unwrap_or_else(|| {
        tracing::error!("which entries the pipeline panicked at can't be read");
        BTreeMap::new()
    })
}

// The pipeline drops it as it panics, and only then something is to be noted.
impl Drop for Quarantine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if self.at == 0 {
            let directory = self.directory.path().display();
            tracing::error!(
                %directory,
                "the pipeline panicked as it loaded the snapshot: so will each start. Without the file `snapshot` it \
                 reads the journal alone, and lacks what only the snapshot has of rooms"
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
    async fn an_entry_is_left_out_after_its_second_panic_until_a_snapshot_has_it() {
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
