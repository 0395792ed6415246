//! The effective configuration as a file: each setting with its value, and where that was set.
//!
//! `examples/livekit-otel.yaml` has the settings' order and their defaults.

mod derived;
mod example;
mod fold;
mod yaml;

#[cfg(test)]
pub(super) use example::{EXAMPLE, with_all_settings};

use super::load::{Config, tree};
use super::overrides;
use super::tree::Tree;
use crate::cli::ServeArgs;
use livekit_otel_export::configure::{Env, Errors, Reader};
use yaml::Printer;

/// Prints the configuration that `serve` would use. The output is a file for `serve --config`, once the
/// secrets in place of `********` are put back.
///
/// # Errors
/// All errors of the configuration.
pub fn effective(args: &ServeArgs, env: &dyn Env) -> Result<String, Errors> {
    rendered(args, env, true)
}

/// Prints all settings with their defaults.
///
/// # Errors
/// None, as defaults are valid.
pub fn defaults() -> Result<String, Errors> {
    let config = Config::load(&ServeArgs::default(), &AnyKey)?;
    let mut tree = Tree::default();
    fold::service_name(&mut tree);
    Ok(Printer::new(&tree, derived::values(&config), true).print())
}

fn rendered(args: &ServeArgs, env: &dyn Env, is_masked: bool) -> Result<String, Errors> {
    let config = Config::load(args, env)?;
    let mut reader = Reader::new(env);
    let mut tree = tree(args, &mut reader);
    overrides::url(&mut tree, &reader);
    overrides::apply(args, &mut tree, &mut reader);
    fold::variables(args, &mut tree, &reader);
    let text = Printer::new(&tree, derived::values(&config), is_masked).print();
    Ok(text + &fold::without_key(args, &reader, is_masked))
}

// Stands for the environment where only a key is required.
struct AnyKey;

impl Env for AnyKey {
    fn get(&self, name: &str) -> Option<String> {
        (name == "LIVEKIT_KEYS").then(|| format!("key: {}", "x".repeat(32)))
    }
}

#[cfg(test)]
mod tests;
