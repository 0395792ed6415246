//! The result of a check, as a line of text and as JSON.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use livekit_otel_model::printable::visible;

// Of words that another program sent.
const LONGEST: usize = 200;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It works.
    Ok,
    /// It works, but not as well as it could, or not for everyone.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be checked, or there is nothing to check.
    Skip,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
        })
    }
}

/// A check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, such as `collector.traces`.
    pub check: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found, and where.
    pub text: String,
    /// The likely reason, or what to do.
    pub advice: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, text: text.into(), advice: None }
    }

    pub(super) fn warn(check: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, ..Self::ok(check, text) }
    }

    pub(super) fn fail(check: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, ..Self::ok(check, text) }
    }

    pub(super) fn skip(check: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skip, ..Self::ok(check, text) }
    }

    pub(super) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Writes the line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn render(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { check, outcome, text, advice } = self;
        write!(out, "{outcome:<5} {check:<19} {}", text.trim_end_matches('.'))?;
        if let Some(advice) = advice {
            let mut rest = advice.trim_end_matches('.').chars();
            let first = rest.next().into_iter().flat_map(char::to_uppercase).collect::<String>();
            write!(out, ". {first}{}", rest.as_str())?;
        }
        writeln!(out)
    }
}

/// A check that did not end in time.
pub(super) fn late(check: &'static str, limit: Duration) -> Check {
    Check::fail(check, no_answer(limit))
}

/// Why a check that waits for an answer fails.
pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer in {}", humantime::format_duration(limit))
}

/// Words of another program: without control characters, on one line, of at most 200 characters.
pub(super) fn words(text: &str) -> String {
    visible(text.trim()).chars().take(LONGEST).collect()
}

/// A duration in milliseconds, with a fraction below 10.
pub(super) fn millis(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// A size in the largest unit of which it has one.
pub(super) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line_and_its_advice_follows() {
        let line = |check: &Check| {
            let mut out = Vec::new();
            check.render(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let failed = Check::fail("webhook", "answered 401").advice("Compare the secrets");
        assert_eq!(line(&failed), "FAIL  webhook             answered 401. Compare the secrets\n");
        let sentences = Check::fail("webhook", "answered 401.").advice("compare the secrets.");
        assert_eq!(line(&sentences), line(&failed));
        let ok = Check::ok("listener.webhooks", "127.0.0.1:9290 is free");
        assert_eq!(line(&ok), "ok    listener.webhooks   127.0.0.1:9290 is free\n");
    }

    #[test]
    fn words_of_others_are_short_and_printable() {
        assert_eq!(words(" no\x1b[31m\nway "), "no�[31m�way");
        assert_eq!(words(&"é".repeat(1000)).chars().count(), 200);
    }

    #[test]
    fn times_and_sizes_are_rounded() {
        assert_eq!(millis(Duration::from_micros(840)), "0.8 ms");
        assert_eq!(millis(Duration::from_millis(1234)), "1234 ms");
        assert_eq!((size(1023), size(1536)), ("1023 bytes".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(size(8 << 30), "8.0 GiB");
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }
}
