//! Each of `collector-config/` is one that the real collector takes, alone and beside the others.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, build};

/// All of them; what is not listed here is not known to work.
const CONFIGS: [&str; 3] = ["grafana.yaml", "jaeger.yaml", "livekit-prometheus-names.yaml"];
/// Said to be for beside another.
const BESIDE: &str = "livekit-prometheus-names.yaml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("collector-config")
}

fn validate(built: &Built, configs: &[&str]) {
    let mut command = Command::new(&built.otelcol);
    command.arg("validate").env_clear();
    for config in configs {
        command.arg("--config").arg(folder().join(config));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{configs:?}: {said}");
    assert!(said.is_empty(), "{configs:?}: {said}");
}

#[test]
fn each_collector_configuration_is_listed() {
    let listed = CONFIGS.map(|name| folder().join(name));
    let mut there: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Others there are for Prometheus or Grafana.
    there.retain(|path| {
        path.is_file() && std::fs::read_to_string(path).unwrap().contains("\nreceivers:\n")
    });
    there.sort();
    assert_eq!(there, listed);
}

#[test]
fn a_real_collector_takes_each_configuration() {
    let Some(built) = build() else { return };
    for config in CONFIGS {
        validate(built, &[config]);
        if config != BESIDE {
            validate(built, &[config, BESIDE]);
        }
    }
}
