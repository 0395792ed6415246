//! Reads values of flags and variables, and collects errors.

use super::env::Env;
use super::errors::Problem;
use super::places::Places;
use super::values::Parsed;
use livekit_otel_transport::proxy::{Proxies, Route, WrongProxy};

/// A value's text and where it was set.
#[derive(Debug)]
pub struct Found {
    /// The text, trimmed.
    pub text: String,
    /// The flag, the variable, or the line of the file.
    pub at: String,
}

/// The variables, the places of the file's settings, and the errors and notes so far.
#[allow(missing_debug_implementations)] // variables can be secret
pub struct Reader<'a> {
    /// The variables.
    pub env: &'a dyn Env,
    /// Where the file's settings are.
    pub places: Places,
    /// The errors so far.
    pub problems: Vec<Problem>,
    /// What works, but is probably not what was meant.
    pub notes: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// A reader of variables alone.
    pub fn new(env: &'a dyn Env) -> Self {
        Self { env, places: Places::default(), problems: Vec::new(), notes: Vec::new() }
    }
}

impl Reader<'_> {
    /// Adds an error.
    pub fn wrong(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem::new(at, what));
    }

    /// Adds an error at a setting of the file, or at what overrides it.
    pub fn wrong_setting(&mut self, key: &str, what: impl Into<String>) {
        self.wrong(self.places.at(key), what);
    }

    /// Adds a note, unless it is there already.
    pub fn note(&mut self, note: Problem) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A flag's value.
    pub fn flag(name: &str, value: Option<&String>) -> Option<Found> {
        value.map(|text| Found { text: text.trim().to_owned(), at: name.to_owned() })
    }

    /// A variable's value; an empty one counts as not set, as OpenTelemetry specifies.
    pub fn variable(&self, name: &str) -> Option<Found> {
        let text = self.env.get(name)?.trim().to_owned();
        (!text.is_empty()).then(|| Found { text, at: name.to_owned() })
    }

    /// The route that `find` finds among the variables' proxies. If it can't be used, adds an error without
    /// its value, unless that error is there already.
    pub fn route(&mut self, find: impl Fn(&Proxies) -> Result<Route, WrongProxy>) -> Route {
        find(&Proxies::new(|name| self.env.get(name))).unwrap_or_else(|wrong| {
            let problem = Problem::new(wrong.variable, wrong.what);
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
            Route::Direct
        })
    }

    /// Parses a value. If it is wrong, adds an error with the value and returns `None`.
    pub fn parse<T>(&mut self, found: Option<Found>, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        let Found { text, at } = found?;
        let wrong = |what| self.problems.push(Problem::new(at, what).with_value(&text));
        parse(&text).map_err(wrong).ok()
    }

    /// Like [`Reader::parse`], but the error does not show the value.
    pub fn parse_secret<T>(
        &mut self,
        found: Option<Found>,
        parse: fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        let Found { text, at } = found?;
        parse(&text).map_err(|what| self.wrong(at, what)).ok()
    }
}
