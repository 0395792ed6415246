//! deploy/ held to the software that reads it, as far as it is to be had without a container engine:
//! Compose's loader, BuildKit's parser, Helm, Kubernetes' types, systemd, the collector; and
//! the program under the unit's constraints. Loki, Tempo and Grafana are none of it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::collector;
use crate::parts::{or_say, ran};

mod confined;

struct Built {
    check: PathBuf,
    helm: PathBuf,
}

/// Builds them, once; where that can't be done says so, loudly.
fn build() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    BUILT.get_or_init(|| or_say("DEPLOY IS NOT CHECKED", built())).as_ref()
}

fn built() -> Result<Built, String> {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy");
    std::fs::create_dir_all(&made).map_err(|error| error.to_string())?;
    let built = Built { check: made.join("check"), helm: made.join("helm") };
    for (program, package) in [(&built.check, "."), (&built.helm, "helm.sh/helm/v3/cmd/helm")] {
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(program).arg(package);
        ran(build.current_dir(root().join("tests/deploy")))?;
    }
    Ok(built)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy(file: &str) -> PathBuf {
    root().join("deploy").join(file)
}

/// What it says of `input`.
fn says(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    process.wait_with_output().unwrap()
}

fn good(command: &mut Command, input: &[u8]) -> String {
    let output = says(command, input);
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{command:?}: {printed}");
    printed
}

fn refused(command: &mut Command, input: &[u8], why: &str) {
    let output = says(command, input);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && printed.contains(why), "{command:?}: {printed}");
}

/// `check`, with its arguments.
fn check(built: &Built, what: &str, files: &[&Path]) -> Command {
    let mut command = Command::new(&built.check);
    command.arg(what).args(files);
    command
}

#[test]
fn composes_own_loader_takes_the_stack() {
    let Some(built) = build() else { return };
    let (stock, analytics) = (deploy("compose.yaml"), deploy("compose.analytics.yaml"));
    let project: Json =
        serde_json::from_str(&good(&mut check(built, "compose", &[&stock]), b"")).unwrap();
    assert_eq!(project["services"].as_object().unwrap().len(), 7);
    assert!(project["services"]["livekit"]["build"].is_null());
    let project: Json =
        serde_json::from_str(&good(&mut check(built, "compose", &[&stock, &analytics]), b""))
            .unwrap();
    assert!(project["services"]["livekit"]["build"].is_object());

    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("compose.yaml");
    let text = std::fs::read_to_string(&stock).unwrap();
    for (what, instead, why) in [
        ("stop_grace_period:", "stop_grace_perid:", "stop_grace_perid"),
        ("condition: service_healthy", "condition: service_happy", "condition value must be"),
    ] {
        std::fs::write(&wrong, text.replace(what, instead)).unwrap();
        refused(&mut check(built, "compose", &[&wrong]), b"", why);
    }
}

#[test]
fn buildkit_takes_the_dockerfiles() {
    let Some(built) = build() else { return };
    let [ours, livekit] = ["Dockerfile", "livekit-server.Dockerfile"].map(deploy);
    good(&mut check(built, "dockerfile", &[&ours, &livekit]), b"");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("Dockerfile");
    for (text, why) in [
        ("FROM scratch\nCOPPY a b\n", "COPPY"),
        ("FROM scratch\nMAINTAINER x\n", "MaintainerDeprecated"),
    ] {
        std::fs::write(&wrong, text).unwrap();
        refused(&mut check(built, "dockerfile", &[&wrong]), b"", why);
    }
}

const SECRET: [&str; 2] = ["--set", "keys.existingSecret=livekit"];
/// All that the chart can have.
const ALL: &str = "
imagePullSecrets: [{name: registry}]
config:
  listen: {tls: {certificate: /tls/tls.crt, key: /tls/tls.key, grpc_client_ca: /tls/ca.crt}, grpc_auth: certificate}
  livekit: {url: 'http://livekit-server'}
