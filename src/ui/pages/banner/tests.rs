use super::super::tests::{context, sound};
use super::super::{delivery, not_found};
use super::*;
use livekit_otel_ledger::Ledger;

const NOW: i64 = 1_795_406_990;

fn at(seconds: i64) -> Time {
    Time::from_secs(NOW + seconds).unwrap()
}

fn of(ledger: &Ledger) -> Context {
    Context { health: ledger.health().report(), ledger: ledger.snapshot(), now: at(0), ..context() }
}

// The lines of the banner as text.
fn lines(ledger: &Ledger) -> Vec<String> {
    let page = delivery(&of(ledger));
    sound(&page);
    let Some((_, rest)) = page.split_once("<section class=\"banner\"") else { return Vec::new() };
    let banner = rest.split("</section>").next().unwrap();
    let text = |item: &str| {
        let item = item.replace("<span class=\"hint\">", " ");
        let parts = item.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect::<String>()
    };
    banner.split("<li>").skip(1).map(|item| text(item).trim().to_owned()).collect()
}

fn broken() -> Ledger {
    let ledger = Ledger::default();
    let health = ledger.health();
    let text = "the volume of the journal has 12 bytes left: free space on it".to_owned();
    health.set_intake(at(-90), Some((NotReady::DiskFull, text)));
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        health.set_target(signal, "collector:4317", "grpc");
    }
    for (signal, since) in [(Signal::Logs, -60), (Signal::Traces, -70)] {
        let hint = Some("Nothing listens there. Is the collector running?");
        health.delivery_failed(signal, at(since), "connection refused", hint);
    }
    health.records_refused(Signal::Metrics, at(-30), 7, "resource has no service.name");
    health.records_warned(Signal::Logs, at(-20), "the field x is deprecated");
    let text = "is the secret the same on both sides?";
    health.refused(Source::Webhook, Refused::Signature, at(-500), text);
    health.refused(Source::Api, Refused::Unauthorized, at(-2), "the key is not known to it");
    ledger.refused(Source::Webhook, Refused::Signature);
    ledger.refused(Source::Webhook, Refused::Signature);
    ledger.refused(Source::Webhook, Refused::NoToken);
    ledger.queued(Signal::Traces, 1_200);
    ledger.queued(Signal::Logs, 34);
    ledger.delivered(Signal::Logs, 4);
    ledger.accepted(Source::Events, 1);
    ledger.processed(Source::Events, 3);
    ledger
}

#[test]
fn each_problem_is_a_line_with_its_cause_its_time_and_what_to_do() {
    let wanted = [
        "✗ Nothing is accepted since 2026-11-23 04:08:20: disk_full, the volume of the journal has 12 bytes left: \
         free space on it",
        "✗ Traces and logs are not delivered to collector:4317 (grpc) since 2026-11-23 04:08:40: connection refused \
         Nothing listens there. Is the collector running? 1,230 records wait in memory. Details: Delivery.",
        "✗ The ledger does not add up: events: processed, dead letters and lost exceed accepted by 2. This is a \
         fault of this program: its counts can't be trusted.",
        "✗ The collector refused records for good, 7 of metrics since the start, the last at 2026-11-23 04:09:20, \
         at collector:4317: resource has no service.name",
        "⚠ The collector accepts logs with a warning, the last at 2026-11-23 04:09:30, at collector:4317: the field x \
         is deprecated",
        "✗ Requests to LiveKit's API fail, api: unauthorized, 0 since the start, the last at 2026-11-23 04:09:48: \
         the key is not known to it",
        "✗ Requests are refused, webhook: signature, 2 since the start, the last at 2026-11-23 04:01:30: is the \
         secret the same on both sides?",
    ];
    assert_eq!(lines(&broken()), wanted);
}

#[test]
fn a_page_without_problems_has_no_banner() {
    let ledger = Ledger::default();
    ledger.health().set_target(Signal::Logs, "collector:4317", "grpc");
    assert_eq!(lines(&ledger), [""; 0]);
}

