use super::super::tests::{context, golden, sound};
use super::super::{Filter, apart, everywhere, participant, room};
use crate::ui::pages::Context;
use crate::ui::store::{Limits, Store};
use crate::ui::tests::{at, called, joined, reported, work};
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{Attribute, Severity};
use livekit_otel_pipeline::Passed;

const CLASS: [(&str, &str); 2] = [(key::ROOM_ID, "RM_class"), (key::ROOM_NAME, "class")];
const SALES: [(&str, &str); 2] = [(key::ROOM_ID, "RM_sales"), (key::ROOM_NAME, "sales")];

fn with<'a>(
    room: &[(&'static str, &'a str)],
    more: &[(&'static str, &'a str)],
) -> Vec<(&'static str, &'a str)> {
    [room, more].concat()
}

// Two rooms and what is outside of them, with a failure of each kind of operation.
fn store() -> Store {
    let mut store = Store::new(Limits::default());
    let who = [(key::PARTICIPANT_ID, "PA_Bob"), (key::PARTICIPANT_IDENTITY, "bob")];
    let call = [
        (key::SIP_CALL_ID, "SCL_1"),
        (key::SIP_CALL_DIRECTION, "SCD_OUTBOUND"),
        (key::SIP_PHONE_NUMBER, "+15550100"),
        (key::SIP_ANSWER, "unanswered"),
        (key::ERROR_TYPE, "user_rejected"),
        (key::ERROR, "the callee rejected the call"),
    ];
    let dispatch = [
        (key::DISPATCH_ID, "AD_1"),
        (key::AGENT_NAME, "tutor"),
        (key::DISPATCH_OUTCOME, "no_worker"),
        (key::ERROR_TYPE, "agent_dispatch_no_worker"),
    ];
    let egress = [
        (key::EGRESS_ID, "EG_1"),
        (key::EGRESS_STATUS, "EGRESS_ACTIVE"),
        (key::EGRESS_TYPE, "room_composite"),
    ];
    let stuck = [&egress[..], &[(key::EGRESS_STUCK_REASON, "participant_left")]].concat();
    let web = [(key::EGRESS_ID, "EG_web"), (key::EGRESS_TYPE, "web")];
    let failed_call =
        [(key::RPC_METHOD, "livekit.SIP/CreateSIPParticipant"), (key::ERROR_TYPE, "unavailable")];
    let info = Severity::Info;
    store.add(reported(event::ROOM_CREATED, info, 0, &CLASS));
    store.add(reported(event::ROOM_CREATED, info, 1_000, &SALES));
    store.add(reported(event::EGRESS_STARTED, info, 2_000, &with(&CLASS, &egress)));
    store.add(reported(event::EGRESS_STARTED, info, 3_000, &web));
    let warn = Severity::Warn;
    store.add(reported(event::EGRESS_STUCK, warn, 12_000, &with(&CLASS, &stuck)));
    let dispatch = work(span::AGENT_DISPATCH, (0, 15_000), &with(&CLASS, &dispatch));
    let call = work(span::SIP_CALL, (4_000, 9_000), &with(&SALES, &[&who[..], &call].concat()));
    store.add(Passed::Spans(vec![
        dispatch,
        call,
        work(span::API_CALL, (1_000, 1_020), &failed_call),
    ]));
    store
}

fn shown(store: &Store, query: &str) -> String {
    let filter = Filter::read(query).0;
    // Eleven seconds after the newest failure.
    let context = Context { now: at(26_000), path: "/ui/failures".into(), filter, ..context() };
    let page = everywhere(store, &context);
    sound(&page);
    page
}

#[test]
fn what_failed_in_all_rooms_is_shown_as_the_golden_page() {
    golden("failures.html", &shown(&store(), ""));
}

#[test]
fn a_room_with_a_dispatch_and_an_egress_is_shown_as_the_golden_page() {
    let context = Context { now: at(26_000), ..context() };
    golden("works.html", &room(store().room("RM_class").unwrap(), &context));
}

#[test]
fn what_is_outside_of_rooms_is_shown_as_the_golden_page() {
    let context = Context { now: at(26_000), path: "/ui/outside".into(), ..context() };
    golden("outside.html", &apart(store().apart(), &context));
}

const ALL: [&str; 4] = [
    "agent dispatch tutor",
    "egress room composite",
    "SIP call to +15550100",
    "API call livekit.SIP",
];

