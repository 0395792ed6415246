//! Values that are derived from spans, and what they replace.

use super::*;
use livekit_otel_model::foreign::{
    ForeignData, ForeignHistogram, ForeignMetric, Measure, Measured, ModelUsage, Recording,
};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Data, Metric, Number, Temporality};
use proptest::prelude::*;
use stats::{Histograms, Level};

/// The same span with these numbers.
fn measured(numbers: &[(Measure, f64)], mut span: ForeignSpan) -> ForeignSpan {
    span.facts.measured.get_or_insert_default().numbers.extend(numbers);
    span
}

fn by_model(model: &str, mut span: ForeignSpan) -> ForeignSpan {
    let measured = span.facts.measured.get_or_insert_default();
    (measured.model, measured.provider) = (Some(model.into()), Some("p".into()));
    span
}

fn speaks(speech: &str, is_interrupted: bool, mut span: ForeignSpan) -> ForeignSpan {
    let measured = span.facts.measured.get_or_insert_default();
    (measured.speech, measured.is_interrupted) = (Some(speech.into()), Some(is_interrupted));
    span
}

/// A turn of each side as Python's agents have it, from span `10 * nth` on.
fn turns(nth: u64, is_interrupted: bool) -> Vec<ForeignSpan> {
    let (of, secs) = (100 * nth, i64::try_from(nth).unwrap());
    let speech = format!("speech_{nth}");
    let delays = [(Measure::Transcription, 0.2), (Measure::EndOfTurn, 0.4)];
    let tokens =
        [(Measure::InputTokens, 40.0), (Measure::CachedTokens, 0.0), (Measure::OutputTokens, 5.0)];
    let spoken = [(Measure::Characters, 26.0), (Measure::Speech, 0.9)];
    let latencies = [(Measure::EndToEnd, 0.9), (Measure::TurnCompleted, 0.01)];
    vec![
        by_model("stt", measured(&delays, of_ada(span("user_turn", of, 2, secs)))),
        by_model("llm", span("llm_request_run", of + 1, of + 2, secs)),
        by_model("llm", measured(&tokens, span("llm_request", of + 2, of + 3, secs))),
        by_model(
            "llm",
            measured(&[(Measure::FirstToken, 0.3)], span("llm_node", of + 3, of + 9, secs)),
        ),
        by_model("tts", span("tts_request_run", of + 4, of + 5, secs)),
        by_model("tts", measured(&spoken, span("tts_request", of + 5, of + 6, secs))),
        by_model(
            "tts",
            measured(&[(Measure::FirstByte, 0.1)], span("tts_node", of + 6, of + 9, secs)),
        ),
        speaks(
            &speech,
            is_interrupted,
            measured(&latencies, of_agent(span("agent_turn", of + 9, 2, secs))),
        ),
    ]
}

fn of_ada(span: ForeignSpan) -> ForeignSpan {
    of("PA_ada", span)
}

fn of_agent(span: ForeignSpan) -> ForeignSpan {
    of("PA_agent", span)
}

fn labels(attributes: &[Attribute]) -> String {
    let is_id = |it: &&Attribute| [key::ROOM_ID, key::JOB_ID].contains(&it.key);
    let others = attributes.iter().filter(|it| !is_id(it));
    let all: Vec<_> = others.map(|it| text(attributes, it.key).unwrap()).collect();
    all.join(" ")
}

/// The last points of all derived series: count and sum.
pub(super) fn totals(metrics: &[Metric]) -> BTreeMap<(&'static str, String), (u64, f64)> {
    let mut totals = BTreeMap::new();
    for metric in
        metrics.iter().filter(|it| it.name.starts_with("lk.agent") || it.name.starts_with("gen_ai"))
    {
        match &metric.data {
            Data::Sum { points, .. } => {
                for point in points {
                    let sum = match point.value.unwrap() {
                        Number::Int(count) => count as f64,
                        Number::Float(amount) => amount,
                    };
                    totals.insert((metric.name, labels(&point.attributes)), (0, sum));
                }
            }
            Data::Histogram { points, .. } => {
                for point in points {
                    totals
                        .insert((metric.name, labels(&point.attributes)), (point.count, point.sum));
                }
            }
            Data::Exponential { points, .. } => {
                for point in points {
                    totals
                        .insert((metric.name, labels(&point.attributes)), (point.count, point.sum));
                }
            }
            Data::Gauge(_) => panic!("{}", metric.name),
        }
    }
    totals
}

