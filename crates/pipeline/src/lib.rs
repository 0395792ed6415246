//! What was accepted, through the engine, to the exporter: one task owns the engine, so nothing
//! in it needs a lock.

mod checkpoint;
mod clock;
pub mod own;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod panics;
pub mod periodic;
mod quarantine;
mod tap;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

pub use checkpoint::{Checkpoints, Head};
pub use clock::Clock;
pub use tap::{Passed, Tap, Tapped, tap};

use quarantine::Quarantine;

use livekit_otel_durable::journal::{
    Accepted, DeadLetter, DeadLetters, Entry, IntakeBudget, Numbered, Payload, Reader, Stored,
};
use livekit_otel_engine::session::Forgotten;
use livekit_otel_engine::stats::NodeReports;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_export::Exporter;
use livekit_otel_ledger::Ledger;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::sink::Sink;

/// The rule of ends that nobody told because the program ended: without a journal on disk it
/// could not go on later.
const END_BY_SHUTDOWN: &str = "shutdown";

// What one turn takes from the journal at most, so that timers are not starved.
const TURN: usize = 256;
// Between attempts where the disk is full; and to ask again for a tick that did not come.
const PAUSE: Duration = Duration::from_millis(500);
// From so many ended series on they are flushed whatever still waits, as each takes memory.
const MANY_ENDED: usize = 10_000;

/// The ticks of the periodic reader, as it posts them.
#[derive(Debug, Clone)]
pub struct Ticks(mpsc::UnboundedSender<Tick>, Clock);

#[derive(Debug)]
struct Tick {
    at: Time,
    reports: Option<Box<NodeReports>>,
    done: Option<oneshot::Sender<()>>,
}

impl Ticks {
    /// Asks for a flush of the stats at this time, of all that was accepted before. Never blocks.
    pub fn post(&self) {
        self.send(Tick { at: self.1.now(), reports: None, done: None });
    }

    /// Asks for a flush that has `reports` too; what is given is told once it is done.
    pub fn post_with(&self, reports: NodeReports) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        let reports = Some(Box::new(reports));
        self.send(Tick { at: self.1.now(), reports, done: Some(done) });
        receiver
    }

    fn send(&self, tick: Tick) {
        // A pipeline that has ended has flushed.
        let _ = self.0.send(tick);
    }
}

/// What the task works with.
#[derive(Debug)]
pub struct Parts {
    /// The sessions and the instruments.
    pub engine: Engine,
    /// Where their outputs go.
    pub sink: Arc<dyn Sink>,
    /// Where all is counted.
    pub ledger: Arc<Ledger>,
    /// Where what can't be read goes.
    pub dead_letters: Arc<DeadLetters>,
    /// Set where the journal is on disk.
    pub durable: Option<Durable>,
    /// Where somebody looks at what passes.
    pub tap: Option<Tap>,
    /// The time of ticks and flushes.
    pub clock: Clock,
}

/// What a restart resumes from.
#[derive(Debug)]
pub struct Durable {
    /// The engine's snapshots.
    pub checkpoints: Checkpoints,
    /// The same exporter as [`Parts::sink`]: its records are numbered, and those that wait are on disk.
    pub exporter: Exporter,
}

/// Starts the task. It ends once every [`livekit_otel_durable::journal::Journal`] of `reader` is gone and all is
/// read: without checkpoints with all that was open closed and flushed, with them ready to be saved
/// by [`Ended::save`].
pub fn start(parts: Parts, reader: Reader) -> (Ticks, JoinHandle<Ended>) {
    let (ticks, posted) = mpsc::unbounded_channel();
    let quarantine = parts
        .durable
        .as_ref()
        .map(|durable| Quarantine::open(durable.checkpoints.directory(), &durable.exporter));
    let clock = parts.clock.clone();
    let forgotten = Forgotten::default();
    let pipeline = Pipeline { parts, asked: None, unkept: Vec::new(), forgotten, quarantine };
    (Ticks(ticks, clock), tokio::spawn(pipeline.run(reader, posted)))
}

