//! The order of a table's rows: its name in the query of the page's URL, and the values.

use livekit_otel_model::event::Time;

/// A table whose order can be chosen: its place among the filter's orders, and its name in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The list of a page: rooms, participants of a room, or failures over all rooms.
    List,
    /// The failures of a room.
    Failures,
}

impl Table {
    pub(super) const ALL: [Self; 2] = [Self::List, Self::Failures];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "sort",
            Self::Failures => "failures",
        }
    }
}

/// An order: by the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    /// The column's.
    pub(super) key: &'static str,
    /// From the highest to the lowest.
    pub(super) is_down: bool,
}

pub(super) const UP: bool = false;
pub(super) const DOWN: bool = true;

// Of all tables.
const KEYS: [&str; 11] = [
    "name",
    "start",
    "duration",
    "participants",
    "tracks",
    "failures",
    "loss",
    "score",
    "when",
    "what",
    "error",
];

impl Sort {
    pub(super) const fn new(key: &'static str, is_down: bool) -> Self {
        Self { key, is_down }
    }

    /// Reads `duration`, or `-duration` for the other direction.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (key, is_down) = text.strip_prefix('-').map_or((text, UP), |key| (key, DOWN));
        let key = KEYS.into_iter().find(|known| *known == key)?;
        Some(Self { key, is_down })
    }

    pub(super) fn text(self) -> String {
        format!("{}{}", if self.is_down { "-" } else { "" }, self.key)
    }
}

/// The value of a cell, as it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Count(usize),
    /// Nanoseconds.
    Nanos(u64),
    /// In lower case.
    Text(String),
    // The bits of a number that is not negative are ordered as it is.
    Bits(u64),
    Nothing,
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_lowercase())
    }

    pub(super) fn at(time: Time) -> Self {
        Self::Nanos(time.nanos())
    }

    pub(super) fn measure(value: Option<f64>) -> Self {
        value.map_or(Self::Nothing, |value| Self::Bits(value.max(0.0).to_bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_is_written() {
        for text in ["-duration", "loss"] {
            assert_eq!(Sort::read(text).map(Sort::text).as_deref(), Some(text));
        }
        for text in ["", "-", "--loss", "Loss", "loss "] {
            assert_eq!(Sort::read(text), None, "{text}");
        }
    }
}
