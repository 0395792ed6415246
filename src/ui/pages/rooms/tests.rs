use super::super::tests::{context, sound};
use super::*;
use crate::ui::tests::{at, reported, work};
use livekit_otel_model::semconv::{event, key};
use livekit_otel_model::signal::Severity::Info;
use livekit_otel_pipeline::Passed;

// An open room with ann; one that ended after 60 s with bob, and a call to him that failed after 5 s.
fn store() -> Store {
    let mut store = Store::new(crate::ui::store::Limits::default());
    for (sid, name, who, identity) in
        [("RM_one", "standup", "PA_1", "ann"), ("RM_two", "sales", "PA_2", "sip_bob")]
    {
        let room = [(key::ROOM_ID, sid), (key::ROOM_NAME, name)];
        store.add(reported(event::ROOM_CREATED, Info, 0, &room));
        let who = [(key::PARTICIPANT_ID, who), (key::PARTICIPANT_IDENTITY, identity)];
        store.add(reported(event::PARTICIPANT_JOINED, Info, 1_000, &[room, who].concat()));
    }
    let room = (key::ROOM_ID, "RM_two");
    let call = [room, (key::SIP_CALL_ID, "SCL_1"), (key::SIP_PHONE_NUMBER, "+15550100")];
    let failed = [&call[..], &[(key::ERROR_TYPE, "user_rejected")]].concat();
    let call = work(span::SIP_CALL, (1_000, 5_000), &failed);
    store.add(Passed::Spans(vec![call, work(span::ROOM, (0, 60_000), &[room])]));
    store
}

fn shown(query: &str, millis: i64) -> (String, Vec<&'static str>) {
    let filter = Filter::read(query).0;
    let page = rooms(&store(), &Context { now: at(millis), filter, ..context() });
    sound(&page);
    let all = ["RM_one", "RM_two"].into_iter();
    let listed = all.filter(|sid| page.contains(&format!("<code><bdi>{sid}"))).collect();
    (page, listed)
}

#[test]
fn rooms_are_found_by_name_identity_number_and_failures() {
    for (query, wanted) in [
        ("", &["RM_one", "RM_two"][..]),
        ("room=STAND", &["RM_one"]),
        ("room=rm_", &["RM_one", "RM_two"]),
        ("who=ann", &["RM_one"]),
        ("who=PA_2", &["RM_two"]),
        ("who=5550100", &["RM_two"]),
        ("failed=yes", &["RM_two"]),
        ("state=open", &["RM_one"]),
        ("state=ended", &["RM_two"]),
        ("state=open&failed=yes", &[]),
        ("failed=yes&who=ann", &[]),
    ] {
        assert_eq!(shown(query, 61_000).1, wanted, "{query}");
    }
    let (page, _) = shown("who=bob", 61_000);
    let link = "with </span><a href=\"/ui/rooms/RM_two/participants/PA_2\"><bdi>sip_bob</bdi></a>";
    assert!(page.contains(link), "{page}");
    assert!(shown("who=x", 61_000).0.contains("no room that this filter shows"));
}

#[test]
fn rooms_of_the_time_are_open_or_ended_in_it_or_failed_in_it() {
    let minute = 60_000;
    for (query, now, wanted) in [
        ("since=5m", 5 * minute, &["RM_one", "RM_two"][..]),
        ("since=5m", 7 * minute, &["RM_one"]),
        ("since=15m", 7 * minute, &["RM_one", "RM_two"]),
        // The room had ended by then, but its call failed before.
        ("since=5m&failed=yes", 5 * minute, &["RM_two"]),
        ("since=5m&failed=yes", 5 * minute + 6_000, &[]),
        ("since=1h&failed=yes", 30 * minute, &["RM_two"]),
    ] {
        assert_eq!(shown(query, now).1, wanted, "{query} at {now}");
    }
}

#[test]
fn refreshing_keeps_the_filter() {
    let filter = Filter::read("room=a+b&since=5m").0;
    let still = Context { filter, path: "/ui".into(), ..context() };
    let page = rooms(&store(), &still);
    assert!(
        page.contains("href=\"/ui?room=a%20b&amp;since=5m&amp;refresh\">Refresh every 5 s</a>")
    );
    let page = rooms(&store(), &Context { refreshes: true, ..still });
    assert!(page.contains("href=\"/ui?room=a%20b&amp;since=5m\">Stop refreshing</a>"));
    // And the form keeps refreshing.
    assert!(page.contains("<input type=\"hidden\" name=\"refresh\" value=\"\">"));
}

// Three open rooms, which differ in all columns. The third has stats.
fn three() -> Store {
    let mut store = Store::new(crate::ui::store::Limits::default());
    for (sid, name, start, people) in
        [("RM_a", "Beta", 3_000, 1), ("RM_b", "alpha", 1_000, 3), ("RM_c", "gamma", 2_000, 2)]
    {
        let room = [(key::ROOM_ID, sid), (key::ROOM_NAME, name)];
        store.add(reported(event::ROOM_CREATED, Info, start, &room));
        for n in 0..people {
            let (who, track) = (format!("PA_{n}"), format!("TR_{n}"));
            let who = [&room[..], &[(key::PARTICIPANT_ID, &who)]].concat();
            store.add(reported(event::PARTICIPANT_JOINED, Info, start, &who));
            let track = [&who[..], &[(key::TRACK_ID, &track)]].concat();
            store.add(reported(event::TRACK_PUBLISHED, Info, start, &track));
        }
    }
    let failed = [(key::ROOM_ID, "RM_a"), (key::SIP_CALL_ID, "SCL_1"), (key::ERROR_TYPE, "busy")];
    store.add(Passed::Spans(vec![work(span::SIP_CALL, (3_000, 3_500), &failed)]));
    store.add(Passed::Windows(vec![crate::ui::tests::window("RM_c", 4_000)], at(4_000)));
    store
}

#[test]
fn rooms_are_ordered_by_each_column_in_both_directions() {
    let store = three();
    for (query, wanted) in [
        ("", ["RM_a", "RM_c", "RM_b"]),
        ("sort=start", ["RM_b", "RM_c", "RM_a"]),
        ("sort=name", ["RM_b", "RM_a", "RM_c"]),
        ("sort=-name", ["RM_c", "RM_a", "RM_b"]),
        ("sort=-participants", ["RM_b", "RM_c", "RM_a"]),
        ("sort=-tracks", ["RM_b", "RM_c", "RM_a"]),
        ("sort=-duration", ["RM_b", "RM_c", "RM_a"]),
        ("sort=-failures", ["RM_a", "RM_c", "RM_b"]),
        ("sort=failures", ["RM_c", "RM_b", "RM_a"]),
        // Rooms without stats are the last, in their usual order.
        ("sort=loss", ["RM_c", "RM_a", "RM_b"]),
        ("sort=-loss", ["RM_c", "RM_a", "RM_b"]),
        ("sort=score", ["RM_c", "RM_a", "RM_b"]),
    ] {
        let filter = Filter::read(query).0;
        let page = rooms(&store, &Context { now: at(6_000), filter, ..context() });
        sound(&page);
        let place = |sid: &str| page.find(&format!("<code><bdi>{sid}")).unwrap();
        let mut listed = wanted;
        listed.sort_by_key(|sid| place(sid));
        assert_eq!(listed, wanted, "{query}");
    }
}
