//! What was said in the calls of `tests/agents`: transcripts, instructions, what tools are for, what they were called
//! with and what they answered.

const WORDS: [&str; 16] = [
    "long story",
    "Stop, please",
    "Liddell",
    "Lyon",
    "Charge my card",
    "Once upon",
    "You are welcome",
    "Here you are",
    "helpdesk",
    "blue door",
    "are helpful",
    "+33 6 12",
    "4111 1111",
    "Forecasts",
    "Charges a card",
    "was refused",
];

/// Fails where one of the words is in the text.
pub(super) fn check_absent(what: &str, text: &str) {
    for word in WORDS {
        if let Some(at) = text.find(word) {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            panic!("{what} has {word}: {}", &text[from..at + word.len()]);
        }
    }
}

#[test]
fn the_words_are_those_of_the_agents() {
    for files in [&["agent.py", "fakes.py"][..], &["agent.mjs"]] {
        let read = |file: &&str| {
            let path = format!("{}/tests/agents/{file}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        };
        let text: String = files.iter().map(read).collect();
        for word in WORDS {
            assert!(text.contains(word), "{files:?} have no {word}");
        }
    }
}
