//! Whether the ledger adds up, and every upload was accepted.

use livekit_otel_ledger::Lost;
use livekit_otel_ledger::status::Status;
use livekit_otel_model::{Signal, Source};

/// The sources are those that have to have uploaded something.
pub(super) fn check(status: &Status, sources: &[Source]) {
    let ledger = &status.ledger;
    assert_eq!(ledger.imbalances().count(), 0, "{status:#?}");
    assert_eq!([ledger.journal_damaged, ledger.journal_failures], [0, 0]);
    assert_eq!(status.dead_letters, 0, "{status:#?}");
    for output in &ledger.outputs {
        // A later point supersedes one that waited for the collector.
        let is_lost = |(why, n): &&(Lost, u64)| {
            *n > 0 && (*why != Lost::Superseded || output.signal != Signal::Metrics)
        };
        assert_eq!(output.lost.iter().find(is_lost), None, "{output:?}");
        assert!(output.delivered > 0, "{output:?}");
    }
    for input in ledger.inputs.iter().filter(|input| input.source.is_upload()) {
        assert!(input.accepted > 0 || !sources.contains(&input.source), "{input:?}");
        let refused: u64 = input.refused.iter().map(|(_, n)| n).sum();
        assert_eq!([input.unusable, input.lost, refused], [0; 3], "{input:?}");
        assert_eq!(input.processed, input.accepted, "{input:?}");
    }
}
