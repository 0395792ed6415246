//! Reads egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and webhook
//! deliveries into [`Work`].

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as lk;

use super::names::{any, named, time};
use super::newer;
use super::unknown::Unknown;
use livekit_otel_model::event::{EgressPhase, EventKind, Failure, Time, Work, WorkKind};

/// The work that an analytics event reports.
pub(super) fn of_analytics(message: &lk::AnalyticsEvent, kind: &EventKind) -> Option<Work> {
    match kind {
        EventKind::EgressStarted | EventKind::EgressUpdated | EventKind::EgressEnded => {
            match &message.egress {
                Some(info) => egress(info),
                None => unfinished(WorkKind::Egress, &message.egress_id),
            }
        }
        EventKind::IngressStarted | EventKind::IngressUpdated | EventKind::IngressEnded => {
            ingress(message.ingress.as_ref()?)
        }
        EventKind::SipParticipantCreated
        | EventKind::SipCallIncoming
        | EventKind::SipCallStarted
        | EventKind::SipCallUpdate
        | EventKind::SipCallEnded => sip_call(message),
        EventKind::SipTransferRequested | EventKind::SipTransferComplete => sip_transfer(message),
        EventKind::ApiCall => api_call(&message.id, message.api_call.as_ref()?),
        EventKind::Webhook => delivery(&message.id, message.webhook.as_ref()?),
        _ => None,
    }
    .map(|work| reported_by(kind, work))
}

/// The work that a webhook reports.
pub(super) fn of_webhook(
    message: &lk::WebhookEvent,
    newer: &newer::Job,
    kind: &EventKind,
) -> Option<Work> {
    let egress = message.egress_info.as_ref().and_then(egress);
    let ingress = || match kind {
        EventKind::IngressStarted | EventKind::IngressEnded => {
            message.ingress_info.as_ref().and_then(ingress)
        }
        _ => None,
    };
    let job = || message.job.as_ref().and_then(|info| job(info, newer));
    egress.or_else(ingress).or_else(job).map(|work| reported_by(kind, work))
}

fn reported_by(kind: &EventKind, work: Work) -> Work {
    let is_start = work.is_start || begins(kind);
    Work { is_start, is_over: work.is_over || ends(kind), ..work }
}

fn begins(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::EgressStarted
            | EventKind::IngressStarted
            | EventKind::SipParticipantCreated
            | EventKind::SipCallIncoming
            | EventKind::SipCallStarted
            | EventKind::SipTransferRequested
            | EventKind::AgentJobPending
            | EventKind::AgentJobStarted
    )
}

fn ends(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::EgressEnded
            | EventKind::IngressEnded
            | EventKind::SipCallEnded
            | EventKind::SipTransferComplete
            | EventKind::AgentJobEnded
    )
}

fn unfinished(kind: WorkKind, id: &str) -> Option<Work> {
    Some(Work {
        kind,
        id: (!id.is_empty()).then(|| id.into())?,
        started: None,
        result_started: None,
        ended: None,
        updated: None,
        status: None,
        phase: None,
        is_start: false,
        is_over: false,
        of: None,
        failure: None,
        answered: None,
    })
}

// A call that is reported once, when it is over.
fn finished(kind: WorkKind, id: &str, started: Option<Time>, took: i64) -> Option<Work> {
    let took = Duration::from_nanos(u64::try_from(took).unwrap_or(0));
    let ended = started.map(|at| at + took);
    Some(Work { started, ended, is_start: true, is_over: true, ..unfinished(kind, id)? })
}

// Upstream writes Unix nanoseconds; 0 is unset.
pub(super) fn nanos(at: i64) -> Option<Time> {
    u64::try_from(at).ok().and_then(Time::from_nanos)
}

// The first of these that is set.
fn first(times: &[i64]) -> Option<Time> {
    times.iter().find_map(|at| nanos(*at))
}

fn failure(error_type: impl Into<Arc<str>>, message: &str) -> Failure {
    let message = (!message.is_empty()).then(|| message.into());
    Failure { error_type: error_type.into(), message }
}

