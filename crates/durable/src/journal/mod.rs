//! Accepted messages until they are processed, in memory or on disk. Every source appends to a [`Journal`];
//! what [`Pending::durable`] has confirmed may be acknowledged.

mod append;
mod budget;
mod dead_letters;
mod entry;
mod episodes;
mod obstacle;
mod open;
mod queue;
mod reader;
mod readiness;
mod refusal;
mod tail;
mod writer;

pub use append::Ticker;
pub use budget::{Holder, IntakeBudget};
pub use dead_letters::{
    DeadLetter, DeadLetters, Payload, Stored, Unreadable, dead_letter_files,
    read as read_dead_letter,
};
pub use entry::{Accepted, Entry, Read, decode};
pub use episodes::{HighWater, Water};
pub use open::{Opened, Settings, in_memory, open};
pub use queue::{Full, Journal, Pending};
pub use reader::{Numbered, Reader};
pub use readiness::Readiness;
