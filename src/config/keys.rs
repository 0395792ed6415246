//! LiveKit's API keys, from one of the three places that LiveKit's own programs know, and its API.

use std::collections::BTreeMap;

use super::schema::LiveKit;
use crate::source::reconcile;
use livekit_otel_export::configure::schema::Verbatim;
use livekit_otel_export::configure::{Found, Problem, Reader};
use livekit_otel_livekit::keys::Keys;

const KEYS: &str = "LIVEKIT_KEYS";
const KEY: &str = "LIVEKIT_API_KEY";
const SECRET: &str = "LIVEKIT_API_SECRET";
const SHORTEST_SECRET: usize = 32;
const SPACE: &str = "must have a space after the colon: `key: secret`";
const EMPTY: &str = "a key or its secret is empty";

/// The environment's keys, or the file's if it has none; and the file's API key, which is one of them.
/// Without any key there is an error.
pub(super) fn read(
    file: &LiveKit,
    for_streams: Option<&[Verbatim]>,
    reader: &mut Reader<'_>,
) -> Keys {
    let mut keys = Keys::default();
    let (map, key, secret) = (reader.variable(KEYS), reader.variable(KEY), reader.variable(SECRET));
    let wrong_before = reader.problems.len();
    if let Some(found) = map {
        server_keys(&found, reader, &mut keys);
    }
    match (key, secret) {
        (Some(key), Some(secret)) => {
            note_short(SECRET, &key.text, &secret.text, reader);
            keys.insert(key.text, secret.text);
        }
        (Some(_), None) => reader.wrong(KEY, format!("needs {SECRET} too")),
        (None, Some(_)) => reader.wrong(SECRET, format!("needs {KEY} too")),
        (None, None) => {}
    }
    if keys.is_empty() && reader.problems.len() == wrong_before {
        file_keys(file, reader, &mut keys);
    }
    api_key(file, reader, &mut keys);
    if keys.is_empty() && reader.problems.len() == wrong_before {
        reader.wrong(
            "LiveKit's API keys",
            format!(
                "none given: set livekit.keys in the file, or {KEYS}=\"key: secret\", \
                 or {KEY} and {SECRET}"
            ),
        );
    }
    restrict_streams(for_streams, reader, &mut keys);
    keys
}

/// LiveKit's API, if it has a URL.
pub(super) fn api(
    file: &LiveKit,
    keys: &Keys,
    reader: &mut Reader<'_>,
) -> Option<reconcile::Settings> {
    let url = file.url.clone()?;
    let named =
        reader.variable(KEY).map(|found| found.text).or_else(|| trimmed(file.api_key.as_ref()));
    let key = named.or_else(|| keys.only().map(|(key, _)| key.to_owned()));
    if key.is_none() && !keys.is_empty() {
        let what = "needs livekit.api_key too, as there are several keys";
        reader.wrong_setting("livekit.url", what);
    }
    let (interval, requests_per_second) = (file.interval, file.requests_per_second);
    let route = reader.route(|proxies| proxies.of_http(&url));
    Some(reconcile::Settings { url, key: key?, interval, requests_per_second, route })
}

fn trimmed(text: Option<&Verbatim>) -> Option<String> {
    text.map(|Verbatim(text)| text.trim().to_owned())
}

// Errors do not show the entries: one could be a secret by mistake.
fn restrict_streams(listed: Option<&[Verbatim]>, reader: &mut Reader<'_>, keys: &mut Keys) {
    const LISTED: &str = "listen.grpc_keys";
    // Without keys there is an error already.
    let Some(listed) = listed.filter(|_| !keys.is_empty()) else { return };
    if listed.is_empty() {
        reader.wrong_setting(LISTED, "must name one of LiveKit's API keys");
    }
    for (nth, Verbatim(key)) in listed.iter().enumerate() {
        if keys.secret(key).is_none() {
            let at = format!("{}[{nth}]", reader.places.at(LISTED));
            reader.wrong(at, "is none of LiveKit's API keys");
        }
    }
    keys.restrict_streams(listed.iter().map(|Verbatim(key)| key.clone()));
}

fn file_keys(file: &LiveKit, reader: &mut Reader<'_>, keys: &mut Keys) {
    for (key, secret) in &file.keys.0 {
        let at = reader.places.at(&format!("livekit.keys.{key}"));
        if key.is_empty() || secret.trim().is_empty() {
            reader.wrong(at, EMPTY);
        } else {
            note_short(&at, key, secret, reader);
            keys.insert(key, secret);
        }
    }
}

// The file's, unless the environment has one; its secret may be among the other keys.
fn api_key(file: &LiveKit, reader: &mut Reader<'_>, keys: &mut Keys) {
    if reader.variable(KEY).is_some() {
        return;
    }
    match (trimmed(file.api_key.as_ref()), trimmed(file.api_secret.as_ref())) {
        (Some(key), Some(secret)) => {
            let at = reader.places.at("livekit.api_secret");
            note_short(&at, &key, &secret, reader);
            keys.insert(key, secret);
        }
        (Some(key), None) if keys.secret(&key).is_none() => {
            let what = "needs livekit.api_secret, or to be one of livekit.keys";
            reader.wrong_setting("livekit.api_key", what);
        }
        (None, Some(_)) => reader.wrong_setting("livekit.api_secret", "needs livekit.api_key too"),
        _ => {}
    }
}

