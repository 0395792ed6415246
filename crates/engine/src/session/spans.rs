//! Spans of rooms and participants.

use std::sync::Arc;

use super::attributes::track_attributes;
use super::event_time::EventTime;
use super::failure;
use super::participant::{End, Participant, Reached, who};
use super::presence::Presence;
use super::room::Room;
use super::subscription::{Answer, Attempt};
use super::track::Track;
use crate::facts::{ParticipantUsage, TrackTimes};
use crate::ids;
use livekit_otel_model::event::{ParticipantSid, Time, TrackKind, TrackSid};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, Link, Span, SpanId, SpanKind, TraceId, Value};

/// The room's own span, the root of its trace.
pub(super) fn of_room(room: &Room) -> Span {
    let mut attributes = room_attributes(room);
    if let Some((_, node)) = &room.node {
        attributes.push(Attribute { key: key::NODE_ID, value: Value::Text(node.shared()) });
    }
    attributes.extend(room.end_reason.clone());
    reconciled(&room.presence, &mut attributes);
    inferred(room.end_inferred, &mut attributes);
    let start = room.start();
    let previous = room.previous.as_ref();
    let previous = previous.map(|sid| Link { trace_id: ids::trace(sid), span_id: ids::room(sid) });
    let before = room.lives.again.map(|life| life.before);
    let before = before.map(|span_id| Link { trace_id: ids::trace(&room.sid), span_id });
    Span {
        trace_id: ids::trace(&room.sid),
        span_id: room.span_id(),
        parent: None,
        name: span::ROOM,
        kind: SpanKind::Internal,
        start,
        end: room.end.map_or(room.newest, |end| room.at_end(end)).max(start),
        attributes,
        links: before.or(previous).into_iter().chain(room.callers.links()).collect(),
    }
}

/// A participant's span and those of its tracks and subscriptions, in the order of kinds and SIDs. Returns what it
/// used.
pub(super) fn of_participant(
    room: &Room,
    sid: &ParticipantSid,
    out: &mut Vec<Span>,
) -> Option<ParticipantUsage> {
    let participant = room.participants.get(sid)?;
    let (end, how) = participant
        .end
        .unwrap_or((EventTime { at: participant.newest, exact: false }, End::Inferred("")));
    let source = ParticipantSpans {
        room,
        sid,
        participant,
        trace_id: room.place(sid).0,
        span_id: ids::participant(&room.sid, sid),
        end: participant.at_end(end).max(participant.start()),
    };
    let own = source.own(how);
    let took = own.end.since(own.start);
    let (mut published, mut subscribed) = (TrackTimes::default(), TrackTimes::default());
    out.push(own);
    out.extend(source.connect(how));
    for (track_sid, track) in &participant.tracks {
        out.extend(source.publish(track_sid, track));
        if let Some(lived) = source.track(track_sid, track) {
            published.add(source.kind(track_sid), lived.end.since(lived.start));
            out.push(lived);
        }
    }
    for (track_sid, subscription) in &participant.subscriptions {
        let unpublished = room.unpublished(track_sid);
        let attempts = subscription.attempts(unpublished, Some(source.end));
        for (index, attempt) in attempts.iter().enumerate() {
            out.push(source.subscribe(track_sid, attempt, index + 1));
            let Some((start, end)) = source.subscribed(attempt) else { continue };
            subscribed.add(source.kind(track_sid), end.since(start));
            if participant.of_an_attempt > 1 {
                out.push(source.subscription(track_sid, attempt, index + 1, (start, end)));
            }
        }
    }
    let (room, room_name, kind) = (room.sid.clone(), room.name.clone(), participant.known_kind());
    Some(ParticipantUsage { room, room_name, kind, took, published, subscribed })
}

// The rule for a track or an attempt that outlived its participant.
const END_BY_PARTICIPANT: &str = "participant_left";

// What all spans of one participant share.
struct ParticipantSpans<'a> {
    room: &'a Room,
    sid: &'a ParticipantSid,
    participant: &'a Participant,
    trace_id: TraceId,
    span_id: SpanId,
    end: Time,
}

