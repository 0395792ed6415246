//! Errors: all at once, with their places, and values only if they can't be secret.

use super::*;

#[test]
fn errors_of_keys_do_not_show_secrets() {
    for (env, expected) in [
        (&[][..], "LiveKit's API keys: none given"),
        (&[("LIVEKIT_KEYS", "a:s3cret")], "must have a space after the colon"),
        (&[("LIVEKIT_KEYS", "a: s3cret\nb:s3cret")], "LIVEKIT_KEYS: must "),
        (&[("LIVEKIT_KEYS", "s3cret")], "must be lines of"),
        (&[("LIVEKIT_KEYS", "a: ''")], "is empty"),
        (&[("LIVEKIT_API_KEY", "a")], "LIVEKIT_API_KEY: needs LIVEKIT_API_SECRET too"),
        (&[("LIVEKIT_API_SECRET", "s3cret")], "LIVEKIT_API_SECRET: needs LIVEKIT_API_KEY too"),
    ] {
        let wrong = wrong(&ServeArgs::default(), env);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].contains(expected), "{wrong:?}");
        assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
    }
}

#[test]
fn a_wrong_variable_is_one_error_with_its_value() {
    let own = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b"),
        (own, "http://"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lzma"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
        ("OTEL_SDK_DISABLED", "1"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("LIVEKIT_OTEL_HTTP", "localhost:9290"),
        ("LIVEKIT_OTEL_UI", "localhost:9292"),
        ("LIVEKIT_OTEL_STATS_LEVEL", "tracks"),
        ("LIVEKIT_OTEL_LOG_FORMAT", "xml"),
        ("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "10"),
        ("LIVEKIT_OTEL_PRIVACY_PII", "mask"),
    ] {
        let wrong = wrong(&ServeArgs::default(), &[KEYS, (name, value)]);
        assert_eq!(wrong.len(), 1, "{name}: {wrong:?}");
        assert!(wrong[0].starts_with(&format!("{name}: ")), "{wrong:?}");
        assert!(wrong[0].ends_with(&format!(" (got {value:?})")), "{wrong:?}");
    }
}

#[test]
fn an_error_does_not_show_a_value_that_could_be_secret() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@c:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret=%0a"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "s3cret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
        ("LIVEKIT_OTEL_PRIVACY_PII", "hash"),
        ("LIVEKIT_OTEL_PRIVACY_HASH_KEY", "s3cret"),
        ("LIVEKIT_OTEL_CONFIG", "/nonexistent/config.yaml"),
    ] {
        let wrong = wrong(&ServeArgs::default(), &[KEYS, (name, value)]);
        assert_eq!(wrong.len(), 1, "{name}: {wrong:?}");
        let place = if name.ends_with("_CONFIG") { value } else { name };
        assert!(wrong[0].starts_with(&format!("{place}: ")), "{wrong:?}");
        assert!(!wrong[0].contains("s3cret") && !wrong[0].contains("got"), "{wrong:?}");
    }
    for text in [
        "livekit: {api_key: a, api_secret: 33333333}",
        "livekit: {keys: {a: 33333333}}",
        "livekit: {keys: 33333333}",
        "livekit: {url: 'https://33333333@host'}",
        "export: {headers: {authorization: 33333333}}",
        "export: {headers: {'33333333 ': a}}",
        "privacy: {hash_key: 33333333}",
    ] {
        let wrong = wrong_in(text);
        assert!(wrong.iter().any(|error| error.starts_with("f.yaml:1: ")), "{text}: {wrong:?}");
        assert!(!wrong.iter().any(|error| error.contains("33333333")), "{text}: {wrong:?}");
    }
}

#[test]
fn a_wrong_setting_that_is_overridden_is_no_error() {
    let yaml = Yaml::new(
        "overridden",
        "livekit: {keys: {k: s}, url: nowhere}\nlisten: {http: here}\nstats: {interval: soon}\n\
         export: {protocol: p, timeout: t, compression: c, temporality: t, endpoint: 'e:'}\n\
         privacy: {pii: p, hash_key: short}\n",
    );
    let overriding = env(&[
        ("LIVEKIT_URL", "http://lk"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
        ("LIVEKIT_OTEL_PRIVACY_PII", "hash"),
        ("LIVEKIT_OTEL_PRIVACY_HASH_KEY", "made-up-key-of-the-environment"),
    ]);
    let args = ServeArgs { http: Some("127.0.0.1:1".into()), ..yaml.args() };
    let config = Config::load(&args, &overriding).unwrap();
    assert_eq!(config.stats_interval, Duration::from_millis(1500));
    let wrong = wrong(&yaml.args(), &[]);
    assert_eq!(wrong.len(), 9, "{wrong:#?}");
}

#[test]
fn a_check_of_two_settings_is_placed_where_the_setting_was_made() {
    let text = "livekit: {keys: {k: s}}\n\nlisten:\n  grpc: 0.0.0.0:1\n";
    let [error] = &wrong_in(text)[..] else { panic!("not one error") };
    assert!(error.starts_with("f.yaml:4: listen.grpc: anyone "), "{error}");
    let args = ServeArgs { grpc: Some("0.0.0.0:1".into()), ..ServeArgs::default() };
    let [error] = &wrong(&args, &[KEYS])[..] else { panic!("not one error") };
    assert!(error.starts_with("--grpc: anyone "), "{error}");
}

#[test]
fn all_errors_are_reported_at_once() {
    let yaml = Yaml::new(
        "wrong",
        "listen: {http: here}\nexport: {max_request: 8MiB, max_queue: 4MiB}\nlogs: {}\n",
    );
    let args = ServeArgs { log_level: Some("loud".into()), ..yaml.args() };
    let wrong = wrong(&args, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]);
    let file = yaml.0.display();
    for place in [
        format!("{file}:3: logs: unknown key"),
        "LiveKit's API keys: none given".to_owned(),
        format!("{file}:2: export.max_request: "),
        "OTEL_EXPORTER_OTLP_TIMEOUT: ".to_owned(),
        format!("{file}:1: listen.http: "),
        "--log-level: ".to_owned(),
    ] {
        assert_eq!(wrong.iter().filter(|line| line.starts_with(&place)).count(), 1, "{wrong:#?}");
    }
    assert_eq!(wrong.len(), 6, "{wrong:#?}");
}
