//! Where values are looked for: flags before variables before the file.

use super::Env;
use super::document::Document;
use super::errors::Problem;
use super::values::Parsed;

/// A value's text and where it came from.
#[derive(Debug)]
pub struct Found {
    /// The text, trimmed.
    pub text: String,
    /// The flag, the variable, or the path in the file.
    pub at: String,
}

/// The three places and what is wrong in them.
#[allow(missing_debug_implementations)] // what it reads may be secret
pub struct Reader<'a> {
    /// The variables.
    pub env: &'a dyn Env,
    /// The file.
    pub file: Document,
    /// What is wrong, so far.
    pub problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a problem.
    pub fn wrong(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { at: at.into(), what: what.into() });
    }

    /// A flag's value.
    pub fn flag(name: &str, value: Option<&String>) -> Option<Found> {
        value.map(|text| Found { text: text.trim().to_owned(), at: name.to_owned() })
    }

    /// A variable's value; an empty one is not set, as OpenTelemetry has it.
    pub fn variable(&self, name: &str) -> Option<Found> {
        let text = self.env.get(name)?.trim().to_owned();
        (!text.is_empty()).then(|| Found { text, at: name.to_owned() })
    }

    /// The file's value; an empty one is not set either.
    pub fn leaf(&self, path: &str) -> Option<Found> {
        let text = self.file.leaf(path)?.trim();
        (!text.is_empty()).then(|| Found { text: text.to_owned(), at: self.file.at(path) })
    }

    /// Parses what was found; what is wrong is noted, and stands in for nothing found.
    pub fn parse<T>(&mut self, found: Option<Found>, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        let Found { text, at } = found?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.wrong(at, what);
                None
            }
        }
    }

    /// The file's value at `path`, parsed.
    pub fn in_file<T>(&mut self, path: &str, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        self.parse(self.leaf(path), parse)
    }
}
