//! Configurations and their errors.

mod files;
mod proxy;
mod wrong;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::load::with_keys;
use super::tree::Tree;
use super::*;
use crate::cli::ServeArgs;
use crate::source::listen::GrpcAuth;
use livekit_otel_engine::stats::Level;
use livekit_otel_export::configure::Reader;
use livekit_otel_export::settings::{Compression, Protocol, Target, Tls};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::signal::Temporality;

pub(super) const KEYS: (&str, &str) = ("LIVEKIT_KEYS", "devkey: s3cret");

pub(super) fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(pairs: &[(&str, &str)]) -> Config {
    let mut env = env(pairs);
    env.entry(KEYS.0.to_owned()).or_insert_with(|| KEYS.1.to_owned());
    Config::load(&ServeArgs::default(), &env).unwrap()
}

pub(super) fn wrong(args: &ServeArgs, pairs: &[(&str, &str)]) -> Vec<String> {
    let Err(errors) = Config::load(args, &env(pairs)) else { return Vec::new() };
    errors.to_string().lines().map(str::to_owned).collect()
}

/// The errors of a file with this text.
pub(super) fn wrong_in(text: &str) -> Vec<String> {
    let Err(errors) = Config::from_text(text, &BTreeMap::new()) else { return Vec::new() };
    errors.0.iter().map(ToString::to_string).collect()
}

/// The notes about a file with this text, which has no errors.
pub(super) fn notes_in(text: &str) -> Vec<String> {
    let env = BTreeMap::new();
    let mut reader = Reader::new(&env);
    let tree = Tree::parse("f.yaml", text, &mut reader.problems);
    with_keys(&ServeArgs::default(), tree, &mut reader);
    assert_eq!(reader.problems, []);
    reader.notes.iter().map(ToString::to_string).collect()
}

/// A file that is removed after the test.
pub(super) struct Yaml(PathBuf);

impl Yaml {
    pub(super) fn new(name: &str, text: &str) -> Self {
        // Tests that run at once have files of the same name.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("livekit-otel-{}-{number}-{name}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(super) fn args(&self) -> ServeArgs {
        ServeArgs { config: Some(self.0.clone()), ..ServeArgs::default() }
    }
}

impl Drop for Yaml {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn endpoints(config: &Config) -> [String; 3] {
    let export = &config.export;
    [&export.traces, &export.logs, &export.metrics].map(|target| target.endpoint.to_string())
}

#[test]
fn what_is_kept_of_ended_rooms_has_ranges() {
    let keys = "livekit: {keys: {k: made-up-secret-of-thirty-two-characters}}\n";
    let text = "session: {keep_ended: 10m, keep_ended_ids: 7days, max_ended: 8MiB, max_ids: 5000}";
    let config = Config::from_text(&format!("{keys}{text}"), &BTreeMap::new()).unwrap();
    let session = config.session;
    assert_eq!(session.keep_ended, Duration::from_mins(10));
    assert_eq!(session.keep_ended_ids, Duration::from_hours(7 * 24));
    assert_eq!((session.max_ended, session.max_ids), (8 << 20, 5000));
    let text = "session: {keep_ended: 59s, keep_ended_ids: 59m, max_ended: 1023KiB, max_ids: 999}";
    let expected = [
        "keep_ended: must be from 1m to 24h (got \"59s\")",
        "keep_ended_ids: must be a duration from 1h to 30days (got \"59m\")",
        "max_ended: must be a size of at least 1MiB (got \"1023KiB\")",
        "max_ids: must be a number from 1000 to 100000000 (got \"999\")",
    ];
    let expected = expected.map(|error| format!("f.yaml:2: session.{error}"));
    assert_eq!(wrong_in(&format!("{keys}{text}")), expected);
}

#[test]
fn the_defaults_need_only_keys() {
    let config = load(&[]);
    assert_eq!(config.http.to_string(), "127.0.0.1:9290");
    assert_eq!(config.grpc.to_string(), "127.0.0.1:9291");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9293");
    assert_eq!((config.max_body, config.max_message), (1 << 20, 4 << 20));
    assert_eq!(config.keys.secret("devkey"), Some("s3cret"));
    assert_eq!(config.session, livekit_otel_engine::session::Settings::default());
    assert_eq!(config.stats, livekit_otel_engine::stats::Settings::default());
    assert_eq!(config.stats_interval, Duration::from_secs(30));
    assert_eq!((config.journal_bytes, config.dead_letter_bytes), (64 << 20, 16 << 20));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(10));
    assert_eq!(config.log, LogSettings { level: LevelFilter::INFO, format: LogFormat::Text });
    assert!(!config.observe_traces);
    assert_eq!(endpoints(&config), ["http://localhost:4317/"; 3]);
    let Target { enabled, protocol, headers, timeout, compression, .. } = config.export.traces;
    assert_eq!((enabled, protocol, compression), (true, Protocol::Grpc, Compression::None));
    assert_eq!((headers.0.len(), timeout), (0, Duration::from_secs(10)));
    assert_eq!(config.export.resource[0], ("service.name".to_owned(), "livekit-otel".to_owned()));
}

