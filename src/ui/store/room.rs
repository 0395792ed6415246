//! The data of one room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::bar::{Bar, bytes};
use super::limits::Limits;
use super::live::{self, Step};
use super::turns::Agents;
use super::windows::{Window, Windows};
use livekit_otel_model::event::{Direction, StreamStat, Time};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Span};
use livekit_otel_pipeline::{AgentError, AgentSpan};
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

/// What identifies an open span: its name, a participant's SID and another id.
type Subject = (&'static str, String, String);

/// A room.
#[derive(Debug)]
pub(in crate::ui) struct Room {
    pub(in crate::ui) sid: Arc<str>,
    pub(in crate::ui) name: Option<Arc<str>>,
    // Sent spans, in the order in which they were sent.
    sent: Vec<Bar>,
    // Open spans.
    open: BTreeMap<Subject, Bar>,
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
}

impl Room {
    pub(super) fn new(sid: &str, at: Time, observed: Time) -> Self {
        Self {
            sid: sid.into(),
            name: None,
            sent: Vec::new(),
            open: BTreeMap::new(),
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
        }
    }

    /// Adds a finished span. The span of a participant or of the room closes all their open spans.
    pub(super) fn span(&mut self, span: Span, limits: &Limits) {
        let bar = Bar::of(span);
        self.learn(&bar.attributes);
        self.reported = self.reported.max(bar.end.unwrap_or(bar.start));
        match (bar.name, bar.participant()) {
            (span::ROOM, _) => {
                self.is_sent = true;
                self.drop_open(|_| true);
            }
            (span::PARTICIPANT, Some(sid)) => {
                let sid = sid.to_owned();
                self.drop_open(|(_, participant, _)| *participant == sid);
                self.bytes += sid.len();
                self.sent_participants.insert(sid);
            }
            (name, _) => {
                if let Some((participant, other)) = live::subject(name, &bar.attributes[..]) {
                    self.drop_open(|open| *open == (name, participant.clone(), other.clone()));
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
        self.sent.push(bar);
    }

    /// Adds a log record.
    pub(super) fn log(&mut self, record: LogRecord, limits: &Limits) {
        self.learn(&record.attributes);
        self.observe(record.time, record.observed);
        for (step, name) in live::steps(&record.event_name) {
            self.step(*step, name, &record, limits);
        }
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
        let Some((participant, other)) = live::subject(name, &record.attributes[..]) else {
            return;
        };
        let subject = (name, participant, other);
        let known = self.open.contains_key(&subject);
        // A report after the span was sent opens nothing.
        let is_late = self.is_sent || self.sent_participants.contains(&subject.1);
        if is_late || !known && step == Step::Ends {
            return;
        }
        if !known && self.open.len() >= limits.spans {
            self.spans_left_out += 1;
            return;
        }
        let bar = self.open.entry(subject).or_insert_with(|| Bar {
            name,
            sent: None,
            start: record.time,
            end: None,
            attributes: Vec::new(),
        });
        let before = if known { bar.bytes() } else { 0 };
        bar.learn(&record.attributes);
        match step {
            Step::Begins => bar.start = bar.start.min(record.time),
            Step::BeginsAgain if bar.end.is_some() => {
                (bar.start, bar.end) = (record.time, None);
                let of_failure = [key::ERROR_TYPE, key::ERROR];
                bar.attributes.retain(|attribute| !of_failure.contains(&attribute.key));
            }
            Step::BeginsAgain => {}
            Step::Ends => {
                bar.end = Some(record.time.max(bar.start));
                if let Some(error_type) = live::failure(record) {
                    bar.learn(&[Attribute::new(key::ERROR_TYPE, &*error_type)]);
                }
            }
        }
        self.bytes = self.bytes + bar.bytes() - before;
    }

    fn drop_open(&mut self, is_sent: impl Fn(&Subject) -> bool) {
        let bytes = &mut self.bytes;
        self.open.retain(|subject, bar| {
            let is_dropped = is_sent(subject);
            *bytes -= if is_dropped { bar.bytes() } else { 0 };
            !is_dropped
        });
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
        self.sent.iter().chain(self.open.values())
    }

    /// The bar of the room itself.
    pub(in crate::ui) fn own(&self) -> Option<&Bar> {
        self.bars().find(|bar| bar.name == span::ROOM)
    }

    /// How many of its bars failed, and what failed of its agents.
    pub(in crate::ui) fn failures(&self) -> usize {
        let open = self.open.values().filter(|bar| bar.failed()).count();
        self.failed_sent + open + self.agents.failures()
    }

    /// Whether anything failed.
    pub(super) fn has_failed(&self) -> bool {
        let is_open = || self.open.values().any(Bar::failed);
        self.failed_sent > 0 || self.agents.has_failed() || is_open()
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
