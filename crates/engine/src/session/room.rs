//! One room: its participants and the events reported of it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attributes::attribute;
use super::callers::Callers;
use super::dispatches::Dispatches;
use super::egresses::Egresses;
use super::event_time::{EventTime, ended};
use super::lives::Lives;
use super::participant::{FIRST_SPANS, Participant};
use super::presence::Presence;
use super::settings::{Settings, TraceScope};
use super::twins::{Subject, Twins};
use crate::facts::{Census, Description, Fact};
use crate::ids;
use livekit_otel_model::event::{
    Event, EventKind, Identity, NodeId, Origin, ParticipantSid, RoomName, RoomSid, StreamStat,
    Time, TrackSid,
};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Link, SpanId, TraceId};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CatalogEntry {
    pub(super) description: Description,
    pub(super) publisher: Option<ParticipantSid>,
    pub(super) unpublished: Option<Time>,
    pub(super) published: Option<Time>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) sid: RoomSid,
    pub(super) name: Option<RoomName>,
    // The newest by the reported time.
    pub(super) node: Option<(Time, NodeId)>,
    // The room of the same name before it.
    pub(super) previous: Option<RoomSid>,
    pub(super) first: Time,
    pub(super) newest: Time,
    pub(super) created: Option<Time>,
    pub(super) end: Option<EventTime>,
    #[serde(with = "livekit_otel_model::interned::option")]
    pub(super) end_inferred: Option<Name>,
    pub(super) end_reason: Option<Attribute>,
    pub(super) callers: Callers,
    #[serde(serialize_with = "crate::snapshot::in_order")]
    pub(super) participants: HashMap<ParticipantSid, Box<Participant>>,
    #[serde(serialize_with = "crate::snapshot::in_order")]
    pub(super) catalog: HashMap<TrackSid, CatalogEntry>,
    pub(super) twins: Twins,
    // The participants of each identity.
    #[serde(serialize_with = "crate::snapshot::in_order")]
    pub(super) identities: HashMap<Identity, Vec<ParticipantSid>>,
    // Participants that have ended and whose spans are not released yet, by when the end became known.
    pub(super) ending: BTreeSet<(Time, ParticipantSid)>,
    // Those of them that were updated since they were last checked.
    pub(super) touched: Vec<ParticipantSid>,
    pub(super) released: usize,
    // Participants that were released, by when, until only their span's id is kept.
    pub(super) leaving: VecDeque<(Time, ParticipantSid, Vec<TrackSid>)>,
    #[serde(serialize_with = "crate::snapshot::set_in_order")]
    pub(super) gone: HashSet<SpanId>,
    // How many spans its trace has, with those that are reserved and those of agents' jobs; and the latter.
    pub(super) spans: usize,
    pub(super) of_jobs: usize,
    // When a message about it was last received, and when another room of its name began.
    pub(super) heard: Time,
    pub(super) replaced_at: Option<Time>,
    pub(super) ended_at: Option<Time>,
    pub(super) closed_at: Option<Time>,
    pub(super) wake_at: Option<Time>,
    pub(super) presence: Presence,
    pub(super) dispatches: Dispatches,
    pub(super) lives: Lives,
    // Participants and tracks that became known, or (`false`) were forgotten, for the index of them.
    #[serde(skip)]
    pub(super) changes: Vec<(Arc<str>, bool)>,
    // Participants of SIP calls and agents' jobs of whom something was just reported.
    #[serde(skip)]
    pub(super) joining: Vec<ParticipantSid>,
    pub(super) egresses: Egresses,
}

impl Room {
    pub(super) fn new(sid: RoomSid, first: Time, now: Time) -> Self {
        Self {
            sid,
            name: None,
            node: None,
            previous: None,
            first,
            newest: first,
            created: None,
            end: None,
            end_inferred: None,
            end_reason: None,
            callers: Callers::default(),
            participants: HashMap::new(),
            catalog: HashMap::new(),
            twins: Twins::default(),
            identities: HashMap::new(),
            ending: BTreeSet::new(),
            touched: Vec::new(),
            released: 0,
            leaving: VecDeque::new(),
            gone: HashSet::new(),
            spans: 1,
            of_jobs: 0,
            heard: now,
            replaced_at: None,
            ended_at: None,
            closed_at: None,
            wake_at: None,
            presence: Presence::default(),
            dispatches: Dispatches::default(),
            lives: Lives::default(),
            changes: Vec::new(),
            joining: Vec::new(),
            egresses: Egresses::default(),
        }
    }

