//! Stats workers: what each stream of a participant has seen since the last flush, and who still
//! reports (livekit pkg/telemetry/statsworker.go).

mod guard;
mod key;
mod slab;
mod window;
mod workers;

pub use guard::ReferenceGuard;
pub use key::hash_of;
pub use key::{StatsKey, TrackClass};
pub use window::Coalesced;
pub use workers::{
    Acquired, CLEANUP_WAIT, Flushed, Released, Reported, UNHELD_WAIT, Who, WorkerId, Workers,
};
