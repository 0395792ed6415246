//! deploy/ agrees with itself and with the repository: mounted files exist, ports, paths and versions
//! agree, and its configurations are valid. tests/real/deploy.rs checks what needs other software.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Json {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn services(file: &str) -> BTreeMap<String, Json> {
    let services = yaml(file)["services"].as_object().unwrap().clone();
    services.into_iter().collect()
}

fn strings(of: &Json) -> impl Iterator<Item = &str> {
    of.as_array().into_iter().flatten().filter_map(Json::as_str)
}

const COMPOSE: [&str; 2] = ["deploy/compose.yaml", "deploy/compose.analytics.yaml"];

/// A service's mounts: (file or folder here, path in the container).
fn mounts(service: &Json) -> Vec<(PathBuf, String)> {
    let volumes = strings(&service["volumes"]).filter(|volume| volume.starts_with('.'));
    let parts = volumes.map(|volume| volume.split(':').collect::<Vec<_>>());
    parts.map(|parts| (root().join("deploy").join(parts[0]), parts[1].to_owned())).collect()
}

/// The file or folder here that a service mounts at `path`.
fn mounted(services: &BTreeMap<String, Json>, service: &str, path: &str) -> PathBuf {
    let found = mounts(&services[service]).into_iter().find_map(|(here, there)| {
        let rest = Path::new(path).strip_prefix(there).ok()?.to_owned();
        Some(if rest.as_os_str().is_empty() { here } else { here.join(rest) })
    });
    found.unwrap_or_else(|| panic!("{service} has no {path}"))
}

