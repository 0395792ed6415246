//! `livekit-otel doctor`: checks of a deployment, one line for each.

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::json;

use super::Failure;
use crate::cli::DoctorArgs;
use crate::config::{Checked, Errors};
use crate::doctor::{self, Check, Outcome};
use livekit_otel_export::configure::{Env, ProcessEnv};

pub(super) async fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut results = Results { is_json: args.json, checks: Vec::new() };
    let Checked { config, failing, notes, .. } = match load(args) {
        Ok(checked) => checked,
        Err(errors) => {
            for check in doctor::misconfigured(&errors) {
                results.add(check)?;
            }
            results.finish()?;
            return Err(Failure::Usage("livekit-otel: the configuration is wrong".to_owned()));
        }
    };
    for check in doctor::configured(file(args).as_deref(), &failing, &notes) {
        results.add(check)?;
    }
    let mut written = Ok(());
    let add = |check| {
        let more = results.add(check);
        written = std::mem::replace(&mut written, Ok(())).and(more);
    };
    doctor::run(config, args.timeout, add).await;
    written?;
    results.finish()?;
    match results.count(Outcome::Fail) {
        0 => Ok(()),
        n => Err(Failure::failed(&format!("{n} of {} checks failed", results.checks.len()))),
    }
}

fn load(args: &DoctorArgs) -> Result<Checked, Errors> {
    Checked::load(&args.serve, &ProcessEnv, SystemTime::now())
}

fn file(args: &DoctorArgs) -> Option<String> {
    let given = args.serve.config.as_ref().map(|path| path.display().to_string());
    given.or_else(|| ProcessEnv.get("LIVEKIT_OTEL_CONFIG").filter(|path| !path.is_empty()))
}

struct Results {
    is_json: bool,
    checks: Vec<Check>,
}

impl Results {
    fn add(&mut self, check: Check) -> io::Result<()> {
        if !self.is_json {
            check.render(&mut io::stdout())?;
        }
        self.checks.push(check);
        Ok(())
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    fn finish(&self) -> io::Result<()> {
        if !self.is_json {
            return Ok(());
        }
        let failed = self.count(Outcome::Fail);
        let json = json!({ "failed": failed, "checks": self.checks });
        writeln!(io::stdout(), "{json:#}")
    }
}
