//! The configuration file as a tree of texts with their lines, and what overrides some of them.

use serde::de::DeserializeOwned;

use super::de::{At, Error};
use super::node::{Node, Value};
use livekit_otel_export::configure::{Places, Problem};

/// A file, or none, with the flags and variables that override its settings.
#[derive(Debug, Default)]
pub(super) struct Tree {
    file: String,
    root: Node,
}

impl Tree {
    /// Parses `text`; without a tree if it is no YAML.
    pub(super) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Self {
        let options = serde_saphyr::options! { with_snippet: false };
        let value = match serde_saphyr::from_str_with_options::<Value>(text, options) {
            Ok(value @ (Value::Null | Value::Map(_))) => value,
            Ok(_) => {
                problems.push(Problem::new(file, "must be a map of sections"));
                Value::Null
            }
            Err(error) => {
                problems.push(not_yaml(file, &error));
                Value::Null
            }
        };
        Self { file: file.to_owned(), root: Node { value, ..Node::default() } }
    }

    /// Reads the tree by a schema. An error costs a value its place in the result, not the others.
    pub(super) fn read<T: DeserializeOwned + Default>(&self, problems: &mut Vec<Problem>) -> T {
        loop {
            match T::deserialize(At::root(&self.file, &self.root)) {
                Ok(read) => return read,
                Err(Error::NotSet) => {}
                Err(Error::Wrong { problem, is_placed }) => {
                    problems.push(problem);
                    if !is_placed {
                        return T::default();
                    }
                }
            }
        }
    }

    /// Overrides the setting `key` with the text of the flag or variable `origin`.
    pub(super) fn set(&mut self, key: &str, origin: &str, text: &str) {
        if let Some(node) = self.make(key) {
            *node = Node::overriding(origin, text.trim());
        }
    }

