//! Foreign text on a page: isolated, so that it can't reverse the text around it, without control
//! characters, and cut if it is long.

use std::borrow::Cow;

use maud::{Markup, Render, html};

use livekit_otel_model::printable::visible;

#[cfg(test)]
mod tests;

/// The most characters of a name.
pub(super) const NAME: usize = 80;
/// The most characters of a sentence.
pub(super) const SENTENCE: usize = 400;

/// Foreign text. Every page shows it through this type, and a test finds text that is not.
#[derive(Debug, Clone)]
pub(super) struct Outside<'a> {
    text: Cow<'a, str>,
    most: usize,
}

/// A name or an id.
pub(super) fn name<'a>(text: impl Into<Cow<'a, str>>) -> Outside<'a> {
    Outside { text: text.into(), most: NAME }
}

/// The text of an error or a reason.
pub(super) fn sentence<'a>(text: impl Into<Cow<'a, str>>) -> Outside<'a> {
    Outside { text: text.into(), most: SENTENCE }
}

impl Outside<'_> {
    /// The text between Unicode isolates, for attributes, titles and SVG, which have no elements.
    pub(super) fn isolated(&self) -> String {
        let (cut, rest) = self.cut();
        isolated(&visible(cut), !rest.is_empty())
    }

    fn cut(&self) -> (&str, &str) {
        let end = self.text.char_indices().nth(self.most).map_or(self.text.len(), |(at, _)| at);
        self.text.split_at(end)
    }
}

fn isolated(text: &str, is_cut: bool) -> String {
    format!("\u{2068}{text}{}\u{2069}", if is_cut { "…" } else { "" })
}

impl Render for Outside<'_> {
    fn render(&self) -> Markup {
        let (cut, rest) = self.cut();
        html! {
            @if rest.is_empty() {
                bdi { (visible(cut)) }
            } @else {
                bdi title=(isolated(&visible(&self.text), false)) { (visible(cut)) "…" }
            }
        }
    }
}
