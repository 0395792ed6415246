//! The command line. Values stay text here: the configuration reads them with the environment's
//! and the file's, so that all that is wrong is told at once.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The exit code of a wrong command line or configuration, `EX_USAGE` of `sysexits.h`.
pub const EXIT_USAGE: u8 = 64;

/// OpenTelemetry for LiveKit: rooms, participants and tracks as traces, logs and metrics.
#[derive(Debug, Clone, Parser)]
#[command(name = "livekit-otel", version, about, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Take LiveKit's webhooks and analytics, and send them over OTLP
    Serve(ServeArgs),
    /// Play a real call that was recorded, and show what a collector receives of it
    Demo(DemoArgs),
    /// Send a capture to a running server, as LiveKit would
    Replay(ReplayArgs),
    /// Send what a LiveKit server would tell of many rooms to a running server
    Simulate(SimulateArgs),
    /// Show what a running server accepted, delivered, and still holds
    Status(StatusArgs),
    /// Print the id of the trace of a room, or of a participant that has one of its own
    TraceId(TraceIdArgs),
    /// What could not be delivered, or not be read: list it, send it again, or drop it
    #[command(subcommand)]
    Deadletter(Deadletter),
}

/// Options of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel status --admin 127.0.0.1:9293")]
pub struct StatusArgs {
    /// The server's admin listener
    #[arg(long, value_name = "ADDR", env = "LIVEKIT_OTEL_ADMIN", default_value = "127.0.0.1:9293")]
    pub admin: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What the trace is of.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel trace-id RM_XHuZ4ggjTArt")]
pub struct TraceIdArgs {
    /// The room's session id, `RM_…`
    #[arg(value_name = "ROOM")]
    pub room: String,
    /// `PA_…`, for a participant with a trace of its own
    #[arg(value_name = "PARTICIPANT")]
    pub participant: Option<String>,
    /// Print this, with the id in place of {trace_id}
    #[arg(long, value_name = "TEMPLATE")]
    pub url: Option<String>,
}

/// What to do with what was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
#[command(
    after_help = "Example:\n  livekit-otel deadletter list --journal-dir /var/lib/livekit-otel"
)]
pub enum Deadletter {
    /// Show what was set aside, and why
    List(DeadletterArgs),
    /// Send it once more, and remove what is taken
    Retry(Box<DeadletterRetryArgs>),
    /// Remove it
    Drop(DeadletterArgs),
}

/// Which letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeadletterArgs {
    /// The server's journal.dir
    #[arg(long, value_name = "DIR", env = "LIVEKIT_OTEL_JOURNAL_DIR")]
    pub journal_dir: PathBuf,
    /// As `list` names them; all where none is given
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}

/// Which letters, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DeadletterRetryArgs {
    /// As `list` names them; all where none is given
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// The options of the server
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Options of `serve`; each goes before its variable and its key in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_KEYS='devkey: SECRET' livekit-otel serve --endpoint http://127.0.0.1:4317\n\nThe OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and OTEL_SDK_DISABLED\nvariables mean what the OpenTelemetry specification says. LiveKit's API keys come from\nLIVEKIT_KEYS, from LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or from the file."
)]
pub struct ServeArgs {
    /// The configuration file, YAML [env: LIVEKIT_OTEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the configuration, tell all that is wrong with it, and end
    #[arg(long)]
    pub check: bool,
    /// Where webhooks are taken [env: LIVEKIT_OTEL_HTTP] [default: 127.0.0.1:9290]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Where analytics streams are taken [env: LIVEKIT_OTEL_GRPC] [default: 127.0.0.1:9291]
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<String>,
    /// Probes, the ledger and own metrics for an operator [env: LIVEKIT_OTEL_ADMIN] [default: 127.0.0.1:9293]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// A page of the rooms, for this machine only, at /ui [env: LIVEKIT_OTEL_UI] [without ADDR: 127.0.0.1:9292]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9292")]
    pub ui: Option<String>,
    /// Who may tell over the streams: none, token or certificate [env: LIVEKIT_OTEL_GRPC_AUTH]
    #[arg(long, value_name = "HOW")]
    pub grpc_auth: Option<String>,
    /// Let the streams' listener be reached from elsewhere by whoever wants to
    #[arg(long)]
    pub insecure_listen: bool,
    /// The collector, for all signals [env: OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// grpc or http/protobuf, for all signals [env: OTEL_EXPORTER_OTLP_PROTOCOL]
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,
    /// Where what was accepted is kept until it is delivered [env: LIVEKIT_OTEL_JOURNAL_DIR]
    #[arg(long, value_name = "DIR")]
    pub journal_dir: Option<PathBuf>,
    /// What has series of its own: node, room, participant or track [env: LIVEKIT_OTEL_STATS_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub stats_level: Option<String>,
    /// What becomes of personal data: plain, hash or drop [env: LIVEKIT_OTEL_PRIVACY_PII]
    #[arg(long, value_name = "MODE")]
    pub privacy_pii: Option<String>,
    /// error, warn, info, debug, trace or off [env: LIVEKIT_OTEL_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [env: LIVEKIT_OTEL_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How long delivery may take at the end, such as 10s [env: LIVEKIT_OTEL_SHUTDOWN_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    pub shutdown_timeout: Option<String>,
}

