//! Faults of a deployment, planted by `planted.py`, and whether one line says which it is. Needs Python and openssl;
//! where these are missing the tests say so and end. `REQUIRE_REAL=1` makes that a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/planted/planted.py");

/// Plants this fault. Where the cause is said, and its line, have to contain all of these.
fn finds(fault: usize, expected: &[&str]) {
    let needed = [("python3", "--version"), ("openssl", "version")];
    let is_missing =
        |(program, version): &(&str, &str)| Command::new(program).arg(version).output().is_err();
    if let Some((program, _)) = needed.iter().find(|each| is_missing(each)) {
        // Past the test harness, which keeps what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "\n!!! NO PLANTED FAULTS: {program} is missing\n");
        assert!(std::env::var_os("REQUIRE_REAL").is_none(), "{program} is missing");
        return;
    }
    let output = Command::new("python3")
        .args([SCRIPT, &fault.to_string()])
        .env("LIVEKIT_OTEL", env!("CARGO_BIN_EXE_livekit-otel"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{failed}");
    for part in expected {
        assert!(printed.contains(part), "{part:?} is not in\n{printed}");
    }
    // One command that ends, or one line of the log.
    assert!(printed.contains("the log") || printed.contains("--check"), "{printed}");
    assert!(!printed.contains("made-up-secret"), "{printed}");
}

#[test]
fn a_wrong_secret() {
    finds(
        1,
        &["webhook refused", "reason=\"signature\"", "key=\"devkey\"", "secret in livekit.keys"],
    );
}

#[test]
fn a_clock_that_is_wrong() {
    finds(2, &["webhook refused", "reason=\"expired\"", "Is this machine's clock right"]);
}

#[test]
fn a_wrong_port() {
    finds(3, &["collector=\"127.0.0.1:", "speaks HTTP/1, not gRPC", "usually 4317"]);
}

#[cfg(feature = "tls")]
#[test]
fn tls_to_a_plain_port() {
    finds(4, &["collector=\"127.0.0.1:", "does not speak TLS", "Write http://"]);
}

#[cfg(feature = "tls")]
#[test]
fn plain_to_a_tls_port() {
    finds(5, &["collector=\"127.0.0.1:", "whether it expects TLS (https://)"]);
}

#[cfg(feature = "tls")]
#[test]
fn an_unknown_ca() {
    finds(
        6,
        &[
            "collector=\"127.0.0.1:",
            "an authority that is not trusted here",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ],
    );
}

#[test]
fn a_collector_that_answers_401() {
    let hint = "no header is configured. Set export.headers (OTEL_EXPORTER_OTLP_HEADERS)";
    finds(7, &["collector=\"127.0.0.1:", "401", "authorization failed: unknown API key", hint]);
}

#[test]
fn a_full_disk() {
    finds(8, &["nothing is accepted: the journal", "reason="]);
}

#[test]
fn a_body_that_a_proxy_changed() {
    finds(9, &["webhook refused", "reason=\"body_hash\"", "Does a proxy", "change the body?"]);
}

#[test]
fn a_token_without_the_grant() {
    finds(10, &["analytics stream refused", "reason=\"no_grant\"", "Is it a participant's token?"]);
}

#[test]
fn two_listeners_on_one_port() {
    finds(11, &["serve --check", "127.0.0.1:9290"]);
}

#[test]
fn a_name_that_dns_does_not_have() {
    finds(12, &["collector=\"otel-collector.invalid:4317\"", "DNS"]);
}

#[test]
fn malformed_keys() {
    finds(13, &["serve --check", "LIVEKIT_KEYS", "must have a space after the colon"]);
}
