//! The allowlisted fields that only a log record carries.

use std::sync::Arc;

use livekit_protocol as lk;

use super::names::{any, named, unknown_value};
use super::newer;
use super::sip;
use super::unknown::Unknown;
use livekit_otel_model::event::{Detail, DetailValue, EventKind};
use livekit_otel_model::semconv::key;

/// What a message reports in addition to its time and its entities.
#[derive(Default)]
pub(super) struct Details {
    pub(super) attributes: Vec<Detail>,
    pub(super) error: Option<Arc<str>>,
}

impl Details {
    fn push(&mut self, key: &'static str, value: DetailValue) {
        self.attributes.push(Detail { key, value });
    }

    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        if !text.is_empty() {
            self.push(key, DetailValue::Text(text.into()));
        }
    }

    // The first that is set.
    fn first(&mut self, key: &'static str, texts: [&str; 2]) {
        self.text(key, texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default());
    }

    fn name(&mut self, key: &'static str, name: Option<Arc<str>>) {
        if let Some(name) = name {
            self.push(key, DetailValue::Text(name));
        }
    }

    pub(super) fn int(&mut self, key: &'static str, count: usize) {
        self.push(key, DetailValue::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    }

    fn seconds(&mut self, key: &'static str, nanos: i64) {
        if nanos > 0 {
            self.push(key, DetailValue::Float(nanos as f64 / 1e9));
        }
    }

    // The time from one Unix time to another, both in nanoseconds, if both are set.
    fn between(&mut self, key: &'static str, from: i64, to: i64) {
        if from > 0 && to > 0 {
            self.seconds(key, to.saturating_sub(from));
        }
    }

    fn failed(&mut self, message: &str) {
        if self.error.is_none() && !message.is_empty() {
            self.error = Some(message.into());
        }
    }
}

/// The details of an analytics event.
pub(super) fn of_analytics(
    message: &lk::AnalyticsEvent,
    kind: &EventKind,
    unknown: &Unknown,
) -> Details {
    let mut details = Details::default();
    details.failed(&message.error);
    if let Some(client) = &message.client_info {
        self::client(client, &mut details, unknown);
    }
    if let Some(meta) = &message.client_meta {
        client_meta(meta, &mut details, unknown);
    }
    if *kind == EventKind::TrackMaxSubscribedVideoQuality {
        let quality = message.max_subscribed_video_quality;
        let quality = any(quality, lk::VideoQuality::as_str_name, unknown);
        details.name(key::VIDEO_QUALITY, Some(quality));
    }
    if message.rtp_stats.is_some() && message.video_layer > 0 {
        details.push(key::VIDEO_LAYER, DetailValue::Int(message.video_layer.into()));
    }
    match &message.egress {
        Some(info) => egress(info, &mut details, unknown),
        None => details.text(key::EGRESS_ID, &message.egress_id),
    }
    match &message.ingress {
        Some(info) => ingress(info, &mut details, unknown),
        None => details.text(key::INGRESS_ID, &message.ingress_id),
    }
    sip_event(message, &mut details, unknown);
    if let Some(report) = &message.report {
        self::report(report, &mut details, unknown);
    }
    if let Some(call) = &message.api_call {
        api_call(call, &mut details);
    }
    if let Some(info) = &message.webhook {
        webhook(info, &mut details);
    }
    track(message.track.as_ref(), &mut details, unknown);
    room_end_reason(message.room_end_reason, &mut details, unknown);
    details
}

fn client(info: &lk::ClientInfo, details: &mut Details, unknown: &Unknown) {
    details.name(key::CLIENT_SDK, named(info.sdk, lk::client_info::Sdk::as_str_name, unknown));
    details.text(key::CLIENT_VERSION, &info.version);
    details.text(key::CLIENT_OS, &info.os);
}

fn client_meta(meta: &lk::AnalyticsClientMeta, details: &mut Details, unknown: &Unknown) {
    details.text(key::REGION, &meta.region);
    details.text(key::CLIENT_CONNECTION_TYPE, &meta.connection_type);
    details.seconds(key::CLIENT_CONNECT_TIME, i64::from(meta.client_connect_time) * 1_000_000);
    details.text(key::CLIENT_COUNTRY, meta.country.as_deref().unwrap_or_default());
    details.name(key::RECONNECT_REASON, reconnect_reason(meta.reconnect_reason, unknown));
}

