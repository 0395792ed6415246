//! The engine of livekit-otel: decoded messages go in with the time at which they were received, spans,
//! log records and metric points come out. [`session`] makes spans and log records, [`stats`] makes
//! metric points from stats windows and from the sessions' facts, and [`snapshot`] saves both.
//!
//! - It may know the types of the crate `model`, and how LiveKit's server behaves.
//! - It must not know tokio, a socket, a file or a clock: time is an argument. The same inputs have the
//!   same outputs, so a replayed journal repeats them.
//! - Tests: `cargo test -p livekit-otel-engine` for the parts; the root package's `tests/it` for the
//!   whole: golden files (`golden`), random histories (`history`), other hash seeds (`seeds`), the
//!   OpenTelemetry SDK and a model (`equality`), snapshots (`restart`).

pub mod agents;
mod facts;
pub mod ids;
pub mod session;
pub mod snapshot;
pub mod stats;

use agents::Agents;
use agents::metrics::ForeignMetrics;
use livekit_otel_model::event::answer::Question;
use livekit_otel_model::event::{Decoded, ParticipantSid, RoomSid, Time};
use livekit_otel_model::foreign::{Facts, Foreign, Upload};
use livekit_otel_model::signal::{Data, LogRecord, Metric, Span, Table};
use session::{Outcome, Outputs, Sessions};
use snapshot::{Part, Writer};
use stats::{NodeReports, Stats};

/// The engine's outputs, in their order.
#[derive(Debug, Default)]
pub struct Batch {
    /// Finished spans.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Metric points of a flush.
    pub metrics: Vec<Metric>,
    /// Metric points of a flush's series of streams.
    pub tables: Vec<Table>,
    /// Records of other programs.
    pub foreign: Foreign,
}

/// How many of a message's items were copies, or merged with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Copies: their ids were seen before.
    pub duplicates: u64,
    /// Reported by the other source too, or points of an agent that derived ones replace.
    pub merged: u64,
}

/// The sessions and the instruments of one process.
#[derive(Debug)]
pub struct Engine {
    sessions: Sessions,
    stats: Stats,
    agents: Agents,
    foreign_metrics: ForeignMetrics,
    outputs: Outputs,
}

impl Engine {
    /// Creates an engine without any state, whose first points begin at `now`.
    pub fn new(session: session::Settings, stats: stats::Settings, now: Time) -> Self {
        Self {
            agents: Agents::new(&session, &stats),
            sessions: Sessions::new(session),
            foreign_metrics: ForeignMetrics::new(&stats),
            stats: Stats::new(stats, now),
            outputs: Outputs::default(),
        }
    }

    /// Sets the start of the first points, if no snapshot was loaded.
    pub fn begin(&mut self, now: Time) {
        self.stats.begin(now);
    }

    /// Applies a message that was received at `now`. With `twin_expected`, the analytics are connected,
    /// so that a webhook waits for its twin from there.
    pub fn apply(
        &mut self,
        decoded: &Decoded,
        now: Time,
        twin_expected: bool,
        out: &mut Batch,
    ) -> Tally {
        let mut tally = Tally::default();
        if twin_expected {
            self.agents.hear_analytics(now);
        }
        match decoded {
            Decoded::Events(events) => {
                for event in events {
                    tally.add(self.sessions.event(event, now, twin_expected, &mut self.outputs));
                }
            }
            Decoded::Stats(stats) => {
                self.agents.hear_analytics(now);
                let outcomes = self.sessions.stats(stats, now, &mut self.outputs);
                for (stat, (outcome, context)) in stats.iter().zip(outcomes) {
                    tally.add(outcome);
                    if outcome != Outcome::Duplicate {
                        self.stats.window(stat, &context, now);
                        let (sessions, foreign) = (&mut self.sessions, &mut out.foreign);
                        self.agents.window(stat, now, sessions, foreign);
                    }
                }
            }
            Decoded::Rooms(rooms) => {
                if let Some(event) = &rooms.event {
                    tally.add(self.sessions.event(event, now, twin_expected, &mut self.outputs));
                }
                self.sessions.reconcile(rooms, now, &mut self.outputs);
            }
            Decoded::Answer(answer) => self.sessions.answer(answer, now, &mut self.outputs),
            Decoded::Upload(Upload::Metrics(metrics)) => {
                self.agents.hear_metrics(metrics, now, &mut self.sessions, &mut out.foreign);
                let is_replaced = |name: &str, facts: &Facts| self.agents.replaces(name, facts);
                let out = &mut out.foreign.metrics;
                let counted = self.foreign_metrics.apply(metrics, now, &is_replaced, out);
                (tally.duplicates, tally.merged) = counted;
            }
            Decoded::Upload(upload) => {
                let (sessions, Batch { foreign, logs, .. }) = (&mut self.sessions, &mut *out);
                tally.duplicates += self.agents.apply(upload, now, sessions, foreign, logs);
            }
        }
        self.pass_on(now, out);
        tally
    }

    /// Releases everything that is due at `now`.
    pub fn tick(&mut self, now: Time, out: &mut Batch) {
        self.sessions.tick(now, &mut self.outputs);
        self.pass_on(now, out);
        self.agents.tick(now, &mut self.sessions, &mut out.foreign);
    }

