//! Pauses intake while the process is near its memory limit.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::IntakeBudget;

const INTERVAL: Duration = Duration::from_millis(200);

/// Pauses intake while the process uses more than 7/8 of `limit` bytes. Never returns, unless the process's
/// memory can't be read.
pub async fn watch(limit: u64, budget: Arc<IntakeBudget>) {
    // The rest is for requests in progress when intake is paused.
    let limit = limit - limit / 8;
    let mut interval = tokio::time::interval(INTERVAL);
    let mut over = false;
    loop {
        interval.tick().await;
        let Some(resident) = resident(None) else {
            tracing::warn!("the process's memory can't be read: memory_limit has no effect");
            return;
        };
        if over != (resident > limit) {
            over = !over;
            budget.set_paused(over);
            if over {
                tracing::error!(resident, "memory_limit is near: intake is paused");
            } else {
                tracing::info!(resident, "memory is below its limit again: intake resumes");
            }
        }
    }
}

/// The resident memory of a process, or of this one without `pid`, in bytes. proc(5) calls it
/// inaccurate; the accurate `smaps_rollup` costs much more.
pub fn resident(pid: Option<u32>) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// The highest [`resident`] memory of a process so far.
pub fn peak(pid: Option<u32>) -> Option<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: Option<u32>, field: &str) -> Option<u64> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}
