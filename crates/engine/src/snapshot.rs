//! Snapshots of sessions and instruments, so that a restart need not replay the whole journal. A
//! snapshot is a sequence of independent parts: a damaged one loses only its own content.

use std::collections::{HashMap, HashSet};
use std::io;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// The version of the parts' format.
pub const VERSION: u32 = 7;
/// The oldest version that can be read.
pub const OLDEST: u32 = 7;

/// The content of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// The header that the others belong to: always the first.
    Head = 1,
    /// An open room.
    Room,
    /// Events in no room.
    Roomless,
    /// Operations beside rooms, such as egresses.
    Works,
    /// Ids of rooms that were forgotten.
    Gone,
    /// Deadlines of rooms.
    Wakes,
    /// Ids of received messages.
    Seen,
    /// The instruments of all nodes.
    Nodes,
    /// Series of streams.
    Series,
    /// The end marker: everything before it was written.
    End,
    /// The newest room of each name.
    Names,
    /// A room that has ended.
    Ended,
    /// How many rooms there are.
    Rooms,
    /// Events that wait for their room.
    Early,
    /// An agent's job, or what is known of all of them.
    Agents,
    /// Series of other programs' metrics.
    AgentSeries,
    /// Series of metrics that are derived from agents' records.
    DerivedSeries,
    /// Questions to LiveKit's API.
    Questions,
    /// Series of operations and of usage.
    WorkSeries,
}

impl Part {
    const ALL: [Self; 19] = [
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
        Self::Early,
        Self::Agents,
        Self::AgentSeries,
        Self::DerivedSeries,
        Self::Questions,
        Self::WorkSeries,
    ];
}

/// Why a part can't be written or read.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not a part of this version.
    #[error("it is of another version")]
    Version,
    /// Its content is malformed.
    #[error("a part can't be read: {0}")]
    Form(#[from] postcard::Error),
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Encodes parts and passes them on, one after the other.
pub struct Writer<'a> {
    to: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Passes each encoded part to `to`.
    pub fn new(to: &'a mut dyn FnMut(&[u8]) -> io::Result<()>) -> Self {
        Self { to, buffer: Vec::new() }
    }

    /// Writes a part.
    ///
    /// # Errors
    /// Those of the function that it is passed to.
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

/// A part's kind and its encoded content.
///
/// # Errors
/// If it is not a part.
pub fn part(bytes: &[u8]) -> Result<(Part, &[u8]), Error> {
    let (kind, content) = bytes.split_first().ok_or(Error::Version)?;
    let part = Part::ALL.into_iter().find(|part| *part as u8 == *kind).ok_or(Error::Version)?;
    Ok((part, content))
}

/// Decodes a part's content.
///
/// # Errors
/// If it can't be read.
pub fn read<'de, T: Deserialize<'de>>(content: &'de [u8]) -> Result<T, Error> {
    Ok(postcard::from_bytes(content)?)
}

/// Serializes a map in the order of its keys, as a hash map's order differs between processes.
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

/// Serializes a set in the order of its values.
pub(crate) fn set_in_order<T: Ord + Serialize, S: Serializer, H>(
    set: &HashSet<T, H>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[expect(clippy::disallowed_methods, reason = "they are sorted")]
    let mut values: Vec<_> = set.iter().collect();
    values.sort_unstable();
    to.collect_seq(values)
}