/// Options of `demo`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  livekit-otel demo --endpoint http://127.0.0.1:4317")]
pub struct DemoArgs {
    /// Send to a collector of yours; without this the demo brings its own
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// How to send to it: grpc or http/protobuf
    #[arg(long, value_name = "PROTOCOL", requires = "endpoint")]
    pub protocol: Option<String>,
    /// Play a capture of yours
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Show it on a page in the browser too, until Ctrl-C
    #[arg(long)]
    pub open: bool,
}

/// Options of `replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=SECRET livekit-otel replay call.jsonl \\\n    --webhook http://127.0.0.1:9290/webhook --analytics http://127.0.0.1:9291 --speed 20"
)]
pub struct ReplayArgs {
    /// The captured call, one JSON object a line
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where webhooks are posted
    #[arg(long, value_name = "URL")]
    pub webhook: String,
    /// Where the analytics streams go
    #[arg(long, value_name = "URL")]
    pub analytics: String,
    /// How many times faster than it was
    #[arg(long, value_name = "N")]
    pub speed: Option<String>,
}

/// Options of `simulate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=SECRET livekit-otel simulate --rooms 20 \\\n    --webhook http://127.0.0.1:9290/webhook --analytics http://127.0.0.1:9291"
)]
pub struct SimulateArgs {
    /// Where webhooks are posted; none are without
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// Where the analytics streams go; there are none without
    #[arg(long, value_name = "URL")]
    pub analytics: Option<String>,
    /// How many rooms there are at once [default: 10]
    #[arg(long, value_name = "N")]
    pub rooms: Option<String>,
    /// How many participants are in each [default: 5]
    #[arg(long, value_name = "N")]
    pub participants: Option<String>,
    /// How many tracks each publishes: audio, video, screen share [default: 2]
    #[arg(long, value_name = "N")]
    pub tracks: Option<String>,
    /// Subscribe each participant to the others' tracks: grows with the square
    #[arg(long)]
    pub subscribe: bool,
    /// From the first room to the end of the last [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<String>,
    /// How often stats windows are told [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// How many times faster than real time; inf leaves out all pauses [default: 1]
    #[arg(long, value_name = "N")]
    pub speed: Option<String>,
    /// The part of packets that is lost, from 0 to 1 [default: 0]
    #[arg(long, value_name = "PART")]
    pub loss: Option<String>,
    /// The part of participants that fail, from 0 to 1 [default: 0]
    #[arg(long, value_name = "PART")]
    pub failures: Option<String>,
    /// What decides all that chance does [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<String>,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    /// What is wrong with them, or the help and the version where those were asked for:
    /// [`exit_code`] tells which.
    pub fn read(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> clap::error::Result<Self> {
        Self::try_parse_from(args)
    }
}

/// 0 for the help and the version, else [`EXIT_USAGE`] in place of clap's 2.
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
    fn help_and_version_are_no_errors_and_bad_usage_is_64() {
        assert_eq!(code(&["livekit-otel", "--help"]), 0);
        assert_eq!(code(&["livekit-otel", "--version"]), 0);
        assert_eq!(code(&["livekit-otel", "serve", "--help"]), 0);
        assert_eq!(code(&["livekit-otel", "serve", "--no-such-option"]), 64);
        assert_eq!(code(&["livekit-otel", "replay", "call.jsonl"]), 64);
        assert_eq!(code(&["livekit-otel"]), 64);
    }

    #[test]
    fn values_are_not_read_here() {
        let cli = Cli::read(["livekit-otel", "serve", "--http", "nonsense", "--check"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        assert_eq!(args.http.as_deref(), Some("nonsense"));
        assert!(args.check);
    }
}