#[test]
fn the_defaults_for_keys_are_those_of_load_on_free_ports() {
    let mut keys = Keys::default();
    keys.insert("devkey", "s3cret");
    let config = Config::for_keys(keys);
    let (http, grpc, admin) = (config.http, config.grpc, config.admin);
    let loaded = Config { http, grpc, admin, ..load(&[]) };
    assert_eq!(format!("{config:?}"), format!("{loaded:?}"));
    assert_eq!((config.http.port(), config.grpc.port()), (0, 0));
}

#[test]
fn flags_override_variables_which_override_the_file() {
    let yaml = Yaml::new(
        "precedence",
        "listen: {http: 127.0.0.1:1, grpc: 127.0.0.1:5}\nlog: {level: debug, format: json}\n\
         stats: {level: node, interval: 5s}\nexport: {endpoint: http://file:1, timeout: 1s}\n\
         livekit: {keys: {file: f}}\nsession: {linger: 1s, twin_wait: 0s}\n\
         limits: {webhook_body: 8KiB}\nshutdown_timeout: 3s\nobserve: {traces: true}\n",
    );
    let args = ServeArgs { http: Some("127.0.0.1:3".into()), ..yaml.args() };
    let env = env(&[
        ("LIVEKIT_OTEL_HTTP", "127.0.0.1:2"),
        ("LIVEKIT_OTEL_GRPC", "127.0.0.1:2"),
        ("LIVEKIT_OTEL_LOG_LEVEL", ""),
        ("OTEL_METRIC_EXPORT_INTERVAL", "7000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
    ]);
    let config = Config::load(&args, &env).unwrap();
    assert_eq!((config.http.port(), config.grpc.port()), (3, 2));
    assert_eq!(config.log, LogSettings { level: LevelFilter::DEBUG, format: LogFormat::Json });
    assert_eq!(config.stats.level, Level::Node);
    assert_eq!(config.stats_interval, Duration::from_secs(7));
    assert_eq!(config.export.logs.timeout, Duration::from_secs(2));
    assert_eq!(endpoints(&config), ["http://file:1/"; 3]);
    assert_eq!(config.keys.secret("file"), Some("f"));
    assert_eq!(config.session.twin_wait, Duration::ZERO);
    assert_eq!(config.max_body, 8192);
    assert!(config.observe_traces);
}

#[test]
fn keys_come_from_one_of_three_places() {
    let yaml = Yaml::new("keys", "livekit: {keys: {file: f}}");
    for (env, expected) in [
        (&[][..], &["file"][..]),
        (&[("LIVEKIT_KEYS", "a: 1\nb: 0123")], &["a", "b"]),
        (&[("LIVEKIT_KEYS", "{a: x, b: y}")], &["a", "b"]),
        (&[("LIVEKIT_API_KEY", "c"), ("LIVEKIT_API_SECRET", "x")], &["c"]),
    ] {
        let env = self::env(env);
        let keys = Config::load(&yaml.args(), &env).unwrap().keys;
        assert_eq!(format!("{keys:?}"), format!("{{{}}}", quoted(expected)));
    }
    let leading_zero = load(&[("LIVEKIT_KEYS", "b: 0123")]);
    assert_eq!(leading_zero.keys.secret("b"), Some("0123"));
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn endpoints_follow_the_specification() {
    let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    for (env, traces, logs) in [
        (&[http][..], "http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs"),
        (&[http, (base, "http://c:1/")], "http://c:1/v1/traces", "http://c:1/v1/logs"),
        (&[http, (base, "http://c:1/x/")], "http://c:1/x/v1/traces", "http://c:1/x/v1/logs"),
        (&[http, (base, "http://c/?k=v")], "http://c/v1/traces?k=v", "http://c/v1/logs?k=v"),
        (&[http, (base, "http://c:1"), (own, "http://t:2")], "http://t:2/", "http://c:1/v1/logs"),
        (&[http, (own, "http://t:2/y")], "http://t:2/y", "http://localhost:4318/v1/logs"),
        (&[(base, "http://c:1")], "http://c:1/", "http://c:1/"),
        (
            &[(base, "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "false")],
            "https://c:1/",
            "https://c:1/",
        ),
        (&[(base, "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE")], "http://c:1/", "http://c:1/"),
        (
            &[
                (base, "c:1"),
                ("OTEL_EXPORTER_OTLP_INSECURE", "false"),
                ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"),
            ],
            "http://c:1/",
            "https://c:1/",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), (base, "http://c:1")],
            "http://c:1/v1/traces",
            "http://c:1/",
        ),
        (&[(base, "")], "http://localhost:4317/", "http://localhost:4317/"),
    ] {
        if cfg!(not(feature = "tls")) && logs.starts_with("https") {
            let wrong = wrong(&ServeArgs::default(), &[&[KEYS], env].concat());
            assert!(wrong[0].contains("has no TLS"), "{wrong:?}");
            continue;
        }
        let [of_traces, of_logs, _] = endpoints(&load(env));
        assert_eq!([of_traces.as_str(), of_logs.as_str()], [traces, logs], "{env:?}");
    }
}

#[test]
fn the_endpoint_flag_is_for_all_signals() {
    let args = ServeArgs {
        endpoint: Some("http://flag:1".into()),
        protocol: Some("http/protobuf".into()),
        ..ServeArgs::default()
    };
    let env = env(&[
        KEYS,
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:1/x"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
    ]);
    let config = Config::load(&args, &env).unwrap();
    let flag = |signal: &str| format!("http://flag:1/v1/{signal}");
    assert_eq!(endpoints(&config), ["traces", "logs", "metrics"].map(flag));
}

#[test]
fn a_signals_variables_override_those_for_all() {
    let config = load(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret,x=1,x=2"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "y=3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "ZSTD"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "cert.pem"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "key.pem"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let text = |target: &Target| {
        let pairs = target.headers.0.iter();
        pairs.map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect::<Vec<_>>()
    };
    let export = &config.export;
    assert_eq!(text(&export.traces), ["authorization=Bearer s3cret", "x=2"]);
    assert_eq!(text(&export.logs), ["y=3"]);
    assert_eq!(export.traces.timeout, Duration::from_millis(2500));
    assert_eq!(export.logs.timeout, Duration::from_millis(500));
    let compressions = [&export.traces, &export.logs, &export.metrics].map(|to| to.compression);
    assert_eq!(compressions, [Compression::Gzip, Compression::None, Compression::Zstd]);
    let (traces, logs) = (Tls::default().with_ca("ca.pem"), &export.logs.tls);
    assert_eq!(export.traces.tls, traces);
    assert_eq!(logs.client().unwrap().1, Path::new("key.pem"));
    assert_eq!([export.traces.enabled, export.metrics.enabled], [true, false]);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_disabled_sdk_sends_nothing() {
    let export = load(&[("OTEL_SDK_DISABLED", "True")]).export;
    assert!(!export.traces.enabled && !export.logs.enabled && !export.metrics.enabled);
}

#[test]
fn low_memory_is_delta_for_the_exporter_and_the_instruments() {
    let preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (text, expected) in [
        ("cumulative", Temporality::Cumulative),
        ("Delta", Temporality::Delta),
        ("LowMemory", Temporality::Delta),
    ] {
        let config = load(&[(preference, text)]);
        assert_eq!((config.stats.temporality, config.export.temporality), (expected, expected));
    }
}

#[test]
fn the_resource_is_ours_then_the_files_then_the_environments() {
    let yaml = Yaml::new("resource", "resource: {service.name: file, a: file, b: file}");
    let env = env(&[
        KEYS,
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attributes,b=env%2C,c=env"),
        ("OTEL_SERVICE_NAME", "name"),
    ]);
    let resource = Config::load(&yaml.args(), &env).unwrap().export.resource;
    let get = |key: &str| resource.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    assert_eq!(resource[0], ("service.name".to_owned(), "name".to_owned()));
    assert_eq!([get("a"), get("b"), get("c")], [Some("file"), Some("env,"), Some("env")]);
    assert_eq!(get("service.version"), Some(env!("CARGO_PKG_VERSION")));
    assert!(get("service.instance.id").is_some());
}

#[test]
fn streams_on_other_addresses_need_a_token_a_certificate_or_insecure() {
    let load = |text: &str| {
        let yaml = Yaml::new("listen", &format!("livekit: {{keys: {{k: s}}}}\n{text}"));
        Config::load(&yaml.args(), &env(&[])).map_err(|errors| errors.to_string())
    };
    let open = load("listen: {grpc: '0.0.0.0:9291'}").unwrap_err();
    assert!(open.contains(":2: listen.grpc: ") && open.contains("listen.insecure"), "{open}");
    assert!(load("listen: {grpc: '[::1]:9291'}").is_ok());
    assert!(load("listen: {grpc: '0.0.0.0:9291', insecure: true}").is_ok());
    let token = load("listen: {grpc: '0.0.0.0:9291', grpc_auth: token}").unwrap();
    assert_eq!(token.grpc_auth, GrpcAuth::Token);
    let none = load("listen: {grpc_auth: certificate}").unwrap_err();
    assert!(none.contains("listen.tls.grpc_client_ca"), "{none}");
    let half = load("listen: {tls: {certificate: c.pem}}").unwrap_err();
    assert!(half.contains("listen.tls.key"), "{half}");
}

#[test]
fn the_live_view_is_optional_and_on_a_loopback_address_only() {
    use crate::cli::{Cli, Command};
    let load = |args: &[&str], pairs: &[(&str, &str)]| {
        let yaml = Yaml::new("ui", "livekit: {keys: {k: s}}\nlisten: {ui: '[::1]:1'}\n");
        let args = ["livekit-otel", "serve"].iter().chain(args);
        let Command::Serve(args) = Cli::read(args).unwrap().command else { panic!("not serve") };
        let of_file = pairs.is_empty() && args.ui.is_none();
        let args = if of_file { ServeArgs { config: yaml.args().config, ..args } } else { args };
        let env = env(&[&[KEYS], pairs].concat());
        let config = Config::load(&args, &env).map_err(|errors| errors.to_string());
        config.map(|config| config.ui.unwrap().to_string())
    };
    let here = |address: &str| Ok(address.to_owned());
    assert_eq!(self::load(&[]).ui, None);
    assert_eq!(load(&[], &[]), here("[::1]:1"));
    assert_eq!(load(&["--ui"], &[]), here("127.0.0.1:9292"));
    assert_eq!(
        load(&["--ui=127.0.0.2:3"], &[("LIVEKIT_OTEL_UI", "127.0.0.1:2")]),
        here("127.0.0.2:3")
    );
    assert_eq!(load(&[], &[("LIVEKIT_OTEL_UI", "127.0.0.1:2")]), here("127.0.0.1:2"));
    for elsewhere in ["0.0.0.0:9292", "192.0.2.1:9292", "[::]:9292"] {
        let wrong = load(&[&format!("--ui={elsewhere}")], &[]).unwrap_err();
        assert!(wrong.starts_with("--ui: ") && wrong.contains("loopback"), "{wrong}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn the_listeners_have_one_certificate_and_authorities_of_their_own() {
    let tls = "{certificate: c.pem, key: k.pem, grpc_client_ca: ca.pem}";
    let text = format!(
        "livekit: {{keys: {{k: s}}}}\n\
         listen: {{grpc: '0.0.0.0:9291', grpc_auth: certificate, tls: {tls}}}"
    );
    let config = Config::load(&Yaml::new("tls", &text).args(), &env(&[])).unwrap();
    let files = config.grpc_tls.unwrap();
    assert_eq!(files.client_ca, Some("ca.pem".into()));
    assert_eq!(config.http_tls.unwrap().client_ca, None);
}

#[test]
fn a_journal_on_disk_has_larger_limits_than_one_in_memory() {
    assert!(load(&[]).journal.is_none());
    let config = load(&[("LIVEKIT_OTEL_JOURNAL_DIR", "journal")]);
    let journal = config.journal.unwrap();
    assert_eq!((journal.directory, journal.settings.max_bytes), ("journal".into(), 8 << 30));
    assert_eq!(config.dead_letter_bytes, 256 << 20);
}

#[test]
fn personal_data_is_sent_plain_hashed_or_not_at_all() {
    let sent = |config: &Config| {
        let value = "ada".into();
        let privacy = &config.export.privacy;
        let sent = privacy.value(livekit_otel_model::semconv::key::PARTICIPANT_IDENTITY, &value);
        sent.map(|value| format!("{value:?}"))
    };
    let mode = |mode| ("LIVEKIT_OTEL_PRIVACY_PII", mode);
    let key = |key| ("LIVEKIT_OTEL_PRIVACY_HASH_KEY", key);
    let plain = sent(&load(&[]));
    assert_eq!(plain.as_deref(), Some("Text(\"ada\")"));
    assert_eq!(sent(&load(&[mode("drop")])), None);
    let hash = load(&[mode("hash"), key("a-key-of-the-environment")]);
    assert!(!format!("{hash:?}").contains("a-key"), "the key is shown");
    // The environment's key overrides the file's; the flag overrides both modes.
    let yaml = Yaml::new(
        "privacy",
        "livekit: {keys: {k: s}}\nprivacy: {pii: drop, hash_key: a-key-of-the-file}\n",
    );
    assert_eq!(sent(&Config::load(&yaml.args(), &env(&[])).unwrap()), None);
    let args = ServeArgs { privacy_pii: Some("hash".into()), ..yaml.args() };
    let of_file = sent(&Config::load(&args, &env(&[mode("plain")])).unwrap());
    let of_env = Config::load(&args, &env(&[key("a-key-of-the-environment")])).unwrap();
    assert_eq!(sent(&of_env), sent(&hash));
    assert!(of_file.is_some() && of_file != plain && of_file != sent(&hash));
}

#[test]
fn livekits_api_is_asked_where_it_has_a_url_and_a_key() {
    let load = |text: &str, pairs: &[(&str, &str)]| {
        let yaml = Yaml::new("api", text);
        let config = Config::load(&yaml.args(), &env(pairs)).map_err(|errors| errors.to_string());
        config.map(|config| {
            assert!(!format!("{config:?}").contains("s3cret"));
            let api = config.api?;
            let secret = config.keys.secret(&api.key).unwrap().to_owned();
            Some((api.url.to_string(), api.key, secret, api.interval.as_secs()))
        })
    };
    let is = |url: &str, key: &str, secret: &str, interval| {
        Ok(Some((url.to_owned(), key.to_owned(), secret.to_owned(), interval)))
    };
    let url = ("LIVEKIT_URL", "ws://lk:7880");
    let pair = [("LIVEKIT_API_KEY", "a"), ("LIVEKIT_API_SECRET", "s3cret")];
    assert_eq!(load("", &pair), Ok(None));
    assert_eq!(load("", &[&pair[..], &[url]].concat()), is("http://lk:7880/", "a", "s3cret", 60));
    assert_eq!(load("", &[KEYS, url]), is("http://lk:7880/", "devkey", "s3cret", 60));
    let file = "livekit: {url: 'http://file/x/', api_key: b, api_secret: s3cret2, interval: 5s}";
    assert_eq!(load(file, &[]), is("http://file/x/", "b", "s3cret2", 5));
    assert_eq!(load(file, &[KEYS]), is("http://file/x/", "b", "s3cret2", 5));
    assert_eq!(load(file, &[&pair[..], &[url]].concat()), is("http://lk:7880/", "a", "s3cret", 5));
    let shared = "livekit: {url: 'http://file', api_key: b, keys: {a: s3cret1, b: s3cret2}}";
    assert_eq!(load(shared, &[]), is("http://file/", "b", "s3cret2", 60));
    #[cfg(feature = "tls")]
    assert_eq!(load("", &[KEYS, ("LIVEKIT_URL", "wss://lk")]).unwrap().unwrap().0, "https://lk/");
    for (text, pairs, expected) in [
        ("livekit: {api_key: a}", &[KEYS][..], ":1: livekit.api_key: needs "),
        ("livekit: {api_secret: s3cret}", &[KEYS], ":1: livekit.api_secret: needs "),
        ("livekit: {api_key: a, api_secret: 12}", &[KEYS], "put it in quotes"),
        (
            "livekit: {interval: 4s}",
            &[KEYS],
            ":1: livekit.interval: must be at least 5s (got \"4s\")",
        ),
        ("", &[("LIVEKIT_KEYS", "{a: s3cret, b: s3cret}"), url], "LIVEKIT_URL: needs "),
        ("", &[KEYS, ("LIVEKIT_URL", "lk:7880")], "LIVEKIT_URL: must "),
        ("", &[KEYS, ("LIVEKIT_URL", "http://a:s3cret@lk")], "LIVEKIT_URL: must "),
        ("livekit: {url: 'http://lk?s3cret'}", &[KEYS], ":1: livekit.url: must "),
    ] {
        let wrong = load(text, pairs).unwrap_err();
        assert!(wrong.contains(expected) && !wrong.contains("s3cret"), "{text}: {wrong}");
    }
    // Agents have the variable for other reasons.
    assert!(Config::for_library(&env(&[("LIVEKIT_URL", "s3cret")])).unwrap().api.is_none());
}
