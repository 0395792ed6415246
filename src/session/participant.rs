//! One participant of a room, from its signal connection until its spans have left.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attributes::attribute;
use super::callers::Callers;
use super::fact::Fact;
use super::reconcile::Presence;
use super::stamp::{Stamp, learn};
use super::track::{Answer, Description, Subscription, Track};
use crate::event::{
    Caller, Direction, Event, EventKind, Identity, NodeId, Participant as Info, StreamStat, Teller,
    Time, TrackSid,
};
use crate::interned::Name;
use crate::semconv::key;
use crate::signal::{Attribute, Value};

/// How a participant's end came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// It left after its media had connected.
    Left,
    /// Its media never connected.
    Aborted,
    /// Nobody told; the rule that set it.
    Inferred(#[serde(with = "crate::interned")] Name),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Participant {
    pub(super) first: Time,
    pub(super) newest: Time,
    pub(super) identity: Option<Identity>,
    pub(super) kind: Option<Arc<str>>,
    pub(super) node: Option<NodeId>,
    pub(super) joined: Option<Stamp>,
    pub(super) active: Option<Stamp>,
    pub(super) end: Option<(Stamp, End)>,
    pub(super) disconnect_reason: Option<Arc<str>>,
    pub(super) client: Vec<Attribute>,
    pub(super) callers: Callers,
    pub(super) connect_told: bool,
    pub(super) tracks: BTreeMap<TrackSid, Track>,
    pub(super) subscriptions: BTreeMap<TrackSid, Subscription>,
    // When its end became known here, from which the linger counts.
    ended_at: Option<Time>,
    last_window: Option<Time>,
    pub(super) released: bool,
    pub(super) presence: Presence,
}

impl Participant {
    pub(super) fn new(first: Time) -> Self {
        Self {
            first,
            newest: first,
            identity: None,
            kind: None,
            node: None,
            joined: None,
            active: None,
            end: None,
            disconnect_reason: None,
            client: Vec::new(),
            callers: Callers::default(),
            connect_told: false,
            tracks: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            ended_at: None,
            last_window: None,
            released: false,
            presence: Presence::default(),
        }
    }

    /// Takes in what an event says of the participant itself.
    pub(super) fn describe(&mut self, info: &Info, event: &Event) {
        if let Some(identity) = &info.identity {
            self.identity = Some(identity.clone());
        }
        if let Some(kind) = &info.kind {
            self.kind = Some(Arc::clone(kind));
        }
        if let Some(joined) = info.joined {
            self.joined = Some(Stamp::exact(joined));
            self.newest = self.newest.max(joined);
        }
        if let Some(reason) = &info.disconnect_reason {
            self.disconnect_reason = Some(Arc::clone(reason));
        }
        if let Some(node) = &event.node {
            self.node = Some(node.clone());
        }
        for detail in &event.details {
            let is_client = CLIENT_KEYS.contains(&detail.key);
            if is_client && !self.client.iter().any(|known| known.key == detail.key) {
                self.client.push(attribute(detail));
            }
        }
    }

    /// Notes the span that a call about it, or about a track that it publishes, was made in.
    pub(super) fn learn_caller(&mut self, event: &Event, caller: Caller) {
        let is_publication =
            matches!(event.kind, EventKind::TrackPublished | EventKind::TrackUnpublished);
        let track = event.track.as_ref().filter(|_| is_publication);
        match track.and_then(|track| self.tracks.get_mut(&track.sid)) {
            Some(track) => track.callers.add(caller),
            None => self.callers.add(caller),
        }
    }

