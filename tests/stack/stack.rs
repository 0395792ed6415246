//! All parts, running, on ports of loopback that are free and in a folder that goes with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use livekit_otel_ledger::status::Status;
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;

use crate::call::Room;
use crate::otlp::{self, Record, Span};
use crate::parts::collector::Otelcol;
use crate::parts::jaeger::Jaeger;
use crate::parts::prometheus::Prometheus;
use crate::parts::{Parts, Server, process, reserved_port};
use crate::program::{KEY, Program, SECRET};
use crate::report::timed;

// LiveKit's server takes half a minute to give up on a silent client, and sends stats as often.
const PATIENCE: Duration = Duration::from_secs(150);
pub(crate) const SERVICE: &str = "livekit-otel";

/// Where each part's program is.
pub(crate) struct Binaries {
    pub(crate) livekit: Parts,
    pub(crate) collector: PathBuf,
    pub(crate) prometheus: PathBuf,
    pub(crate) jaeger: PathBuf,
}

/// In the order in which they are let go of.
pub(crate) struct Stack {
    server: Option<Server>,
    program: Program,
    collector: Option<Otelcol>,
    pub(crate) jaeger: Jaeger,
    pub(crate) prometheus: Prometheus,
    binaries: Binaries,
    /// Of LiveKit's server, in all of its lives; so the others.
    port: u16,
    otlp: String,
    otlp_http: String,
    began: SystemTime,
    folder: TempDir,
}

impl Stack {
    pub(crate) fn start(binaries: Binaries) -> Self {
        let began = SystemTime::now();
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::create_dir(at.join("collector")).unwrap();
        let jaeger = timed("Jaeger", || Jaeger::start(&binaries.jaeger, at));
        let prometheus = timed("Prometheus", || Prometheus::start(&binaries.prometheus, at));
        let [otlp, otlp_http] = [(); 2].map(|()| format!("127.0.0.1:{}", reserved_port()));
        let collector = timed("OpenTelemetry Collector", || {
            collector(&binaries, at, &otlp, &otlp_http, &jaeger, &prometheus)
        });
        let port = reserved_port();
        let config = config(at, &collector.endpoint, port, &jaeger);
        let program = timed("livekit-otel serve", || Program::start(&config));
        let mut stack = Self {
            server: None,
            program,
            collector: Some(collector),
            jaeger,
            prometheus,
            binaries,
            port,
            otlp,
            otlp_http,
            began,
            folder,
        };
        timed("LiveKit's server", || stack.start_server());
        stack
    }

    pub(crate) fn start_collector(&mut self) {
        let (at, binaries) = (self.folder.path(), &self.binaries);
        let (jaeger, prometheus) = (&self.jaeger, &self.prometheus);
        let started = collector(binaries, at, &self.otlp, &self.otlp_http, jaeger, prometheus);
        self.collector = Some(started);
    }

    /// SIGKILL.
    pub(crate) fn kill_collector(&mut self) {
        self.collector = None;
        for file in self.files() {
            cut_torn_line(&file);
        }
    }

    pub(crate) fn start_server(&mut self) {
        let analytics = [("LIVEKIT_OTEL_ADDR", self.program.grpc.as_str())];
        let (parts, http) = (&self.binaries.livekit, Some(self.program.http.as_str()));
        let server = Server::start(parts, self.folder.path(), self.port, http, &analytics);
        self.server = Some(server);
    }

    /// SIGKILL.
    pub(crate) fn kill_server(&mut self) {
        self.server = None;
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// What the collector has written: traces, logs and metrics.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let file = |name| self.folder.path().join("collector").join(name);
        ["traces.jsonl", "logs.jsonl", "metrics.jsonl"].map(file).into()
    }

    /// Ends it; what was wrong with that.
    pub(crate) fn stop(self) -> Vec<String> {
        let (code, printed) = self.program.stop();
        if code == Some(0) { Vec::new() } else { [vec![format!("{code:?}")], printed].concat() }
    }

    /// Where to look.
    pub(crate) fn say_where(&self, room: &Room) {
        let (jaeger, prometheus) = (self.jaeger.query, self.prometheus.url());
        let (admin, folder, port) = (&self.program.admin, self.folder.path().display(), self.port);
        let (trace, client) = (&room.trace, self.binaries.livekit.client.display());
        println!("\nIt is up until Ctrl-C. Where to look:");
        for (what, place) in [
            ("the call's trace", format!("http://127.0.0.1:{jaeger}/api/v3/traces/{trace}")),
            ("as Jaeger's page has it", format!("http://127.0.0.1:{jaeger}/api/traces/{trace}")),
            ("a metric", format!("{prometheus}/api/v1/query?query=lk_participant_count")),
            (
                "what it was",
                format!("{prometheus}/api/v1/query?query=lk_participant_count%5B5m%5D"),
            ),
            ("the ledger", format!("http://{admin}/status")),
            ("as a table", format!("livekit-otel status --admin {admin}")),
            ("what the collector got", format!("{folder}/collector/*.jsonl")),
            ("what they log", format!("{folder}/*/log")),
        ] {
            println!("  {what:<24} {place}");
        }
        println!("\nJoin as somebody who talks until Ctrl-D:");
        println!(
            "  LIVEKIT_API_KEY={KEY} LIVEKIT_API_SECRET={SECRET} {client} -url ws://127.0.0.1:{port} \
             -room mine -identity me -publish -video"
        );
    }

