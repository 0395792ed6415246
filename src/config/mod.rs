//! Configuration. Flags override the environment, which overrides the file; all errors are reported at
//! once, each with its place.
//!
//! `schema` has every setting. The file becomes a `tree`, in which flags and variables override
//! settings; then serde reads it by the schema. The other modules check settings against each other, and
//! [`Checked`] checks the files and directories that they name.

mod addresses;
mod agents;
#[cfg(feature = "tls")]
mod certificates;
mod checked;
mod de;
mod directories;
mod journal;
mod keys;
mod limits;
mod listen;
mod load;
mod node;
mod overrides;
mod paths;
pub mod print;
#[cfg(test)]
mod reference;
mod schema;
mod summary;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use checked::Checked;
pub use journal::JournalConfig;
pub use livekit_otel_export::configure::{Env, Errors, Problem, ProcessEnv};
pub use load::{Config, LogSettings};
pub use values::LogFormat;