    /// When [`Engine::tick`] is due next, if nothing is applied before.
    pub fn next_deadline(&self) -> Option<Time> {
        let (sessions, agents) = (self.sessions.next_deadline(), self.agents.next_deadline());
        sessions.into_iter().chain(agents).min()
    }

    /// Allows questions to LiveKit's API. Without this, nothing is asked.
    pub fn enable_questions(&mut self) {
        self.sessions.enable_questions();
    }

    /// The next question to LiveKit's API that is due at `now`. Its answer is to be applied as
    /// [`Decoded::Answer`]. Without an answer it is due again only once a list of rooms has its room. Outputs depend on answers alone, and not on which questions were asked. Nothing is
    /// asked of a room that is known to have ended.
    pub fn question(&mut self, now: Time) -> Option<Question> {
        self.sessions.question(now)
    }

    /// When [`Engine::question`] may have one next.
    pub fn next_question(&self) -> Option<Time> {
        self.sessions.next_question()
    }

    /// Adds the reports and calls of this process's own node.
    pub fn reports(&mut self, mut reports: NodeReports) {
        let sessions = &self.sessions;
        reports.find_spans(&|key| {
            let room = RoomSid::new(key.room_sid())?;
            sessions.place(&room, &ParticipantSid::new(key.participant_sid())?)
        });
        self.stats.reports(reports);
    }

    /// Flushes the instruments, as the periodic reader asks for.
    pub fn flush(&mut self, now: Time, out: &mut Batch) {
        self.begin_flush(now, out);
        while self.flush_some(out) {}
    }

    /// Flushes the nodes' instruments. [`Engine::flush_some`] then flushes those of streams; nothing may
    /// be applied until it has returned `false`.
    pub fn begin_flush(&mut self, now: Time, out: &mut Batch) {
        let since = self.stats.flushed();
        out.metrics.extend(self.stats.flush(now, &self.sessions.census()));
        let interval = (since, self.stats.flushed());
        self.agents.flush(interval, &mut out.metrics);
        let place = |facts: &Facts, context| self.agents.exemplar(facts, context);
        self.foreign_metrics.flush(interval, &place, &mut out.foreign.metrics);
    }

    /// Flushes a bounded number of the streams' points; `false` if there are no more.
    pub fn flush_some(&mut self, out: &mut Batch) -> bool {
        let table = self.stats.flush_streams();
        let is_more = table.is_some();
        out.tables.extend(table);
        is_more
    }

    /// How much was forgotten early so far.
    pub fn forgotten(&self) -> session::Forgotten {
        self.sessions.forgotten()
    }

    /// How many series have ended and wait for a flush.
    pub fn ended_series(&self) -> usize {
        self.stats.ended_series()
    }

    /// How many rooms [`Engine::save`] writes.
    pub fn rooms(&self) -> u64 {
        self.sessions.rooms()
    }

    /// Writes everything that a restart needs.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), snapshot::Error> {
        self.sessions.save(to)?;
        self.agents.save(to)?;
        self.stats.save(to)?;
        self.foreign_metrics.save(to)
    }

    /// Reads a part that [`Engine::save`] wrote.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<(), snapshot::Error> {
        if part == Part::AgentSeries {
            return self.foreign_metrics.load(content);
        }
        let known = self.sessions.load(part, content)?
            || self.agents.load(part, content)?
            || self.stats.load(part, content)?;
        if known { Ok(()) } else { Err(snapshot::Error::Version) }
    }

    /// Ends what is open by `rule` and releases everything; a flush has to follow.
    pub fn end(&mut self, now: Time, rule: &'static str, out: &mut Batch) {
        self.agents.close(now, rule, &mut self.sessions, &mut out.foreign);
        self.sessions.close(now, rule, &mut self.outputs);
        self.pass_on(now, out);
    }

    /// Ends what is open by `rule`, releases everything and flushes.
    pub fn close(&mut self, now: Time, rule: &'static str, out: &mut Batch) {
        self.end(now, rule, out);
        self.flush(now, out);
    }

    fn pass_on(&mut self, now: Time, out: &mut Batch) {
        for fact in self.outputs.facts.drain(..) {
            self.stats.fact(&fact);
            self.agents.fact(&fact, now, &mut self.sessions, &mut out.foreign);
        }
        let spans = self.outputs.spans.drain(..);
        out.spans.extend(spans.filter(|span| !self.agents.has_inferred(span)));
        out.logs.append(&mut self.outputs.logs);
    }
}

impl Batch {
    /// A copy of all metric points by instrument, for display and tests.
    pub fn all_metrics(&self) -> Vec<Metric> {
        let mut all = self.metrics.clone();
        for metric in self.tables.iter().flat_map(Table::metrics) {
            let known = all.iter_mut().find(|known| known.name == metric.name);
            match known.map(|known| &mut known.data).zip(Some(metric.data.clone())) {
                Some(
                    (Data::Gauge(points), Data::Gauge(more))
                    | (Data::Sum { points, .. }, Data::Sum { points: more, .. }),
                ) => {
                    points.extend(more);
                }
                _ => all.push(metric),
            }
        }
        all
    }
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied => {}
            Outcome::Merged => self.merged += 1,
            Outcome::Duplicate => self.duplicates += 1,
        }
    }
}
