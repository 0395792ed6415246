//! How many messages were sent and acknowledged.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Message, Population};
use livekit_otel_ledger::report::grouped;
use livekit_otel_livekit::messages::{AnalyticsEventType, StreamType};
use livekit_otel_model::Source;

/// The outcome of the messages of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were sent.
    pub sent: u64,
    /// How many the server acknowledged.
    pub acknowledged: u64,
    /// How many times a message was sent again.
    pub retried: u64,
    /// The first error.
    pub error: Option<String>,
    /// The number of webhooks, events, windows or uploaded records in them, by name.
    pub kinds: BTreeMap<String, u64>,
}

impl Outcome {
    /// How many were not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged)
    }

    pub(super) fn count(&mut self, message: &Message) {
        self.sent += 1;
        let kinds = &mut self.kinds;
        let mut kind = |name: &str| *kinds.entry(name.to_owned()).or_default() += 1;
        match message {
            Message::Webhook(webhook) => kind(&webhook.event),
            Message::Upload(upload) => {
                let what = match upload.source {
                    Source::AgentTraces => "spans",
                    Source::AgentLogs => "log records",
                    Source::AgentMetrics => "points",
                    _ => "recordings",
                };
                *kinds.entry(what.to_owned()).or_default() += upload.records;
            }
            Message::Event(event) => kind(
                AnalyticsEventType::try_from(event.r#type).map_or("", |kind| kind.as_str_name()),
            ),
            Message::Stats(stats) => {
                for stat in stats {
                    kind(match StreamType::try_from(stat.kind) {
                        Ok(StreamType::Downstream) => "windows downstream",
                        _ => "windows upstream",
                    });
                }
            }
        }
    }
}

/// The result of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How many rooms, participants and tracks there were.
    pub population: Population,
    /// How much simulated time has passed.
    pub simulated: Duration,
    /// How long it took.
    pub took: Duration,
    /// By source. Sources that were not sent are left out.
    pub outcomes: Vec<(Source, Outcome)>,
}

const COLUMNS: usize = 5;

impl Report {
    /// How many messages were not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.outcomes.iter().map(|(_, outcome)| outcome.unacknowledged()).sum()
    }

    /// Writes it as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn render(&self, out: &mut impl Write) -> io::Result<()> {
        let Population { rooms, participants, tracks, agents } = self.population;
        let agents = (agents > 0).then(|| format!(", {} agents", grouped(agents)));
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        writeln!(
            out,
            "{} rooms, {} participants, {} tracks{}: {} of them in {}",
            grouped(rooms),
            grouped(participants),
            grouped(tracks),
            agents.unwrap_or_default(),
            seconds(self.simulated),
            seconds(self.took),
        )?;
        writeln!(out)?;
        row(out, "messages", ["sent", "acknowledged", "retried", "not ack.", "per second"])?;
        for (source, outcome) in &self.outcomes {
            row(out, source.as_str(), self.cells(outcome).each_ref().map(String::as_str))?;
        }
        for (source, outcome) in &self.outcomes {
            writeln!(out, "\n  {}", source.as_str())?;
            for (kind, count) in &outcome.kinds {
                writeln!(out, "    {kind:<34}{:>12}", grouped(*count))?;
            }
        }
        writeln!(out)?;
        for (source, outcome) in &self.outcomes {
            if let Some(error) = &outcome.error {
                writeln!(out, "  {}: {error}", source.as_str())?;
            }
        }
        match self.unacknowledged() {
            0 => writeln!(out, "  Everything was acknowledged."),
            left => writeln!(out, "  NOT acknowledged: {} messages", grouped(left)),
        }
    }

    /// Returns it as JSON.
    pub fn json(&self) -> Value {
        let sources = self.outcomes.iter().map(|(source, outcome)| {
            let value = json!({
                "sent": outcome.sent,
                "acknowledged": outcome.acknowledged,
                "retried": outcome.retried,
                "unacknowledged": outcome.unacknowledged(),
                "per_second": self.rate(outcome),
                "error": outcome.error,
                "kinds": outcome.kinds,
            });
            (source.as_str().to_owned(), value)
        });
        let Population { rooms, participants, tracks, agents } = self.population;
        json!({
            "rooms": rooms,
            "participants": participants,
            "tracks": tracks,
            "agents": agents,
            "simulated_seconds": self.simulated.as_secs_f64(),
            "took_seconds": self.took.as_secs_f64(),
            "unacknowledged": self.unacknowledged(),
            "sources": sources.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn cells(&self, outcome: &Outcome) -> [String; COLUMNS] {
        let Outcome { sent, acknowledged, retried, .. } = outcome;
        let rate = format!("{:.0}", self.rate(outcome));
        let rate = rate.parse().map_or(rate, grouped);
        let counts = [*sent, *acknowledged, *retried, outcome.unacknowledged()].map(grouped);
        let [sent, acknowledged, retried, left] = counts;
        [sent, acknowledged, retried, left, rate]
    }

    fn rate(&self, outcome: &Outcome) -> f64 {
        outcome.acknowledged as f64 / self.took.as_secs_f64().max(0.001)
    }
}

fn row(out: &mut impl Write, name: &str, cells: [&str; COLUMNS]) -> io::Result<()> {
    write!(out, "  {name:<16}")?;
    for (text, width) in cells.iter().zip([10, 14, 10, 12, 12]) {
        write!(out, "{text:>width$}")?;
    }
    writeln!(out)
}
