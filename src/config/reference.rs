//! `examples/livekit-otel.yaml` against the schema: it is the settings' reference.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::print::{EXAMPLE, with_all_settings};
use super::tests::wrong_in;
use super::tree::Tree;

/// A file with this value of one setting.
fn with(key: &str, value: &str) -> String {
    let parts = key.rsplit('.').filter(|part| !part.is_empty());
    parts.fold(value.to_owned(), |text, part| format!("{{{part}: {text}}}"))
}

/// The schema's keys below `section`, as the error of an unknown key lists them.
fn keys(section: &str) -> BTreeSet<String> {
    let wrong = wrong_in(&with(section, "{unknown: 1}"));
    let known = wrong.iter().find_map(|error| error.split_once("unknown key, must be one of "));
    let known = known.map_or("", |(_, known)| known).split(", ").filter(|key| !key.is_empty());
    let mut keys = BTreeSet::new();
    for key in known {
        let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        keys.append(&mut self::keys(&key));
        keys.insert(key);
    }
    keys
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let known = keys("");
    assert!(known.contains("listen.tls.key") && known.contains("memory_limit"), "{known:?}");
    let mut problems = Vec::new();
    let tree = Tree::parse("f.yaml", &with_all_settings(), &mut problems);
    assert_eq!(problems, []);
    let is_operators = |key: &str| key.starts_with("livekit.keys.") || key.starts_with("resource.");
    let keys = tree.places().known.into_keys().filter(|key| !is_operators(key));
    assert_eq!(keys.collect::<BTreeSet<_>>(), known);
}

#[test]
fn an_empty_text_is_not_set_in_place_of_a_single_value_and_an_error_elsewhere() {
    let wrong = |key: &str, value: &str| {
        let of_key = |error: &String| error.starts_with(&format!("f.yaml:1: {key}: "));
        wrong_in(&with(key, value)).into_iter().filter(of_key).collect::<Vec<_>>()
    };
    let (mut single, mut structured) = (0, 0);
    for key in keys("") {
        let of_text = wrong(&key, "'x'");
        let is_structured = [" must be a map", " must be a list"]
            .iter()
            .any(|what| of_text.iter().any(|error| error.ends_with(what)));
        let expected = if is_structured { of_text } else { Vec::new() };
        assert_eq!(wrong(&key, "''"), expected, "{key}");
        *(if is_structured { &mut structured } else { &mut single }) += 1;
    }
    assert!(single > 40 && structured > 10, "{single} single values, {structured} others");
}

#[test]
fn the_examples_settings_are_the_defaults() {
    let load = |text: &str| format!("{:#?}", Config::from_text(text, &BTreeMap::new()).unwrap());
    let examples_own = "livekit: {keys: {devkey: made-up-secret-of-thirty-two-characters}}\n\
                        export: {endpoint: http://127.0.0.1:4317}\n\
                        resource: {deployment.environment.name: example}\n";
    assert_eq!(load(EXAMPLE), load(examples_own));
}

#[cfg(feature = "tls")]
#[test]
fn the_settings_that_the_example_comments_out_are_valid() {
    let wrong = wrong_in(&with_all_settings());
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    // The example shows alternatives: a list of keys for tokens, and no authentication.
    assert!(wrong[0].contains("listen.grpc_keys: needs listen.grpc_auth: token"), "{wrong:#?}");
}
