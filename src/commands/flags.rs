//! Collects what is wrong with the flags and variables of `replay` and `simulate`.

use http::Uri;

use super::Failure;
use crate::cli::Flag;
use crate::config::{Env, Errors, Problem};

#[derive(Default)]
pub(super) struct Flags {
    problems: Vec<Problem>,
}

impl Flags {
    pub(super) fn wrong(&mut self, at: &str, what: &str) {
        self.problems.push(Problem::new(at, what));
    }

    /// Returns the value if it is valid.
    fn value<T: Clone>(&mut self, name: &str, flag: &Flag<T>) -> Option<T> {
        match flag {
            Flag::Valid(value) => Some(value.clone()),
            Flag::Wrong { what, value } => {
                self.problems.push(Problem::new(name, what).with_value(value));
                None
            }
        }
    }

    /// Replaces the default `to` if the flag is given and valid.
    pub(super) fn set<T: Clone>(&mut self, name: &str, flag: Option<&Flag<T>>, to: &mut T) {
        if let Some(value) = flag.and_then(|flag| self.value(name, flag)) {
            *to = value;
        }
    }

    pub(super) fn url(&mut self, name: &str, flag: Option<&Flag<Uri>>) -> Uri {
        flag.and_then(|flag| self.value(name, flag)).unwrap_or_default()
    }

    /// Where agents upload: by default to the host of the webhooks.
    pub(super) fn uploads(&mut self, flag: Option<&Flag<Uri>>, webhook: &Uri) -> Uri {
        match (flag, webhook.authority()) {
            (None, Some(host)) => {
                let uri = Uri::builder().scheme("http").authority(host.clone());
                uri.path_and_query("/").build().unwrap_or_default()
            }
            _ => self.url("--uploads", flag),
        }
    }

    /// The key that signs webhooks, and the tokens of streams and uploads, and its secret. Webhooks
    /// and uploads need it.
    pub(super) fn key(&mut self, env: &dyn Env, is_needed: bool) -> (String, String) {
        let names = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];
        let values = names.map(|name| env.get(name).unwrap_or_default());
        let is_half = values.iter().any(|value| !value.is_empty());
        for (name, value) in names.iter().zip(&values) {
            if value.is_empty() && is_needed {
                self.wrong(name, "must be set: it signs the webhooks and uploads");
            } else if value.is_empty() && is_half {
                self.wrong(name, "must be set with the other: they sign the streams' tokens");
            }
        }
        let [key, secret] = values;
        (key, secret)
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, Failure> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        Err(Failure::usage(&Errors(self.problems)))
    }
}