// LiveKit's clients write this key without the protobuf's prefix, in lower case.
fn reconnect_reason(reason: i32, unknown: &Unknown) -> Option<Arc<str>> {
    let name = named(reason, lk::ReconnectReason::as_str_name, unknown)?;
    Some(name.trim_start_matches("RR_").to_ascii_lowercase().into())
}

pub(super) fn egress(info: &lk::EgressInfo, details: &mut Details, unknown: &Unknown) {
    details.text(key::EGRESS_ID, &info.egress_id);
    let status = any(info.status, lk::EgressStatus::as_str_name, unknown);
    details.name(key::EGRESS_STATUS, Some(status));
    details.text(key::EGRESS_TYPE, info.request.as_ref().map_or("", egress_type));
    details.failed(&info.error);
}

// Named as the field of `EgressInfo`, or of the newer `StartEgressRequest`, which replaces the others.
fn egress_type(request: &lk::egress_info::Request) -> &'static str {
    use lk::egress_info::Request;
    use lk::start_egress_request::Source;
    match request {
        Request::RoomComposite(_) => "room_composite",
        Request::Web(_) => "web",
        Request::Participant(_) => "participant",
        Request::TrackComposite(_) => "track_composite",
        Request::Track(_) => "track",
        Request::Replay(_) => "replay",
        Request::Egress(request) => match request.source {
            Some(Source::Template(_)) => "template",
            Some(Source::Web(_)) => "web",
            Some(Source::Media(_)) => "media",
            None => "",
        },
    }
}

pub(super) fn ingress(info: &lk::IngressInfo, details: &mut Details, unknown: &Unknown) {
    details.text(key::INGRESS_ID, &info.ingress_id);
    if let Some(state) = &info.state {
        let status = any(state.status, lk::ingress_state::Status::as_str_name, unknown);
        details.name(key::INGRESS_STATUS, Some(status));
        details.failed(&state.error);
    }
}

pub(super) fn job(job: &lk::Job, newer: &newer::Job, details: &mut Details, unknown: &Unknown) {
    details.text(key::JOB_ID, &job.id);
    details.text(key::DISPATCH_ID, &job.dispatch_id);
    details.text(key::AGENT_NAME, &job.agent_name);
    let (Some(state), Some(more)) = (&job.state, &newer.state) else { return };
    details.name(key::JOB_STATUS, Some(newer::status(state.status, unknown)));
    details.name(key::JOB_REASON, newer::reason(more.reason, unknown));
    details.text(key::JOB_WORKER_ID, &state.worker_id);
    details.text(key::JOB_AGENT_ID, &state.agent_id);
    if more.attempts > 0 {
        details.push(key::JOB_ATTEMPTS, DetailValue::Int(more.attempts.into()));
    }
    let first = [more.first_started_at, state.started_at].into_iter().find(|at| *at > 0);
    details.between(key::JOB_START_LATENCY, newer.created_at, first.unwrap_or_default());
    details.between(key::JOB_ASSIGNMENT_LATENCY, more.accepted_at, more.assigned_at);
    details.failed(&state.error);
}

pub(super) fn room_end_reason(reason: i32, details: &mut Details, unknown: &Unknown) {
    let reason = named(reason, lk::RoomEndReason::as_str_name, unknown);
    details.name(key::ROOM_END_REASON, reason);
}