extraEnv: [{name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: {secretKeyRef: {name: otlp, key: headers}}}]
extraVolumes: [{name: tls, secret: {secretName: livekit-otel-tls}}]
extraVolumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
persistence: {storageClassName: fast}
networkPolicy: {enabled: true, from: [{ipBlock: {cidr: 10.0.0.0/16}}]}
podAnnotations: {a: b}
podLabels: {c: d}
nodeSelector: {e: f}
tolerations: [{operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
";

fn helm(built: &Built, verb: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(&built.helm);
    command.args(verb).arg(deploy("helm/livekit-otel")).args(["--kube-version", "1.30"]).args(more);
    command
}

fn template(built: &Built, more: &[&str]) -> Command {
    helm(built, &["template", "livekit-otel"], more)
}

#[test]
fn helm_renders_what_kubernetes_has_types_for() {
    let Some(built) = build() else { return };
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all.yaml");
    std::fs::write(&all, ALL).unwrap();
    let all = ["--values", all.to_str().unwrap(), SECRET[0], SECRET[1]];
    let bare = [SECRET[0], SECRET[1], "--set", "persistence.enabled=false"];
    let most = [
        "ConfigMap livekit-otel",
        "Service livekit-otel",
        "Service livekit-otel-headless",
        "StatefulSet livekit-otel",
    ];
    for (values, policy) in
        [(&SECRET[..], None), (&all, Some("NetworkPolicy livekit-otel")), (&bare, None)]
    {
        good(&mut helm(built, &["lint", "--strict"], values), b"");
        let manifests = good(&mut template(built, values), b"");
        let kinds = good(&mut check(built, "kubernetes", &[]), manifests.as_bytes());
        let expected: Vec<_> = policy.into_iter().chain(most).collect();
        assert_eq!(kinds.lines().collect::<Vec<_>>(), expected);
        configures(&manifests, folder.path());
        let wrong = manifests.replace("readOnlyRootFilesystem:", "readOnlyRootFileSystem:");
        refused(&mut check(built, "kubernetes", &[]), wrong.as_bytes(), "readOnlyRootFileSystem");
    }
}

// `serve` takes what its ConfigMap has.
fn configures(manifests: &str, folder: &Path) {
    let documents = manifests.split("\n---\n").map(|text| text.trim_start_matches("---\n"));
    let map = documents.into_iter().find(|text| text.contains("kind: ConfigMap")).unwrap();
    let map: Json = serde_saphyr::from_str(map).unwrap();
    let config = map["data"]["livekit-otel.yaml"].as_str().unwrap();
    for part in [
        "http: 0.0.0.0:9290",
        "grpc: 0.0.0.0:9291",
        "admin: 0.0.0.0:9293",
        "dir: /var/lib/livekit-otel",
    ] {
        assert!(config.contains(part), "{config}");
    }
    // What the volume has in the pod.
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["livekit-otel".to_owned()]).unwrap();
    let key = signing_key.serialize_pem();
    for (name, pem) in [("tls.crt", &cert.pem()), ("tls.key", &key), ("ca.crt", &cert.pem())] {
        std::fs::write(folder.join(name), pem).unwrap();
    }
    let config = config.replace("/tls/", &format!("{}/", folder.display()));
    let path = folder.join("livekit-otel.yaml");
    std::fs::write(&path, config).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    serve.args(["serve", "--check", "--config"]).arg(path).env_clear();
    good(serve.env("LIVEKIT_KEYS", "devkey: made-up-secret-of-thirty-two-characters"), b"");
}

#[test]
fn helm_refuses_what_would_not_work() {
    let Some(built) = build() else { return };
    refused(&mut template(built, &[]), b"", "which Secret has LiveKit's API keys?");
    for (wrong, why) in [
        ("config.listen.http=0.0.0.0:1", "/config/listen/http"),
        ("config.listen.admin=0.0.0.0:1", "/config/listen/admin"),
        ("config.journal.dir=/tmp", "/config/journal/dir"),
        ("config.livekit.keys.devkey=secret", "/config/livekit/keys"),
        ("persistance.enabled=false", "persistance"),
    ] {
        refused(&mut template(built, &[SECRET[0], SECRET[1], "--set", wrong]), b"", why);
    }
}

#[test]
fn the_collector_takes_the_arguments_that_compose_gives_it() {
    let Some(built) = collector::build() else { return };
    let text = std::fs::read_to_string(deploy("compose.yaml")).unwrap();
    let compose: Json = serde_saphyr::from_str(&text).unwrap();
    let service = &compose["services"]["collector"];
    let mut otelcol = Command::new(&built.otelcol);
    otelcol.arg("validate").env_clear();
    let folder = root().join("collector-config").display().to_string();
    for argument in service["command"].as_array().unwrap() {
        otelcol.arg(argument.as_str().unwrap().replace("/etc/otelcol", &folder));
    }
    for (name, value) in service["environment"].as_object().unwrap() {
        otelcol.env(name, value.as_str().unwrap());
    }
    assert_eq!(good(&mut otelcol, b""), "");
}

// The higher, the more exposed: 0 to 100.
const EXPOSURE: &str = "15";

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let analyze = || Command::new("systemd-analyze");
    let version = ran(analyze().arg("--version"));
    if or_say("THE SYSTEMD UNIT IS NOT CHECKED", version).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("livekit-otel.service");
    let text = std::fs::read_to_string(deploy("systemd/livekit-otel.service")).unwrap();
    let text = text.replace("/usr/local/bin/livekit-otel", env!("CARGO_BIN_EXE_livekit-otel"));
    std::fs::write(&unit, &text).unwrap();
    assert_eq!(good(analyze().arg("verify").arg(&unit), b""), "");
    let security = ["security", "--offline=true", "--threshold", EXPOSURE];
    good(analyze().args(security).arg(&unit), b"");

    std::fs::write(&unit, text.replace("ProtectSystem=", "ProtecSystem=")).unwrap();
    let printed = good(analyze().arg("verify").arg(&unit), b"");
    assert!(printed.contains("ProtecSystem"), "{printed}");
    let open = text
        .lines()
        .filter(|line| !line.starts_with("SystemCallFilter=") && !line.starts_with("Capa"));
    std::fs::write(&unit, open.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(!says(analyze().args(security).arg(&unit), b"").status.success());
}

/// Anybody may read and run it.
fn for_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
