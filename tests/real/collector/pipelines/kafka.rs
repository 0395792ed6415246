//! A call through a real Kafka, from Maven Central: one broker in KRaft mode.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::super::{Built, build};
use super::items::{self, Item, assert_at_least_once, assert_same, items};
use super::otelcol::{Running, listening};
use super::recorded::{self, send, send_once};
use super::{Backends, PATIENCE, costs, file, received_of};
use crate::parts::{or_say, ran, reserved_port};

const PARTITIONS: usize = 4;
const TOPICS: [&str; 3] = ["otlp_spans", "otlp_logs", "otlp_metrics"];

/// Kafka's jars, once; where they can't be had says so, loudly.
fn jars() -> Option<&'static Path> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    JARS.get_or_init(|| or_say("NO REAL KAFKA", fetched())).as_deref()
}

fn fetched() -> Result<PathBuf, String> {
    ran(Command::new("java").arg("-version"))?;
    let pom = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/collector/kafka/pom.xml");
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
    let newest = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let done = jars.join("done");
    if newest(Path::new(pom)) >= newest(&done) {
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file", pom, "dependency:copy-dependencies"]);
        ran(maven.arg(format!("-DoutputDirectory={}", jars.display())))?;
        std::fs::write(done, "").map_err(|error| error.to_string())?;
    }
    Ok(jars)
}

struct Broker {
    process: Child,
    port: u16,
    jars: &'static Path,
    folder: PathBuf,
}

