//! Whether each row adds up, and what remains of it when the program ends.

use thiserror::Error;

use crate::grouped::grouped;
use crate::reason::Lost;
use crate::snapshot::{Input, Output, Snapshot};

/// A row has more outcomes than accepted records: a count is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{row}: {outcomes} exceed accepted by {}", grouped(settled - accepted))]
pub struct Imbalance {
    /// The source or the signal.
    pub row: &'static str,
    /// How many were accepted.
    pub accepted: u64,
    /// How many have an outcome: more than that.
    pub settled: u64,
    outcomes: &'static str,
}

impl Input {
    /// Accepted and not processed yet.
    ///
    /// # Errors
    /// [`Imbalance`]: the row has more outcomes than accepted items.
    pub fn balance(&self) -> Result<u64, Imbalance> {
        let settled = self.processed + self.dead_letters + self.lost;
        let outcomes = "processed, dead letters and lost";
        balance(self.source.as_str(), self.accepted, settled, outcomes)
    }

    /// Accepted and not processed yet; 0 if the row does not add up, see [`Input::balance`].
    pub fn waiting(&self) -> u64 {
        self.balance().unwrap_or_default()
    }
}

impl Output {
    /// Queued or being sent.
    ///
    /// # Errors
    /// [`Imbalance`]: the row has more outcomes than accepted records.
    pub fn balance(&self) -> Result<u64, Imbalance> {
        let settled = self.delivered + self.dead_letters + self.lost_sum();
        let outcomes = "delivered, dead letters and lost";
        balance(self.signal.as_str(), self.accepted, settled, outcomes)
    }

    /// Queued or being sent; 0 if the row does not add up, see [`Output::balance`].
    pub fn waiting(&self) -> u64 {
        self.balance().unwrap_or_default()
    }

    /// Lost, for any reason.
    pub fn lost_sum(&self) -> u64 {
        self.lost.iter().map(|(_, n)| n).sum()
    }
}

fn balance(
    row: &'static str,
    accepted: u64,
    settled: u64,
    outcomes: &'static str,
) -> Result<u64, Imbalance> {
    accepted.checked_sub(settled).ok_or(Imbalance { row, accepted, settled, outcomes })
}

impl Snapshot {
    /// The rows that do not add up. There are none even while records move.
    pub fn imbalances(&self) -> impl Iterator<Item = Imbalance> {
        let inputs = self.inputs.iter().map(Input::balance);
        inputs.chain(self.outputs.iter().map(Output::balance)).filter_map(Result::err)
    }

    /// # Errors
    /// The first row that does not add up.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.imbalances().next().map_or(Ok(()), Err)
    }

    /// The ledger after the process has ended: waiting records and dead letters that only its memory held
    /// are lost.
    #[must_use]
    pub fn ended(mut self) -> Self {
        if self.is_durable {
            return self;
        }
        for input in &mut self.inputs {
            input.lost += input.waiting() + std::mem::take(&mut input.dead_letters);
        }
        for output in &mut self.outputs {
            let gone = output.waiting() + std::mem::take(&mut output.dead_letters);
            let shutdown = output.lost.iter_mut().find(|(why, _)| *why == Lost::Shutdown);
            if let Some((_, n)) = shutdown {
                *n += gone;
            }
        }
        self
    }

    /// How many items and records were lost because the program ended.
    pub fn lost_by_shutdown(&self) -> u64 {
        let records = self.outputs.iter().flat_map(|output| &output.lost);
        let records = records.filter(|(why, _)| *why == Lost::Shutdown).map(|(_, n)| n);
        self.inputs.iter().map(|input| &input.lost).chain(records).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Ledger;
    use livekit_otel_model::{Signal, Source};

    #[test]
    fn a_row_with_more_outcomes_than_accepted_is_an_imbalance() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Events, 5);
        ledger.processed(Source::Events, 3);
        assert_eq!(ledger.snapshot().check(), Ok(()));
        assert_eq!(ledger.snapshot().inputs[Source::Events as usize].balance(), Ok(2));
        ledger.input_dead_lettered(Source::Events, 3);
        ledger.lost(Signal::Logs, Lost::Damaged, 1);
        let snapshot = ledger.snapshot();
        let found: Vec<_> = snapshot.imbalances().map(|imbalance| imbalance.to_string()).collect();
        let expected = [
            "events: processed, dead letters and lost exceed accepted by 1",
            "logs: delivered, dead letters and lost exceed accepted by 1",
        ];
        assert_eq!(found, expected);
        assert!(snapshot.check().is_err());
    }

    #[test]
    fn records_in_memory_are_lost_with_the_process_and_records_on_disk_are_not() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Webhook, 6);
        ledger.processed(Source::Webhook, 3);
        ledger.input_dead_lettered(Source::Webhook, 1);
        ledger.queued(Signal::Traces, 10);
        ledger.delivered(Signal::Traces, 4);
        ledger.output_dead_lettered(Signal::Traces, 5);
        let ended = ledger.snapshot().ended();
        assert_eq!(ended.check(), Ok(()));
        assert_eq!((ended.inputs[0].lost, ended.inputs[0].dead_letters), (3, 0));
        assert_eq!((ended.outputs[0].lost_sum(), ended.outputs[0].dead_letters), (6, 0));
        assert_eq!((ended.lost_by_shutdown(), ended.outputs[0].waiting()), (9, 0));
        ledger.set_durable();
        assert_eq!(ledger.snapshot().ended(), ledger.snapshot());
        assert_eq!(ledger.snapshot().lost_by_shutdown(), 0);
    }
}
