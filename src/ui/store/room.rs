//! The data of one room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::bar::{Bar, bytes};
use super::limits::Limits;
use super::live::{self, Step, Subject, WORKS};
use super::open::Open;
use super::turns::Agents;
use super::windows::{Window, Windows};
use livekit_otel_model::event::{Direction, StreamStat, Time};
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Span};
use livekit_otel_pipeline::{AgentError, AgentSpan};
use livekit_otel_tools::causes::Causes;
use livekit_otel_tools::labels::AttributeLookup;

/// The state of a room or a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ui) enum State {
    /// It is open.
    Open,
    /// It has ended, and its span waits for the last stats.
    Ending,
    /// It has ended, and its span was sent.
    Over,
}

/// A room.
#[derive(Debug)]
pub(in crate::ui) struct Room {
    pub(in crate::ui) sid: Arc<str>,
    pub(in crate::ui) name: Option<Arc<str>>,
    // Sent spans, in the order in which they were sent.
    sent: Vec<Bar>,
    open: Open,
    identities: BTreeMap<Arc<str>, Arc<str>>,
    // Upstream and downstream.
    quality: BTreeMap<Arc<str>, [Windows; 2]>,
    /// What its agents reported.
    pub(in crate::ui) agents: Agents,
    /// The newest events above debug severity.
    pub(in crate::ui) events: VecDeque<LogRecord>,
    /// How many spans were left out for lack of space.
    pub(in crate::ui) spans_left_out: u64,
    pub(in crate::ui) events_forgotten: u64,
    // The newest reported time, and when it was received.
    reported: Time,
    pub(super) observed: Time,
    pub(super) bytes: usize,
    failed_sent: usize,
    is_sent: bool,
    // The participants whose spans were sent.
    sent_participants: BTreeSet<String>,
    // The operations whose spans are in `sent`.
    sent_works: BTreeSet<Subject>,
}

impl Room {
    pub(super) fn new(sid: &str, at: Time, observed: Time) -> Self {
        Self {
            sid: sid.into(),
            name: None,
            sent: Vec::new(),
            open: Open::default(),
            identities: BTreeMap::new(),
            quality: BTreeMap::new(),
            agents: Agents::default(),
            events: VecDeque::new(),
            spans_left_out: 0,
            events_forgotten: 0,
            reported: at,
            observed,
            bytes: size_of::<Self>() + sid.len(),
            failed_sent: 0,
            is_sent: false,
            sent_participants: BTreeSet::new(),
            sent_works: BTreeSet::new(),
        }
    }

    /// Adds a finished span. The span of a participant or of the room closes all their open spans, but
    /// for operations, which have their own ends.
    pub(super) fn span(&mut self, span: Span, limits: &Limits) {
        let bar = Bar::of(span);
        self.learn(&bar.attributes);
        self.reported = self.reported.max(bar.end.unwrap_or(bar.start));
        match (bar.name, bar.participant()) {
            (span::ROOM, _) => {
                self.is_sent = true;
                self.close(|(name, ..)| !WORKS.contains(name));
            }
            (span::PARTICIPANT, Some(sid)) => {
                let sid = sid.to_owned();
                self.close(|(_, participant, _)| *participant == sid);
                self.bytes += sid.len();
                self.sent_participants.insert(sid);
            }
            _ => {
                if let Some(subject) = bar.subject() {
                    self.close(|open| *open == subject);
                }
            }
        }
        // Failures, participants and the room have extra space.
        let matters = bar.failed() || matches!(bar.name, span::ROOM | span::PARTICIPANT);
        let most = if matters { limits.spans + limits.spans / 4 } else { limits.spans };
        if self.sent.len() >= most {
            self.spans_left_out += 1;
            return;
        }
        self.failed_sent += usize::from(bar.failed());
        self.bytes += bar.bytes();
        if let Some(subject) = bar.subject().filter(|_| bar.is_work()) {
            self.bytes += subject.1.len() + subject.2.len();
            self.sent_works.insert(subject);
        }
        self.sent.push(bar);
    }

