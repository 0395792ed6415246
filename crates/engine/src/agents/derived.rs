//! Metrics that are derived from what agents upload: latencies of turns with exemplars, requests, tokens, jobs. They
//! have LiveKit's names where its registry has one, and then replace the agents' own points of that name
//! (`Learnt::replaces`).

mod learnt;
mod store;
mod values;

pub(super) use learnt::{Learnt, Values, error};
pub(super) use store::Derived;
pub(super) use values::What;
