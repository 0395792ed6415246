//! `semconv/` compared with LiveKit's own registry, which the Go module of its protocol contains.

use std::collections::BTreeSet;
use std::path::PathBuf;

use livekit_otel_model::semconv::SCHEMA_URL;

use crate::live_check::livekit::{LiveKit, annotation, check, parsed, yaml_files};
use crate::live_check::registry::{Registry, attributes, list, text};
use crate::parts::{livekit_registry, or_say};
use crate::shipped::redacted;

fn otel() -> Option<PathBuf> {
    or_say("NO REGISTRY OF LIVEKIT", livekit_registry())
}

/// LiveKit's registry; `None` where Go can't be had.
pub(crate) fn livekit() -> Option<LiveKit> {
    Some(LiveKit::read(&otel()?).unwrap())
}

#[test]
fn semconv_agrees_with_livekits_registry() {
    let Some(livekit) = livekit() else { return };
    for (key, expected) in [("lk.room.sid", Some("lk.room_id")), ("lk.room_id", None)] {
        assert_eq!(livekit.refuses(key), expected);
    }
    let found = check(&Registry::read(), &livekit);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn livekits_registry_uses_the_same_version_of_the_conventions() {
    let Some(otel) = otel() else { return };
    let manifest = parsed(&otel.join("model/manifest.yaml")).unwrap();
    assert_eq!(manifest["dependencies"][0]["schema_url"], SCHEMA_URL);
}

/// What LiveKit does not mark as personal, though it names people, or applications write it.
const UNMARKED: [&str; 6] = [
    "evaluation",
    "lk.rpc.caller_identity",
    "lk.rpc.destination_identity",
    "lk.shutdown.reason",
    "session.tags",
    "tag",
];

#[test]
fn redact_yaml_passes_all_else_that_livekit_registers_of_agents() {
    let Some(otel) = otel() else { return };
    let registry = parsed(&otel.join("model/agents/registry.yaml")).unwrap();
    let all = list(&registry["groups"]).flat_map(attributes);
    let plain = all.filter(|attribute| annotation(attribute, "sensitivity") == "none");
    let keys: BTreeSet<_> = plain.map(|attribute| text(attribute, "id").to_owned()).collect();
    let allowed = redacted("allowed_keys");
    assert_eq!(keys.difference(&allowed).collect::<Vec<_>>(), UNMARKED);
}

/// What is not compared: `semconv/` renames nothing and ships no values, and Weaver's own errors.
const NOT_COMPARED: [&str; 4] = [
    "livekit_rename_value",
    "livekit_shipped_value",
    "is declared multiple times",
    "unexpected properties: bogus_field",
];

/// LiveKit's own examples of what its policies refuse, each added to `semconv/`.
#[test]
fn livekits_own_negatives_are_found() {
    let Some(otel) = otel() else { return };
    let livekit = LiveKit::read(&otel).unwrap();
    let mut compared = 0;
    for path in yaml_files(&otel.join("tests/negatives")).unwrap() {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} expects nothing", path.display()));
        // Our files are all in the format before definition/2.
        if NOT_COMPARED.contains(&expected) || text.contains("file_format: definition/2") {
            continue;
        }
        // That of a key says it in a sentence.
        let rule = match expected.split_once(": shared identity keys are flat") {
            Some((key, _)) => format!("livekit_flat_identity: {key} "),
            None => format!("{expected}: "),
        };
        let mut registry = Registry::read();
        registry.0.extend(Registry::of(&[parsed(&path).unwrap()]).0);
        let found = check(&registry, &livekit);
        let name = path.display();
        assert!(found.iter().any(|it| it.starts_with(&rule)), "{name}: {rule} not in {found:#?}");
        compared += 1;
    }
    assert_eq!(compared, 32);
}
