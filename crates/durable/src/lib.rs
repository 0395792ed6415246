//! Storage that survives a restart.
//!
//! - [`store`]: files of checksummed records: logs in segments, whole files that are replaced atomically,
//!   and the locked directory that holds them. All calls block.
//! - [`journal`]: accepted messages until they are processed, in memory or on disk, the budget that limits
//!   them, and dead letters. The journal on disk has a thread of its own for blocking calls.
//! - [`memory`]: how much memory a process takes.
//!
//! This crate knows the model and the ledger. It does not know LiveKit's messages: it gets a function that
//! reads them. Unit tests in `store` fail, truncate and damage files; the root's `tests/it/durable.rs`,
//! `restart.rs` and `tests/crash` test the journal in a server.

pub mod journal;
pub mod memory;
pub mod store;
