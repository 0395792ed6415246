//! A page for people without a stack: rooms, waterfalls and quality over time, from what this process
//! was told.
//!
//! It has a listener of its own, on loopback only: the webhooks' is often reached from elsewhere, and
//! who was in which room is nobody's business there. What it shows passed the pipeline's tap, which
//! waits for nobody, and is bounded; personal data is as it is sent.

mod browser;
mod pages;
mod site;
mod store;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

pub use browser::open;

use crate::source::listen::{self, BindError, Site};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Listener};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_pipeline::{Passed, Tap, Tapped, tap};
use store::{Limits, Store};

/// The page, which is there until it is dropped.
#[derive(Debug)]
pub struct Ui {
    site: Site,
    filling: JoinHandle<()>,
}

/// What the pages are made of.
#[derive(Debug)]
struct Shown {
    store: Mutex<Store>,
    ledger: Arc<Ledger>,
    // Where traces are looked at, with `{trace_id}` in it.
    trace_url: Option<Arc<str>>,
    missed: std::sync::atomic::AtomicU64,
}

impl Shown {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ui {
    /// Opens it at a loopback address, port 0 for a free one; what passes the tap is on it.
    ///
    /// # Errors
    /// Where the address can't be used, or is none of loopback.
    pub(crate) async fn start(
        address: SocketAddr,
        privacy: Privacy,
        ledger: Arc<Ledger>,
        trace_url: Option<Arc<str>>,
        faults: &Faults,
    ) -> Result<(Self, Tap), BindError> {
        let what = "the page of rooms";
        if !address.ip().is_loopback() {
            let source = std::io::Error::other("it is not a loopback address");
            return Err(BindError::Address { what, address, source });
        }
        let store = Mutex::new(Store::new(Limits::default()));
        let of = (Listener::Page, Arc::clone(&ledger));
        let shown = Arc::new(Shown { store, ledger, trace_url, missed: 0.into() });
        let site =
            listen::site(what, address, site::router(Arc::clone(&shown)), of, faults).await?;
        let (tap, tapped) = tap();
        let (faults, filling) = (faults.clone(), fill(tapped, shown, privacy));
        let filling = tokio::spawn(async move { faults.watch(what, filling).await });
        Ok((Self { site, filling }, tap))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/ui", self.site.address)
    }

    /// Returns once all that passed the tap is on the page: after the pipeline has ended.
    pub async fn filled(&mut self) {
        // One that broke off has filled it as far as it can.
        let _ = (&mut self.filling).await;
    }
}

async fn fill(mut tapped: Tapped, shown: Arc<Shown>, privacy: Privacy) {
    while let Some(mut passed) = tapped.next().await {
        #[cfg(feature = "fuzzing")]
        livekit_otel_pipeline::panics::panic_on_page(&passed);
        match &mut passed {
            Passed::Spans(spans) => spans.iter_mut().for_each(|span| privacy.redact_span(span)),
            Passed::Logs(logs) => logs.iter_mut().for_each(|record| privacy.redact_log(record)),
            Passed::Windows(..) => {}
        }
        shown.store().take(passed);
        shown.missed.store(tapped.missed(), std::sync::atomic::Ordering::Relaxed);
    }
}
