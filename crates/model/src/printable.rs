//! What others wrote, made safe to show: on a terminal, on the page, in the log.

use std::borrow::Cow;

/// Whether what shows it would act on it instead: controls, and the invisible characters that reorder
/// or hide text (Unicode's format characters and line separators), but those that join letters.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What is shown of a character: U+FFFD in place of one that would act.
pub fn shown(c: char) -> char {
    if acts(c) { '\u{fffd}' } else { c }
}

/// What is shown of a text, character by character.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(acts) { text.chars().map(shown).collect() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_replaced_and_the_rest_stays() {
        let hostile = "a\x1b[2J\u{202e}b\u{2066}c\r\n\0\u{9b}\u{200b}\u{feff}";
        assert_eq!(visible(hostile), "a�[2J�b�c������");
        for text in ["ada", "عايدة", "می\u{200c}خواهم", "👩\u{200d}🚀", "会議室"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(shown) if shown == text), "{text}");
        }
    }
}