    /// Adds a log record.
    pub(super) fn log(&mut self, record: LogRecord, limits: &Limits) {
        self.learn(&record.attributes);
        self.observe(record.time, record.observed);
        let before = self.open.bytes();
        for (step, name) in live::steps(&record.event_name) {
            self.step(*step, name, &record, limits);
        }
        self.bytes = self.bytes + self.open.bytes() - before;
        if record.severity == Severity::Debug {
            return;
        }
        self.bytes += size_of::<LogRecord>() + bytes(&record.attributes);
        let place = self.events.iter().rposition(|known| known.time <= record.time);
        self.events.insert(place.map_or(0, |at| at + 1), record);
        if self.events.len() > limits.events
            && let Some(old) = self.events.pop_front()
        {
            self.bytes -= size_of::<LogRecord>() + bytes(&old.attributes);
            self.events_forgotten += 1;
        }
    }

    /// Adds a stats window that was received at `now`.
    pub(super) fn window(&mut self, stat: &StreamStat, now: Time, limits: &Limits) {
        self.observe(stat.end.or(stat.at).unwrap_or(now), now);
        if let Some(name) = &stat.room_name {
            self.name.get_or_insert_with(|| name.shared());
        }
        if !stat.is_media() {
            return;
        }
        let who = stat.participant.shared();
        if !self.quality.contains_key(&who) && self.quality.len() >= limits.participants {
            return;
        }
        let windows = self.quality.entry(who).or_default();
        let windows = &mut windows[usize::from(stat.direction == Direction::Downstream)];
        let more = windows.add(stat, now, limits.windows);
        self.bytes = self.bytes.saturating_add_signed(more * size_of::<Window>().cast_signed());
    }

    /// Adds a finished span of an agent.
    pub(super) fn agent_span(&mut self, span: AgentSpan, limits: &Limits) {
        self.reported_by_agent(span.end);
        let change = self.agents.span(span, limits);
        self.bytes = self.bytes.saturating_add_signed(change);
    }

    /// Adds an error that an agent logged.
    pub(super) fn agent_error(&mut self, error: &AgentError, limits: &Limits) {
        self.reported_by_agent(error.time);
        let change = self.agents.error(error, limits);
        self.bytes = self.bytes.saturating_add_signed(change);
    }

    // Agents' clocks count only while the server has not reported the room.
    fn reported_by_agent(&mut self, at: Time) {
        if self.own().is_none() {
            self.reported = self.reported.max(at);
        }
    }

    fn observe(&mut self, at: Time, observed: Time) {
        self.reported = self.reported.max(at);
        self.observed = self.observed.max(observed);
    }

    fn learn(&mut self, attributes: &[Attribute]) {
        if let Some(name) = attributes.text(key::ROOM_NAME)
            && self.name.as_deref() != Some(name)
        {
            self.name = Some(name.into());
        }
        let who = attributes.text(key::PARTICIPANT_ID);
        if let Some((sid, identity)) = who.zip(attributes.text(key::PARTICIPANT_IDENTITY))
            && !self.identities.contains_key(sid)
        {
            self.bytes += 2 * size_of::<Arc<str>>() + sid.len() + identity.len();
            self.identities.insert(sid.into(), identity.into());
        }
    }

    fn step(&mut self, step: Step, name: &'static str, record: &LogRecord, limits: &Limits) {
        let id = record.context.map(|(_, id)| id);
        let Some(subject) = live::subject(name, &record.attributes, id) else { return };
        let is_known = self.open.has(&subject);
        if self.is_sent(&subject, is_known) || !is_known && !Open::opens(step, record) {
            return;
        }
        if !is_known && self.open.len() >= limits.spans {
            self.spans_left_out += 1;
            return;
        }
        self.open.apply(step, subject, record);
    }

    // A report after the span was sent opens nothing.
    fn is_sent(&self, subject: &Subject, is_open: bool) -> bool {
        if WORKS.contains(&subject.0) {
            return !is_open && self.sent_works.contains(subject);
        }
        self.is_sent || self.sent_participants.contains(&subject.1)
    }

    /// Adds an operation that ran outside of any room before.
    pub(super) fn adopt(&mut self, subject: Subject, bar: Bar) {
        let before = self.open.bytes();
        self.open.adopt(subject, bar);
        self.bytes = self.bytes + self.open.bytes() - before;
    }

    fn close(&mut self, is_sent: impl Fn(&Subject) -> bool) {
        let before = self.open.bytes();
        self.open.close(is_sent);
        self.bytes = self.bytes + self.open.bytes() - before;
    }

    /// Its state.
    pub(in crate::ui) fn state(&self) -> State {
        let own = self.open.get(&(span::ROOM, String::new(), String::new()));
        match own.map(|own| own.end) {
            _ if self.is_sent => State::Over,
            Some(Some(_)) => State::Ending,
            _ => State::Open,
        }
    }

