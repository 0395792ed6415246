//! Metrics of operations beside a room's media (egresses, ingresses, SIP calls, agents' jobs and dispatches), and what
//! rooms used: the time of participants, tracks, egresses, SIP calls and agents. All of them are made when a span is
//! released, so that they agree with the spans.

mod saved;
mod series;
mod what;

use std::sync::Arc;
use std::time::Duration;

use super::points::FlushInterval;
use super::settings::Settings;
use crate::facts::{Census, Fact, Labels, ParticipantUsage, WorkDone};
use livekit_otel_model::event::WorkKind;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Metric;
use series::Of;
pub(super) use series::WorkSeries;
use what::What;

// The kind of an agent, by `livekit.ParticipantInfo.Kind`.
const AGENT: &str = "AGENT";
const ANSWERED: &str = "answered";
const OF_EGRESS: &[&str] = &[key::EGRESS_TYPE];
const OF_CALL: &[&str] = &[key::SIP_CALL_DIRECTION, key::SIP_TRUNK_ID];

impl WorkSeries {
    pub(super) fn apply(&mut self, settings: &Settings, fact: &Fact) {
        match fact {
            Fact::ParticipantUsed(used) => self.participant(settings, used),
            Fact::WorkReleased(done) => self.work(settings, done),
            _ => {}
        }
    }

    fn participant(&mut self, settings: &Settings, used: &ParticipantUsage) {
        let of = (Some(&used.room), used.room_name.as_ref());
        let label = |key, text: Option<&str>| Labels::default().with(key, text.map(Arc::from));
        let kind = label(key::PARTICIPANT_KIND, used.kind);
        self.used(settings, What::ParticipantTime, of, kind, used.took);
        if used.kind == Some(AGENT) {
            self.used(settings, What::AgentTime, of, Labels::default(), used.took);
        }
        let tracks =
            [(What::PublishedTime, used.published), (What::SubscribedTime, used.subscribed)];
        for (what, times) in tracks {
            for (kind, took) in times.each() {
                self.used(settings, what, of, label(key::TRACK_KIND, kind), took);
            }
        }
    }

    fn work(&mut self, settings: &Settings, done: &WorkDone) {
        let WorkDone { labels, took, .. } = done;
        let failed = |labels: Labels| labels.with(key::ERROR_TYPE, done.error_type.clone());
        let of = (done.room.as_ref(), done.room_name.as_ref());
        let (duration, first) = match done.kind {
            WorkKind::Egress => (What::Egress, Some((What::FirstFrame, OF_EGRESS))),
            WorkKind::Ingress => (What::Ingress, None),
            WorkKind::SipCall => (What::SipCall, Some((What::SipAnswer, OF_CALL))),
            WorkKind::SipTransfer => (What::SipTransfer, None),
            WorkKind::AgentJob => (What::AgentJob, None),
            WorkKind::AgentDispatch => (What::Dispatch, None),
            WorkKind::ApiCall | WorkKind::WebhookDelivery => return,
        };
        self.took(settings, duration, failed(labels.clone()), *took);
        if let Some(((what, keys), first)) = first.zip(done.first) {
            self.took(settings, what, labels.only(keys), first);
        }
        match done.kind {
            WorkKind::Egress => {
                self.used(settings, What::EgressTime, of, labels.only(OF_EGRESS), *took);
            }
            WorkKind::SipCall if labels.text(key::SIP_ANSWER) == Some(ANSWERED) => {
                let spoken = took.saturating_sub(done.first.unwrap_or_default());
                self.used(settings, What::SipTime, of, labels.only(OF_CALL), spoken);
            }
            _ => {}
        }
    }

    fn used(
        &mut self,
        settings: &Settings,
        what: What,
        of: Of<'_>,
        labels: Labels,
        took: Duration,
    ) {
        if !took.is_zero() {
            self.add_time(settings, what, of, labels, took);
        }
    }

    pub(super) fn flush(
        &mut self,
        settings: &Settings,
        interval: FlushInterval,
        census: &Census,
        to: &mut Vec<Metric>,
    ) {
        self.close();
        for ((kind, labels), count) in &census.works {
            let (what, keys) = match kind {
                WorkKind::Egress => (What::Egresses, OF_EGRESS),
                WorkKind::Ingress => (What::Ingresses, &[][..]),
                WorkKind::SipCall => (What::SipCalls, OF_CALL),
                WorkKind::AgentJob => (What::AgentJobs, &[][..]),
                WorkKind::SipTransfer
                | WorkKind::AgentDispatch
                | WorkKind::ApiCall
                | WorkKind::WebhookDelivery => continue,
            };
            self.open(settings, what, labels.only(keys), *count);
        }
        for (reason, count) in &census.stuck_egresses {
            let labels = Labels::default().with(key::EGRESS_STUCK_REASON, Some((*reason).into()));
            self.open(settings, What::StuckEgresses, labels, *count);
        }
        self.points(interval, to);
    }
}