impl Run {
    fn flush(&mut self, secs: i64) {
        self.engine.flush(at(secs), &mut self.out);
    }

    /// The totals of a flush then.
    pub(super) fn totals(&mut self, secs: i64) -> BTreeMap<(&'static str, String), (u64, f64)> {
        self.flush(secs);
        totals(&self.out.metrics)
    }

    fn count(&mut self, metric: &str, secs: i64) -> Vec<(String, f64)> {
        let totals = self.totals(secs).into_iter();
        totals.filter(|((of, _), _)| *of == metric).map(|((_, of), (_, sum))| (of, sum)).collect()
    }
}

fn whole() -> Vec<ForeignSpan> {
    let mut spans: Vec<_> = (1..5).flat_map(|nth| turns(nth, nth == 2)).collect();
    spans.push(span("agent_session", 2, 1, 0));
    spans.push(span("job_entrypoint", 1, 0, 0));
    spans
}

fn played(
    order: &[usize],
    restart: usize,
    level: Level,
) -> BTreeMap<(&'static str, String), (u64, f64)> {
    let stats = stats::Settings { level, ..stats::Settings::default() };
    let mut run = Run::measuring(session::Settings::default(), stats);
    let spans = whole();
    for (nth, index) in order.iter().enumerate() {
        if nth == restart {
            run.restart(5);
        }
        run.spans(vec![spans[index % spans.len()].clone()], 5);
    }
    run.spans(spans, 6);
    run.until(20_000);
    // A sum of floats depends on their order.
    let rounded = |sum: f64| (sum * 1e6).round() / 1e6;
    let totals = run.totals(20_000).into_iter();
    totals.map(|(of, (count, sum))| (of, (count, rounded(sum)))).collect()
}

proptest! {
    #[test]
    fn any_order_with_any_copies_gives_the_same_values(
        order in proptest::collection::vec(0usize..100, 0..60),
        restart in 0usize..60,
        level in prop_oneof![Just(Level::Node), Just(Level::Track)],
    ) {
        prop_assert_eq!(played(&order, restart, level), played(&[], 1, level));
    }
}

#[test]
fn each_span_has_its_values_once() {
    let totals = played(&[], 1, Level::Node);
    let of = |metric, labels: &str| totals[&(metric, labels.to_owned())];
    assert_eq!(of(metric::AGENT_E2E_LATENCY, "llm p"), (4, 3.6));
    assert_eq!(of(metric::AGENT_LLM_TTFT, "llm p"), (4, 1.2));
    assert_eq!(of(metric::AGENT_TTS_TTFB, "tts p"), (4, 0.4));
    assert_eq!(of(metric::AGENT_TRANSCRIPTION_DELAY, "stt p"), (4, 0.8));
    assert_eq!(of(metric::AGENT_END_OF_TURN_DELAY, "stt p"), (4, 1.6));
    assert_eq!(of(metric::AGENT_TURN_COMPLETED_DELAY, "stt p"), (4, 0.04));
    assert_eq!(of(metric::AGENT_INPUT_TOKENS, "llm p"), (0, 160.0));
    assert_eq!(of(metric::AGENT_OUTPUT_TOKENS, "llm p"), (0, 20.0));
    assert_eq!(of(metric::AGENT_CHARACTERS, "tts p"), (0, 104.0));
    assert_eq!(of(metric::AGENT_SPEECH_DURATION, "tts p"), (0, 3.6));
    assert_eq!(of(metric::AGENT_REQUESTS, "llm p llm"), (0, 4.0));
    assert_eq!(of(metric::AGENT_REQUESTS, "tts p tts"), (0, 4.0));
    assert_eq!(of(metric::AGENT_TURNS, "Bool(false)"), (0, 3.0));
    assert_eq!(of(metric::AGENT_TURNS, "Bool(true)"), (0, 1.0));
    assert_eq!(of(metric::AGENT_JOBS, "complete"), (0, 1.0));
    // A sum of 0 has no series.
    assert_eq!(totals.len(), 15);
}