    /// All bars, sent and open.
    pub(in crate::ui) fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.sent.iter().chain(self.open.bars())
    }

    /// The bar of the room itself.
    pub(in crate::ui) fn own(&self) -> Option<&Bar> {
        self.bars().find(|bar| bar.name == span::ROOM)
    }

    /// The bars that failed, each failure once, and operations that are stuck. What the agent of a job reports
    /// is among [`Agents::failed`].
    pub(in crate::ui) fn failed(&self) -> Vec<&Bar> {
        let mut causes = Causes::default();
        for bar in self.bars().filter(|bar| bar.failed()) {
            causes.add(bar.name, &bar.attributes[..]);
        }
        for job in self.agents.failed_jobs() {
            causes.add_reported(job, self.agent(Some(job)));
        }
        let counts = |bar: &&Bar| bar.failed() && !causes.explain(bar.name, &bar.attributes[..]);
        self.bars().filter(|bar| counts(bar) || bar.stuck().is_some()).collect()
    }

    /// The participant that is the agent of a job.
    pub(in crate::ui) fn agent(&self, job: Option<&str>) -> Option<&str> {
        let is_it = |bar: &&Bar| bar.name == span::AGENT_JOB && bar.text(key::JOB_ID) == job;
        let of_bar = || self.bars().find(is_it)?.participant();
        self.agents.agent(job).or_else(|| job.and_then(|_| of_bar()))
    }

    /// The records of failures that have no span.
    pub(in crate::ui) fn failed_records(&self) -> impl Iterator<Item = &LogRecord> {
        let failed = self.bars().filter(|bar| bar.failed() && bar.name == span::INGRESS);
        let failed: BTreeSet<&str> = failed.filter_map(Bar::work_id).collect();
        let has_span = move |record: &LogRecord| match &*record.event_name {
            event::API_CALL | event::WEBHOOK => true,
            // Its error is a kind of model. That of a transcription has no span.
            event::AGENT_SESSION_RECORDED => {
                let text = |key| record.attributes.text(key);
                self.agents.has_failed_model(text(key::JOB_ID), text(key::ERROR_TYPE))
            }
            // It repeats the error of the ingress's last session.
            event::INGRESS_DELETED => {
                record.attributes.text(key::INGRESS_ID).is_some_and(|id| failed.contains(id))
            }
            name => live::steps(name).iter().any(|(step, _)| *step == Step::Ends),
        };
        self.events
            .iter()
            .filter(move |record| record.severity == Severity::Error && !has_span(record))
    }

    /// How much failed of it, and of its agents.
    pub(in crate::ui) fn failures(&self) -> usize {
        self.failed().len() + self.agents.failures() + self.failed_records().count()
    }

    /// Whether anything failed.
    pub(super) fn has_failed(&self) -> bool {
        let is_open = || self.open.bars().any(|bar| bar.failed() || bar.stuck().is_some());
        self.failed_sent > 0 || self.agents.has_failed() || is_open()
    }

    /// The participants' SIDs and identities.
    pub(in crate::ui) fn identities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.identities.iter().map(|(sid, identity)| (&**sid, &**identity))
    }

    /// When it started; if that is unknown, when its first bar did.
    pub(in crate::ui) fn start(&self) -> Time {
        let start = self.own().or_else(|| self.bars().min_by_key(|bar| bar.start));
        let start = start.map(|bar| bar.start).or_else(|| self.agents.start());
        start.unwrap_or(self.reported)
    }

    /// When it ended. While it is open, the time in the room at `now`, which differs in a replay.
    pub(in crate::ui) fn end(&self, now: Time) -> Time {
        match self.own().and_then(|own| own.end) {
            Some(end) => end,
            None => self.reported + now.since(self.observed),
        }
    }

    /// The identity of the participant `sid`, or the SID if its identity is unknown.
    pub(in crate::ui) fn who<'a>(&'a self, sid: &'a str) -> &'a str {
        self.identities.get(sid).map_or(sid, |identity| identity)
    }

    /// A participant's windows, upstream and downstream.
    pub(in crate::ui) fn windows(&self, sid: &str) -> Option<&[Windows; 2]> {
        self.quality.get(sid)
    }

    /// The participants with stats windows.
    pub(in crate::ui) fn measured(&self) -> impl Iterator<Item = &str> {
        self.quality.keys().map(|sid| &**sid)
    }
}
