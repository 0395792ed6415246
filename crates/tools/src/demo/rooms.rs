//! Spans, grouped by room and participant.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::received::{Span, failed};
use super::turns::{self, Job};
use crate::causes::Causes;
use crate::labels::rank;
use livekit_otel_model::semconv::{key, span};

/// A room's spans.
pub(super) struct Room<'a> {
    /// Its SID, or its trace's id if no span has the SID.
    pub(super) sid: &'a str,
    /// Its own span, if it was received.
    pub(super) span: Option<&'a Span>,
    /// Its participants, in the order in which they joined.
    pub(super) participants: Vec<Participant<'a>>,
    /// Spans of the room that belong to no received participant.
    pub(super) others: Vec<&'a Span>,
    /// The jobs of agents, from the spans that agents sent.
    pub(super) jobs: Vec<Job<'a>>,
    /// The traces of its spans.
    pub(super) traces: BTreeSet<&'a str>,
    /// When the first of its spans started, in Unix nanoseconds.
    pub(super) start: u64,
    /// When the last of its spans ended, in Unix nanoseconds.
    pub(super) end: u64,
    identities: HashMap<&'a str, &'a str>,
    tracks: HashMap<&'a str, &'a Span>,
    causes: Causes<'a>,
}

/// A participant's span and its children, ordered by [`crate::labels::rank`] and time.
pub(super) struct Participant<'a> {
    pub(super) span: &'a Span,
    pub(super) children: Vec<&'a Span>,
}

impl<'a> Room<'a> {
    /// The room's name, if one of its spans has it.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.all().find_map(|span| span.attributes.text(key::ROOM_NAME))
    }

    /// All spans that the waterfall may show, each once.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Span> {
        let below = self.participants.iter().flat_map(|participant| {
            std::iter::once(participant.span).chain(participant.children.iter().copied())
        });
        let of_jobs = self
            .jobs
            .iter()
            .flat_map(|job| job.span.into_iter().chain(job.turns.iter().map(|it| it.span)));
        self.span.into_iter().chain(below).chain(self.others.iter().copied()).chain(of_jobs)
    }

    // Whether the agent has sent spans of the job that this span is of.
    fn has_job(&self, span: &Span) -> bool {
        let id = span.attributes.text(key::JOB_ID);
        self.jobs.iter().any(|job| Some(job.id) == id)
    }

    /// The identity of the participant `sid`, or the SID if its identity is unknown.
    pub(super) fn who(&self, sid: &'a str) -> &'a str {
        self.identities.get(sid).copied().unwrap_or(sid)
    }

    /// The span of the track `sid`.
    pub(super) fn track(&self, sid: &str) -> Option<&'a Span> {
        self.tracks.get(sid).copied()
    }

    /// Whether a span is a failure that counts: it failed, and no other span says more of the same failure.
    pub(super) fn is_failure(&self, span: &Span) -> bool {
        failed(span) && !self.causes.explain(&span.name, &span.attributes)
    }

    /// How many of its spans are named `name`.
    pub(super) fn count(&self, name: &str) -> usize {
        self.all().filter(|span| span.name == name).count()
    }
}

// livekit-otel's key, and that of agents.
const ROOM_IDS: [&str; 2] = [key::ROOM_ID, "room_id"];

/// The rooms of the spans, by their start. A span that was sent twice counts once. Spans without a
/// room, such as the program's own, are left out.
pub(super) fn rooms(spans: &[Span]) -> Vec<Room<'_>> {
    let mut seen = HashSet::new();
    let mut groups: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    // A successful webhook delivery says nothing about the call.
    let matters = |span: &&Span| span.name != span::WEBHOOK_DELIVERY || failed(span);
    let once = spans.iter().filter(|span| seen.insert((&span.trace_id, &span.span_id)));
    for span in once.filter(matters) {
        let sid = ROOM_IDS.iter().find_map(|key| span.attributes.text(key));
        groups.entry(sid.unwrap_or(&span.trace_id)).or_default().push(span);
    }
    let of_a_room = |span: &&Span| {
        span.name == span::ROOM
            || span.name == span::PARTICIPANT
            || ROOM_IDS.iter().any(|key| span.attributes.text(key).is_some())
    };
    let groups = groups.into_iter().filter(|(_, spans)| spans.iter().any(of_a_room));
    let mut rooms: Vec<Room<'_>> = groups.map(|(sid, spans)| room(sid, spans)).collect();
    rooms.sort_by_key(|room| room.start);
    rooms
}

fn room<'a>(sid: &'a str, mut spans: Vec<&'a Span>) -> Room<'a> {
    spans.sort_by_key(|span| (rank(&span.name), span.start, &span.span_id));
    let (agents, spans): (Vec<&Span>, Vec<&Span>) =
        spans.into_iter().partition(|span| turns::job(span).is_some());
    let all = || spans.iter().chain(&agents);
    let mut room = Room {
        sid,
        span: spans.iter().find(|span| span.name == span::ROOM).copied(),
        participants: Vec::new(),
        others: Vec::new(),
        jobs: turns::jobs(&agents),
        traces: all().map(|span| span.trace_id.as_str()).collect(),
        start: all().map(|span| span.start).min().unwrap_or(0),
        end: all().map(|span| span.end).max().unwrap_or(0),
        identities: HashMap::new(),
        tracks: HashMap::new(),
        causes: Causes::default(),
    };
    let (participants, rest): (Vec<&Span>, Vec<&Span>) =
        spans.into_iter().partition(|span| span.name == span::PARTICIPANT);
    let mut places = HashMap::new();
    let mut agents = HashMap::new();
    for span in participants {
        places.insert((&span.trace_id, &span.span_id), room.participants.len());
        room.participants.push(Participant { span, children: Vec::new() });
        let sid = span.attributes.text(key::PARTICIPANT_ID);
        if let Some((sid, who)) = sid.zip(span.attributes.text(key::PARTICIPANT_IDENTITY)) {
            room.identities.insert(sid, who);
        }
    }
    for span in rest {
        if span.name == span::TRACK
            && let Some(sid) = span.attributes.text(key::TRACK_ID)
        {
            room.tracks.insert(sid, span);
        }
        let above = span.parent.as_ref().and_then(|id| places.get(&(&span.trace_id, id)));
        match above {
            Some(&place) => room.participants[place].children.push(span),
            None if room.span.is_some_and(|own| std::ptr::eq(own, span)) => {}
            // The job's own spans show it better.
            None if span.name == span::AGENT_JOB && room.has_job(span) => {
                let job = span.attributes.text(key::JOB_ID);
                agents.extend(job.zip(span.attributes.text(key::PARTICIPANT_ID)));
            }
            None => room.others.push(span),
        }
    }
    room.causes = causes(&room, &agents);
    room
}

// With the participants of agents by their jobs.
fn causes<'a>(room: &Room<'a>, agents: &HashMap<&'a str, &'a str>) -> Causes<'a> {
    let mut causes = Causes::default();
    for span in room.all().filter(|span| failed(span)) {
        causes.add(&span.name, &span.attributes);
    }
    for job in room.jobs.iter().filter(|job| job.span.is_some_and(failed)) {
        causes.add_reported(job.id, agents.get(job.id).copied());
    }
    causes
}
