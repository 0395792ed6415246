//! When a participant was requested: times that LiveKit's services write into its attributes.

use livekit_protocol as lk;

use livekit_otel_model::event::Time;

// Each in Unix milliseconds, as decimal text (protocol 1.54, livekit/attrs.go): when the server received
// the join request, when the INVITE of an inbound call was received, and when an outbound call was
// answered.
const KEYS: [&str; 3] = ["lk.rtc.joinRequestTime", INVITE, ANSWER];
/// When the INVITE of an inbound call was received.
pub(super) const INVITE: &str = "lk.sip.inviteTime";
/// When the callee answered an outbound call.
pub(super) const ANSWER: &str = "lk.sip.answerTime";

/// The times that a participant's attributes have; one that can't be read is left out.
pub(super) fn of(info: &lk::ParticipantInfo) -> Vec<Time> {
    KEYS.into_iter().filter_map(|key| millis(info, key)).collect()
}

/// The time under one of these keys.
pub(super) fn millis(info: &lk::ParticipantInfo, key: &str) -> Option<Time> {
    Time::from_millis(info.attributes.get(key)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(attributes: &[(&str, &str)]) -> Vec<Time> {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        of(&lk::ParticipantInfo { attributes: attributes.collect(), ..Default::default() })
    }

    #[test]
    fn only_whole_milliseconds_under_known_keys_are_times() {
        let at = |millis| Time::from_millis(millis).unwrap();
        let attributes = [
            ("lk.sip.inviteTime", "1795406961123"),
            ("lk.rtc.joinRequestTime", "1795406961456"),
            ("lk.sip.pinEnteredTime", "1795406962000"),
        ];
        assert_eq!(times(&attributes), [at(1_795_406_961_456), at(1_795_406_961_123)]);
        for bad in ["", "0", "-1", "soon", "1795406961.5", "99999999999999999999"] {
            assert_eq!(times(&[("lk.sip.answerTime", bad)]), [], "{bad}");
        }
    }
}