    /// When it was created, or the first time known of it; after its first life, when it went on.
    pub(super) fn start(&self) -> Time {
        let again = self.lives.again.map(|life| life.since);
        again.or(self.created).unwrap_or(self.first)
    }

    /// The SIDs of its participants and tracks, in no order.
    #[expect(clippy::disallowed_methods, reason = "for sets and counts")]
    pub(super) fn sids(&self) -> impl Iterator<Item = Arc<str>> {
        let participants = self.participants.keys().map(ParticipantSid::shared);
        participants.chain(self.catalog.keys().map(TrackSid::shared))
    }

    /// Applies an event of this room; returns when it happened, as exactly as that is known.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        now: Time,
        settings: &Settings,
        facts: &mut Vec<Fact>,
    ) -> EventTime {
        self.heard = now;
        self.presence.report(now);
        self.dispatches.hear(event, now);
        // Kept as reported: raised to what is known by now, it would depend on the order of messages.
        let reported = EventTime::of(event, None, now);
        self.describe(event, reported.at);
        let mut raised = EventTime::of(event, self.newest_of(event), now);
        self.newest = self.newest.max(reported.at);
        match event.kind {
            // Its creation is the time of its first start alone.
            EventKind::RoomCreated => raised = self.on_started(event).unwrap_or(raised),
            EventKind::RoomEnded => self.on_ended(reported, event, now),
            // Only the analytics report subscriptions, and a webhook may be far ahead of them.
            EventKind::TrackUnpublished if event.origin == Origin::Analytics => {
                let entry = event.track.as_ref().and_then(|info| self.catalog.get_mut(&info.sid));
                if let Some(entry) = entry {
                    entry.unpublished = entry.unpublished.max(Some(reported.at));
                }
            }
            EventKind::TrackPublished if event.origin == Origin::Analytics => {
                let entry = event.track.as_ref().and_then(|info| self.catalog.get_mut(&info.sid));
                if let Some(entry) = entry {
                    let first = entry.published.map_or(reported.at, |at| at.min(reported.at));
                    entry.published = Some(first);
                }
            }
            // The server's calls about a participant are not the participant's events.
            EventKind::Webhook | EventKind::ApiCall => return raised,
            _ => {}
        }
        if event.work.is_none() {
            self.first = self.first.min(reported.at);
        }
        self.apply_to_participant(event, reported, now, settings, facts);
        self.add_caller(event);
        raised
    }

    fn describe(&mut self, event: &Event, at: Time) {
        if let Some(info) = &event.room {
            self.name = info.name.clone().or_else(|| self.name.take());
            self.created = self.created.or(info.created);
            if let Some(created) = info.created {
                self.newest = self.newest.max(created);
            }
        }
        if let Some(node) = &event.node
            && self.node.as_ref().is_none_or(|(reported, _)| *reported <= at)
        {
            self.node = Some((at, node.clone()));
        }
        if let Some(info) = &event.track {
            let entry = self.catalog.entry(info.sid.clone()).or_insert_with(|| {
                self.changes.push((info.sid.shared(), true));
                CatalogEntry::default()
            });
            entry.description.update(info);
            if let Some(who) = event.participant.as_ref().filter(|_| is_publishers(&event.kind)) {
                entry.publisher = Some(who.sid.clone());
            }
            entry.publisher = event.publisher.clone().or_else(|| entry.publisher.take());
        }
    }

    // The newest time known of the event's participant or room.
    fn newest_of(&self, event: &Event) -> Option<Time> {
        let who = event.participant.as_ref();
        let joined = who.and_then(|info| info.joined);
        let known = who.and_then(|info| self.participants.get(&info.sid));
        let newest = known.map(|participant| participant.newest).max(joined);
        if event.kind == EventKind::RoomEnded || newest.is_none() {
            Some(self.newest)
        } else {
            newest
        }
    }

    // The span in which a call was made is linked from the span of what the call is about.
    fn add_caller(&mut self, event: &Event) {
        let Some(caller) = event.caller else { return };
        let participant = event.participant.as_ref();
        match participant.and_then(|info| self.participants.get_mut(&info.sid)) {
            Some(participant) => participant.add_caller(event, caller),
            None => self.callers.add(caller),
        }
    }

    fn on_ended(&mut self, time: EventTime, event: &Event, now: Time) {
        if self.is_past(time) {
            return;
        }
        // A reported end wins over one that was inferred from lists.
        if self.end_inferred.take_if(|_| self.closed_at.is_none()).is_some() {
            self.end = None;
        }
        ended(&mut self.end, time);
        for detail in event.details.iter().filter(|detail| detail.key == key::ROOM_END_REASON) {
            self.end_reason = Some(attribute(detail));
        }
        self.ended_at = self.ended_at.or(Some(now));
    }

    fn apply_to_participant(
        &mut self,
        event: &Event,
        time: EventTime,
        now: Time,
        settings: &Settings,
        facts: &mut Vec<Fact>,
    ) {
        let Some(info) = &event.participant else { return };
        let description = event.track.as_ref().and_then(|track| self.catalog.get(&track.sid));
        let description = description.map(|entry| entry.description.clone()).unwrap_or_default();
        let first = info.joined.unwrap_or(time.at);
        let Some(participant) = self.participant(&info.sid, first, settings) else { return };
        let (spans, is_named) = (participant.spans, participant.identity.is_some());
        participant.presence.report(now);
        participant.describe(info, event, time.at);
        participant.apply(event, time, now, &description, facts);
        let ended_at = participant.ended_at().filter(|_| !participant.released);
        let egress = participant.egress();
        let is_agent = participant.is_agent();
        let has_part = (participant.sip.is_some() || is_agent) && !participant.released;
        let there = participant.there();
        self.count_spans(spans, &info.sid);
        if let Some(there) = there {
            self.outlived(there, now);
        }
        if let (false, Some(identity)) = (is_named, &info.identity) {
            self.identities.entry(identity.clone()).or_default().push(info.sid.clone());
        }
        if let Some(at) = ended_at {
            self.ending.insert((at, info.sid.clone()));
            self.touched.push(info.sid.clone());
        }
        if is_agent {
            self.dispatches.add_agent(&info.sid);
        }
        if has_part {
            self.joining.push(info.sid.clone());
        }
        self.egresses.changed(egress);
    }

    // The participant, created if necessary; `None` if it was forgotten.
    pub(super) fn participant(
        &mut self,
        sid: &ParticipantSid,
        first: Time,
        settings: &Settings,
    ) -> Option<&mut Participant> {
        if !self.participants.contains_key(sid) {
            if !self.gone.is_empty() && self.gone.contains(&ids::participant(&self.sid, sid)) {
                return None;
            }
            let own_trace = !self.admits(first, settings);
            if !own_trace {
                self.spans += FIRST_SPANS - 1;
            }
            let participant = Box::new(Participant::new(first, own_trace));
            self.participants.insert(sid.clone(), participant);
            self.changes.push((sid.shared(), true));
        }
        let of_room = settings.max_spans.saturating_sub(self.spans);
        let participant = self.participants.get_mut(sid)?;
        let of_its_own = settings.max_spans.saturating_sub(participant.spans);
        participant.of_an_attempt = 1 + usize::from(settings.subscriptions);
        participant.left = if participant.own_trace { of_its_own } else { of_room };
        Some(participant)
    }

    // Counts the spans that a participant has gained since it had `before`, if they are in the room's trace.
    fn count_spans(&mut self, before: usize, sid: &ParticipantSid) {
        if let Some(participant) = self.participants.get(sid) {
            self.newest = self.newest.max(participant.newest);
            if !participant.own_trace {
                self.spans += participant.spans - before;
            }
        }
    }

    /// Whether the room's trace accepts a new span that began at `at`, which is then counted. A quarter of
    /// the trace is reserved for the participants that are in it already.
    pub(super) fn admits(&mut self, at: Time, settings: &Settings) -> bool {
        let admits = settings.scope == TraceScope::Room
            && self.spans < settings.max_spans / 4 * 3
            && at.since(self.start()) < settings.max_age;
        if admits {
            self.spans += 1;
        }
        admits
    }

    /// When it ended: a whole second is raised to the newest time known of it, by less than a second. An
    /// inferred end is the newest time.
    pub(super) fn at_end(&self, end: EventTime) -> Time {
        if self.end_inferred.is_some() { end.at.max(self.newest) } else { end.raised(self.newest) }
    }

    /// When a track was unpublished.
    pub(super) fn unpublished(&self, sid: &TrackSid) -> Option<Time> {
        self.catalog.get(sid)?.unpublished
    }

    /// A link to the previous session of a participant's identity in this room.
    pub(super) fn session_before(
        &self,
        sid: &ParticipantSid,
        participant: &Participant,
    ) -> Option<Link> {
        let of_its = (participant.start(), sid);
        let sessions = self.identities.get(participant.identity.as_ref()?)?.iter();
        let starts = sessions.filter_map(|sid| Some((self.participants.get(sid)?.start(), sid)));
        let (_, before) = starts.filter(|session| *session < of_its).max()?;
        let (trace_id, span_id) = self.place(before);
        Some(Link { trace_id, span_id })
    }

    /// A participant's trace and span.
    pub(super) fn place(&self, sid: &ParticipantSid) -> (TraceId, SpanId) {
        let own = self.participants.get(sid).is_some_and(|participant| participant.own_trace);
        ids::place(&self.sid, sid, own)
    }

    /// Applies a finished stats window of one of its participants.
    pub(super) fn window(&mut self, stat: &StreamStat, now: Time, settings: &Settings) {
        self.heard = now;
        if self.name.is_none() {
            self.name.clone_from(&stat.room_name);
        }
        self.presence.report(now);
        let first = stat.start.or(stat.at).unwrap_or(now);
        let Some(participant) = self.participant(&stat.participant, first, settings) else {
            return;
        };
        let spans = participant.spans;
        participant.presence.report(now);
        participant.window(stat);
        let is_ending = participant.ended_at().is_some();
        let there = participant.there();
        self.first = self.first.min(first);
        self.count_spans(spans, &stat.participant);
        if let Some(there) = there {
            self.outlived(there, now);
        }
        if is_ending && self.touched.last() != Some(&stat.participant) {
            self.touched.push(stat.participant.clone());
        }
    }

    /// Adds what is open now.
    pub(super) fn count(&self, census: &mut Census) {
        if self.end.is_none() {
            census.rooms += 1;
        }
        #[expect(clippy::disallowed_methods, reason = "counts")]
        for participant in self.participants.values().filter(|who| who.end.is_none()) {
            census.participants += 1;
            for (sid, track) in &participant.tracks {
                if track.published.is_some() && track.unpublished.is_none() {
                    let entry = self.catalog.get(sid);
                    let known = entry.map(|entry| entry.description.clone()).unwrap_or_default();
                    *census.tracks.entry((known.kind(), known.source())).or_default() += 1;
                }
            }
        }
    }
}

/// Whether the participant of a subject, the publisher of its track or its room is still open.
pub(super) fn is_open(
    participants: &HashMap<ParticipantSid, Box<Participant>>,
    catalog: &HashMap<TrackSid, CatalogEntry>,
    subject: &Subject,
) -> bool {
    let Some(sid) = subject.sid() else { return true };
    let publisher = TrackSid::from_shared(sid).and_then(|track| catalog.get(&track));
    let publisher = publisher.and_then(|entry| entry.publisher.clone());
    let participant = publisher.or_else(|| ParticipantSid::from_shared(sid));
    let participant = participant.and_then(|sid| participants.get(&sid));
    participant.is_some_and(|participant| participant.end.is_none())
}

// Whether an event's participant is the publisher of its track.
fn is_publishers(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::TrackPublishRequested
            | EventKind::TrackPublished
            | EventKind::TrackUnpublished
            | EventKind::TrackPublishStats
    )
}
