//! Files that outlive the process: logs of checksummed records in segments, and the directory that holds
//! them. All calls block; records are bytes without a meaning here.
//!
//! Why not an embedded store: an acknowledged record must stay readable when its neighbours are damaged. Of
//! 100,000 records of 700 bytes, with 64 bytes overwritten in the middle, redb 4.6 does not open the file,
//! and fjall 3.1 silently drops the 50,000 after them. Here 99,999 are read and one is counted as damaged.

pub mod directory;
mod disk;
mod error;
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