fn egress(info: &lk::EgressInfo) -> Option<Work> {
    use lk::EgressStatus::{
        EgressAborted, EgressActive, EgressComplete, EgressEnding, EgressFailed,
        EgressLimitReached, EgressStarting,
    };
    let status = lk::EgressStatus::try_from(info.status).unwrap_or(EgressStarting);
    let failed = match status {
        EgressFailed => Some("egress_failed"),
        EgressAborted => Some("egress_aborted"),
        EgressLimitReached => Some("egress_limit_reached"),
        EgressStarting | EgressActive | EgressEnding | EgressComplete => None,
    };
    let phase = match lk::EgressStatus::try_from(info.status) {
        Ok(EgressStarting) => Some(EgressPhase::Starting),
        Ok(EgressActive) => Some(EgressPhase::Active),
        Ok(EgressEnding) => Some(EgressPhase::Ending),
        _ => None,
    };
    let results = results(info);
    let last = || results.iter().filter_map(|(_, ended)| *ended).max();
    Some(Work {
        started: nanos(info.started_at),
        result_started: results.iter().filter_map(|(started, _)| *started).min(),
        ended: nanos(info.ended_at).or_else(last),
        updated: nanos(info.updated_at),
        status: Some(info.status),
        phase,
        is_over: failed.is_some() || status == EgressComplete,
        failure: failed.map(|error_type| failure(error_type, &info.error)),
        ..unfinished(WorkKind::Egress, &info.egress_id)?
    })
}

// When each of its results began and ended. Older servers describe one result, newer ones a list.
#[expect(deprecated, reason = "servers still write them")]
fn results(info: &lk::EgressInfo) -> Vec<(Option<Time>, Option<Time>)> {
    use lk::egress_info::Result::{File, Segments, Stream};
    let (mut streams, mut files, mut segments) = (&[][..], None, None);
    match &info.result {
        Some(Stream(list)) => streams = &list.info,
        Some(File(file)) => files = Some(file),
        Some(Segments(list)) => segments = Some(list),
        None => {}
    }
    let streams = streams.iter().chain(&info.stream_results);
    let files = files.into_iter().chain(&info.file_results);
    let segments = segments.into_iter().chain(&info.segment_results);
    streams
        .map(|each| (each.started_at, each.ended_at))
        .chain(files.map(|each| (each.started_at, each.ended_at)))
        .chain(segments.map(|each| (each.started_at, each.ended_at)))
        .chain(info.image_results.iter().map(|each| (each.started_at, each.ended_at)))
        .map(|(started, ended)| (nanos(started), nanos(ended)))
        .collect()
}

fn ingress(info: &lk::IngressInfo) -> Option<Work> {
    use lk::ingress_state::Status;
    let state = info.state.as_ref()?;
    if info.ingress_id.is_empty() {
        return None;
    }
    let status = Status::try_from(state.status).unwrap_or(Status::EndpointInactive);
    let id = format!("{}/{}", info.ingress_id, state.resource_id);
    let failed = status == Status::EndpointError;
    let is_idle = status == Status::EndpointInactive && state.ended_at > 0;
    Some(Work {
        started: nanos(state.started_at),
        ended: nanos(state.ended_at),
        updated: nanos(state.updated_at),
        status: Some(state.status),
        // An ingress that may be used again becomes inactive.
        is_over: failed || status == Status::EndpointComplete || is_idle,
        failure: failed.then(|| failure("ingress_failed", &state.error)),
        ..unfinished(WorkKind::Ingress, &id)?
    })
}

// Before they had a unit in their names, the times were nanoseconds already.
#[expect(deprecated, reason = "older servers write them")]
fn sip_call(message: &lk::AnalyticsEvent) -> Option<Work> {
    use lk::SipCallStatus;
    let Some(info) = &message.sip_call else {
        return unfinished(WorkKind::SipCall, &message.sip_call_id);
    };
    let status = SipCallStatus::try_from(info.call_status).unwrap_or(SipCallStatus::ScsActive);
    let id = if info.call_id.is_empty() { &message.sip_call_id } else { &info.call_id };
    let answered = first(&[info.started_at_ns, info.started_at]);
    // A call that a final response rejected is disconnected, and no error.
    let code = info.call_status_code.as_ref().map_or(0, |status| status.code);
    let is_rejected = status == SipCallStatus::ScsDisconnected && code >= 400;
    let failed = status == SipCallStatus::ScsError || is_rejected;
    let error_type = || sip_status(info.call_status_code.as_ref(), "sip_call_failed");
    Some(Work {
        started: first(&[info.created_at_ns, info.created_at]).or(answered),
        ended: first(&[info.ended_at_ns, info.ended_at]),
        status: Some(info.call_status),
        is_over: failed || status == SipCallStatus::ScsDisconnected,
        failure: failed.then(|| failure(error_type(), &info.error)),
        answered,
        ..unfinished(WorkKind::SipCall, id)?
    })
}