/// The keys of `LIVEKIT_KEYS`: YAML, as LiveKit's server reads it (livekit/pkg/config, `key-file` and `keys`).
pub(super) fn of_server(text: &str) -> Result<BTreeMap<String, String>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
}

fn server_keys(found: &Found, reader: &mut Reader<'_>, keys: &mut Keys) {
    let pairs = match of_server(&found.text) {
        Ok(pairs) => pairs,
        Err(error) => return reader.wrong(KEYS, malformed(&found.text, &error)),
    };
    for (key, secret) in pairs {
        if secret.trim().is_empty() && key.contains(':') {
            reader.wrong(KEYS, SPACE);
        } else if key.is_empty() || secret.trim().is_empty() {
            reader.wrong(KEYS, EMPTY);
        } else {
            note_short(KEYS, &key, &secret, reader);
            keys.insert(key, secret);
        }
    }
}

// What is probably meant by a text that is no map of texts.
fn malformed(text: &str, error: &serde_saphyr::Error) -> &'static str {
    let is_flow = text.starts_with('{');
    let is_quoted = |quote| text.starts_with(quote) && text.ends_with(quote);
    let lacks_space = |line: &str| {
        let rest = line.trim().split_once(':').map(|(_, rest)| rest);
        rest.is_some_and(|rest| !rest.is_empty()) && !line.contains(": ")
    };
    if matches!(error, serde_saphyr::Error::DuplicateMappingKey { .. }) {
        "a key is given twice"
    } else if is_quoted('"') || is_quoted('\'') {
        "has quotes around it: remove them"
    } else if is_flow && !text.contains('"') && lacks_space(text) {
        SPACE
    } else if !is_flow && text.lines().any(lacks_space) {
        // To YAML `key:secret` is one text.
        SPACE
    } else if text.contains('=') && !text.contains(':') {
        "must be `key: secret`, not `key=secret`"
    } else if !is_flow
        && text.lines().any(|line| line.contains(',') && line.matches(": ").count() > 1)
    {
        "must have each key on a line of its own, or be {key: secret, key: secret}"
    } else {
        "must be lines of `key: secret`"
    }
}

// As LiveKit's server does (livekit/pkg/config, `ValidateKeys`).
fn note_short(at: &str, key: &str, secret: &str, reader: &mut Reader<'_>) {
    if secret.len() < SHORTEST_SECRET {
        let what = format!(
            "the secret of {key:?} is shorter than the {SHORTEST_SECRET} characters that LiveKit asks for"
        );
        reader.note(Problem::new(at, what));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::super::tests::{Yaml, env, wrong_in};

    fn text(listen: &str) -> String {
        format!(
            "livekit: {{keys: {{a: s3cret, b: s3cret}}}}\nlisten: {{grpc_auth: token, {listen}}}"
        )
    }

    #[test]
    fn the_keys_for_streams_are_all_or_those_of_a_list() {
        let listed = |listen| {
            let keys = Config::from_text(&text(listen), &BTreeMap::new()).unwrap().keys;
            keys.for_streams().map(|keys| keys.iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(listed(""), None);
        assert_eq!(listed("grpc_keys: [b]"), Some(vec!["b".to_owned()]));
    }

    #[test]
    fn a_command_that_can_do_without_keys_needs_no_part_of_them() {
        let two = "keys: {a: s3cret, b: s3cret}";
        for (nth, (livekit, listen, variables)) in [
            ("", "", &[][..]),
            ("api_key: devkey", "", &[]),
            ("api_secret: s3cret", "", &[]),
            ("", "grpc_keys: [c]", &[("LIVEKIT_API_KEY", "devkey")]),
            ("", "", &[("LIVEKIT_API_SECRET", "s3cret")]),
            (two, "grpc_keys: [c]", &[("LIVEKIT_URL", "http://lk")]),
        ]
        .into_iter()
        .enumerate()
        {
            let text = format!("livekit: {{{livekit}}}\nlisten: {{grpc_auth: token, {listen}}}\n");
            let (yaml, env) = (Yaml::new(&format!("no-keys-{nth}"), &text), env(variables));
            assert!(Config::load(&yaml.args(), &env).is_err(), "{text}");
            let config = Config::load_with_or_without_keys(&yaml.args(), &env);
            assert!(config.is_ok(), "{text}{}", config.unwrap_err());
        }
        let yaml = Yaml::new("no-keys-wrong", "session: {linger: soon}\n");
        let wrong = Config::load_with_or_without_keys(&yaml.args(), &env(&[])).unwrap_err();
        assert!(wrong.to_string().contains("session.linger"), "{wrong}");
    }

    #[test]
    fn an_empty_list_or_an_unknown_key_for_streams_is_wrong_and_not_shown() {
        for (listen, expected) in [
            ("grpc_keys: []", "listen.grpc_keys: must name one of LiveKit's API keys"),
            ("grpc_keys: [a, s3cret]", "listen.grpc_keys[1]: is none of LiveKit's API keys"),
        ] {
            assert_eq!(wrong_in(&text(listen)), [format!("f.yaml:2: {expected}")], "{listen}");
        }
    }
}
