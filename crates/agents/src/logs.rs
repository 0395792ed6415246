//! Log records.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use livekit_otel_model::foreign::{Facts, ForeignLog, Origin};

use crate::classes::{Place, is_known_body};
use crate::clean::Pass;
use crate::facts;
use crate::measured::EXCEPTION_TYPE;
use crate::origin::{Program, encoded};
use crate::rules::Rules;

/// The log records of a request. All are usable: a log record needs no trace.
pub(crate) fn read(rules: &Rules<'_>, request: ExportLogsServiceRequest) -> Vec<ForeignLog> {
    let mut logs = Vec::new();
    for resource in request.resource_logs {
        let program = Program::read(rules.privacy, resource.resource, resource.schema_url);
        for scope in resource.scope_logs {
            let (place, shared) = of_scope(rules, scope.scope.as_ref());
            let origin = program.scope(rules.privacy, scope.scope, scope.schema_url);
            logs.reserve(scope.log_records.len());
            for record in scope.log_records {
                logs.push(one(rules, &origin, place, &shared, record));
            }
        }
    }
    logs
}

// A session's reports have their room and job on the scope too.
fn of_scope(rules: &Rules<'_>, scope: Option<&InstrumentationScope>) -> (Place, Facts) {
    let mut shared = rules.facts();
    let Some(scope) = scope else { return (Place::Log, shared) };
    facts::read(&scope.attributes, &mut shared);
    (Place::of_logs(&scope.name), shared)
}

fn one(
    rules: &Rules<'_>,
    origin: &Arc<Origin>,
    place: Place,
    shared: &Facts,
    mut record: LogRecord,
) -> ForeignLog {
    let trace = std::mem::take(&mut record.trace_id);
    let context = facts::context(&trace, &std::mem::take(&mut record.span_id));
    let mut facts = rules.facts();
    facts::read(&record.attributes, &mut facts);
    facts.room = facts.room.take().or_else(|| shared.room.clone());
    facts.job = facts.job.take().or_else(|| shared.job.clone());
    facts.is_redacted |= shared.is_redacted;
    let nanos = match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        nanos => nanos,
    };
    let is_error = record.severity_number >= i32::from(SeverityNumber::Error);
    let exception = || facts::text(&record.attributes, EXCEPTION_TYPE).map(facts::cut);
    let failure = is_error.then(exception).flatten();
    let body = rules.body(|pass| clean(pass, place, &mut record));
    let (origin, time) = (Arc::clone(origin), facts::time(nanos));
    ForeignLog { origin, time, context, facts, failure, body }
}

fn clean(pass: Pass<'_>, place: Place, record: &mut LogRecord) -> (bool, Bytes) {
    let mut found = pass.attributes(place, &mut record.attributes);
    // Applications choose both texts.
    if place == Place::Log && !record.event_name.is_empty() {
        found = true;
        if pass.strips {
            record.event_name.clear();
        }
    }
    if !is_level(&record.severity_text) {
        found = true;
        if pass.strips {
            record.severity_text.clear();
        }
    }
    if let Some(body) = &mut record.body {
        let has_content = !is_known(body);
        found |= has_content;
        if has_content && pass.strips {
            record.body = None;
        } else {
            found |= pass.value(body);
        }
    }
    (found, encoded(record))
}

// The names that Python's and JavaScript's loggers, and OpenTelemetry, have for severities.
fn is_level(text: &str) -> bool {
    const LEVELS: [&str; 9] =
        ["TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", "NOTSET"];
    let name = text.trim_end_matches(|last: char| last.is_ascii_digit());
    name.is_empty() || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(name))
}

fn is_known(body: &AnyValue) -> bool {
    match &body.value {
        None => true,
        Some(Value::StringValue(text)) => text.is_empty() || is_known_body(text),
        Some(_) => false,
    }
}
