//! What survives a restart: logs of checksummed records ([`store`]), and the journal of accepted messages
//! with its dead letters ([`journal`]). The files block; the journal has a thread of its own for them.

pub mod journal;
pub mod memory;
pub mod store;
