//! What was accepted, through the engine, to the exporter: one task owns the engine, so nothing
//! in it needs a lock.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::engine::{Batch, Engine};
use crate::event::Time;
use crate::export::Exporter;
use crate::journal::{Accepted, Reader};
use crate::ledger::Ledger;
use crate::stats::NodeReports;
use std::sync::Arc;

/// The rule of ends that nobody told because the program ended: without a journal on disk it
/// could not go on later.
const END_BY_SHUTDOWN: &str = "shutdown";

// What one turn takes from the journal at most, so that timers are not starved.
const TURN: usize = 256;

/// The ticks of the periodic reader, as it posts them.
#[derive(Debug, Clone)]
pub struct Ticks(mpsc::UnboundedSender<Tick>);

#[derive(Debug)]
struct Tick {
    at: Time,
    reports: Option<Box<NodeReports>>,
    done: Option<oneshot::Sender<()>>,
}

impl Ticks {
    /// Asks for a flush of the stats at this time, of all that was accepted before. Never blocks.
    pub fn post(&self) {
        self.send(Tick { at: now(), reports: None, done: None });
    }

    /// Asks for a flush that has `reports` too; what is given is told once it is done.
    pub fn post_with(&self, reports: NodeReports) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        let reports = Some(Box::new(reports));
        self.send(Tick { at: now(), reports, done: Some(done) });
        receiver
    }

    fn send(&self, tick: Tick) {
        // A pipeline that has ended has flushed.
        let _ = self.0.send(tick);
    }
}

/// Starts the task. It ends, with all that was open closed and flushed, once every
/// [`crate::journal::Journal`] of `reader` is gone and all is read.
pub fn start(
    engine: Engine,
    reader: Reader,
    exporter: Exporter,
    ledger: Arc<Ledger>,
) -> (Ticks, JoinHandle<()>) {
    let (ticks, posted) = mpsc::unbounded_channel();
    let pipeline = Pipeline { engine, exporter, ledger };
    (Ticks(ticks), tokio::spawn(pipeline.run(reader, posted)))
}

struct Pipeline {
    engine: Engine,
    exporter: Exporter,
    ledger: Arc<Ledger>,
}

impl Pipeline {
    async fn run(mut self, mut reader: Reader, mut ticks: mpsc::UnboundedReceiver<Tick>) {
        loop {
            let wait = self.engine.next().map(|at| at.since(now()));
            let mut out = Batch::default();
            tokio::select! {
                input = reader.next() => {
                    let Some(input) = input else { break };
                    self.apply(input, &mut out);
                    for input in (1..TURN).map_while(|_| reader.try_next()) {
                        self.apply(input, &mut out);
                    }
                }
                Some(tick) = ticks.recv() => self.flush(tick, &mut reader, &mut out),
                () = sleep(wait) => {}
            }
            self.engine.tick(now(), &mut out);
            self.send(&out);
        }
        let mut out = Batch::default();
        // A last flush may have been asked for as the journal ended.
        while let Ok(tick) = ticks.try_recv() {
            self.flush(tick, &mut reader, &mut out);
        }
        self.engine.close(now(), END_BY_SHUTDOWN, &mut out);
        self.send(&out);
    }

    fn flush(&mut self, tick: Tick, reader: &mut Reader, out: &mut Batch) {
        // What was accepted before the tick is in its flush.
        for input in (0..reader.len()).map_while(|_| reader.try_next()) {
            self.apply(input, out);
        }
        if let Some(reports) = tick.reports {
            self.engine.reports(*reports);
        }
        self.engine.flush(tick.at, out);
        self.send(&std::mem::take(out));
        if let Some(done) = tick.done {
            // Nobody need wait for it.
            let _ = done.send(());
        }
    }

    fn apply(&mut self, input: Accepted, out: &mut Batch) {
        let Accepted { at, source, items, twin_expected, telling, .. } = input;
        self.engine.tick(at, out);
        let tally = self.engine.apply(&telling, at, twin_expected, out);
        self.ledger.processed(source, items);
        self.ledger.duplicates(source, tally.duplicates);
        self.ledger.merged(source, tally.merged);
    }

    fn send(&self, out: &Batch) {
        if !out.spans.is_empty() {
            self.exporter.spans(&out.spans);
        }
        if !out.logs.is_empty() {
            self.exporter.logs(&out.logs);
        }
        if !out.metrics.is_empty() {
            self.exporter.metrics(&out.metrics);
        }
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
