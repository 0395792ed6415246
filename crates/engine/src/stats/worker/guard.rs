//! Who still needs a stats worker (livekit pkg/telemetry/statsworker.go, `ReferenceGuard` and
//! `ReferenceCount`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

const ACTIVATED: u8 = 1;
const RELEASED: u8 = 2;

/// One holder of a participant's stats worker: its signalling, or its media. It activates once and
/// releases once, however often it is passed along; the worker closes with its last holder. A
/// clone is the same guard.
#[derive(Debug, Clone, Default)]
pub struct ReferenceGuard(Arc<AtomicU8>);

impl ReferenceGuard {
    /// A guard that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it was released: it never holds anything again.
    pub fn is_released(&self) -> bool {
        self.0.load(Relaxed) & RELEASED != 0
    }

    // Whether this activated it.
    fn activate(&self) -> bool {
        self.0.fetch_or(ACTIVATED, Relaxed) & ACTIVATED == 0
    }

    // Whether this released it. One that was never activated stays as it is.
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

    /// Whether no guard holds it: none did, or more were released than activated here.
    pub(super) fn is_none(&self) -> bool {
        self.0 <= 0
    }

    /// Whether `guard` was the last.
    pub(super) fn release(&mut self, guard: Option<&ReferenceGuard>) -> bool {
        if !guard.is_some_and(ReferenceGuard::release) {
            return false;
        }
        // A guard that another worker activated is none of this one's: upstream's count goes
        // below zero then, and never comes to 0 by it either.
        self.0 -= 1;
        self.0 == 0
    }
}
