//! Requests from records, split by encoded size.
//!
//! The three export requests of OTLP have the same shape and field numbers (opentelemetry-proto,
//! collector/*/v1). A request holds groups (1) of a resource (1), scopes (2) and a schema URL (3). Each scope
//! holds its name and version (1), records (2) and schema URL (3). One assembler serves all three. It makes one
//! group of this process's records; those of other programs are groups already.

use bytes::{Bytes, BytesMut};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::foreign::GROUP_BYTES;
use crate::record::{Record, Scope};
use crate::wire::{field_len, put_bytes as put_field, put_head};
use livekit_otel_model::semconv::SCHEMA_URL;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Assembles requests: the resource and the scopes of the process are encoded once.
#[derive(Debug, Clone)]
pub(super) struct Assembler {
    resource: Bytes,
    livekit: Bytes,
    own: Bytes,
    max_bytes: usize,
}

impl Assembler {
    pub(super) fn new(resource: &[(String, String)], max_bytes: usize) -> Self {
        let attributes = resource.iter().map(|(key, text)| KeyValue {
            key: key.clone(),
            value: Some(AnyValue { value: Some(any_value::Value::StringValue(text.clone())) }),
            ..Default::default()
        });
        let resource = Resource { attributes: attributes.collect(), ..Default::default() };
        let scope = |name: &str| {
            let (name, version) = (name.to_owned(), VERSION.to_owned());
            InstrumentationScope { name, version, ..Default::default() }.encode_to_vec().into()
        };
        Self {
            resource: resource.encode_to_vec().into(),
            livekit: scope("livekit"),
            own: scope("livekit-otel"),
            max_bytes,
        }
    }

    /// The size of the largest request.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The size of the largest group of other programs' records, unless a record alone is larger.
    pub(super) fn max_group_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.overhead() + LONGEST_HEAD).min(GROUP_BYTES)
    }

    /// How many of the first `records` fit into a request; at least one of them, whatever its size.
    pub(super) fn fits<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> usize {
        let mut size = self.overhead();
        let mut count = 0;
        for record in records {
            size += field_len(record.bytes.len());
            if size > self.max_bytes && count > 0 {
                break;
            }
            count += 1;
        }
        count
    }

    /// The request of `records`, in their order within each scope. Each is copied once.
    pub(super) fn request(&self, records: &[Record]) -> Bytes {
        let scopes = [(Scope::LiveKit, &self.livekit), (Scope::Own, &self.own)];
        let scopes: Vec<_> = scopes
            .into_iter()
            .filter_map(|(scope, encoded)| {
                let own = records.iter().filter(|record| record.scope == scope);
                let size: usize = own.map(|record| field_len(record.bytes.len())).sum();
                let head = field_len(encoded.len()) + field_len(SCHEMA_URL.len());
                (size > 0).then_some((scope, encoded, head + size))
            })
            .collect();
        let resource = field_len(self.resource.len()) + field_len(SCHEMA_URL.len());
        let resource: usize =
            resource + scopes.iter().map(|(.., size)| field_len(*size)).sum::<usize>();
        let foreign = || records.iter().filter(|record| record.scope == Scope::Foreign);
        let groups: usize = foreign().map(|record| field_len(record.bytes.len())).sum();
        let mut request = BytesMut::with_capacity(field_len(resource) + groups);
        for record in foreign() {
            put_field(1, &record.bytes, &mut request);
        }
        if scopes.is_empty() {
            return request.freeze();
        }
        put_head(1, resource, &mut request);
        put_field(1, &self.resource, &mut request);
        for (scope, encoded, size) in scopes {
            put_head(2, size, &mut request);
            put_field(1, encoded, &mut request);
            for record in records.iter().filter(|record| record.scope == scope) {
                put_field(2, &record.bytes, &mut request);
            }
            put_field(3, SCHEMA_URL.as_bytes(), &mut request);
        }
        put_field(3, SCHEMA_URL.as_bytes(), &mut request);
        request.freeze()
    }

    // The size without records: both scopes, with the longest form of their lengths.
    fn overhead(&self) -> usize {
        let scopes = [&self.livekit, &self.own];
        let scopes: usize = scopes
            .iter()
            .map(|scope| field_len(scope.len()) + field_len(SCHEMA_URL.len()) + LONGEST_HEAD)
            .sum();
        field_len(self.resource.len()) + field_len(SCHEMA_URL.len()) + scopes + LONGEST_HEAD
    }
}

// A key of one byte and the length of up to 4 GiB.
const LONGEST_HEAD: usize = 1 + 5;

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use proptest::prelude::*;

    use super::*;

    fn records(sizes: &[usize]) -> Vec<Record> {
        let each = |(index, size): (usize, &usize)| {
            let message = LogRecord {
                time_unix_nano: index as u64 + 1,
                event_name: "x".repeat(*size),
                ..Default::default()
            };
            let scope = if index % 3 == 0 { Scope::Own } else { Scope::LiveKit };
            Record { scope, items: 1, bytes: message.encode_to_vec().into(), number: 0 }
        };
        sizes.iter().enumerate().map(each).collect()
    }

    proptest! {
        #[test]
        fn each_record_is_in_one_request_within_the_limit(
            sizes in proptest::collection::vec(0usize..600, 1..60),
            limit in 400usize..2000,
        ) {
            let resource = [("service.name".to_owned(), "test".to_owned())];
            let assembler = Assembler::new(&resource, limit);
            let all = records(&sizes);
            let mut rest = &all[..];
            let mut seen = Vec::new();
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(assembler.fits(rest));
                rest = after;
                let request = assembler.request(batch);
                prop_assert!(request.len() <= limit || batch.len() == 1);
                let message = ExportLogsServiceRequest::decode(request).unwrap();
                let [resource] = &message.resource_logs[..] else { panic!("one resource") };
                prop_assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 1);
                for scope in &resource.scope_logs {
                    let times: Vec<_> = scope.log_records.iter().map(|log| log.time_unix_nano).collect();
                    prop_assert!(times.is_sorted());
                    seen.extend(times);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (1..=all.len() as u64).collect::<Vec<_>>());
        }
    }
}
