//! The task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::quarantine::Quarantine;
use crate::questions::Askers;
use crate::recovery::Recovery;
use crate::tap::{Passed, Tap};
use crate::ticks::{Tick, Ticks};
use livekit_otel_durable::journal::{
    Accepted, DeadLetter, DeadLetters, Entry, IntakeBudget, Numbered, Payload, Reader, Stored,
};
use livekit_otel_engine::session::Forgotten;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_export::Exporter;
use livekit_otel_ledger::Ledger;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::sink::Sink;

// The rule of inferred ends at shutdown: without a journal on disk, the next process can't resume.
const END_BY_SHUTDOWN: &str = "shutdown";

// The most entries per turn, so that timers are not starved.
const TURN: usize = 256;
// Between attempts while the disk is full, and before a tick that did not arrive is posted again.
const PAUSE: Duration = Duration::from_millis(500);
// With this many ended series a flush is never skipped, as each takes memory.
const MANY_ENDED: usize = 10_000;

/// What the task needs.
#[derive(Debug)]
pub struct Parts {
    /// The sessions and the instruments.
    pub engine: Engine,
    /// Receives the engine's outputs.
    pub sink: Arc<dyn Sink>,
    /// Counts inputs and their outcomes.
    pub ledger: Arc<Ledger>,
    /// Stores inputs that can't be processed.
    pub dead_letters: Arc<DeadLetters>,
    /// Set if the journal is on disk.
    pub durable: Option<Durable>,
    /// Set if the live view copies the outputs.
    pub tap: Option<Tap>,
    /// Gives ticks and flushes their time.
    pub clock: Clock,
    /// Set if there is an API that answers the engine's questions.
    pub questions: Option<Askers>,
}

/// What a restart resumes from.
#[derive(Debug)]
pub struct Durable {
    /// The engine's snapshots.
    pub checkpoints: Checkpoints,
    /// The same exporter as [`Parts::sink`]: its records are numbered, and those that wait are on disk.
    pub exporter: Exporter,
}

/// Starts the task. It ends once every [`livekit_otel_durable::journal::Journal`] of `reader` is dropped and
/// all entries are applied. With a journal on disk, [`Ended::save`] can store the state then; without one, all
/// sessions are ended and all instruments flushed.
pub fn start(mut parts: Parts, reader: Reader) -> (Ticks, JoinHandle<Ended>) {
    let (queue, ticks) = mpsc::unbounded_channel();
    // Before the task: a reader of the ledger never sees counts that go back.
    if let Some(durable) = &parts.durable {
        durable.checkpoints.restore_inputs(&parts.ledger);
    }
    let quarantine = parts
        .durable
        .as_ref()
        .map(|durable| Quarantine::open(durable.checkpoints.directory(), &durable.exporter));
    if parts.questions.is_some() {
        parts.engine.enable_questions();
    }
    let clock = parts.clock.clone();
    let forgotten = Forgotten::default();
    let pipeline = Pipeline {
        parts,
        posted: None,
        unstored: Vec::new(),
        forgotten,
        quarantine,
        is_replaying: true,
        recovery: None,
    };
    (Ticks::new(queue, clock), tokio::spawn(pipeline.run(reader, ticks)))
}

/// The state of a task that has ended.
#[derive(Debug)]
pub struct Ended(Option<Box<Pipeline>>);

impl Ended {
    /// Writes a snapshot for the next process. To be called after the last delivery. Blocks.
    pub fn save(self) {
        if let Some(mut pipeline) = self.0 {
            pipeline.save();
        }
    }
}

#[derive(Debug)]
struct Pipeline {
    parts: Parts,
    // The time of a tick that was posted to the journal and did not arrive yet, and when it was posted.
    posted: Option<(Time, Instant)>,
    // Dead letters that could not be stored yet.
    unstored: Vec<(String, DeadLetter, bytes::Bytes)>,
    // What the engine forgot early, as far as the ledger has it.
    forgotten: Forgotten,
    // Set if the journal is on disk.
    quarantine: Option<Quarantine>,
    // Until the first entry of this process: what an earlier one asked may be answered in the journal.
    is_replaying: bool,
    // Until all entries of earlier processes are applied; set if the journal is on disk.
    recovery: Option<Recovery>,
}

