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
    // A text may quote another program: nothing in it may act on the terminal.
    pub(super) fn ok(check: &'static str, text: impl AsRef<str>) -> Self {
        let text = visible(text.as_ref()).into_owned();
        Self { check, outcome: Outcome::Ok, text, advice: None }
    }

    pub(super) fn warn(check: &'static str, text: impl AsRef<str>) -> Self {
        Self { outcome: Outcome::Warn, ..Self::ok(check, text) }
    }

    pub(super) fn fail(check: &'static str, text: impl AsRef<str>) -> Self {
        Self { outcome: Outcome::Fail, ..Self::ok(check, text) }
    }

    pub(super) fn skip(check: &'static str, text: impl AsRef<str>) -> Self {
        Self { outcome: Outcome::Skip, ..Self::ok(check, text) }
    }

    pub(super) fn advice(self, advice: impl AsRef<str>) -> Self {
        Self { advice: Some(visible(advice.as_ref()).into_owned()), ..self }
    }

    pub(super) fn advised(self, advice: Option<String>) -> Self {
        advice.into_iter().fold(self, Self::advice)
    }

    /// Writes the line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn render(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { check, outcome, text, advice } = self;
        write!(out, "{outcome:<5} {check:<19} {}", text.trim_end_matches('.'))?;
        if let Some(advice) = advice {
            write!(out, ". {}", sentence(advice.trim_end_matches('.')))?;
        }
        writeln!(out)
    }
}

// With a capital letter, unless it begins with an address, a setting or the name of a program.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let word = text.split_whitespace().next().unwrap_or_default();
    let is_word = word.trim_end_matches([',', ':']).chars().all(char::is_alphabetic);
    match rest.next() {
        Some(first) if is_word => first.to_uppercase().chain(rest).collect(),
        _ => text.to_owned(),
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
        for advice in ["livekit:7880 expects TLS", "livekit.api_key is set", "`ss -ltnp` names it"]
        {
            let hinted = Check::fail("webhook", "answered 401").advice(advice);
            assert!(line(&hinted).ends_with(&format!(". {advice}\n")), "{}", line(&hinted));
        }
        let ok = Check::ok("listener.webhooks", "127.0.0.1:9290 is free");
        assert_eq!(line(&ok), "ok    listener.webhooks   127.0.0.1:9290 is free\n");
    }

    #[test]
    fn nothing_in_a_line_acts_on_the_terminal() {
        let hostile = "a\x1b[2J\nb\u{9b}c\u{202e}";
        for check in [Check::ok, Check::warn, Check::fail, Check::skip] {
            let Check { text, advice, .. } = check("server", hostile).advice(hostile);
            let shown = "a\u{fffd}[2J\u{fffd}b\u{fffd}c\u{fffd}";
            assert_eq!((&*text, advice.as_deref()), (shown, Some(shown)));
        }
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
