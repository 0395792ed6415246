//! Plays what a server sent, and answers the engine's questions with what its API answered meanwhile.

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit::{self as livekit, ApiAnswer};
use livekit_otel_model::event::answer::Question;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::semconv::key;
use serde_json::{Value, json};

use crate::capture::Line;

// A call that is answered after some seconds.
const ANSWERED: &str = "sip-out-callee-hangs-up";
// The API of a capture is not asked any more this long after its last answer.
const GONE: std::time::Duration = std::time::Duration::from_mins(1);

/// What an API answered from that time on, as JSON.
pub(crate) struct Polled {
    pub at: Time,
    method: String,
    request: Value,
    answer: Value,
}

/// The lines of an `.api.jsonl` file.
pub(crate) fn polled(text: &str) -> Vec<Polled> {
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["status"], 200, "{line}");
        Polled {
            at: Time::from_millis(line["at"].as_i64().unwrap()).unwrap(),
            method: line["method"].as_str().unwrap().to_owned(),
            request: line["request"].take(),
            answer: line["answer"].take(),
        }
    };
    text.lines().map(line).collect()
}

/// The API's answer to a question at that time; `None` if it did not answer yet, or does not any more.
pub(crate) fn answer(api: &[Polled], question: &Question, now: Time) -> Option<Decoded> {
    let (method, message) = match question {
        Question::Participants { .. } | Question::Participant { .. } => {
            ("RoomService/ListParticipants", "ListParticipantsResponse")
        }
        Question::Dispatches { .. } => {
            ("AgentDispatchService/ListDispatch", "ListAgentDispatchResponse")
        }
        Question::Egresses => ("Egress/ListEgress", "ListEgressResponse"),
        Question::Ingresses => ("Ingress/ListIngress", "ListIngressResponse"),
    };
    let room = match question {
        Question::Participants { name, .. }
        | Question::Participant { name, .. }
        | Question::Dispatches { name, .. } => json!({"room": name.as_str()}),
        Question::Egresses | Question::Ingresses => json!({}),
    };
    if api.last().is_none_or(|last| last.at + GONE < now) {
        return None;
    }
    let is_asked = |each: &&Polled| each.method == method && each.request["room"] == room["room"];
    let polled = api.iter().filter(|each| each.at <= now).rfind(is_asked)?;
    let mut body = polled.answer.clone();
    if let Question::Participant { identity, .. } = question {
        let all = body["participants"].as_array().unwrap().iter();
        let one: Vec<_> = all.filter(|who| who["identity"] == identity.as_str()).cloned().collect();
        body = json!({"participants": one});
    }
    let response = livekit::encode_capture(message, &body).unwrap();
    let answer = match question {
        Question::Participant { .. } if response.is_empty() => {
            ApiAnswer::gone(now, question).unwrap()
        }
        Question::Participant { .. } => {
            // The only one, without its tag and its length.
            let mut one = &response[1..];
            prost::decode_length_delimiter(&mut one).unwrap();
            ApiAnswer::new(now, question, one).unwrap()
        }
        _ => ApiAnswer::new(now, question, &response).unwrap(),
    };
    Some(livekit::api(&answer.encode()).unwrap().decoded)
}

/// The rooms that the API listed last at that time; `None` if it listed none yet, or does not any more.
pub(crate) fn rooms(api: &[Polled], now: Time) -> Option<Decoded> {
    if api.last().is_none_or(|last| last.at + GONE < now) {
        return None;
    }
    let is_list = |each: &&Polled| each.at <= now && each.method == "RoomService/ListRooms";
    let polled = api.iter().rfind(is_list)?;
    let response = livekit::encode_capture("ListRoomsResponse", &polled.answer).unwrap();
    let rooms = livekit::ApiRooms::new(now, &response).unwrap();
    Some(livekit::api(&rooms.encode()).unwrap().decoded)
}

/// The output of the lines and of the time that passes after them, while the engine's questions are
/// answered by `api` as soon as they are due. Rooms are not listed: that is seldom.
pub(crate) fn play_with_api<'a>(
    lines: impl Iterator<Item = &'a Line>,
    api: &[Polled],
    settings: Settings,
) -> Batch {
    let mut out = Batch::default();
    let mut lines = lines.peekable();
    let begin = lines.peek().unwrap().at;
    let mut engine = Engine::new(settings, stats::Settings::default(), begin);
    engine.enable_questions();
    let mut now = begin;
    for line in lines {
        pass(&mut engine, api, (now, Some(line.at)), &mut out);
        now = line.at;
        engine.apply(&line.decoded, now, true, &mut out);
    }
    pass(&mut engine, api, (now, None), &mut out);
    out
}

/// Fires what is due from `now` until then, and answers questions.
pub(crate) fn pass(
    engine: &mut Engine,
    api: &[Polled],
    times: (Time, Option<Time>),
    out: &mut Batch,
) {
    pass_noting(engine, api, times, out, &mut |_, _| {});
}

