use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::ui::store::{Limits, Store};
use crate::ui::tests::played;
use livekit_otel_ledger::{Ledger, Lost, Refused};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{event, key};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity};
use livekit_otel_model::{Signal, Source};
use livekit_otel_pipeline::Passed;

pub(super) fn context() -> Context {
    Context {
        now: Time::from_millis(1_795_406_990_000).unwrap(),
        path: "/ui/rooms/RM%5Fcall".to_owned(),
        refreshes: false,
        trace_url: Some("http://localhost:16686/trace/{trace_id}".into()),
        missed: 0,
    }
}

// Compares with the file, which has a line for each element; `UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, page: &str) {
    sound(page);
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
        delivery(&Ledger::default().snapshot(), &context()),
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
    golden("delivery.html", &delivery(&ledger.snapshot(), &context()));
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
    store
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
