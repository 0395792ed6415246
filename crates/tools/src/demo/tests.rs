use std::path::Path;

use super::collector::Received;
use super::sample::{self, Room};
use super::text::{WIDTH, width};
use super::{Style, render};
use livekit_otel_ledger::Ledger;
use livekit_otel_model::semconv::{key, metric, span};
use livekit_otel_model::{Signal, Source};

fn ledger() -> Ledger {
    let ledger = Ledger::default();
    for (source, accepted, merged) in [(Source::Webhook, 18, 14), (Source::Events, 96, 0)] {
        ledger.accepted(source, accepted);
        ledger.processed(source, accepted);
        ledger.merged(source, merged);
    }
    ledger.accepted(Source::Stats, 42);
    ledger.processed(Source::Stats, 42);
    for (signal, n) in [(Signal::Traces, 27), (Signal::Logs, 67), (Signal::Metrics, 62)] {
        ledger.queued(signal, n);
        ledger.delivered(signal, n);
    }
    ledger
}

fn shown(received: &Received, style: Style) -> String {
    let mut out = Vec::new();
    render(received, &ledger().snapshot(), style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(received: &Received) -> String {
    shown(received, Style::plain())
}

fn of(room: Room) -> Received {
    Received { traces: vec![sample::traces(room.spans)], ..Received::default() }
}

/// Compares with the file; `UPDATE_GOLDEN=1` writes it instead.
fn assert_golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/testdata").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let mut differences = Vec::new();
    let (mut wanted, mut lines) = (golden.lines(), shown.lines());
    for n in 1.. {
        match (wanted.next(), lines.next()) {
            (None, None) => break,
            (was, is) if was == is => {}
            (was, is) => differences.push(format!(
                "line {n}\n  - {}\n  + {}",
                was.unwrap_or("(end)"),
                is.unwrap_or("(end)")
            )),
        }
    }
    assert!(
        differences.is_empty(),
        "{name} differs (UPDATE_GOLDEN=1 rewrites it):\n{}",
        differences.join("\n")
    );
}

#[test]
fn a_call_is_shown_as_the_golden_report() {
    assert_golden("report.txt", &plain(&sample::call()));
}

#[test]
fn a_call_with_failures_is_shown_as_the_golden_report() {
    assert_golden("troubled.txt", &plain(&sample::troubled()));
}

#[test]
fn turns_of_an_agent_are_shown_as_the_golden_report() {
    assert_golden("answered.txt", &plain(&sample::answered()));
}

#[test]
fn no_line_is_wider_than_80_columns() {
    for received in [sample::call(), sample::troubled(), sample::answered(), Received::default()] {
        for line in plain(&received).lines() {
            assert!(width(line) <= WIDTH, "{} columns: {line}", width(line));
            assert_eq!(line, line.trim_end(), "blanks at the end");
        }
    }
}

#[test]
fn plain_text_has_no_escape_sequence_and_colours_add_nothing_else() {
    let plain = plain(&sample::call());
    assert!(!plain.contains('\x1b'));
    let coloured = shown(&sample::call(), Style::coloured());
    let mut bare = coloured.clone();
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[36m"] {
        bare = bare.replace(code, "");
    }
    assert_ne!(coloured, plain);
    assert_eq!(bare, plain);
}

#[test]
fn control_characters_in_names_never_reach_the_terminal() {
    let text = plain(&sample::troubled());
    let reaches = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
    assert_eq!(text.chars().find(reaches), None);
    assert!(text.contains("eve"), "{text}");
    let coloured = shown(&sample::troubled(), Style::coloured());
    assert!(!coloured.contains("\x1b[2J") && !coloured.contains("\x1b]0;"));
}

#[test]
fn an_empty_report_says_that_nothing_arrived() {
    let text = plain(&Received::default());
    assert!(text.contains("Nothing arrived"), "{text}");
    assert!(text.contains("Every record is accounted for."), "{text}");
}

#[test]
fn failures_and_inferred_ends_are_marked() {
    let text = plain(&sample::troubled());
    for wanted in [
        "✗ FAILED connection_aborted: the media connection was never made",
        "✗ FAILED timeout",
        "end inferred: shutdown",
        "end inferred: room ended",
        "left: client initiated",
        "3 attempts",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
}

#[test]
fn a_join_that_failed_is_one_failure() {
    let (kind, message) = ("connection_aborted", "the media connection was never made");
    let mut room = Room::new("RM_one", "one", 9, 30_000.0);
    let ada = room.participant("PA_1", "ada", (0.0, 20_000.0));
    room.failed(kind, message);
    let who = vec![sample::text(key::PARTICIPANT_ID, "PA_1")];
    room.add(span::PARTICIPANT_CONNECT, Some(ada), (0.0, 20_000.0), who);
    room.failed(kind, message);
    let text = plain(&of(room));
    assert!(text.contains("0 subscribes, 1 FAILED"), "{text}");
    assert_eq!(text.matches("✗ FAILED").count(), 1, "{text}");
    // Both spans failed, and both bars say so.
    assert_eq!(text.matches("─✗\n").count() + text.matches("█✗\n").count(), 2, "{text}");

    // Of 24 such joins, 4 are left out.
    let mut room = Room::new("RM_many", "many", 9, 30_000.0);
    let sids: Vec<String> = (0..24).map(|n| format!("PA_{n}")).collect();
    for sid in &sids {
        let above = room.participant(sid, sid, (0.0, 20_000.0));
        room.failed(kind, message);
        let who = vec![sample::text(key::PARTICIPANT_ID, sid)];
        room.add(span::PARTICIPANT_CONNECT, Some(above), (0.0, 20_000.0), who);
        room.failed(kind, message);
    }
    let text = plain(&of(room));
    assert!(text.contains("0 subscribes, 24 FAILED"), "{text}");
    assert!(text.contains("4 more participants with 8 spans, 4 FAILED"), "{text}");
}

#[test]
fn a_job_that_failed_is_one_failure_in_the_agents_own_words() {
    let mut room = Room::new("RM_job", "job", 9, 30_000.0);
    room.participant("PA_agent", "agent-AJ_1", (0.0, 20_000.0));
    room.failed("agent_error", "the agent failed");
    let of_agent =
        [sample::text(key::PARTICIPANT_ID, "PA_agent"), sample::text(key::JOB_ID, "AJ_1")];
    room.add(span::AGENT_JOB, Some(1), (0.0, 20_000.0), of_agent.to_vec());
    room.failed("agent_job_failed", "RuntimeError");
    let mut without = Room::new("RM_job", "job", 9, 30_000.0);
    without.spans = room.spans.clone();
    assert!(plain(&of(without)).contains("0 subscribes, 1 FAILED"));
    room.add("job_entrypoint", None, (0.0, 20_000.0), of_agent[1..].to_vec());
    room.failed("RuntimeError", "");
    let text = plain(&of(room));
    assert!(text.contains("0 subscribes, 1 FAILED"), "{text}");
    assert!(text.contains("✗ FAILED RuntimeError"), "{text}");
}

#[test]
fn left_out_spans_are_counted_and_failures_are_shown_first() {
    let text = plain(&sample::troubled());
    // 22 children: the failed subscribe is the last of them and still among the 12.
    assert!(text.contains("… and 10 more (track subscribe 10)"), "{text}");

    let mut big = Room::new("RM_big", "big", 1, 60_000.0);
    for n in 0..23 {
        big.participant(&format!("PA_{n}"), &format!("p{n}"), (f64::from(n), 60_000.0));
    }
    let text = plain(&of(big));
    assert!(text.contains("p19") && !text.contains("p20 "), "{text}");
    assert!(text.contains("… and 3 more participants with 3 spans"), "{text}");

    let mut rooms = Received::default();
    for (n, sid) in ["RM_a", "RM_b", "RM_c", "RM_d", "RM_e", "RM_f", "RM_g"].into_iter().enumerate()
    {
        let trace = u8::try_from(n).unwrap() + 1;
        rooms.traces.push(sample::traces(Room::new(sid, "many", trace, 1000.0).spans));
    }
    let text = plain(&rooms);
    assert_eq!(text.matches("Room many").count(), 5);
    assert!(text.contains("… and 2 more rooms, not shown"), "{text}");
}

#[test]
fn a_span_that_was_sent_twice_is_drawn_once_and_counted_twice() {
    let mut received = sample::call();
    received.traces.push(received.traces[0].clone());
    let (once, twice) = (plain(&sample::call()), plain(&received));
    let drawn = |text: &str| text.split("Quality").next().unwrap().to_owned();
    assert_eq!(drawn(&once), drawn(&twice));
    assert!(once.contains("27 spans") && twice.contains("36 spans"), "{twice}");
}

#[test]
fn participants_whose_room_has_not_arrived_are_shown() {
    let mut room = Room::new("RM_open", "open", 9, 1000.0);
    room.participant("PA_1", "ada", (0.0, 900.0));
    room.spans.remove(0);
    let text = plain(&of(room));
    assert!(text.contains("its span has not arrived"), "{text}");
    assert!(text.contains("ada  PA_1"), "{text}");
}

#[test]
fn spans_without_a_room_are_only_counted() {
    let mut own = Room::new("RM_x", "x", 3, 10.0);
    own.spans[0].name = "export".to_owned();
    own.spans[0].attributes.clear();
    let text = plain(&of(own));
    assert!(text.contains("No room's spans have arrived."), "{text}");
    assert!(text.contains("  1 span  "), "{text}");
}

#[test]
fn a_subscription_ended_by_its_track_says_so() {
    let mut room = Room::new("RM_x", "x", 3, 1000.0);
    let ada = room.participant("PA_1", "ada", (0.0, 900.0));
    room.subscribe(ada, ("PA_2", "TR_2"), (800.0, 801.0));
    room.with(sample::text(key::SUBSCRIBE_RESULT, "track_unpublished"));
    let text = plain(&of(room));
    assert!(text.contains("subscribe TR_2 of PA_2"), "{text}");
    assert!(text.contains("ended as track unpublished"), "{text}");
}

#[test]
fn a_tree_ends_with_its_last_branch() {
    let mut room = Room::new("RM_x", "x", 3, 1000.0);
    let ada = room.participant("PA_1", "ada", (0.0, 900.0));
    room.add(span::PARTICIPANT_CONNECT, Some(ada), (0.0, 20.0), vec![]);
    let text = plain(&of(room));
    assert!(text.contains("└─ ada  PA_1"), "{text}");
    assert!(text.contains("\n   └─ connect"), "{text}");
}

mod quality {
    use super::*;
    use crate::demo::sample::{gauge, metrics, point, series, sum};

    fn row(metrics_sent: Vec<opentelemetry_proto::tonic::metrics::v1::Metric>) -> String {
        let received = Received { metrics: vec![metrics(metrics_sent)], ..Received::default() };
        let text = plain(&received);
        text.lines().find(|line| line.contains("ada  PA_1")).unwrap_or_default().to_owned()
    }

    fn words(row: &str) -> Vec<&str> {
        row.split_whitespace().skip(2).collect()
    }

    #[test]
    fn the_last_cumulative_value_counts_and_an_ended_series_keeps_it() {
        let ada = series("PA_1", "ada", "upstream");
        let points = vec![
            point(&ada, 0.0, Some(0.0)),
            point(&ada, 60.0, Some(190.0)),
            point(&ada, 30.0, Some(100.0)),
            point(&ada, 90.0, None),
        ];
        let lost = vec![point(&ada, 60.0, Some(10.0))];
        let row = row(vec![
            sum(metric::STREAM_PACKETS, 2, points),
            sum(metric::STREAM_PACKETS_LOST, 2, lost),
        ]);
        assert_eq!(words(&row), ["upstream", "190", "5.0%", "-", "-", "-"]);
    }

    #[test]
    fn deltas_are_summed() {
        let ada = series("PA_1", "ada", "downstream");
        let points = vec![point(&ada, 30.0, Some(700.0)), point(&ada, 60.0, Some(800.0))];
        let row = row(vec![sum(metric::STREAM_PACKETS, 1, points)]);
        assert_eq!(words(&row), ["downstream", "1,500", "-", "-", "-", "-"]);
    }

    #[test]
    fn a_gauge_is_its_last_value_whatever_the_order() {
        let ada = series("PA_1", "ada", "upstream");
        let trips = vec![point(&ada, 60.0, Some(0.25)), point(&ada, 30.0, Some(0.1))];
        let row = row(vec![gauge(metric::STREAM_ROUND_TRIP, "s", trips)]);
        assert_eq!(words(&row), ["upstream", "-", "-", "250", "ms", "-", "-"]);
    }
}
