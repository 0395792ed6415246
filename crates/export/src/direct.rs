//! Encoding and sending without a queue.

use bytes::Bytes;

use crate::answer::Answer;
use crate::error::SendError;
use crate::record::Record;
use crate::request::Assembler;
use crate::settings::Settings;
use crate::transport::Transport;
use crate::{encode, foreign, table};
use livekit_otel_model::Signal;
use livekit_otel_model::foreign::Foreign;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Metric, Table};

/// Sends an encoded request once.
///
/// # Errors
/// Why the collector did not accept all of it.
pub async fn send_once(
    settings: &Settings,
    signal: Signal,
    request: Bytes,
) -> Result<(), SendError> {
    match Transport::new(signal, settings.target(signal))?.send(request).await {
        Answer::Delivered { rejected: 0 } => Ok(()),
        Answer::Delivered { rejected } => Err(SendError::Rejected(rejected)),
        Answer::Halve => Err(SendError::TooLarge),
        Answer::Retry { reason, .. }
        | Answer::Misconfigured { reason }
        | Answer::Refused { reason } => Err(SendError::NotAccepted(reason)),
    }
}

/// The requests of metric points as the exporter would send them, for another transport.
pub fn metric_requests(settings: &Settings, metrics: &[Metric], tables: &[Table]) -> Vec<Bytes> {
    let assembler = Assembler::new(&settings.resource, settings.max_request_bytes);
    let mut records = Vec::new();
    for metric in metrics {
        encode::metric(&settings.privacy, metric, &mut records);
    }
    for table in tables {
        table::table(&settings.privacy, table, &mut records);
    }
    requests(&assembler, &records)
}

/// The requests of other programs' records as the exporter would send them, by signal in the order of
/// [`Signal::ALL`].
pub fn foreign_requests(settings: &Settings, records: &Foreign) -> [Vec<Bytes>; 3] {
    let assembler = Assembler::new(&settings.resource, settings.max_request_bytes);
    let (privacy, most) = (&settings.privacy, assembler.max_group_bytes());
    let all = [
        foreign::spans(privacy, &records.spans, most),
        foreign::logs(&records.logs, most),
        foreign::metrics(privacy, &records.metrics, most),
    ];
    all.map(|records| requests(&assembler, &records))
}

fn requests(assembler: &Assembler, records: &[Record]) -> Vec<Bytes> {
    let mut requests = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (request, after) = rest.split_at(assembler.fits(rest));
        requests.push(assembler.request(request));
        rest = after;
    }
    requests
}

/// The `Metric` messages of a table.
pub fn encode_table(privacy: &Privacy, table: &Table) -> Vec<Bytes> {
    let mut records = Vec::new();
    table::table(privacy, table, &mut records);
    records.into_iter().map(|record| record.bytes).collect()
}
