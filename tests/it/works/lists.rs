//! Lists of egresses and ingresses: what was missed is opened or ended, and nothing that has ended is opened again.

use livekit_otel_model::event::answer::{Answer, Answered, Question, WorkList};
use livekit_otel_model::event::rooms::{Coverage, Rooms};

use super::*;
use crate::run::Run;

const MINUTE: i64 = 60_000;

// A list of the deployment's rooms at that time: none.
fn rooms(millis: i64) -> Decoded {
    let at = Some(crate::messages::at(millis));
    Decoded::Rooms(Rooms { at, coverage: Coverage::Deployment, rooms: Vec::new(), event: None })
}

// The event of a report, as a list has it.
fn listed(reports: &[Decoded], millis: i64) -> WorkList {
    let mut events = Vec::new();
    for report in reports {
        let Decoded::Events(of_report) = report else { panic!("{report:?}") };
        let reported =
            livekit_otel_model::event::ReportedTime { at: at(millis), whole_seconds: false };
        events.extend(of_report.iter().cloned().map(|mut event| {
            event.reported = Some(reported);
            if let Some(work) = &mut event.work {
                work.is_start = false;
            }
            event
        }));
    }
    WorkList { events, is_complete: true }
}

fn answer(content: Answered, millis: i64) -> Decoded {
    Decoded::Answer(Box::new(Answer { at: at(millis), content }))
}

fn egresses(reports: &[Decoded], millis: i64) -> Decoded {
    answer(Answered::Egresses(listed(reports, millis)), millis)
}

fn ingresses(reports: &[Decoded], millis: i64) -> Decoded {
    answer(Answered::Ingresses(listed(reports, millis)), millis)
}

fn run() -> Run {
    let mut run = Run::new();
    run.engine.enable_questions();
    run
}

// An egress that joins no room, of that status since then; it began at 1 s.
fn web(event: &str, status: &str, millis: i64, more: Json) -> Decoded {
    let info = json!({"status": status, "startedAt": nanos(1000), "updatedAt": nanos(millis),
        "roomId": "", "roomName": "", "web": {}});
    egress(event, millis, with(info, more))
}

fn active(millis: i64) -> Decoded {
    web("egress_updated", "EGRESS_ACTIVE", millis, json!({}))
}

fn publishing(millis: i64) -> Decoded {
    let state = json!({"status": "ENDPOINT_PUBLISHING", "startedAt": nanos(1000),
        "updatedAt": nanos(millis)});
    ingress("INGRESS_STARTED", millis, state)
}

// The questions for lists that are due.
fn asked(run: &mut Run, millis: i64) -> Vec<Question> {
    std::iter::from_fn(|| run.engine.question(at(millis)))
        .filter(|question| matches!(question, Question::Egresses | Question::Ingresses))
        .collect()
}

#[test]
fn lists_are_asked_for_with_each_list_of_rooms_while_something_runs_else_hourly() {
    let mut run = run();
    run.apply(0, &rooms(0));
    assert_eq!(asked(&mut run, 0), [Question::Egresses, Question::Ingresses]);
    run.apply(1000, &egresses(&[], 1000)).apply(1000, &ingresses(&[], 1000));
    run.apply(MINUTE, &rooms(MINUTE));
    assert_eq!(asked(&mut run, MINUTE), []);
    run.apply(2 * MINUTE, &active(2 * MINUTE)).apply(3 * MINUTE, &rooms(3 * MINUTE));
    assert_eq!(asked(&mut run, 3 * MINUTE), [Question::Egresses]);
    run.apply(3 * MINUTE, &egresses(&[active(2 * MINUTE)], 3 * MINUTE));
    let ended = web("egress_ended", "EGRESS_COMPLETE", 4 * MINUTE, json!({}));
    run.apply(4 * MINUTE, &ended).apply(5 * MINUTE, &rooms(5 * MINUTE));
    assert_eq!(asked(&mut run, 5 * MINUTE), []);
    run.apply(64 * MINUTE, &rooms(64 * MINUTE));
    assert_eq!(asked(&mut run, 64 * MINUTE), [Question::Egresses, Question::Ingresses]);
}

#[test]
fn nothing_is_asked_for_because_of_a_nodes_list() {
    let mut run = run();
    let node = livekit_otel_model::event::NodeId::new("ND_1").unwrap();
    let list =
        Rooms { at: Some(at(0)), coverage: Coverage::Node(node), rooms: Vec::new(), event: None };
    run.apply(0, &active(0)).apply(0, &Decoded::Rooms(list));
    assert_eq!(asked(&mut run, 0), []);
}