#[test]
fn a_failed_request_and_tool_name_what_failed() {
    let mut run = Run::call(session::Settings::default());
    let mut failed = by_model("llm", span("llm_request_run", 20, 21, 2));
    failed.failure = Some("".into());
    let mut tool = span("function_tool", 22, 23, 2);
    tool.facts.measured = Some(Box::new(Measured {
        tool: Some("pay".into()),
        error: Some("tool_error".into()),
        ..Measured::default()
    }));
    run.spans(vec![failed, tool], 5);
    let totals = run.totals(10);
    assert_eq!(totals[&(metric::AGENT_REQUESTS, "_OTHER llm p llm".to_owned())], (0, 1.0));
    assert_eq!(
        totals[&(metric::TOOL_DURATION, "pay tool_error execute_tool".to_owned())],
        (1, 1.0)
    );
}

#[test]
fn requests_without_a_model_have_the_jobs_last_or_wait_for_the_first() {
    let mut run = Run::call(session::Settings::default());
    // npm's: children first, and only the node names the model.
    run.spans(vec![span("llm_request_run", 20, 21, 2)], 5);
    assert_eq!(run.count(metric::AGENT_REQUESTS, 6), []);
    run.restart(6);
    run.spans(
        vec![by_model("llm", span("llm_node", 22, 23, 2)), span("llm_request_run", 24, 25, 3)],
        7,
    );
    assert_eq!(run.count(metric::AGENT_REQUESTS, 8), [("llm p llm".to_owned(), 2.0)]);
    run.spans(vec![span("tts_request_run", 26, 27, 2)], 8);
    run.spans(vec![span("tts_request_run", 28, 27, 2)], 17);
    assert_eq!(run.count(metric::AGENT_REQUESTS, 17).len(), 1);
    // After 10 s without.
    run.spans(vec![span("llm_request", 30, 31, 2)], 18);
    let expected = [("llm p llm".to_owned(), 2.0), ("tts".to_owned(), 1.0)];
    assert_eq!(run.count(metric::AGENT_REQUESTS, 19), expected);
    run.hang_up(20);
    run.until(200);
    let expected = [("llm p llm".to_owned(), 2.0), ("tts".to_owned(), 2.0)];
    assert_eq!(run.count(metric::AGENT_REQUESTS, 201), expected);
}

#[test]
fn the_turns_of_one_speech_are_one() {
    let mut run = Run::call(session::Settings::default());
    let mut reply = by_model("llm", span("llm_node", 23, 24, 4));
    // npm's: a turn that ends with a tool's call, and the reply as another.
    let tool = vec![
        by_model("llm", span("llm_node", 20, 22, 2)),
        span("function_tool", 21, 22, 3),
        speaks("a", false, of_agent(span("agent_turn", 22, 2, 2))),
    ];
    run.spans(tool, 5);
    run.restart(5);
    assert_eq!(run.count(metric::AGENT_TURNS, 6), []);
    run.spans(vec![reply.clone(), speaks("a", true, of_agent(span("agent_turn", 24, 2, 4)))], 7);
    assert_eq!(run.count(metric::AGENT_TURNS, 8), [("Bool(true)".to_owned(), 1.0)]);
    // More of it.
    run.spans(vec![speaks("a", false, of_agent(span("agent_turn", 25, 2, 4)))], 8);
    assert_eq!(run.count(metric::AGENT_TURNS, 8), [("Bool(true)".to_owned(), 1.0)]);
    // A tool whose reply never comes is counted with the next speech.
    let tool = vec![
        span("function_tool", 31, 32, 6),
        speaks("b", false, of_agent(span("agent_turn", 32, 2, 6))),
    ];
    run.spans(tool, 9);
    assert_eq!(run.count(metric::AGENT_TURNS, 10).len(), 1);
    // Python's: the reply is in the same turn.
    reply.span_id = id(41);
    reply.parent = Some(id(42));
    reply.start = at(9);
    let whole = vec![
        span("function_tool", 40, 42, 8),
        reply,
        speaks("c", false, of_agent(span("agent_turn", 42, 2, 8))),
    ];
    run.spans(whole, 11);
    let expected = [("Bool(false)".to_owned(), 2.0), ("Bool(true)".to_owned(), 1.0)];
    assert_eq!(run.count(metric::AGENT_TURNS, 12), expected);
}

