use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::ui::store::{Limits, Store};
use crate::ui::tests::{at, joined, joined_until, measure, of_turn, played};
use livekit_otel_ledger::health::Report;
use livekit_otel_ledger::{Ledger, Lost, Refused};
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::semconv::{event, key};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity};
use livekit_otel_model::{Signal, Source};
use livekit_otel_pipeline::{AgentSpan, Passed};

pub(super) fn context() -> Context {
    Context {
        now: Time::from_millis(1_795_406_990_000).unwrap(),
        path: "/ui/rooms/RM%5Fcall".to_owned(),
        filter: Filter::default(),
        refreshes: false,
        trace_url: Some("http://localhost:16686/trace/{trace_id}".into()),
        missed: 0,
        health: Report::default(),
        ledger: Ledger::default().snapshot(),
    }
}

// Compares with the file, which has a line for each element; `UPDATE_GOLDEN=1` writes it instead.
pub(super) fn golden(name: &str, page: &str) {
    sound(page);
    compare(name, page);
}

fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/testdata").join(name);
    let page = page.replace(env!("CARGO_PKG_VERSION"), "VERSION").replace("><", ">\n<") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = wanted.lines().zip(page.lines()).position(|(was, is)| was != is);
    assert!(
        wanted == page,
        "{name} differs from line {:?} on (UPDATE_GOLDEN=1 rewrites it)",
        differs.map(|line| line + 1)
    );
}

fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let attribute = format!(" {attribute}=\"");
    page.split(&attribute).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

// Checks every page: no script, no inline style, unique ids, no dangling reference.
pub(super) fn sound(page: &str) {
    for forbidden in ["<script", "<style", " style=", "javascript:", " onclick", " onload"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let ids = values(page, "id");
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "an id is there twice: {ids:?}");
    let anchors = values(page, "href").into_iter().filter_map(|href| href.strip_prefix('#'));
    let named = ["aria-labelledby"].map(|name| values(page, name)).concat();
    for id in anchors.chain(named.iter().flat_map(|ids| ids.split(' '))) {
        assert!(ids.contains(&id), "there is no {id}");
    }
}

/// Every page of a store.
pub(super) fn all(store: &Store) -> Vec<String> {
    let mut pages = vec![
        rooms(store, &context()),
        everywhere(store, &context()),
        apart(store.apart(), &context()),
        delivery(&context()),
        not_found("No such room.", &context()),
    ];
    for held in store.rooms() {
        pages.push(room(held, &context()));
        let people = people::People::of(held);
        pages.extend(people.all.iter().filter_map(|one| participant(held, one.sid, &context())));
    }
    pages
}

fn room_of(store: &Store, sid: &str) -> String {
    room(store.room(sid).unwrap(), &context())
}

#[test]
fn a_lost_client_is_shown_as_the_golden_page() {
    golden("lost-client.html", &room_of(&played("lost-client", usize::MAX), "RM_call"));
}

#[test]
fn an_open_room_is_shown_as_the_golden_page() {
    golden("open.html", &room_of(&played("lost-client", 6), "RM_call"));
}

#[test]
fn a_participant_is_shown_as_the_golden_page() {
    let store = played("lost-client", usize::MAX);
    let page = participant(store.room("RM_call").unwrap(), "PA_Ann", &context()).unwrap();
    golden("participant.html", &page);
    assert!(participant(store.room("RM_call").unwrap(), "PA_nobody", &context()).is_none());
}

#[test]
fn the_list_and_the_ledger_are_shown_as_the_golden_pages() {
    golden("rooms.html", &rooms(&played("lost-client", usize::MAX), &context()));
    let ledger = Ledger::default();
    ledger.accepted(Source::Webhook, 18);
    ledger.processed(Source::Webhook, 17);
    ledger.refused(Source::Webhook, Refused::Unauthorized);
    ledger.queued(Signal::Logs, 1200);
    ledger.delivered(Signal::Logs, 1100);
    ledger.lost(Signal::Logs, Lost::QueueFull, 40);
    let context = Context { ledger: ledger.snapshot(), ..context() };
    golden("delivery.html", &delivery(&context));
}

pub(super) const SCENARIOS: [&str; 13] = [
    "ordinary-call",
    "aborted-join",
    "resume",
    "migration",
    "server-crash",
    "reorder",
    "duplicate",
    "webhook-only",
    "long-room",
    "egress-failure",
    "sip-call-with-transfer",
    "agent-job",
    "api-calls-and-webhooks",
];

