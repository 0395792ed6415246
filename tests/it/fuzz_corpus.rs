//! The corpus of `fuzz/`, run through the fuzzer's targets.

use std::collections::BTreeSet;
use std::path::Path;

use livekit_otel::fuzz::TARGETS;

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn each_file_of_the_corpus_is_accepted_by_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, run) in TARGETS {
        let folder = corpus.join(target);
        let files = names(&folder);
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            eprintln!("{target}/{file}");
            run(&std::fs::read(folder.join(file)).unwrap());
        }
    }
}

#[test]
fn each_target_has_its_corpus_and_its_program() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets: BTreeSet<_> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(names(&fuzz.join("corpus")), targets);
    let programs = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), programs);
}
