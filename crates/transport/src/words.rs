//! What a server's answer says to a person: the text in its body.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

/// The most characters of a server's words that are kept.
pub const LONGEST: usize = 200;

/// The words in a body: of a JSON object its message, of an HTML page its title, of plain text the text. Cleaned as
/// [`clean`] does, and empty where there are none.
pub fn of_body(headers: &HeaderMap, body: &[u8]) -> String {
    clean(&whole(headers, body))
}

/// Like [`of_body`], neither cleaned nor cut: for who searches them, or masks secrets in them.
pub fn whole(headers: &HeaderMap, body: &[u8]) -> String {
    if headers.contains_key(CONTENT_ENCODING) {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
    let kind = kind.as_deref().map(|kind| kind.split(|byte| *byte == b';').next().unwrap_or(kind));
    match kind.map(<[u8]>::trim_ascii) {
        Some(b"text/html" | b"application/xhtml+xml") => {
            title(&text).unwrap_or_default().to_owned()
        }
        Some(kind) if kind == b"application/json" || kind.ends_with(b"+json") => of_json(&text),
        Some(kind) if kind.starts_with(b"text/") => text.into_owned(),
        // Servers that set no type write text, or the bytes of a message.
        None if !body.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) => {
            text.into_owned()
        }
        _ => String::new(),
    }
}

/// Whether a body is a page for people.
pub fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let text = value.as_bytes().to_ascii_lowercase();
        text.starts_with(b"text/html") || text.starts_with(b"application/xhtml")
    })
}

/// One line of at most [`LONGEST`] characters, without control characters, with `…` for each JWT: a server may quote
/// the token that it refuses (livekit-server 1.13, pkg/service/auth.go).
pub fn clean(text: &str) -> String {
    let text = without_tokens(text);
    let words = text.split_whitespace().flat_map(|word| [" ", word]).skip(1);
    let shown = words.flat_map(str::chars).filter(|c| !c.is_control() && *c != '\u{fffd}');
    shown.take(LONGEST).collect()
}

// A JWT is base64url with dots, and begins with `{"` (RFC 7519, 3.1). It is masked before anything is cut, so that
// the beginning of one does not pass.
fn without_tokens(text: &str) -> String {
    const BEGINNING: &str = "eyJ";
    const SHORTEST: usize = 20;

    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=');
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGINNING) {
        let (before, token) = rest.split_at(at);
        let end = token.find(|c| !is_of_token(c)).unwrap_or(token.len());
        let (token, after) = token.split_at(end);
        shown.push_str(before);
        shown.push_str(if token.len() < SHORTEST { token } else { "…" });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

// The messages of google.rpc.Status as JSON, of problem details (RFC 9457), of OAuth, of Twirp, and of
// common servers.
fn of_json(text: &str) -> String {
    const KEYS: [&str; 7] =
        ["message", "msg", "error_description", "detail", "error", "reason", "title"];

    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return text.to_owned() };
    let of = |object: &serde_json::Map<String, Value>| {
        KEYS.iter().find_map(|key| object.get(*key)?.as_str().map(ToOwned::to_owned))
    };
    let within = || object.get("error").and_then(Value::as_object).and_then(of);
    of(&object).or_else(within).unwrap_or_else(|| text.to_owned())
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let to = from + lower[from..].find("</title>")?;
    page.get(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Option<&str>, body: &str) -> String {
        let kind = kind.map(|kind| (CONTENT_TYPE, kind.parse().unwrap()));
        of_body(&kind.into_iter().collect(), body.as_bytes())
    }

    #[test]
    fn the_words_of_a_body_are_found_by_its_type() {
        for (kind, body, words) in [
            (Some("text/plain; charset=utf-8"), "no\r\n  token\n", "no token"),
            (Some("Text/Plain"), "a\u{1b}[2Jb", "a[2Jb"),
            (
                None,
                "Client sent an HTTP request to an HTTPS server.\n",
                "Client sent an HTTP request to an HTTPS server.",
            ),
            (None, "\u{a}\u{3}no\u{12}", ""),
            (Some("application/json"), r#"{"code":16,"message":"no token"}"#, "no token"),
            (Some("application/json"), r#"{"error":{"code":16,"message":"no token"}}"#, "no token"),
            (Some("application/json"), r#"{"error":"no token"}"#, "no token"),
            (Some("application/problem+json"), r#"{"title":"No","detail":"no token"}"#, "no token"),
            (Some("application/json"), r#"["no token"]"#, r#"["no token"]"#),
            (Some("text/html"), "<html><TITLE>401 No\ntoken</TITLE><p>more", "401 No token"),
            (Some("text/html"), "<p>no title", ""),
            (Some("application/x-protobuf"), "\u{a}\u{3}no", ""),
            (Some("image/png"), "text", ""),
        ] {
            assert_eq!(of(kind, body), words, "{kind:?} {body}");
        }
        assert_eq!(of(Some("text/plain"), &"é".repeat(300)), "é".repeat(LONGEST));
        let mut encoded = HeaderMap::new();
        encoded.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(of_body(&encoded, b"text"), "");
    }

    #[test]
    fn a_token_that_a_server_quotes_is_not_shown() {
        let token = format!("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJr{}.X-y_z", "ZXk".repeat(60));
        for (text, shown) in [
            (format!("invalid token: {token}, error: expired"), "invalid token: …, error: expired"),
            (format!("\"Bearer {token}\""), "\"Bearer …\""),
            (format!("{{\"token\":\"{token}\"}}"), "{\"token\":\"…\"}"),
            (format!("a={token} b={token}"), "a=… b=…"),
            (format!("token {}", &token[..100]), "token …"),
            ("eyJ, heyJo and key.eyJ=".to_owned(), "eyJ, heyJo and key.eyJ="),
        ] {
            assert_eq!(clean(&text), shown);
        }
        let within = format!("{}{token}", "x ".repeat(90));
        assert!(!clean(&within).contains("eyJ"), "masked before the cut");
    }
}
