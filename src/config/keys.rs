//! LiveKit's API keys, from one of the three places that LiveKit's own programs know.

use std::collections::BTreeMap;

use livekit_otel_export::configure::{Found, Reader};
use livekit_otel_livekit::keys::Keys;

const KEYS: &str = "LIVEKIT_KEYS";
/// Names the API key, in the environment.
pub(super) const KEY: &str = "LIVEKIT_API_KEY";
const SECRET: &str = "LIVEKIT_API_SECRET";
/// Lists the keys that open the analytics streams.
pub(super) const FOR_STREAMS: &str = "listen.grpc_keys";

/// The environment's keys, or the file's where it has none; and the file's API key, which is one of
/// them. None at all is a problem.
pub(super) fn read(reader: &mut Reader<'_>) -> Keys {
    let mut keys = Keys::default();
    let (map, key, secret) = (reader.variable(KEYS), reader.variable(KEY), reader.variable(SECRET));
    let wrong_before = reader.problems.len();
    if let Some(found) = map {
        server_keys(&found, reader, &mut keys);
    }
    match (key, secret) {
        (Some(key), Some(secret)) => keys.insert(key.text, secret.text),
        (Some(_), None) => reader.wrong(KEY, format!("needs {SECRET} too")),
        (None, Some(_)) => reader.wrong(SECRET, format!("needs {KEY} too")),
        (None, None) => {}
    }
    if keys.is_empty() && reader.problems.len() == wrong_before {
        file_keys(reader, &mut keys);
    }
    api_key(reader, &mut keys);
    if keys.is_empty() && reader.problems.len() == wrong_before {
        reader.wrong(
            "LiveKit's API keys",
            format!(
                "none given: set livekit.keys in the file, or {KEYS}=\"key: secret\", \
                 or {KEY} and {SECRET}"
            ),
        );
    }
    for_streams(reader, &mut keys);
    keys
}

// Entries are not shown: a secret may stand among them by mistake.
fn for_streams(reader: &mut Reader<'_>, keys: &mut Keys) {
    let Some(listed) = reader.file.list(FOR_STREAMS).map(<[String]>::to_vec) else { return };
    if listed.is_empty() {
        reader.wrong(reader.file.at(FOR_STREAMS), "must name one of LiveKit's API keys");
    }
    for (nth, key) in listed.iter().enumerate() {
        if keys.secret(key).is_none() {
            let at = reader.file.at(&format!("{FOR_STREAMS}[{nth}]"));
            reader.wrong(at, "is none of LiveKit's API keys");
        }
    }
    keys.restrict_streams(listed);
}

fn file_keys(reader: &mut Reader<'_>, keys: &mut Keys) {
    let file: Vec<_> = reader.file.map("livekit.keys").to_vec();
    for (key, secret) in file {
        if key.is_empty() || secret.trim().is_empty() {
            reader.wrong(reader.file.at("livekit.keys"), "a key or its secret is empty");
        } else {
            keys.insert(key, secret);
        }
    }
}

// The file's, where the environment has none: its secret may stand with the other keys.
fn api_key(reader: &mut Reader<'_>, keys: &mut Keys) {
    if reader.variable(KEY).is_some() {
        return;
    }
    match (reader.leaf("livekit.api_key"), reader.leaf("livekit.api_secret")) {
        (Some(key), Some(secret)) => keys.insert(key.text, secret.text),
        (Some(key), None) if keys.secret(&key.text).is_none() => {
            reader.wrong(key.at, "needs livekit.api_secret, or to be one of livekit.keys");
        }
        (None, Some(secret)) => reader.wrong(secret.at, "needs livekit.api_key too"),
        _ => {}
    }
}

// The variable's text is YAML, as LiveKit's server reads it (livekit/pkg/config, `key-file` and
// `keys`).
fn server_keys(found: &Found, reader: &mut Reader<'_>, keys: &mut Keys) {
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed =
        serde_saphyr::from_str_with_options::<BTreeMap<String, String>>(&found.text, options);
    let Ok(pairs) = parsed else {
        // YAML takes `key:secret` for one string.
        let what = if found.text.lines().any(|line| line.contains(':') && !line.contains(": ")) {
            "must have a space after the colon: `key: secret`"
        } else {
            "must be lines of `key: secret`"
        };
        return reader.wrong(KEYS, what);
    };
    for (key, secret) in pairs {
        if key.is_empty() || secret.trim().is_empty() {
            reader.wrong(KEYS, "a key or its secret is empty");
        } else {
            keys.insert(key, secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn keys(listen: &str) -> (Keys, Vec<String>) {
        let env = BTreeMap::new();
        let text = format!("livekit: {{keys: {{a: s3cret, b: s3cret}}}}\nlisten: {{{listen}}}");
        let mut problems = Vec::new();
        let file = file::parse("f.yaml", &text, &mut problems);
        let mut reader = Reader { env: &env, file, problems };
        let keys = read(&mut reader);
        (keys, reader.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_keys_for_streams_are_all_or_those_of_a_list() {
        let listed = |text| keys(text).0.for_streams().map(|keys| keys.iter().cloned().collect());
        assert_eq!(listed(""), None);
        assert_eq!(listed("grpc_keys: [b]"), Some(vec!["b".to_owned()]));
    }

    #[test]
    fn a_list_of_keys_that_can_not_work_is_wrong_and_shows_no_entry() {
        for (text, expected) in [
            ("grpc_keys: []", "listen.grpc_keys in f.yaml: must name one of LiveKit's API keys"),
            (
                "grpc_keys: [a, s3cret]",
                "listen.grpc_keys[1] in f.yaml: is none of LiveKit's API keys",
            ),
        ] {
            assert_eq!(keys(text).1, [expected], "{text}");
        }
    }
}
