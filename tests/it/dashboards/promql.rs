//! The names in PromQL, with just enough grammar to distinguish metrics from labels.

use std::collections::BTreeSet;

/// The names in an expression.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    /// Each selector's metric, with the labels that it is selected by.
    pub(super) metrics: Vec<(String, BTreeSet<String>)>,
    /// The labels of `by (…)`, `on (…)` and the like.
    pub(super) groups: BTreeSet<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const KEYWORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Inside {
    Expression,
    Selector,
    Group,
}

pub(super) fn read(expr: &str) -> Names {
    let mut names = Names::default();
    let mut inside = Inside::Expression;
    let mut rest = expr;
    while let Some(first) = rest.chars().next() {
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
        let word = &rest[..rest.find(|it| !is_name(it)).unwrap_or(rest.len())];
        let length = match first {
            '"' | '`' => 2 + quoted(rest).len(),
            '[' => rest.find(']').unwrap() + 1,
            '$' => 1 + rest[1..].find(|it| !is_name(it)).unwrap_or(rest.len() - 1),
            // A number, or a duration.
            '0'..='9' => word.len(),
            '{' => {
                inside = Inside::Selector;
                1
            }
            '}' | ')' => {
                inside = Inside::Expression;
                1
            }
            _ if word.is_empty() => first.len_utf8(),
            _ => {
                let next = rest[word.len()..].trim_start();
                let calls = ["(", "by (", "without ("].iter().any(|it| next.starts_with(it));
                if GROUPING.contains(&word) {
                    let open = rest.find('(').unwrap();
                    inside = Inside::Group;
                    rest = &rest[open + 1..];
                    continue;
                }
                names.word(word, inside, calls);
                word.len()
            }
        };
        rest = &rest[length..];
    }
    names
}

impl Names {
    fn word(&mut self, word: &str, inside: Inside, calls: bool) {
        match inside {
            Inside::Group => drop(self.groups.insert(word.to_owned())),
            Inside::Selector => {
                let (_, labels) = self.metrics.last_mut().expect("a selector has a metric");
                labels.insert(word.to_owned());
            }
            Inside::Expression if calls || KEYWORDS.contains(&word) => {}
            Inside::Expression => self.metrics.push((word.to_owned(), BTreeSet::new())),
        }
    }
}

/// The text within the quotes at the beginning.
pub(super) fn quoted(text: &str) -> &str {
    let quote = text.chars().next().unwrap();
    let end = text[1..].find(quote).expect("a quote that ends");
    &text[1..=end]
}

#[test]
fn metrics_and_labels_are_distinguished() {
    let names = read(
        r#"60 * sum by (a, le) (rate(m_total{b="x}", c=~"$v"}[5m])) > 0 or on (d) n:r offset 1h - vector(0)"#,
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let metrics = [("m_total", set(&["b", "c"])), ("n:r", set(&[]))];
    assert_eq!(names.metrics, metrics.map(|(name, labels)| (name.to_owned(), labels)));
    assert_eq!(names.groups, set(&["a", "d", "le"]));
}
