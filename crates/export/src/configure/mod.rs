//! The exporter's settings: from a program's flags, OpenTelemetry's variables, and sections of a file,
//! which the program reads. All errors are collected, each with its place.

mod endpoint;
mod env;
mod errors;
mod flags;
mod otlp;
mod place;
mod places;
mod privacy;
mod reader;
mod resource;
pub mod schema;
pub mod values;

use std::collections::BTreeMap;

pub use env::{Env, ProcessEnv};
pub use errors::{Errors, Problem};
pub use flags::{Flags, option};
pub use otlp::{overridden, read};
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
