//! The command line. Values that the file and the environment can set too stay text here: the
//! configuration parses them, so that one run reports all errors.
//!
//! Uses no other module of this package but `version`.

mod flag;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use http::Uri;
use http::uri::Authority;

pub use flag::Flag;
use flag::{count, flag, fraction, interval, seed, speed, url};

use livekit_otel_export::configure::values::positive_duration;
use livekit_otel_model::event::{ParticipantSid, RoomSid};

/// The exit code of a wrong command line or configuration, `EX_USAGE` of `sysexits.h`.
pub const EXIT_USAGE: u8 = 64;

const MOST_ROOMS: usize = 100_000;
const MOST_PARTICIPANTS: usize = 10_000;
const MOST_TRACKS: usize = 16;
const MOST_AGENTS: usize = 16;

/// OpenTelemetry for LiveKit: rooms, participants and tracks as traces, logs and metrics.
#[derive(Debug, Clone, Parser)]
#[command(name = "livekit-otel", version = crate::version::VERSION, about, subcommand_required = true)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Receive LiveKit's webhooks and analytics, and send them over OTLP
    Serve(ServeArgs),
    /// Print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Replay a recorded call, and show what a collector receives
    Demo(DemoArgs),
    /// Send a recorded call to a running server, as LiveKit and its agents do
    Replay(ReplayArgs),
    /// Simulate a LiveKit server with many rooms and agents, and send what they send to a running server
    Simulate(Box<SimulateArgs>),
    /// Check the configuration, the listeners, the journal, LiveKit's API and the collector, and say what to do
    Doctor(Box<DoctorArgs>),
    /// Show how much a running server has accepted, delivered and lost
    Status(StatusArgs),
    /// Print the trace id of a room, or of a participant with a trace of its own
    TraceId(TraceIdArgs),
    /// List, show, retry or drop dead letters: records that could not be delivered or read
    #[command(subcommand)]
    Deadletter(Deadletter),
    /// Print the script that completes this program's commands in a shell
    Completions(CompletionsArgs),
    /// Print a manual page of this program, or of one of its commands
    Man(ManArgs),
}

/// Options of `doctor`: those of the server, and how to check.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  livekit-otel doctor --config livekit-otel.yaml\n\nIt sends a signed test webhook, which reports nothing, and a test record of each signal, which has the\nattribute lk.otel.doctor. Exits with 0 if no check failed, 1 if one failed, 64 if the configuration is wrong."
)]
pub struct DoctorArgs {
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// How long each check may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    pub timeout: Duration,
    /// The options of the server
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What to do with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print each setting with its value and its origin, as a file for `serve --config`; secrets are masked
    Print(Box<ConfigPrintArgs>),
}

