//! The data that the pages show.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, MutexGuard};

use super::store::{Limits, Store};
use livekit_otel_ledger::Ledger;

/// The data of all pages.
#[derive(Debug)]
pub(super) struct View {
    store: Mutex<Store>,
    pub(super) ledger: Arc<Ledger>,
    /// The URL of a trace, with `{trace_id}` in it.
    pub(super) trace_url: Option<Arc<str>>,
    /// How many records the tap left out.
    pub(super) missed: AtomicU64,
}

impl View {
    pub(super) fn new(ledger: Arc<Ledger>, trace_url: Option<Arc<str>>) -> Self {
        let store = Mutex::new(Store::new(Limits::default()));
        Self { store, ledger, trace_url, missed: 0.into() }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock()
    }
}
