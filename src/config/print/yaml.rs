//! Writes settings as YAML, in the order of the example.

use std::fmt::Write;

use super::super::de::MASK;
use super::super::node::{Node, Place, Value};
use super::super::tree::Tree;
use super::example::{EXAMPLE, with_all_settings};

// Maps with keys of the operator's choice.
const MAPS: [&str; 3] = ["livekit.keys", "export.headers", "resource"];
const SECRETS: [&str; 4] =
    ["livekit.keys", "livekit.api_secret", "export.headers", "privacy.hash_key"];
// `off` is one of their values.
const OFF: [&str; 2] = ["log.level", "agents.traces"];

pub(super) struct Printer<'a> {
    tree: &'a Tree,
    // Defaults that depend on other settings.
    effective: Vec<(&'static str, String)>,
    is_masked: bool,
    out: String,
}

impl<'a> Printer<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        effective: Vec<(&'static str, String)>,
        is_masked: bool,
    ) -> Self {
        Self { tree, effective, is_masked, out: String::new() }
    }

    pub(super) fn print(mut self) -> String {
        // A test checks that the example is YAML.
        let mut problems = Vec::new();
        let all = Tree::parse("", &with_all_settings(), &mut problems);
        let defaults = Tree::parse("", EXAMPLE, &mut problems);
        let version = env!("CARGO_PKG_VERSION");
        self.out = format!("# The configuration of livekit-otel {version}. Secrets are masked.\n");
        self.section("", all.root(), Some(defaults.root()), Some(self.tree.root()));
        self.out
    }

    fn section(
        &mut self,
        section: &str,
        all: &Node,
        defaults: Option<&Node>,
        actual: Option<&Node>,
    ) {
        let Value::Map(entries) = &all.value else { return };
        let indent = if section.is_empty() { 0 } else { section.split('.').count() };
        for (name, entry) in entries {
            let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            let default = defaults.and_then(|map| map.get(name));
            let actual = actual.and_then(|map| map.get(name));
            let start = format!("{}{name}:", "  ".repeat(indent));
            if section.is_empty() {
                self.out.push('\n');
            }
            if MAPS.contains(&key.as_str()) {
                self.pairs(&key, &start, actual);
            } else if matches!(entry.value, Value::Map(_)) {
                self.line(&start, "");
                self.section(&key, entry, default, actual);
            } else {
                self.setting(&key, name, indent, default, actual);
            }
        }
    }

    fn setting(
        &mut self,
        key: &str,
        name: &str,
        indent: usize,
        default: Option<&Node>,
        actual: Option<&Node>,
    ) {
        let indent = "  ".repeat(indent);
        let actual = actual.filter(|node| !node.is_empty());
        if let Some((node, text)) = actual.and_then(|node| Some((node, self.value(key, node)?))) {
            let origin = self.origin(node);
            return self.line(&format!("{indent}{name}: {text}"), &origin);
        }
        let effective = self.effective.iter().find(|(known, _)| *known == key);
        let is_size = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let effective =
            effective.map(|(_, text)| if is_size(text) { text.clone() } else { scalar(text) });
        // The example's endpoint and keys are no defaults.
        let default = default.filter(|_| key != "export.endpoint");
        match effective.or_else(|| self.value(key, default?)) {
            Some(text) => self.line(&format!("{indent}{name}: {text}"), "default"),
            None => self.line(&format!("{indent}# {name}:"), "not set"),
        }
    }

    fn pairs(&mut self, key: &str, start: &str, actual: Option<&Node>) {
        let entries = match actual.map(|node| &node.value) {
            Some(Value::Map(entries)) if !entries.is_empty() => entries,
            _ => return self.line(&format!("{start} {{}}"), "not set"),
        };
        self.line(start, "");
        let indent = "  ".repeat(key.split('.').count());
        for (name, node) in entries {
            let Value::Text(text) = &node.value else { continue };
            let text = if self.is_secret(key) { MASK } else { text };
            let line = format!("{indent}{}: {}", quoted(name), quoted(text));
            let origin = self.origin(node);
            self.line(&line, &origin);
        }
    }

    fn value(&self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Null | Value::Map(_) => None,
            // To YAML 1.1 `off` is a boolean.
            Value::Other(text) if text == "false" && OFF.contains(&key) => Some(quoted("off")),
            Value::Other(text) => Some(text.clone()),
            Value::Text(_) if self.is_secret(key) => Some(quoted(MASK)),
            // The query can hold a key.
            Value::Text(text) if self.is_masked && key == "export.endpoint" => {
                let masked = text.split_once('?').map(|(url, _)| format!("{url}?{MASK}"));
                Some(scalar(masked.as_deref().unwrap_or(text)))
            }
            Value::Text(text) => Some(scalar(text)),
            Value::List(list) => {
                let texts = list.iter().filter_map(|node| match &node.value {
                    Value::Text(text) => Some(quoted(text)),
                    _ => None,
                });
                Some(format!("[{}]", texts.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn is_secret(&self, key: &str) -> bool {
        self.is_masked && SECRETS.contains(&key)
    }

    fn origin(&self, node: &Node) -> String {
        match &node.place {
            Place::Line(line) => format!("{}:{line}", self.tree.file().escape_debug()),
            Place::Override(origin) => origin.clone(),
        }
    }

    fn line(&mut self, start: &str, origin: &str) {
        let comment = if origin.is_empty() { String::new() } else { format!(" # {origin}") };
        // Writing to a text can't fail.
        let _ = writeln!(self.out, "{start}{comment}");
    }
}

// Plain where YAML reads the same text again.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:+-".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/');
    let is_word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let is_number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    let is_safe = begins && text.bytes().all(is_plain) && !text.ends_with(':');
    if is_safe && !is_word && !is_number { text.to_owned() } else { quoted(text) }
}

// JSON's texts are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