#[test]
fn transcriptions_that_failed_are_counted_from_a_recording() {
    let mut run = Run::call(session::Settings::default());
    let usage =
        vec![ModelUsage { kind: "stt".into(), model: "ear".into(), ..ModelUsage::default() }];
    let recording = Recording {
        facts: facts(),
        errors: vec![("llm".into(), 3), ("stt".into(), 2)],
        usage,
        ..Recording::default()
    };
    for _ in 0..2 {
        run.apply(&Decoded::Upload(Upload::Recording(Box::new(recording.clone()))), 5);
    }
    assert_eq!(run.count(metric::AGENT_REQUESTS, 6), [("_OTHER ear stt".to_owned(), 2.0)]);
}

// An agent's own point of that metric.
fn own(name: &str, job: Option<&str>) -> ForeignMetric {
    let facts = Facts { job: job.map(Into::into), ..facts() };
    let point = ForeignHistogram {
        facts,
        attributes: Bytes::new(),
        start: Some(at(1)),
        time: at(2),
        count: 1,
        sum: Some(0.3),
        range: None,
        bounds: Arc::from([1.0]),
        buckets: vec![1, 0],
        exemplars: Vec::new(),
    };
    let data = ForeignData::Histogram { is_delta: true, points: vec![point] };
    ForeignMetric {
        origin: origin(true),
        name: name.into(),
        unit: "s".into(),
        description: "".into(),
        data,
    }
}

#[test]
fn derived_values_replace_a_jobs_own_points_of_that_name() {
    let mut run = Run::call(session::Settings::default());
    let ttft = metric::AGENT_LLM_TTFT;
    let upload = |run: &mut Run, metric: ForeignMetric, secs| {
        let tally = run.apply(&Decoded::Upload(Upload::Metrics(vec![metric])), secs);
        assert_eq!(tally.duplicates, 0);
        tally.merged
    };
    // Before there is a value of it.
    let mut early = own(ttft, Some("AJ_1"));
    let ForeignData::Histogram { points, .. } = &mut early.data else { panic!("a histogram") };
    points[0].time = at(1);
    assert_eq!(upload(&mut run, early, 3), 0);
    run.spans(
        vec![by_model("llm", measured(&[(Measure::FirstToken, 0.3)], span("llm_node", 8, 7, 3)))],
        5,
    );
    run.restart(5);
    assert_eq!(upload(&mut run, own(ttft, Some("AJ_1")), 6), 1);
    // Of another name, another job and no job.
    assert_eq!(upload(&mut run, own(metric::AGENT_TTS_TTFB, Some("AJ_1")), 7), 0);
    assert_eq!(upload(&mut run, own(ttft, Some("AJ_2")), 8), 0);
    assert_eq!(upload(&mut run, own(ttft, None), 9), 0);
    run.flush(10);
    let points = run.out.foreign.metrics.iter().filter(|metric| &*metric.name == ttft);
    let counts = points.flat_map(|metric| match &metric.data {
        ForeignData::Histogram { points, .. } => points.iter().map(|point| point.count).collect(),
        _ => Vec::new(),
    });
    assert_eq!(counts.sum::<u64>(), 3);
}

