//! The modules of each crate form no circle: a module that others use does not use them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

// What each module uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

// Each module's path, such as `session::room`, and its file; the crate's root is empty.
fn modules(source: &Path) -> BTreeMap<String, PathBuf> {
    fn walk(source: &Path, folder: &Path, to: &mut BTreeMap<String, PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "sample");
            if path.is_dir() && !is_test {
                walk(source, &path, to);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let name = path.strip_prefix(source).unwrap().with_extension("");
                let parts: Vec<_> = name.iter().map(|part| part.to_str().unwrap()).collect();
                let is_parent = matches!(parts.last(), Some(&("mod" | "lib" | "main")));
                let parts = &parts[..parts.len() - usize::from(is_parent)];
                to.insert(parts.join("::"), path);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(source, source, &mut found);
    found
}

// The code without its comments and its unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    // Where an item is visible is no use of it.
    lines.collect::<Vec<_>>().join("\n").replace("pub(in crate::", "pub(in ")
}

// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, to: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((path, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        return to.push(format!("{prefix}{path}"));
    };
    let (list, prefix) = (list.strip_suffix('}').unwrap_or(list), format!("{prefix}{path}"));
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &list[start..at], to);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !list[start..].trim().is_empty() {
        expand(&prefix, &list[start..], to);
    }
}

// The paths that a module's code names: in `use`, and in the code itself from `crate` or `super`.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let begins = statement.rfind("use ").filter(|at| {
            statement[..*at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ' ')
        });
        match begins {
            Some(at) if !statement[at..].contains('=') => {
                rest.push_str(&statement[..at]);
                expand("", statement[at + 4..].trim_end_matches(';'), &mut paths);
            }
            _ => rest.push_str(statement),
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for word in rest.split(|c| !is_path(c)) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            paths.push(word.to_owned());
        }
    }
    paths
}

/// The modules of a crate: the file of each, and what it imports, by name.
struct Crate {
    imports: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    named: BTreeMap<String, Vec<Vec<String>>>,
}

impl Crate {
    fn read(source: &Path) -> Self {
        let modules = modules(source);
        let (mut imports, mut named) = (BTreeMap::new(), BTreeMap::new());
        for (module, file) in &modules {
            let paths = paths(&code(file));
            let paths: Vec<_> =
                paths.iter().filter_map(|path| absolute(path, module, &modules)).collect();
            let by_name =
                paths.iter().filter_map(|path| Some((path.last()?.clone(), path.clone())));
            imports.insert(module.clone(), by_name.collect());
            named.insert(module.clone(), paths);
        }
        Self { imports, named }
    }

    // The module where the item of a path is, through re-exports.
    fn module_of(&self, path: &[String]) -> String {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let module = |length: &usize| self.imports.contains_key(&path[..*length].join("::"));
            let length = (0..=path.len()).rev().find(module).unwrap_or_default();
            let found = path[..length].join("::");
            let Some(item) = path.get(length) else { return found };
            let Some(imported) = self.imports[&found].get(item).filter(|to| **to != path) else {
                return found;
            };
            path = imported.iter().chain(&path[length + 1..]).cloned().collect();
        }
        path.join("::")
    }

    fn graph(&self) -> Graph {
        let uses = |(module, paths): (&String, &Vec<Vec<String>>)| {
            let targets = paths.iter().map(|path| self.module_of(path));
            (module.clone(), targets.filter(|target| target != module).collect())
        };
        self.named.iter().map(uses).collect()
    }
}

// A path from the crate's root; `None` where it begins in another crate.
fn absolute(path: &str, from: &str, modules: &BTreeMap<String, PathBuf>) -> Option<Vec<String>> {
    let mut at: Vec<&str> = from.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts = path.split("::").peekable();
    if parts.next_if_eq(&"crate").is_some() {
        at.clear();
    } else if parts.next_if_eq(&"self").is_some() || parts.peek() == Some(&"super") {
        while parts.next_if_eq(&"super").is_some() {
            at.pop();
        }
    } else {
        let child: Vec<_> = at.iter().copied().chain(parts.peek().copied()).collect();
        modules.get(&child.join("::"))?;
    }
    at.extend(parts);
    Some(at.into_iter().map(str::to_owned).collect())
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&String> = graph[from].iter().collect();
    while let Some(module) = next.pop() {
        if seen.insert(module.clone()) {
            next.extend(&graph[module]);
        }
    }
    seen
}

// The uses that lead back to where they start.
fn circles(graph: &Graph) -> Vec<String> {
    let uses = graph.iter().flat_map(|(from, uses)| uses.iter().map(move |to| (from, to)));
    let circular = uses.filter(|(from, to)| reachable(graph, to).contains(*from));
    circular.map(|(from, to)| format!("{from} -> {to}")).collect()
}

#[test]
fn no_module_uses_one_that_uses_it() {
    let members = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    let mut sources: Vec<_> = members.map(|member| member.unwrap().path().join("src")).collect();
    sources.push(Path::new(ROOT).join("src"));
    let (mut found, mut edges) = (Vec::new(), 0);
    for source in sources {
        let graph = Crate::read(&source).graph();
        edges += graph.values().map(BTreeSet::len).sum::<usize>();
        let circles = circles(&graph);
        if !circles.is_empty() {
            let source = source.strip_prefix(ROOT).unwrap().display().to_string();
            found.push(format!("{source}: {}", circles.join(", ")));
        }
    }
    assert!(edges > 100, "only {edges} imports were found");
    assert!(edges > 100, "only {edges} imports were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_through_nested_imports_and_children() {
    let mut found = Vec::new();
    expand("", "crate::{a, b::{self, c as d}}", &mut found);
    assert_eq!(found, ["crate::a", "crate::b::self", "crate::b::c"]);
    let code = "use super::b::X;\nfn f() { crate::c::g(); }\n";
    assert_eq!(paths(code), ["super::b::X", "crate::c::g"]);
    let edge = |to: &[&str]| to.iter().map(|to| (*to).to_owned()).collect();
    let graph: Graph =
        [("a", edge(&["b"])), ("b", edge(&["c"])), ("c", edge(&["b"])), ("d", edge(&["a"]))]
            .into_iter()
            .map(|(name, uses)| (name.to_owned(), uses))
            .collect();
    assert_eq!(circles(&graph), ["b -> c", "c -> b"]);
}
