//! One participant of a room, from its signal connection until its spans are released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attributes::attribute;
use super::callers::Callers;
use super::calls::Call;
use super::event_time::{EventTime, began, ended};
use super::failure;
use super::presence::Presence;
use super::subscription::{Answer, Attempt, Subscription};
use super::track::Track;
use crate::facts::{Departure, Description, Fact};
use livekit_otel_model::event::{
    Caller, Direction, Event, EventKind, Identity, NodeId, Origin, Participant as Info, StreamStat,
    Time, TrackSid,
};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Value};

/// How a participant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// It left after its media had connected.
    Left,
    /// Its media never connected.
    Aborted,
    /// Its end is inferred by this rule.
    Inferred(#[serde(with = "livekit_otel_model::interned")] Name),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Participant {
    pub(super) first: Time,
    pub(super) newest: Time,
    pub(super) identity: Option<Identity>,
    pub(super) kind: Option<Arc<str>>,
    // The newest by the reported time.
    pub(super) node: Option<(Time, NodeId)>,
    pub(super) joined: Option<EventTime>,
    // What its attributes say of when it was requested.
    requested: Vec<Time>,
    pub(super) active: Option<EventTime>,
    // How often the analytics reported it as active: once, and for each migration.
    pub(super) actives: u64,
    pub(super) resumes: u64,
    pub(super) reached: Option<Reached>,
    pub(super) end: Option<(EventTime, End)>,
    pub(super) disconnect_reason: Option<Arc<str>>,
    pub(super) client: Vec<Attribute>,
    pub(super) callers: Callers,
    // Whether the analytics reported its connecting.
    pub(super) has_connect: bool,
    // Boxed, as a map of one entry has space for eleven.
    pub(super) tracks: BTreeMap<TrackSid, Box<Track>>,
    pub(super) subscriptions: BTreeMap<TrackSid, Subscription>,
    // Whether it has a trace of its own instead of the room's.
    pub(super) own_trace: bool,
    // How many spans it has so far, how many more its trace may have, and how many were left out.
    pub(super) spans: usize,
    pub(super) left: usize,
    pub(super) left_out: u64,
    // How many spans an attempt to subscribe may have.
    pub(super) of_an_attempt: usize,
    // When its end became known here: the start of the linger.
    ended_at: Option<Time>,
    last_window: Option<Time>,
    pub(super) released: bool,
    pub(super) presence: Presence,
    // Its SIP call, if it is of one.
    pub(super) sip: Option<Box<Call>>,
}

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Reached {
    Joining,
    Joined,
    Active,
}

/// The spans that each participant may have: its own and that of its connecting.
pub(super) const FIRST_SPANS: usize = 2;

// How many times of requests are kept, and how long before its join a request may be.
const REQUESTS: usize = 8;
const REQUESTED_WITHIN: Duration = Duration::from_mins(1);

impl Participant {
    pub(super) fn new(first: Time, own_trace: bool) -> Self {
        Self {
            first,
            newest: first,
            identity: None,
            kind: None,
            node: None,
            joined: None,
            requested: Vec::new(),
            active: None,
            actives: 0,
            resumes: 0,
            reached: None,
            end: None,
            disconnect_reason: None,
            client: Vec::new(),
            callers: Callers::default(),
            has_connect: false,
            tracks: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            own_trace,
            spans: FIRST_SPANS,
            left: 0,
            left_out: 0,
            of_an_attempt: 1,
            ended_at: None,
            last_window: None,
            released: false,
            presence: Presence::default(),
            sip: None,
        }
    }