    /// Overrides entries of the map `key`. Their keys may have dots.
    pub(super) fn set_entries(&mut self, key: &str, origin: &str, pairs: Vec<(String, String)>) {
        let Some(Node { value, .. }) = self.make(key) else { return };
        if matches!(value, Value::Null) {
            *value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = value else { return };
        for (name, text) in pairs {
            entries.retain(|(before, _)| *before != name);
            entries.push((name, Node::overriding(origin, &text)));
        }
    }

    // The node of a setting, which is made if it is not there. Where a section is no map, there is none: that is
    // reported when the tree is read.
    fn make(&mut self, key: &str) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for part in key.split('.') {
            if matches!(node.value, Value::Null) {
                node.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut node.value else { return None };
            let at = entries.iter().position(|(name, _)| name == part).unwrap_or_else(|| {
                entries.push((part.to_owned(), Node::default()));
                entries.len() - 1
            });
            node = &mut entries[at].1;
        }
        Some(node)
    }

    /// The file's name; empty if there is none.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The map of sections.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// Removes the setting `key`, as something else overrides it.
    pub(super) fn remove(&mut self, key: &str) {
        let mut node = &mut self.root;
        for part in key.split('.') {
            let Value::Map(entries) = &mut node.value else { return };
            let Some((_, found)) = entries.iter_mut().find(|(name, _)| name == part) else {
                return;
            };
            node = found;
        }
        node.value = Value::Null;
    }

    /// Where each setting is.
    pub(super) fn places(&self) -> Places {
        let mut places = Places { file: self.file.clone(), ..Places::default() };
        let mut maps = vec![At::root(&self.file, &self.root)];
        while let Some(map) = maps.pop() {
            let Value::Map(entries) = &map.node.value else { continue };
            for (key, node) in entries {
                let at = map.entry(key, node);
                places.known.insert(at.key.clone(), at.to_string());
                maps.push(at);
            }
        }
        places
    }
}

// The parser's own message may quote the text, and with it a secret.
fn not_yaml(file: &str, error: &serde_saphyr::Error) -> Problem {
    let what = match error {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is given twice",
        _ => "not valid YAML",
    };
    match error.location() {
        Some(at) => Problem::new(format!("{file}:{}:{}", at.line(), at.column()), what),
        None => Problem::new(file, what),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::File;
    use super::super::tests::wrong_in;
    use super::*;

    // Without the error that there are no keys.
    fn wrong(text: &str) -> Vec<String> {
        let of_file = |error: &String| error.starts_with("f.yaml");
        wrong_in(text).into_iter().filter(of_file).collect()
    }

    #[test]
    fn what_does_not_belong_is_reported_with_its_line_and_key() {
        for (text, expected) in [
            ("", vec![]),
            ("listen:", vec![]),
            ("listen: {http: }", vec![]),
            ("listen:\n  http: ''\n", vec![]),
            ("listen: 3", vec!["1: listen: must be a map"]),
            ("listen: ''", vec!["1: listen: must be a map"]),
            ("listen: {tls: ''}", vec!["1: listen.tls: must be a map"]),
            ("listen: {grpc_keys: ''}", vec!["1: listen.grpc_keys: must be a list"]),
            ("log:\n  level: [info]", vec!["2: log.level: must be a single value"]),
            ("listen: {grpc_keys: devkey}", vec!["1: listen.grpc_keys: must be a list"]),
            (
                "listen:\n  grpc_auth: token\n  grpc_keys:\n  - 3\n  - [b]\n",
                vec![
                    "4: listen.grpc_keys[0]: is a number or boolean: put it in quotes",
                    "5: listen.grpc_keys[1]: must be a single value",
                ],
            ),
            (
                "resource:\n  a: 1.10\n  b:\n  c: \"1\"\n  d: {}\n",
                vec![
                    "2: resource.a: is a number or boolean: put it in quotes",
                    "3: resource.b: has no value",
                    "5: resource.d: must be a single value",
                ],
            ),
            ("livekit: {keys: s3cret}", vec!["1: livekit.keys: must be a map"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|error| format!("f.yaml:{error}")).collect();
            assert_eq!(wrong(text), expected, "{text}");
        }
        assert_eq!(wrong("- a"), ["f.yaml: must be a map of sections"]);
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line_and_the_known_ones() {
        for (text, expected) in [
            (
                "log: {level: info, fromat: json}",
                "1: log.fromat: unknown key, must be one of level, format",
            ),
            ("\nnothing: {a: {b: c}}", "2: nothing: unknown key, must be one of listen, livekit, "),
            ("nothing:", "1: nothing: unknown key"),
            ("log.level: info", "1: log.level: unknown key"),
        ] {
            let wrong = wrong(text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].starts_with(&format!("f.yaml:{expected}")), "{wrong:?}");
        }
    }

    #[test]
    fn broken_yaml_is_reported_with_its_line_and_not_quoted() {
        for (text, line) in [
            ("livekit:\n  keys:\n    a: s3cret\n  b\n s3cret: {", 4),
            ("livekit:\n  keys: {a: *s3cret}", 2),
            ("livekit:\n  keys: {s3cret: b, s3cret: c}", 2),
            ("livekit: \"s3cret", 1),
        ] {
            let wrong = wrong(text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].starts_with(&format!("f.yaml:{line}:")), "{wrong:?}");
            assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_and_booleans_are_texts_to_a_parser() {
        let mut problems = Vec::new();
        let text = "livekit: {keys: {b: x, a: 'y z'}}\nlimits: {webhook_body: 4096}\n\
                    observe: {traces: true}\njournal: {dir: 7}";
        let file: File = Tree::parse("f.yaml", text, &mut problems).read(&mut problems);
        assert_eq!(problems, []);
        assert_eq!((file.limits.webhook_body, file.observe.traces), (4096, true));
        assert_eq!(file.journal.dir, Some("7".into()));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(file.livekit.keys.0, [pair("b", "x"), pair("a", "y z")]);
    }
}