// Known values are the track's own.
pub(super) fn track(info: Option<&lk::TrackInfo>, details: &mut Details, unknown: &Unknown) {
    let Some(info) = info else { return };
    details.name(key::TRACK_KIND, unknown_value::<lk::TrackType>(info.r#type, unknown));
    details.name(key::TRACK_SOURCE, unknown_value::<lk::TrackSource>(info.source, unknown));
}

fn sip_event(message: &lk::AnalyticsEvent, details: &mut Details, unknown: &Unknown) {
    let transfer = message.sip_transfer.as_ref();
    let call = message.sip_call.as_ref();
    let call_id = call.map(|call| call.call_id.as_str());
    let call_id = call_id.or(transfer.map(|transfer| transfer.call_id.as_str()));
    details.text(key::SIP_CALL_ID, call_id.unwrap_or(&message.sip_call_id));
    let (trunk, rule) = call.map_or(("", ""), |call| (&*call.trunk_id, &*call.dispatch_rule_id));
    details.first(key::SIP_TRUNK_ID, [&message.sip_trunk_id, trunk]);
    details.first(key::SIP_DISPATCH_RULE_ID, [&message.sip_dispatch_rule_id, rule]);
    if let Some(call) = call {
        rejected(call, details);
        let status = any(call.call_status, lk::SipCallStatus::as_str_name, unknown);
        details.name(key::SIP_CALL_STATUS, Some(status));
        let direction = call.call_direction;
        details.name(
            key::SIP_CALL_DIRECTION,
            named(direction, lk::SipCallDirection::as_str_name, unknown),
        );
        details.name(
            key::SIP_DISCONNECT_REASON,
            named(call.disconnect_reason, lk::DisconnectReason::as_str_name, unknown),
        );
        sip_status(call.call_status_code.as_ref(), details);
        details.failed(&call.error);
    }
    if let Some(transfer) = transfer {
        details.text(key::SIP_TRANSFER_ID, &transfer.transfer_id);
        sip_status(transfer.transfer_status_code.as_ref(), details);
        details.failed(&transfer.error);
    }
}

// The numbers of an inbound call that ended before it had a room. Those of others are in the attributes of their
// participants, unless they are to be hidden.
fn rejected(call: &lk::SipCallInfo, details: &mut Details) {
    let is_inbound = call.call_direction == lk::SipCallDirection::ScdInbound as i32;
    if !is_inbound || call.ended_at_ns == 0 || !call.room_name.is_empty() {
        return;
    }
    for (key, uri) in
        [(key::SIP_PHONE_NUMBER, &call.from_uri), (key::SIP_TRUNK_PHONE_NUMBER, &call.to_uri)]
    {
        details.name(key, uri.as_ref().and_then(|uri| sip::number(&uri.user)));
    }
}

fn sip_status(status: Option<&lk::SipStatus>, details: &mut Details) {
    if let Some(status) = status.filter(|status| status.code > 0) {
        details.push(key::SIP_STATUS_CODE, DetailValue::Int(status.code.into()));
    }
}

fn report(report: &lk::ReportInfo, details: &mut Details, unknown: &Unknown) {
    if let Some(lk::report_info::Message::FeatureUsage(usage)) = &report.message {
        let feature = any(usage.feature, lk::feature_usage_info::Feature::as_str_name, unknown);
        details.name(key::REPORT_FEATURE, Some(feature));
    }
}

fn api_call(call: &lk::ApiCallInfo, details: &mut Details) {
    if !call.method.is_empty() {
        details.text(key::RPC_METHOD, &format!("{}/{}", call.service, call.method));
    }
    details.text(key::RPC_RESPONSE_STATUS_CODE, &call.twirp_error_code);
    details.seconds(key::DURATION, call.duration_ns);
    details.failed(&call.twirp_error_message);
}

// Not the URL, whose query may have a secret.
fn webhook(info: &lk::WebhookInfo, details: &mut Details) {
    details.text(key::WEBHOOK_EVENT, &info.event);
    details.text(key::WEBHOOK_EVENT_ID, &info.event_id);
    details.seconds(key::WEBHOOK_QUEUE_DURATION, info.queue_duration_ns);
    details.seconds(key::DURATION, info.send_duration_ns);
    details.text(key::HTTP_REQUEST_METHOD, "POST");
    if info.http_status_code > 0 {
        let status = info.http_status_code.into();
        details.push(key::HTTP_RESPONSE_STATUS_CODE, DetailValue::Int(status));
    }
    server(&info.url, details);
    if info.is_dropped {
        details.push(key::WEBHOOK_DROPPED, DetailValue::Bool(true));
    }
    if info.num_dropped > 0 {
        details.push(key::WEBHOOK_DROPPED_COUNT, DetailValue::Int(info.num_dropped.into()));
    }
    // Both errors may quote the whole URL, so only the failure itself is sent.
    if !info.send_error.is_empty() || !info.service_error.is_empty() {
        details.failed("the webhook could not be sent");
    }
}

// The host and port alone, since paths and queries may be secrets.
fn server(target: &str, details: &mut Details) {
    let Ok(target) = target.parse::<http::Uri>() else { return };
    details.text(key::SERVER_ADDRESS, target.host().unwrap_or_default());
    if let Some(port) = target.port_u16() {
        details.int(key::SERVER_PORT, port.into());
    }
}
