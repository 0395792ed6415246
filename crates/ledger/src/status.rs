//! The ledger as JSON: what `GET /status` answers, and what `livekit-otel status` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Lost, Refused, Snapshot};

/// The ledger, and what there is room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// What came in and went out.
    #[serde(flatten)]
    pub ledger: Snapshot,
    /// Records that wait for delivery, by signal.
    pub waiting: BTreeMap<String, u64>,
    /// Rows of the ledger that do not add up, with how many more ended than were accepted: none, or a
    /// count is wrong.
    #[serde(default)]
    pub imbalances: BTreeMap<String, u64>,
    /// How much the journal and what waits take on disk, in bytes; none where they are in memory.
    pub disk_bytes: Option<u64>,
    /// How many letters are set aside.
    #[serde(rename = "set_aside")]
    pub dead_letters: usize,
}

impl Status {
    /// The ledger as it stands.
    pub fn new(ledger: Snapshot, disk_bytes: Option<u64>, dead_letters: usize) -> Self {
        let waiting = ledger.outputs.iter();
        let waiting = waiting.map(|row| (row.signal.as_str().to_owned(), row.waiting()));
        let waiting = waiting.collect();
        let imbalances = ledger.imbalances();
        let imbalances = imbalances.map(|one| (one.row.to_owned(), one.settled - one.accepted));
        let imbalances = imbalances.collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, ledger, waiting, imbalances, disk_bytes, dead_letters }
    }
}

/// Something counted under a name.
pub(super) trait Named: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
}

impl Named for Refused {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Named for Lost {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

pub(super) fn serialize<E: Named, S: Serializer, const N: usize>(
    counts: &[(E, u64); N],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(counts.iter().map(|(of, n)| (of.name(), n)))
}

pub(super) fn deserialize<'de, E: Named, D: Deserializer<'de>, const N: usize>(
    from: D,
) -> Result<[(E, u64); N], D::Error> {
    let counts = BTreeMap::<String, u64>::deserialize(from)?;
    let count = |of: &E| (*of, counts.get(of.name()).copied().unwrap_or_default());
    let all: Vec<_> = E::ALL.iter().map(count).collect();
    all.try_into().map_err(|_| serde::de::Error::custom("another number of counts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use livekit_otel_model::Signal;
    use livekit_otel_model::Source;

    #[test]
    fn it_is_read_as_it_was_written() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Webhook, 3);
        ledger.refused(Source::Webhook, Refused::Busy);
        ledger.queued(Signal::Logs, 5);
        ledger.lost(Signal::Logs, Lost::Rejected, 2);
        ledger.delivered(Signal::Traces, 7);
        let status = Status::new(ledger.snapshot(), Some(4096), 1);
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["inputs"][0]["refused"]["busy"], 1);
        assert_eq!(json["outputs"][1]["lost"]["rejected"], 2);
        assert_eq!(json["waiting"]["logs"], 3);
        assert_eq!(json["imbalances"], serde_json::json!({"traces": 7}));
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }
}