impl Broker {
    /// Starts one.
    fn start(jars: &'static Path, folder: &Path, port: u16) -> Self {
        let config = folder.join("server.properties");
        let controller = reserved_port();
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}/log\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n",
            folder.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut format = java(jars, "kafka.tools.StorageTool");
        format.args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c"]).arg(&config);
        ran(&mut format).unwrap();
        let mut command = java(jars, "kafka.Kafka");
        command.arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let broker = Self { process, port, jars, folder: folder.to_owned() };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "Kafka does not listen");
            std::thread::yield_now();
        }
        broker
    }

    fn make_topics(&self) {
        for topic in TOPICS {
            let mut make = java(self.jars, "org.apache.kafka.tools.TopicCommand");
            make.args(["--create", "--topic", topic, "--partitions", &PARTITIONS.to_string()]);
            ran(make.args(["--bootstrap-server", &self.address()])).unwrap();
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The keys of a topic's messages, by partition.
    fn keys(&self, topic: &str) -> Vec<Vec<String>> {
        let file = |partition| format!("log/{topic}-{partition}/{:020}.log", 0);
        let files = (0..PARTITIONS).map(|partition| self.folder.join(file(partition)));
        let files: Vec<_> = files.map(|path| path.display().to_string()).collect();
        let mut dump = java(self.jars, "kafka.tools.DumpLogSegments");
        let printed = ran(dump.args(["--print-data-log", "--files", &files.join(",")])).unwrap();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let mut keys = Vec::new();
        for line in printed.lines() {
            if line.starts_with("Dumping ") {
                keys.push(Vec::new());
            } else if line.starts_with("| offset:") {
                let (_, key) = line.split_once(" key: ").unwrap();
                let (key, _) = key.split_once(" payload: ").unwrap();
                keys.last_mut().unwrap().push(key.to_owned());
            }
        }
        keys
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn java(jars: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-cp"]).arg(jars.join("*")).arg(class);
    command
}

fn producer(built: &Built, brokers: &str) -> (Running, String) {
    let (endpoint, own) = listening();
    let variables = [("KAFKA_BROKERS", format!("[{brokers}]"))];
    (Running::start(built, &[file("kafka.yaml"), own], &variables), endpoint)
}

fn consumer(built: &Built, brokers: &str, backends: &[(&'static str, String)]) -> Running {
    let mut variables = backends.to_vec();
    variables.push(("KAFKA_BROKERS", format!("[{brokers}]")));
    Running::start(built, &[file("kafka-consumer.yaml")], &variables)
}

fn trace(item: &Item) -> Option<String> {
    let id = match &item.what {
        items::What::Span(span) => &span.trace_id,
        items::What::Log(log) => &log.trace_id,
        items::What::Point(_) => return None,
    };
    Some(format!("{:032x}", u128::from_be_bytes((**id).try_into().ok()?)))
}

/// Each key is in one partition, and there are as many keys as traces.
fn is_by_trace(keys: &[Vec<String>], traces: &BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    assert_eq!(keys.len(), PARTITIONS);
    for keys in keys {
        let keys: BTreeSet<_> = keys.iter().collect();
        assert!(!keys.is_empty(), "nothing is in a partition");
        for key in keys {
            assert!(seen.insert(key.clone()), "{key} is in two partitions");
        }
    }
    assert_eq!(&seen, traces);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_carries_calls_with_each_trace_in_one_partition() {
    let (Some(built), Some(jars)) = (build(), jars()) else { return };
    let calls = recorded::calls().await;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(jars, folder.path(), reserved_port());
    broker.make_topics();
    let (producer, endpoint) = producer(built, &broker.address());
    send_once(&endpoint, calls).await.unwrap();
    assert_eq!(producer.stop(), [""; 0]);
    let sent = items(calls);
    let of = |is: fn(&Item) -> bool| {
        sent.iter().filter(|item| is(item)).filter_map(trace).collect::<BTreeSet<_>>()
    };
    is_by_trace(&broker.keys("otlp_spans"), &of(|item| item.span().is_some()));
    let mut logs = broker.keys("otlp_logs");
    // Those of no room.
    for keys in &mut logs {
        keys.retain(|key| key != "null");
    }
    is_by_trace(&logs, &of(|item| matches!(item.what, items::What::Log(_))));

    let backends = Backends::start(built).await;
    let reader = consumer(built, &broker.address(), &backends.variables);
    received_of(&backends.collector, sent.len()).await;
    reader.stop();
    // It may have been stopped before the last answer, which the back end calls an error.
    backends.front.log();
    assert_same(&items(&backends.collector.received()), &sent);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
// An ignored test has nowhere else to say it.
#[allow(clippy::print_stdout)]
async fn what_kafka_costs() {
    let (Some(built), Some(jars)) = (build(), jars()) else { return };
    let calls = recorded::calls().await;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(jars, folder.path(), reserved_port());
    broker.make_topics();
    let (producer, endpoint) = producer(built, &broker.address());
    let rounds = 2;
    for _ in 0..rounds {
        send(&endpoint, calls).await;
    }
    let produced = costs::cost(&producer);
    let backends = Backends::start(built).await;
    let reader = consumer(built, &broker.address(), &backends.variables);
    let count = items::count(calls) * rounds;
    received_of(&backends.collector, count).await;
    let consumed = costs::cost(&reader);
    let logs = std::fs::read_dir(folder.path().join("log")).unwrap();
    let logs = logs.map(|entry| entry.unwrap().path().join(format!("{:020}.log", 0)));
    let logs = logs.filter(|path| path.display().to_string().contains("/otlp_"));
    let bytes: u64 = logs.map(|path| path.metadata().unwrap().len()).sum();
    println!(
        "{count} items: {:.1} and {:.1} µs of CPU each, {} KiB in Kafka",
        produced.seconds * 1e6 / count as f64,
        consumed.seconds * 1e6 / count as f64,
        bytes >> 10
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_has_outlives_a_killed_reader_and_an_absent_back_end() {
    let (Some(built), Some(jars)) = (build(), jars()) else { return };
    let call = recorded::call().await;
    let folder = tempfile::tempdir().unwrap();
    let port = reserved_port();
    // No broker is there yet: the sender receives an error, and sends again.
    let (producer, endpoint) = producer(built, &format!("127.0.0.1:{port}"));
    let refused = send_once(&endpoint, call).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    let broker = Broker::start(jars, folder.path(), port);
    send(&endpoint, call).await;
    drop(producer);
    let port = reserved_port();
    let reader = consumer(built, &broker.address(), &Backends::at(port));
    // For longer than it takes to commit what was read.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(reader.has_logged(|line| line.contains("connection refused")), "it does not try");
    }
    reader.kill();
    let backends = Backends::start_on(built, port).await;
    let reader = consumer(built, &broker.address(), &backends.variables);
    let expected = items(call);
    received_of(&backends.collector, expected.len()).await;
    reader.stop();
    let actual = items(&backends.collector.received());
    assert_at_least_once(&actual, &expected);
}
