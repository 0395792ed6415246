//! The messages that a LiveKit server sends for a step.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::media::{self, Media, Part};
use super::plan::{Failure, Plan, Visit};
use super::random::Random;
use super::records::JobOf;
use super::steps::{Link, LinkStep, Step, TrackStep, What};
use super::uploads::Uploads;
use super::{Message, Settings};
use livekit_otel_livekit::encode::{self, TrackCall, TrackStep as Happened, timestamp, webhook};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsEventType as Type, AnalyticsStat,
    AnalyticsStream, ClientInfo, Codec, DisconnectReason, ParticipantInfo, Room, StreamType,
    TrackInfo, WebhookEvent, WebhookInfo,
    client_info::Sdk,
    participant_info::{Kind, State},
};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;

// How long a server needs for a webhook, as it reports.
const QUEUED: Duration = Duration::from_millis(1);
const SENT: Duration = Duration::from_millis(3);
// In the event of each delivery; nothing is sent there.
const URL: &str = "http://127.0.0.1:9290/webhook";

// A server's default list, which is most of the size of a message with a room.
const CODECS: [&str; 10] = [
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "video/rtx",
];

/// Reports the steps of one room.
#[derive(Debug)]
pub(super) struct Reporter<'a> {
    pub(super) settings: &'a Settings,
    pub(super) start: Time,
    pub(super) node: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) links: &'a [Link],
    pub(super) ids: &'a mut Random,
    pub(super) messages: &'a mut Vec<Message>,
}

