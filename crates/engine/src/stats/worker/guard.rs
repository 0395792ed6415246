//! Reference counts of stats workers (livekit pkg/telemetry/statsworker.go, `ReferenceGuard` and
//! `ReferenceCount`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

const ACTIVATED: u8 = 1;
const RELEASED: u8 = 2;

/// One holder of a participant's stats worker: its signalling, or its media. It is counted once and
/// released once, however often it is passed; the worker closes with its last holder. A clone is the
/// same guard.
#[derive(Debug, Clone, Default)]
pub struct ReferenceGuard(Arc<AtomicU8>);

impl ReferenceGuard {
    /// A guard that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it was released; it never holds a worker again.
    pub fn is_released(&self) -> bool {
        self.0.load(Relaxed) & RELEASED != 0
    }

    // Returns whether this call activated it.
    fn activate(&self) -> bool {
        self.0.fetch_or(ACTIVATED, Relaxed) & ACTIVATED == 0
    }

    // Returns whether this call released it. A guard that was never activated is not changed.
    fn release(&self) -> bool {
        self.0.compare_exchange(ACTIVATED, ACTIVATED | RELEASED, Relaxed, Relaxed).is_ok()
    }
}

/// How many guards hold a worker.
#[derive(Debug, Default)]
pub(super) struct ReferenceCount(i64);

impl ReferenceCount {
    pub(super) fn activate(&mut self, guard: Option<&ReferenceGuard>) {
        if guard.is_some_and(ReferenceGuard::activate) {
            self.0 += 1;
        }
    }

    /// Whether no guard holds it: none ever did, or more were released than activated here.
    pub(super) fn is_none(&self) -> bool {
        self.0 <= 0
    }

    /// Releases a guard; returns whether it was the last.
    pub(super) fn release(&mut self, guard: Option<&ReferenceGuard>) -> bool {
        if !guard.is_some_and(ReferenceGuard::release) {
            return false;
        }
        // As upstream: a guard that another worker activated takes the count below zero, which does not
        // close this worker.
        self.0 -= 1;
        self.0 == 0
    }
}
