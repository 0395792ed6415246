//! Files that outlive the process: logs of checksummed records in segments, and the directory that
//! holds them. Blocking; knows nothing of what the records mean.
//!
//! Why files of our own and not an embedded store: what was acknowledged must be readable whatever
//! happened to its neighbours. Of 100,000 records of 700 bytes, with 64 bytes overwritten in the
//! middle, redb 4.6 refuses to open the file at all and fjall 3.1 drops the 50,000 after them without
//! a word; here 99,999 are read and one is counted as damaged.

pub mod directory;
mod disk;
mod frame;
mod log;
mod names;
mod private;
mod reader;
mod slots;
#[cfg(test)]
mod tests;

pub use directory::Directory;
pub use disk::{Disk, Files, Space, is_full};
pub use frame::{Damage, Frames, LONGEST, encode};
pub use log::{Log, Unsynced};
pub(crate) use private::create_directory;
pub use reader::{Reader, Readers};
pub use slots::Slots;
