//! Random histories of a deployment of three nodes, and how they are reported.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_otel_model::event::{
    Counts, Decoded, Direction, Event, EventKind, Origin, ParticipantSid, ReportedTime, RoomSid,
    StreamStat, Time, TrackSid,
};
use livekit_otel_model::semconv::span as name;

use crate::fixtures::{self, at};
use crate::random::Random;

/// A span's name, room, participant and track, and its number among the spans that share these.
pub(crate) type Id = (&'static str, String, String, String, usize);

/// The facts that a span records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) start: Time,
    pub(crate) end: Time,
    pub(crate) failed: bool,
    pub(crate) mutes: Option<(i64, u64)>,
    pub(crate) windows: i64,
}

/// What happened. All times are in milliseconds of a true clock.
#[derive(Default)]
pub(crate) struct History {
    spans: Vec<Happened>,
    reports: Vec<Report>,
}

struct Happened {
    id: Id,
    took: (u64, u64),
    // The nodes that reported its start and its end.
    nodes: (usize, usize),
    failed: bool,
    mutes: Option<(i64, u64)>,
    windows: i64,
}

struct Report {
    millis: u64,
    decoded: Decoded,
    // The node that reported it, and the one that its participant joined.
    node: usize,
    home: usize,
}

#[derive(Clone, Copy)]
struct Room<'a> {
    sid: &'a str,
    created: u64,
}

#[derive(Clone, Copy)]
struct Who<'a> {
    room: Room<'a>,
    sid: &'a str,
    joined: u64,
    home: usize,
    // When it migrated, and to which node.
    moved: (u64, usize),
}

impl Who<'_> {
    fn node(&self, millis: u64) -> usize {
        if millis < self.moved.0 { self.home } else { self.moved.1 }
    }
}

/// The engine's clock is ahead of the true one: a node's may be behind it and ahead of it by as much.
pub(crate) const AHEAD: u64 = 120_000;
/// Clocks of nodes that agree with the engine's.
pub(crate) const EQUAL: [u64; 3] = [AHEAD; 3];

/// How a history is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// The longest delay of a report, in milliseconds.
    pub(crate) window: u64,
    /// How many reports are sent twice, and how many are left out, in percent.
    pub(crate) twice: u64,
    pub(crate) left_out: u64,
    /// How many events of participants that have joined name no room, in percent.
    pub(crate) roomless: u64,
    /// Whether webhooks are sent besides analytics.
    pub(crate) webhooks: bool,
    /// How far each node's clock is ahead of the true one, in milliseconds.
    pub(crate) clocks: [u64; 3],
    /// Whether the engine is restarted halfway.
    pub(crate) restart: bool,
}

