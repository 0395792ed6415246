//! Where finished spans, log records and metric points go.

use std::fmt::Debug;
use std::future::{Future, ready};
use std::pin::Pin;

use crate::foreign::Foreign;
use crate::signal::{LogRecord, Metric, Span, Table};

/// Returned by [`Sink::wait_for_capacity`].
pub type Capacity<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Receives finished spans, log records and metric points, in the order in which they are created.
///
/// The task that runs the engine calls the sink, so its methods must not block: queue slow work. Records
/// hold personal data as LiveKit reported it. A sink that sends them has to hash or remove it, with
/// [`Privacy`](crate::privacy::Privacy).
///
/// Three methods have no default. The others are for back-pressure, and their defaults suit a sink that always
/// has capacity.
pub trait Sink: Debug + Send + Sync {
    /// Receives finished spans.
    fn spans(&self, spans: &[Span]);

    /// Receives log records.
    fn logs(&self, records: &[LogRecord]);

    /// Receives the metric points of a flush, or a part of them.
    fn metrics(&self, metrics: &[Metric]);

    /// Receives the metric points of streams, a row for each stream. By default [`Sink::metrics`] receives
    /// them instrument by instrument.
    fn table(&self, table: &Table) {
        self.metrics(&table.metrics());
    }

    /// Receives records that other programs uploaded, in the order in which they pass: those of one call
    /// belong together. Only the server has such records, and only its exporter can send them: their opaque
    /// parts are OTLP. By default they are dropped and not counted.
    fn foreign(&self, records: &Foreign) {
        let _ = records;
    }

    /// Whether the sink has no capacity for any records. The engine then pauses, and asks again every 500 ms.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Whether metric points of the last flush still wait. The next flush may be skipped then; the one after it
    /// includes its points.
    fn is_backlogged(&self) -> bool {
        false
    }

    /// Whether metric points can't be delivered at present. Without a journal on disk, flushes are skipped
    /// while the sink is both failing and backlogged.
    fn is_failing(&self) -> bool {
        false
    }

    /// Returns once there is capacity for more metric points, or when waiting would not create any. Called
    /// between the parts of a flush.
    fn wait_for_capacity(&self) -> Capacity<'_> {
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::event::Time;
    use crate::signal::{Attribute, Column, Row, Temporality};

    #[derive(Debug, Default)]
    struct Names(Mutex<Vec<&'static str>>);

    impl Sink for Names {
        fn spans(&self, _: &[Span]) {}

        fn logs(&self, _: &[LogRecord]) {}

        fn metrics(&self, metrics: &[Metric]) {
            self.0.lock().unwrap().extend(metrics.iter().map(|metric| metric.name));
        }
    }

    #[test]
    fn a_sink_without_tables_receives_their_points_as_metrics() {
        static COUNTERS: [Column; Row::COUNTERS] =
            [Column { name: "count", unit: "", description: "" }; Row::COUNTERS];
        static GAUGES: [Column; Row::GAUGES] =
            [Column { name: "gauge", unit: "", description: "" }; Row::GAUGES];
        let time = Time::from_secs(1_795_400_000).unwrap();
        let row = Row {
            series: vec![Attribute::new("key", true)].into(),
            start: time,
            time: Some(time),
            opens: false,
            counts: [1; Row::COUNTERS],
            measured: [Some(1.0), None, None],
            ends: None,
        };
        let temporality = Temporality::Cumulative;
        let table = Table { counters: &COUNTERS, gauges: &GAUGES, temporality, rows: vec![row] };
        let sink = Names::default();
        sink.table(&table);
        let mut expected = vec!["count"; Row::COUNTERS];
        expected.push("gauge");
        assert_eq!(*sink.0.lock().unwrap(), expected);
    }
}
