//! What LiveKit's agents and other programs upload, joined to the rooms' traces.
//!
//! A record belongs to the job that it names together with its room. The job's first span decides what becomes of
//! all its records. What names no job passes through.

mod absent;
mod counted;
mod derived;
mod finish;
mod held;
mod job;
pub(crate) mod metrics;
mod missing;
mod names;
mod network;
mod place;
mod recent;
mod recording;
mod rooms;
mod saved;
mod strangers;
mod turns;
mod waiting;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::facts::Fact;
use crate::ids;
use crate::session::{AgentTraces, Sessions, Settings};
use crate::stats::{self, NodeStreamSource};
use absent::Absent;
use derived::Derived;
use job::{END_BY_SILENCE, Job, Key, Mode};
use livekit_otel_model::event::{RoomSid, StreamStat, Time};
use livekit_otel_model::foreign::{Facts, Foreign, ForeignLog, ForeignMetric, ForeignSpan, Upload};
use livekit_otel_model::signal::{LogRecord, Span, SpanId, TraceId};
use place::Context;
use rooms::InferredRooms;
use strangers::Strangers;
use waiting::Size;
use windows::Windows;

// The memory of all jobs, in bytes: 10,000 sessions that talk for hours, and 17,000 that have ended. Beyond that the jobs
// that are due first are forgotten early.
const MOST: usize = 384 << 20;

// How many other jobs are looked at in a room that is not open.
const MOST_OTHERS: usize = 1000;

/// The jobs whose records were received.
#[derive(Debug)]
pub struct Agents {
    traces: AgentTraces,
    max_spans: usize,
    most: usize,
    jobs: BTreeMap<Key, Box<Job>>,
    // The jobs of traces, for spans that name none.
    by_trace: BTreeMap<TraceId, Key>,
    deadlines: BTreeSet<(Time, Key)>,
    strangers: Strangers,
    inferred: InferredRooms,
    windows: Windows,
    // When the analytics were last known to be connected.
    analytics: Option<Time>,
    derived: Derived,
    // Only where uploads may be received.
    absent: Option<Absent>,
    // What all jobs have.
    waiting: Size,
    held: Size,
    turns: Size,
    weight: usize,
}

impl Agents {
    /// Without any job, by the settings of the sessions and the instruments.
    pub fn new(settings: &Settings, stats: &stats::Settings) -> Self {
        Self {
            traces: settings.agent_traces(),
            max_spans: settings.max_spans,
            most: MOST,
            jobs: BTreeMap::new(),
            by_trace: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            strangers: Strangers::default(),
            inferred: InferredRooms::default(),
            windows: Windows::default(),
            analytics: None,
            derived: Derived::new(stats),
            absent: (stats.node_streams == NodeStreamSource::Windows).then(Absent::default),
            waiting: Size::default(),
            held: Size::default(),
            turns: Size::default(),
            weight: 0,
        }
    }

    /// Applies an upload that was received at `now`. A recording becomes one of `logs`. Returns how many of the
    /// upload's records are copies.
    pub fn apply(
        &mut self,
        upload: &Upload,
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
        logs: &mut Vec<LogRecord>,
    ) -> u64 {
        match upload {
            Upload::Spans(spans) => {
                self.redact(spans.iter().map(|span| &span.facts), now, sessions, out);
                self.spans(spans, now, sessions, out)
            }
            Upload::Logs(logs) => {
                self.redact(logs.iter().map(|log| &log.facts), now, sessions, out);
                self.logs(logs, now, sessions, out);
                0
            }
            // They belong to series, not to jobs: `metrics`.
            Upload::Metrics(_) => 0,
            Upload::Recording(recording) => {
                let key = Key::of(&recording.facts);
                let record = key.map_or_else(
                    || Some(recording::record(recording, None, now)),
                    |key| {
                        self.with(&key, now, sessions, out, |job, cx| {
                            job.recording(recording, now, cx)
                        })
                    },
                );
                let copies = u64::from(record.is_none());
                logs.extend(record);
                copies
            }
        }
    }