    /// Applies an event's description of the participant itself.
    pub(super) fn describe(&mut self, info: &Info, event: &Event, at: Time) {
        if let Some(identity) = &info.identity {
            self.identity = Some(identity.clone());
        }
        if let Some(kind) = &info.kind {
            self.kind = Some(Arc::clone(kind));
        }
        if let Some(joined) = info.joined {
            self.joined = Some(EventTime::exact(joined));
            self.newest = self.newest.max(joined);
        }
        for at in &info.requested {
            if self.requested.len() < REQUESTS && !self.requested.contains(at) {
                self.requested.push(*at);
            }
        }
        if let Some(reason) = &info.disconnect_reason {
            self.disconnect_reason = Some(Arc::clone(reason));
        }
        if let Some(node) = &event.node
            && self.node.as_ref().is_none_or(|(reported, _)| *reported <= at)
        {
            self.node = Some((at, node.clone()));
        }
        let reached = match info.state.as_deref() {
            Some("JOINING") => Some(Reached::Joining),
            Some("JOINED") => Some(Reached::Joined),
            Some("ACTIVE") => Some(Reached::Active),
            _ => None,
        };
        self.reached = self.reached.max(reached);
        if let Some(span) = info.client_span {
            self.callers.add(span);
        }
        if let Some(call) = &info.sip {
            let left = matches!(
                event.kind,
                EventKind::ParticipantLeft | EventKind::ParticipantConnectionAborted
            );
            let known = self.sip.get_or_insert_with(|| Box::new(Call::new(Arc::clone(&call.id))));
            known.describe(call, left);
        }
        for detail in &event.details {
            if CLIENT_KEYS.contains(&detail.key)
                && let Err(place) = self.client.binary_search_by_key(&detail.key, |it| it.key)
            {
                self.client.insert(place, attribute(detail));
            }
        }
    }

    /// Notes the span in which a call about it, or about a track that it publishes, was made.
    pub(super) fn add_caller(&mut self, event: &Event, caller: Caller) {
        let is_publication =
            matches!(event.kind, EventKind::TrackPublished | EventKind::TrackUnpublished);
        let track = event.track.as_ref().filter(|_| is_publication);
        match track.and_then(|track| self.tracks.get_mut(&track.sid)) {
            Some(track) => track.callers.add(caller),
            None => self.callers.add(caller),
        }
    }

