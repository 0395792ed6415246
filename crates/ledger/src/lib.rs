//! The ledger: counts of every record that is accepted, delivered or lost.
//!
//! For inputs: `accepted = processed + waiting + dead letters + lost`; refused ones are counted by
//! reason, beside the accepted. For outputs: `accepted = delivered + waiting + dead letters +
//! lost(reason)`. [`Snapshot::check`] holds at any time, as a record is counted as accepted before its
//! outcome can be counted. Counts are atomics: counting never blocks.
//!
//! [`report`] renders the ledger as a table, [`status`] as JSON; [`health`] has what does not work now, and
//! [`sentences`] its wording; [`faults`] notes parts of the program that panicked. This crate knows the model, and nothing of files, sockets or LiveKit's messages.
//!
//! Unit tests are in each module; each scenario in the root's `tests/it` ends with [`Snapshot::check`].

mod balance;
mod connections;
mod counts;
pub mod faults;
mod grouped;
pub mod health;
mod reason;
pub mod report;
pub mod sentences;
mod snapshot;
pub mod status;

pub use balance::Imbalance;
pub use connections::{Connections, Listener};
pub use counts::Ledger;
pub use reason::{Lost, RecordingOutcome, Refused};
pub use snapshot::{Delivered, Input, Output, Processed, Snapshot};
