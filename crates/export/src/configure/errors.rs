//! Everything that is wrong with a configuration.

use std::fmt;

use thiserror::Error;

// Longer values are cut in messages.
const LONGEST_SHOWN: usize = 80;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct Problem {
    /// Where: a line of the file with its key, a variable or a flag.
    pub at: String,
    /// What is wrong, and what would be right.
    pub what: String,
    /// The value, unless it could be a secret.
    pub value: Option<String>,
}

impl Problem {
    /// An error without a value.
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into(), value: None }
    }

    /// Adds the value. A URL with a user or a query is left out, as these can hold a secret.
    #[must_use]
    pub fn with_value(mut self, value: &str) -> Self {
        let is_safe = !value.contains(['@', '?']);
        self.value = is_safe.then(|| value.to_owned());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)?;
        let Some(value) = &self.value else { return Ok(()) };
        match value.char_indices().nth(LONGEST_SHOWN) {
            None => write!(f, " (got {value:?})"),
            Some((end, _)) => write!(f, " (got {:?}...)", &value[..end]),
        }
    }
}

/// All errors, in the order they were found; at least one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_cut_and_left_out_of_urls_with_a_user_or_query() {
        let shown = |value: &str| Problem::new("x", "wrong").with_value(value).to_string();
        assert_eq!(shown("a\u{1b}\n"), r#"x: wrong (got "a\u{1b}\n")"#);
        assert_eq!(shown(&"é".repeat(81)), format!("x: wrong (got {:?}...)", "é".repeat(80)));
        assert_eq!(shown("http://user:s3cret@host"), "x: wrong");
        assert_eq!(shown("http://host?key=s3cret"), "x: wrong");
    }
}