// The failures in the table.
fn failures(page: &str) -> Vec<&'static str> {
    let rows = page.split("<h2 id=\"failures\">").nth(1).unwrap_or_default();
    ALL.into_iter().filter(|what| rows.contains(what)).collect()
}

#[test]
fn the_filters_limit_what_is_shown() {
    let store = store();
    let [dispatch, egress, call, api] = ALL;
    for (query, wanted) in [
        ("", &[dispatch, egress, call, api][..]),
        ("room=SALES", &[call]),
        ("room=rm_class", &[dispatch, egress]),
        ("who=bo", &[call]),
        ("who=%2B1555", &[call]),
        ("who=PA_Bob&room=class", &[]),
        ("since=5m", &[dispatch, egress, call, api]),
        ("what=USER_rej", &[call]),
        ("what=stuck", &[egress]),
        ("what=agent%20dispatch&room=class", &[dispatch]),
        ("what=nothing", &[]),
        ("room=nowhere", &[]),
    ] {
        assert_eq!(failures(&shown(&store, query)), wanted, "{query}");
    }
    assert!(shown(&store, "room=nowhere").contains("✓ Nothing failed that this filter shows."));
    assert!(shown(&Store::new(Limits::default()), "").contains("✓ Nothing failed, as far as"));
}

#[test]
fn failures_are_ordered_by_each_column_in_both_directions() {
    let store = store();
    let [dispatch, egress, call, api] = ALL;
    for (query, wanted) in [
        ("", [dispatch, egress, call, api]),
        ("sort=when", [api, call, egress, dispatch]),
        // The rooms are class, class and sales; the API call is in none, and remains the last.
        ("sort=name", [dispatch, egress, call, api]),
        ("sort=-name", [call, dispatch, egress, api]),
        ("sort=what", [dispatch, api, egress, call]),
        ("sort=participants", [call, dispatch, egress, api]),
        // agent_dispatch_no_worker, stuck, unavailable, user_rejected.
        ("sort=error", [dispatch, egress, api, call]),
        ("sort=-error", [call, api, egress, dispatch]),
        ("sort=duration", [dispatch, egress, call, api]),
    ] {
        let page = shown(&store, query);
        let rows = page.split("<h2 id=\"failures\">").nth(1).unwrap();
        let mut places = wanted.map(|what| rows.find(what).unwrap());
        let found = places;
        places.sort_unstable();
        assert_eq!(found, places, "{query}");
    }
}

#[test]
fn a_kind_leads_to_its_failures() {
    let page = shown(&store(), "room=s&sort=what");
    let link = "<a href=\"/ui/failures?room=s&amp;what=user_rejected&amp;sort=what\"><code><bdi>user_rejected";
    assert!(page.contains(link), "{page}");
    assert_eq!(failures(&shown(&store(), "room=s&what=user_rejected&sort=what")), [ALL[2]]);
}

#[test]
fn only_failures_of_the_time_are_shown() {
    let store = store();
    let shown = |minutes: i64| {
        let filter = Filter::read("since=5m").0;
        let now = at(minutes * 60_000 + 10_000);
        failures(&everywhere(&store, &Context { now, filter, ..context() })).len()
    };
    // After 5 minutes, the call at 9 s and the API call at 1 s are too old. The egress is still stuck.
    assert_eq!([shown(0), shown(4), shown(5), shown(6)], [4, 4, 2, 1]);
}

#[test]
fn a_failure_links_to_its_line_in_the_room_or_on_the_page_of_its_participant() {
    let href = |page: &str, what: &str| -> String {
        let (before, _) = page.split_once(what).unwrap();
        let (_, href) = before.rsplit_once("href=\"").unwrap();
        href.split('"').next().unwrap().to_owned()
    };
    let store = called("sip-out-busy");
    let list = shown(&store, "");
    let to = href(&list, "✗ <bdi>SIP call to");
    let (path, id) = to.split_once('#').unwrap();
    assert_eq!(path, "/ui/rooms/RM_cPGtBycRT4Ss");
    let held = store.room("RM_cPGtBycRT4Ss").unwrap();
    let line = format!("class=\"more\" id=\"{id}\"");
    assert!(room(held, &context()).contains(&line));
    // The call is on the page of its participant too, and not on that of another.
    let of = |sid| participant(held, sid, &context()).unwrap();
    assert!(of("PA_FL52N7JcGDcR").contains(&line) && !of("PA_pvvAVmvFmGJv").contains(&line));
    let store = crate::ui::tests::played("lost-client", usize::MAX);
    let to = href(&shown(&store, ""), "✗ <bdi>participant");
    assert!(to.starts_with("/ui/rooms/RM_call/participants/PA_"), "{to}");
    let to = href(&shown(&joined("ordinary"), ""), "✗ tool");
    assert!(to.starts_with("/ui/rooms/") && to.contains("#turn-"), "{to}");
}

