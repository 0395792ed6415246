//! The limit that a request must keep before it is decoded.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::json::Message;

// A decoded message takes far more memory than its bytes: an empty span is two bytes, and 300 decoded. Those of SDKs
// take at most four times their bytes.
const TIMES: usize = 8;
// A smaller request is not worth the look.
const SMALL: usize = 64 << 10;
// As deep as prost decodes.
const DEEPEST: u32 = 100;

/// Whether `bytes`, a `message`, may be decoded.
pub(crate) fn keeps(bytes: &[u8], message: &'static Message) -> bool {
    let mut left = bytes.len().saturating_mul(TIMES);
    // What can't be decoded is refused by prost.
    bytes.len() <= SMALL || walk(bytes, message, DEEPEST, &mut left).is_none_or(|keeps| keeps)
}

// Takes the size of the messages in lists from `left`, as others are a part of the message that has them. Returns
// whether it sufficed, or `None` if the bytes are no such message.
fn walk(mut bytes: &[u8], message: &Message, depth: u32, left: &mut usize) -> Option<bool> {
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let inner = message.field(number).and_then(|field| Some((field, field.message()?)));
        let Some((field, inner)) = inner.filter(|_| wire == WireType::LengthDelimited) else {
            skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        };
        if field.is_list {
            let Some(rest) = left.checked_sub(inner.size()) else { return Some(false) };
            *left = rest;
        }
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (content, rest) = bytes.split_at_checked(length)?;
        if !walk(content, inner, depth.checked_sub(1)?, left)? {
            return Some(false);
        }
        bytes = rest;
    }
    Some(true)
}