#[test]
fn a_listed_status_is_that_of_the_span_and_no_log_record() {
    let mut run = run();
    run.apply_as(1000, &web("egress_started", "EGRESS_STARTING", 1000, json!({})), false);
    let before = run.out.logs.len();
    let list = active(4000);
    run.apply(MINUTE, &egresses(std::slice::from_ref(&list), MINUTE)).restart();
    assert_eq!(run.out.logs.len(), before);
    // It has begun to record, so that it is not stuck.
    run.apply(3 * MINUTE, &web("egress_ended", "EGRESS_COMPLETE", 3 * MINUTE, json!({})));
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STATUS), Some("EGRESS_COMPLETE"));
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), None);
}

#[test]
fn what_two_lists_in_a_row_lack_has_ended() {
    let end = 10 * MINUTE;
    for (name, started, list) in [
        (span::EGRESS, active(2000), egresses as fn(&[Decoded], i64) -> Decoded),
        (span::INGRESS, publishing(2000), ingresses),
    ] {
        let mut run = run();
        run.apply(2000, &started).apply(MINUTE, &list(std::slice::from_ref(&started), MINUTE));
        run.apply(2 * MINUTE, &list(&[], 2 * MINUTE)).restart();
        run.tick(3 * MINUTE - 1);
        assert!(run.spans(name).is_empty());
        run.apply(3 * MINUTE, &list(&[], 3 * MINUTE)).restart().tick(end);
        let span = run.span(name);
        assert_eq!(text(&span.attributes, key::END_INFERRED), Some("reconciled"), "{span:?}");
        assert_eq!(span.end, at(MINUTE));
        // A list that has it again opens nothing.
        run.apply(end, &list(std::slice::from_ref(&started), end)).wait();
        run.span(name);
    }
}

#[test]
fn a_page_that_is_not_the_last_ends_nothing() {
    let page = |answered: fn(WorkList) -> Answered, millis| {
        answer(answered(WorkList { events: Vec::new(), is_complete: false }), millis)
    };
    let mut run = run();
    run.apply(2000, &active(2000)).apply(2000, &publishing(2000));
    for nth in 1..5 {
        run.apply(nth * MINUTE, &page(Answered::Egresses, nth * MINUTE)).restart();
        run.apply(nth * MINUTE, &page(Answered::Ingresses, nth * MINUTE)).restart();
    }
    run.tick(10 * MINUTE);
    assert!(run.spans(span::EGRESS).is_empty() && run.spans(span::INGRESS).is_empty());
}

#[test]
fn one_list_or_a_recent_report_ends_nothing() {
    for lists in [
        // Between the two lists there is one that has it.
        &[(2 * MINUTE, false), (3 * MINUTE, true), (4 * MINUTE, false)][..],
        &[(2 * MINUTE, false)],
        // It was reported less than 30 s before.
        &[(1000, false), (20_000, false)],
    ] {
        let mut run = run();
        run.apply(2000, &active(2000));
        for (millis, is_there) in lists {
            let list = if *is_there { vec![active(2000)] } else { Vec::new() };
            run.apply(*millis, &egresses(&list, *millis)).restart();
        }
        run.apply(5 * MINUTE, &web("egress_ended", "EGRESS_COMPLETE", 5 * MINUTE, json!({})));
        let span = run.wait().span(span::EGRESS);
        assert_eq!(text(&span.attributes, key::END_INFERRED), None, "{lists:?}");
        assert_eq!(span.end, at(5 * MINUTE));
    }
}

#[test]
fn a_reported_end_replaces_that_of_lists_until_the_span_is_emitted() {
    let mut run = run();
    run.apply(2000, &active(2000));
    run.apply(2 * MINUTE, &egresses(&[], 2 * MINUTE)).apply(3 * MINUTE, &egresses(&[], 3 * MINUTE));
    let ended = json!({"error": "disk", "endedAt": nanos(90_000)});
    run.apply(3 * MINUTE + 10_000, &web("egress_ended", "EGRESS_FAILED", 90_000, ended));
    let span = run.wait().span(span::EGRESS);
    assert_eq!((span.failure(), span.end), (Some("egress_failed"), at(90_000)));
    assert_eq!(text(&span.attributes, key::END_INFERRED), None);
}

