//! The crates that come with the library.

use std::collections::BTreeSet;
use std::process::Command;

// Parts of the server and of its binary.
const FOREIGN: [&str; 6] = ["axum", "clap", "indicatif", "maud", "mimalloc", "serde-saphyr"];

#[test]
fn the_library_depends_on_no_part_of_the_server() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--offline", "--locked", "--package", "livekit-otel-telemetry"]);
    tree.args(["--all-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("tokio") && names.contains("rustls"), "the list was not read");
    for name in FOREIGN {
        assert!(!names.contains(name), "{name} is a dependency of the library");
    }
}