    /// Notes which jobs' content must not leave, as points say so too.
    pub fn hear_metrics(
        &mut self,
        metrics: &[ForeignMetric],
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) {
        let facts = metrics.iter().flat_map(|metric| metric.data.facts());
        self.redact(facts, now, sessions, out);
    }

    // Notes which jobs' content must not leave, before anything of the upload leaves.
    fn redact<'a>(
        &mut self,
        facts: impl Iterator<Item = &'a Facts>,
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) {
        let flagged = facts.filter(|facts| facts.is_redacted);
        let jobs: BTreeMap<Key, &Facts> =
            flagged.filter_map(|facts| Some((Key::of(facts)?, facts))).collect();
        for (key, facts) in jobs {
            self.with(&key, now, sessions, out, |job, _| job.hear(facts, now));
        }
    }

    fn spans(
        &mut self,
        spans: &[ForeignSpan],
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) -> u64 {
        let mut copies = 0;
        for spans in
            spans.chunk_by(|a, b| a.trace_id == b.trace_id && is_same_job(&a.facts, &b.facts))
        {
            let Some(ForeignSpan { trace_id, facts, .. }) = spans.first() else { continue };
            let known = || self.by_trace.get(trace_id).cloned();
            let Some(key) = Key::of(facts).or_else(known) else {
                copies += self.strangers.pass(spans, now, &mut out.spans);
                continue;
            };
            let of_strangers = self.adopt(*trace_id, &key);
            copies += self.with(&key, now, sessions, out, |job, cx| {
                job.traces.insert(*trace_id);
                for id in of_strangers {
                    job.seen.insert(id, ());
                }
                let mut copies = 0;
                for span in spans {
                    copies += u64::from(job.span(span, now, cx));
                }
                if job.is_unfinished() {
                    job.check(&key.room, cx.sessions, now);
                }
                copies
            });
        }
        self.limit(now, sessions, out);
        copies
    }

    // Finishes and forgets the jobs that are due first, if all have too many spans.
    fn limit(&mut self, now: Time, sessions: &mut Sessions, out: &mut Foreign) {
        while self.weight > self.most
            && let Some((_, key)) = self.deadlines.first().cloned()
        {
            self.finish(&key, None, now, sessions, out);
            self.forget(&key);
        }
    }

    // Makes a trace that job's. Returns the spans of it that left before it was.
    fn adopt(&mut self, trace: TraceId, key: &Key) -> Vec<SpanId> {
        if self.by_trace.contains_key(&trace) {
            return Vec::new();
        }
        self.by_trace.insert(trace, key.clone());
        self.strangers.of(&trace)
    }

    fn logs(&mut self, logs: &[ForeignLog], now: Time, sessions: &mut Sessions, out: &mut Foreign) {
        let trace_of = |log: &ForeignLog| log.context.map(|(trace, _)| trace);
        for logs in
            logs.chunk_by(|a, b| trace_of(a) == trace_of(b) && is_same_job(&a.facts, &b.facts))
        {
            let Some(first) = logs.first() else { continue };
            let known = || self.by_trace.get(&trace_of(first)?).cloned();
            let Some(key) = Key::of(&first.facts).or_else(known) else {
                for mut log in logs.iter().cloned() {
                    let is_redacted = log.facts.is_redacted;
                    place::redact(&mut log.body, is_redacted);
                    out.logs.push(log);
                }
                continue;
            };
            let may_wait = self.waiting.fits(waiting::MOST);
            self.with(&key, now, sessions, out, |job, cx| {
                for log in logs {
                    job.log(log, may_wait, now, cx);
                }
            });
        }
        self.limit(now, sessions, out);
    }

    /// Applies what the sessions have learnt: a job ends with its agent or its room.
    pub fn fact(&mut self, fact: &Fact, now: Time, sessions: &mut Sessions, out: &mut Foreign) {
        let (room, agent) = match fact {
            Fact::ParticipantReleased { room, participant, is_agent, identity } => {
                if let Some(absent) = self.absent.as_mut().filter(|_| *is_agent) {
                    absent.add(room, participant, identity.as_ref(), now);
                }
                (room, Some(participant))
            }
            Fact::RoomReleased { room } => (room, None),
            _ => return,
        };
        if self.jobs.is_empty() {
            return;
        }
        let is_its = |job: &Job| agent.is_none_or(|agent| job.agents.contains(agent));
        let jobs = of_room(&self.jobs, room).filter(|(_, job)| is_its(job));
        let keys: Vec<_> = jobs.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.with(&key, now, sessions, out, |job, cx| job.check(room, cx.sessions, now));
        }
    }

    /// Notes that the server's analytics are connected.
    pub fn hear_analytics(&mut self, now: Time) {
        self.analytics = Some(now);
    }

    /// Applies a stats window that was received at `now`.
    pub fn window(
        &mut self,
        stat: &StreamStat,
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) {
        if self.jobs.is_empty() || !stat.is_media() {
            return;
        }
        let mut jobs = of_room(&self.jobs, &stat.room).peekable();
        if jobs.peek().is_none() {
            return;
        }
        self.windows.add(stat, now);
        let waiting = jobs.filter(|(_, job)| !job.turns.is_empty());
        let keys: Vec<_> = waiting.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.with(&key, now, sessions, out, |job, cx| job.plan_turns(cx));
        }
    }

    /// The trace and the span of an exemplar, for a point with these facts: where that span leaves.
    pub fn exemplar(&self, facts: &Facts, context: (TraceId, SpanId)) -> (TraceId, SpanId) {
        let key = Key::of(facts).or_else(|| self.by_trace.get(&context.0).cloned());
        let Some(key) = key else { return context };
        let own = self.jobs.get(&key).map(|job| (job.mode, job.own.get(context.1)));
        let is_joined = match own.and_then(|(mode, _)| mode) {
            Some(mode) => mode == Mode::Join,
            None => self.traces == AgentTraces::Join,
        };
        let trace = own.and_then(|(_, own)| own).unwrap_or_else(|| ids::trace(&key.room));
        (if is_joined { trace } else { context.0 }, context.1)
    }

    /// Whether the sessions' span is that of a room that was inferred here.
    pub fn has_inferred(&self, span: &Span) -> bool {
        self.inferred.has(span)
    }

    /// Releases everything that is due at `now`.
    pub fn tick(&mut self, now: Time, sessions: &mut Sessions, out: &mut Foreign) {
        self.count_absent(now, false);
        while let Some((_, key)) = self.deadlines.first().filter(|(at, _)| *at <= now).cloned() {
            let is_over = self.with(&key, now, sessions, out, |job, cx| {
                job.release_logs(Some(now), cx);
                job.release_turns(Some(now), cx);
                job.check(&key.room, cx.sessions, now);
                job.count_end(now, false, cx);
                job.forget_at().is_some_and(|at| at <= now)
            });
            let job = self.jobs.get(&key);
            let is_due = job.and_then(|job| job.finish_at()).is_some_and(|at| at <= now);
            if is_due {
                self.finish(&key, None, now, sessions, out);
            } else if is_over {
                self.forget(&key);
            }
        }
    }

    /// When [`Agents::tick`] is due next.
    pub fn next_deadline(&self) -> Option<Time> {
        let absent = self.absent.as_ref().and_then(Absent::next_deadline);
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(absent).min()
    }

    /// Releases everything, and infers what is missing by `rule`.
    pub fn close(
        &mut self,
        now: Time,
        rule: &'static str,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) {
        self.count_absent(now, true);
        // They stay, for the exemplars of a last flush.
        let keys: Vec<_> = self.jobs.keys().cloned().collect();
        for key in keys {
            self.finish(&key, Some(rule), now, sessions, out);
        }
    }

    // Infers what is missing of a job, by its own rule if it has ended.
    fn finish(
        &mut self,
        key: &Key,
        rule: Option<&'static str>,
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
    ) {
        let inferred = &mut std::mem::take(&mut self.inferred);
        self.with(key, now, sessions, out, |job, cx| {
            let rule = job.rule().or(rule).unwrap_or(END_BY_SILENCE);
            job.release_logs(None, cx);
            job.finish(rule, cx);
            job.learnt.settle(&mut cx.values());
            job.count_end(now, true, cx);
            let lacks_room = std::mem::take(&mut job.lacks_room) && !cx.sessions.knows(&key.room);
            if lacks_room && inferred.add(&key.room, now) {
                job.room(rule, cx);
            }
        });
        self.inferred = std::mem::take(inferred);
    }

    // Forgets a job of which nothing is due.
    fn forget(&mut self, key: &Key) {
        let Some(job) = self.jobs.remove(key) else { return };
        self.deadlines.remove(&(job.due, key.clone()));
        self.count_out(&job);
        for trace in &job.traces {
            if self.by_trace.get(trace) == Some(key) {
                self.by_trace.remove(trace);
            }
        }
    }

    // Changes a job, which is created if necessary, and plans when it is due.
    fn with<T>(
        &mut self,
        key: &Key,
        now: Time,
        sessions: &mut Sessions,
        out: &mut Foreign,
        change: impl FnOnce(&mut Job, &mut Context<'_>) -> T,
    ) -> T {
        let known = self.jobs.remove(key);
        if let Some(job) = &known {
            self.deadlines.remove(&(job.due, key.clone()));
            self.count_out(job);
        }
        let mut job = known.unwrap_or_else(|| {
            let is_counted = self.absent.as_ref().is_some_and(|absent| absent.has(key));
            Box::new(Job::new(is_counted, now))
        });
        // An open room counts those of its jobs itself.
        let is_counted = sessions.job_spans(&key.room).is_some();
        let most = if is_counted { 0 } else { MOST_OTHERS };
        let others = of_room(&self.jobs, &key.room).take(most).map(|(_, job)| job.placed);
        let mut context = Context {
            room: &key.room,
            job: &key.job,
            traces: self.traces,
            max_spans: self.max_spans,
            of_others: others.sum(),
            now,
            windows: &self.windows,
            has_analytics: self.analytics.is_some_and(|at| now.since(at) < network::CONNECTED),
            derived: &mut self.derived,
            sessions,
            out,
        };
        let result = change(&mut job, &mut context);
        let mut held = self.held;
        held += job.held.size();
        if !held.fits(held::MOST) {
            job.release_held(&mut context);
        }
        let mut waiting = self.turns;
        waiting += job.turns.size();
        let of_job = job.turns.size().records;
        if !waiting.fits(turns::MOST) || of_job > turns::MOST_OF_JOB {
            job.release_turns(None, &mut context);
        }
        job.due = job.next_deadline();
        self.deadlines.insert((job.due, key.clone()));
        self.count_in(&job);
        self.jobs.insert(key.clone(), job);
        result
    }

    // Adds a job of a snapshot.
    fn insert(&mut self, key: Key, job: Box<Job>) {
        for trace in &job.traces {
            self.by_trace.entry(*trace).or_insert_with(|| key.clone());
        }
        self.deadlines.insert((job.due, key.clone()));
        self.count_in(&job);
        self.jobs.insert(key, job);
    }

    fn count_in(&mut self, job: &Job) {
        self.waiting += job.waiting.size();
        self.held += job.held.size();
        self.turns += job.turns.size();
        self.weight += job.weight();
    }

    fn count_out(&mut self, job: &Job) {
        self.waiting -= job.waiting.size();
        self.held -= job.held.size();
        self.turns -= job.turns.size();
        self.weight -= job.weight();
    }
}

// The jobs in a room.
fn of_room<'a>(
    jobs: &'a BTreeMap<Key, Box<Job>>,
    room: &RoomSid,
) -> impl Iterator<Item = (&'a Key, &'a Job)> {
    // Without an allocation, as it is done for each stats window.
    let first = Key { room: room.clone(), job: Arc::default() };
    let room = room.clone();
    let of_it = jobs.range(first..).take_while(move |(key, _)| key.room == room);
    of_it.map(|(key, job)| (key, &**job))
}

fn is_same_job(a: &Facts, b: &Facts) -> bool {
    a.room == b.room && a.job == b.job
}