#[test]
fn mounted_files_and_dockerfiles_exist() {
    let mut count = 0;
    for (name, service) in COMPOSE.into_iter().flat_map(services) {
        for (here, _) in mounts(&service) {
            assert!(here.exists(), "{name}: there is no {}", here.display());
            count += 1;
        }
        if let Some(dockerfile) = service["build"]["dockerfile"].as_str() {
            assert_eq!(service["build"]["context"], "..", "{name}");
            assert!(root().join(dockerfile).is_file(), "{name}: {dockerfile}");
        }
    }
    assert_eq!(count, 9);
    // Each program's configuration is among the mounts.
    let services = services(COMPOSE[0]);
    let mut configured = 0;
    for (name, service) in &services {
        for word in strings(&service["command"]).flat_map(|word| word.split('=')) {
            if word.starts_with("/etc/") {
                assert!(mounted(&services, name, word).is_file(), "{name}: {word}");
                configured += 1;
            }
        }
    }
    assert_eq!(configured, 6);
    let provider = yaml("deploy/grafana/dashboards.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let dashboards = std::fs::read_dir(mounted(&services, "grafana", path)).unwrap();
    assert!(dashboards.count() > 0);
}

// A COPY of what .dockerignore leaves out fails, and so does cargo if a target's file is missing.
#[test]
fn the_build_has_what_cargo_names() {
    let kept: Vec<_> = read(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .map(str::to_owned)
        .collect();
    for entry in &kept {
        assert!(root().join(entry).exists(), "{entry}");
    }
    let manifest = read("Cargo.toml");
    let paths =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    let mut count = 0;
    for path in paths {
        assert!(kept.iter().any(|entry| Path::new(path).starts_with(entry)), "{path}");
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn only_loopback_is_published_and_services_are_confined() {
    for (name, service) in services(COMPOSE[0]) {
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["read_only"] == true || name == "grafana", "{name}");
        let is_checked = service["healthcheck"]["test"].is_array();
        assert!(is_checked || ["collector", "tempo"].contains(&&*name), "{name}");
    }
}

/// The word after the first `what` in a file.
fn after(path: &str, what: &str) -> String {
    let text = read(path);
    let (_, rest) = text.split_once(what).unwrap_or_else(|| panic!("{path} has no {what}"));
    let end = rest.find(['\n', ' ', '"']).unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[test]
fn versions_are_those_that_are_tested() {
    let services = services(COMPOSE[0]);
    let image = |name: &str| services[name]["image"].as_str().unwrap();
    let ours = env!("CARGO_PKG_VERSION");
    assert_eq!(image("livekit-otel"), format!("livekit-otel:{ours}"));
    let chart = yaml("deploy/helm/livekit-otel/Chart.yaml");
    assert_eq!([&chart["version"], &chart["appVersion"]], [ours, ours]);

    let server = after("livekit-analytics/build.sh", "version=");
    assert_eq!(image("livekit"), format!("livekit/livekit-server:{server}"));
    let with_analytics = &self::services(COMPOSE[1])["livekit"]["image"];
    assert_eq!(with_analytics, &format!("livekit-server-analytics:{server}"));

    let compared = after("tests/upstream/go.mod", "github.com/livekit/livekit-server ");
    assert_eq!(after("tests/parts/build.rs", "NEWEST: &str = \""), compared);

    let collector = yaml("tests/real/collector/builder.yaml")["dist"]["version"].clone();
    let collector = collector.as_str().unwrap();
    assert_eq!(image("collector"), format!("otel/opentelemetry-collector-contrib:{collector}"));

    let rust = after("rust-toolchain.toml", "channel = \"");
    let builder = after("deploy/Dockerfile", "FROM rust:");
    assert_eq!(builder.split('-').next(), Some(&*rust));

    for (name, service) in &services {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        let numbers = tag.trim_start_matches('v').split('.');
        assert!(
            numbers.clone().count() == 3 && numbers.clone().all(|it| it.parse::<u32>().is_ok()),
            "{name}: {tag}"
        );
    }
}

fn check(config: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_livekit-otel"))
        .args(["serve", "--check", "--config"])
        .arg(config)
        .env_clear()
        .env("LIVEKIT_KEYS", "devkey: made-up-secret-of-thirty-two-characters")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {printed}", config.display());
}

#[test]
fn each_configuration_is_valid() {
    check(&root().join("deploy/livekit-otel.yaml"));
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("chart.yaml");
    let values = yaml("deploy/helm/livekit-otel/values.yaml");
    std::fs::write(&chart, values["config"].to_string()).unwrap();
    check(&chart);
}

fn port(address: &Json) -> u16 {
    address.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn ports_and_names_agree() {
    let services = services(COMPOSE[0]);
    let ours = yaml("deploy/livekit-otel.yaml");
    let [http, grpc, admin] =
        ["http", "grpc", "admin"].map(|listener| port(&ours["listen"][listener]));
    let published = |name: &str, port: u16| {
        let port = format!("127.0.0.1:{port}:{port}");
        assert!(strings(&services[name]["ports"]).any(|it| it == port), "{name}: {port}");
    };
    published("livekit-otel", http);
    published("livekit-otel", grpc);
    published("livekit-otel", admin);
    let exposed = format!("EXPOSE {http} {grpc} {admin}\n");
    assert!(read("deploy/Dockerfile").contains(&exposed));
    // The images' and Compose's health check asks the default address.
    let default = port(&yaml("examples/livekit-otel.yaml")["listen"]["admin"]);
    assert_eq!(admin, default);
    assert!(read("deploy/README.md").contains(&format!("http://127.0.0.1:{admin}/status")));
    let chart = "deploy/helm/livekit-otel/templates/";
    assert!(read(&format!("{chart}_helpers.tpl")).contains(&format!("\"0.0.0.0:{admin}\"")));
    assert!(read(&format!("{chart}_helpers.tpl")).contains("port: admin"));
    let set = read(&format!("{chart}statefulset.yaml"));
    assert!(set.contains(&format!("- name: admin\n              containerPort: {admin}\n")));
    // Only named peers are admitted: a rule without `from` admits all.
    let policy = read(&format!("{chart}networkpolicy.yaml"));
    let opening = "{{- with .Values.networkPolicy.adminFrom }}\n    - ports:\n        - port: admin\n      from:\n";
    assert!(policy.contains(opening), "{policy}");
    let values = yaml("deploy/helm/livekit-otel/values.yaml");
    assert_eq!(values["networkPolicy"]["adminFrom"], json!([]));

    let livekit = yaml("deploy/livekit.yaml");
    assert_eq!(livekit["webhook"]["urls"], json!([format!("http://livekit-otel:{http}/webhook")]));
    let key = livekit["webhook"]["api_key"].as_str().unwrap();
    for name in ["livekit", "livekit-otel"] {
        let keys = services[name]["environment"]["LIVEKIT_KEYS"].as_str().unwrap();
        assert!(keys.starts_with(&format!("{key}: ")), "{name}: {keys}");
    }
    let signal = u16::try_from(livekit["port"].as_u64().unwrap()).unwrap();
    published("livekit", signal);
    assert_eq!(ours["livekit"]["url"], format!("http://livekit:{signal}"));
    let address = &self::services(COMPOSE[1])["livekit"]["environment"]["LIVEKIT_OTEL_ADDR"];
    assert_eq!(address, &format!("livekit-otel:{grpc}"));

    published("collector", port(&ours["export"]["endpoint"]));
    for url in services["collector"]["environment"].as_object().unwrap().values() {
        let host = url.as_str().unwrap().split(['/', ':']).nth(3).unwrap();
        assert!(services.contains_key(host), "{url}");
    }
    let journal = ours["journal"]["dir"].as_str().unwrap();
    let volume = format!("journal:{journal}");
    assert!(strings(&services["livekit-otel"]["volumes"]).any(|it| it == volume));
    for file in ["deploy/Dockerfile", "deploy/helm/livekit-otel/templates/_helpers.tpl"] {
        assert!(read(file).contains(journal), "{file}");
    }
}

#[test]
fn stop_timeouts_are_longer_than_the_drain() {
    let drain = humantime(&yaml("examples/livekit-otel.yaml")["shutdown_timeout"]);
    let compose = &services(COMPOSE[0])["livekit-otel"]["stop_grace_period"];
    assert!(humantime(compose) > drain, "{compose}");
    let values = yaml("deploy/helm/livekit-otel/values.yaml");
    let kubernetes = values["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(kubernetes > humantime(&values["config"]["shutdown_timeout"]));
    assert!(
        humantime(&json!(after("deploy/systemd/livekit-otel.service", "TimeoutStopSec="))) > drain
    );
}

// Whole seconds.
fn humantime(of: &Json) -> u64 {
    of.as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap()
}

fn walk(of: &Json, links: &mut Vec<String>) {
    for (key, value) in of.as_object().into_iter().flatten() {
        if key == "datasourceUid" {
            links.push(value.as_str().unwrap().to_owned());
        }
    }
    let fields = of.as_object().into_iter().flat_map(|fields| fields.values());
    fields.chain(of.as_array().into_iter().flatten()).for_each(|inner| walk(inner, links));
}

#[test]
fn each_link_between_data_sources_has_a_target() {
    let provisioned = yaml("deploy/grafana/datasources.yaml");
    let services = services(COMPOSE[0]);
    let sources = provisioned["datasources"].as_array().unwrap();
    for source in sources {
        let url = source["url"].as_str().unwrap();
        let host = url.split(['/', ':']).nth(3).unwrap();
        assert!(
            strings(&services[host]["ports"])
                .any(|it| it.ends_with(&format!(":{}", port(&source["url"])))),
            "{url}"
        );
    }
    let uids: Vec<_> = sources.iter().map(|source| source["uid"].as_str().unwrap()).collect();
    let mut links = Vec::new();
    walk(&provisioned, &mut links);
    assert_eq!(links.len(), 4);
    assert!(links.iter().all(|uid| uids.contains(&&**uid)), "{links:?}");
}

#[test]
fn the_units_paths_are_those_that_its_comment_installs_to() {
    let unit = read("deploy/systemd/livekit-otel.service");
    let (comment, unit) = unit.split_once("[Unit]").unwrap();
    let comment = comment.replace("\n# ", " ");
    for path in ["/usr/local/bin/livekit-otel", "/etc/livekit-otel/livekit-otel.yaml"] {
        assert!(comment.contains(path) && unit.contains(path), "{path}");
    }
    let user = after("deploy/systemd/livekit-otel.service", "\nUser=");
    assert_eq!(after("deploy/systemd/livekit-otel.conf", "\nu "), user);
    assert!(unit.contains(&format!("\nStateDirectory={user}\n")));
}
