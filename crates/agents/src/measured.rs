//! What the spans of LiveKit's agents say of models, tools and turns.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Deserialize;

use livekit_otel_model::foreign::{Measure, Measured};
use livekit_otel_model::semconv::key;

use crate::facts::{cut, text, text_of};

pub(crate) const EXCEPTION_TYPE: &str = "exception.type";
// The span of what a user says. Its delays are parts of it.
const USER_TURN: &str = "user_turn";
// What a request to a model used, as JSON. Parents of such spans may have its tokens too.
const REQUESTS: [&str; 2] = ["lk.llm_metrics", "lk.realtime_model_metrics"];
const SPEECH: &str = "lk.tts_metrics";
const NUMBERS: [(&str, Measure); 10] = [
    ("lk.e2e_latency", Measure::EndToEnd),
    ("lk.end_of_turn_delay", Measure::EndOfTurn),
    ("lk.transcription_delay", Measure::Transcription),
    ("lk.on_user_turn_completed_delay", Measure::TurnCompleted),
    ("lk.response.ttft", Measure::FirstToken),
    ("lk.response.ttfb", Measure::FirstByte),
    (key::USAGE_INPUT_TOKENS, Measure::InputTokens),
    ("gen_ai.usage.cache_read.input_tokens", Measure::CachedTokens),
    ("gen_ai.usage.input_cached_tokens", Measure::CachedTokens),
    (key::USAGE_OUTPUT_TOKENS, Measure::OutputTokens),
];
const TOKENS: [Measure; 3] = [Measure::InputTokens, Measure::CachedTokens, Measure::OutputTokens];

// A longer duration, in seconds, and a larger number of tokens or characters are mistakes. One would spoil a total.
const LONGEST: f64 = 86_400.0;
const MOST: f64 = (1u64 << 40) as f64;

/// The unit of the delays of a user's turn. LiveKit's registry has seconds; npm's agents write milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    /// Milliseconds if it is longer than the turn.
    Unknown,
}

impl Unit {
    /// The unit of a program, by its resource.
    pub(crate) fn of(resource: &[KeyValue]) -> Self {
        match text(resource, "telemetry.sdk.language") {
            Some("nodejs" | "webjs") => Self::Milliseconds,
            Some(_) => Self::Seconds,
            None => Self::Unknown,
        }
    }
}

/// Reads a span; `None` if it says nothing of these.
pub(crate) fn read(span: &Span, unit: Unit) -> Option<Box<Measured>> {
    let mut measured = Measured::default();
    let (mut is_request, mut exception) = (false, None);
    for attribute in &span.attributes {
        let (key, value) = (attribute.key.as_str(), attribute.value.as_ref());
        let named = || text_of(value).filter(|text| !text.is_empty()).map(cut);
        match key {
            "gen_ai.provider.name" => measured.provider = named(),
            "gen_ai.request.model" => measured.model = named(),
            "gen_ai.tool.name" => measured.tool = named(),
            "lk.speech_id" => measured.speech = named(),
            "lk.interruption.source" => measured.interrupted_by = named(),
            "lk.interrupted" => measured.is_interrupted = flag(value),
            key::CLOSE_REASON => measured.close_reason = named(),
            key::ERROR_TYPE => measured.error = named(),
            EXCEPTION_TYPE => exception = named(),
            SPEECH => speech(&mut measured, text_of(value)),
            key if REQUESTS.contains(&key) => is_request = true,
            key => {
                let measure = NUMBERS.iter().find(|(name, _)| *name == key);
                if let Some((measure, number)) = measure.map(|(_, it)| *it).zip(number(value)) {
                    add(&mut measured, measure, number);
                }
            }
        }
    }
    measured.error = measured.error.or(exception);
    if !is_request {
        measured.numbers.retain(|(measure, _)| !TOKENS.contains(measure));
    }
    if span.name == USER_TURN {
        in_seconds(&mut measured, span, unit);
    }
    measured.numbers.retain(|(measure, number)| is_usable(*measure, *number));
    (measured != Measured::default()).then(|| Box::new(measured))
}

// The first of several is read.
fn add(measured: &mut Measured, measure: Measure, number: f64) {
    if measured.number(measure).is_none() {
        measured.numbers.push((measure, number));
    }
}

fn in_seconds(measured: &mut Measured, span: &Span, unit: Unit) {
    let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let longest = Duration::from_nanos(nanos).as_secs_f64();
    for (measure, number) in &mut measured.numbers {
        let is_delay = matches!(measure, Measure::EndOfTurn | Measure::Transcription);
        let is_millis = match unit {
            Unit::Seconds => false,
            Unit::Milliseconds => true,
            Unit::Unknown => *number > longest,
        };
        if is_delay && is_millis {
            *number /= 1000.0;
        }
    }
}

// `TTSMetrics` of Python and of npm, whose durations are in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Speech {
    #[serde(alias = "characters_count")]
    characters_count: Option<f64>,
    #[serde(rename = "audio_duration")]
    seconds: Option<f64>,
    audio_duration_ms: Option<f64>,
    metadata: Option<Model>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Model {
    #[serde(alias = "model_provider")]
    model_provider: Option<Arc<str>>,
    #[serde(alias = "model_name")]
    model_name: Option<Arc<str>>,
}

