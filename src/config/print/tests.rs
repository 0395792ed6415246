use super::super::tests::{KEYS, Yaml, env};
use super::*;

const SECRET: &str = "made-up-s3cret-of-thirty-two-characters";

fn file(name: &str) -> Yaml {
    Yaml::new(
        name,
        &format!(
            "livekit:\n  keys:\n    'odd: key': {SECRET}\n    b: 's3cret \" # with signs'\n  \
             url: wss://lk/x/\n  api_key: b\nlisten: {{grpc_auth: token, grpc_keys: [b], ui: '[::1]:1'}}\n\
             log: {{level: off}}\nresource: {{a.b: '1.10', tab: \"a\\tb\"}}\nexport:\n  headers:\n    \
             authorization: Bearer s3cret\n  endpoint: https://c:1/?key=s3cret\n  \
             protocol: http/protobuf\n  compression:\njournal: {{dir: '007', max_bytes: 33MB}}\n\
             privacy: {{pii: hash, hash_key: s3cret-of-the-file-s3cret}}\nmemory_limit: 1GiB\n\
             traces: {{url: 'https://t/?id={{trace_id}}#x'}}\nstats: {{names: false, top_n: 7}}\n\
             agents: {{enabled: true, recordings: {{dir: 'null'}}}}\nsession: {{max_ids: 5000}}\n"
        ),
    )
}

// What can be compared of a configuration, with its secrets.
fn shown(config: &Config) -> String {
    let mut secrets: Vec<_> =
        config.export.traces.headers.0.iter().map(|h| format!("{h:?}")).collect();
    for key in ["odd: key", "b", "devkey", "c"] {
        secrets.push(format!("{:?}", config.keys.secret(key)));
    }
    let value = "ada".into();
    let identity = livekit_otel_model::semconv::key::PARTICIPANT_IDENTITY;
    secrets.push(format!("{:?}", config.export.privacy.value(identity, &value)));
    // A default that follows another setting is printed as a value.
    let mut config = config.clone();
    config.session.agent_traces = Some(config.session.agent_traces());
    if config.journal.is_some() {
        // The size of one in memory.
        config.journal_bytes = 0;
    }
    format!("{config:#?}\n{secrets:#?}")
}

// Loads what is printed, with the variables that it lists.
#[cfg(feature = "tls")]
fn again(printed: &str, name: &str, variables: &[(&str, &str)]) -> Config {
    let listed: Vec<_> = variables
        .iter()
        .filter(|(name, _)| printed.contains(&format!("#   {name}=")))
        .copied()
        .collect();
    let yaml = Yaml::new(name, printed);
    Config::load(&yaml.args(), &env(&listed)).unwrap_or_else(|errors| panic!("{errors}\n{printed}"))
}

#[cfg(feature = "tls")]
#[test]
#[allow(clippy::too_many_lines)] // a table
fn what_is_printed_loads_to_the_same_configuration_and_shows_no_secret() {
    let file = file("print-again");
    let pair = [("LIVEKIT_API_KEY", "c"), ("LIVEKIT_API_SECRET", "s3cret, of: the 'pair'")];
    let otel = [
        KEYS,
        ("LIVEKIT_OTEL_HTTP", "127.0.0.1:7"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=s3cret%2C,y=s3cret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a=s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:9/"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a.b=2%2C5,c=d"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "7000"),
        ("LIVEKIT_OTEL_PRIVACY_HASH_KEY", "s3cret-of-the-environment"),
        ("http_proxy", "http://u:s3cret@proxy:3128"),
    ];
    let flags = ServeArgs {
        endpoint: Some("http://flag:1".into()),
        insecure_listen: true,
        grpc: Some("0.0.0.0:8".into()),
        ..ServeArgs::default()
    };
    let with_file = || file.args();
    let level = ServeArgs { stats_level: Some("node".into()), ..ServeArgs::default() };
    for (nth, (args, variables)) in [
        (ServeArgs::default(), &[KEYS][..]),
        (with_file(), &[]),
        (level, &[("LIVEKIT_URL", "http://lk"), pair[0], pair[1]]),
        (with_file(), &otel[1..]),
        (ServeArgs::default(), &otel),
        (flags, &otel),
        (ServeArgs::default(), &pair),
        (ServeArgs { journal_dir: Some("j".into()), ..ServeArgs::default() }, &[KEYS]),
    ]
    .into_iter()
    .enumerate()
    {
        let env = env(variables);
        let before = match Config::load(&args, &env) {
            Ok(config) => config,
            Err(errors) => panic!("{nth}: {errors}"),
        };
        let printed = rendered(&args, &env, false).unwrap();
        let after = again(&printed, &format!("again-{nth}"), variables);
        assert_eq!(shown(&after), shown(&before), "{nth}:\n{printed}");
        let masked = effective(&args, &env).unwrap();
        assert!(!masked.contains("s3cret"), "{nth}:\n{masked}");
        assert_eq!(masked.lines().count(), printed.lines().count());
    }
}

