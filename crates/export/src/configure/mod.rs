//! The exporter's settings: from a program's flags, OpenTelemetry's variables, and sections of a file,
//! which the program reads. All errors are collected, each with its place.

mod errors;
mod otlp;
mod places;
mod privacy;
mod reader;
mod resource;
pub mod schema;
pub mod values;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

pub use errors::{Errors, Problem};
pub use otlp::{Flags, overridden, read};
pub use places::Places;
pub use reader::{Found, Reader};

use crate::Settings;
use schema::Sections;

impl Default for Settings {
    /// The defaults of OpenTelemetry's specification, without the environment.
    fn default() -> Self {
        let env = BTreeMap::new();
        read(&Flags::default(), &Sections::default(), &mut Reader::new(&env))
    }
}

/// Where variables are read from.
pub trait Env {
    /// The variable's value; one that is not UTF-8 counts as not set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl<S: BuildHasher> Env for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name).cloned()
    }
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

/// One of livekit-otel's own options, if its flag or variable is set. The variable is named after the
/// flag: `LIVEKIT_OTEL_LOG_LEVEL` for `--log-level`.
pub fn option(reader: &Reader<'_>, flag: &str, value: Option<&String>) -> Option<Found> {
    let variable = flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
    Reader::flag(flag, value).or_else(|| reader.variable(&format!("LIVEKIT_OTEL_{variable}")))
}