fn pass_noting(
    engine: &mut Engine,
    api: &[Polled],
    (mut now, until): (Time, Option<Time>),
    out: &mut Batch,
    note: &mut dyn FnMut(Time, &Decoded),
) {
    loop {
        let due = engine.next_deadline().into_iter().chain(engine.next_question()).min();
        let Some(due) = due.filter(|due| until.is_none_or(|until| *due <= until)) else { return };
        now = now.max(due);
        engine.tick(now, out);
        while let Some(question) = engine.question(now) {
            if let Some(answer) = answer(api, &question, now) {
                note(now, &answer);
                engine.apply(&answer, now, true, out);
            }
        }
    }
}

#[test]
fn questions_are_answered_by_what_the_api_answered_last() {
    let (_, api) = recorded();
    let begin = api[0].at;
    let (room, name) = (
        livekit_otel_model::event::RoomSid::new("RM_v46PLUqc2pho").unwrap(),
        livekit_otel_model::event::RoomName::new("sales").unwrap(),
    );
    let question = Question::Participants { room, name };
    assert_eq!(answer(&api, &question, begin), None);
    let later = api.last().unwrap().at + std::time::Duration::from_secs(1);
    let Some(Decoded::Answer(answered)) = answer(&api, &question, later) else {
        panic!("no answer")
    };
    assert_eq!(answered.at, later);
    assert_eq!(answer(&api, &question, later + GONE), None);
}

// The lines and the answers to what they made the engine ask.
fn inputs(lines: &[Line], api: &[Polled]) -> Vec<(Time, Decoded)> {
    let mut inputs = Vec::new();
    let mut now = lines[0].at;
    let mut engine = Engine::new(Settings::default(), stats::Settings::default(), now);
    engine.enable_questions();
    let mut out = Batch::default();
    for line in lines {
        let mut note = |at, answer: &Decoded| inputs.push((at, answer.clone()));
        pass_noting(&mut engine, api, (now, Some(line.at)), &mut out, &mut note);
        now = line.at;
        engine.apply(&line.decoded, now, true, &mut out);
        inputs.push((now, line.decoded.clone()));
    }
    let mut note = |at, answer: &Decoded| inputs.push((at, answer.clone()));
    pass_noting(&mut engine, api, (now, None), &mut out, &mut note);
    inputs
}

// The output of the inputs, with a restart before the nth; whether it asks meanwhile makes no difference.
fn replayed(inputs: &[(Time, Decoded)], nth: usize, is_asked: bool) -> Batch {
    let begin = inputs[0].0;
    let new = || {
        let mut engine = Engine::new(Settings::default(), stats::Settings::default(), begin);
        engine.enable_questions();
        engine
    };
    let mut engine = new();
    let mut out = Batch::default();
    for (at, (now, input)) in inputs.iter().enumerate() {
        while let Some(due) = engine.next_deadline().filter(|due| due <= now) {
            engine.tick(due, &mut out);
        }
        while is_asked && engine.question(*now).is_some() {}
        if at == nth {
            engine = crate::history::saved_and_loaded(&engine, new());
        }
        engine.apply(input, *now, true, &mut out);
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    out
}

fn recorded() -> (Vec<Line>, Vec<Polled>) {
    let path = format!("{}/tests/captures/calls/{ANSWERED}", env!("CARGO_MANIFEST_DIR"));
    let api = std::fs::read_to_string(format!("{path}.api.jsonl")).unwrap();
    (crate::calls::lines(ANSWERED), polled(&api))
}

#[test]
fn answers_about_participants_add_nothing_to_a_call_that_is_reported_whole() {
    let (lines, api) = recorded();
    let answered = play_with_api(lines.iter(), &api, Settings::default());
    let alone = crate::scenarios::play(lines.iter(), Settings::default());
    assert_eq!(answered.spans, alone.spans);
    assert_eq!(answered.logs, alone.logs);
}

#[test]
fn without_analytics_the_api_knows_within_a_second_when_a_call_was_answered() {
    let latency = |out: &Batch| {
        let call = crate::calls::call(out);
        let latency = crate::calls::value(call, key::SIP_ANSWER_LATENCY)?;
        Some(latency.parse::<f64>().unwrap())
    };
    let (lines, api) = recorded();
    let webhooks = || lines.iter().filter(|line| line.kind == "webhook");
    assert_eq!(latency(&crate::scenarios::play(webhooks(), Settings::default())), None);
    let exact = latency(&crate::scenarios::play(lines.iter(), Settings::default())).unwrap();
    let polled = latency(&play_with_api(webhooks(), &api, Settings::default())).unwrap();
    assert!(exact < polled && polled < exact + 1.0, "{polled} s, and {exact} s in truth");
}

#[test]
fn a_restart_at_any_point_between_answers_changes_nothing() {
    let (lines, api) = recorded();
    let webhooks: Vec<_> = lines.into_iter().filter(|line| line.kind == "webhook").collect();
    let inputs = inputs(&webhooks, &api);
    let answers = inputs.iter().filter(|(_, input)| matches!(input, Decoded::Answer(_))).count();
    assert!(answers > 1, "the call was not polled");
    let expected = replayed(&inputs, usize::MAX, true);
    for nth in 0..inputs.len() {
        for is_asked in [true, false] {
            let actual = replayed(&inputs, nth, is_asked);
            assert_eq!(actual.spans, expected.spans, "{nth}");
            assert_eq!(actual.logs, expected.logs, "{nth}");
        }
    }
}
