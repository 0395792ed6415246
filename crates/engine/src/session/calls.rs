//! What the attributes of a SIP participant have said of its call.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event_time::earliest;
use livekit_otel_model::event::{SipCall, SipStatus, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

// A poll that is later than this after the one before does not say when the call was answered.
const POLLED_WITHIN: Duration = Duration::from_secs(2);

/// What the attributes of a participant have said of its call, in whatever order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: Arc<str>,
    pub(super) trunk: Option<Arc<str>>,
    pub(super) rule: Option<Arc<str>>,
    pub(super) number: Option<Arc<str>>,
    pub(super) trunk_number: Option<Arc<str>>,
    // The status at its leave, and whether one before and one after the answer was reported at any time.
    pub(super) last: Option<SipStatus>,
    pub(super) has_waited: bool,
    pub(super) was_active: bool,
    pub(super) invited: Option<Time>,
    pub(super) answered: Option<Time>,
    pub(super) has_tag: bool,
    // Of the API's answers, the last that found it waiting for its answer, and the first that found it answered.
    polled_waiting: Option<Time>,
    polled_active: Option<Time>,
}

impl Call {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            trunk: None,
            rule: None,
            number: None,
            trunk_number: None,
            last: None,
            has_waited: false,
            was_active: false,
            invited: None,
            answered: None,
            has_tag: false,
            polled_waiting: None,
            polled_active: None,
        }
    }

    /// Adds what a message says of it; `left` if that is the participant's leave. Only then are the attributes
    /// known to be the last: their changes are not reported.
    pub(super) fn describe(&mut self, call: &SipCall, left: bool) {
        for (known, new) in [
            (&mut self.trunk, &call.trunk),
            (&mut self.rule, &call.rule),
            (&mut self.number, &call.number),
            (&mut self.trunk_number, &call.trunk_number),
        ] {
            if known.is_none() {
                known.clone_from(new);
            }
        }
        match call.status {
            Some(SipStatus::Dialing | SipStatus::Ringing) => self.has_waited = true,
            Some(SipStatus::Automation | SipStatus::Active) => self.was_active = true,
            Some(SipStatus::Hangup) | None => {}
        }
        if left {
            self.last = self.last.max(call.status);
        }
        earliest(&mut self.invited, call.invited);
        earliest(&mut self.answered, call.answered);
        self.has_tag |= call.has_tag;
    }

    /// Adds what the API's answer says of it, which was asked for at `at`.
    pub(super) fn poll(&mut self, call: &SipCall, at: Time) {
        self.describe(call, false);
        match call.status {
            Some(SipStatus::Dialing | SipStatus::Ringing) => {
                self.polled_waiting = self.polled_waiting.max(Some(at));
            }
            Some(SipStatus::Automation | SipStatus::Active) => {
                earliest(&mut self.polled_active, at);
            }
            Some(SipStatus::Hangup) | None => {}
        }
    }

    /// When the API found it answered, if it was still waiting shortly before. It waited at `start` if a message
    /// ever said so.
    pub(super) fn polled(&self, start: Time) -> Option<Time> {
        let waited = self.polled_waiting.or(self.has_waited.then_some(start))?;
        self.polled_active.filter(|at| waited < *at && at.since(waited) <= POLLED_WITHIN)
    }

    /// Whether it is an inbound call: each of those has a rule (protocol 1.54, sip/sip.go,
    /// `EvaluateDispatchRule`).
    pub(super) fn is_inbound(&self) -> bool {
        self.rule.is_some() || self.invited.is_some()
    }

    /// Adds the attributes of its span.
    pub(super) fn attributes(&self, to: &mut Vec<Attribute>) {
        let direction = if self.is_inbound() { "SCD_INBOUND" } else { "SCD_OUTBOUND" };
        to.push(Attribute::new(key::SIP_CALL_ID, Arc::clone(&self.id)));
        to.push(Attribute::new(key::SIP_CALL_DIRECTION, direction));
        let texts = [
            (key::SIP_TRUNK_ID, &self.trunk),
            (key::SIP_DISPATCH_RULE_ID, &self.rule),
            (key::SIP_PHONE_NUMBER, &self.number),
            (key::SIP_TRUNK_PHONE_NUMBER, &self.trunk_number),
        ];
        for (key, text) in texts {
            to.extend(text.as_ref().map(|text| Attribute::new(key, Arc::clone(text))));
        }
        to.extend(self.last.map(|status| Attribute::new(key::SIP_LAST_STATUS, status.name())));
    }

    /// Whether it still waited for its answer when the participant left.
    pub(super) fn left_waiting(&self) -> bool {
        matches!(self.last, Some(SipStatus::Dialing | SipStatus::Ringing))
    }
}
