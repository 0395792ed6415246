//! Settings of the exporter as text: OpenTelemetry's variables, and what a program's flags and file add
//! to them. All errors are collected, each with its place.

mod document;
mod errors;
mod otlp;
mod privacy;
mod reader;
mod resource;
pub mod values;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

pub use document::Document;
pub use errors::{Errors, Problem};
pub use otlp::{Flags, read};
pub use reader::{Found, Reader};

use crate::Settings;

impl Default for Settings {
    /// The defaults of OpenTelemetry's specification, whatever the environment says.
    fn default() -> Self {
        let env = BTreeMap::new();
        let mut reader = Reader { env: &env, file: Document::default(), problems: Vec::new() };
        read(&Flags::default(), &mut reader)
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

/// One of livekit-otel's own options: its variable is named like its flag.
pub fn option(
    reader: &Reader<'_>,
    flag: &str,
    value: Option<&String>,
    path: &str,
) -> Option<Found> {
    let variable = flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
    Reader::flag(flag, value)
        .or_else(|| reader.variable(&format!("LIVEKIT_OTEL_{variable}")))
        .or_else(|| reader.leaf(path))
}
