//! Why nothing is accepted, as a reason and in words. No word names a path, a host or a room: probes
//! answer everyone.

use std::fmt;

use bytesize::ByteSize;

use super::budget::{IntakeBudget, Part};
use super::obstacle::{ENLARGE, Obstacle, Process};
use livekit_otel_ledger::health::NotReady;
use livekit_otel_ledger::status::{JournalUse, LimitedBy};

// A webhook of LiveKit takes about this. Space for less accepts next to nothing.
const SMALL: usize = 1 << 10;

impl IntakeBudget {
    /// Why a small message would be refused now, by the condition that refuses it, and in words; `None` if
    /// it would be accepted.
    pub fn refusal(&self) -> Option<(NotReady, String)> {
        if let Some(unwritable) = self.unwritable() {
            return Some((unwritable.reason(), unwritable.to_string()));
        }
        Some(match self.obstacle(SMALL, Part::All)? {
            Obstacle::Process => (NotReady::MemoryLimit, process(self.process())),
            Obstacle::Disk => self.disk(SMALL),
            Obstacle::Queue => (NotReady::JournalFull, queue(self)),
        })
    }

    /// Why a message of `size` bytes is refused now, in words: by [`super::Journal::try_append`], or `below_reserve` by
    /// [`super::Journal::append`] after a time.
    pub(super) fn why_refused(&self, size: usize, below_reserve: bool) -> String {
        if let Some((_, text)) = self.refusal() {
            return text;
        }
        let part = if below_reserve { Part::BelowReserve } else { Part::All };
        match self.obstacle(size, part) {
            Some(Obstacle::Process) => process(self.process()),
            Some(Obstacle::Disk) if below_reserve => reserve(&self.usage()),
            Some(Obstacle::Disk) => self.disk(size).1,
            Some(Obstacle::Queue) => queue(self),
            None => "the journal was full, and has space now".to_owned(),
        }
    }

    fn disk(&self, size: usize) -> (NotReady, String) {
        disk(&self.usage(), self.on_disk(), size as u64)
    }
}

// From there on, only webhooks are accepted.
fn reserve(usage: &JournalUse) -> String {
    let (used, limit) = (bytes(usage.used), bytes(usage.limit));
    let (limited_by, advice) = match usage.limited_by {
        LimitedBy::MaxBytes => ("journal.max_bytes", "raise journal.max_bytes"),
        LimitedBy::Volume => ("the volume of journal.dir", "free space on it"),
    };
    format!(
        "the journal needs {used} of {limit} ({limited_by}), and from 7/8 on it accepts webhooks alone. Is the collector \
         reachable? If it is, {advice}"
    )
}

fn process(process: Process) -> String {
    format!(
        "the process takes {} of memory; above {} (7/8 of memory_limit) nothing is accepted. Raise memory_limit, \
         or let it keep less",
        bytes(process.resident),
        bytes(process.bound())
    )
}

// For a message of `size` bytes.
fn disk(usage: &JournalUse, on_disk: u64, size: u64) -> (NotReady, String) {
    let (needed, limit) = (usage.used.saturating_add(size), usage.limit);
    match usage.limited_by {
        LimitedBy::MaxBytes => {
            let (needed, limit) = apart(needed, limit);
            let text = format!(
                "the journal needs {needed} and may take {limit} (journal.max_bytes): for its entries, for what \
                 waits for delivery, and for the next snapshot. Is the collector reachable? If it is, raise \
                 journal.max_bytes"
            );
            (NotReady::JournalFull, text)
        }
        LimitedBy::Volume => {
            // As `df` shows what is free.
            let more = needed.saturating_sub(on_disk);
            let (more, free) = apart(more, limit.saturating_sub(on_disk));
            let text = format!(
                "the journal needs {more} more, mostly for the next snapshot, and the volume of journal.dir has \
                 {free} free. {ENLARGE}"
            );
            (NotReady::DiskFull, text)
        }
    }
}

fn queue(budget: &IntakeBudget) -> String {
    let (queued, most) = budget.queue();
    let (queued, most) = (bytes(queued), bytes(most));
    if budget.is_on_disk() {
        format!(
            "{queued} of messages wait to be written to the journal, and at most {most} may wait. Is the disk \
             of journal.dir too slow?"
        )
    } else {
        format!(
            "{queued} of messages wait in memory, and at most {most} may wait (journal.max_bytes). Set \
             journal.dir, or raise journal.max_bytes"
        )
    }
}

