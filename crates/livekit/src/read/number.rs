//! Integers in proto3 JSON, which may have a fraction of zeros and an exponent: `1.5e1`.

/// The integer that `text`, a JSON number, is; `None` if it is not an integer of up to 20 digits.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (mantissa, ""),
    };
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || has_leading_zero || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    // The digits without zeros at the ends, and how many places the point is behind them.
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let point = i64::from(exponent) + i64::try_from(whole.len()).ok()?
        - i64::try_from(significant.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let zeros = u32::try_from(point).ok().filter(|zeros| *zeros <= 20)?;
    let value = significant.parse::<i128>().ok()?.checked_mul(10_i128.pow(zeros))?;
    Some(if is_negative { -value } else { value })
}

/// The JSON text with all integers written without fraction and exponent.
pub(super) fn without_fractions(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let [first, ..] = rest {
        let length = match first {
            b'"' => text(rest),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())
            }
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match std::str::from_utf8(token).ok().and_then(integer) {
            Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
            None => out.extend_from_slice(token),
        }
    }
    out
}

// The length of the text at the start, with its quotes.
fn text(json: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_exactly_in_every_spelling() {
        for (text, value) in [
            ("0", 0),
            ("-0.0", 0),
            ("0e99", 0),
            ("0.000", 0),
            ("1795980009.0", 1_795_980_009),
            ("1795980009123.000000", 1_795_980_009_123),
            ("1795980009123456789.0", 1_795_980_009_123_456_789),
            ("1.795980009e9", 1_795_980_009),
            ("1795980009000E-3", 1_795_980_009),
            ("0.05e+2", 5),
            ("-120e-1", -12),
            ("18446744073709551615", 18_446_744_073_709_551_615),
            ("100000000000000000000", 100_000_000_000_000_000_000),
        ] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_integer_is_none() {
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1.5", "5e-1", "1e", "1e99", "0x1", " 1", "1 ", "NaN"]
        {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn only_integers_outside_of_texts_are_rewritten() {
        let json = r#"{"a":[1.0,2.50,-3e2],"1.0":"1.0 \" 2.0","b":1e400,"c":-0.0}"#;
        let written = r#"{"a":[1,2.50,-300],"1.0":"1.0 \" 2.0","b":1e400,"c":0}"#;
        assert_eq!(String::from_utf8(without_fractions(json.as_bytes())).unwrap(), written);
        for cut in [r#"{"a"#, r#"{"a\"#, "{\"a\":-", "", "\u{e4}1.0"] {
            without_fractions(cut.as_bytes());
        }
    }
}