#[test]
fn a_line_goes_when_its_cause_does() {
    let ledger = broken();
    let health = ledger.health();
    let has = |ledger: &Ledger, text: &str| lines(ledger).iter().any(|line| line.contains(text));
    health.delivery_recovered(Signal::Traces);
    assert!(has(&ledger, "✗ Logs are not delivered") && !has(&ledger, "Traces"));
    health.delivery_recovered(Signal::Logs);
    assert!(!has(&ledger, "not delivered"));
    health.set_intake(at(-1), None);
    assert!(!has(&ledger, "Nothing is accepted"));
    ledger.accepted(Source::Events, 2);
    assert!(!has(&ledger, "does not add up"));
    // What was refused is mentioned for ten minutes.
    assert!(has(&ledger, "refused records for good") && has(&ledger, "signature"));
    let later = Context { now: at(101), ..of(&ledger) };
    let page = delivery(&later);
    assert!(!page.contains("signature</bdi>") && page.contains("refused records for good"));
    let page = delivery(&Context { now: at(700), ..later });
    assert!(!page.contains("class=\"banner\""), "{page}");
}

#[test]
fn signals_that_fail_for_different_reasons_are_lines_of_their_own() {
    let ledger = Ledger::default();
    for (signal, target, cause) in [
        (Signal::Traces, "traces:4317", "401"),
        (Signal::Logs, "logs:4317", "401"),
        (Signal::Metrics, "logs:4317", "refused"),
    ] {
        ledger.health().set_target(signal, target, "grpc");
        ledger.health().delivery_failed(signal, at(-1), cause, None);
    }
    let lines = lines(&ledger);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[2].contains("to logs:4317 (grpc)") && lines[2].contains(": refused"),
        "{lines:?}"
    );
}

#[test]
fn a_server_that_stops_is_no_failure_and_busy_is_no_second_one() {
    let ledger = Ledger::default();
    ledger.health().set_intake(at(-1), Some((NotReady::Draining, "it stops".to_owned())));
    ledger.health().refused(Source::Webhook, Refused::Busy, at(-1), "retry");
    let lines_of = lines(&ledger);
    assert_eq!(
        lines_of,
        ["◐ The server stops, and accepts nothing more since 2026-11-23 04:09:49."]
    );
    ledger.health().set_intake(at(0), None);
    assert!(lines(&ledger)[0].contains("webhook: busy"));
    ledger.health().refused(Source::Webhook, Refused::Busy, at(-31), "retry");
    assert_eq!(lines(&ledger), [""; 0]);
}

#[test]
fn what_strangers_send_to_a_public_port_is_a_note() {
    let ledger = Ledger::default();
    let health = ledger.health();
    let text = "there is no Authorization header";
    health.refused(Source::Webhook, Refused::NoToken, at(-1), text);
    health.refused(Source::Webhook, Refused::WrongPath, at(-2), "nothing is served at this path");
    health.refused(Source::Events, Refused::Unauthorized, at(-3), "it has no JWT");
    health.refused(Source::Api, Refused::Unauthorized, at(-4), "the key is not known to it");
    health.refused(Source::Webhook, Refused::UnknownKey, at(-5), "is the key there?");
    let lines = lines(&ledger);
    let marks: String = lines.iter().filter_map(|line| line.chars().next()).collect();
    assert_eq!(marks, "✗✗⚠⚠⚠", "{lines:?}");
    assert_eq!(
        lines[2],
        "⚠ Requests are refused, of strangers or of LiveKit, webhook: no_token, 0 since the start, the last at \
         2026-11-23 04:09:49: there is no Authorization header"
    );
}

#[test]
fn many_problems_are_cut_and_every_page_has_them() {
    let ledger = Ledger::default();
    for source in Source::ALL {
        ledger.health().refused(source, Refused::Expired, at(-1), "is this machine's clock right?");
    }
    let shown = lines(&ledger);
    assert_eq!((shown.len(), shown[8].as_str()), (9, "… and 4 more problems."));
    assert!(not_found("No such room.", &of(&ledger)).contains("class=\"banner\""));
}

#[test]
fn no_text_of_a_problem_is_markup() {
    let ledger = Ledger::default();
    let evil = "<script>alert(1)</script>\"'><img src=x>\u{202e}";
    ledger.health().set_intake(at(-1), Some((NotReady::DiskFull, evil.to_owned())));
    ledger.health().set_target(Signal::Logs, evil, evil);
    ledger.health().delivery_failed(Signal::Logs, at(-1), evil, Some(evil));
    ledger.health().records_refused(Signal::Logs, at(-1), 1, evil);
    ledger.health().records_warned(Signal::Logs, at(-1), evil);
    ledger.health().refused(Source::Webhook, Refused::Signature, at(-1), evil);
    let page = delivery(&of(&ledger));
    sound(&page);
    assert_eq!(page.matches("&lt;script&gt;").count(), 10, "{page}");
    assert!(!page.contains(['\u{202e}']) && !page.contains("<img"), "{page}");
}
