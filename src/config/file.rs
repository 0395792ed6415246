//! The configuration file: YAML into text by path, with all that does not belong there.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use livekit_otel_export::configure::{Document, Problem};

/// Every key that has a value of its own.
const LEAVES: &[&str] = &[
    "listen.http",
    "listen.grpc",
    "listen.admin",
    "listen.status_on_webhooks",
    "listen.max_connections",
    "listen.idle_timeout",
    "listen.ui",
    "limits.webhook_body",
    "limits.analytics_message",
    "limits.unfinished",
    "session.linger",
    "session.twin_wait",
    "session.silent_after",
    "session.keep_ended",
    "session.keep_ended_ids",
    "session.max_ended",
    "session.max_ids",
    "traces.scope",
    "traces.max_spans",
    "traces.max_age",
    "traces.subscriptions",
    "traces.url",
    "stats.level",
    "stats.cardinality_limit",
    "stats.top_n",
    "stats.histograms",
    "stats.interval",
    "export.endpoint",
    "export.protocol",
    "export.timeout",
    "export.compression",
    "export.certificate",
    "export.client_certificate",
    "export.client_key",
    "export.max_request",
    "export.max_queue",
    "export.temporality",
    "livekit.url",
    "livekit.api_key",
    "livekit.api_secret",
    "livekit.interval",
    "listen.grpc_auth",
    "listen.insecure",
    "listen.tls.certificate",
    "listen.tls.key",
    "listen.tls.http_client_ca",
    "listen.tls.grpc_client_ca",
    "journal.dir",
    "journal.max_bytes",
    "journal.snapshot",
    "journal.sync",
    "memory_limit",
    "set_aside.max_bytes",
    "shutdown_timeout",
    "log.level",
    "log.format",
    "observe.traces",
    "privacy.pii",
    "privacy.hash_key",
];

/// Every key whose keys are the user's.
const MAPS: &[&str] = &["livekit.keys", "export.headers", "resource"];

/// Every key whose value is a list of texts.
const LISTS: &[&str] = &["listen.grpc_keys"];

/// Those of them whose text must be kept as it was written.
const TEXTS: &[&str] = &["livekit.api_key", "livekit.api_secret"];

const IS_NO_TEXT: &str = "is a number or boolean: put it in quotes";

/// Reads `text`; what is wrong with it goes to `problems`, and the rest holds.
pub(super) fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Document {
    let mut file = File { document: Document { name: name.to_owned(), ..Document::default() } };
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Tree>(text, options) {
        Ok(Tree::Null) => {}
        Ok(Tree::Map(entries)) => file.section("", entries, problems),
        Ok(_) => problems.push(file.problem("", "must be a map of sections")),
        // Its own words may quote the text, and so a secret.
        Err(error) => problems.push(Problem { at: name.to_owned(), what: not_yaml(&error) }),
    }
    file.document
}

struct File {
    document: Document,
}

impl File {
    fn problem(&self, path: &str, what: impl Into<String>) -> Problem {
        Problem { at: self.document.at(path), what: what.into() }
    }

