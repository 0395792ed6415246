//! How far a signal was delivered, as its outbox records it on disk.

use serde::{Deserialize, Serialize};

use livekit_otel_ledger::Delivered;

/// Which of a signal's numbered records are settled: delivered, stored as dead letters or lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    // Every record up to this one is settled.
    settled: u64,
    /// Outcomes of the settled records.
    pub(crate) counts: Delivered,
    // Ranges behind it that were settled before it: few, as requests in flight are.
    beyond: Vec<(u64, u64)>,
    /// The next number. Records before it are settled or on disk.
    pub(crate) next: u64,
    /// How many items the records before `next` hold.
    pub(crate) items: u64,
}

impl Progress {
    /// Reads what is on disk. The last two fields are missing where an earlier version wrote it.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        postcard::from_bytes(value).ok().or_else(|| {
            let (settled, counts, beyond) = postcard::from_bytes(value).ok()?;
            let mut progress = Self { settled, counts, beyond, next: 0, items: 0 };
            progress.next = progress.last() + 1;
            progress.items = progress.counts.sum();
            Some(progress)
        })
    }

    /// The number up to which every record is settled.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// How many records from `first` to before `next` are not settled.
    pub(crate) fn unsettled(&self, first: u64, next: u64) -> u64 {
        let within = |from: u64, until: u64| until.min(next).saturating_sub(from.max(first));
        let beyond = self.beyond.iter().map(|(from, last)| within(*from, last + 1));
        within(first, next) - within(0, self.settled + 1) - beyond.sum::<u64>()
    }

    pub(crate) fn is_settled(&self, number: u64) -> bool {
        let is_within = |(first, last): &(u64, u64)| (*first..=*last).contains(&number);
        number <= self.settled || self.beyond.iter().any(is_within)
    }

    /// The last settled number.
    pub(crate) fn last(&self) -> u64 {
        self.beyond.last().map_or(self.settled, |(_, last)| *last)
    }

    /// Settles `first` to `last`. Every number below `unsettled` is settled, or was never used.
    pub(crate) fn settle(&mut self, first: u64, last: u64, unsettled: u64) {
        let at = self.beyond.partition_point(|(other, _)| *other < first);
        self.beyond.insert(at, (first, last));
        self.beyond.dedup_by(|next, before| {
            let adjoins = next.0 <= before.1 + 1;
            if adjoins {
                before.1 = before.1.max(next.1);
            }
            adjoins
        });
        let done = self.beyond.partition_point(|(first, last)| {
            let is_next = *first <= self.settled + 1;
            is_next || *last < unsettled
        });
        let until = self.beyond.drain(..done).next_back().map_or(0, |(_, last)| last);
        self.settled = self.settled.max(until);
    }
}
