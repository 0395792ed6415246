//! Whether each row adds up, and what is left of it where the program ends.

use thiserror::Error;

use super::report::grouped;
use super::{Input, Lost, Output, Snapshot};

/// More of a row ended somewhere than was ever accepted: a count is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{row}: {} more {ended} than accepted", grouped(settled - accepted))]
pub struct Imbalance {
    /// The source's or the signal's name.
    pub row: &'static str,
    /// How many were accepted.
    pub accepted: u64,
    /// How many ended somewhere: more than that.
    pub settled: u64,
    ended: &'static str,
}

impl Input {
    /// Accepted and not processed yet.
    ///
    /// # Errors
    /// [`Imbalance`]: more ended than was accepted.
    pub fn balance(&self) -> Result<u64, Imbalance> {
        let settled = self.processed + self.dead_letters + self.lost;
        let ended = "processed, set aside or lost";
        balance(self.source.as_str(), self.accepted, settled, ended)
    }

    /// Accepted and not processed yet; none where the row does not add up, see [`Input::balance`].
    pub fn waiting(&self) -> u64 {
        self.balance().unwrap_or_default()
    }
}

impl Output {
    /// Queued or on its way.
    ///
    /// # Errors
    /// [`Imbalance`]: more ended than was queued.
    pub fn balance(&self) -> Result<u64, Imbalance> {
        let settled = self.delivered + self.dead_letters + self.lost_sum();
        let ended = "delivered, set aside or lost";
        balance(self.signal.as_str(), self.accepted, settled, ended)
    }

    /// Queued or on its way; none where the row does not add up, see [`Output::balance`].
    pub fn waiting(&self) -> u64 {
        self.balance().unwrap_or_default()
    }

    /// Gone, for whatever reason.
    pub fn lost_sum(&self) -> u64 {
        self.lost.iter().map(|(_, n)| n).sum()
    }
}

fn balance(
    row: &'static str,
    accepted: u64,
    settled: u64,
    ended: &'static str,
) -> Result<u64, Imbalance> {
    accepted.checked_sub(settled).ok_or(Imbalance { row, accepted, settled, ended })
}

impl Snapshot {
    /// The rows that do not add up. There are none while records move either.
    pub fn imbalances(&self) -> impl Iterator<Item = Imbalance> {
        let inputs = self.inputs.iter().map(Input::balance);
        inputs.chain(self.outputs.iter().map(Output::balance)).filter_map(Result::err)
    }

    /// # Errors
    /// The first row that does not add up.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.imbalances().next().map_or(Ok(()), Err)
    }

    /// The ledger once the process has ended: what was only in its memory is lost, be it that it waited
    /// or that it was set aside there.
    #[must_use]
    pub fn ended(mut self) -> Self {
        if self.is_durable {
            return self;
        }
        for input in &mut self.inputs {
            input.lost += input.waiting() + std::mem::take(&mut input.dead_letters);
        }
        for output in &mut self.outputs {
            let left = output.waiting() + std::mem::take(&mut output.dead_letters);
            let shutdown = output.lost.iter_mut().find(|(why, _)| *why == Lost::Shutdown);
            if let Some((_, n)) = shutdown {
                *n += left;
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
    use super::super::Ledger;
    use super::*;
    use livekit_otel_model::{Signal, Source};

    #[test]
    fn a_row_with_more_ended_than_accepted_is_an_imbalance_and_not_nothing_waiting() {
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
            "events: 1 more processed, set aside or lost than accepted",
            "logs: 1 more delivered, set aside or lost than accepted",
        ];
        assert_eq!(found, expected);
        assert!(snapshot.check().is_err());
    }

    #[test]
    fn what_is_in_memory_only_is_lost_with_the_process_and_what_is_on_disk_is_not() {
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
