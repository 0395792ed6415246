//! The live view (`--ui`): rooms, waterfalls and quality over time, from this process's memory.
//!
//! It has its own listener on loopback, since the webhooks' listener is often reachable from
//! elsewhere, where nobody may see who was in which room. Records come from the pipeline's tap,
//! which never waits and is bounded. Personal data is shown as it is sent.

mod browser;
mod pages;
mod site;
mod store;
#[cfg(test)]
mod tests;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::JoinHandle;

pub use browser::open;

use crate::source::listen::{self, BindError, Site};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Listener};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_pipeline::{Passed, Tap, Tapped, tap};
use view::View;

/// The running live view, which stops when it is dropped.
#[derive(Debug)]
pub struct Ui {
    site: Site,
    filling: JoinHandle<()>,
}

impl Ui {
    /// Starts it on a loopback address; port 0 takes a free one. It shows the records that pass the
    /// returned tap.
    ///
    /// # Errors
    /// If the address can't be used or is not a loopback address.
    pub(crate) async fn start(
        address: SocketAddr,
        privacy: Privacy,
        ledger: Arc<Ledger>,
        trace_url: Option<Arc<str>>,
        faults: &Faults,
    ) -> Result<(Self, Tap), BindError> {
        let what = "the live view";
        if !address.ip().is_loopback() {
            let source = std::io::Error::other("it is not a loopback address");
            return Err(BindError::Address { what, address, source });
        }
        let of = (Listener::Page, Arc::clone(&ledger));
        let view = Arc::new(View::new(ledger, trace_url));
        let site = listen::site(what, address, site::router(Arc::clone(&view)), of, faults).await?;
        let (tap, tapped) = tap();
        let (faults, filling) = (faults.clone(), fill(tapped, view, privacy));
        let filling = tokio::spawn(async move { faults.watch(what, filling).await });
        Ok((Self { site, filling }, tap))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/ui", self.site.address)
    }

    /// Waits until it shows all records that passed the tap. Call it after the pipeline has ended.
    pub async fn filled(&mut self) {
        // If the task failed, the pages show the records before that.
        let _ = (&mut self.filling).await;
    }
}

async fn fill(mut tapped: Tapped, view: Arc<View>, privacy: Privacy) {
    while let Some(mut passed) = tapped.next().await {
        #[cfg(feature = "fuzzing")]
        livekit_otel_pipeline::panics::panic_on_page(&passed);
        match &mut passed {
            Passed::Spans(spans) => spans.iter_mut().for_each(|span| privacy.redact_span(span)),
            Passed::Logs(logs) => logs.iter_mut().for_each(|record| privacy.redact_log(record)),
            Passed::Windows(windows, _) => {
                for window in windows {
                    privacy.redact_window(window);
                }
            }
            // They have ids and names of models, and no identities.
            Passed::Agents(..) => {}
        }
        view.store().add(passed);
        view.missed.store(tapped.missed(), Relaxed);
    }
}
