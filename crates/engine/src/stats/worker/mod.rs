//! Stats workers: a participant's streams since the last flush, and who still reports them (livekit
//! pkg/telemetry/statsworker.go).

mod guard;
mod key;
mod slab;
mod window;
mod workers;

pub use guard::ReferenceGuard;
pub use key::{StatsKey, TrackClass, hash_of};
pub use window::Coalesced;
pub use workers::{
    Acquired, CLEANUP_WAIT, Flushed, Released, Reported, UNHELD_WAIT, Who, WorkerId, Workers,
};
