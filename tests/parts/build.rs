//! Builds of the parts, in a folder of their own: `LIVEKIT_OTEL_PARTS`, which several checkouts may share,
//! or one under `target/`. A build's name has the digest of what it was made of, so it is made once, and
//! anew where its version or its list has changed.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{ran, say};

const OCB: &str = "go.opentelemetry.io/collector/cmd/builder@v0.158.0";
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.305.0";
const JAEGER: &str = "github.com/jaegertracing/jaeger@v1.76.0";
/// The newest version of LiveKit's server that `build.sh` can build.
pub(crate) const NEWEST: &str = "v1.13.11";
/// Its folder `otel` is LiveKit's registry of names.
const PROTOCOL: &str = "github.com/livekit/protocol@v1.54.0";
/// With our analytics; `build.sh` knows the version.
const LIVEKIT: [&str; 3] = [
    "livekit-analytics/build.sh",
    "livekit-analytics/analyticsservice.go",
    "livekit-analytics/sipcalls.go",
];
const CLIENT: [&str; 3] =
    ["tests/real/client/main.go", "tests/real/client/go.mod", "tests/real/client/go.sum"];
const BUS: [&str; 3] = ["tests/real/bus/main.go", "tests/real/bus/go.mod", "tests/real/bus/go.sum"];
const COLLECTOR: &str = "tests/real/collector/builder.yaml";
const PYTHON_AGENTS: &str = "tests/agents/requirements.lock";
const NPM_AGENTS: [&str; 2] = ["tests/agents/package.json", "tests/agents/package-lock.json"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Livekit,
    /// In version [`NEWEST`].
    NewestLivekit,
    Client,
    /// LiveKit's SIP service on a server's bus, and a receiver of analytics.
    Bus,
    Collector,
    Promtool,
    Prometheus,
    Jaeger,
    /// A folder: a virtual environment of Python.
    PythonAgents,
    /// A folder with `node_modules`.
    NpmAgents,
}

/// A part that is there.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    /// How long that took, where it was not there before.
    pub(crate) took: Option<Duration>,
}

/// Builds it unless it is there. What can't be built is tried once in a process.
pub(crate) fn build(part: Part) -> Result<Built, String> {
    static BUILT: [OnceLock<Result<Built, String>>; 10] = [const { OnceLock::new() }; 10];
    BUILT[part as usize].get_or_init(|| built(part)).clone()
}

fn built(part: Part) -> Result<Built, String> {
    let shared = std::env::var_os("LIVEKIT_OTEL_PARTS").map(PathBuf::from);
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parts");
    let folder = shared.as_ref().unwrap_or(&own);
    let or = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(or)?;
    let path = folder.join(format!("{}-{}", part.name(), digest(&part.made_of()?)));
    // One process builds it, others wait.
    let lock = File::create(folder.join(format!("{}.lock", part.name()))).map_err(or)?;
    lock.lock().map_err(or)?;
    if path.exists() {
        return Ok(Built { path, took: None });
    }
    say(&format!("  {}: being built ...", part.title()));
    let begin = Instant::now();
    let work = tempfile::tempdir_in(folder).map_err(or)?;
    let made = work.path().join(part.name());
    part.build(&made, work.path())?;
    if shared.is_none() {
        remove_older(part, folder).map_err(or)?;
    }
    std::fs::rename(&made, &path).map_err(or)?;
    let took = begin.elapsed();
    say(&format!("  {}: built in {:.1} s", part.title(), took.as_secs_f64()));
    Ok(Built { path, took: Some(took) })
}

fn remove_older(part: Part, folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{}-", part.name())) {
            let path = entry.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }?;
        }
    }
    Ok(())
}

