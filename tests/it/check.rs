//! `livekit-otel serve --check` and `config print`, as a user runs them.

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

// What a user reads, without the paths of this run.
fn is_golden(text: &str, file: &Yaml, place: &str, golden: &str) {
    let text = text.replace(&file.0.display().to_string(), "FILE").replace(place, "/PLACE");
    assert_eq!(text, golden, "\n{text}");
}

#[test]
fn a_good_file_is_ok_and_its_essentials_are_shown() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path().display();
    let file = Yaml::new(
        "good",
        &format!(
            "livekit: {{keys: {{devkey: s3cret}}, url: 'http://livekit:7880'}}\n\
             listen: {{http: '0.0.0.0:9290', grpc_auth: token, ui: '127.0.0.1:9292'}}\n\
             export: {{endpoint: 'http://c:4317/?key=s3cret', protocol: http/protobuf,\n  \
             headers: {{authorization: Bearer s3cret}}}}\n\
             journal: {{dir: '{at}/journal'}}\nprivacy: {{pii: drop}}\n"
        ),
    );
    let output = check(&file, &[("OTEL_METRICS_EXPORTER", "none")]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let printed = String::from_utf8(output.stdout).unwrap();
    is_golden(&printed, &file, &at.to_string(), include_str!("check/good.txt"));
    assert_eq!(output.status.code(), Some(0));
    assert!(!place.path().join("journal").exists(), "the check created the journal");
}

#[cfg(feature = "tls")]
#[test]
fn all_that_can_not_work_is_reported_at_once_and_serve_does_not_start_with_it() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path().display().to_string();
    std::fs::write(place.path().join("text.pem"), "s3cret").unwrap();
    let file = Yaml::new(
        "faults",
        &format!(
            "livekit:\n  keys: {{devkey: s3cret}}\n  url: http://127.0.0.1:9290\n\
             listen:\n  http: 0.0.0.0:9290\n  admin: 127.0.0.1:9290\n  tls:\n    \
             certificate: {at}/none.pem\n    key: {at}/text.pem\n    http_client_ca: {at}/text.pem\n\
             limits:\n  webhook_body: 1\n\
             export:\n  endpoint: collector:4317\n  timeout: 0s\n\
             journal:\n  dir: {at}/text.pem\n  max_bytes: 1MiB\n  sync: 1h\n\
             agents:\n  recordings:\n    dir: {at}/text.pem/recordings\n"
        ),
    );
    let logs = [("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://collector:99999")];
    let output = check(&file, &logs);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    is_golden(&errors, &file, &at, include_str!("check/faults.txt"));
    let serve = livekit_otel(&["serve", "--config", file.0.to_str().unwrap()], &logs);
    assert_eq!(serve.status.code(), Some(64));
    assert_eq!(String::from_utf8(serve.stderr).unwrap(), errors);
}

#[cfg(feature = "tls")]
#[test]
fn an_expired_certificate_is_an_error_of_the_check_and_a_line_of_the_log() {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    let place = tempfile::tempdir().unwrap();
    let at = place.path().display().to_string();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2025, 1, 1));
    std::fs::write(place.path().join("c.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(place.path().join("c.key"), key.serialize_pem()).unwrap();
    let tls = format!("{{certificate: {at}/c.pem, key: {at}/c.key}}");
    let file = Yaml::new(
        "expired",
        &format!(
            "livekit: {{keys: {{devkey: s3cret}}}}\n\
             listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0', tls: {tls}}}\n"
        ),
    );
    let output = check(&file, &[]);
    assert_eq!(output.status.code(), Some(64));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "{}:2: listen.tls.certificate: expired at 2025-01-01T00:00:00Z: replace it (now is ",
        file.0.display()
    );
    assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
    let config = [("LIVEKIT_OTEL_CONFIG", file.0.to_str().unwrap())];
    let mut serve = crate::binary::Serve::spawn("http://127.0.0.1:1", &config);
    let logged = serve.wait_for("expired at 2025-01-01T00:00:00Z");
    assert!(logged.contains("ERROR") && logged.contains("listen.tls.certificate"), "{logged}");
    serve.wait_for("listening");
    serve.child.kill().unwrap();
    serve.child.wait().unwrap();
}

#[test]
fn the_defaults_are_printed_without_a_file_and_keys() {
    let output = livekit_otel(&["config", "print", "--defaults"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = printed.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_eq!(printed, include_str!("check/defaults.yaml"), "\n{printed}");
}

#[test]
fn what_config_print_prints_passes_the_check_once_the_secrets_are_put_back() {
    let file = Yaml::new("print", "livekit:\n  keys: {devkey: s3cret}\nlog: {level: debug}\n");
    let print = |file: &Yaml, env| {
        livekit_otel(&["config", "print", "--config", file.0.to_str().unwrap()], env)
    };
    let printed = print(&file, &[("LIVEKIT_OTEL_GRPC", "127.0.0.1:7000")]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let name = file.0.display();
    for line in [
        format!("    \"devkey\": \"********\" # {name}:2"),
        format!("  level: debug # {name}:3"),
        "  grpc: 127.0.0.1:7000 # LIVEKIT_OTEL_GRPC".to_owned(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in:\n{printed}");
    }
    let masked = check(&Yaml::new("masked", &printed), &[]);
    assert_eq!(masked.status.code(), Some(64));
    let whole = check(&Yaml::new("whole", &printed.replace("********", "s3cret")), &[]);
    assert_eq!(String::from_utf8(whole.stderr).unwrap(), "");
    let wrong = print(&Yaml::new("wrong-print", "log: {level: loud}"), &[]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(64), 0));
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
