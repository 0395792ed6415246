//! The exporter and the application's sinks as one sink.

use std::sync::Arc;

use super::guarded::Guarded;
use livekit_otel_export::Exporter;
use livekit_otel_model::foreign::Foreign;
use livekit_otel_model::signal::{LogRecord, Metric, Span, Table};
use livekit_otel_model::sink::{Capacity, Sink};

/// Passes every record to the exporter and to each of the application's sinks.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) exporter: Exporter,
    pub(super) others: Vec<Arc<dyn Sink>>,
    pub(super) guarded: Arc<Guarded>,
}

impl Sinks {
    fn each(&self, call: impl Fn(&dyn Sink)) {
        call(&self.exporter);
        for sink in &self.others {
            self.guarded.call(WHAT, || call(&**sink));
        }
    }

    fn any(&self, is_it: impl Fn(&dyn Sink) -> bool) -> bool {
        let asks = |sink: &Arc<dyn Sink>| self.guarded.call(WHAT, || is_it(&**sink));
        is_it(&self.exporter) || self.others.iter().any(|sink| asks(sink) == Some(true))
    }
}

const WHAT: &str = "sink";

impl Sink for Sinks {
    fn spans(&self, spans: &[Span]) {
        self.each(|sink| sink.spans(spans));
    }

    fn logs(&self, records: &[LogRecord]) {
        self.each(|sink| sink.logs(records));
    }

    fn metrics(&self, metrics: &[Metric]) {
        self.each(|sink| sink.metrics(metrics));
    }

    fn table(&self, table: &Table) {
        self.each(|sink| sink.table(table));
    }

    fn foreign(&self, records: &Foreign) {
        self.each(|sink| sink.foreign(records));
    }

    fn is_stalled(&self) -> bool {
        self.any(|sink| sink.is_stalled())
    }

    fn is_backlogged(&self) -> bool {
        self.any(|sink| sink.is_backlogged())
    }

    fn is_failing(&self) -> bool {
        self.any(|sink| sink.is_failing())
    }

    fn wait_for_capacity(&self) -> Capacity<'_> {
        Box::pin(async {
            Sink::wait_for_capacity(&self.exporter).await;
            for sink in &self.others {
                if let Some(capacity) = self.guarded.call(WHAT, || sink.wait_for_capacity()) {
                    self.guarded.wait(WHAT, capacity).await;
                }
            }
        })
    }
}