    fn section(&mut self, parent: &str, entries: Vec<(String, Tree)>, problems: &mut Vec<Problem>) {
        for (key, value) in entries {
            // `log.level: info` is not `log: {level: info}`.
            let dotted = key.contains('.');
            let path = if parent.is_empty() { key } else { format!("{parent}.{key}") };
            let is_section = LEAVES
                .iter()
                .chain(MAPS)
                .any(|known| known.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            let is_map = MAPS.contains(&path.as_str());
            let is_list = LISTS.contains(&path.as_str());
            let is_known = is_section || is_map || is_list || LEAVES.contains(&path.as_str());
            if dotted || !is_known {
                problems.push(self.problem(&path, "unknown key"));
                continue;
            }
            match value {
                Tree::Null => {}
                Tree::Map(entries) if is_section => self.section(&path, entries, problems),
                Tree::Map(entries) if is_map => self.user_map(&path, entries, problems),
                _ if is_section || is_map => {
                    problems.push(self.problem(&path, "must be a map"));
                }
                Tree::List(entries) if is_list => self.list_of(&path, entries, problems),
                _ if is_list => problems.push(self.problem(&path, "must be a list")),
                Tree::Other(_) if TEXTS.contains(&path.as_str()) => {
                    problems.push(self.problem(&path, IS_NO_TEXT));
                }
                Tree::Text(text) | Tree::Other(text) => {
                    self.document.leaves.insert(path, text);
                }
                Tree::Map(_) | Tree::List(_) => {
                    problems.push(self.problem(&path, "must be a single value"));
                }
            }
        }
    }

    fn user_map(&mut self, path: &str, entries: Vec<(String, Tree)>, problems: &mut Vec<Problem>) {
        let mut pairs = Vec::new();
        for (key, value) in entries {
            let entry = format!("{path}.{key}");
            match value {
                Tree::Text(text) => pairs.push((key, text)),
                // A number is not kept as it was written: `1.10` is 1.1.
                Tree::Other(_) => problems.push(self.problem(&entry, IS_NO_TEXT)),
                Tree::Null => problems.push(self.problem(&entry, "has no value")),
                Tree::Map(_) | Tree::List(_) => {
                    problems.push(self.problem(&entry, "must be a single value"));
                }
            }
        }
        self.document.maps.insert(path.to_owned(), pairs);
    }

    fn list_of(&mut self, path: &str, entries: Vec<Tree>, problems: &mut Vec<Problem>) {
        let mut texts = Vec::new();
        for (nth, value) in entries.into_iter().enumerate() {
            let entry = format!("{path}[{nth}]");
            match value {
                Tree::Text(text) => texts.push(text),
                Tree::Other(_) => problems.push(self.problem(&entry, IS_NO_TEXT)),
                _ => problems.push(self.problem(&entry, "must be a single value")),
            }
        }
        self.document.lists.insert(path.to_owned(), texts);
    }
}

fn not_yaml(error: &serde_saphyr::Error) -> String {
    let what = match error {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is given twice",
        _ => "not valid YAML",
    };
    match error.location() {
        Some(at) => format!("{what} at line {}, column {}", at.line(), at.column()),
        None => what.to_owned(),
    }
}

/// YAML without its types: what a value means is its path's to say.
enum Tree {
    Null,
    Text(String),
    /// A number or a boolean.
    Other(String),
    Map(Vec<(String, Tree)>),
    List(Vec<Tree>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(Tree::List(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        parse("f.yaml", text, &mut problems);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn what_does_not_belong_is_named_by_its_path() {
        for (text, expected) in [
            ("", vec![]),
            ("listen:", vec![]),
            ("listen: {http: }", vec![]),
            ("listen: 3", vec!["listen in f.yaml: must be a map"]),
            ("listen: {htpp: x}", vec!["listen.htpp in f.yaml: unknown key"]),
            ("nothing: {a: {b: c}}", vec!["nothing in f.yaml: unknown key"]),
            ("log: {level: [info]}", vec!["log.level in f.yaml: must be a single value"]),
            ("listen: {grpc_keys: devkey}", vec!["listen.grpc_keys in f.yaml: must be a list"]),
            (
                "listen: {grpc_keys: [a, 3, [b]]}",
                vec![
                    "listen.grpc_keys[1] in f.yaml: is a number or boolean: put it in quotes",
                    "listen.grpc_keys[2] in f.yaml: must be a single value",
                ],
            ),
            ("log.level: info", vec!["log.level in f.yaml: unknown key"]),
            ("- a", vec!["f.yaml: must be a map of sections"]),
            (
                "resource: {a: 1.10, b: , c: \"1\"}",
                vec![
                    "resource.a in f.yaml: is a number or boolean: put it in quotes",
                    "resource.b in f.yaml: has no value",
                ],
            ),
            ("livekit: {keys: s3cret}", vec!["livekit.keys in f.yaml: must be a map"]),
        ] {
            assert_eq!(wrong(text), expected, "{text}");
        }
    }

    #[test]
    fn broken_yaml_is_placed_and_not_repeated() {
        for text in [
            "livekit:\n  keys:\n    a: s3cret\n  b\n s3cret: {",
            "livekit:\n  keys: {a: *s3cret}",
            "livekit:\n  keys: {s3cret: b, s3cret: c}",
            "livekit: \"s3cret",
        ] {
            let wrong = wrong(text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].contains(" at line "), "{wrong:?}");
            assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
        }
    }

    #[test]
    fn values_keep_their_text() {
        let mut problems = Vec::new();
        let text = "livekit: {keys: {b: x, a: 'y z'}}\nlimits: {webhook_body: 4096}\nobserve: {traces: true}";
        let file = parse("f.yaml", text, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(file.leaf("limits.webhook_body"), Some("4096"));
        assert_eq!(file.leaf("observe.traces"), Some("true"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(file.map("livekit.keys"), [pair("b", "x"), pair("a", "y z")]);
    }
}