impl Pipeline {
    async fn run(mut self, mut reader: Reader, mut ticks: mpsc::UnboundedReceiver<Tick>) -> Ended {
        let Parts { engine, ledger, durable, .. } = &mut self.parts;
        if let Some(Durable { checkpoints, exporter }) = durable {
            self.recovery = Some(Recovery::new(checkpoints.age()));
            let restored = checkpoints.restore(engine, exporter, ledger);
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.forget_until(restored);
            }
            reader.skip(restored);
        }
        let budget = self.checkpoints().and_then(Checkpoints::budget).cloned();
        loop {
            self.log_recovered(&reader);
            self.wait_until_ready().await;
            let mut out = Batch::default();
            let may_ask = self.may_ask();
            let wait = self.wait();
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
                () = wanted(self.parts.questions.as_mut()), if may_ask => self.ask(),
                () = sleep(wait) => {}
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

    fn log_recovered(&mut self, reader: &Reader) {
        if reader.has_replayed()
            && let Some(recovery) = self.recovery.take()
        {
            let Parts { engine, ledger, dead_letters, .. } = &self.parts;
            recovery.log(engine, ledger, dead_letters);
        }
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        self.parts.durable.as_ref().map(|durable| &durable.checkpoints)
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }

    // Returns once the sink has capacity and all dead letters are stored.
    async fn wait_until_ready(&mut self) {
        loop {
            while let Some((id, letter, raw)) = self.unstored.last() {
                let dead_letters = &self.parts.dead_letters;
                if dead_letters.store_over_limit(id, letter, raw).await == Stored::Failed {
                    break;
                }
                self.unstored.pop();
            }
            if self.unstored.is_empty() && !self.parts.sink.is_stalled() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn wait(&self) -> Option<Duration> {
        let (engine, now) = (&self.parts.engine, self.now());
        let again = self.posted.map(|(_, when)| PAUSE.saturating_sub(when.elapsed()));
        let timer = engine.next_deadline().map(|at| at.since(now).max(again.unwrap_or_default()));
        // One that is due waits for the asker.
        let question = engine.next_question().filter(|at| *at > now).map(|at| at.since(now));
        timer.into_iter().chain(question).min()
    }

    // Whether there may be a question to hand over now.
    fn may_ask(&self) -> bool {
        let next = self.parts.engine.next_question();
        !self.is_replaying && next.is_some_and(|at| at <= self.now())
    }

    // This changes no outputs, so it is not in the journal.
    fn ask(&mut self) {
        let now = self.now();
        let Parts { engine, questions, .. } = &mut self.parts;
        if let (Some(askers), Some(question)) = (questions, engine.question(now)) {
            askers.hand_over(question);
        }
    }

    // Fires due timers. That changes outputs, so with a journal on disk the tick goes through the journal.
    fn tick(&mut self, out: &mut Batch) {
        let now = self.now();
        let Some(durable) = &self.parts.durable else {
            self.parts.engine.tick(now, out);
            return;
        };
        let is_due = self.parts.engine.next_deadline().is_some_and(|next| next <= now);
        if is_due && self.posted.is_none_or(|(_, when)| when.elapsed() >= PAUSE) {
            durable.checkpoints.post(Entry::Tick(now));
            self.posted = Some((now, Instant::now()));
        }
    }

    async fn flush(&mut self, tick: Tick, reader: &mut Reader, out: &mut Batch) {
        let sink = &self.parts.sink;
        let many = self.parts.engine.ended_series() >= MANY_ENDED;
        // Sums are cumulative: the next flush has the last point of each series.
        let skip = sink.is_backlogged() && !many;
        if let Some(checkpoints) = self.checkpoints() {
            if skip {
                tracing::debug!("points of the last flush still wait: this flush is skipped");
            } else {
                checkpoints.post(Entry::Flush(tick.at));
            }
            return;
        }
        let skip = skip && sink.is_failing();
        // The flush includes all inputs that were accepted before it was requested.
        for entry in (0..reader.len()).map_while(|_| reader.try_next()) {
            self.apply(entry, out).await;
        }
        if let Some(reports) = tick.reports {
            self.parts.engine.reports(*reports);
        }
        if !skip {
            self.flush_all(tick.at, out).await;
        }
        if let Some(done) = tick.done {
            // Its requester may have stopped waiting.
            let _ = done.send(());
        }
    }

    // Sends the points of a flush in parts, which bounds the memory that it takes.
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
        self.is_replaying &= replayed;
        if let Some(recovery) = self.recovery.as_mut().filter(|_| replayed) {
            recovery.replayed();
        }
        if self.checkpoints().is_some_and(Checkpoints::is_new) {
            // Not the clock's time: a replay begins at the same time.
            self.parts.engine.begin(entry.at());
        }
        if let Entry::Tick(at) = entry {
            // A replayed tick of the last process is not the one that was posted.
            self.posted = self.posted.filter(|(posted, _)| *posted > at);
        }
        let skipped_to = self.quarantine.as_mut().and_then(|quarantine| quarantine.begin(number));
        match entry {
            _ if skipped_to.is_some() => self.skip(entry, number, replayed),
            Entry::Input(input) => self.input(input, number, replayed, out),
            Entry::Tick(at) => self.parts.engine.tick(at, out),
            Entry::Flush(at) => {
                self.parts.engine.tick(at, out);
                self.flush_all(at, out).await;
            }
        }
        // At once, so that groups of them don't depend on how many entries are applied together: they are numbered.
        if !out.foreign.is_empty() {
            self.send(out);
        }
        if let Some(Durable { checkpoints, exporter }) = &mut self.parts.durable {
            if let Some(numbers) = skipped_to {
                // Outputs that it produced before its panic may have been sent under these numbers.
                exporter.skip_to(numbers);
            }
            checkpoints.applied(number, size);
        }
    }

    // An input that is skipped becomes a dead letter.
    fn skip(&mut self, entry: Entry, number: u64, replayed: bool) {
        let Entry::Input(Accepted { at, source, items, raw, .. }) = entry else {
            tracing::error!(entry = number, "a timer made the pipeline panic twice: it is skipped");
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
        let letter = DeadLetter { payload: Payload::Input(source), items, at, reason };
        self.unstored.push((format!("{kind}-{number:020}"), letter, raw));
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
            crate::panics::panic_if_room_named(decoded.as_ref());
        }
        engine.tick(at, out);
        let Some(decoded) = decoded else {
            ledger.input_dead_lettered(source, items);
            let reason = "a signed webhook that can't be read".to_owned();
            let letter = DeadLetter { payload: Payload::Input(Source::Webhook), items, at, reason };
            self.unstored.push((format!("webhook-{number:020}"), letter, raw));
            return;
        };
        let tally = engine.apply(&decoded, at, twin_expected, out);
        ledger.processed(source, items);
        ledger.unusable(source, unusable);
        ledger.duplicates(source, tally.duplicates);
        ledger.merged(source, tally.merged);
        if let (Some(tap), Decoded::Stats(windows)) = (tap, decoded)
            // A message is repeated as a whole or not at all.
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
                "session.max_ended is reached: late events of old rooms are not joined to them"
            );
        }
    }