#[test]
fn series_open_with_zero_and_end_a_day_after_their_last_value_those_with_ids_after_5_minutes() {
    for (level, stays) in [(Level::Node, true), (Level::Participant, false)] {
        let stats = stats::Settings { level, ..stats::Settings::default() };
        let mut run = Run::measuring(session::Settings::default(), stats);
        run.spans(turns(1, false), 5);
        run.flush(10);
        let points = |run: &Run| {
            let of = run.out.metrics.iter().filter(|it| it.name == metric::AGENT_TURNS);
            let points = of.flat_map(|it| match &it.data {
                Data::Sum { points, .. } => points.clone(),
                _ => panic!("a sum"),
            });
            points.map(|it| (it.start.unwrap(), it.time, it.value.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(points(&run), [(at(0), at(0), Number::Int(0)), (at(0), at(10), Number::Int(1))]);
        run.restart(10);
        run.out.metrics.clear();
        for secs in [20, 304, 400] {
            run.flush(secs);
        }
        let sent = points(&run);
        assert_eq!(sent[..2], [(at(0), at(20), Number::Int(1)), (at(0), at(304), Number::Int(1))]);
        // The flush that finds it idle still has its last value.
        assert_eq!(sent.len(), 3);
        run.out.metrics.clear();
        run.flush(410);
        assert_eq!(!points(&run).is_empty(), stays, "{level:?}");
        run.flush(5 + 86_400);
        run.out.metrics.clear();
        run.flush(10 + 86_400);
        assert_eq!(points(&run), [], "{level:?}");
    }
}

#[test]
fn deltas_and_exponential_buckets_are_those_of_other_metrics() {
    let stats = stats::Settings {
        temporality: Temporality::Delta,
        histograms: Histograms::Exponential,
        ..stats::Settings::default()
    };
    let mut run = Run::measuring(session::Settings::default(), stats);
    let mut all = Vec::new();
    for nth in 1..4 {
        run.spans(turns(u64::try_from(nth).unwrap(), false), nth * 10);
        run.restart(nth * 10);
        run.out.metrics.clear();
        all.push(run.totals(nth * 10 + 1));
        run.out.metrics.clear();
        // Nothing new.
        assert_eq!(run.totals(nth * 10 + 2), BTreeMap::new());
    }
    assert_eq!((&all[1], &all[2]), (&all[0], &all[0]));
    assert_eq!(all[0][&(metric::AGENT_E2E_LATENCY, "llm p".to_owned())], (1, 0.9));
    assert_eq!(all[0][&(metric::AGENT_SPEECH_DURATION, "tts p".to_owned())], (0, 0.9));
}

#[test]
fn an_exemplar_leads_to_its_span() {
    for traces in [AgentTraces::Join, AgentTraces::Link, AgentTraces::Off] {
        // The later turns have traces of their own.
        let settings = session::Settings {
            max_spans: 60,
            agent_traces: Some(traces),
            ..session::Settings::default()
        };
        let mut run = Run::call(settings);
        for nth in 1..9 {
            run.spans(turns(nth, false), 5);
            run.flush(5 + i64::try_from(nth).unwrap());
        }
        run.hang_up(20);
        run.until(100);
        let spans: Vec<_> =
            run.out.foreign.spans.iter().map(|it| (it.trace_id, it.span_id)).collect();
        let histograms = run.out.metrics.iter().filter_map(|it| match &it.data {
            Data::Histogram { points, .. } if it.name.starts_with("lk.agents") => Some(points),
            _ => None,
        });
        let exemplars: Vec<_> = histograms.flatten().flat_map(|point| &point.exemplars).collect();
        assert!(exemplars.len() > 20, "{}", exemplars.len());
        assert!(exemplars.iter().all(|it| spans.contains(&it.context.unwrap())), "{traces:?}");
    }
}
