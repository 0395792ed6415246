use super::*;
use crate::ui::pages::tests::{SCENARIOS, all, hostile, sound};
use crate::ui::tests::played_as;

// Marks each foreign text.
const MARK: char = '☠';

fn marked(text: &str) -> String {
    if text.contains(MARK) { text.to_owned() } else { format!("{text}{MARK}") }
}

// Counts the foreign texts on the page. Each must be within `bdi`, or between isolates in
// attributes and titles, which have no elements.
fn found(page: &str) -> usize {
    let (mut found, mut bdi, mut title) = (0, 0, 0);
    for part in page.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        let element = tag.split(' ').next().unwrap();
        match element {
            "bdi" => bdi += 1,
            "/bdi" => bdi -= 1,
            "title" | "desc" => title += 1,
            "/title" | "/desc" => title -= 1,
            _ => {}
        }
        is_isolated(tag);
        if title > 0 {
            is_isolated(text);
        }
        assert!(title > 0 || bdi > 0 || !text.contains(MARK), "not within bdi: <{tag}>{text}");
        assert!(title > 0 || !text.contains(['\u{2068}', '\u{2069}']), "{text}");
        let longest = SENTENCE + "☠…".len() + ", ".len();
        assert!(text.matches('&').count() > 0 || text.chars().count() <= longest, "{text}");
        found += text.matches(MARK).count();
    }
    assert_eq!((bdi, title), (0, 0));
    found
}

fn is_isolated(text: &str) {
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '\u{2068}' => depth += 1,
            '\u{2069}' => depth -= 1,
            _ => assert!(c != MARK || depth == 1, "not isolated: {text}"),
        }
        assert!((0..=1).contains(&depth), "{text}");
    }
    assert_eq!(depth, 0, "{text}");
}

#[test]
fn foreign_text_is_isolated_on_every_page() {
    for scenario in SCENARIOS {
        let pages = all(&played_as(scenario, &marked));
        let found: usize = pages.iter().map(|page| found(page)).sum();
        assert!(pages.len() > 3 && found > 20, "{scenario}: {found} on {} pages", pages.len());
    }
}

#[test]
fn no_name_reverses_hides_or_floods_the_text_beside_it() {
    let long = "long".repeat(2_500);
    for name in [
        "\u{202e}nimda",
        "\u{2066}\u{2067}\u{2068}",
        "a\u{200b}da\u{feff}",
        "\0\n\r\t\x1b[2J\u{85}",
        "<b>&amp;\"'</b>",
        "\u{2069}</bdi></title>",
        "עדה",
        "",
        &long,
    ] {
        let name = format!("{MARK}{name}{MARK}");
        let pages = all(&hostile(&name));
        assert_eq!(pages.len(), 7);
        for page in &pages {
            sound(page);
            let acts = |c: &char| {
                *c == '\u{2068}'
                    || *c == '\u{2069}'
                    || visible(c.encode_utf8(&mut [0; 4])) == c.to_string()
            };
            assert_eq!(page.chars().find(|c| !acts(c)), None, "{name:?}");
        }
        let found: usize = pages.iter().map(|page| found(page)).sum();
        assert!(found > 40, "{name:?}: {found}");
    }
}

#[test]
fn a_long_name_is_cut_between_characters_and_complete_in_its_title() {
    let long = "é\u{202e}".repeat(41);
    let shown = name(long.as_str()).render().into_string();
    let (cut, whole) = ("é�".repeat(40), "é�".repeat(41));
    assert_eq!(shown, format!("<bdi title=\"\u{2068}{whole}\u{2069}\">{cut}…</bdi>"));
    assert_eq!(name(long.as_str()).isolated(), format!("\u{2068}{cut}…\u{2069}"));
    assert_eq!(
        name("x".repeat(80)).render().into_string(),
        format!("<bdi>{}</bdi>", "x".repeat(80))
    );
}