    async fn save_if_due(self) -> Self {
        if !self.checkpoints().is_some_and(Checkpoints::is_due) {
            return self;
        }
        let saved = self.save_blocking().await;
        if let Some(checkpoints) = saved.checkpoints() {
            // The journal removes entries that the snapshot covers when it writes. A full one writes nothing
            // but ticks.
            checkpoints.post(Entry::Tick(saved.now()));
        }
        saved
    }

    fn save(&mut self) {
        let Parts { engine, ledger, durable, .. } = &mut self.parts;
        let durable = durable.as_mut().filter(|_| self.unstored.is_empty());
        if let Some(Durable { checkpoints, exporter }) = durable {
            checkpoints.save(engine, exporter, ledger);
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.forget_until(checkpoints.saved());
            }
        }
    }

    // Saves on a thread for blocking calls. Nothing is applied meanwhile.
    async fn save_blocking(mut self) -> Self {
        let saving = tokio::task::spawn_blocking(move || {
            self.save();
            self
        });
        match saving.await.map_err(JoinError::try_into_panic) {
            Ok(saved) => saved,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    async fn end(&mut self, mut ticks: mpsc::UnboundedReceiver<Tick>, reader: &mut Reader) {
        if self.parts.durable.is_some() {
            return;
        }
        let mut out = Batch::default();
        // A last flush may have been requested while the journal ended.
        while let Ok(tick) = ticks.try_recv() {
            self.flush(tick, reader, &mut out).await;
        }
        let now = self.now();
        self.parts.engine.end(now, END_BY_SHUTDOWN, &mut out);
        self.flush_all(now, &mut out).await;
        let dead_letters = &self.parts.dead_letters;
        for (id, letter, raw) in self.unstored.drain(..) {
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
        if !out.foreign.is_empty() {
            sink.foreign(&out.foreign);
        }
        let Batch { spans, logs, foreign, .. } = std::mem::take(out);
        if let Some(tap) = &self.parts.tap {
            tap.pass(Passed::Logs(logs));
            tap.pass(Passed::Spans(spans));
            tap.pass(Passed::agents(foreign));
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

// Returns once an asker waits for a question.
async fn wanted(questions: Option<&mut Askers>) {
    match questions {
        Some(askers) => askers.wait().await,
        None => std::future::pending().await,
    }
}

// Returns once something does not fit on disk.
async fn shortage(budget: Option<&IntakeBudget>) {
    match budget {
        Some(budget) => budget.wait_for_shortage().await,
        None => std::future::pending().await,
    }
}