impl History {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut history = Self::default();
        for nth in 0..=random.below(2) {
            history.room(random, &format!("RM_{nth}"));
        }
        history
    }

    // A room's own events are reported by the first node.
    fn room(&mut self, random: &mut Random, sid: &str) {
        let room = Room { sid, created: random.below(20_000) };
        self.of_room(room.created, EventKind::RoomCreated, room);
        let mut last = room.created;
        let mut tracks = Vec::new();
        for nth in 0..=random.below(4) {
            last = last.max(self.participant(random, room, nth, &mut tracks));
        }
        let end = last + 1 + random.below(5_000);
        self.of_room(end, EventKind::RoomEnded, room);
        let id = (name::ROOM, sid.to_owned(), String::new(), String::new(), 0);
        let (took, nodes) = ((room.created, end), (0, 0));
        self.spans.push(Happened { id, took, nodes, failed: false, mutes: None, windows: 0 });
    }

    fn participant(
        &mut self,
        random: &mut Random,
        room: Room<'_>,
        nth: u64,
        tracks: &mut Vec<(String, u64, u64)>,
    ) -> u64 {
        let joined = room.created + 10 + random.below(60_000);
        let active = joined + 20 + random.below(500);
        let left = active + 10_000 + random.below(200_000);
        let (home, other) = (random.of(&[0, 1, 2]), random.of(&[0, 1, 2]));
        let migrates = random.below(4) == 0;
        let moved = if migrates { active + 1 + random.below(left - active - 1) } else { u64::MAX };
        let sid = format!("{}-PA_{nth}", room.sid);
        let who = Who { room, sid: &sid, joined, home, moved: (moved, other) };
        self.of(joined, EventKind::ParticipantJoined, who, None);
        if random.below(8) == 0 {
            self.of(active, EventKind::ParticipantConnectionAborted, who, None);
            self.expect(name::PARTICIPANT, who, "", (joined, active), true);
            self.expect(name::PARTICIPANT_CONNECT, who, "", (joined, active), true);
            return active;
        }
        self.of(active, EventKind::ParticipantActive, who, None);
        if migrates {
            self.of(moved, EventKind::ParticipantActive, who, None);
        }
        let others = tracks.clone();
        for nth in 0..random.below(3) {
            let track = format!("{sid}-TR_{nth}");
            let (published, unpublished) = self.track(random, who, &track, (active, left));
            tracks.push((track, published, unpublished));
        }
        for (track, published, unpublished) in others {
            let from = published.max(active) + 1;
            let until = unpublished.min(left);
            if from + 3_000 < until {
                let from = from + random.below(until - from - 2_000);
                self.subscribe(random, who, &track, (from, until));
            }
        }
        self.of(left, EventKind::ParticipantLeft, who, None);
        self.expect(name::PARTICIPANT, who, "", (joined, left), false);
        self.expect(name::PARTICIPANT_CONNECT, who, "", (joined, active), false);
        left
    }

    // Returns when it was published and unpublished.
    fn track(
        &mut self,
        random: &mut Random,
        who: Who<'_>,
        sid: &str,
        (active, left): (u64, u64),
    ) -> (u64, u64) {
        let requested = active + 1 + random.below(4_000);
        let published = requested + 1 + random.below(200);
        let unpublished = published + 2_000 + random.below(left - published - 2_000);
        self.of(requested, EventKind::TrackPublishRequested, who, Some(sid));
        self.of(published, EventKind::TrackPublished, who, Some(sid));
        let (mut now, mut mutes, mut muted) = (published, 0, 0);
        for _ in 0..random.below(4) {
            let (mute, unmute) = (now + 1 + random.below(300), now + 301 + random.below(200));
            if unmute < unpublished {
                self.of(mute, EventKind::TrackMuted, who, Some(sid));
                self.of(unmute, EventKind::TrackUnmuted, who, Some(sid));
                (now, mutes, muted) = (unmute, mutes + 1, muted + unmute - mute);
            }
        }
        let mut windows = 0;
        let mut start = published;
        while random.below(3) > 0 && start + 1_000 < unpublished {
            let end = start + 1 + random.below(unpublished - start);
            self.window(who, sid, (start, end));
            (start, windows) = (end, windows + 1);
        }
        self.of(unpublished, EventKind::TrackUnpublished, who, Some(sid));
        self.expect(name::TRACK_PUBLISH, who, sid, (requested, published), false);
        self.expect(name::TRACK, who, sid, (published, unpublished), false);
        if let Some(track) = self.spans.last_mut() {
            (track.mutes, track.windows) = (Some((mutes, muted)), windows);
        }
        (published, unpublished)
    }

    fn subscribe(
        &mut self,
        random: &mut Random,
        who: Who<'_>,
        track: &str,
        (mut now, until): (u64, u64),
    ) {
        for nth in 0..=usize::try_from(random.below(2)).unwrap() {
            let (asked, answered) = (now, now + 1 + random.below(400));
            if answered + 500 > until {
                break;
            }
            self.of(asked, EventKind::TrackSubscribeRequested, who, Some(track));
            let failed = random.below(4) == 0;
            now = answered + 1 + random.below(50);
            if failed {
                self.of(answered, EventKind::TrackSubscribeFailed, who, Some(track));
            } else {
                self.of(answered, EventKind::TrackSubscribed, who, Some(track));
                self.of(now, EventKind::TrackUnsubscribed, who, Some(track));
                now += 1 + random.below(50);
            }
            self.expect(name::TRACK_SUBSCRIBE, who, track, (asked, answered), failed);
            if let Some(attempt) = self.spans.last_mut() {
                attempt.id.4 = nth;
            }
        }
    }

    fn expect(
        &mut self,
        name: &'static str,
        who: Who<'_>,
        track: &str,
        took: (u64, u64),
        failed: bool,
    ) {
        let id = (name, who.room.sid.to_owned(), who.sid.to_owned(), track.to_owned(), 0);
        let nodes = (who.node(took.0), who.node(took.1));
        self.spans.push(Happened { id, took, nodes, failed, mutes: None, windows: 0 });
    }

    fn of_room(&mut self, millis: u64, kind: EventKind, room: Room<'_>) {
        let mut event = fixtures::event(kind, at(millis), room.sid, at(room.created));
        event.id = format!("AE_{}", self.reports.len()).into();
        let decoded = Decoded::Events(vec![event]);
        self.reports.push(Report { millis, decoded, node: 0, home: 0 });
    }

    fn of(&mut self, millis: u64, kind: EventKind, who: Who<'_>, track: Option<&str>) {
        let mut event = fixtures::event(kind, at(millis), who.room.sid, at(who.room.created));
        event.id = format!("AE_{}", self.reports.len()).into();
        event.participant = Some(fixtures::participant(who.sid, at(who.joined)));
        event.track = track.map(|sid| fixtures::track(sid, &event.kind));
        let (node, home) = (who.node(millis), who.home);
        self.reports.push(Report { millis, decoded: Decoded::Events(vec![event]), node, home });
    }

    fn window(&mut self, who: Who<'_>, track: &str, (start, end): (u64, u64)) {
        let stat = StreamStat {
            id: format!("AS_{}", self.reports.len()).into(),
            at: Some(at(end)),
            node: None,
            room: RoomSid::new(who.room.sid).unwrap(),
            room_name: None,
            participant: ParticipantSid::new(who.sid).unwrap(),
            track: TrackSid::new(track).unwrap(),
            direction: Direction::Upstream,
            mime_type: None,
            score: None,
            min_score: None,
            start: Some(at(start)),
            end: Some(at(end)),
            counts: Counts::default(),
            rtt: None,
            jitter: None,
        };
        let (node, home) = (who.node(end), who.home);
        let decoded = Decoded::Stats(vec![stat]);
        self.reports.push(Report { millis: end, decoded, node, home });
    }

    /// The spans by the clocks of the nodes that reported them.
    pub(crate) fn spans(&self, clocks: [u64; 3]) -> BTreeMap<Id, Facts> {
        let facts = |span: &Happened| Facts {
            start: at(span.took.0 + clocks[span.nodes.0]),
            end: at(span.took.1 + clocks[span.nodes.1]),
            failed: span.failed,
            mutes: span.mutes,
            windows: span.windows,
        };
        self.spans.iter().map(|span| (span.id.clone(), facts(span))).collect()
    }

    /// Whether this participant was active on two nodes.
    pub(crate) fn migrates(&self, participant: &str) -> bool {
        let is_active = |report: &&Report| match &report.decoded {
            Decoded::Events(events) => events[0].kind == EventKind::ParticipantActive,
            _ => false,
        };
        self.reports.iter().filter(|it| it.is_of(participant)).filter(is_active).count() > 1
    }

    /// Whether different clocks reported on this participant, as it migrated.
    pub(crate) fn is_torn(&self, participant: &str, clocks: [u64; 3]) -> bool {
        let nodes: Vec<usize> =
            self.reports.iter().filter(|it| it.is_of(participant)).map(|it| it.node).collect();
        nodes.iter().any(|node| clocks[*node] != clocks[nodes[0]])
    }

    /// The reports as they arrive, each with its time by the engine's clock.
    pub(crate) fn arrivals(&self, random: &mut Random, how: Delivery) -> Vec<(u64, Decoded)> {
        let mut arrivals = Vec::new();
        for report in &self.reports {
            let mut arrive = |decoded: &Decoded, random: &mut Random| {
                for _ in 0..=u32::from(random.below(100) < how.twice) {
                    let late = random.below(how.window + 1);
                    arrivals.push((AHEAD + report.millis + late, decoded.clone()));
                }
            };
            let mut decoded = report.seen(how.clocks);
            if let Decoded::Events(events) = &mut decoded {
                for event in events {
                    let is_known = event.kind != EventKind::ParticipantJoined;
                    let is_roomless = random.below(100) < how.roomless;
                    event.room.take_if(|_| event.participant.is_some() && is_known && is_roomless);
                }
            }
            if random.below(100) >= how.left_out {
                arrive(&decoded, random);
            }
            if let Some(webhook) = webhook(&decoded).filter(|_| how.webhooks)
                && random.below(100) >= how.left_out
            {
                arrive(&webhook, random);
            }
        }
        arrivals.sort_by_key(|(millis, _)| *millis);
        arrivals
    }
}

