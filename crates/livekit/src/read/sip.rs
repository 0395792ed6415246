//! The SIP call of a participant: what LiveKit's SIP service writes into its attributes (livekit/sip
//! `pkg/sip`; protocol 1.54, livekit/attrs.go). Nothing else of them is read: they may have the call's
//! headers, and whatever the application adds.

use std::sync::Arc;

use livekit_protocol as lk;
use lk::participant_info::Kind;

use super::requested;
use livekit_otel_model::event::{SipCall, SipStatus};

const CALL: &str = "sip.callID";
const TRUNK: &str = "sip.trunkID";
const RULE: &str = "sip.ruleID";
const STATUS: &str = "sip.callStatus";
const TAG: &str = "sip.callTag";
// These two are left out where the trunk or the rule hides numbers.
const NUMBER: &str = "sip.phoneNumber";
const TRUNK_NUMBER: &str = "sip.trunkPhoneNumber";

// A longer text is no id, and no number.
const LONGEST: usize = 64;

/// Whether an attribute is read.
pub(super) fn is_read(key: &str) -> bool {
    let of_calls = [CALL, TRUNK, RULE, STATUS, TAG, NUMBER, TRUNK_NUMBER];
    of_calls.contains(&key) || [requested::INVITE, requested::ANSWER].contains(&key)
}

/// The SIP call of a participant of kind `SIP` whose attributes name one.
pub(super) fn of(info: &lk::ParticipantInfo) -> Option<SipCall> {
    if info.kind != Kind::Sip as i32 {
        return None;
    }
    let attribute = |key: &str| info.attributes.get(key).map(String::as_str);
    let number = |key| attribute(key).and_then(number);
    Some(SipCall {
        id: id(attribute(CALL)?, "SCL_")?,
        trunk: attribute(TRUNK).and_then(|trunk| id(trunk, "ST_")),
        rule: attribute(RULE).and_then(|rule| id(rule, "SDR_")),
        status: attribute(STATUS).and_then(status),
        number: number(NUMBER),
        trunk_number: number(TRUNK_NUMBER),
        invited: requested::millis(info, requested::INVITE),
        answered: requested::millis(info, requested::ANSWER),
        has_tag: attribute(TAG).is_some_and(|tag| !tag.is_empty()),
    })
}

/// A phone number, or what a SIP URI has in its place.
pub(super) fn number(text: &str) -> Option<Arc<str>> {
    (!text.is_empty() && text.len() <= LONGEST).then(|| text.into())
}

// Only what looks like an id of LiveKit's is one (protocol 1.54, utils/guid): the application can change
// attributes.
fn id(text: &str, prefix: &str) -> Option<Arc<str>> {
    let rest = text.strip_prefix(prefix)?;
    let is_id = !rest.is_empty()
        && text.len() <= LONGEST
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    is_id.then(|| text.into())
}

fn status(name: &str) -> Option<SipStatus> {
    SipStatus::ALL.into_iter().find(|status| status.name() == name)
}

#[cfg(test)]
mod tests {
    use livekit_otel_model::event::Time;

    use super::*;

    fn call(kind: Kind, attributes: &[(&str, &str)]) -> Option<SipCall> {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let attributes = attributes.collect();
        of(&lk::ParticipantInfo { kind: kind as i32, attributes, ..Default::default() })
    }

    const INBOUND: [(&str, &str); 10] = [
        ("sip.callID", "SCL_YPunENjCd7jP"),
        ("sip.callIDFull", "f2a74de4@test"),
        ("sip.callStatus", "ringing"),
        ("sip.callTag", "269e0d37"),
        ("sip.phoneNumber", "+15550100"),
        ("sip.ruleID", "SDR_JvLtXFFc54Cr"),
        ("sip.trunkID", "ST_o3k74dkdJVGD"),
        ("sip.trunkPhoneNumber", "+15550001"),
        ("lk.sip.inviteTime", "1795987169625"),
        ("sip.h.x-secret", "made-up"),
    ];

    #[test]
    fn the_attributes_of_the_sip_service_describe_a_call() {
        let expected = SipCall {
            id: "SCL_YPunENjCd7jP".into(),
            trunk: Some("ST_o3k74dkdJVGD".into()),
            rule: Some("SDR_JvLtXFFc54Cr".into()),
            status: Some(SipStatus::Ringing),
            number: Some("+15550100".into()),
            trunk_number: Some("+15550001".into()),
            invited: Time::from_millis(1_795_987_169_625),
            answered: None,
            has_tag: true,
        };
        assert_eq!(call(Kind::Sip, &INBOUND), Some(expected));
    }

    #[test]
    fn only_participants_of_kind_sip_that_name_a_call_have_one() {
        for kind in [Kind::Standard, Kind::Agent, Kind::Connector] {
            assert_eq!(call(kind, &INBOUND), None);
        }
        assert_eq!(call(Kind::Sip, &INBOUND[1..]), None);
    }

    #[test]
    fn texts_that_are_no_ids_numbers_or_statuses_are_not_read() {
        let long = "9".repeat(65);
        for bad in ["", "SCL_", "ST_", "SDR_", "SCL_+15550100", "ST_a b", "ada", &long] {
            assert_eq!(call(Kind::Sip, &[("sip.callID", bad)]), None, "{bad}");
            let attributes = [
                ("sip.callID", "SCL_1"),
                ("sip.trunkID", bad),
                ("sip.ruleID", bad),
                ("sip.callStatus", bad),
            ];
            let read = call(Kind::Sip, &attributes).unwrap();
            assert_eq!((read.trunk, read.rule, read.status), (None, None, None), "{bad}");
        }
        let attributes = [("sip.callID", "SCL_1"), ("sip.phoneNumber", ""), ("sip.callTag", "")];
        let read = call(Kind::Sip, &attributes).unwrap();
        assert_eq!((read.number, read.has_tag), (None, false));
        assert_eq!(
            call(Kind::Sip, &[("sip.callID", "SCL_1"), ("sip.phoneNumber", &long)]).unwrap().number,
            None
        );
    }
}
