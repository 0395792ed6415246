//! `livekit-otel serve --check`, as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A file that is removed after the test.
struct Yaml(PathBuf);

impl Yaml {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("livekit-otel-check-{}-{name}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Yaml {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn livekit_otel(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_livekit-otel"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn check(file: &Yaml, env: &[(&str, &str)]) -> Output {
    livekit_otel(&["serve", "--check", "--config", file.0.to_str().unwrap()], env)
}

#[test]
fn one_run_reports_all_errors_with_their_lines_and_values() {
    let file = Yaml::new(
        "wrong",
        "livekit:\n  keys: {devkey: s3cret}\nlisten:\n  http: here\nstats:\n  level: all\n\
         exporter:\n  endpoint: http://localhost:4317\nexport: {headers: {x: 1, y: \"s3cret\\n\"}}\n",
    );
    let output = check(&file, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    let path = file.0.display();
    for (start, end) in [
        (format!("{path}:4: listen.http: must be "), " (got \"here\")"),
        (format!("{path}:6: stats.level: must be "), " (got \"all\")"),
        (format!("{path}:7: exporter: unknown key, must be one of "), ""),
        (format!("{path}:9: export.headers.x: is a number "), "put it in quotes"),
        (format!("{path}:9: export.headers: has a name or value "), ""),
        ("OTEL_EXPORTER_OTLP_TIMEOUT: must be ".to_owned(), " (got \"soon\")"),
    ] {
        let is_it = |line: &&str| line.starts_with(&start) && line.ends_with(end);
        assert_eq!(errors.lines().filter(is_it).count(), 1, "{start} in:\n{errors}");
    }
    assert_eq!(errors.lines().count(), 6, "{errors}");
    assert!(!errors.contains("s3cret"), "{errors}");
}

#[test]
fn a_good_file_is_ok() {
    let file = Yaml::new(
        "good",
        "livekit: {keys: {devkey: s3cret}}\nlisten: {http: '0.0.0.0:9290'}\n\
         export: {protocol: http/protobuf, headers: {authorization: Bearer x}}\n",
    );
    let output = check(&file, &[]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.stdout, b"ok\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn without_keys_the_three_ways_are_named() {
    let output = livekit_otel(&["serve", "--check"], &[]);
    assert_eq!(output.status.code(), Some(64));
    let errors = String::from_utf8(output.stderr).unwrap();
    for way in ["livekit.keys", "LIVEKIT_KEYS", "LIVEKIT_API_KEY"] {
        assert!(errors.contains(way), "{errors}");
    }
}

#[test]
fn a_wrong_flag_is_64_and_help_is_0() {
    assert_eq!(livekit_otel(&["serve", "--no-such-flag"], &[]).status.code(), Some(64));
    let help = livekit_otel(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("serve"));
}