#[test]
fn every_scenario_makes_a_sound_page_at_every_moment() {
    for scenario in SCENARIOS {
        for lines in (1..70).step_by(4).chain([usize::MAX]) {
            for page in all(&played(scenario, lines)) {
                sound(&page);
            }
        }
    }
}

#[test]
fn a_call_with_an_agent_makes_a_sound_page_at_every_moment() {
    let mut with_turns = 0;
    for lines in (1..60).step_by(4).chain([usize::MAX]) {
        for page in all(&joined_until("ordinary", lines)) {
            sound(&page);
            with_turns += usize::from(page.contains("id=\"turn-"));
        }
    }
    assert!(with_turns > 0);
}

// Foreign text for every place in a room.
const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{trace_id}../%2e";

/// A room with `text` wherever foreign text can be.
pub(super) fn hostile(text: &str) -> Store {
    let mut store = Store::new(Limits::default());
    let time = context().now;
    let keys = [
        key::ROOM_ID,
        key::ROOM_NAME,
        key::PARTICIPANT_ID,
        key::PARTICIPANT_IDENTITY,
        key::DISCONNECT_REASON,
        key::TRACK_ID,
        key::TRACK_SOURCE,
        key::PUBLISHER_ID,
        key::NODE_ID,
        key::ERROR_TYPE,
        key::ERROR,
        key::ROOM_END_REASON,
    ];
    let attributes: Vec<_> = keys.iter().map(|key| Attribute::new(key, text)).collect();
    for event_name in [
        event::ROOM_CREATED,
        event::PARTICIPANT_JOINED,
        event::TRACK_PUBLISHED,
        event::TRACK_SUBSCRIBE_REQUESTED,
        event::TRACK_SUBSCRIBE_FAILED,
        text,
    ] {
        let attributes = attributes.clone();
        let (event_name, severity) = (event_name.into(), Severity::Error);
        let record =
            LogRecord { event_name, time, observed: time, severity, context: None, attributes };
        store.add(Passed::Logs(vec![record]));
    }
    store.add(Passed::Agents(hostile_turn(text), Vec::new()));
    store
}

// A turn and its failures, with `text` wherever an agent can write.
fn hostile_turn(text: &str) -> Vec<AgentSpan> {
    let of = |name: &str, id, parent| {
        let mut span = of_turn(name, id, parent, 0, 1000);
        span.of.room = RoomSid::new(text).unwrap();
        span.of.job = Some(text.into());
        span.participant = ParticipantSid::new(text);
        measure(&mut span, |it| {
            for place in [&mut it.provider, &mut it.model, &mut it.tool, &mut it.interrupted_by] {
                *place = Some(text.into());
            }
        });
        span
    };
    let mut failed =
        [of("llm_request_run", 9, None), of(text, 10, None), of("function_tool", 11, Some(2))];
    for span in &mut failed {
        span.failure = Some(text.into());
    }
    let turn = [
        of("user_turn", 1, None),
        of("user_speaking", 3, Some(1)),
        of("agent_turn", 2, None),
        of("llm_node", 4, Some(2)),
        of("tts_node", 5, Some(2)),
        of("agent_speaking", 6, Some(2)),
    ];
    turn.into_iter().chain(failed).collect()
}

#[test]
fn foreign_text_is_never_markup() {
    let store = hostile(HOSTILE);
    let held = store.room(HOSTILE).unwrap();
    assert!(participant(held, HOSTILE, &context()).is_some());
    for page in all(&store) {
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        for href in values(&page, "href") {
            let known = ["/ui", "#", "http://localhost:16686/trace/"];
            assert!(known.iter().any(|start| href.starts_with(start)), "{href}");
            assert!(!href.contains(['<', '>', '\'', ' ']) && !href.contains(".."), "{href}");
        }
        // A quote in foreign text must not end an attribute.
        assert!(!page.contains("\"'>"), "{page}");
    }
}

#[test]
fn a_page_that_refreshes_itself_can_be_stopped() {
    let store = played("lost-client", 5);
    let still = rooms(&store, &context());
    assert!(still.contains("href=\"/ui/rooms/RM%5Fcall?refresh\">Refresh every 5 s</a>"));
    let refreshing = rooms(&store, &Context { refreshes: true, ..context() });
    assert!(refreshing.contains("href=\"/ui/rooms/RM%5Fcall\">Stop refreshing</a>"));
}

#[test]
fn missing_records_are_mentioned() {
    let page = rooms(&played("lost-client", 5), &Context { missed: 7, ..context() });
    assert!(page.contains("7 records are missing here, as they arrived too fast."), "{page}");
}

