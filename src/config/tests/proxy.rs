//! Proxies of the environment.

use super::*;
use livekit_otel_transport::proxy::Route;

const TARGETS: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example.com:4317"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs.example.com/v1/logs"),
    ("LIVEKIT_URL", "https://livekit.example.com"),
];

fn routes(variables: &[(&str, &str)]) -> [Option<String>; 4] {
    let http = [("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf")];
    let config = load(&[&TARGETS[..], &http, variables].concat());
    let export = &config.export;
    let [traces, logs, metrics] = [&export.traces, &export.logs, &export.metrics];
    [&traces.route, &logs.route, &metrics.route, &config.api.as_ref().unwrap().route]
        .map(|route| route.proxy().map(ToString::to_string))
}

#[test]
fn each_target_has_the_proxy_of_its_variable() {
    let (plain, secure) = (Some("plain:3128".to_owned()), Some("secure:443".to_owned()));
    let both = [("http_proxy", "plain:3128"), ("HTTPS_PROXY", "https://u:s3cret@secure")];
    assert_eq!(routes(&both), [secure.clone(), plain.clone(), secure.clone(), secure.clone()]);
    let no = [both[0], both[1], ("NO_PROXY", "livekit.example.com, collector.example.com:4317")];
    assert_eq!(routes(&no), [None, plain, None, None]);
    assert_eq!(routes(&[]), [None, None, None, None]);
}

#[test]
fn a_proxy_that_can_not_be_used_is_one_error_without_its_value() {
    let http = ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf");
    let variables = [&TARGETS[..], &[KEYS, ("HTTPS_PROXY", "socks5://u:s3cret@p"), http]].concat();
    let expected = "HTTPS_PROXY: must start with http:// or https://: SOCKS can't be used";
    assert_eq!(wrong(&ServeArgs::default(), &variables), [expected]);
    let local = [KEYS, variables[4]];
    assert_eq!(wrong(&ServeArgs::default(), &local), [""; 0]);
}

#[test]
fn a_configuration_shows_no_password_of_a_proxy() {
    let shown = format!("{:?}", load(&[TARGETS[0], ("HTTPS_PROXY", "http://u:s3cret@p:3128")]));
    assert!(shown.contains("p:3128") && !shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains("Basic"), "{shown}");
}

#[test]
fn what_is_not_exported_needs_no_proxy() {
    let config = load(&[TARGETS[0], ("HTTPS_PROXY", "p:1"), ("OTEL_LOGS_EXPORTER", "none")]);
    assert_eq!(config.export.logs.route, Route::Direct);
    assert!(config.export.traces.route.proxy().is_some());
}
