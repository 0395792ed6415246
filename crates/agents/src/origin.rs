//! The programs of a request's records.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use livekit_otel_model::foreign::Origin;
use livekit_otel_model::privacy::Privacy;

use crate::classes::Place;
use crate::clean::Pass;
use crate::facts;

const PROCESS: &str = "service.instance.id";

/// A resource that was read, of which each scope makes an origin.
pub(crate) struct Program {
    origin: Origin,
}

impl Program {
    /// Reads a resource. Jobs share it, so its content never leaves: one of them may be redacted.
    pub(crate) fn read(privacy: &Privacy, resource: Option<Resource>, schema: String) -> Self {
        let mut origin = Origin { resource_schema: schema.into(), ..Origin::default() };
        if let Some(mut resource) = resource {
            origin.is_framework = facts::is_framework(&resource.attributes);
            origin.process = process(&mut resource.attributes);
            shared(privacy, &mut resource.attributes);
            origin.resource = encoded(&resource);
        }
        Self { origin }
    }

    /// The origin of a scope's records.
    pub(crate) fn scope(
        &self,
        privacy: &Privacy,
        scope: Option<InstrumentationScope>,
        schema: String,
    ) -> Arc<Origin> {
        let mut origin = Origin { scope_schema: schema.into(), ..self.origin.clone() };
        if let Some(mut scope) = scope {
            shared(privacy, &mut scope.attributes);
            origin.scope = encoded(&scope);
        }
        Arc::new(origin)
    }
}

fn shared(privacy: &Privacy, attributes: &mut Vec<KeyValue>) {
    Pass { who: Some(privacy), strips: true }.attributes(Place::Any, attributes);
}

fn process(attributes: &mut Vec<KeyValue>) -> Option<Box<str>> {
    let is_text = |attribute: &KeyValue| {
        attribute.key == PROCESS && facts::text(std::slice::from_ref(attribute), PROCESS).is_some()
    };
    let at = attributes.iter().position(is_text)?;
    match attributes.remove(at).value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.into()),
        _ => None,
    }
}

/// An encoded message, without spare capacity.
pub(crate) fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
