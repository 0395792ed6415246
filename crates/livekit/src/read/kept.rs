//! Reduces a message to the fields that are read, without decoding it.

use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};

use super::wire::content;

/// A field that is kept, by its tag.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// All of it.
    All(u32),
    /// These fields of it, which is a message.
    Of(u32, &'static [Kept]),
}

use Kept::{All, Of};

const STREAM: &[Kept] = &[All(2), All(3)];
const SEGMENTS: &[Kept] = &[All(6), All(7)];

/// `livekit.EgressInfo`: its ids, status, times, error and the kind of its request. Its outputs, which have
/// credentials, and where its files are, are left out.
pub(super) const EGRESS: &[Kept] = &[
    All(1),
    All(2),
    All(3),
    Of(4, &[]),
    Of(5, &[]),
    Of(6, &[]),
    Of(7, &[Of(1, STREAM)]),
    Of(8, STREAM),
    All(9),
    All(10),
    All(11),
    Of(12, SEGMENTS),
    All(13),
    Of(14, &[]),
    Of(15, STREAM),
    Of(16, STREAM),
    Of(17, SEGMENTS),
    All(18),
    Of(19, &[]),
    Of(20, STREAM),
    All(26),
    Of(29, &[Of(2, &[]), Of(3, &[]), Of(4, &[])]),
    Of(30, &[]),
];

/// `livekit.IngressInfo`: its ids, room, and the status, times and error of its state.
pub(super) const INGRESS: &[Kept] =
    &[All(1), All(5), All(8), Of(12, &[All(1), All(2), All(5), All(7), All(8), All(9), All(10)])];

/// The kept fields of a message; `None` if the bytes are not a message.
pub(super) fn keep(mut bytes: &[u8], fields: &[Kept]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    while !bytes.is_empty() {
        let whole = bytes;
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let field = fields.iter().find(|field| field.number() == number);
        if let (Some(Of(_, parts)), WireType::LengthDelimited) = (field, wire) {
            let inner = keep(content(&mut bytes)?, parts)?;
            encode_key(number, wire, &mut kept);
            encode_varint(inner.len() as u64, &mut kept);
            kept.extend(inner);
            continue;
        }
        skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?;
        if matches!(field, Some(All(_))) {
            kept.extend_from_slice(whole.get(..whole.len() - bytes.len())?);
        }
    }
    Some(kept)
}

impl Kept {
    fn number(&self) -> u32 {
        match self {
            All(number) | Of(number, _) => *number,
        }
    }
}
