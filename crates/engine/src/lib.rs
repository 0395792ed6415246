//! Sessions and instruments together: what was accepted goes in, with its time; what leaves comes
//! out. Sans-IO, so that a journal read again gives the same outputs.

pub mod session;
pub mod snapshot;
pub mod stats;

use livekit_otel_model::event::{Decoded, ParticipantSid, RoomSid, Time};
use livekit_otel_model::signal::{Data, LogRecord, Metric, Span, Table};
use session::{Outcome, Outputs, Sessions};
use snapshot::{Part, Writer};
use stats::{NodeReports, Stats};

/// What leaves, in its order.
#[derive(Debug, Default)]
pub struct Batch {
    /// Finished spans.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Metric points of a flush.
    pub metrics: Vec<Metric>,
    /// More of them: those of streams.
    pub tables: Vec<Table>,
}

/// What became of a decoded's items, beside being applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Seen before.
    pub duplicates: u64,
    /// ReportedTime by the other origin too.
    pub merged: u64,
}

/// The sessions and the instruments of one process.
#[derive(Debug)]
pub struct Engine {
    sessions: Sessions,
    stats: Stats,
    outputs: Outputs,
}

impl Engine {
    /// Nothing told yet, at `now`.
    pub fn new(session: session::Settings, stats: stats::Settings, now: Time) -> Self {
        Self {
            sessions: Sessions::new(session),
            stats: Stats::new(stats, now),
            outputs: Outputs::default(),
        }
    }

    /// The first time that it is told, where it has none of before: what the first points count
    /// from.
    pub fn begin(&mut self, now: Time) {
        self.stats.begin(now);
    }

    /// Applies what was told and came at `now`. `twin_expected`: the analytics are connected, so
    /// a webhook waits for its twin there.
    pub fn apply(
        &mut self,
        decoded: &Decoded,
        now: Time,
        twin_expected: bool,
        out: &mut Batch,
    ) -> Tally {
        let mut tally = Tally::default();
        match decoded {
            Decoded::Events(events) => {
                for event in events {
                    tally.add(self.sessions.event(event, now, twin_expected, &mut self.outputs));
                }
            }
            Decoded::Stats(stats) => {
                let told = self.sessions.stats(stats, now, &mut self.outputs);
                for (stat, (outcome, context)) in stats.iter().zip(told) {
                    tally.add(outcome);
                    if outcome != Outcome::Duplicate {
                        self.stats.window(stat, &context, now);
                    }
                }
            }
            Decoded::Rooms(rooms) => {
                if let Some(event) = &rooms.event {
                    tally.add(self.sessions.event(event, now, twin_expected, &mut self.outputs));
                }
                self.sessions.reconcile(rooms, now, &mut self.outputs);
            }
        }
        self.pass_on(out);
        tally
    }

    /// Lets go of what has waited until `now`.
    pub fn tick(&mut self, now: Time, out: &mut Batch) {
        self.sessions.tick(now, &mut self.outputs);
        self.pass_on(out);
    }

    /// When [`Engine::tick`] has something to do next, if nothing comes before.
    pub fn next_deadline(&self) -> Option<Time> {
        self.sessions.next_deadline()
    }

    /// Adds what this process's node saw itself.
    pub fn reports(&mut self, mut reports: NodeReports) {
        let sessions = &self.sessions;
        reports.find_spans(&|key| {
            let room = RoomSid::new(key.room_sid())?;
            sessions.place(&room, &ParticipantSid::new(key.participant_sid())?)
        });
        self.stats.reports(reports);
    }

    /// Flushes the instruments: the periodic reader's tick.
    pub fn flush(&mut self, now: Time, out: &mut Batch) {
        self.begin_flush(now, out);
        while self.flush_some(out) {}
    }

    /// Flushes the nodes' instruments; [`Engine::flush_some`] goes on with those of streams, and
    /// nothing is to be applied before it has come to an end.
    pub fn begin_flush(&mut self, now: Time, out: &mut Batch) {
        out.metrics.extend(self.stats.flush(now, &self.sessions.census()));
    }

    /// The next of a flush's points, a bounded number of them; `false` where there are no more.
    pub fn flush_some(&mut self, out: &mut Batch) -> bool {
        let table = self.stats.flush_streams();
        let is_more = table.is_some();
        out.tables.extend(table);
        is_more
    }

    /// What was forgotten before its time, so far.
    pub fn forgotten(&self) -> session::Forgotten {
        self.sessions.forgotten()
    }

    /// How many series have ended and wait for the flush.
    pub fn ended_series(&self) -> usize {
        self.stats.ended_series()
    }

    /// How many rooms [`Engine::save`] writes.
    pub fn rooms(&self) -> u64 {
        self.sessions.rooms()
    }

    /// Writes all that a restart needs.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), snapshot::Error> {
        self.sessions.save(to)?;
        self.stats.save(to)
    }

    /// Takes in a part that [`Engine::save`] wrote.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<(), snapshot::Error> {
        let known = self.sessions.load(part, content)? || self.stats.load(part, content)?;
        if known { Ok(()) } else { Err(snapshot::Error::Version) }
    }

    /// Ends what is open by `rule` and lets go of everything; a flush is to follow.
    pub fn end(&mut self, now: Time, rule: &'static str, out: &mut Batch) {
        self.sessions.close(now, rule, &mut self.outputs);
        self.pass_on(out);
    }

    /// Ends what is open by `rule`, lets go of everything and flushes.
    pub fn close(&mut self, now: Time, rule: &'static str, out: &mut Batch) {
        self.end(now, rule, out);
        self.flush(now, out);
    }

    fn pass_on(&mut self, out: &mut Batch) {
        for fact in self.outputs.facts.drain(..) {
            self.stats.fact(&fact);
        }
        out.spans.append(&mut self.outputs.spans);
        out.logs.append(&mut self.outputs.logs);
    }
}

impl Batch {
    /// All metric points, instrument by instrument: a copy, for who looks at them.
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
