//! Counts what a protobuf message contains that this version does not know, which prost drops.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::schema::{Enum, Kind, Message};
use super::unknown::Unknown;

// As deep as prost decodes.
const DEEPEST: u32 = 100;

/// Counts the unknown fields and enum values of `bytes`, which are to be decoded as `message`.
/// Bytes that can't be decoded are counted up to their fault.
pub(super) fn count(bytes: &[u8], message: &Message, unknown: &mut Unknown) {
    let _ = walk(bytes, message, DEEPEST, unknown);
}

fn walk(mut bytes: &[u8], message: &Message, depth: u32, unknown: &mut Unknown) -> Option<()> {
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let Some(field) = message.field(number) else {
            unknown.field(message.name, number);
            skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        };
        match (wire, field.kind) {
            (WireType::LengthDelimited, kind) => {
                let content = content(&mut bytes)?;
                if let Some(inner) = kind.message() {
                    walk(content, inner, depth.checked_sub(1)?, unknown)?;
                } else if let Some(known) = kind.enumeration() {
                    let mut packed = content;
                    while !packed.is_empty() {
                        value(known, &mut packed, unknown)?;
                    }
                }
            }
            (WireType::Varint, Kind::Enum(_)) => {
                value(field.kind.enumeration()?, &mut bytes, unknown)?;
            }
            (WireType::Varint, _) => {
                decode_varint(&mut bytes).ok()?;
            }
            _ => skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?,
        }
    }
    Some(())
}

pub(super) fn content<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (content, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(content)
}

fn value(known: &Enum, bytes: &mut &[u8], unknown: &mut Unknown) -> Option<()> {
    // Enums are 32 bits wide; a negative value is encoded with 64.
    #[allow(clippy::cast_possible_truncation)]
    let number = decode_varint(bytes).ok()? as i32;
    if known.is_counted() && known.value(number).is_none() {
        unknown.enum_values += 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::schema;

    fn counted(name: &str, bytes: &[u8]) -> (u64, u64) {
        let mut unknown = Unknown::default();
        count(bytes, schema::message(name), &mut unknown);
        let counts = unknown.counts();
        (counts.fields, counts.enum_values)
    }

    // A nested message or a packed list.
    fn nested(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap()];
        bytes.extend_from_slice(inner);
        bytes
    }

    #[test]
    fn fields_of_each_wire_type_are_counted_at_every_depth() {
        // Numbers 500 and 501 of a room: a varint, 64 bits, a text, a group, 32 bits.
        let varint = [0xa0, 0x1f, 0x01];
        for field in [
            &varint[..],
            &[0xa1, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xa2, 0x1f, 2, b'h', b'i'],
            &[0xa3, 0x1f, 0x08, 0x01, 0xa4, 0x1f],
            &[0xa5, 0x1f, 0, 0, 0, 0],
        ] {
            let room = [b"\x0a\x04RM_1", field, field].concat();
            assert_eq!(counted("Room", &room), (2, 0));
            let event = nested(4, &room);
            assert_eq!(counted("AnalyticsEvents", &nested(1, &event).repeat(3)), (6, 0));
        }
        // A participant's tracks, and their codecs.
        let codecs = nested(13, &varint).repeat(2);
        let participant = [nested(4, &codecs), varint.to_vec()].concat();
        assert_eq!(counted("ListParticipantsResponse", &nested(1, &participant)), (3, 0));
    }

    #[test]
    fn an_entry_of_a_map_with_an_empty_value_has_no_unknown_field() {
        // As Go writes it; prost leaves the value out.
        let attributes = nested(15, b"\x0a\x01k\x12\x00");
        assert_eq!(counted("ParticipantInfo", &attributes), (0, 0));
        assert_eq!(counted("ParticipantInfo", &nested(15, b"\x18\x01")), (1, 0));
    }

    #[test]
    fn enum_values_are_counted_also_in_packed_lists() {
        // The kind, 99, and its details, unknown in both encodings of a list.
        assert_eq!(counted("ParticipantInfo", &[14 << 3, 99]), (0, 1));
        assert_eq!(counted("ParticipantInfo", &[14 << 3, 1]), (0, 0));
        assert_eq!(counted("ParticipantInfo", &[0x90, 0x01, 99, 0x90, 0x01, 1]), (0, 1));
        assert_eq!(counted("ParticipantInfo", &[0x92, 0x01, 3, 99, 1, 98]), (0, 2));
        // Types of events are counted elsewhere, and SIP has more codes than LiveKit names.
        assert_eq!(counted("AnalyticsEvent", &[1 << 3, 99]), (0, 0));
        assert_eq!(counted("SIPStatus", &[1 << 3, 99]), (0, 0));
    }

    #[test]
    fn bytes_that_are_no_message_end_the_count() {
        for bytes in [&[0xff; 12][..], b"\x0a\x05ab", b"secret", &[0x0a], &[0x22, 0x7f]] {
            counted("AnalyticsEvents", bytes);
        }
    }
}
