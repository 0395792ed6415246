//! OTLP: encodes spans, log records and metric points, and delivers them to a collector. Records of other
//! programs are passed on with their resource, scope and schema URLs, in the same requests.
//!
//! Each signal has a queue, bounded by bytes, and a task that empties it, so that a collector that accepts
//! traces and refuses metrics loses no traces. Records over the limit go to the outbox on disk, or are
//! lost. The outcome of each record is in the ledger.
//!
//! The crate knows the model, the ledger, the stores of `durable` and the clients of `transport`. It does not
//! know LiveKit's messages or the engine. Its tests script a collector's answers over real sockets, play
//! random steps against the queue and its outbox, and compare encoded bytes with
//! opentelemetry-proto's types.

mod answer;
pub mod configure;
mod delivery;
mod direct;
mod encode;
mod error;
mod exporter;
mod foreign;
mod fullness;
pub mod marked;
mod numbers;
mod outbox;
mod progress;
mod queue;
mod record;
mod reporter;
mod request;
mod sender;
pub mod settings;
mod shutdown;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

pub use direct::{Accepted, encode_table, foreign_requests, metric_requests, send_once};
pub use error::{Cause, SendError, StartError};
pub use exporter::{Exporter, Undelivered};
pub use outbox::{OutboxSettings, Saved};
pub use settings::Settings;
pub use transport::{channel, client};