#[test]
fn a_masked_file_is_refused_until_its_secrets_are_put_back() {
    let file = Yaml::new("masking", &format!("livekit:\n  keys:\n    b: {SECRET}\n"));
    let masked = effective(&file.args(), &env(&[])).unwrap();
    let yaml = Yaml::new("masked", &masked);
    let wrong = Config::load(&yaml.args(), &env(&[])).unwrap_err().to_string();
    assert!(wrong.contains(": livekit.keys.b: is masked by `config print`"), "{wrong}");
    let whole = masked.replace(super::super::de::MASK, SECRET);
    let yaml = Yaml::new("whole", &whole);
    assert_eq!(Config::load(&yaml.args(), &env(&[])).unwrap().keys.secret("b"), Some(SECRET));
}

#[test]
fn each_value_has_its_origin() {
    let file = file("print-origins");
    let env = env(&[
        ("LIVEKIT_OTEL_HTTP", "127.0.0.1:7"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=s3cret"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ]);
    let args = ServeArgs { grpc: Some("127.0.0.1:8".into()), ..file.args() };
    if cfg!(not(feature = "tls")) {
        return;
    }
    let printed = effective(&args, &env).unwrap();
    let name = file.args().config.unwrap().display().to_string();
    for line in [
        "  http: 127.0.0.1:7 # LIVEKIT_OTEL_HTTP".to_owned(),
        "  grpc: 127.0.0.1:8 # --grpc".to_owned(),
        "  idle_timeout: 30s # default".to_owned(),
        "    # certificate: # not set".to_owned(),
        format!("    \"b\": \"********\" # {name}:4"),
        format!("  grpc_keys: [\"b\"] # {name}:7"),
        format!("  level: \"off\" # {name}:8"),
        "    \"x\": \"********\" # OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
        "  endpoint: \"https://c:1/?********\" # ".to_owned() + &name + ":13",
        "  compression: none # default".to_owned(),
        "  unfinished: 64MiB # default".to_owned(),
        "  max_body: 15975712 # default".to_owned(),
        "  \"service.name\": \"mine\" # OTEL_SERVICE_NAME".to_owned(),
        "#   OTEL_TRACES_EXPORTER=none".to_owned(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in:\n{printed}");
    }
}

#[test]
fn the_defaults_are_those_of_a_configuration_with_keys_alone() {
    let printed = defaults().unwrap();
    let yaml = Yaml::new("defaults", &printed);
    let of_file = Config::load(&yaml.args(), &env(&[KEYS])).unwrap();
    let of_none = Config::load(&ServeArgs::default(), &env(&[KEYS])).unwrap();
    assert_eq!(shown(&of_file), shown(&of_none), "{printed}");
    assert!(!printed.contains("devkey") && !printed.contains("made-up"), "{printed}");
}