impl Reporter<'_> {
    /// Adds the messages for `step`.
    pub(super) fn report(&mut self, step: Step) {
        let now = self.start + step.at;
        match step.what {
            What::RoomCreated => {
                self.webhook(webhook::ROOM_STARTED, None, now);
                let created = encode::room_created(self.room());
                self.event(created);
            }
            What::RoomEnded => {
                self.webhook(webhook::ROOM_FINISHED, None, now);
                let ended = encode::of_room(Type::RoomEnded, self.room(), now);
                self.event(ended);
            }
            What::Joined(nth) => self.joined(nth, now),
            What::Active(nth) => self.active(nth, now),
            What::Left(nth) => self.left(nth, now),
            What::Track(visit, track, what) => self.track(visit, track, what, now),
            What::Link(link, what) => self.link(link, what, now),
            What::Stats(visit, from, to) => self.stats(visit, (from, to), now),
            What::Upload(visit, source, from, to) => self.upload(visit, source, (from, to)),
        }
    }

    fn upload(&mut self, visit: usize, source: Source, (from, to): (Duration, Duration)) {
        let (start, plan, visit) = (self.start, self.plan, &self.plan.visits[visit]);
        if let Some(job) = &visit.job {
            let of = JobOf { start, plan, visit, job };
            let upload = Uploads { of }.upload(source, from, to);
            self.messages.extend(upload.map(Box::new).map(Message::Upload));
        }
    }

    fn joined(&mut self, nth: usize, now: Time) {
        let meta = AnalyticsClientMeta { node: self.node.to_owned(), ..Default::default() };
        let client = ClientInfo {
            sdk: Sdk::Js as i32,
            version: "2.15.7".to_owned(),
            protocol: 16,
            os: "linux".to_owned(),
            ..ClientInfo::default()
        };
        let event = self.participant(Type::ParticipantJoined, nth, State::Joined, now);
        self.event(AnalyticsEvent { client_info: Some(client), client_meta: Some(meta), ..event });
    }

    fn active(&mut self, nth: usize, now: Time) {
        let visit = &self.plan.visits[nth];
        let who = self.info(visit, State::Active);
        self.webhook(webhook::PARTICIPANT_JOINED, Some(who), now);
        let took = visit.active.saturating_sub(visit.join).as_millis();
        let meta = AnalyticsClientMeta {
            client_connect_time: u32::try_from(took).unwrap_or(u32::MAX),
            connection_type: "udp".to_owned(),
            ..AnalyticsClientMeta::default()
        };
        let event = self.participant(Type::ParticipantActive, nth, State::Active, now);
        self.event(AnalyticsEvent { client_meta: Some(meta), ..event });
    }

    fn left(&mut self, nth: usize, now: Time) {
        let visit = &self.plan.visits[nth];
        let (name, kind) = if visit.connects() {
            (webhook::PARTICIPANT_LEFT, Type::ParticipantLeft)
        } else {
            (webhook::PARTICIPANT_CONNECTION_ABORTED, Type::ParticipantConnectionAborted)
        };
        let who = self.info(visit, State::Disconnected);
        self.webhook(name, Some(who), now);
        let event = self.participant(kind, nth, State::Disconnected, now);
        self.event(event);
    }

    fn participant(&self, kind: Type, nth: usize, state: State, now: Time) -> AnalyticsEvent {
        let participant = self.info(&self.plan.visits[nth], state);
        encode::of_participant(kind, self.room(), participant, now)
    }

    fn track(&mut self, visit: usize, nth: usize, what: TrackStep, now: Time) {
        let track = &self.plan.visits[visit].tracks[nth];
        let media = media::of(nth);
        let step = match what {
            TrackStep::Requested => Happened::PublishRequested,
            TrackStep::Updated => Happened::PublishedUpdate,
            TrackStep::Published => Happened::Published,
            TrackStep::Muted => Happened::Muted,
            TrackStep::Unmuted => Happened::Unmuted,
            TrackStep::Unpublished => Happened::Unpublished { was_published_locally: true },
            TrackStep::Totals => {
                let part = track.part(track.published, track.published, track.unpublished);
                let quality = &self.plan.visits[visit].quality;
                let times = (track.published, track.unpublished);
                let stats = self.totals(media, quality, part, times);
                Happened::PublishRtpStats { mime_type: media.mime.to_owned(), layer: 0, stats }
            }
        };
        let is_muted = what == TrackStep::Muted;
        let info = TrackInfo { muted: is_muted, ..track_info(&track.sid, media) };
        self.on_track(visit, info, step, now);
    }

    fn link(&mut self, link: Link, what: LinkStep, now: Time) {
        let publisher = &self.plan.visits[link.publisher];
        let track = &publisher.tracks[link.track];
        let media = media::of(link.track);
        let step = match what {
            LinkStep::Requested => Happened::SubscribeRequested,
            LinkStep::Subscribed => {
                let who = ParticipantInfo {
                    sid: publisher.sid.clone(),
                    identity: publisher.identity.clone(),
                    ..ParticipantInfo::default()
                };
                Happened::Subscribed { publisher: Some(who) }
            }
            LinkStep::Failed => {
                let error = "no permission to subscribe".to_owned();
                Happened::SubscribeFailed { error, is_user_error: true }
            }
            LinkStep::Unsubscribed => Happened::Unsubscribed,
            LinkStep::Totals => {
                let part = track.part(link.answered, link.answered, link.ended);
                let quality = &self.plan.visits[link.subscriber].quality;
                let stats = self.totals(media, quality, part, (link.answered, link.ended));
                Happened::SubscribeRtpStats { mime_type: media.mime.to_owned(), stats }
            }
        };
        let info = match what {
            LinkStep::Subscribed => track_info(&track.sid, media),
            _ => TrackInfo { sid: track.sid.clone(), ..TrackInfo::default() },
        };
        self.on_track(link.subscriber, info, step, now);
    }

    fn totals(
        &self,
        media: &Media,
        quality: &media::Quality,
        part: Part,
        (from, to): (Duration, Duration),
    ) -> livekit_otel_livekit::messages::RtpStats {
        let times = (timestamp(self.start + from), timestamp(self.start + to));
        media::totals(media, quality, part.after, times, to.saturating_sub(from))
    }

    fn on_track(&mut self, visit: usize, track: TrackInfo, step: Happened, now: Time) {
        let visit = &self.plan.visits[visit];
        let room =
            Room { sid: self.plan.sid.clone(), name: self.plan.name.clone(), ..Room::default() };
        let call = TrackCall {
            room,
            participant_sid: visit.sid.clone(),
            identity: visit.identity.clone(),
            track,
            step,
        };
        if let Some(name) = encode::track_webhook(&call.step) {
            self.send_webhook(encode::of_track_webhook(name, &call), now);
        }
        self.event(encode::of_track(call, now));
    }

    // One message, like a stats worker's flush.
    fn stats(&mut self, nth: usize, (from, to): (Duration, Duration), now: Time) {
        if !self.settings.analytics {
            return;
        }
        let (plan, links) = (self.plan, self.links);
        let visit = &plan.visits[nth];
        let mut stats = vec![
            self.signalling(visit, StreamType::Upstream, now),
            self.signalling(visit, StreamType::Downstream, now),
        ];
        for (track, publication) in visit.tracks.iter().enumerate() {
            let part = publication.part(publication.published, from, to);
            let times = (from.max(publication.published), to.min(publication.unpublished));
            let of = (visit, &*publication.sid, StreamType::Upstream);
            stats.extend(self.window(of, track, part, times, now));
        }
        for link in links.iter().filter(|link| link.subscriber == nth && link.flows()) {
            let publication = &plan.visits[link.publisher].tracks[link.track];
            let part = publication.part(link.answered, from, to.min(link.ended));
            let times = (from.max(link.answered), to.min(link.ended));
            let of = (visit, &*publication.sid, StreamType::Downstream);
            stats.extend(self.window(of, link.track, part, times, now));
        }
        self.messages.push(Message::Stats(stats));
    }

    fn window(
        &mut self,
        (visit, sid, kind): (&Visit, &str, StreamType),
        track: usize,
        part: Part,
        (from, to): (Duration, Duration),
        now: Time,
    ) -> Option<AnalyticsStat> {
        let media = media::of(track);
        let score = visit.quality.score();
        let stream = AnalyticsStream {
            start_time: Some(timestamp(self.start + from)),
            end_time: Some(timestamp(self.start + to)),
            ..media::window(media, &visit.quality, part)?
        };
        Some(AnalyticsStat {
            score,
            min_score: score,
            median_score: score,
            mime: media.mime.to_owned(),
            ..self.stat(visit, sid, kind, stream, now)
        })
    }

    // A participant's signalling has neither type nor times.
    fn signalling(&mut self, visit: &Visit, kind: StreamType, now: Time) -> AnalyticsStat {
        let unset = Some(pbjson_types::Timestamp::default());
        let stream = AnalyticsStream {
            primary_packets: 9,
            primary_bytes: 8400,
            start_time: unset,
            end_time: unset,
            ..AnalyticsStream::default()
        };
        self.stat(visit, &format!("TR_SG{}", visit.sid), kind, stream, now)
    }

    fn stat(
        &mut self,
        visit: &Visit,
        track: &str,
        kind: StreamType,
        stream: AnalyticsStream,
        now: Time,
    ) -> AnalyticsStat {
        AnalyticsStat {
            id: self.ids.id("AS_"),
            kind: kind as i32,
            time_stamp: Some(timestamp(now)),
            node: self.node.to_owned(),
            room_id: self.plan.sid.clone(),
            room_name: self.plan.name.clone(),
            participant_id: visit.sid.clone(),
            track_id: track.to_owned(),
            streams: vec![stream],
            ..AnalyticsStat::default()
        }
    }

    fn room(&self) -> Room {
        let created = timestamp(self.start + self.plan.begin);
        Room {
            sid: self.plan.sid.clone(),
            name: self.plan.name.clone(),
            empty_timeout: 300,
            departure_timeout: 20,
            creation_time: created.seconds,
            creation_time_ms: millis(&created),
            enabled_codecs: CODECS.map(codec).to_vec(),
            ..Room::default()
        }
    }

    fn info(&self, visit: &Visit, state: State) -> ParticipantInfo {
        let joined = timestamp(self.start + visit.join);
        let reason = match visit.failure {
            _ if state != State::Disconnected => DisconnectReason::UnknownReason,
            Some(Failure::Lost(reason)) => reason,
            Some(Failure::Aborted) => DisconnectReason::JoinFailure,
            Some(Failure::Refused) | None => DisconnectReason::ClientInitiated,
        };
        let kind = if visit.job.is_some() { Kind::Agent } else { Kind::Standard };
        ParticipantInfo {
            sid: visit.sid.clone(),
            identity: visit.identity.clone(),
            kind: kind as i32,
            state: state as i32,
            joined_at: joined.seconds,
            joined_at_ms: millis(&joined),
            is_publisher: !visit.tracks.is_empty() && state == State::Disconnected,
            disconnect_reason: reason as i32,
            ..ParticipantInfo::default()
        }
    }

    fn event(&mut self, event: AnalyticsEvent) {
        let id = self.ids.id("AE_");
        if self.settings.analytics {
            let node_id = self.node.to_owned();
            self.messages.push(Message::Event(Box::new(AnalyticsEvent { id, node_id, ..event })));
        }
    }

    fn webhook(&mut self, name: &str, participant: Option<ParticipantInfo>, now: Time) {
        let room = Some(self.room());
        let event = name.to_owned();
        let webhook = WebhookEvent { event, room, participant, ..WebhookEvent::default() };
        self.send_webhook(webhook, now);
    }

    // Followed by the event that reports its delivery.
    fn send_webhook(&mut self, mut webhook: WebhookEvent, now: Time) {
        webhook.id = self.ids.id("EV_");
        webhook.created_at = timestamp(now).seconds;
        if !self.settings.webhooks {
            return;
        }
        let (queued, sent) = ((system(now), QUEUED), (system(now + QUEUED), SENT));
        let info = encode::processed(&webhook, URL, Some(queued), Some(sent));
        let info = WebhookInfo { http_status_code: 200, ..info };
        self.messages.push(Message::Webhook(Box::new(webhook)));
        let event = encode::event(Type::Webhook, now + QUEUED + SENT);
        self.event(AnalyticsEvent { webhook: Some(info), ..event });
    }
}

fn codec(mime: &str) -> Codec {
    Codec { mime: mime.to_owned(), ..Codec::default() }
}

fn system(at: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at.nanos())
}

fn millis(at: &pbjson_types::Timestamp) -> i64 {
    at.seconds * 1000 + i64::from(at.nanos / 1_000_000)
}

fn track_info(sid: &str, media: &Media) -> TrackInfo {
    let (width, height) = media.size;
    TrackInfo {
        sid: sid.to_owned(),
        r#type: media.kind as i32,
        name: media.name.to_owned(),
        width,
        height,
        source: media.source as i32,
        mime_type: media.mime.to_owned(),
        ..TrackInfo::default()
    }
}
