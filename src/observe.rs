//! What the program tells of itself: its log, its own traces if asked for, its ledger as metrics.

mod clock;

pub use clock::Clock;