fn digest(of: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(of).into();
    digest[..6].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What builds LiveKit's server with our analytics.
pub(crate) fn script() -> Command {
    Command::new(root().join(LIVEKIT[0]))
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Livekit => "livekit-server",
            // Not with the other's name in front: its older builds are removed by that.
            Self::NewestLivekit => "newest-livekit-server",
            Self::Client => "client",
            Self::Bus => "bus",
            Self::Collector => "otelcol",
            Self::Promtool => "promtool",
            Self::Prometheus => "prometheus",
            Self::Jaeger => "jaeger",
            Self::PythonAgents => "python-agents",
            Self::NpmAgents => "npm-agents",
        }
    }

    /// What it is, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Livekit => "LiveKit's server, with its analytics",
            Self::NewestLivekit => "LiveKit's newest server, with its analytics",
            Self::Client => "LiveKit clients",
            Self::Bus => "the SIP service on LiveKit's bus",
            Self::Collector => "OpenTelemetry Collector",
            Self::Promtool => "promtool",
            Self::Prometheus => "Prometheus",
            Self::Jaeger => "Jaeger",
            Self::PythonAgents => "LiveKit Agents for Python",
            Self::NpmAgents => "LiveKit Agents for Node",
        }
    }

    // Whatever a build is a function of.
    fn made_of(self) -> Result<Vec<u8>, String> {
        let files = |paths: &[&str]| {
            let read = paths.iter().map(|path| read(&root().join(path)));
            Ok(read.collect::<Result<Vec<_>, String>>()?.concat())
        };
        match self {
            Self::Livekit => files(&LIVEKIT),
            Self::NewestLivekit => Ok([NEWEST.as_bytes(), &files(&LIVEKIT)?].concat()),
            Self::Client => files(&CLIENT),
            Self::Bus => files(&BUS),
            Self::Collector => Ok([OCB.as_bytes(), &files(&[COLLECTOR])?].concat()),
            Self::Promtool | Self::Prometheus => Ok(PROMETHEUS.into()),
            Self::Jaeger => Ok(JAEGER.into()),
            // What is installed fits one version of the interpreter.
            Self::PythonAgents => Ok([version("python3")?, files(&[PYTHON_AGENTS])?].concat()),
            Self::NpmAgents => Ok([version("node")?, files(&NPM_AGENTS)?].concat()),
        }
    }

    fn build(self, to: &Path, work: &Path) -> Result<(), String> {
        match self {
            Self::Livekit => ran(script().arg(to)).map(drop),
            Self::NewestLivekit => {
                let printed = newest(&[to.as_os_str()], work)?;
                let is_it = printed.starts_with(&format!("built LiveKit's server {NEWEST}, "));
                if is_it { Ok(()) } else { Err(format!("not {NEWEST}: {printed}")) }
            }
            Self::Client => go_build(&root().join("tests/real/client"), to, "."),
            Self::Bus => go_build(&root().join("tests/real/bus"), to, "."),
            Self::Collector => {
                ran(Command::new("go").args(["install", OCB]).env("GOBIN", work))?;
                // The output is in its working directory, under the name in its list.
                let mut ocb = Command::new(work.join("builder"));
                ran(ocb.arg("--config").arg(root().join(COLLECTOR)).current_dir(work)).map(drop)
            }
            Self::Promtool => go_build(&module(PROMETHEUS, work)?, to, "./cmd/promtool"),
            Self::Prometheus => go_build(&module(PROMETHEUS, work)?, to, "./cmd/prometheus"),
            Self::Jaeger => go_build(&module(JAEGER, work)?, to, "./cmd/jaeger"),
            Self::PythonAgents => {
                ran(Command::new("python3").args(["-m", "venv"]).arg(to))?;
                let mut install = Command::new(to.join("bin/python"));
                install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"]);
                ran(install.arg(root().join(PYTHON_AGENTS))).map(drop)
            }
            Self::NpmAgents => {
                std::fs::create_dir(to).map_err(|error| error.to_string())?;
                for file in NPM_AGENTS {
                    ran(Command::new("cp").arg(root().join(file)).arg(to))?;
                }
                let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
                ran(Command::new("npm").args(install).current_dir(to)).map(drop)
            }
        }
    }
}

fn version(program: &str) -> Result<Vec<u8>, String> {
    ran(Command::new(program).arg("--version"))
}

/// What `build.sh` says of LiveKit's newest server.
///
/// LiveKit builds its server with its own editions of three modules of pion since 1.13.6, and a module proxy need not
/// have them. Then the server is built with pion's, and without the option that these lack, which no test turns on.
pub(crate) fn newest(arguments: &[&OsStr], work: &Path) -> Result<String, String> {
    let printed = ran(script().args(["--version", NEWEST]).args(arguments)).or_else(|why| {
        say(&format!("  LiveKit's server {NEWEST} is built with pion's own modules: {why}"));
        let source = newest_with_pion(work)?;
        // It is no checkout.
        let mut script = script();
        script.arg("--source").arg(source).args(arguments).env("GOFLAGS", "-buildvcs=false");
        ran(&mut script)
    })?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

fn newest_with_pion(work: &Path) -> Result<PathBuf, String> {
    let source = work.join("server");
    let module = module(&format!("github.com/livekit/livekit-server@{NEWEST}"), work)?;
    ran(Command::new("cp").arg("-R").arg(module).arg(&source))?;
    ran(Command::new("chmod").args(["-R", "u+w"]).arg(&source))?;
    without_lines(&source.join("go.mod"), "replace github.com/pion/", 3)?;
    without_lines(&source.join("pkg/rtc/transport.go"), "se.EnableSped(true)", 1)?;
    // The sums of pion's own modules.
    ran(Command::new("go").args(["mod", "tidy"]).current_dir(&source).env("GOWORK", "off"))?;
    Ok(source)
}

fn without_lines(path: &Path, with: &str, expected: usize) -> Result<(), String> {
    let text = String::from_utf8(read(path)?).map_err(|error| error.to_string())?;
    let (gone, kept): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(with));
    if gone.len() != expected {
        return Err(format!("{} has {} lines with {with}", path.display(), gone.len()));
    }
    std::fs::write(path, kept.join("\n") + "\n").map_err(|error| error.to_string())
}

fn go_build(folder: &Path, to: &Path, package: &str) -> Result<(), String> {
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-ldflags=-s -w", "-o"]).arg(to).arg(package);
    ran(build.current_dir(folder).env("GOWORK", "off")).map(drop)
}

/// The folder of LiveKit's own OpenTelemetry registry.
pub(crate) fn livekit_registry() -> Result<PathBuf, String> {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    Ok(module(PROTOCOL, work.path())?.join("otel"))
}

/// The folder that a module is in, once it is fetched.
fn module(module: &str, work: &Path) -> Result<PathBuf, String> {
    let mut download = Command::new("go");
    let printed = ran(download.args(["mod", "download", "-json", module]).current_dir(work))?;
    let module: serde_json::Value =
        serde_json::from_slice(&printed).map_err(|error| error.to_string())?;
    Ok(module["Dir"].as_str().ok_or("the module has no folder")?.into())
}