// A section of a page.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<section aria-labelledby=\"{id}\">")).unwrap();
    rest.split("</section>").next().unwrap()
}

fn page_of(capture: &str) -> String {
    let store = joined(capture);
    let page = room(store.rooms()[0], &context());
    sound(&page);
    page
}

#[test]
fn the_turns_of_a_call_are_shown_as_the_golden_sections() {
    for (capture, file) in [("ordinary", "turns.html"), ("node-ordinary", "turns-npm.html")] {
        let page = page_of(capture);
        let sections = [section(&page, "failures"), section(&page, "turns")].concat();
        compare(file, &sections);
    }
}

#[test]
fn turns_are_above_the_quality_of_the_person_and_the_agent() {
    let page = page_of("ordinary");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("id=\"waterfall\"") < place("id=\"turns\""));
    assert!(place("id=\"turns\"") < place("id=\"quality\""));
    for who in ["alice@example.org", "agent-AJ_VrX3jarp2Ciw"] {
        assert!(page.contains(&format!("Loss, \u{2068}{who}\u{2069}, upstream")), "{who}");
    }
}

#[test]
fn a_page_says_why_the_slowest_answer_took_so_long() {
    let page = page_of("ordinary");
    let text = "The slowest, in <a href=\"#turn-3\">turn 3</a>, took <b>960 ms</b>, <b>490 ms</b> of it for \
                <b>the model</b>. In 5 of 6, the end of turn took longest. 1 answer interrupted.";
    assert!(page.contains(text), "{page}");
    assert!(page.contains("✂ interrupted"));
    let one = page_of("killed");
    assert!(
        one.contains("1 answer. It is in <a href=\"#turn-2\">turn 2</a> and took <b>912 ms</b>")
    );
}

#[test]
fn a_page_without_stats_says_that_the_network_of_turns_is_unknown() {
    let text = "The network during a turn is unknown: no stats have been received.";
    assert!(section(&page_of("redaction"), "turns").contains(text));
    assert!(!section(&page_of("ordinary"), "turns").contains(text));
}

fn shows(spans: Vec<AgentSpan>) -> String {
    let mut store = played("lost-client", usize::MAX);
    store.add(Passed::Agents(spans, Vec::new()));
    let page = room_of(&store, "RM_call");
    sound(&page);
    page
}