    /// Applies an event of this participant. `now` is when it came, `stamp` when it happened.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        stamp: Stamp,
        now: Time,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        if self.released {
            return;
        }
        self.newest = self.newest.max(stamp.at);
        match event.kind {
            EventKind::ParticipantJoined => {
                learn(&mut self.joined, stamp);
                self.connect_told = true;
            }
            EventKind::ParticipantActive => self.on_active(event, stamp, facts),
            EventKind::ParticipantLeft => self.on_end(stamp, End::Left, now),
            EventKind::ParticipantConnectionAborted => self.on_end(stamp, End::Aborted, now),
            _ => {
                if let Some(track) = &event.track {
                    self.on_track(&track.sid, event, stamp, description, facts);
                }
            }
        }
    }

    fn on_active(&mut self, event: &Event, stamp: Stamp, facts: &mut Vec<Fact>) {
        let first = self.active.is_none_or(|active| !active.exact);
        // Only the analytics tell it to the millisecond; a migration tells it again.
        if first && event.teller == Teller::Analytics {
            self.connect_told = true;
            if let Some(joined) = self.joined {
                facts.push(Fact::Connected { took: stamp.at.since(joined.at), aborted: false });
            }
        }
        learn(&mut self.active, stamp);
    }

    /// Its end, told or inferred, became known at `now`.
    pub(super) fn on_end(&mut self, stamp: Stamp, end: End, now: Time) {
        match &mut self.end {
            Some((known, how)) => {
                let was_inferred = matches!(how, End::Inferred(_));
                if was_inferred || (stamp.exact && !known.exact) {
                    *known = stamp;
                }
                if was_inferred {
                    *how = end;
                }
            }
            None => {
                self.end = Some((stamp, end));
                self.ended_at = Some(now);
            }
        }
    }

    fn on_track(
        &mut self,
        sid: &TrackSid,
        event: &Event,
        stamp: Stamp,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        let at = stamp.at;
        match event.kind {
            EventKind::TrackPublishRequested => learn(&mut self.track(sid).requested, stamp),
            EventKind::TrackPublished => {
                let track = self.track(sid);
                // A webhook's whole second would measure nothing.
                let first = stamp.exact && track.published.is_none_or(|known| !known.exact);
                learn(&mut track.published, stamp);
                if let (true, Some(requested)) = (first, track.requested) {
                    let took = at.since(requested.at);
                    facts.push(Fact::Published { took, description: description.clone() });
                }
            }
            EventKind::TrackUnpublished => learn(&mut self.track(sid).unpublished, stamp),
            EventKind::TrackMuted => self.track(sid).mute(at),
            EventKind::TrackUnmuted => self.track(sid).unmute(at),
            EventKind::TrackPublishStats => {
                if let Some(totals) = &event.rtp {
                    self.track(sid).rtp.add(totals);
                }
            }
            EventKind::TrackSubscribeRequested => self.subscription(sid).request(stamp),
            EventKind::TrackSubscribed => {
                self.answered(sid, at, Answer::Subscribed, description, facts);
            }
            EventKind::TrackSubscribeFailed => {
                let answer = Answer::Failed(event.error.clone());
                self.answered(sid, at, answer, description, facts);
            }
            EventKind::TrackUnsubscribed => {
                self.subscription(sid).answer(at, Answer::Unsubscribed);
            }
            EventKind::TrackSubscribeStats => self.subscription(sid).rtp(),
            _ => {}
        }
    }

    fn answered(
        &mut self,
        sid: &TrackSid,
        at: Time,
        answer: Answer,
        description: &Description,
        facts: &mut Vec<Fact>,
    ) {
        let failed = matches!(answer, Answer::Failed(_));
        if let Some(took) = self.subscription(sid).answer(at, answer) {
            facts.push(Fact::Subscribed { took, failed, description: description.clone() });
        }
    }

    /// A track that it may be subscribed to went away.
    pub(super) fn on_unpublished(&mut self, sid: &TrackSid, at: Time) {
        if let Some(subscription) = self.subscriptions.get_mut(sid) {
            subscription.unpublish(at);
        }
    }

    /// Takes in a finished stats window of one of its streams.
    pub(super) fn window(&mut self, stat: &StreamStat) {
        if self.released {
            return;
        }
        self.last_window = self.last_window.max(stat.at);
        self.newest = self.newest.max(stat.end.unwrap_or(self.newest));
        if stat.direction == Direction::Upstream && stat.is_media() {
            self.track(&stat.track).window(stat);
        }
    }

    /// Sets an end that nobody told, not before what is known to have happened.
    pub(super) fn infer_end(&mut self, at: Time, rule: &'static str) {
        if self.end.is_none() {
            self.end = Some((Stamp { at, exact: false }, End::Inferred(rule)));
        }
    }

    /// When its signal connection was made, as far as that is known.
    pub(super) fn start(&self) -> Time {
        self.joined.map_or(self.first, |joined| joined.at)
    }

    /// When its end was told here, from which the linger counts; `None` while it is there.
    pub(super) fn ended_at(&self) -> Option<Time> {
        self.ended_at
    }

    /// Whether it has ended and all that tells of it is in: the windows flushed after its end, and
    /// the RTPStats of its tracks and subscriptions.
    pub(super) fn is_complete(&self) -> bool {
        let Some((end, _)) = self.end else { return false };
        end.exact
            && self.last_window.is_some_and(|at| at >= end.at)
            && self.tracks.values().all(Track::is_complete)
            && self.subscriptions.values().all(Subscription::is_complete)
    }

    /// Its spans have left: nothing of it is kept but that.
    pub(super) fn release(&mut self, facts: &mut Vec<Fact>) {
        if let Some((end, how)) = self.end {
            let took = end.at.since(self.start());
            let aborted = how == End::Aborted;
            facts.push(Fact::ParticipantEnded { took, aborted });
            if aborted && self.connect_told {
                facts.push(Fact::Connected { took, aborted });
            }
        }
        self.released = true;
        self.tracks = BTreeMap::new();
        self.subscriptions = BTreeMap::new();
        self.client = Vec::new();
    }

    fn track(&mut self, sid: &TrackSid) -> &mut Track {
        self.tracks.entry(sid.clone()).or_default()
    }

    fn subscription(&mut self, sid: &TrackSid) -> &mut Subscription {
        self.subscriptions.entry(sid.clone()).or_default()
    }
}

const CLIENT_KEYS: [&str; 7] = [
    key::CLIENT_SDK,
    key::CLIENT_VERSION,
    key::CLIENT_OS,
    key::CLIENT_CONNECTION_TYPE,
    key::CLIENT_CONNECT_TIME,
    key::CLIENT_COUNTRY,
    key::REGION,
];

/// The attributes of a participant's own span that say who it was.
pub(super) fn who(participant: &Participant, to: &mut Vec<Attribute>) {
    let mut text = |key, value: Option<Arc<str>>| {
        if let Some(value) = value {
            to.push(Attribute { key, value: Value::Text(value) });
        }
    };
    text(key::PARTICIPANT_IDENTITY, participant.identity.as_ref().map(Identity::shared));
    text(key::PARTICIPANT_KIND, participant.kind.clone());
    text(key::NODE_ID, participant.node.as_ref().map(NodeId::shared));
}