fn sip_transfer(message: &lk::AnalyticsEvent) -> Option<Work> {
    use lk::SipTransferStatus::{StsTransferFailed, StsTransferSuccessful};
    let info = message.sip_transfer.as_ref()?;
    let status = info.transfer_status;
    let failed = status == StsTransferFailed as i32;
    let error_type = || sip_status(info.transfer_status_code.as_ref(), "sip_transfer_failed");
    let call = [&info.call_id, &message.sip_call_id].into_iter().find(|id| !id.is_empty());
    Some(Work {
        started: nanos(info.transfer_initiated_at_ns),
        ended: nanos(info.transfer_completed_at_ns),
        status: Some(status),
        is_over: failed || status == StsTransferSuccessful as i32,
        of: call.map(|id| id.as_str().into()),
        failure: failed.then(|| failure(error_type(), &info.error)),
        ..unfinished(WorkKind::SipTransfer, &info.transfer_id)?
    })
}

// Such as `sip_busy_here`. SIP names few of its status codes.
fn sip_status(status: Option<&lk::SipStatus>, otherwise: &str) -> Arc<str> {
    let code = status.map_or(0, |status| status.code);
    let known = lk::SipStatusCode::try_from(code).map_or(0, |_| code);
    let name = named(known, lk::SipStatusCode::as_str_name, &Unknown::default());
    let known = |name: Arc<str>| format!("sip_{}", name.trim_start_matches("SIP_STATUS_"));
    name.map_or_else(|| otherwise.into(), |name| known(name).to_ascii_lowercase().into())
}

fn job(info: &lk::Job, newer: &newer::Job) -> Option<Work> {
    let state = info.state.clone().unwrap_or_default();
    let more = newer.state.clone().unwrap_or_default();
    let failed = state.status == lk::JobStatus::JsFailed as i32;
    let cancelled = state.status == newer::CANCELLED;
    let failure = match (failed, cancelled) {
        (true, _) => Some(failure("agent_job_failed", &state.error)),
        (_, true) if more.reason == newer::NO_CAPACITY => {
            Some(failure("agent_job_no_capacity", &state.error))
        }
        _ => None,
    };
    Some(Work {
        started: first(&[newer.created_at, more.first_started_at, state.started_at]),
        ended: nanos(state.ended_at),
        updated: nanos(state.updated_at),
        status: info.state.as_ref().map(|state| state.status),
        is_over: failed || cancelled || state.status == lk::JobStatus::JsSuccess as i32,
        failure,
        ..unfinished(WorkKind::AgentJob, &info.id)?
    })
}

fn api_call(id: &str, info: &lk::ApiCallInfo) -> Option<Work> {
    // Twirp has few codes; anything that does not look like one is not sent.
    let code = &info.twirp_error_code;
    let is_code =
        code.len() < 32 && code.chars().all(|each| each == '_' || each.is_ascii_lowercase());
    let error_type = if is_code { code.as_str() } else { "api_call_failed" };
    let message = &info.twirp_error_message;
    let started = time(info.started_at.as_ref());
    Some(Work {
        failure: (!code.is_empty()).then(|| failure(error_type, message)),
        ..finished(WorkKind::ApiCall, id, started, info.duration_ns)?
    })
}

fn delivery(id: &str, info: &lk::WebhookInfo) -> Option<Work> {
    let status = info.http_status_code;
    // Errors may quote the whole URL, which may have a secret.
    let failure = if info.is_dropped {
        Some(failure("webhook_dropped", "the server gave the webhook up"))
    } else if status >= 400 {
        Some(failure(status.to_string(), "the receiver refused the webhook"))
    } else if info.send_error.is_empty() && info.service_error.is_empty() {
        None
    } else {
        Some(failure("webhook_send_failed", "the webhook could not be sent"))
    };
    let started = time(info.sent_at.as_ref());
    Some(Work {
        failure,
        ..finished(WorkKind::WebhookDelivery, id, started, info.send_duration_ns)?
    })
}

/// A participant's state, by LiveKit's name.
pub(super) fn state(info: &lk::ParticipantInfo, unknown: &Unknown) -> Arc<str> {
    any(info.state, lk::participant_info::State::as_str_name, unknown)
}
