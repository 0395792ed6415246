//! A configuration whose files and directories were looked at too.

use std::time::SystemTime;

use super::directories;
use super::load::{Config, with_file};
use crate::cli::ServeArgs;
use livekit_otel_export::configure::{Env, Errors, Problem, Reader};

/// A configuration without errors, and what is doubtful about it.
#[derive(Debug)]
pub struct Checked {
    /// The settings.
    pub config: Config,
    /// What does not work now, and will once something else changes: certificates that are not valid now, or
    /// a volume that is too small.
    pub failing: Vec<Problem>,
    /// What works, but is probably not what was meant.
    pub notes: Vec<Problem>,
}

impl Checked {
    /// Like [`Config::load`], and checks the files and directories that the settings name. Changes nothing.
    ///
    /// # Errors
    /// All errors, each with its place, and with the value unless it could be a secret.
    pub fn load(args: &ServeArgs, env: &dyn Env, now: SystemTime) -> Result<Self, Errors> {
        let mut reader = Reader::new(env);
        let config = with_file(args, &mut reader);
        let mut failing = certificates(&config, now, &mut reader);
        directories::check(&config, &mut reader, &mut failing);
        let Reader { mut problems, notes, .. } = reader;
        if problems.is_empty() {
            return Ok(Self { config, failing, notes });
        }
        problems.append(&mut failing);
        Err(Errors(problems))
    }

    /// Logs what is doubtful.
    pub fn log(&self) {
        for problem in &self.failing {
            tracing::error!("configuration: {problem}");
        }
        for note in &self.notes {
            tracing::warn!("configuration: {note}");
        }
    }
}

#[cfg(feature = "tls")]
use super::certificates::check as certificates;

// Settings of TLS are errors without it.
#[cfg(not(feature = "tls"))]
fn certificates(_: &Config, _: SystemTime, _: &mut Reader<'_>) -> Vec<Problem> {
    Vec::new()
}
