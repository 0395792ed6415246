//! Text from elsewhere, made safe to show on a terminal, on a page or in the log.

use std::borrow::Cow;

/// Whether a terminal or page would act on the character instead of showing it: control characters,
/// and the invisible ones that reorder or hide text (Unicode's format characters and line
/// separators), except those that join letters.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The character, or U+FFFD instead of one that would be acted on.
pub fn shown(c: char) -> char {
    if acts(c) { '\u{fffd}' } else { c }
}

/// The text with each character as [`shown`] returns it.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(acts) { text.chars().map(shown).collect() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_letters_stay() {
        let hostile = "a\x1b[2J\u{202e}b\u{2066}c\r\n\0\u{9b}\u{200b}\u{feff}";
        assert_eq!(visible(hostile), "a�[2J�b�c������");
        for text in ["ada", "عايدة", "می\u{200c}خواهم", "👩\u{200d}🚀", "会議室"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(shown) if shown == text), "{text}");
        }
    }
}
