//! Errors: all at once, with their places, and values only if they can't be secret.

use super::*;

#[test]
fn errors_of_keys_say_what_is_wrong_with_them_and_do_not_show_secrets() {
    let space = "LIVEKIT_KEYS: must have a space after the colon: `key: secret`";
    for (env, expected) in [
        (&[][..], "LiveKit's API keys: none given"),
        (&[("LIVEKIT_KEYS", "a:s3cret")], space),
        (&[("LIVEKIT_KEYS", "a: s3cret\nb:s3cret")], space),
        (&[("LIVEKIT_KEYS", "{a:s3cret}")], space),
        (&[("LIVEKIT_KEYS", "{a:s3cret, b:s3cret}")], space),
        (&[("LIVEKIT_KEYS", "s3cret")], "LIVEKIT_KEYS: must be lines of `key: secret`"),
        (&[("LIVEKIT_KEYS", "a=s3cret")], "LIVEKIT_KEYS: must be `key: secret`, not `key=secret`"),
        (&[("LIVEKIT_KEYS", "'a: s3cret'")], "LIVEKIT_KEYS: has quotes around it: remove them"),
        (&[("LIVEKIT_KEYS", "\"a: s3cret\"")], "LIVEKIT_KEYS: has quotes around it: remove them"),
        (
            &[("LIVEKIT_KEYS", "a: s3cret, b: s3cret")],
            "LIVEKIT_KEYS: must have each key on a line of its own, or be {key: secret, key: secret}",
        ),
        (&[("LIVEKIT_KEYS", "a: s3cret\na: s3cret")], "LIVEKIT_KEYS: a key is given twice"),
        (&[("LIVEKIT_KEYS", "a: {b: s3cret}")], "LIVEKIT_KEYS: must be lines of `key: secret`"),
        (&[("LIVEKIT_KEYS", "a: ''")], "LIVEKIT_KEYS: a key or its secret is empty"),
        (&[("LIVEKIT_KEYS", "a:")], "LIVEKIT_KEYS: must be lines of `key: secret`"),
        (&[("LIVEKIT_API_KEY", "a")], "LIVEKIT_API_KEY: needs LIVEKIT_API_SECRET too"),
        (&[("LIVEKIT_API_SECRET", "s3cret")], "LIVEKIT_API_SECRET: needs LIVEKIT_API_KEY too"),
    ] {
        let wrong = wrong(&ServeArgs::default(), env);
        assert_eq!(wrong.len(), 1, "{env:?}: {wrong:?}");
        assert!(wrong[0].starts_with(expected), "{env:?}: {wrong:?}");
        assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
    }
    // JSON is YAML.
    let json = env(&[("LIVEKIT_KEYS", r#"{"a":"s3cret","b":"s3cret"}"#)]);
    let keys = Config::load(&ServeArgs::default(), &json).unwrap().keys;
    assert_eq!(keys.secret("b"), Some("s3cret"));
}

#[test]
fn a_key_of_the_file_without_a_space_after_its_colon_is_wrong_and_not_shown() {
    for (text, expected) in [
        ("livekit:\n  keys:\n    a:s3cret\n", "2: livekit.keys: must be a map: put a space after"),
        ("livekit: {keys: {a:s3cret}}", "1: livekit.keys.a:…: has no value: put a space after the"),
        ("livekit: {keys: {a: }}", "1: livekit.keys.a: has no value"),
        ("livekit: {keys: {a: ''}}", "1: livekit.keys.a: a key or its secret is empty"),
        ("livekit:s3cret", ""),
        ("export: {headers: {a:s3cret}}", "1: export.headers.a:…: has no value: put a space"),
    ] {
        let wrong = wrong_in(text);
        let expected = format!("f.yaml:{expected}");
        assert!(wrong.iter().any(|error| error.starts_with(&expected)), "{text}: {wrong:?}");
        assert!(!wrong.iter().any(|error| error.contains("s3cret")), "{text}: {wrong:?}");
    }
}

#[test]
fn a_secret_that_is_short_for_livekit_is_noted_without_it() {
    let file = "livekit:\n  keys:\n    a: s3cret\n    b: made-up-secret-of-thirty-two-characters";
    let expected = "f.yaml:3: livekit.keys.a: the secret of \"a\" is shorter than the 32 characters \
                    that LiveKit asks for";
    assert_eq!(notes_in(file), [expected]);
}

#[test]
fn an_endpoint_that_can_not_work_is_refused_and_an_unlikely_one_noted() {
    let file = |export: &str| {
        let secret = "made-up-secret-of-thirty-two-characters";
        format!("livekit: {{keys: {{k: {secret}}}}}\nexport: {{{export}}}")
    };
    let http = "protocol: http/protobuf, ";
    for (export, expected) in [
        ("endpoint: 'collector:4317'", "must start with http://, or https:// for TLS (got \"coll"),
        ("endpoint: collector", "must start with http://, or https:// for TLS (got \"collector\")"),
        ("endpoint: 'http://c:99999'", "must have a port from 1 to 65535 (got \"http://c:99999\")"),
        ("endpoint: 'http://c:0'", "must have a port from 1 to 65535 (got \"http://c:0\")"),
        ("endpoint: 'http://c:'", "must have a port from 1 to 65535 (got \"http://c:\")"),
        (
            "endpoint: 'http://:4317'",
            "must be a URL, such as http://localhost:4317 (got \"http://:4",
        ),
        (
            "endpoint: 'http://c:4317/v1/traces'",
            "must have no path with gRPC: remove it, or set th",
        ),
        (&format!("{http}endpoint: 'http://c:99999'"), "must have a port from 1 to 65535 (got"),
        (&format!("{http}endpoint: 'c:4318'"), "must start with http://, or https:// for TLS (got"),
        (
            &format!("{http}endpoint: 'http://c:4318/v1/traces'"),
            "must not end in a signal's path, which is added: remove /v1/…, or set ",
        ),
    ] {
        let wrong = wrong_in(&file(export));
        let expected = format!("f.yaml:2: export.endpoint: {expected}");
        assert!(wrong.len() == 1 && wrong[0].starts_with(&expected), "{export}: {wrong:?}");
    }
    for (export, expected) in [
        ("endpoint: 'http://c'", "has no port, so that gRPC connects to port 80: collectors have"),
        ("endpoint: 'http://c:4318'", "has the port that collectors have for http/protobuf, and"),
        (&format!("{http}endpoint: 'http://c:4317'"), "has the port that collectors have for grpc"),
    ] {
        let notes = notes_in(&file(export));
        let expected = format!("f.yaml:2: export.endpoint: {expected}");
        assert!(notes.len() == 1 && notes[0].starts_with(&expected), "{export}: {notes:?}");
    }
    assert_eq!(notes_in(&file("endpoint: 'http://c:4317/'")), <[&str; 0]>::default());
    let api = ("LIVEKIT_URL", "http://lk:99999");
    let wrong = wrong(&ServeArgs::default(), &[KEYS, api]);
    assert_eq!(wrong, ["LIVEKIT_URL: must have a port from 1 to 65535 (got \"http://lk:99999\")"]);
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
    assert_eq!(wrong.len(), 10, "{wrong:#?}");
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
