//! An engine that messages are applied to, at times of the test's choice.

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine, Tally};
use livekit_otel_model::event::Decoded;
use livekit_otel_model::signal::{Attribute, Span, Value};

use crate::history::saved_and_loaded;
use crate::messages::at;

/// An engine, and what it has emitted.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) out: Batch,
    pub(crate) tally: Tally,
}

impl Run {
    pub(crate) fn new() -> Self {
        let engine = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
        Self { engine, out: Batch::default(), tally: Tally::default() }
    }

    /// Applies a message `millis` after the start, while analytics are connected.
    pub(crate) fn apply(&mut self, millis: i64, decoded: &Decoded) -> &mut Self {
        self.apply_as(millis, decoded, true)
    }

    pub(crate) fn apply_as(
        &mut self,
        millis: i64,
        decoded: &Decoded,
        twin_expected: bool,
    ) -> &mut Self {
        self.engine.tick(at(millis), &mut self.out);
        self.tally = self.engine.apply(decoded, at(millis), twin_expected, &mut self.out);
        self
    }

    pub(crate) fn tick(&mut self, millis: i64) -> &mut Self {
        self.engine.tick(at(millis), &mut self.out);
        self
    }

    /// Lets time pass until then.
    pub(crate) fn wait_until(&mut self, millis: i64) -> &mut Self {
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= at(millis)) {
            self.engine.tick(due, &mut self.out);
        }
        self
    }

    /// Lets time pass until nothing is due any more.
    pub(crate) fn wait(&mut self) -> &mut Self {
        while let Some(due) = self.engine.next_deadline() {
            self.engine.tick(due, &mut self.out);
        }
        self
    }

    /// Continues with another engine, from a snapshot of this one.
    pub(crate) fn restart(&mut self) -> &mut Self {
        self.engine = saved_and_loaded(&self.engine, Self::new().engine);
        self
    }

    pub(crate) fn spans(&self, name: &str) -> Vec<&Span> {
        self.out.spans.iter().filter(|span| span.name == name).collect()
    }

    pub(crate) fn span(&self, name: &str) -> &Span {
        let spans = self.spans(name);
        assert_eq!(spans.len(), 1, "{name}: {:?}", self.out.spans);
        spans[0]
    }
}

pub(crate) fn text<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes.iter().find(|each| each.key == key).and_then(|each| match &each.value {
        Value::Text(text) => Some(&**text),
        _ => None,
    })
}
