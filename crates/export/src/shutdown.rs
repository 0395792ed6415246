//! Waiting that shutdown cuts short: `true` in the channel, or its sender dropped with the exporter.

use std::time::Duration;

use tokio::sync::watch;

// During shutdown there is no time for a longer pause.
const LAST_PAUSE: Duration = Duration::from_millis(250);

pub(crate) fn is_ending(ending: &watch::Receiver<bool>) -> bool {
    *ending.borrow() || ending.has_changed().is_err()
}

/// Returns once shutdown begins.
pub(crate) async fn wait_for_end(ending: &mut watch::Receiver<bool>) {
    // An error means that the exporter was dropped.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Waits for `pause`, or until shutdown begins; during shutdown for 250 ms at most.
pub(crate) async fn wait(pause: Duration, ending: &mut watch::Receiver<bool>) {
    if is_ending(ending) {
        tokio::time::sleep(pause.min(LAST_PAUSE)).await;
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = wait_for_end(ending) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_short_during_shutdown() {
        const PAUSE: Duration = Duration::from_secs(30);
        let (ending, receiver) = watch::channel(false);
        let pause = async || {
            let before = Instant::now();
            wait(PAUSE, &mut receiver.clone()).await;
            before.elapsed()
        };
        assert_eq!(pause().await, PAUSE);
        ending.send_replace(true);
        assert_eq!(pause().await, LAST_PAUSE);
        ending.send_replace(false);
        drop(ending);
        assert_eq!(pause().await, LAST_PAUSE);
    }
}