#[test]
fn the_worst_network_of_a_turn_is_shown_with_both_directions() {
    let with = |mut span: AgentSpan, loss: f64| {
        span.added = vec![
            Attribute::new(key::NETWORK_LOSS, loss),
            Attribute::new(key::NETWORK_JITTER, 0.002),
        ];
        span
    };
    let user = with(of_turn("user_turn", 1, None, 0, 1000), 0.125);
    let agent = with(of_turn("agent_turn", 2, None, 1000, 2000), 0.25);
    let page = shows(vec![user, agent]);
    assert!(
        page.contains(
            "<td class=\"n\">25.0 %</td><td class=\"n\">–</td><td class=\"n\">2.0 ms</td>"
        )
    );
    for text in [
        "<dt>Loss from the person</dt><dd>12.5 %</dd>",
        "<dt>Loss to the person</dt><dd>25.0 %</dd>",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_failed_model_is_named_with_its_provider_its_attempts_and_its_turn() {
    let failed = |name: &str, id, parent, end| {
        let mut span = of_turn(name, id, parent, 1000, end);
        span.failure = Some("APIStatusError".into());
        measure(&mut span, |it| {
            (it.model, it.provider) = (Some("gpt-5".into()), Some("openai".into()));
        });
        span
    };
    let page = shows(vec![
        failed("llm_request_run", 5, Some(4), 1500),
        failed("llm_request_run", 6, Some(4), 1900),
        failed("llm_request", 4, Some(3), 1900),
        failed("llm_node", 3, Some(2), 1900),
        failed("agent_turn", 2, Some(9), 2000),
        of_turn("user_turn", 1, Some(9), 0, 1000),
    ]);
    let failures = section(&page, "failures");
    let row = "<a class=\"bad\" href=\"#turn-1\">✗ model <bdi>gpt-5</bdi> of <bdi>openai</bdi></a>";
    assert_eq!(failures.matches("gpt-5").count(), 1, "{failures}");
    assert!(failures.contains(row), "{failures}");
    assert!(
        failures.contains("<bdi>APIStatusError</bdi>") && failures.contains("2 attempts in turn 1")
    );
    let turns = section(&page, "turns");
    assert!(
        turns.contains("✗ model <bdi>gpt-5</bdi> of <bdi>openai</bdi> failed")
            && turns.contains("No audio.")
    );
    assert!(turns.contains("No answer was heard."));
}

#[test]
fn the_agents_failures_are_on_its_own_page_and_in_its_line() {
    let store = joined("ordinary");
    let held = store.rooms()[0];
    let agent = participant(held, "PA_ZQPnU8RVVhWX", &context()).unwrap();
    assert!(section(&agent, "failures").contains("tool <bdi>charge_card</bdi>"));
    let person = participant(held, "PA_jd2CsJoheH9A", &context()).unwrap();
    assert!(section(&person, "failures").contains("Nothing failed"));
    assert!(rooms(&store, &context()).contains("✗ 1 failed"));
    assert!(section(&room(held, &context()), "participants").contains("✗ 1 failed"));
}

#[test]
fn the_newest_turns_are_shown_and_the_others_counted() {
    let turns = (0..205).map(|n: i64| {
        of_turn("agent_turn", n.unsigned_abs() + 1, None, n * 60_000, n * 60_000 + 1000)
    });
    let page = shows(turns.collect());
    assert_eq!(page.matches("\"row\"><a href=\"#turn-").count(), 200);
    assert!(page.contains("5 earlier turns left out.") && page.contains("Turn 205</a>"));
    assert!(!page.contains("Turn 5</a>"));
}

#[test]
fn turns_name_their_agents_where_a_room_has_several() {
    let of = |job: &str, who: &str, id| {
        let mut span = of_turn("agent_turn", id, None, 0, 1000);
        (span.of.job, span.participant) = (Some(job.into()), ParticipantSid::new(who));
        span
    };
    let spans = vec![of("AJ_1", "PA_1", 1), of("AJ_2", "PA_2", 2), of("AJ_3", "PA_3", 3)];
    let several = shows(spans.clone());
    for who in ["PA_1", "PA_2", "PA_3"] {
        assert!(
            section(&several, "turns")
                .contains(&format!("<span class=\"dim\"><bdi>{who}</bdi></span>")),
            "{who}"
        );
        assert!(several.contains(&format!("Agent <bdi>{who}</bdi>")), "{who}");
    }
    assert!(!shows(spans[..1].to_vec()).contains("Agent <bdi>PA_1</bdi>"));
}

#[test]
fn those_who_speak_in_turns_are_among_the_shown_of_a_large_room() {
    let mut store = joined("ordinary");
    let sid = store.rooms()[0].sid.clone();
    for n in 0..60 {
        let attributes = [(key::ROOM_ID, &*sid), (key::PARTICIPANT_ID, &format!("PA_{n}"))];
        let attributes = attributes.map(|(key, value)| Attribute::new(key, value)).to_vec();
        let span = livekit_otel_model::signal::Span {
            trace_id: [1; 16],
            span_id: [n + 1; 8],
            parent: None,
            name: livekit_otel_model::semconv::span::PARTICIPANT,
            kind: livekit_otel_model::signal::SpanKind::Internal,
            start: at(0),
            end: at(1000),
            attributes,
            links: Vec::new(),
        };
        store.add(Passed::Spans(vec![span]));
    }
    let page = room(store.rooms()[0], &context());
    for who in ["alice@example.org", "agent-AJ_VrX3jarp2Ciw"] {
        assert!(page.contains(&format!("Loss, \u{2068}{who}\u{2069}, upstream")), "{who}");
    }
}

#[test]
fn a_room_whose_agent_uploaded_nothing_says_how_to_get_turns() {
    let mut store = Store::new(Limits::default());
    let attributes =
        [(key::ROOM_ID, "RM_1"), (key::PARTICIPANT_ID, "PA_1"), (key::PARTICIPANT_KIND, "AGENT")];
    let attributes = attributes.map(|(key, value)| Attribute::new(key, value)).to_vec();
    let (time, severity) = (context().now, Severity::Info);
    let event_name = event::PARTICIPANT_JOINED.into();
    let record =
        LogRecord { event_name, time, observed: time, severity, context: None, attributes };
    store.add(Passed::Logs(vec![record]));
    assert!(section(&room_of(&store, "RM_1"), "turns").contains("LIVEKIT_OBSERVABILITY_URL"));
    assert!(!room_of(&played("lost-client", usize::MAX), "RM_call").contains("id=\"turns\""));
}
