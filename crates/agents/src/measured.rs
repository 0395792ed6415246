//! What the spans of LiveKit's agents say of models, tools and turns.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Deserialize;

use livekit_otel_model::foreign::{Measure, Measured};
use livekit_otel_model::semconv::key;

use crate::facts::{cut, text_of};

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

/// Reads a span; `None` if it says nothing of these.
pub(crate) fn read(span: &Span) -> Option<Box<Measured>> {
    let mut measured = Measured::default();
    let (mut is_request, mut exception) = (false, None);
    for attribute in &span.attributes {
        let (key, value) = (attribute.key.as_str(), attribute.value.as_ref());
        let text = || text_of(value).filter(|text| !text.is_empty()).map(cut);
        match key {
            "gen_ai.provider.name" => measured.provider = text(),
            "gen_ai.request.model" => measured.model = text(),
            "gen_ai.tool.name" => measured.tool = text(),
            "lk.speech_id" => measured.speech = text(),
            "lk.interruption.source" => measured.interrupted_by = text(),
            "lk.interrupted" => measured.is_interrupted = flag(value),
            key::CLOSE_REASON => measured.close_reason = text(),
            key::ERROR_TYPE => measured.error = text(),
            EXCEPTION_TYPE => exception = text(),
            SPEECH => speech(&mut measured, text_of(value)),
            key if REQUESTS.contains(&key) => is_request = true,
            key => {
                let measure = NUMBERS.iter().find(|(name, _)| *name == key);
                if let Some((measure, number)) = measure.map(|(_, it)| *it).zip(number(value))
                    && measured.number(measure).is_none()
                {
                    measured.numbers.push((measure, number));
                }
            }
        }
    }
    measured.error = measured.error.or(exception);
    if !is_request {
        measured.numbers.retain(|(measure, _)| !TOKENS.contains(measure));
    }
    if span.name == USER_TURN {
        in_seconds(&mut measured, span);
    }
    (measured != Measured::default()).then(|| Box::new(measured))
}

// The registry's unit is the second. npm's agents write milliseconds, which are longer than the turn.
fn in_seconds(measured: &mut Measured, span: &Span) {
    let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let longest = Duration::from_nanos(nanos).as_secs_f64();
    for (measure, number) in &mut measured.numbers {
        let is_delay = matches!(measure, Measure::EndOfTurn | Measure::Transcription);
        if is_delay && *number > longest {
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
    let read = [(Measure::Characters, characters_count), (Measure::Speech, seconds)];
    let read = read.into_iter().filter_map(|(of, number)| Some((of, number?)));
    measured.numbers.extend(read.filter(|(_, number)| is_usable(*number)));
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
    let number = match value?.value.as_ref()? {
        Value::DoubleValue(number) => *number,
        Value::IntValue(number) => *number as f64,
        _ => return None,
    };
    is_usable(number).then_some(number)
}

fn is_usable(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::KeyValue;

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

    #[test]
    fn delays_longer_than_their_turn_are_milliseconds() {
        for (given, read) in [(0.405, 0.405), (405.0, 0.405), (1.8, 1.8)] {
            let delay = vec![("lk.transcription_delay", Value::DoubleValue(given))];
            let measured = super::read(&span(USER_TURN, 1867, delay)).unwrap();
            assert_eq!(measured.number(Measure::Transcription), Some(read));
        }
    }

    #[test]
    fn tokens_count_only_where_the_request_was_made() {
        let tokens = || vec![(key::USAGE_INPUT_TOKENS, Value::IntValue(40))];
        assert_eq!(super::read(&span("agent_turn", 1, tokens())), None);
        let mut request = tokens();
        request.push(("lk.llm_metrics", text("{}")));
        let measured = super::read(&span("llm_request", 1, request)).unwrap();
        assert_eq!(measured.number(Measure::InputTokens), Some(40.0));
    }

    #[test]
    fn the_speech_of_python_and_npm_is_the_same() {
        let python = r#"{"characters_count":26,"audio_duration":0.9,"metadata":null}"#;
        let npm = r#"{"charactersCount":26,"audioDurationMs":900,"metadata":{"modelProvider":"p","modelName":"m"}}"#;
        for (json, model) in [(python, None), (npm, Some("m"))] {
            let speech = span("tts_request", 1, vec![(SPEECH, text(json))]);
            let measured = super::read(&speech).unwrap();
            assert_eq!(measured.numbers, [(Measure::Characters, 26.0), (Measure::Speech, 0.9)]);
            assert_eq!(measured.model.as_deref(), model);
        }
    }

    #[test]
    fn what_is_no_number_or_negative_is_not_read() {
        let values = [Value::DoubleValue(f64::NAN), Value::DoubleValue(-1.0), text("1")];
        for value in values {
            assert_eq!(super::read(&span("llm_node", 1, vec![("lk.response.ttft", value)])), None);
        }
        assert_eq!(super::read(&span("tts_request", 1, vec![(SPEECH, text("{"))])), None);
    }
}
