//! Points in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the Unix epoch.
///
/// LiveKit writes 1970 and 0001 for "unset"; such a time is never a `Time` here, it is a `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// From Unix nanoseconds; `None` if that is 0 (unset).
    pub fn from_nanos(nanos: u64) -> Option<Self> {
        (nanos > 0).then_some(Self(nanos))
    }

    /// From Unix milliseconds; `None` if they are not after 1970 (unset).
    pub fn from_millis(millis: i64) -> Option<Self> {
        let nanos = u64::try_from(millis).ok()?.checked_mul(1_000_000)?;
        Self::from_nanos(nanos)
    }

    /// From whole Unix seconds; `None` if they are not after 1970 (unset).
    pub fn from_secs(secs: i64) -> Option<Self> {
        Self::from_millis(secs.checked_mul(1000)?)
    }

    /// From the system's clock; a clock before 1970 reads as 1970.
    pub fn from_system(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the Unix epoch.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}
