use super::super::tests::{context, sound};
use super::super::{Filter, room};
use super::*;
use crate::ui::store::{Limits, Store};
use crate::ui::tests::{at, reported, window, work};
use livekit_otel_model::semconv::{event, span};
use livekit_otel_model::signal::Severity::Info;
use livekit_otel_pipeline::Passed;

const ROOM: (&str, &str) = (key::ROOM_ID, "RM_1");

// ann was there from 1 s to 9 s, Bob from 2 s on, with a call that failed, and cid, with stats, from 3 s to 4 s.
fn store() -> Store {
    let mut store = Store::new(Limits::default());
    store.add(reported(event::ROOM_CREATED, Info, 0, &[ROOM]));
    for (sid, identity, from, to) in [
        ("PA_3", "ann", 1_000, Some(9_000)),
        ("PA_2", "Bob", 2_000, None),
        ("PA_1", "cid", 3_000, Some(4_000)),
    ] {
        let who = [ROOM, (key::PARTICIPANT_ID, sid), (key::PARTICIPANT_IDENTITY, identity)];
        store.add(reported(event::PARTICIPANT_JOINED, Info, from, &who));
        if let Some(to) = to {
            store.add(Passed::Spans(vec![work(span::PARTICIPANT, (from, to), &who)]));
        }
    }
    let track = [ROOM, (key::PARTICIPANT_ID, "PA_3"), (key::TRACK_ID, "TR_1")];
    store.add(Passed::Spans(vec![work(span::TRACK, (1_500, 8_900), &track)]));
    let call = [(key::PARTICIPANT_ID, "PA_2"), (key::SIP_CALL_ID, "SCL_1")];
    let failed = [(key::SIP_PHONE_NUMBER, "+15550100"), (key::ERROR_TYPE, "user_rejected")];
    let call = work(span::SIP_CALL, (2_000, 6_000), &[&[ROOM][..], &call, &failed].concat());
    store.add(Passed::Spans(vec![call]));
    store.add(Passed::Windows(vec![window("RM_1", 4_000)], at(4_000)));
    store
}

// The page, and the participants in its table.
fn shown(query: &str) -> (String, Vec<&'static str>) {
    let filter = Filter::read(query).0;
    let context = Context { now: at(10_000), filter, path: "/ui/rooms/RM%5F1".into(), ..context() };
    let page = room(store().room("RM_1").unwrap(), &context);
    sound(&page);
    let table = page.split("<h2 id=\"participants\">").nth(1).unwrap().split("</section>").next();
    let place = |sid: &str| table.unwrap().find(&format!("<code><bdi>{sid}"));
    let mut all: Vec<_> =
        ["PA_1", "PA_2", "PA_3"].into_iter().filter(|sid| place(sid).is_some()).collect();
    all.sort_by_key(|sid| place(sid));
    (page, all)
}

#[test]
fn participants_are_ordered_by_each_column_in_both_directions() {
    for (query, wanted) in [
        ("", ["PA_3", "PA_2", "PA_1"]),
        ("sort=-start", ["PA_1", "PA_2", "PA_3"]),
        ("sort=name", ["PA_3", "PA_2", "PA_1"]),
        ("sort=-name", ["PA_1", "PA_2", "PA_3"]),
        // Bob is still there.
        ("sort=-duration", ["PA_2", "PA_3", "PA_1"]),
        ("sort=duration", ["PA_1", "PA_3", "PA_2"]),
        ("sort=-tracks", ["PA_3", "PA_2", "PA_1"]),
        ("sort=-failures", ["PA_2", "PA_3", "PA_1"]),
        ("sort=-loss", ["PA_1", "PA_3", "PA_2"]),
        ("sort=score", ["PA_1", "PA_3", "PA_2"]),
    ] {
        assert_eq!(shown(query).1, wanted, "{query}");
    }
}

#[test]
fn the_filter_limits_the_table_and_the_waterfall_of_a_room() {
    for (query, wanted) in [
        ("who=BOB", &["PA_2"][..]),
        ("who=PA_3", &["PA_3"]),
        ("who=5550100", &["PA_2"]),
        ("failed=yes", &["PA_2"]),
        ("failed=yes&who=ann", &[]),
        ("who=nobody", &[]),
    ] {
        let (page, listed) = shown(query);
        assert_eq!(listed, wanted, "{query}");
        let waterfall = page.split("<h2 id=\"waterfall\">").nth(1).unwrap();
        let waterfall = waterfall.split("</section>").next().unwrap();
        for (sid, who) in [("PA_3", "ann"), ("PA_2", "Bob"), ("PA_1", "cid")] {
            let line = format!("\"><bdi>{who}</bdi></a>");
            assert_eq!(waterfall.contains(&line), wanted.contains(&sid), "{query} {who}");
        }
        let text = format!("The filter shows {} of 3 participants.", wanted.len());
        assert!(page.contains(&text), "{query}");
    }
    assert!(!shown("sort=name").0.contains("The filter shows"));
}

#[test]
fn the_failures_of_a_room_have_their_own_order_and_the_same_filter() {
    let store = || {
        let mut store = store();
        let other = [ROOM, (key::PARTICIPANT_ID, "PA_3"), (key::ERROR_TYPE, "subscribe_failed")];
        let other = [&other[..], &[(key::TRACK_ID, "TR_2")]].concat();
        store.add(Passed::Spans(vec![work(span::TRACK_SUBSCRIBE, (1_000, 1_500), &other)]));
        store
    };
    let listed = |query: &str| {
        let filter = Filter::read(query).0;
        let page = room(store().room("RM_1").unwrap(), &Context { filter, ..context() });
        let table = page.split("<h2 id=\"failures\">").nth(1).unwrap().to_owned();
        let table = table.split("</section>").next().unwrap().to_owned();
        let mut all: Vec<_> = ["user_rejected", "subscribe_failed"]
            .into_iter()
            .filter_map(|error| Some((table.find(&format!("<bdi>{error}"))?, error)))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, error)| error).collect::<Vec<_>>()
    };
    let [late, early] = ["user_rejected", "subscribe_failed"];
    for (query, wanted) in [
        ("", &[early, late][..]),
        ("failures=-when", &[late, early]),
        ("failures=error", &[early, late]),
        ("failures=-error", &[late, early]),
        ("failures=participants", &[early, late]),
        ("failures=-participants", &[late, early]),
        // That is the order of the participants.
        ("sort=-start", &[early, late]),
        ("who=ann", &[early]),
        ("who=nobody", &[]),
    ] {
        assert_eq!(listed(query), wanted, "{query}");
    }
}