impl Report {
    fn is_of(&self, participant: &str) -> bool {
        match &self.decoded {
            Decoded::Events(events) => events.iter().any(|event| {
                event.participant.as_ref().is_some_and(|who| who.sid.as_str() == participant)
            }),
            Decoded::Stats(stats) => {
                stats.iter().any(|stat| stat.participant.as_str() == participant)
            }
            _ => false,
        }
    }

    // With the times of the nodes' clocks.
    fn seen(&self, clocks: [u64; 3]) -> Decoded {
        let by = |node: usize| move |at: Time| at + Duration::from_millis(clocks[node]);
        let mut decoded = self.decoded.clone();
        match &mut decoded {
            Decoded::Events(events) => {
                for event in events {
                    if let Some(reported) = &mut event.reported {
                        reported.at = by(self.node)(reported.at);
                    }
                    if let Some(room) = &mut event.room {
                        room.created = room.created.map(by(0));
                    }
                    if let Some(who) = &mut event.participant {
                        who.joined = who.joined.map(by(self.home));
                    }
                }
            }
            Decoded::Stats(stats) => {
                for stat in stats {
                    let node = self.node;
                    for at in [&mut stat.at, &mut stat.start, &mut stat.end] {
                        *at = at.map(by(node));
                    }
                }
            }
            _ => {}
        }
        decoded
    }
}

fn webhook(decoded: &Decoded) -> Option<Decoded> {
    let Decoded::Events(events) = decoded else { return None };
    let [event] = &events[..] else { return None };
    let is_sent = matches!(
        event.kind,
        EventKind::RoomCreated
            | EventKind::RoomEnded
            | EventKind::ParticipantActive
            | EventKind::ParticipantLeft
            | EventKind::ParticipantConnectionAborted
            | EventKind::TrackPublished
            | EventKind::TrackUnpublished
    );
    let reported = event.reported.filter(|_| is_sent)?;
    let second = Time::from_nanos(reported.at.nanos() / 1_000_000_000 * 1_000_000_000)?;
    Some(Decoded::Events(vec![Event {
        id: event.id.replace("AE_", "EV_").into(),
        origin: Origin::Webhook,
        reported: Some(ReportedTime { at: second, whole_seconds: true }),
        ..event.clone()
    }]))
}