impl ParticipantSpans<'_> {
    fn span(&self, name: &'static str, span_id: SpanId, start: Time, end: Time) -> Span {
        let mut attributes = room_attributes(self.room);
        attributes
            .push(Attribute { key: key::PARTICIPANT_ID, value: Value::Text(self.sid.shared()) });
        who(self.participant, &mut attributes);
        Span {
            trace_id: self.trace_id,
            span_id,
            parent: Some(self.span_id),
            name,
            kind: SpanKind::Internal,
            start,
            end: end.max(start),
            attributes,
            links: Vec::new(),
        }
    }

    fn own(&self, how: End) -> Span {
        let start = self.participant.start();
        let mut own = self.span(span::PARTICIPANT, self.span_id, start, self.end);
        let of_room = Link { trace_id: ids::trace(&self.room.sid), span_id: self.room.span_id() };
        own.parent = None;
        if self.participant.own_trace {
            own.links.push(of_room);
        } else {
            own.parent = Some(of_room.span_id);
        }
        own.links.extend(self.room.session_before(self.sid, self.participant));
        own.links.extend(self.participant.callers.links());
        own.attributes.extend(self.participant.client.iter().cloned());
        self.totals(&mut own.attributes);
        let reason = self.participant.disconnect_reason.as_ref();
        if let Some(reason) = reason {
            own.attributes.push(Attribute::new(key::DISCONNECT_REASON, Arc::clone(reason)));
        }
        reconciled(&self.participant.presence, &mut own.attributes);
        let aborted = how == End::Aborted;
        if let Some((error_type, message)) =
            failure::of_participant(aborted, reason.map(|reason| &**reason))
        {
            failed(&mut own, error_type, Some(message.into()));
        }
        if let End::Inferred(rule) = how {
            inferred(Some(rule), &mut own.attributes);
        }
        own
    }

    fn totals(&self, to: &mut Vec<Attribute>) {
        let participant = self.participant;
        let counts = [
            (key::PARTICIPANT_RESUMES, participant.resumes),
            (key::PARTICIPANT_MIGRATIONS, participant.actives.saturating_sub(1)),
            (key::SPANS_LEFT_OUT, participant.left_out),
        ];
        for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            to.push(Attribute::new(key, count));
        }
    }

    // From signal to media: only the analytics report both.
    fn connect(&self, how: End) -> Option<Span> {
        if !self.participant.has_connect {
            return None;
        }
        self.participant.joined?;
        let active = self.participant.active.filter(|active| active.exact);
        if active.is_none() && how != End::Aborted {
            return None;
        }
        let end = active.map_or(self.end, |active| active.at);
        let id = ids::connect(&self.room.sid, self.sid);
        let mut connect = self.span(span::PARTICIPANT_CONNECT, id, self.participant.start(), end);
        let result = if active.is_some() { "active" } else { "aborted" };
        connect.attributes.push(Attribute::new(key::CONNECT_RESULT, result));
        if active.is_none() {
            let reached = match self.participant.reached {
                Some(Reached::Joined | Reached::Active) => "joined",
                Some(Reached::Joining) | None => "joining",
            };
            connect.attributes.push(Attribute::new(key::CONNECT_REACHED, reached));
            let (error_type, message) = failure::ABORTED;
            failed(&mut connect, error_type, Some(message.into()));
        }
        Some(connect)
    }

    fn publish(&self, sid: &TrackSid, track: &Track) -> Option<Span> {
        let requested = track.requested?;
        let id = ids::publish(&self.room.sid, self.sid, sid);
        let end = track.published.map_or(self.end, |published| published.at);
        let mut publish = self.span(span::TRACK_PUBLISH, id, requested.at, end);
        self.describe_track(sid, &mut publish.attributes);
        let result = if track.published.is_some() { "published" } else { "unknown" };
        publish.attributes.push(Attribute::new(key::PUBLISH_RESULT, result));
        if track.published.is_none() {
            inferred(Some(END_BY_PARTICIPANT), &mut publish.attributes);
        }
        Some(publish)
    }

    fn track(&self, sid: &TrackSid, track: &Track) -> Option<Span> {
        if !track.was_published() {
            return None;
        }
        let start = track.published.or(track.requested);
        let start = start.map_or_else(|| self.participant.start(), |time| self.raised(time));
        let end = track.unpublished.map_or(self.end, |unpublished| self.raised(unpublished));
        let id = ids::track(&self.room.sid, self.sid, sid);
        let mut lived = self.span(span::TRACK, id, start, end);
        lived.links.extend(track.callers.links());
        let attributes = &mut lived.attributes;
        self.describe_track(sid, attributes);
        let (mutes, muted) = track.mutes.until(end);
        attributes.push(Attribute::new(key::TRACK_MUTES, mutes));
        attributes.push(Attribute::new(key::TRACK_MUTED_DURATION, muted.as_secs_f64()));
        let changes = [
            (key::TRACK_UPDATES, track.updates),
            (key::TRACK_QUALITY_CHANGES, track.quality_changes),
        ];
        for (key, count) in changes.into_iter().filter(|(_, count)| *count > 0) {
            attributes.push(Attribute::new(key, count));
        }
        track.windows.attributes(attributes);
        track.rtp.attributes(attributes);
        if track.unpublished.is_none() {
            inferred(Some(END_BY_PARTICIPANT), attributes);
        }
        Some(lived)
    }

    fn subscribe(&self, sid: &TrackSid, attempt: &Attempt, nth: usize) -> Span {
        let id = ids::subscribe(&self.room.sid, self.sid, sid, nth);
        let end = attempt.answer.as_ref().map_or(self.end, |(at, _)| *at);
        let mut asked = self.span(span::TRACK_SUBSCRIBE, id, attempt.requested, end);
        self.describe_track(sid, &mut asked.attributes);
        self.link_track(sid, &mut asked);
        asked.attributes.push(Attribute::new(key::ATTEMPTS, attempt.times));
        let result = match &attempt.answer {
            Some((_, Answer::Subscribed)) => Some("subscribed"),
            Some((_, Answer::Failed(message))) => {
                failed(&mut asked, "subscribe_failed", message.clone());
                Some("failed")
            }
            Some((_, Answer::Unsubscribed)) => Some("unsubscribed"),
            Some((_, Answer::Unpublished)) => Some("track_unpublished"),
            None => None,
        };
        match result {
            Some(result) => {
                asked.attributes.push(Attribute::new(key::SUBSCRIBE_RESULT, result));
            }
            None => inferred(Some(END_BY_PARTICIPANT), &mut asked.attributes),
        }
        asked
    }

    // When the subscription began and ended, if the attempt led to one.
    fn subscribed(&self, attempt: &Attempt) -> Option<(Time, Time)> {
        let start = attempt.subscribed()?;
        Some((start, attempt.ended.unwrap_or(self.end).max(start)))
    }

    fn subscription(
        &self,
        sid: &TrackSid,
        attempt: &Attempt,
        nth: usize,
        (start, end): (Time, Time),
    ) -> Span {
        let id = ids::subscription(&self.room.sid, self.sid, sid, nth);
        let mut lived = self.span(span::SUBSCRIPTION, id, start, end);
        self.describe_track(sid, &mut lived.attributes);
        self.link_track(sid, &mut lived);
        if attempt.ended.is_none() {
            inferred(Some(END_BY_PARTICIPANT), &mut lived.attributes);
        }
        lived
    }

    fn kind(&self, sid: &TrackSid) -> Option<TrackKind> {
        self.room.catalog.get(sid)?.description.kind()
    }

    // Links the publisher's span of the track.
    fn link_track(&self, sid: &TrackSid, span: &mut Span) {
        let entry = self.room.catalog.get(sid);
        if let Some(publisher) = entry.and_then(|entry| entry.publisher.as_ref()) {
            span.attributes.push(Attribute::new(key::PUBLISHER_ID, publisher.shared()));
            let span_id = ids::track(&self.room.sid, publisher, sid);
            span.links.push(Link { trace_id: self.room.place(publisher).0, span_id });
        }
    }

    // A whole second may be before the participant's start.
    fn raised(&self, time: EventTime) -> Time {
        time.raised(self.participant.start())
    }

    fn describe_track(&self, sid: &TrackSid, to: &mut Vec<Attribute>) {
        to.push(Attribute::new(key::TRACK_ID, sid.shared()));
        if let Some(entry) = self.room.catalog.get(sid) {
            track_attributes(&entry.description, to);
        }
    }
}

/// The attributes that identify a room on all of its records.
pub(super) fn room_attributes(room: &Room) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::new(key::ROOM_ID, room.sid.shared())];
    if let Some(name) = &room.name {
        attributes.push(Attribute::new(key::ROOM_NAME, name.shared()));
    }
    attributes
}

fn reconciled(presence: &Presence, to: &mut Vec<Attribute>) {
    if presence.reconciled {
        to.push(Attribute::new(key::RECONCILED, true));
    }
}

fn inferred(rule: Option<&'static str>, to: &mut Vec<Attribute>) {
    if let Some(rule) = rule {
        to.push(Attribute::new(key::END_INFERRED, rule));
    }
}

fn failed(span: &mut Span, error_type: impl Into<Arc<str>>, message: Option<Arc<str>>) {
    let error_type = error_type.into();
    failure::attributes(&error_type, message, &mut span.attributes);
}
