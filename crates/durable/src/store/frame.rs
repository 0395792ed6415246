//! A record on disk: a mark, its length, its number and a checksum, so that a reader finds the record after
//! a damaged one.

use std::ops::Range;

const MARK: [u8; 4] = *b"\xABlko";
/// The size of what precedes a record.
pub(super) const HEAD: usize = 20;
/// The longest record, in bytes; a longer length is damage. It holds an upload of 64 MiB.
pub const LONGEST: usize = (64 << 20) + (64 << 10);

pub(super) fn too_long() -> std::io::Error {
    let what = format!("a record is longer than {LONGEST} bytes");
    std::io::Error::new(std::io::ErrorKind::InvalidInput, what)
}

/// Unreadable data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records that are missing, by their numbers.
    pub records: u64,
    /// Bytes that belong to no readable record.
    pub bytes: u64,
}

impl std::ops::AddAssign for Damage {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
    }
}

impl Damage {
    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Appends a record to `to`.
pub fn encode(number: u64, record: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    to.extend(MARK);
    to.extend(length.to_le_bytes());
    to.extend(number.to_le_bytes());
    to.extend(checksum(length, number, record).to_le_bytes());
    to.extend(record);
}

fn checksum(length: u32, number: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(record);
    hasher.finalize()
}

/// The bytes at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Record {
        number: u64,
        record: Range<usize>,
    },
    /// A record may begin here: that takes so many bytes to decide.
    Needs(usize),
    /// No record.
    Damaged,
}

pub(super) fn find(bytes: &[u8], at: usize) -> Found {
    let rest = &bytes[at..];
    if rest.len() < HEAD {
        let is_start = rest.iter().zip(MARK).all(|(a, b)| *a == b);
        return if is_start { Found::Needs(HEAD) } else { Found::Damaged };
    }
    if rest[..4] != MARK {
        return Found::Damaged;
    }
    let number_at = |range: Range<usize>| {
        let mut bytes = [0; 8];
        bytes[..range.len()].copy_from_slice(&rest[range]);
        u64::from_le_bytes(bytes)
    };
    let (length, number, sum) = (number_at(4..8), number_at(8..16), number_at(16..20));
    let Ok(length) = usize::try_from(length) else { return Found::Damaged };
    if length > LONGEST {
        return Found::Damaged;
    }
    let Some(record) = rest.get(HEAD..HEAD + length) else { return Found::Needs(HEAD + length) };
    // It was read from 4 bytes.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if u64::from(checksum(length, number, record)) != sum {
        return Found::Damaged;
    }
    let start = at + HEAD;
    Found::Record { number, record: start..start + record.len() }
}

/// Where the next record may begin after `at`.
pub(super) fn resume(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at + 1..).unwrap_or_default();
    let mark = rest.iter().position(|byte| *byte == MARK[0]);
    mark.map_or(bytes.len(), |offset| at + 1 + offset)
}

/// The readable records of `bytes`, in order.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    damaged: u64,
}

impl<'a> Frames<'a> {
    /// From the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: 0, damaged: 0 }
    }

    /// How many bytes were skipped between records.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Where the last record ended.
    pub fn end(&self) -> usize {
        self.end
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.bytes.len() {
            if let Found::Record { number, record } = find(self.bytes, self.at) {
                self.damaged += (self.at - self.end) as u64;
                self.at = record.end;
                self.end = record.end;
                return Some((number, &self.bytes[record]));
            }
            self.at = resume(self.bytes, self.at);
        }
        None
    }
}
