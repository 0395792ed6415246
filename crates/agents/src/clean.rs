//! Removes from attributes what must not leave.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::semconv::key::PARTICIPANT_IDENTITY;
use livekit_otel_model::signal;

use crate::classes::{Class, Place, class, class_of_name};

/// One pass over attributes.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// What is sent of names and identities; `None` if an earlier pass applied it.
    pub who: Option<&'a Privacy>,
    /// Whether content is removed. It is found in any case.
    pub strips: bool,
}

impl Pass<'_> {
    /// Cleans a record's attributes. Returns whether they have content, or had it.
    pub(crate) fn attributes(self, place: Place, attributes: &mut Vec<KeyValue>) -> bool {
        let mut found = false;
        attributes.retain_mut(|attribute| {
            let class = class(place, &attribute.key);
            if !self.keeps(class, attribute.value.as_mut(), &mut found) {
                return false;
            }
            if let Some(value) = &mut attribute.value
                && is_nested(value)
                && class != Class::Who
            {
                self.nested(&mut attribute.key.clone(), value, &mut found);
            }
            true
        });
        found
    }

    /// Cleans a value, such as a log record's body. Returns whether it has content, or had it.
    pub(crate) fn value(self, value: &mut AnyValue) -> bool {
        let mut found = false;
        self.nested(&mut String::new(), value, &mut found);
        found
    }

    // `path` is that of the map, whose keys are joined by dots as a flat attribute's would be.
    fn nested(self, path: &mut String, value: &mut AnyValue, found: &mut bool) {
        match &mut value.value {
            Some(Value::ArrayValue(array)) => {
                for item in &mut array.values {
                    self.nested(path, item, found);
                }
            }
            Some(Value::KvlistValue(map)) => {
                let length = path.len();
                map.values.retain_mut(|entry| {
                    path.truncate(length);
                    path.push('.');
                    path.push_str(&entry.key);
                    let class = match class_of_name(&entry.key) {
                        Class::Technical => class_of_name(path),
                        class => class,
                    };
                    if !self.keeps(class, entry.value.as_mut(), found) {
                        return false;
                    }
                    if class != Class::Who
                        && let Some(value) = &mut entry.value
                    {
                        self.nested(path, value, found);
                    }
                    true
                });
                path.truncate(length);
            }
            _ => {}
        }
    }

    fn keeps(self, class: Class, value: Option<&mut AnyValue>, found: &mut bool) -> bool {
        match class {
            Class::Technical => true,
            Class::Content => {
                *found = true;
                !self.strips
            }
            Class::Who => match value.and_then(|value| value.value.as_mut()) {
                None => true,
                Some(Value::StringValue(text)) => self.who(text),
                // A map may hold anything.
                Some(_) => {
                    *found = true;
                    !self.strips && matches!(self.who, None | Some(Privacy::Plain))
                }
            },
        }
    }

    fn who(self, text: &mut String) -> bool {
        let Some(privacy) = self.who else { return true };
        if matches!(privacy, Privacy::Plain) {
            return true;
        }
        let value = signal::Value::Text(text.as_str().into());
        // All of them are hashed as an identity is: the same text has the same hash.
        match privacy.value(PARTICIPANT_IDENTITY, &value).as_deref() {
            Some(signal::Value::Text(sent)) => {
                sent.as_ref().clone_into(text);
                true
            }
            _ => false,
        }
    }
}

fn is_nested(value: &AnyValue) -> bool {
    matches!(value.value, Some(Value::ArrayValue(_) | Value::KvlistValue(_)))
}
