//! The state of sessions and instruments, in parts: written from time to time, so that a restart need
//! not read all that was ever told. Parts are apart, so that a damaged one costs only itself.

use std::collections::{HashMap, HashSet};
use std::io;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Of the parts' form.
pub const VERSION: u32 = 4;
/// The oldest version that is read: its parts have the same form, and it lacks [`Part::Names`] and [`Part::Ended`].
pub const OLDEST: u32 = 3;

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// What the others belong to: always the first.
    Head = 1,
    /// A room of [`crate::session`].
    Room,
    /// What happened in no room.
    Roomless,
    /// What goes on beside rooms.
    Works,
    /// Rooms that are forgotten.
    Gone,
    /// When rooms are looked at next.
    Wakes,
    /// Ids that were seen.
    Seen,
    /// The instruments of all nodes.
    Nodes,
    /// Series of streams.
    Series,
    /// Nothing: all before it was written.
    End,
    /// The newest room of each name.
    Names,
    /// A room that has ended.
    Ended,
    /// How many rooms there are.
    Rooms,
}

impl Part {
    const ALL: [Self; 13] = [
        Self::Head,
        Self::Room,
        Self::Roomless,
        Self::Works,
        Self::Gone,
        Self::Wakes,
        Self::Seen,
        Self::Nodes,
        Self::Series,
        Self::End,
        Self::Names,
        Self::Ended,
        Self::Rooms,
    ];
}

/// Why a part could not be written or read.
#[derive(Debug, Error)]
pub enum Error {
    /// It is none of this version's.
    #[error("it is of another version")]
    Version,
    /// Its form is wrong.
    #[error("a part can't be read: {0}")]
    Form(#[from] postcard::Error),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Takes the parts one after the other.
pub struct Writer<'a> {
    to: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Hands each encoded part to `to`.
    pub fn new(to: &'a mut dyn FnMut(&[u8]) -> io::Result<()>) -> Self {
        Self { to, buffer: Vec::new() }
    }

    /// Writes a part.
    ///
    /// # Errors
    /// Those of what takes it.
    pub fn put(&mut self, part: Part, value: &impl Serialize) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.push(part as u8);
        self.buffer = postcard::to_extend(value, buffer)?;
        Ok((self.to)(&self.buffer)?)
    }
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// What a part is and its content.
///
/// # Errors
/// Where it is none.
pub fn part(bytes: &[u8]) -> Result<(Part, &[u8]), Error> {
    let (kind, content) = bytes.split_first().ok_or(Error::Version)?;
    let part = Part::ALL.into_iter().find(|part| *part as u8 == *kind).ok_or(Error::Version)?;
    Ok((part, content))
}

/// A part's value.
///
/// # Errors
/// Where it can't be read.
pub fn read<'de, T: Deserialize<'de>>(content: &'de [u8]) -> Result<T, Error> {
    Ok(postcard::from_bytes(content)?)
}

/// A map in the order of its keys, as that of a hash map is another in each process.
pub(crate) fn in_order<K: Ord + Serialize, V: Serialize, S: Serializer, H>(
    map: &HashMap<K, V, H>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(sorted(map))
}

/// The entries of a map in the order of its keys.
pub(crate) fn sorted<K: Ord, V, H>(map: &HashMap<K, V, H>) -> Vec<(&K, &V)> {
    #[expect(clippy::disallowed_methods, reason = "they are sorted")]
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
    entries
}

/// A set in its values' order.
pub(crate) fn set_in_order<T: Ord + Serialize, S: Serializer, H>(
    set: &HashSet<T, H>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[expect(clippy::disallowed_methods, reason = "they are sorted")]
    let mut values: Vec<_> = set.iter().collect();
    values.sort_unstable();
    to.collect_seq(values)
}