// Two sizes, of which the first is larger, so that their texts differ.
fn apart(needed: u64, present: u64) -> (String, String) {
    let texts = (bytes(needed).to_string(), bytes(present).to_string());
    if texts.0 == texts.1 { (format!("{needed} B"), format!("{present} B")) } else { texts }
}

/// A size for people, such as `1.5 MiB`.
pub(super) fn bytes(size: u64) -> impl fmt::Display {
    ByteSize::b(size).display().iec()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use livekit_otel_model::Signal;
    use proptest::prelude::*;

    use super::super::budget::Holder;
    use super::super::obstacle::Unwritable;
    use super::*;
    use crate::store::{Disk, Space};

    // A volume with this many bytes left.
    #[derive(Debug)]
    struct Left(u64);

    impl Disk for Left {
        fn space(&self, _: &std::path::Path) -> io::Result<Space> {
            Ok(Space { total: 1 << 40, free: self.0 })
        }
    }

    fn budget(max: u64, free: u64) -> IntakeBudget {
        IntakeBudget::new(16 << 20).on(max, PathBuf::from("/secret/path"), Arc::new(Left(free)))
    }

    fn refused(budget: &IntakeBudget) -> String {
        assert!(!budget.try_take(SMALL, Part::All), "it says why, and accepts");
        let (reason, text) = budget.refusal().unwrap();
        format!("{reason}: {text}")
    }

    #[test]
    fn each_refusal_says_what_is_full_how_full_and_what_to_do() {
        let journal = budget(8 << 20, 1 << 40);
        assert_eq!(journal.refusal(), None);
        journal.set_usage(Holder::Journal, 3 << 20);
        assert_eq!(
            refused(&journal),
            "journal_full: the journal needs 9.3 MiB and may take 8.0 MiB (journal.max_bytes): for its entries, \
             for what waits for delivery, and for the next snapshot. Is the collector reachable? If it is, \
             raise journal.max_bytes"
        );
        let volume = budget(8 << 30, 100);
        assert_eq!(
            refused(&volume),
            "disk_full: the journal needs 1.0 KiB more, mostly for the next snapshot, and the volume of \
             journal.dir has 100 B free. Is the collector reachable? If it is, free space on the volume, or use \
             a larger one"
        );
        let memory = IntakeBudget::new(2000);
        assert!(memory.try_take(1500, Part::All));
        assert_eq!(
            refused(&memory),
            "journal_full: 1.5 KiB of messages wait in memory, and at most 2.0 KiB may wait \
             (journal.max_bytes). Set journal.dir, or raise journal.max_bytes"
        );
        memory.set_process(Process { resident: 950 << 20, limit: 1 << 30 });
        assert_eq!(
            refused(&memory),
            "memory_limit: the process takes 950.0 MiB of memory; above 896.0 MiB (7/8 of memory_limit) nothing \
             is accepted. Raise memory_limit, or let it keep less"
        );
        memory.set_process(Process { resident: 890 << 20, limit: 1 << 30 });
        memory.free(1500);
        assert_eq!(memory.refusal(), None);
        let slow = IntakeBudget::new(2000).on(8 << 30, PathBuf::new(), Arc::new(Left(1 << 40)));
        assert!(slow.try_take(1500, Part::All));
        assert_eq!(
            refused(&slow),
            "journal_full: 1.5 KiB of messages wait to be written to the journal, and at most 2.0 KiB may \
             wait. Is the disk of journal.dir too slow?"
        );
    }

    #[test]
    fn above_the_reserve_an_upload_is_refused_with_numbers_while_webhooks_are_accepted() {
        let journal = budget(8 << 20, 1 << 40);
        journal.set_usage(Holder::Outbox(Signal::Logs), 7 << 20);
        assert_eq!(journal.refusal(), None);
        assert!(!journal.try_take(SMALL, Part::BelowReserve));
        assert_eq!(
            journal.why_refused(SMALL, true),
            "the journal needs 7.2 MiB of 8.0 MiB (journal.max_bytes), and from 7/8 on it accepts webhooks alone. Is \
             the collector reachable? If it is, raise journal.max_bytes"
        );
        let large = journal.why_refused(1 << 20, false);
        assert!(large.starts_with("the journal needs 8.2 MiB and may take 8.0 MiB"), "{large}");
        let volume = budget(8 << 30, 8 << 20);
        volume.set_usage(Holder::Outbox(Signal::Logs), 7 << 20);
        let text = volume.why_refused(15 << 20, true);
        assert!(text.contains("(the volume of journal.dir)"), "{text}");
        volume.set_usage(Holder::Journal, 8 << 20);
        assert_eq!(volume.why_refused(SMALL, true), volume.refusal().unwrap().1);
    }

    #[test]
    fn a_full_volume_shows_its_free_space_and_that_it_is_too_little() {
        let volume = budget(8 << 30, 2_000_000);
        volume.set_usage(Holder::Outbox(Signal::Logs), 3 << 20);
        // What is used is no part of what is free.
        volume.measure();
        volume.set_usage(Holder::Unwritten(Signal::Logs), 4 << 20);
        let text = refused(&volume);
        assert!(text.contains("needs 4.3 MiB more"), "{text}");
        assert!(text.contains("has 1.9 MiB free"), "{text}");
        let slack = 256 << 10;
        volume.set_usage(Holder::Unwritten(Signal::Logs), 2_000_000 - slack - 1000);
        let text = refused(&volume);
        assert!(text.contains("needs 2000024 B more"), "{text}");
        assert!(text.contains("has 2000000 B free"), "{text}");
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_not_ready_until_a_write_succeeds() {
        let budget = budget(8 << 30, 1 << 40);
        let said = |error: io::Error| {
            budget.begins_write();
            budget.wrote(Some(&error));
            let (reason, text) = budget.refusal().unwrap();
            format!("{reason}: {text}")
        };
        assert_eq!(
            said(io::Error::other("EIO")),
            "journal_failing: the journal can't be written: EIO. Check the disk of journal.dir"
        );
        assert_eq!(
            said(io::ErrorKind::StorageFull.into()),
            "disk_full: the volume of journal.dir refuses writes: no storage space. Is the collector \
             reachable? If it is, free space on the volume, or use a larger one"
        );
        budget.begins_write();
        assert!(budget.refusal().is_some() && budget.is_writing());
        budget.wrote(None);
        assert_eq!(budget.refusal(), None);
        assert_eq!(
            Unwritable::Stuck(Duration::from_secs(12)).to_string(),
            "a write of the journal has not ended for 12 s. Check the disk of journal.dir"
        );
    }

    proptest! {
        #[test]
        fn it_is_refused_exactly_if_a_small_message_is(
            usage in proptest::array::uniform5(0_u64..3 << 20),
            queued in 0_usize..20 << 10,
            resident in 0_u64..20,
            max in (1_u64 << 20)..20 << 20,
            free in 0_u64..20 << 20,
        ) {
            let budget = IntakeBudget::new(16 << 10);
            let budget = budget.on(max, PathBuf::new(), Arc::new(Left(free)));
            let holders = [Holder::Journal, Holder::Snapshot, Holder::Outbox(Signal::Logs),
                Holder::Outbox(Signal::Traces), Holder::Unwritten(Signal::Logs)];
            for (holder, bytes) in holders.into_iter().zip(usage) {
                budget.set_usage(holder, bytes);
            }
            budget.force(queued);
            budget.set_process(Process { resident, limit: 16 });
            let refusal = budget.refusal();
            prop_assert_eq!(refusal.is_none(), budget.try_take(SMALL, Part::All), "{:?}", refusal);
        }
    }

    #[test]
    fn the_highest_use_is_kept() {
        let on_disk = budget(8 << 20, 1 << 40);
        on_disk.set_usage(Holder::Journal, 1 << 20);
        let used = on_disk.usage().used;
        on_disk.set_usage(Holder::Journal, 0);
        let usage = on_disk.usage();
        assert!(usage.used < used && usage.highest == used, "{usage:?}");
        let in_memory = IntakeBudget::new(2000);
        assert!(in_memory.try_take(1500, Part::All));
        in_memory.free(1500);
        let usage = in_memory.usage();
        assert_eq!((usage.used, usage.limit, usage.highest), (0, 2000, 1500));
    }
}
