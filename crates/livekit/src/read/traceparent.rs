//! Finds the trace of a client: a W3C `traceparent` in a participant's attributes or metadata, set
//! by the client or by the application that made its token.

use livekit_protocol as lk;
use serde::Deserialize;

use livekit_otel_model::event::Caller;

const KEY: &str = "traceparent";
// Larger metadata is not searched.
const LONGEST_METADATA: usize = 4096;

/// The span that a participant names as its caller.
pub(super) fn of(info: &lk::ParticipantInfo) -> Option<Caller> {
    if let Some(value) = info.attributes.get(KEY) {
        return parse(value);
    }
    let metadata = &info.metadata;
    if metadata.len() > LONGEST_METADATA || !metadata.contains(KEY) {
        return None;
    }
    let metadata: Metadata = serde_json::from_str(metadata).ok()?;
    parse(&metadata.traceparent)
}

#[derive(Deserialize)]
struct Metadata {
    traceparent: String,
}

// W3C Trace Context, 3.2.2: 00-<32 hex>-<16 hex>-<2 hex>, lower case; later versions may have more.
fn parse(value: &str) -> Option<Caller> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let _: [u8; 1] = hex(version)?;
    let _: [u8; 1] = hex(flags)?;
    let (trace_id, span_id) = (hex(trace)?, hex(span)?);
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(Caller { trace_id, span_id })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn participant(attributes: &[(&str, &str)], metadata: &str) -> lk::ParticipantInfo {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        lk::ParticipantInfo {
            attributes: attributes.collect(),
            metadata: metadata.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_traceparent_is_found_in_attributes_and_in_metadata() {
        let expected = parse(GOOD);
        assert_eq!(expected.unwrap().span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!(of(&participant(&[("traceparent", GOOD)], "")), expected);
        let metadata = format!(r#"{{"plan":"pro","traceparent":"{GOOD}"}}"#);
        assert_eq!(of(&participant(&[], &metadata)), expected);
        assert_eq!(of(&participant(&[("plan", GOOD)], "not JSON: traceparent")), None);
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let later = GOOD.replacen("00", "01", 1) + "-more";
        assert!(parse(&later).is_some());
    }
}