#[test]
fn kinds_are_counted_and_the_newest_failures_listed() {
    let mut store = Store::new(Limits::default());
    for n in 0..300 {
        let (room, call) = (format!("RM_{}", n % 3), format!("SCL_{n}"));
        let attributes = [
            (key::ROOM_ID, &*room),
            (key::SIP_CALL_ID, &*call),
            (key::ERROR_TYPE, if n % 4 == 0 { "sip_busy_here" } else { "user_rejected" }),
        ];
        let mut span = work(span::SIP_CALL, (n, n), &attributes);
        span.attributes.push(Attribute::new(key::SIP_PHONE_NUMBER, &*format!("+{n}")));
        span.attributes.push(Attribute::new(key::SIP_CALL_DIRECTION, "SCD_INBOUND"));
        store.add(Passed::Spans(vec![span]));
    }
    let page = shown(&store, "");
    assert!(page.contains("<b>300 failures</b> in <b>3 rooms</b>"));
    let row = |error, n| {
        format!(
            "<code><bdi>{error}</bdi></code></a></td><td class=\"n\">{n}</td><td class=\"n\">3</td>"
        )
    };
    let places = [row("user_rejected", 225), row("sip_busy_here", 75)].map(|row| page.find(&row));
    assert!(places[0].is_some() && places[0] < places[1]);
    assert!(page.contains("… and 100 more failures"));
    let has = |n| page.contains(&format!("from +{n}</bdi>"));
    assert!(has(299) && has(100) && !has(99));
}

#[test]
fn whether_an_agent_came_is_among_the_facts_of_a_room() {
    let facts = |store: &Store| {
        let page = room(store.rooms()[0], &context());
        page.split("<dt>Agents</dt><dd>")
            .nth(1)
            .map(|it| it.split("</dd>").next().unwrap().to_owned())
    };
    let mut store = Store::new(Limits::default());
    store.add(reported(event::ROOM_CREATED, Severity::Info, 0, &CLASS));
    assert_eq!(facts(&store).as_deref(), Some("none joined"));
    let agent = [
        (key::PARTICIPANT_ID, "PA_1"),
        (key::PARTICIPANT_IDENTITY, "agent-AJ_1"),
        (key::PARTICIPANT_KIND, "AGENT"),
    ];
    store.add(reported(event::PARTICIPANT_JOINED, Severity::Info, 300, &with(&CLASS, &agent)));
    assert_eq!(facts(&store).as_deref(), Some("<bdi>agent-AJ_1</bdi> joined after 300 ms"));
    let dispatch =
        [(key::DISPATCH_ID, "AD_1"), (key::AGENT_NAME, "tutor"), (key::DISPATCH_OUTCOME, "joined")];
    let mut span = work(span::AGENT_DISPATCH, (0, 250), &with(&CLASS, &dispatch));
    span.attributes.push(Attribute::new(key::DISPATCH_LATENCY, 0.25));
    store.add(Passed::Spans(vec![span]));
    let text = facts(&store).unwrap();
    assert!(
        text.ends_with(
            "<bdi>agent dispatch tutor</bdi></a>: <bdi>the agent joined after 250 ms</bdi>"
        ),
        "{text}"
    );
}

#[test]
fn no_text_of_a_filter_is_markup() {
    let query = "room=%22%3E%3Cscript%3E&who=%27%22%3E%3Cimg%20src%3Dx%3E%E2%80%AE&since=%3Cb%3E&failed=%3Cb%3E";
    let filter = Filter::read(query).0;
    let context = Context { filter, ..context() };
    for page in [everywhere(&store(), &context), super::super::rooms(&store(), &context)] {
        sound(&page);
        for text in ["<script", "<img", "<b>", "\u{202e}", "\"\">", "'\">"] {
            assert!(!page.contains(text), "{text}: {page}");
        }
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{page}");
        assert!(page.contains("?room=%22%3E%3Cscript%3E&amp;who="), "{page}");
    }
}