    /// Applies an event of this participant that happened at `time` and was received at `now`.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        time: EventTime,
        now: Time,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        if self.released {
            return;
        }
        self.first = self.first.min(time.at);
        self.newest = self.newest.max(time.at);
        match event.kind {
            EventKind::ParticipantJoined => {
                began(&mut self.joined, time);
                self.has_connect = true;
            }
            EventKind::ParticipantActive => self.on_active(event, time, facts),
            EventKind::ParticipantResumed => self.resumes += 1,
            EventKind::ParticipantLeft => self.on_end(time, End::Left, now),
            EventKind::ParticipantConnectionAborted => self.on_end(time, End::Aborted, now),
            _ => {
                if let Some(track) = &event.track {
                    self.on_track(&track.sid, event, time, description, facts);
                }
            }
        }
    }

    fn on_active(&mut self, event: &Event, time: EventTime, facts: &mut Vec<Fact>) {
        let first = self.active.is_none_or(|active| !active.exact);
        self.reached = self.reached.max(Some(Reached::Active));
        // Only the analytics report it to the millisecond; a migration reports it again.
        if event.origin == Origin::Analytics {
            self.actives += 1;
            self.has_connect = true;
            if first && self.joined.is_some() {
                facts.push(Fact::Connected { took: time.at.since(self.start()), aborted: false });
            }
        }
        self.became_active(time);
    }

    // Among exact times, or else among those cut to the second, the first after its join: after a
    // migration to a node whose clock is behind, it may be active before it joined.
    fn became_active(&mut self, time: EventTime) {
        let joined = self.joined.map(|joined| joined.at);
        let is_after = |time: EventTime| joined.is_none_or(|joined| time.raised(joined) >= joined);
        match self.active.filter(|known| known.exact == time.exact) {
            Some(known) if is_after(known) != is_after(time) => {
                self.active = Some(if is_after(known) { known } else { time });
            }
            _ => began(&mut self.active, time),
        }
    }

    /// Its end became known at `now`. A reported end wins over an inferred one.
    pub(super) fn on_end(&mut self, time: EventTime, how: End, now: Time) {
        let reported = self.end.filter(|(_, known)| !matches!(known, End::Inferred(_)));
        let mut at = reported.map(|(at, _)| at);
        ended(&mut at, time);
        self.end = at.map(|at| (at, reported.map_or(how, |(_, known)| known)));
        self.ended_at = self.ended_at.or(Some(now));
    }

    fn on_track(
        &mut self,
        sid: &TrackSid,
        event: &Event,
        time: EventTime,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        let at = time.at;
        match event.kind {
            EventKind::TrackSubscribeRequested => {
                self.subscribe(sid, |to| to.request(at), at, description, facts);
            }
            EventKind::TrackSubscribed => {
                self.subscribe(sid, |to| to.answer(at, Answer::Subscribed), at, description, facts);
            }
            EventKind::TrackSubscribeFailed => {
                let answer = Answer::Failed(event.error.clone());
                self.subscribe(sid, |to| to.answer(at, answer), at, description, facts);
            }
            EventKind::TrackUnsubscribed => {
                let answer = Answer::Unsubscribed;
                self.subscribe(sid, |to| to.answer(at, answer), at, description, facts);
            }
            EventKind::TrackSubscribeStats => {
                if let Some(subscription) = self.subscriptions.get_mut(sid) {
                    subscription.rtp(at);
                }
            }
            _ => self.on_published(sid, event, time, description, facts),
        }
    }

    fn on_published(
        &mut self,
        sid: &TrackSid,
        event: &Event,
        time: EventTime,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        let Some(track) = is_of_publisher(&event.kind).then(|| self.track(sid)).flatten() else {
            return;
        };
        let measured = track.publication();
        match event.kind {
            EventKind::TrackPublishRequested => began(&mut track.requested, time),
            EventKind::TrackPublished => began(&mut track.published, time),
            EventKind::TrackUnpublished => ended(&mut track.unpublished, time),
            EventKind::TrackMuted => track.mutes.record(time.at, true),
            EventKind::TrackUnmuted => track.mutes.record(time.at, false),
            EventKind::TrackPublishedUpdate => track.updates += 1,
            EventKind::TrackMaxSubscribedVideoQuality => track.quality_changes += 1,
            _ => {
                if let Some(totals) = &event.rtp {
                    track.rtp.add(totals);
                }
            }
        }
        if let (None, Some(took)) = (measured, track.publication()) {
            facts.push(Fact::Published { took, description: description.clone() });
        }
    }

    fn subscribe(
        &mut self,
        sid: &TrackSid,
        apply: impl FnOnce(&mut Subscription) -> Option<Attempt>,
        at: Time,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        let known = self.subscriptions.get(sid);
        if known.is_none_or(|known| known.is_further(at)) && !self.reserve(self.of_an_attempt) {
            return;
        }
        let attempt = apply(self.subscriptions.entry(sid.clone()).or_default());
        if let Some((took, failed)) = attempt.and_then(|attempt| attempt.answered()) {
            facts.push(Fact::Subscribed { took, failed, description: description.clone() });
        }
    }

    /// Applies a finished stats window of one of its streams.
    pub(super) fn window(&mut self, stat: &StreamStat) {
        if self.released {
            return;
        }
        self.last_window = self.last_window.max(stat.at);
        self.first = stat.start.map_or(self.first, |start| start.min(self.first));
        self.newest = self.newest.max(stat.end.unwrap_or(self.newest));
        if stat.direction == Direction::Upstream
            && stat.is_media()
            && let Some(track) = self.track(&stat.track)
        {
            track.window(stat);
        }
    }

    /// Sets an inferred end, if none is known.
    pub(super) fn infer_end(&mut self, at: Time, rule: &'static str) {
        if self.end.is_none() {
            self.end = Some((EventTime { at, exact: false }, End::Inferred(rule)));
        }
    }

    /// When it was requested, if its attributes say so and that is less than a minute before its signal
    /// connection was made; or else when that was made, or the first time known of it.
    pub(super) fn start(&self) -> Time {
        let there = self.joined.map_or(self.first, |joined| joined.at);
        let requested = self.requested.iter().filter(|at| there.since(**at) <= REQUESTED_WITHIN);
        requested.min().map_or(there, |at| there.min(*at))
    }

    /// When it ended: a whole second is raised to the newest time known of it, by less than a second. An
    /// inferred end is the newest time.
    pub(super) fn at_end(&self, end: EventTime) -> Time {
        let is_inferred = matches!(self.end, Some((_, End::Inferred(_))));
        let at = end.raised(self.newest);
        // By another node's clock it may have left before it joined.
        if is_inferred || at < self.start() { at.max(self.newest) } else { at }
    }

    /// When it began, and the newest time at which it was there, unless its spans were released.
    pub(super) fn there(&self) -> Option<(Time, Time)> {
        (!self.released).then(|| (self.start(), self.newest))
    }

    /// When its end became known here, which starts the linger; `None` while it is in the room.
    pub(super) fn ended_at(&self) -> Option<Time> {
        self.ended_at
    }

    /// Whether it has ended and everything of it was received: the windows flushed after its end, and
    /// the `RTPStats` of its tracks and subscriptions. `unpublished` returns when a track ended.
    pub(super) fn is_complete(&self, unpublished: impl Fn(&TrackSid) -> Option<Time>) -> bool {
        let Some((end, _)) = self.end else { return false };
        end.exact
            && self.last_window.is_some_and(|at| at >= end.at)
            && self.tracks.values().all(|track| track.is_complete())
            && self.subscriptions.iter().all(|(sid, of)| of.is_complete(unpublished(sid), end.at))
    }

    /// Drops what only its spans needed, once those are released.
    pub(super) fn release(&mut self, facts: &mut Vec<Fact>) {
        if let Some((end, how)) = self.end {
            let took = end.at.since(self.start());
            let aborted = how == End::Aborted;
            facts.push(Fact::ParticipantEnded {
                took,
                aborted,
                departure: self.departure(aborted),
            });
            if aborted && self.has_connect {
                facts.push(Fact::Connected { took, aborted });
            }
        }
        self.released = true;
        self.tracks = BTreeMap::new();
        self.subscriptions = BTreeMap::new();
        self.client = Vec::new();
    }

    fn departure(&self, aborted: bool) -> Departure {
        let reason = self.disconnect_reason.as_deref();
        Departure {
            reason: failure::known_reason(reason),
            kind: self.known_kind(),
            error_type: failure::of_participant(aborted, reason).map(|(error_type, _)| error_type),
        }
    }

    /// Its kind, if that is one of LiveKit's.
    pub(super) fn known_kind(&self) -> Option<Name> {
        let kind = self.kind.as_deref()?;
        KINDS.into_iter().find(|known| *known == kind)
    }

    // A track has two spans: its publication and its own.
    fn track(&mut self, sid: &TrackSid) -> Option<&mut Track> {
        if !self.tracks.contains_key(sid) && !self.reserve(2) {
            return None;
        }
        Some(self.tracks.entry(sid.clone()).or_default())
    }

    // Reserves spans in the trace; `false` if it has no more.
    fn reserve(&mut self, spans: usize) -> bool {
        if self.left < spans {
            self.left_out += 1;
            return false;
        }
        self.left -= spans;
        self.spans += spans;
        true
    }
}