fn speech(measured: &mut Measured, json: Option<&str>) {
    let read = json.and_then(|json| serde_json::from_str::<Speech>(json).ok());
    let Some(Speech { characters_count, seconds, audio_duration_ms, metadata }) = read else {
        return;
    };
    let seconds = seconds.or(audio_duration_ms.map(|millis| millis / 1000.0));
    for (measure, read) in [(Measure::Characters, characters_count), (Measure::Speech, seconds)] {
        if let Some(number) = read {
            add(measured, measure, number);
        }
    }
    // npm has the model only here.
    let Model { model_provider, model_name } = metadata.unwrap_or_default();
    measured.provider = measured.provider.take().or(model_provider.as_deref().map(cut));
    measured.model = measured.model.take().or(model_name.as_deref().map(cut));
}

fn flag(value: Option<&AnyValue>) -> Option<bool> {
    match value?.value.as_ref()? {
        Value::BoolValue(flag) => Some(*flag),
        _ => None,
    }
}

fn number(value: Option<&AnyValue>) -> Option<f64> {
    match value?.value.as_ref()? {
        Value::DoubleValue(number) => Some(*number),
        Value::IntValue(number) => Some(*number as f64),
        _ => None,
    }
}

fn is_usable(measure: Measure, number: f64) -> bool {
    let is_count = TOKENS.contains(&measure) || measure == Measure::Characters;
    (0.0..=if is_count { MOST } else { LONGEST }).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, millis: u64, attributes: Vec<(&str, Value)>) -> Span {
        let attribute = |(key, value): (&str, Value)| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        Span {
            name: name.to_owned(),
            end_time_unix_nano: millis * 1_000_000,
            attributes: attributes.into_iter().map(attribute).collect(),
            ..Span::default()
        }
    }

    fn text(text: &str) -> Value {
        Value::StringValue(text.to_owned())
    }

    fn read(span: &Span) -> Option<Box<Measured>> {
        super::read(span, Unit::Seconds)
    }

    #[test]
    fn the_delays_of_npm_are_milliseconds() {
        let language = |language: &str| {
            let value = Some(AnyValue { value: Some(text(language)) });
            vec![KeyValue { key: "telemetry.sdk.language".into(), value, ..KeyValue::default() }]
        };
        let cases = [
            (language("python"), 0.405, 0.405),
            (language("nodejs"), 405.0, 0.405),
            (language("nodejs"), 1.0, 0.001),
            (Vec::new(), 405.0, 0.405),
            (Vec::new(), 1.8, 1.8),
        ];
        for (resource, given, expected) in cases {
            let delay = vec![("lk.transcription_delay", Value::DoubleValue(given))];
            let span = span(USER_TURN, 1867, delay);
            let measured = super::read(&span, Unit::of(&resource)).unwrap();
            assert_eq!(measured.number(Measure::Transcription), Some(expected));
        }
    }

    #[test]
    fn the_first_of_several_numbers_is_read() {
        let attribute = |count: u8| (SPEECH, text(&format!(r#"{{"characters_count":{count}}}"#)));
        let measured = read(&span("tts_request", 1, (1..9).map(attribute).collect())).unwrap();
        assert_eq!(measured.numbers, [(Measure::Characters, 1.0)]);
    }

    #[test]
    fn tokens_count_only_where_the_request_was_made() {
        let tokens = || vec![(key::USAGE_INPUT_TOKENS, Value::IntValue(40))];
        assert_eq!(read(&span("agent_turn", 1, tokens())), None);
        let mut request = tokens();
        request.push(("lk.llm_metrics", text("{}")));
        let measured = read(&span("llm_request", 1, request)).unwrap();
        assert_eq!(measured.number(Measure::InputTokens), Some(40.0));
    }

    #[test]
    fn the_speech_of_python_and_npm_is_the_same() {
        let python = r#"{"characters_count":26,"audio_duration":0.9,"metadata":null}"#;
        let npm = r#"{"charactersCount":26,"audioDurationMs":900,"metadata":{"modelProvider":"p","modelName":"m"}}"#;
        for (json, model) in [(python, None), (npm, Some("m"))] {
            let speech = span("tts_request", 1, vec![(SPEECH, text(json))]);
            let measured = read(&speech).unwrap();
            assert_eq!(measured.numbers, [(Measure::Characters, 26.0), (Measure::Speech, 0.9)]);
            assert_eq!(measured.model.as_deref(), model);
        }
    }

    #[test]
    fn what_is_no_number_negative_or_longer_than_a_day_is_not_read() {
        let values = [
            Value::DoubleValue(f64::NAN),
            Value::DoubleValue(-1.0),
            Value::DoubleValue(1e6),
            text("1"),
        ];
        for value in values {
            assert_eq!(read(&span("llm_node", 1, vec![("lk.response.ttft", value)])), None);
        }
        assert_eq!(read(&span("tts_request", 1, vec![(SPEECH, text("{"))])), None);
    }
}
