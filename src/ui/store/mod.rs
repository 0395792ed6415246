//! The data behind the pages: the newest rooms, and operations outside of rooms, bounded by number and
//! bytes. Sans-IO.

mod apart;
mod bar;
#[cfg(test)]
mod joins_tests;
mod limits;
mod live;
mod open;
mod room;
#[cfg(test)]
mod tests;
mod turns;
mod windows;
#[cfg(test)]
mod works_tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use apart::Apart;
pub(super) use bar::Bar;
pub(super) use limits::Limits;
pub(super) use live::WORK_IDS;
pub(super) use room::{Room, State};
pub(super) use turns::{Cause, Failure, Part, Stage, Turn, What};
pub(super) use windows::{Window, Windows};

use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Span};
use livekit_otel_pipeline::{AgentJob, Passed};
use livekit_otel_tools::labels::AttributeLookup;

// An open room without a report for this long may be removed for another.
const IDLE: Duration = Duration::from_mins(10);

/// The rooms.
#[derive(Debug, Default)]
pub(super) struct Store {
    limits: Limits,
    rooms: HashMap<Arc<str>, Room>,
    apart: Apart,
    // Of the rooms.
    bytes: usize,
    left_out: u64,
    // When the newest record was received.
    now: Option<Time>,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds records.
    pub(super) fn add(&mut self, passed: Passed) {
        match passed {
            Passed::Logs(logs) => logs.into_iter().for_each(|record| self.log(record)),
            Passed::Spans(spans) => spans.into_iter().for_each(|span| self.span(span)),
            Passed::Windows(windows, now) => {
                self.now = self.now.max(Some(now));
                for stat in windows {
                    let sid = stat.room.shared();
                    let at = (stat.at.unwrap_or(now), now);
                    self.with(&sid, at, |room, limits| room.window(&stat, now, limits));
                }
            }
            Passed::Agents(spans, errors) => {
                for span in spans {
                    let at = span.end;
                    let of = span.of.clone();
                    self.with_agent(&of, at, |room, limits| room.agent_span(span, limits));
                }
                for error in errors {
                    let take = |room: &mut Room, limits: &Limits| room.agent_error(&error, limits);
                    self.with_agent(&error.of, error.time, take);
                }
            }
        }
    }

    fn log(&mut self, record: LogRecord) {
        self.now = self.now.max(Some(record.observed));
        let at = (record.time, record.observed);
        let Some(sid) = sid(&record.attributes) else {
            self.apart.log(&record, &self.limits);
            return;
        };
        let works = self.apart.leave(&record);
        self.with(&sid, at, |room, limits| {
            for (subject, bar) in works {
                room.adopt(subject, bar);
            }
            room.log(record, limits);
        });
    }

    fn span(&mut self, span: Span) {
        // Deliveries have traces of their own; one that went well says nothing of the call.
        if span.name == span::WEBHOOK_DELIVERY && span.failure().is_none() {
            return;
        }
        let at = (span.end, self.now.unwrap_or(span.end));
        let Some(sid) = sid(&span.attributes) else {
            self.apart.span(span, &self.limits);
            return;
        };
        self.apart.close(&span);
        self.with(&sid, at, |room, limits| room.span(span, limits));
    }

    // As in the engine, plain OTLP opens no room.
    fn with_agent(&mut self, of: &AgentJob, at: Time, take: impl FnOnce(&mut Room, &Limits)) {
        let sid = of.room.shared();
        if !of.is_plain || self.rooms.contains_key(&sid) {
            self.with(&sid, (at, self.now.unwrap_or(at)), take);
        }
    }

    fn with(
        &mut self,
        sid: &Arc<str>,
        (at, observed): (Time, Time),
        take: impl FnOnce(&mut Room, &Limits),
    ) {
        let is_new = !self.rooms.contains_key(sid);
        while self.bytes() > self.limits.bytes || is_new && self.rooms.len() >= self.limits.rooms {
            let Some(place) = self.dispensable(sid) else {
                self.left_out += 1;
                return;
            };
            self.bytes -= self.rooms.remove(&place).map_or(0, |room| room.bytes);
        }
        let new = || Room::new(sid, at, observed);
        let room = self.rooms.entry(Arc::clone(sid)).or_insert_with(new);
        let before = if is_new { 0 } else { room.bytes };
        take(room, &self.limits);
        self.bytes = self.bytes + room.bytes - before;
    }

    // The room to remove for another: one that is over or idle. Rooms without failures are removed
    // first, then those whose last report is oldest. None if all others are open.
    fn dispensable(&self, not: &str) -> Option<Arc<str>> {
        let is_idle = |room: &Room| self.now.is_some_and(|now| now.since(room.observed) > IDLE);
        #[expect(clippy::disallowed_methods, reason = "the least by a total order")]
        let others = self.rooms.iter().filter(|(sid, _)| &***sid != not);
        let over = others.filter(|(_, room)| room.state() == State::Over || is_idle(room));
        let least = over.min_by_key(|(sid, room)| (room.has_failed(), room.observed, *sid));
        least.map(|(sid, _)| Arc::clone(sid))
    }

    /// The room `sid`.
    pub(super) fn room(&self, sid: &str) -> Option<&Room> {
        self.rooms.get(sid)
    }

    /// All rooms: open ones first, then the newest first.
    pub(super) fn rooms(&self) -> Vec<&Room> {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let mut rooms: Vec<_> = self.rooms.values().collect();
        rooms.sort_by_key(|room| {
            (room.state() == State::Over, std::cmp::Reverse(room.start()), Arc::clone(&room.sid))
        });
        rooms
    }

    /// What is known outside of rooms.
    pub(super) fn apart(&self) -> &Apart {
        &self.apart
    }

    /// How many bytes are held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.apart.bytes()
    }

    /// How many records were left out for lack of space.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Its limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn sid(attributes: &[Attribute]) -> Option<Arc<str>> {
    attributes.text(key::ROOM_ID).map(Arc::from)
}
