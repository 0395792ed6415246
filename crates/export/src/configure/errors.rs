//! What is wrong with a configuration, all of it.

use std::fmt;

use thiserror::Error;

/// One thing that is wrong. It never holds the value, which could be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{at}: {what}")]
pub struct Problem {
    /// Where: a path in the file, a variable or a flag.
    pub at: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// All that is wrong, in the order it was found; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let end_of_last = if i == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
