//! A room that goes on after its end was reported: under the same SID it was started again, or its
//! participants are still there.

use std::time::Duration;

use super::event_time::EventTime;
use super::lives::{Life, ONE_START};
use super::room::Room;
use crate::ids;
use livekit_otel_model::event::{Event, Time};
use livekit_otel_model::signal::SpanId;

// The clocks of two nodes that are both off by up to two minutes.
const SKEW: Duration = Duration::from_mins(4);

impl Room {
    /// Applies a reported start. One that is later than the room's first start, or than its creation, is
    /// a restart, and ends that were reported for a time before it are no longer the room's. Returns its
    /// time if it is a restart.
    pub(super) fn on_started(&mut self, event: &Event) -> Option<EventTime> {
        let reported = event.reported?;
        let at = EventTime { at: reported.at, exact: !reported.whole_seconds };
        let known = self.lives.restart();
        self.lives.start(at, self.created);
        let restart = self.lives.restart()?;
        let is_new = known.is_none_or(|known| restart.at.since(known.at) > ONE_START);
        if is_new && self.end.is_some_and(|end| !is_before(restart, end)) {
            self.go_on(restart);
        }
        (restart == at).then_some(at)
    }

    /// Whether an end that was reported for that time is that of a life before the last restart.
    pub(super) fn is_past(&self, end: EventTime) -> bool {
        self.lives.restart().is_some_and(|restart| is_before(end, restart))
    }

    /// Opens the room again if one of its participants, who began then, was still there at `newest`, and
    /// that was received at `now`: both so long after the room's end that neither clocks nor delays
    /// explain it.
    pub(super) fn outlived(&mut self, (began, newest): (Time, Time), now: Time) {
        let Some(end) = self.end.filter(|end| newest.since(end.at) > SKEW) else { return };
        if self.ended_at.or(self.closed_at).is_none_or(|at| now.since(at) <= SKEW) {
            return;
        }
        let at = EventTime::exact(began.max(end.at + ONE_START));
        self.lives.start(at, Some(self.start()));
        self.go_on(at);
    }

    fn go_on(&mut self, at: EventTime) {
        self.end = None;
        self.end_inferred = None;
        self.end_reason = None;
        self.ended_at = None;
        self.replaced_at = None;
        self.wake_at = None;
        self.newest = self.newest.max(at.at);
        if self.closed_at.take().is_some() {
            let before = self.span_id();
            self.lives.again = Some(Life { since: at.at, before });
        }
    }

    /// It was forgotten, and is started again at that time.
    pub(super) fn comes_back(&mut self, since: Time) {
        self.lives.again = Some(Life { since, before: ids::room(&self.sid) });
    }

    /// Its span. A life after one whose span was emitted has another.
    pub(super) fn span_id(&self) -> SpanId {
        match self.lives.again {
            Some(Life { since, .. }) => ids::room_again(&self.sid, since),
            None => ids::room(&self.sid),
        }
    }
}

// Times that are cut to the second are compared by the second.
fn is_before(a: EventTime, b: EventTime) -> bool {
    let second = |at: Time| at.nanos() / 1_000_000_000;
    if a.exact && b.exact { a.at < b.at } else { second(a.at) < second(b.at) }
}
