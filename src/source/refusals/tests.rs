use std::fmt::Write;

use super::*;

#[test]
fn each_cause_is_one_warning_in_a_minute_with_its_number_since_the_last() {
    let warnings = Warnings::default();
    let began = Instant::now();
    let at =
        |cause: &'static str, seconds| warnings.due(cause, began + Duration::from_secs(seconds));
    assert_eq!([0, 1, 59].map(|seconds| at("a", seconds)), [Some(1), None, None]);
    assert_eq!(at("b", 59), Some(1), "another cause does not wait");
    assert_eq!([60, 61, 200].map(|seconds| at("a", seconds)), [Some(3), None, Some(2)]);
}

#[test]
fn what_comes_from_the_sender_is_cut_and_printable() {
    let sender = Sender::default().asking(&format!("/\u{1b}[2J{}", "x".repeat(100)));
    assert_eq!(sender.path.unwrap(), format!("/\u{fffd}[2J{}", "x".repeat(59)));
}

const OF_ALL: [Refusal; 15] = [
    Refusal::Missing,
    Refusal::Several,
    Refusal::TooLong,
    Refusal::Malformed,
    Refusal::Algorithm,
    Refusal::Critical,
    Refusal::NoIssuer,
    Refusal::UnknownKey,
    Refusal::SecretAsKey,
    Refusal::Audience,
    Refusal::Signature,
    Refusal::Claims,
    Refusal::NoEnd,
    Refusal::Expired { ago: 312 },
    Refusal::NotYet { within: 312 },
];
const OF_WEBHOOKS: [Refusal; 3] = [Refusal::Old { ago: 1000 }, Refusal::NoHash, Refusal::OtherBody];
const OF_STREAMS: [Refusal; 4] =
    [Refusal::Lasting, Refusal::Webhook, Refusal::KeyNotListed, Refusal::NoGrant];
const OF_UPLOADS: [Refusal; 2] = [Refusal::NoUploadGrant, Refusal::NotServed];

// `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn the_texts_about_tokens_are_those_that_were_reviewed() {
    let mut texts = String::new();
    for (source, own) in [
        (Source::Webhook, &OF_WEBHOOKS[..]),
        (Source::Events, &OF_STREAMS),
        (Source::AgentLogs, &OF_UPLOADS),
    ] {
        for rule in OF_ALL.iter().chain(own) {
            let (reason, text) = (advice::reason(*rule).as_str(), advice::token(source, *rule));
            writeln!(texts, "{} refused: {text} reason={reason}", advice::what(source)).unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/source/refusals/texts.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &texts).unwrap();
    }
    assert_eq!(texts, std::fs::read_to_string(path).unwrap(), "UPDATE_GOLDEN=1 makes it anew");
}