/// A task that has ended.
#[derive(Debug)]
pub struct Ended(Option<Box<Pipeline>>);

impl Ended {
    /// Writes what a restart needs, once nothing is delivered any more. Blocking.
    pub fn save(self) {
        if let Some(mut pipeline) = self.0 {
            pipeline.save();
        }
    }
}

#[derive(Debug)]
struct Pipeline {
    parts: Parts,
    // A tick that was asked for and did not come yet, and when that was.
    asked: Option<(Time, Instant)>,
    // What could not be set aside yet.
    unkept: Vec<(String, DeadLetter, bytes::Bytes)>,
    // What was forgotten early, as far as it is counted.
    forgotten: Forgotten,
    // Where the journal is on disk: what it panicked at.
    quarantine: Option<Quarantine>,
}

impl Pipeline {
    async fn run(mut self, mut reader: Reader, mut ticks: mpsc::UnboundedReceiver<Tick>) -> Ended {
        let Parts { engine, ledger, durable, .. } = &mut self.parts;
        if let Some(Durable { checkpoints, exporter }) = durable {
            let restored = checkpoints.restore(engine, exporter, ledger);
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.forget_until(restored);
            }
            reader.skip(restored);
        }
        let budget = self.checkpoints().and_then(Checkpoints::budget).cloned();
        loop {
            self.wait_until_ready().await;
            let mut out = Batch::default();
            tokio::select! {
                entry = reader.next() => {
                    let Some(entry) = entry else { break };
                    let turn = if self.may_panic(entry.number) { 1 } else { TURN };
                    self.apply(entry, &mut out).await;
                    for entry in (1..turn).map_while(|_| reader.try_next()) {
                        self.apply(entry, &mut out).await;
                    }
                }
                Some(tick) = ticks.recv() => self.flush(tick, &mut reader, &mut out).await,
                () = sleep(self.wait()) => {}
                () = shortage(budget.as_deref()) => {}
            }
            self.tick(&mut out);
            self.send(&mut out);
            self.count_forgotten();
            self = self.save_if_due().await;
        }
        self.end(ticks, &mut reader).await;
        Ended(self.parts.durable.is_some().then(|| Box::new(self)))
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        self.parts.durable.as_ref().map(|durable| &durable.checkpoints)
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }

    // Returns once there is room for outputs, and nothing waits to be set aside.
    async fn wait_until_ready(&mut self) {
        loop {
            while let Some((id, letter, raw)) = self.unkept.last() {
                let dead_letters = &self.parts.dead_letters;
                if dead_letters.store_over_limit(id, letter, raw).await == Stored::Failed {
                    break;
                }
                self.unkept.pop();
            }
            if self.unkept.is_empty() && !self.parts.sink.is_stalled() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn wait(&self) -> Option<Duration> {
        let wait = self.parts.engine.next_deadline()?.since(self.now());
        let again = self.asked.map(|(_, asked)| PAUSE.saturating_sub(asked.elapsed()));
        Some(wait.max(again.unwrap_or_default()))
    }

    // Lets go of what has waited. A tick changes outputs: with a journal on disk it comes from there.
    fn tick(&mut self, out: &mut Batch) {
        let now = self.now();
        let Some(durable) = &self.parts.durable else {
            self.parts.engine.tick(now, out);
            return;
        };
        let is_due = self.parts.engine.next_deadline().is_some_and(|next| next <= now);
        if is_due && self.asked.is_none_or(|(_, asked)| asked.elapsed() >= PAUSE) {
            durable.checkpoints.post(Entry::Tick(now));
            self.asked = Some((now, Instant::now()));
        }
    }

    async fn flush(&mut self, tick: Tick, reader: &mut Reader, out: &mut Batch) {
        let sink = &self.parts.sink;
        let many = self.parts.engine.ended_series() >= MANY_ENDED;
        // Sums go on: the next flush has the last point of each series.
        let leave_out = sink.is_backlogged() && !many;
        if let Some(checkpoints) = self.checkpoints() {
            if leave_out {
                tracing::debug!("points of the last flush still wait: this one is left out");
            } else {
                checkpoints.post(Entry::Flush(tick.at));
            }
            return;
        }
        let leave_out = leave_out && sink.is_failing();
        // What was accepted before the tick is in its flush.
        for entry in (0..reader.len()).map_while(|_| reader.try_next()) {
            self.apply(entry, out).await;
        }
        if let Some(reports) = tick.reports {
            self.parts.engine.reports(*reports);
        }
        if !leave_out {
            self.flush_all(tick.at, out).await;
        }
        if let Some(done) = tick.done {
            // Nobody need wait for it.
            let _ = done.send(());
        }
    }

    // What a flush makes leaves as it is made, so that it takes no more memory the more there is.
    async fn flush_all(&mut self, at: Time, out: &mut Batch) {
        self.parts.engine.begin_flush(at, out);
        loop {
            self.send(out);
            self.parts.sink.wait_for_capacity().await;
            if !self.parts.engine.flush_some(out) {
                return;
            }
        }
    }

    async fn apply(&mut self, entry: Numbered, out: &mut Batch) {
        let Numbered { number, entry, replayed, size } = entry;
        if self.checkpoints().is_some_and(Checkpoints::is_new) {
            // A time that is the same when the journal is read again.
            self.parts.engine.begin(entry.at());
        }
        if let Entry::Tick(at) = entry {
            // One of before a restart is not it.
            self.asked = self.asked.filter(|(asked, _)| *asked > at);
        }
        let left_out = self.quarantine.as_mut().and_then(|quarantine| quarantine.begin(number));
        match entry {
            _ if left_out.is_some() => self.leave_out(entry, number, replayed),
            Entry::Input(input) => self.input(input, number, replayed, out),
            Entry::Tick(at) => self.parts.engine.tick(at, out),
            Entry::Flush(at) => {
                self.parts.engine.tick(at, out);
                self.flush_all(at, out).await;
            }
        }
        if let Some(Durable { checkpoints, exporter }) = &mut self.parts.durable {
            if let Some(numbered) = left_out {
                // What it made in part has its numbers, whether it was delivered or not.
                exporter.skip_to(numbered);
            }
            checkpoints.applied(number, size);
        }
    }

    // Of an entry that is not processed nothing is lost: an input is set aside as it came.
    fn leave_out(&mut self, entry: Entry, number: u64, replayed: bool) {
        let Entry::Input(Accepted { at, source, items, raw, .. }) = entry else {
            tracing::error!(
                entry = number,
                "a timer made the pipeline panic twice: it is left out"
            );
            return;
        };
        let kind = source.as_str();
        tracing::error!(
            entry = number,
            kind,
            "an input made the pipeline panic twice: it becomes a dead letter"
        );
        if replayed {
            self.parts.ledger.accepted(source, items);
        }
        self.parts.ledger.input_dead_lettered(source, items);
        let reason = "processing it made livekit-otel panic".to_owned();
        let letter = DeadLetter { payload: source.into(), items, at, reason };
        self.unkept.push((format!("{kind}-{number:020}"), letter, raw));
    }

    fn may_panic(&self, number: u64) -> bool {
        self.quarantine.as_ref().is_some_and(|quarantine| quarantine.may_panic(number))
    }

    fn input(&mut self, input: Accepted, number: u64, replayed: bool, out: &mut Batch) {
        let Accepted { at, source, items, unusable, twin_expected, decoded, raw, .. } = input;
        let Parts { engine, ledger, tap, .. } = &mut self.parts;
        if replayed {
            ledger.accepted(source, items);
        }
        #[cfg(feature = "fuzzing")]
        {
            crate::panics::panic_if_asked(&raw, crate::panics::PANICS);
            crate::panics::panic_if_told(decoded.as_ref());
        }
        engine.tick(at, out);
        let Some(decoded) = decoded else {
            ledger.input_dead_lettered(source, items);
            let reason = "a signed webhook that can't be read".to_owned();
            let letter = DeadLetter { payload: Payload::Webhook, items, at, reason };
            self.unkept.push((format!("webhook-{number:020}"), letter, raw));
            return;
        };
        let tally = engine.apply(&decoded, at, twin_expected, out);
        ledger.processed(source, items);
        ledger.unusable(source, unusable);
        ledger.duplicates(source, tally.duplicates);
        ledger.merged(source, tally.merged);
        if let (Some(tap), Decoded::Stats(windows)) = (tap, decoded)
            // A message that is told again is told again as a whole.
            && tally.duplicates == 0
        {
            tap.pass(Passed::Windows(windows, at));
        }
    }

    fn count_forgotten(&mut self) {
        let (now, before) = (self.parts.engine.forgotten(), self.forgotten);
        if now == before {
            return;
        }
        self.forgotten = now;
        self.parts.ledger.forgotten(now.ids - before.ids, now.ended - before.ended);
        if before.ids == 0 && now.ids > 0 {
            tracing::warn!(
                "session.max_ids is reached: a copy of an old message may be processed again"
            );
        }
        if before.ended == 0 && now.ended > 0 {
            tracing::warn!(
                "session.max_ended is reached: what comes late of old rooms is not joined to them"
            );
        }
    }

    async fn save_if_due(self) -> Self {
        if !self.checkpoints().is_some_and(Checkpoints::is_due) {
            return self;
        }
        let saved = self.save_aside().await;
        if let Some(checkpoints) = saved.checkpoints() {
            // With the next group the journal drops what the snapshot has: a full one takes
            // nothing else.
            checkpoints.post(Entry::Tick(saved.now()));
        }
        saved
    }

    fn save(&mut self) {
        let Parts { engine, ledger, durable, .. } = &mut self.parts;
        let durable = durable.as_mut().filter(|_| self.unkept.is_empty());
        if let Some(Durable { checkpoints, exporter }) = durable {
            checkpoints.save(engine, exporter, ledger);
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.forget_until(checkpoints.saved());
            }
        }
    }

    // On a thread that may block: it writes and syncs. Nothing is applied meanwhile.
    async fn save_aside(mut self) -> Self {
        let saving = tokio::task::spawn_blocking(move || {
            self.save();
            self
        });
        match saving.await.map_err(JoinError::try_into_panic) {
            Ok(saved) => saved,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is ending, and with it this task.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    async fn end(&mut self, mut ticks: mpsc::UnboundedReceiver<Tick>, reader: &mut Reader) {
        if self.parts.durable.is_some() {
            return;
        }
        let mut out = Batch::default();
        // A last flush may have been asked for as the journal ended.
        while let Ok(tick) = ticks.try_recv() {
            self.flush(tick, reader, &mut out).await;
        }
        let now = self.now();
        self.parts.engine.end(now, END_BY_SHUTDOWN, &mut out);
        self.flush_all(now, &mut out).await;
        let dead_letters = &self.parts.dead_letters;
        for (id, letter, raw) in self.unkept.drain(..) {
            dead_letters.store_over_limit(&id, &letter, &raw).await;
        }
    }

    fn send(&self, out: &mut Batch) {
        let sink = &self.parts.sink;
        if !out.spans.is_empty() {
            sink.spans(&out.spans);
        }
        if !out.logs.is_empty() {
            sink.logs(&out.logs);
        }
        if !out.metrics.is_empty() {
            sink.metrics(&out.metrics);
        }
        for table in &out.tables {
            sink.table(table);
        }
        let Batch { spans, logs, .. } = std::mem::take(out);
        if let Some(tap) = &self.parts.tap {
            tap.pass(Passed::Logs(logs));
            tap.pass(Passed::Spans(spans));
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

// Returns once something finds no room on disk.
async fn shortage(budget: Option<&IntakeBudget>) {
    match budget {
        Some(budget) => budget.wait_for_shortage().await,
        None => std::future::pending().await,
    }
}
