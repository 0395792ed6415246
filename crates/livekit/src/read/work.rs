//! Reads egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and webhook
//! deliveries into [`Work`].

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as lk;

use super::names::{any, named, time};
use livekit_otel_model::event::{EventKind, Failure, Time, Unknown, Work, WorkKind};

/// The work that an analytics event reports.
pub(super) fn of_analytics(message: &lk::AnalyticsEvent, kind: &EventKind) -> Option<Work> {
    match kind {
        EventKind::EgressStarted | EventKind::EgressUpdated | EventKind::EgressEnded => {
            match &message.egress {
                Some(info) => egress(info),
                None => unfinished(WorkKind::Egress, &message.egress_id, None, None),
            }
        }
        EventKind::IngressStarted | EventKind::IngressUpdated | EventKind::IngressEnded => {
            ingress(message.ingress.as_ref()?)
        }
        EventKind::SipParticipantCreated
        | EventKind::SipCallIncoming
        | EventKind::SipCallStarted
        | EventKind::SipCallUpdate
        | EventKind::SipCallEnded => sip_call(message, kind),
        EventKind::SipTransferRequested | EventKind::SipTransferComplete => {
            sip_transfer(message, kind)
        }
        EventKind::ApiCall => api_call(&message.id, message.api_call.as_ref()?),
        EventKind::Webhook => delivery(&message.id, message.webhook.as_ref()?),
        _ => None,
    }
    .map(|work| Work { is_over: work.is_over || ends(kind), ..work })
}

