//! How good the caller's network was in a turn, as it may be why the turn was slow.

use std::time::Duration;

use super::job::Job;
use super::names;
use super::place::{Context, redacted};
use super::windows::Side;
use livekit_otel_model::event::{Direction, Time};
use livekit_otel_model::foreign::ForeignSpan;
use livekit_otel_model::signal::Attribute;

// How long a turn waits: a server flushes its windows every 30 s, and a window ends up to 5 s before its flush
// (livekit-server, `telemetryStatsUpdateInterval` and `connectionquality.UpdateInterval`).
const WAIT: Duration = Duration::from_secs(35);
// How long after the first window that reaches to a turn's end: the flush's other windows follow it.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after the last message of the analytics they are regarded as connected: four flushes.
pub(super) const CONNECTED: Duration = Duration::from_mins(2);
// How many turns of users say who talks to the agent.
const MOST_CALLERS: usize = 16;

impl Job {
    /// Notes who speaks in a turn.
    pub(super) fn learn_caller(&mut self, span: &ForeignSpan) {
        if &*span.name == names::USER_TURN
            && let Some(sid) = &span.facts.participant
        {
            self.callers.insert((span.start, sid.clone()));
            if self.callers.len() > MOST_CALLERS {
                self.callers.pop_first();
            }
        }
    }

    // Who speaks in a turn of a user, and who listens in one of the agent: the one who spoke last before it.
    fn side(&self, turn: &ForeignSpan, cx: &Context<'_>) -> Option<Side> {
        let (speaker, direction) = match &*turn.name {
            names::USER_TURN => (turn.facts.participant.as_ref(), Direction::Upstream),
            names::AGENT_TURN => (None, Direction::Downstream),
            _ => return None,
        };
        let before = || self.callers.iter().rev().find(|(start, _)| *start <= turn.start);
        let participant = speaker
            .or_else(|| before().or_else(|| self.callers.first()).map(|(_, sid)| sid))
            .cloned()
            .or_else(|| cx.sessions.only_caller(cx.room, &self.agents))?;
        Some(Side { room: cx.room.clone(), participant, direction })
    }

    // Until when a turn waits that was received at that time.
    fn waits_until(&self, turn: &ForeignSpan, received: Time, cx: &Context<'_>) -> Time {
        let Some(side) = self.side(turn, cx) else { return received };
        let reached = cx.windows.reached(&side, turn.end);
        reached.map_or(received + WAIT, |at| (at + SETTLE).max(received))
    }

    /// Releases a span; a turn waits if the analytics are connected.
    pub(super) fn release(&mut self, span: ForeignSpan, cx: &mut Context<'_>) {
        let now = cx.now;
        let waits = cx.has_analytics && names::is_turn(&span.name);
        let due = if waits { self.waits_until(&span, now, cx) } else { now };
        if due > now {
            self.turns.push(due, span);
        } else {
            self.release_turn(span, cx);
        }
    }

    /// Plans anew when the turns are due, after a window was received.
    pub(super) fn plan_turns(&mut self, cx: &Context<'_>) {
        let mut turns = std::mem::take(&mut self.turns);
        turns.plan(|turn, due| self.waits_until(turn, cx.now, cx).min(due));
        self.turns = turns;
    }

    /// Releases the turns that are due at `now`; without a time, all.
    pub(super) fn release_turns(&mut self, now: Option<Time>, cx: &mut Context<'_>) {
        for turn in self.turns.due(now) {
            self.release_turn(turn, cx);
        }
    }

    fn release_turn(&self, mut span: ForeignSpan, cx: &mut Context<'_>) {
        span.added.extend(self.network(&span, cx));
        cx.out.spans.push(redacted(span, self.is_redacted));
    }

    /// How good the caller's network was in a turn, as far as it is known.
    pub(super) fn network(&self, turn: &ForeignSpan, cx: &Context<'_>) -> Vec<Attribute> {
        let side = self.side(turn, cx);
        side.map(|side| cx.windows.network(&side, (turn.start, turn.end))).unwrap_or_default()
    }
}
