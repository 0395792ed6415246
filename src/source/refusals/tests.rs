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
fn a_sender_that_is_refused_often_hides_no_other() {
    let (warnings, began) = (Warnings::default(), Instant::now());
    let from = |peer: &str, seconds| {
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 1));
        let due = warnings.due_from((), peer, began + Duration::from_secs(seconds));
        due.map(|(n, peers)| (n, peers.map(|peers| peers.to_string())))
    };
    assert_eq!(from("1.2.3.4", 0), Some((1, None)));
    for second in 1..=57 {
        assert_eq!(from("1.2.3.4", second), None);
    }
    assert_eq!(from("::ffff:10.0.0.5", 58), None);
    let peers = "1.2.3.4 (58), 10.0.0.5 (1)".to_owned();
    assert_eq!(from("1.2.3.4", 60), Some((59, Some(peers))));
    for peer in ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.1"] {
        assert_eq!(from(peer, 61), None);
    }
    let peers = "1.1.1.1 (2), 1.1.1.2 (1), 1.1.1.3 (1), others (3)".to_owned();
    assert_eq!(from("1.1.1.6", 120), Some((7, Some(peers))));
    assert_eq!(from("1.1.1.6", 180), Some((1, None)));
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
            writeln!(texts, "{}: {text} reason={reason}", advice::refused(source)).unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/source/refusals/texts.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &texts).unwrap();
    }
    assert_eq!(texts, std::fs::read_to_string(path).unwrap(), "UPDATE_GOLDEN=1 makes it anew");
}