// livekit_models.proto, `ParticipantInfo.Kind`.
const KINDS: [Name; 7] = ["STANDARD", "INGRESS", "EGRESS", "SIP", "AGENT", "CONNECTOR", "BRIDGE"];

const CLIENT_KEYS: [&str; 7] = [
    key::CLIENT_SDK,
    key::CLIENT_VERSION,
    key::CLIENT_OS,
    key::CLIENT_CONNECTION_TYPE,
    key::CLIENT_CONNECT_TIME,
    key::CLIENT_COUNTRY,
    key::REGION,
];

/// Whether an event of this kind happens to a track and its publisher.
pub(super) fn is_of_publisher(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::TrackPublishRequested
            | EventKind::TrackPublished
            | EventKind::TrackUnpublished
            | EventKind::TrackMuted
            | EventKind::TrackUnmuted
            | EventKind::TrackPublishedUpdate
            | EventKind::TrackMaxSubscribedVideoQuality
            | EventKind::TrackPublishStats
    )
}

/// The attributes that identify a participant on its spans.
pub(super) fn who(participant: &Participant, to: &mut Vec<Attribute>) {
    let mut text = |key, value: Option<Arc<str>>| {
        if let Some(value) = value {
            to.push(Attribute { key, value: Value::Text(value) });
        }
    };
    text(key::PARTICIPANT_IDENTITY, participant.identity.as_ref().map(Identity::shared));
    text(key::PARTICIPANT_KIND, participant.kind.clone());
    text(key::NODE_ID, participant.node.as_ref().map(|(_, node)| node.shared()));
}
