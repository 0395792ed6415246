//! Flags whose wrong values are reported together. clap itself stops at the first wrong value.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::TypedValueParser;
use http::Uri;

use livekit_otel_export::configure::values::{Parsed, duration};

const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// The value of a flag, or why it is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Flag<T> {
    /// The parsed value.
    Valid(T),
    /// Not a valid value.
    Wrong {
        /// What would be right.
        what: String,
        /// The value.
        value: String,
    },
}

/// Accepts every value, and keeps the error of `parse`.
pub(super) fn flag<T: Clone + Send + Sync + 'static>(
    parse: impl Fn(&str) -> Parsed<T> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = Flag<T>> {
    move |value: &str| -> Result<Flag<T>, Infallible> {
        Ok(match parse(value) {
            Ok(parsed) => Flag::Valid(parsed),
            Err(what) => Flag::Wrong { what, value: value.to_owned() },
        })
    }
}

pub(super) fn url(text: &str) -> Parsed<Uri> {
    let url = text.parse::<Uri>().ok();
    let url = url.filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
    url.ok_or_else(|| "must be an http URL, such as http://127.0.0.1:9290/webhook".into())
}

pub(super) fn speed(text: &str) -> Parsed<f64> {
    let speed = text.parse().ok().filter(|speed| *speed > 0.0);
    speed.ok_or_else(|| "must be a number above 0: how many times faster than recorded".into())
}

pub(super) fn count(range: RangeInclusive<usize>) -> impl Fn(&str) -> Parsed<usize> + Clone {
    move |text| {
        let count = text.parse().ok().filter(|count| range.contains(count));
        let (least, most) = (range.start(), range.end());
        count.ok_or_else(|| format!("must be a number from {least} to {most}"))
    }
}

pub(super) fn interval(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    if parsed < LEAST_INTERVAL { Err("must be at least 1s".into()) } else { Ok(parsed) }
}

pub(super) fn seed(text: &str) -> Parsed<u64> {
    text.parse().map_err(|_| "must be a whole number of at most 64 bits".into())
}

pub(super) fn fraction(text: &str) -> Parsed<f64> {
    let fraction = text.parse().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
    fraction.ok_or_else(|| "must be a number from 0 to 1, such as 0.02".into())
}
