//! Each of `collector-config/` is one that the real collector takes, alone and beside the others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, build};

/// All of them but [`OVERLAYS`]; what is not listed here is not known to work.
const CONFIGS: [&str; 8] = [
    "cluster.yaml",
    "gateway-agent.yaml",
    "gateway.yaml",
    "grafana.yaml",
    "jaeger.yaml",
    "kafka-consumer.yaml",
    "kafka.yaml",
    "livekit-prometheus-names.yaml",
];
/// Not whole: laid over one of those that [`BASES`] names.
const OVERLAYS: [&str; 3] = ["alias-keys.yaml", "pii.yaml", "redact.yaml"];
/// What they say that they are for.
const BASES: [&str; 5] =
    ["cluster.yaml", "gateway-agent.yaml", "grafana.yaml", "jaeger.yaml", "kafka.yaml"];
/// Said to be for beside another.
const BESIDE: &str = "livekit-prometheus-names.yaml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("collector-config")
}

fn validate(built: &Built, configs: &[&str]) {
    let mut command = Command::new(&built.otelcol);
    command.arg("validate").env_clear();
    command.env("LIVEKIT_OTEL_PRIVACY_HASH_KEY", "a-made-up-key-of-at-least-thirty-two-bytes");
    for config in configs {
        command.arg("--config").arg(folder().join(config));
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{configs:?}: {printed}");
    assert!(printed.is_empty(), "{configs:?}: {printed}");
}

#[test]
fn each_collector_configuration_is_listed() {
    let listed = CONFIGS.iter().chain(&OVERLAYS).map(|name| folder().join(name));
    let listed: BTreeSet<_> = listed.collect();
    let there = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    // Others there are for Prometheus or Grafana.
    let is_one = |path: &PathBuf| {
        path.is_file() && std::fs::read_to_string(path).unwrap().contains("\nservice:\n")
    };
    assert_eq!(there.filter(is_one).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn a_real_collector_takes_each_configuration() {
    let Some(built) = build() else { return };
    for config in CONFIGS {
        validate(built, &[config]);
        if ![BESIDE, "cluster.yaml", "kafka-consumer.yaml"].contains(&config) {
            validate(built, &[config, BESIDE]);
        }
    }
    for base in BASES {
        for overlay in OVERLAYS {
            validate(built, &[base, overlay]);
        }
    }
}