/// The work that a webhook reports.
pub(super) fn of_webhook(message: &lk::WebhookEvent, kind: &EventKind) -> Option<Work> {
    let egress = message.egress_info.as_ref().and_then(egress);
    let ingress = || match kind {
        EventKind::IngressStarted | EventKind::IngressEnded => {
            message.ingress_info.as_ref().and_then(ingress)
        }
        _ => None,
    };
    let work = egress.or_else(ingress).or_else(|| message.job.as_ref().and_then(job))?;
    Some(Work { is_over: work.is_over || ends(kind), ..work })
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

fn unfinished(
    kind: WorkKind,
    id: &str,
    started: Option<Time>,
    ended: Option<Time>,
) -> Option<Work> {
    let id = (!id.is_empty()).then(|| id.into())?;
    Some(Work { kind, id, started, ended, is_over: false, of: None, failure: None })
}

// Upstream writes Unix nanoseconds; 0 is unset.
fn nanos(at: i64) -> Option<Time> {
    u64::try_from(at).ok().and_then(Time::from_nanos)
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
    let work = unfinished(
        WorkKind::Egress,
        &info.egress_id,
        nanos(info.started_at),
        nanos(info.ended_at),
    )?;
    Some(Work {
        is_over: failed.is_some() || status == EgressComplete,
        failure: failed.map(|error_type| failure(error_type, &info.error)),
        ..work
    })
}

fn ingress(info: &lk::IngressInfo) -> Option<Work> {
    use lk::ingress_state::Status;
    let state = info.state.as_ref()?;
    if info.ingress_id.is_empty() {
        return None;
    }
    let status = Status::try_from(state.status).unwrap_or(Status::EndpointInactive);
    let id = format!("{}/{}", info.ingress_id, state.resource_id);
    let work = unfinished(WorkKind::Ingress, &id, nanos(state.started_at), nanos(state.ended_at))?;
    let failed = status == Status::EndpointError;
    Some(Work {
        is_over: failed || status == Status::EndpointComplete,
        failure: failed.then(|| failure("ingress_failed", &state.error)),
        ..work
    })
}

fn sip_call(message: &lk::AnalyticsEvent, kind: &EventKind) -> Option<Work> {
    use lk::SipCallStatus;
    let Some(info) = &message.sip_call else {
        return unfinished(WorkKind::SipCall, &message.sip_call_id, None, None);
    };
    let status = SipCallStatus::try_from(info.call_status).unwrap_or(SipCallStatus::ScsActive);
    let id = if info.call_id.is_empty() { &message.sip_call_id } else { &info.call_id };
    let started = nanos(info.created_at_ns).or(nanos(info.started_at_ns));
    let work = unfinished(WorkKind::SipCall, id, started, nanos(info.ended_at_ns))?;
    let failed = status == SipCallStatus::ScsError;
    let error_type = || sip_status(info.call_status_code.as_ref(), "sip_call_failed");
    Some(Work {
        is_over: failed || status == SipCallStatus::ScsDisconnected || ends(kind),
        failure: failed.then(|| failure(error_type(), &info.error)),
        ..work
    })
}

fn sip_transfer(message: &lk::AnalyticsEvent, kind: &EventKind) -> Option<Work> {
    let info = message.sip_transfer.as_ref()?;
    let work = unfinished(
        WorkKind::SipTransfer,
        &info.transfer_id,
        nanos(info.transfer_initiated_at_ns),
        nanos(info.transfer_completed_at_ns),
    )?;
    let failed = info.transfer_status == lk::SipTransferStatus::StsTransferFailed as i32;
    let error_type = || sip_status(info.transfer_status_code.as_ref(), "sip_transfer_failed");
    let call = [&info.call_id, &message.sip_call_id].into_iter().find(|id| !id.is_empty());
    Some(Work {
        is_over: failed || ends(kind),
        of: call.map(|id| id.as_str().into()),
        failure: failed.then(|| failure(error_type(), &info.error)),
        ..work
    })
}

// Such as `sip_busy_here`. SIP names few of its status codes.
fn sip_status(status: Option<&lk::SipStatus>, otherwise: &str) -> Arc<str> {
    let code = status.map_or(0, |status| status.code);
    let unknown = &mut Unknown::default();
    let name = named(code, lk::SipStatusCode::as_str_name, unknown);
    let known = |name: Arc<str>| format!("sip_{}", name.trim_start_matches("SIP_STATUS_"));
    name.map_or_else(|| otherwise.into(), |name| known(name).to_ascii_lowercase().into())
}

fn job(info: &lk::Job) -> Option<Work> {
    let state = info.state.clone().unwrap_or_default();
    let work =
        unfinished(WorkKind::AgentJob, &info.id, nanos(state.started_at), nanos(state.ended_at))?;
    let failed = state.status == lk::JobStatus::JsFailed as i32;
    Some(Work {
        is_over: failed || state.status == lk::JobStatus::JsSuccess as i32,
        failure: failed.then(|| failure("agent_job_failed", &state.error)),
        ..work
    })
}

fn api_call(id: &str, info: &lk::ApiCallInfo) -> Option<Work> {
    let started = time(info.started_at.as_ref());
    // Twirp has few codes; anything that does not look like one is not sent.
    let code = &info.twirp_error_code;
    let is_code =
        code.len() < 32 && code.chars().all(|each| each == '_' || each.is_ascii_lowercase());
    let error_type = if is_code { code.as_str() } else { "api_call_failed" };
    let message = &info.twirp_error_message;
    Some(Work {
        is_over: true,
        failure: (!code.is_empty()).then(|| failure(error_type, message)),
        ..unfinished(WorkKind::ApiCall, id, started, end(started, info.duration_ns))?
    })
}

fn delivery(id: &str, info: &lk::WebhookInfo) -> Option<Work> {
    let started = time(info.sent_at.as_ref());
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
    Some(Work {
        is_over: true,
        failure,
        ..unfinished(WorkKind::WebhookDelivery, id, started, end(started, info.send_duration_ns))?
    })
}

fn end(started: Option<Time>, took: i64) -> Option<Time> {
    started.map(|at| at + Duration::from_nanos(u64::try_from(took).unwrap_or(0)))
}

/// A participant's state, by LiveKit's name.
pub(super) fn state(info: &lk::ParticipantInfo, unknown: &mut Unknown) -> Option<Arc<str>> {
    any(info.state, lk::participant_info::State::as_str_name, unknown)
}