#[test]
fn what_lists_lost_runs_if_it_reports_again() {
    let paused = |millis| {
        let state = json!({"status": "ENDPOINT_BUFFERING", "updatedAt": nanos(millis)});
        ingress("INGRESS_UPDATED", millis, state)
    };
    let over = |millis| {
        let state = json!({"status": "ENDPOINT_COMPLETE", "updatedAt": nanos(millis),
            "endedAt": nanos(millis)});
        ingress("INGRESS_ENDED", millis, state)
    };
    let complete =
        |millis| web("egress_ended", "EGRESS_COMPLETE", millis, json!({"endedAt": nanos(millis)}));
    let end = 20 * MINUTE;
    for (name, question, list, reports) in [
        (
            span::EGRESS,
            Question::Egresses,
            egresses as fn(&[Decoded], i64) -> Decoded,
            [active(2000), active(3 * MINUTE + 2000), complete(end)],
        ),
        (
            span::INGRESS,
            Question::Ingresses,
            ingresses,
            [publishing(2000), paused(3 * MINUTE + 2000), over(end)],
        ),
    ] {
        let mut run = run();
        run.apply(0, &rooms(0));
        asked(&mut run, 0);
        run.apply(2000, &reports[0]);
        run.apply(2 * MINUTE, &list(&[], 2 * MINUTE)).apply(3 * MINUTE, &list(&[], 3 * MINUTE));
        run.apply(3 * MINUTE + 2000, &reports[1]).restart().engine.enable_questions();
        run.wait_until(10 * MINUTE);
        assert!(run.spans(name).is_empty(), "{name}");
        run.apply(10 * MINUTE, &rooms(10 * MINUTE));
        assert_eq!(asked(&mut run, 10 * MINUTE), [question], "{name}");
        run.apply(end, &reports[2]).wait();
        let span = run.span(name);
        assert_eq!((span.end, text(&span.attributes, key::END_INFERRED)), (at(end), None));
    }
}

#[test]
fn an_end_that_only_a_list_has_is_the_spans() {
    let mut run = run();
    run.apply(2000, &active(2000)).apply(2000, &publishing(2000));
    let ended = json!({"endedAt": nanos(50_000), "error": "disk"});
    let egress = web("egress_ended", "EGRESS_FAILED", 50_000, ended);
    let idle = json!({"status": "ENDPOINT_INACTIVE", "startedAt": nanos(1000),
        "endedAt": nanos(40_000), "updatedAt": nanos(40_000)});
    let ingress = ingress("INGRESS_UPDATED", 40_000, idle);
    run.apply(MINUTE, &egresses(&[egress], MINUTE)).apply(MINUTE, &ingresses(&[ingress], MINUTE));
    run.wait();
    let span = run.span(span::EGRESS);
    assert_eq!((span.failure(), span.end), (Some("egress_failed"), at(50_000)));
    let span = run.span(span::INGRESS);
    assert_eq!((span.failure(), span.end), (None, at(40_000)));
    assert_eq!(text(&span.attributes, key::END_INFERRED), None);
}

#[test]
fn an_egress_whose_start_was_missed_is_opened_once_it_is_older_than_the_grace() {
    let mut run = run();
    run.apply(20_000, &egresses(&[active(2000)], 20_000));
    let ended = web("egress_ended", "EGRESS_COMPLETE", 5000, json!({"egressId": "EG_2"}));
    let never = ingress("INGRESS_UPDATED", 1000, json!({"resourceId": "", "roomId": ""}));
    run.apply(MINUTE, &egresses(&[active(2000), ended], MINUTE));
    run.apply(MINUTE, &ingresses(&[publishing(2000), never], MINUTE));
    assert!(run.out.logs.is_empty());
    run.engine.close(at(2 * MINUTE), "shutdown", &mut run.out);
    let span = run.span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_ID), Some("EG_1"));
    assert_eq!(span.start, at(1000));
    assert_eq!(text(&run.span(span::INGRESS).attributes, key::INGRESS_ID), Some("IN_1"));
    // Not before.
    let mut run = self::run();
    run.apply(20_000, &egresses(&[active(2000)], 20_000));
    run.engine.close(at(2 * MINUTE), "shutdown", &mut run.out);
    assert!(run.spans(span::EGRESS).is_empty());
}

#[test]
fn an_egress_of_a_dead_service_ends_by_silence_once_though_it_is_listed_for_ever() {
    let (hour, mut run) = (60 * MINUTE, run());
    let started = web("egress_started", "EGRESS_STARTING", 1000, json!({}));
    run.apply(1000, &started);
    for nth in 1..60 {
        run.apply(nth * hour, &egresses(std::slice::from_ref(&started), nth * hour));
        run.wait_until(nth * hour + 1);
    }
    let span = run.span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::END_INFERRED), Some("silence"));
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), Some("starting"));
}

#[test]
fn an_egress_that_runs_for_days_does_not_end_by_silence_while_it_is_listed() {
    let (hour, mut run) = (60 * MINUTE, run());
    run.apply(1000, &active(1000));
    for nth in 1..60 {
        run.apply(nth * hour, &egresses(&[active(1000)], nth * hour));
        run.wait_until(nth * hour + 1);
    }
    assert!(run.spans(span::EGRESS).is_empty());
    run.apply(60 * hour, &web("egress_ended", "EGRESS_COMPLETE", 60 * hour, json!({})));
    let span = run.wait().span(span::EGRESS);
    assert_eq!(span.end.since(span.start).as_secs(), 60 * 3600 - 1);
}
