//! The settings of a reader, and what it knows of a request.

use bytes::Bytes;
use livekit_otel_model::foreign::{Body, Facts};
use livekit_otel_model::privacy::{Content, Privacy};

use crate::clean::Pass;

/// How the records of a request are read.
pub(crate) struct Rules<'r> {
    /// What leaves of names and identities.
    pub privacy: &'r Privacy,
    /// What leaves of content.
    pub content: Content,
    /// Whether it came as plain OTLP, from any program.
    pub is_plain: bool,
}

impl Rules<'_> {
    /// The facts of a record of which nothing is read yet.
    pub(crate) fn facts(&self) -> Facts {
        Facts { is_plain: self.is_plain, ..Facts::default() }
    }

    /// Encodes what may leave of a record: `clean` changes it, and returns whether it found content and the bytes.
    pub(crate) fn body(&self, mut clean: impl FnMut(Pass<'_>) -> (bool, Bytes)) -> Body {
        let strips = self.content == Content::Drop;
        let (found, sent) = clean(Pass { who: Some(self.privacy), strips });
        let has_more = found && !strips;
        let redacted = has_more.then(|| clean(Pass { who: None, strips: true }).1);
        Body { sent, redacted }
    }
}
