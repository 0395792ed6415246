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

/// A request was accepted whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The collector's warning, in its own words (a partial success without a rejected record); mostly empty.
    pub warning: String,
}

/// Sends an encoded request once.
///
/// # Errors
/// Why the collector did not accept all of it.
pub async fn send_once(
    settings: &Settings,
    signal: Signal,
    request: Bytes,
) -> Result<Accepted, SendError> {
    let target = settings.target(signal);
    let attempted = target.attempt();
    match Transport::new(signal, target)?.send(request).await {
        Answer::Delivered { rejected: 0, words: warning } => Ok(Accepted { warning }),
        Answer::Delivered { rejected: records, words } => {
            Err(SendError::Rejected { attempted, records, words })
        }
        Answer::Halve { cause } => Err(SendError::TooLarge { attempted, cause }),
        Answer::Retry { cause, .. }
        | Answer::Misconfigured { cause }
        | Answer::Refused { cause } => Err(SendError::NotAccepted { attempted, cause }),
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
