//! Where values are looked for: flags before variables before the file.

use super::Env;
use super::errors::Problem;
use super::file::File;
use super::values::Parsed;

/// A value's text and where it came from.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) at: String,
}

/// The three places and what is wrong in them.
pub(super) struct Reader<'a> {
    pub(super) env: &'a dyn Env,
    pub(super) file: File,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a problem.
    pub(super) fn wrong(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { at: at.into(), what: what.into() });
    }

    /// A flag's value.
    pub(super) fn flag(name: &str, value: Option<&String>) -> Option<Found> {
        value.map(|text| Found { text: text.trim().to_owned(), at: name.to_owned() })
    }

    /// A variable's value; an empty one is not set, as OpenTelemetry has it.
    pub(super) fn variable(&self, name: &str) -> Option<Found> {
        let text = self.env.get(name)?.trim().to_owned();
        (!text.is_empty()).then(|| Found { text, at: name.to_owned() })
    }

    /// The file's value; an empty one is not set either.
    pub(super) fn leaf(&self, path: &str) -> Option<Found> {
        let text = self.file.leaf(path)?.trim();
        (!text.is_empty()).then(|| Found { text: text.to_owned(), at: self.file.at(path) })
    }

    /// Parses what was found; what is wrong is noted, and stands in for nothing found.
    pub(super) fn parse<T>(
        &mut self,
        found: Option<Found>,
        parse: fn(&str) -> Parsed<T>,
    ) -> Option<T> {
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
    pub(super) fn in_file<T>(&mut self, path: &str, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        self.parse(self.leaf(path), parse)
    }
}
