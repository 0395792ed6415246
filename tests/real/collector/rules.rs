//! promtool takes Prometheus' configuration and the rules, and each alert fires when it should alone.

use std::path::Path;
use std::process::Command;

use super::build;
use crate::parts::ran;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/prometheus");

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let Some(built) = build() else { return };
    let promtool = |folder: &Path, arguments: &[&str]| {
        ran(Command::new(&built.promtool).args(arguments).current_dir(folder))
    };
    let folder = Path::new(FOLDER);
    promtool(folder, &["check", "config", "prometheus.yaml"]).unwrap();
    promtool(folder, &["check", "rules", "alerts.yaml", "recording.yaml"]).unwrap();
    promtool(folder, &["test", "rules", "alerts_test.yaml"]).unwrap();

    // Those tests can fail.
    let other = tempfile::tempdir().unwrap();
    for name in ["alerts.yaml", "recording.yaml", "alerts_test.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        std::fs::write(other.path().join(name), text.replace("> 0.25", "> 0.6")).unwrap();
    }
    let printed = promtool(other.path(), &["test", "rules", "alerts_test.yaml"]).unwrap_err();
    assert!(printed.contains("LivekitJoinFailures"), "{printed}");
}