    /// Where `serve` accepts uploads: host and port.
    pub(crate) fn http(&self) -> &str {
        &self.program.http
    }

    /// `GET /status`.
    pub(crate) fn status(&self) -> Status {
        let port = self.program.admin.rsplit(':').next().unwrap().parse().unwrap();
        serde_json::from_value(process::json(port, "/status").unwrap()).unwrap()
    }

    /// The log records of a room's name, each once.
    pub(crate) fn records(&self, room: &str) -> Vec<Record> {
        let mut records = otlp::records(&self.files()[1]);
        records.retain(|record| record.attribute("lk.pii.room_name") == room);
        records.sort_by(|one, other| one.key().cmp(&other.key()));
        // What was sent again after a kill has the same id.
        records.dedup_by(|one, other| one.key() == other.key() && !one.key().1.is_empty());
        records
    }

    /// Returns once a room's name has so many records of an event.
    pub(crate) async fn wait_for_events(&self, room: &str, event: &str, times: usize) {
        let seen = || self.records(room).iter().filter(|record| record.event == event).count();
        if within(PATIENCE, || (seen() >= times).then_some(())).await.is_none() {
            let mut records = BTreeMap::<_, usize>::new();
            for record in self.records(room) {
                *records.entry(record.event).or_default() += 1;
            }
            panic!("waited in vain for {times} {event} of {room}, which has {records:#?}");
        }
    }

    /// The spans of a trace in Jaeger; none where there is no such trace, or no Jaeger.
    pub(crate) fn spans(&self, trace: &str) -> Vec<Span> {
        self.jaeger.trace(trace).map_or_else(|_| Vec::new(), |it| otlp::spans(&it["result"]))
    }

    /// All spans that Jaeger has.
    pub(crate) fn all_spans(&self) -> Vec<Span> {
        let times = [self.began - Duration::from_mins(1), SystemTime::now()];
        let [from, to] = times.map(|time| humantime::format_rfc3339(time).to_string());
        otlp::spans(&self.jaeger.traces(SERVICE, &from, &to).unwrap()["result"])
    }
}

/// Returns what was looked for, once it is there.
pub(crate) async fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let found = within(PATIENCE, look).await;
    found.unwrap_or_else(|| panic!("waited in vain until {what}"))
}

/// The same for so long.
pub(crate) async fn within<T>(
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let until = Instant::now() + patience;
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < until {
        looks.tick().await;
        let found = look();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("collector-config").join(file)
}

fn collector(
    binaries: &Binaries,
    at: &Path,
    otlp: &str,
    otlp_http: &str,
    jaeger: &Jaeger,
    prometheus: &Prometheus,
) -> Otelcol {
    let variables = [
        ("OTLP_HTTP", otlp_http.to_owned()),
        ("FILES", at.join("collector").display().to_string()),
        ("JAEGER_ENDPOINT", format!("127.0.0.1:{}", jaeger.otlp)),
        ("PROMETHEUS_ENDPOINT", format!("{}/api/v1/otlp", prometheus.url())),
    ];
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/collector.yaml");
    let shipped = ["jaeger.yaml", "grafana.yaml"].map(|file| shipped(file).display().to_string());
    let configs = [&shipped[0], &shipped[1], ours];
    Otelcol::start_at(otlp, &binaries.collector, &configs, &variables)
}

fn config(at: &Path, collector: &str, server: u16, jaeger: &Jaeger) -> PathBuf {
    let path = at.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         livekit: {{url: 'http://127.0.0.1:{server}', interval: 5s}}\n\
         session: {{linger: 2s}}\n\
         traces: {{url: 'http://127.0.0.1:{query}/api/v3/traces/{{trace_id}}'}}\n\
         stats: {{interval: 2s, top_n: 3}}\n\
         journal: {{dir: '{at}/journal'}}\n\
         export: {{endpoint: '{collector}'}}\n",
        query = jaeger.query,
        at = at.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

// A collector that is killed may be in the midst of one.
fn cut_torn_line(file: &Path) {
    let Ok(text) = std::fs::read(file) else { return };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_len(u64::try_from(whole).unwrap()).unwrap();
}