/// Options of `config print`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_KEYS='devkey: SECRET' livekit-otel config print --config livekit-otel.yaml"
)]
pub struct ConfigPrintArgs {
    /// Print the defaults, without the file, the environment and other options
    #[arg(long)]
    pub defaults: bool,
    /// The options of the server
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Options of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  livekit-otel status --admin 127.0.0.1:9293\n\nIt exits with 0 if the server answers and its ledger adds up, otherwise with 1. What does not work is\nprinted, and is no failure of this command: `livekit-otel doctor` exits with 1 then."
)]
pub struct StatusArgs {
    /// The server's admin listener
    #[arg(long, value_name = "ADDR", env = "LIVEKIT_OTEL_ADMIN", default_value = "127.0.0.1:9293")]
    pub admin: Authority,
    /// The URL of a server's ledger, http or https, in place of --admin; without a path, /status
    #[arg(long, value_name = "URL", value_parser = status_url)]
    pub url: Option<Uri>,
    /// The PEM file of the certificates to trust over https, in place of the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `trace-id`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel trace-id RM_XHuZ4ggjTArt")]
pub struct TraceIdArgs {
    /// The room's session id, `RM_…`
    #[arg(value_name = "ROOM", value_parser = room_sid)]
    pub room: RoomSid,
    /// The session id, `PA_…`, of a participant with a trace of its own
    #[arg(value_name = "PARTICIPANT", value_parser = participant_sid)]
    pub participant: Option<ParticipantSid>,
    /// Print this, with the id instead of {trace_id}
    #[arg(long, value_name = "TEMPLATE", value_parser = template)]
    pub url: Option<String>,
}

/// What to do with dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
#[command(
    after_help = "Example:\n  livekit-otel deadletter list --journal-dir /var/lib/livekit-otel"
)]
pub enum Deadletter {
    /// List dead letters, each with its reason
    List(DeadletterArgs),
    /// Show what a dead letter is: its reason, its size, and the names of its records
    Show(Box<DeadletterShowArgs>),
    /// Send dead letters again, and remove those that are accepted
    Retry(Box<DeadletterRetryArgs>),
    /// Remove dead letters
    Drop(DeadletterArgs),
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeadletterArgs {
    /// The server's journal.dir
    #[arg(long, value_name = "DIR", env = "LIVEKIT_OTEL_JOURNAL_DIR")]
    pub journal_dir: PathBuf,
    /// Ids as `list` prints them; without any, all
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}

/// Which dead letter, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DeadletterShowArgs {
    /// Its id, as `list` prints it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Write its bytes to stdout instead, unless the privacy settings hide what is in them
    #[arg(long)]
    pub raw: bool,
    /// The options of the server
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Options of `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  livekit-otel completions bash > /etc/bash_completion.d/livekit-otel"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel man serve > livekit-otel-serve.1")]
pub struct ManArgs {
    /// A command, and its subcommand if it has any
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Which dead letters, and where they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DeadletterRetryArgs {
    /// Ids as `list` prints them; without any, all
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// The options of the server
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Options of `serve`; each takes precedence over its variable and its key in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_KEYS='devkey: SECRET' livekit-otel serve --endpoint http://127.0.0.1:4317\n\nThe OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and OTEL_SDK_DISABLED\nvariables mean what the OpenTelemetry specification says. LiveKit's API keys are read from\nLIVEKIT_KEYS, from LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or from the file."
)]
pub struct ServeArgs {
    /// The configuration file, YAML [env: LIVEKIT_OTEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, with its certificates and directories, report all errors, and exit
    #[arg(long)]
    pub check: bool,
    /// Address of the webhook listener [env: LIVEKIT_OTEL_HTTP] [default: 127.0.0.1:9290]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Address of the listener for analytics streams [env: LIVEKIT_OTEL_GRPC] [default: 127.0.0.1:9291]
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<String>,
    /// Address of the listener for probes, the ledger and the program's own metrics [env: LIVEKIT_OTEL_ADMIN] [default: 127.0.0.1:9293]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Serve the live view of rooms at /ui, on a loopback address [env: LIVEKIT_OTEL_UI] [without ADDR: 127.0.0.1:9292]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9292")]
    pub ui: Option<String>,
    /// How senders of analytics streams authenticate: none, token or certificate [env: LIVEKIT_OTEL_GRPC_AUTH]
    #[arg(long, value_name = "HOW")]
    pub grpc_auth: Option<String>,
    /// Accept analytics streams from other machines without authentication
    #[arg(long)]
    pub insecure_listen: bool,
    /// URL of the collector, for all signals [env: OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// grpc or http/protobuf, for all signals [env: OTEL_EXPORTER_OTLP_PROTOCOL]
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,
    /// Directory that keeps accepted input until it is delivered [env: LIVEKIT_OTEL_JOURNAL_DIR]
    #[arg(long, value_name = "DIR")]
    pub journal_dir: Option<PathBuf>,
    /// Finest level with stats series of its own: node, room, participant or track [env: LIVEKIT_OTEL_STATS_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub stats_level: Option<String>,
    /// How personal data is sent: plain, hash or drop [env: LIVEKIT_OTEL_PRIVACY_PII]
    #[arg(long, value_name = "MODE")]
    pub privacy_pii: Option<String>,
    /// error, warn, info, debug, trace or off [env: LIVEKIT_OTEL_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [env: LIVEKIT_OTEL_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How long a shutdown may take to deliver, such as 10s [env: LIVEKIT_OTEL_SHUTDOWN_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    pub shutdown_timeout: Option<String>,
}

/// Options of `demo`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel demo --endpoint http://127.0.0.1:4317")]
pub struct DemoArgs {
    /// Send to this collector instead of the demo's own
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Protocol to send with: grpc or http/protobuf
    #[arg(long, value_name = "PROTOCOL", requires = "endpoint")]
    pub protocol: Option<String>,
    /// Replay this capture instead of the recorded call; may be repeated, for the agents' half
    #[arg(long, value_name = "FILE")]
    pub capture: Vec<PathBuf>,
    /// Also open the live view in a browser, until Ctrl-C
    #[arg(long)]
    pub open: bool,
}

/// Options of `replay`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=SECRET livekit-otel replay call.jsonl \\\n    --webhook http://127.0.0.1:9290/webhook --analytics http://127.0.0.1:9291 --speed 20"
)]
pub struct ReplayArgs {
    /// The captures: one JSON object per line. Several are merged by time
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// URL that webhooks are posted to
    #[arg(long, value_name = "URL", value_parser = flag(url), required_unless_present = "uploads")]
    pub webhook: Option<Flag<Uri>>,
    /// URL that the analytics streams are sent to
    #[arg(long, value_name = "URL", value_parser = flag(url), required_unless_present = "uploads")]
    pub analytics: Option<Flag<Uri>>,
    /// URL that agents upload to, like LIVEKIT_OBSERVABILITY_URL [default: the host of --webhook]
    #[arg(long, value_name = "URL", value_parser = flag(url))]
    pub uploads: Option<Flag<Uri>>,
    /// How many times faster than recorded [default: 1]
    #[arg(long, value_name = "N", value_parser = flag(speed))]
    pub speed: Option<Flag<f64>>,
    /// How long what a server does not acknowledge is sent again [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = flag(positive_duration))]
    pub retry_for: Option<Flag<Duration>>,
}

/// Options of `simulate`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=SECRET livekit-otel simulate --rooms 20 \\\n    --webhook http://127.0.0.1:9290/webhook --analytics http://127.0.0.1:9291"
)]
pub struct SimulateArgs {
    /// URL that webhooks are posted to; without it, there are none
    #[arg(long, value_name = "URL", value_parser = flag(url))]
    pub webhook: Option<Flag<Uri>>,
    /// URL that the analytics streams are sent to; without it, there are none
    #[arg(long, value_name = "URL", value_parser = flag(url))]
    pub analytics: Option<Flag<Uri>>,
    /// Rooms that are open at once [default: 10]
    #[arg(long, value_name = "N", value_parser = flag(count(1..=MOST_ROOMS)))]
    pub rooms: Option<Flag<usize>>,
    /// Participants in each room [default: 5]
    #[arg(long, value_name = "N", value_parser = flag(count(1..=MOST_PARTICIPANTS)))]
    pub participants: Option<Flag<usize>>,
    /// Agents in each room, besides the participants, which upload as LiveKit's agents do [default: 0]
    #[arg(long, value_name = "N", value_parser = flag(count(0..=MOST_AGENTS)))]
    pub agents: Option<Flag<usize>>,
    /// URL that agents upload to, like LIVEKIT_OBSERVABILITY_URL [default: the host of --webhook]
    #[arg(long, value_name = "URL", value_parser = flag(url))]
    pub uploads: Option<Flag<Uri>>,
    /// Tracks that each participant publishes: audio, video, screen share [default: 2]
    #[arg(long, value_name = "N", value_parser = flag(count(0..=MOST_TRACKS)))]
    pub tracks: Option<Flag<usize>>,
    /// Subscribe each participant to all others' tracks; the load grows with their square
    #[arg(long)]
    pub subscribe: bool,
    /// Time from the start of the first room to the end of the last [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = flag(positive_duration))]
    pub duration: Option<Flag<Duration>>,
    /// Interval between reports of stats [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = flag(interval))]
    pub interval: Option<Flag<Duration>>,
    /// How many times faster than real time; inf sends without pauses [default: 1]
    #[arg(long, value_name = "N", value_parser = flag(speed))]
    pub speed: Option<Flag<f64>>,
    /// Fraction of packets that are lost, from 0 to 1 [default: 0]
    #[arg(long, value_name = "PART", value_parser = flag(fraction))]
    pub loss: Option<Flag<f64>>,
    /// Fraction of participants that fail, from 0 to 1 [default: 0]
    #[arg(long, value_name = "PART", value_parser = flag(fraction))]
    pub failures: Option<Flag<f64>>,
    /// Seed of all random choices; use different seeds for concurrent runs [default: 1]
    #[arg(long, value_name = "N", value_parser = flag(seed))]
    pub seed: Option<Flag<u64>>,
    /// How long what a server does not acknowledge is sent again [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = flag(positive_duration))]
    pub retry_for: Option<Flag<Duration>>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// Parses the arguments, of which the first is the program's name.
    ///
    /// # Errors
    /// If an argument is wrong, or asks for the help or the version: [`exit_code`] distinguishes them.
    pub fn read(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> clap::error::Result<Self> {
        Self::try_parse_from(args)
    }
}

fn status_url(text: &str) -> Result<Uri, &'static str> {
    let uri = match url(text) {
        Ok(uri) => uri,
        Err(_) if text.starts_with("https://") => text.parse().map_err(|_| "must be a URL")?,
        Err(_) => {
            return Err("must be an http or https URL, such as https://127.0.0.1:9290/status");
        }
    };
    if uri.path() != "/" {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/status"));
    Uri::from_parts(parts).map_err(|_| "must be a URL")
}

fn template(text: &str) -> Result<String, &'static str> {
    let has_field = text.contains("{trace_id}");
    has_field.then(|| text.to_owned()).ok_or("must have {trace_id} in it, where the id belongs")
}

fn room_sid(text: &str) -> Result<RoomSid, &'static str> {
    let sid = Some(text).filter(|text| text.starts_with("RM_")).and_then(RoomSid::new);
    sid.ok_or("must be a room's session id, RM_…")
}

fn participant_sid(text: &str) -> Result<ParticipantSid, &'static str> {
    ParticipantSid::new(text).ok_or("must be a participant's session id, PA_…")
}

/// 0 for the help and the version, otherwise [`EXIT_USAGE`] instead of clap's 2.
pub fn exit_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(args: &[&str]) -> u8 {
        exit_code(&Cli::read(args).unwrap_err())
    }

    #[test]
    fn the_commands_are_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn help_and_version_exit_with_0_and_wrong_usage_with_64() {
        assert_eq!(code(&["livekit-otel", "--help"]), 0);
        assert_eq!(code(&["livekit-otel", "--version"]), 0);
        assert_eq!(code(&["livekit-otel", "serve", "--help"]), 0);
        assert_eq!(code(&["livekit-otel", "serve", "--no-such-option"]), 64);
        assert_eq!(code(&["livekit-otel", "replay", "call.jsonl"]), 64);
        assert_eq!(code(&["livekit-otel"]), 64);
    }

    #[test]
    fn wrong_addresses_and_session_ids_are_wrong_usage() {
        assert_eq!(code(&["livekit-otel", "status", "--admin", "no address"]), 64);
        for url in ["127.0.0.1:9290", "ftp://host/status", "https://", ""] {
            assert_eq!(code(&["livekit-otel", "status", "--url", url]), 64, "{url}");
        }
        assert_eq!(code(&["livekit-otel", "status", "--ca", "ca.pem"]), 64);
        assert_eq!(code(&["livekit-otel", "trace-id", "RM_1", "--url", "http://host/{id}"]), 64);
        assert_eq!(code(&["livekit-otel", "trace-id", "PA_1"]), 64);
        assert_eq!(code(&["livekit-otel", "trace-id", "RM_1", ""]), 64);
        let cli = Cli::read(["livekit-otel", "trace-id", "RM_1", "PA_1"]).unwrap();
        let Command::TraceId(args) = cli.command else { panic!("not trace-id") };
        assert_eq!(args.room.as_str(), "RM_1");
        assert_eq!(args.participant.as_ref().map(ParticipantSid::as_str), Some("PA_1"));
    }

    #[test]
    fn the_url_of_a_ledger_has_its_path() {
        for (given, expected) in [
            ("http://[::1]:9293", "http://[::1]:9293/status"),
            ("https://host/", "https://host/status"),
            ("https://host/base/status?x=1", "https://host/base/status?x=1"),
        ] {
            assert_eq!(status_url(given).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn values_of_the_configuration_are_not_parsed_here() {
        let cli = Cli::read(["livekit-otel", "serve", "--http", "nonsense", "--check"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        assert_eq!(args.http.as_deref(), Some("nonsense"));
        assert!(args.check);
    }
}
