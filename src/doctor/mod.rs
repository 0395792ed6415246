//! Checks of a deployment, from the configuration to the collector: `livekit-otel doctor`.
//!
//! - `server`, `listeners` and `webhook` check the running server, or what it would have.
//! - `journal` checks the directory, `clock`, `api` and `version` LiveKit, `collector` the collector.
//!
//! A check leaves nothing behind but what it is named for: its requests are counted by whoever receives
//! them, and the collector keeps the test records. The checks run at the same time, and each has a limit.

mod api;
mod check;
mod clock;
mod collector;
mod http;
mod journal;
mod listeners;
mod local;
mod server;
mod version;
mod webhook;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use check::{Check, Outcome};

use crate::config::{Config, Errors, Problem};
use listeners::Expected;
use livekit_otel_model::Signal;
use server::Running;

const CONFIG: &str = "config";
// The webhooks of several keys, and a listener of their own.
const WEBHOOKS: u32 = 3;

/// Checks a configuration that can be used, and all that it names. Each check may take `limit`, and each
/// result is passed to `done`, in the same order in each run.
pub async fn run(config: Config, limit: Duration, mut done: impl FnMut(Check)) {
    let config = Arc::new(config);
    let mut tasks = vec![
        tokio::spawn(local(Arc::clone(&config), limit)),
        on_disk(Arc::clone(&config), limit),
        tokio::spawn(clock::check(Arc::clone(&config), limit)),
        tokio::spawn(api::check(Arc::clone(&config), limit)),
        tokio::spawn(version::check(Arc::clone(&config), limit)),
    ];
    let records = Arc::new(collector::records());
    tasks.extend(Signal::ALL.map(|signal| {
        let (config, records) = (Arc::clone(&config), Arc::clone(&records));
        tokio::spawn(async move { vec![collector::check(&config, signal, &records, limit).await] })
    }));
    for task in tasks {
        let broken =
            |_| vec![Check::fail("doctor", "a check broke off: this is a fault of the doctor")];
        task.await.unwrap_or_else(broken).into_iter().for_each(&mut done);
    }
}

/// The results for a configuration that can't be used: one for each error.
pub fn misconfigured(errors: &Errors) -> Vec<Check> {
    errors.0.iter().map(|problem| Check::fail(CONFIG, problem.to_string())).collect()
}

/// The results for a configuration that can be used; `file` is its path. What does not work now, such as an
/// expired certificate, is a failure, and what is probably not meant a warning.
pub fn configured(file: Option<&str>, failing: &[Problem], notes: &[Problem]) -> Vec<Check> {
    let place = file.map_or_else(|| "the environment and the options".to_owned(), str::to_owned);
    let mut checks = Vec::new();
    if failing.is_empty() {
        checks.push(Check::ok(CONFIG, format!("{place}: every setting is valid")));
    }
    checks.extend(failing.iter().map(|problem| Check::fail(CONFIG, problem.to_string())));
    checks.extend(notes.iter().map(|note| Check::warn(CONFIG, note.to_string())));
    checks
}

// The running server, and what is at the configured addresses.
async fn local(config: Arc<Config>, limit: Duration) -> Vec<Check> {
    let admin = config.admin;
    let running = Running::find(admin, limit).await;
    let mut checks = server::check(running.as_ref(), admin, SystemTime::now());
    let expected = match &running {
        Ok(_) => Expected::Served,
        Err(_) => Expected::Free { journal: user_of_journal(&config, limit).await },
    };
    checks.extend(listeners::check(&config, &expected, limit).await);
    let webhook = webhook::check(&config, running.as_ref().ok(), limit);
    checks.push(within(limit * WEBHOOKS, "webhook", webhook).await);
    checks
}

async fn user_of_journal(config: &Arc<Config>, limit: Duration) -> Option<String> {
    let config = Arc::clone(config);
    let user = tokio::task::spawn_blocking(move || journal::user(&config));
    timeout(limit, user).await.ok()?.ok()?
}

fn on_disk(config: Arc<Config>, limit: Duration) -> JoinHandle<Vec<Check>> {
    let checked = tokio::task::spawn_blocking(move || journal::check(&config));
    tokio::spawn(async move {
        match timeout(limit, checked).await {
            Ok(checks) => checks.unwrap_or_default(),
            Err(_) => vec![check::late("journal", limit).advice("Its volume does not answer")],
        }
    })
}

async fn within(limit: Duration, name: &'static str, check: impl Future<Output = Check>) -> Check {
    timeout(limit, check).await.unwrap_or_else(|_| check::late(name, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_configuration_is_ok_unless_something_in_it_does_not_work_now() {
        let (failing, note) =
            (Problem::new("f.yaml:3: a", "is expired"), Problem::new("b", "is low"));
        let lines = |failing: &[Problem], notes: &[Problem]| {
            let mut out = Vec::new();
            for check in configured(Some("f.yaml"), failing, notes) {
                check.render(&mut out).unwrap();
            }
            String::from_utf8(out).unwrap()
        };
        let ok = "ok    config              f.yaml: every setting is valid\n";
        let warn = "warn  config              b: is low\n";
        assert_eq!(lines(&[], std::slice::from_ref(&note)), format!("{ok}{warn}"));
        let fail = "FAIL  config              f.yaml:3: a: is expired\n";
        assert_eq!(lines(&[failing], &[note]), format!("{fail}{warn}"));
    }
}
