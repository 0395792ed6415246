//! OTLP's metrics, field by field: points are too many to build a message for each.
//!
//! Field numbers are those of opentelemetry-proto, metrics/v1/metrics.proto.

use std::borrow::Cow;

use bytes::BufMut;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::record::attributes;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Attribute, Series};

pub(super) mod field {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const DESCRIPTION: u32 = 2;
    pub(crate) const UNIT: u32 = 3;
    pub(crate) const GAUGE: u32 = 5;
    pub(crate) const SUM: u32 = 7;
    pub(crate) const DATA_POINTS: u32 = 1;
    pub(crate) const TEMPORALITY: u32 = 2;
    pub(crate) const IS_MONOTONIC: u32 = 3;
    pub(crate) const START: u32 = 2;
    pub(crate) const TIME: u32 = 3;
    pub(crate) const AS_DOUBLE: u32 = 4;
    pub(crate) const AS_INT: u32 = 6;
    pub(crate) const ATTRIBUTES: u32 = 7;
    pub(crate) const FLAGS: u32 = 8;
}

pub(super) const NO_RECORDED_VALUE: u64 = 1;

/// The length of a 64-bit number with its field's key.
pub(super) const FIXED_LEN: usize = 1 + 8;

/// The fields of a sum that follow its points.
pub(super) fn sum_tail(is_monotonic: bool, temporality: i32) -> Vec<u8> {
    let mut tail = Vec::new();
    put_varint(field::TEMPORALITY, u64::try_from(temporality).unwrap_or_default(), &mut tail);
    if is_monotonic {
        put_varint(field::IS_MONOTONIC, 1, &mut tail);
    }
    tail
}

/// The attributes of a series, encoded once for all its points.
pub(super) fn encoded<'a>(privacy: &Privacy, series: &'a Series) -> Cow<'a, [u8]> {
    series.encoded(privacy.encoder(), |of_series| encode_attributes(privacy, of_series))
}

fn encode_attributes(privacy: &Privacy, of_series: &[Attribute]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in attributes(privacy, of_series) {
        put_head(field::ATTRIBUTES, attribute.encoded_len(), &mut bytes);
        bytes.extend(attribute.encode_to_vec());
    }
    bytes
}

pub(super) fn put_head(number: u32, len: usize, to: &mut impl BufMut) {
    encode_key(number, WireType::LengthDelimited, to);
    encode_varint(len as u64, to);
}

/// A field with these bytes.
pub(super) fn put_bytes(number: u32, bytes: &[u8], to: &mut impl BufMut) {
    put_head(number, bytes.len(), to);
    to.put_slice(bytes);
}

pub(super) fn put_fixed32(number: u32, value: u32, to: &mut impl BufMut) {
    encode_key(number, WireType::ThirtyTwoBit, to);
    to.put_u32_le(value);
}

pub(super) fn put_fixed(number: u32, value: u64, to: &mut impl BufMut) {
    put_fixed_head(number, to);
    to.put_u64_le(value);
}

pub(super) fn put_fixed_head(number: u32, to: &mut impl BufMut) {
    encode_key(number, WireType::SixtyFourBit, to);
}

pub(super) fn put_varint(number: u32, value: u64, to: &mut impl BufMut) {
    encode_key(number, WireType::Varint, to);
    encode_varint(value, to);
}

pub(super) fn field_len(len: usize) -> usize {
    key_len(1) + encoded_len_varint(len as u64) + len
}
