//! Keeps credentials out of what a server says: some servers quote the token, the key or the URL of a request that
//! they refuse.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

// Shorter values are words of any text, and no secrets.
const SHORTEST: usize = 4;
const MASK: &str = "…";

/// The credentials of requests. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Of requests to `url` with these headers' values, all of which may be secret: with and without the scheme of an
    /// `Authorization` header, and decoded where it is `Basic`. Of the URL its password and the values of its query.
    /// What is shorter than 4 bytes is none.
    pub fn new<'a>(url: &Uri, headers: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut secrets = Vec::new();
        for value in headers {
            of_header(&String::from_utf8_lossy(value.as_bytes()), &mut secrets);
        }
        let user = url.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        let password = user.and_then(|(user, _)| user.split_once(':'));
        let query = url.query().unwrap_or_default().split('&');
        let values = query.filter_map(|pair| pair.split_once('=')).chain(password);
        for (_, value) in values {
            secrets.push(value.to_owned());
            secrets.push(percent_decode_str(value).decode_utf8_lossy().into_owned());
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // One may contain another.
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// The text with `…` for each of them. To be called before a text is cut.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret) { text.replace(secret, MASK).into() } else { text }
        })
    }
}

fn of_header(value: &str, secrets: &mut Vec<String>) {
    let value = value.trim();
    secrets.push(value.to_owned());
    let Some((scheme, credentials)) = value.split_once(' ') else { return };
    let credentials = credentials.trim();
    secrets.push(credentials.to_owned());
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = BASE64_STANDARD.decode(credentials)
    {
        let pair = String::from_utf8_lossy(&pair).into_owned();
        secrets.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
        secrets.push(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_of_a_request_are_masked() {
        let url = Uri::from_static("http://user:p%40ssw0rd@c/v1/logs?key=a%2Fb%2Fc&n=1");
        let headers = ["Bearer t0ken", "api-key-0", "api-key-01", "Basic dXNlcjpzM2NyZXQ=", "1"];
        let headers = headers.map(HeaderValue::from_static);
        let secrets = Secrets::new(&url, &headers);
        for (text, expected) in [
            ("no Bearer t0ken", "no …"),
            ("no t0ken, bearer", "no …, bearer"),
            ("api-key-01 and api-key-0", "… and …"),
            ("dXNlcjpzM2NyZXQ= is user:s3cret", "… is …"),
            ("s3cret?", "…?"),
            ("p%40ssw0rd p@ssw0rd", "… …"),
            ("/v1/logs?key=a%2Fb%2Fc&n=1", "/v1/logs?key=…&n=1"),
            ("a/b/c", "…"),
            ("no tenant 1", "no tenant 1"),
        ] {
            assert_eq!(secrets.mask(text), expected, "{text}");
        }
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }
}
