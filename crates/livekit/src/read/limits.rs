//! Limits that a message must keep before it is decoded.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::unreadable::Unreadable;

// A decoded message takes far more memory than its bytes: an empty event is two bytes, and 4 kB
// decoded. Upstream sends one event in a message, or one worker's stats; a node may have many
// rooms.
pub(super) const MOST_ITEMS: usize = 10_000;
pub(super) const MOST_ROOMS: usize = 100_000;

/// Refuses a message of more than `most` items. The items of all three messages are fields of the
/// message itself, which has few others.
pub(super) fn limit(mut bytes: &[u8], most: usize) -> Result<(), Unreadable> {
    for _ in 0..=most {
        if bytes.is_empty() {
            return Ok(());
        }
        let (tag, wire) = decode_key(&mut bytes).map_err(|_| Unreadable::protobuf())?;
        skip_field(wire, tag, &mut bytes, DecodeContext::default())
            .map_err(|_| Unreadable::protobuf())?;
    }
    Err(Unreadable::new(format!("more than {most} items in one message")))
}

// A message may have `NESTED` nested messages for each item and one for each `BYTES` bytes, far more
// than any sender has.
const NESTED: usize = 4;
const BYTES: usize = 32;
// LiveKit's messages have five levels: event, participant, track, codec, layer.
const DEEPEST: u32 = 8;

/// Refuses a message with too many nested messages in its items.
pub(super) fn limit_nested(bytes: &[u8], most: usize) -> Result<(), Unreadable> {
    let most = NESTED * most + bytes.len() / BYTES;
    // No nested message is shorter than two bytes.
    if bytes.len() / 2 <= most || nested(bytes, DEEPEST).is_none_or(|found| found <= most) {
        return Ok(());
    }
    Err(Unreadable::new(format!("more than {most} nested messages")))
}

// How many messages these bytes contain, at any depth; `None` if they are not a message. A text
// that can be read as a message counts as one.
fn nested(mut bytes: &[u8], depth: u32) -> Option<usize> {
    let mut found = 0;
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (inner, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if let Some(deeper) = depth.checked_sub(1).map_or(Some(0), |depth| nested(inner, depth)) {
            found += 1 + deeper;
        }
    }
    Some(found)
}
