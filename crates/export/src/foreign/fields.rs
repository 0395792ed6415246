//! Fields that several messages have.

use prost::Message;

use crate::record::attributes;
use crate::wire::{field_len, put_bytes, put_head};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::Attribute;

/// The ids of a span or log record, as fields of it.
pub(super) struct Ids {
    // A span's trace, span and parent at most.
    bytes: [u8; 38],
    len: usize,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 38], len: 0 }
    }

    /// The fields.
    pub(super) fn fields(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds an id as the field of this number.
    pub(super) fn put(&mut self, number: u32, id: &[u8]) {
        let mut free = &mut self.bytes[self.len..];
        let before = free.len();
        put_bytes(number, id, &mut free);
        self.len += before - free.len();
    }
}

/// Attributes that were added here, as fields of this number.
pub(super) fn put_attributes(
    number: u32,
    privacy: &Privacy,
    added: &[Attribute],
    to: &mut Vec<u8>,
) {
    for attribute in attributes(privacy, added) {
        put_bytes(number, &attribute.encode_to_vec(), to);
    }
}

/// An attribute with a text, as the field of this number.
pub(super) fn put_text_attribute(number: u32, key: &str, text: &str, to: &mut Vec<u8>) {
    let value = field_len(text.len());
    put_head(number, field_len(key.len()) + field_len(value), to);
    put_bytes(1, key.as_bytes(), to);
    put_head(2, value, to);
    put_bytes(1, text.as_bytes(), to);
}
