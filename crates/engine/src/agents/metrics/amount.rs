//! What a point counts, and its arithmetic.

use serde::{Deserialize, Serialize};

use livekit_otel_model::signal::Number;

/// The value of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Amount {
    Number(Number),
    Histogram(Distribution),
}

/// The value of a histogram's point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) range: Option<(f64, f64)>,
    pub(super) buckets: Vec<u64>,
}

impl Amount {
    /// Nothing, of the same type.
    pub(super) fn zero(&self) -> Self {
        match self {
            Self::Number(Number::Int(_)) => Self::Number(Number::Int(0)),
            Self::Number(Number::Float(_)) => Self::Number(Number::Float(0.0)),
            Self::Histogram(of) => Self::Histogram(Distribution {
                count: 0,
                sum: of.sum.map(|_| 0.0),
                range: None,
                buckets: vec![0; of.buckets.len()],
            }),
        }
    }

    /// Adds another of the same kind, and for histograms of the same bounds.
    pub(super) fn add(&mut self, more: &Self) {
        match (self, more) {
            (Self::Number(sum), Self::Number(more)) => *sum = added(*sum, *more),
            (Self::Histogram(sum), Self::Histogram(more)) => sum.add(more),
            _ => {}
        }
    }

    /// What was added since `before`; `None` if it is not more than that.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        match (self, before) {
            (Self::Number(now), Self::Number(before)) => {
                let more = added(*now, negated(*before));
                let is_less = match more {
                    Number::Int(more) => more < 0,
                    Number::Float(more) => more < 0.0,
                };
                (!is_less).then_some(Self::Number(more))
            }
            (Self::Histogram(now), Self::Histogram(before)) => {
                now.since(before).map(Self::Histogram)
            }
            _ => None,
        }
    }

    /// What has to be added to get from `before` to this, which may be negative.
    pub(super) fn change(&self, before: &Self) -> Self {
        match (self, before) {
            (Self::Number(now), Self::Number(before)) => {
                Self::Number(added(*now, negated(*before)))
            }
            _ => self.clone(),
        }
    }

    /// Drops the smallest and the largest value, which are not of one interval.
    pub(super) fn without_range(mut self) -> Self {
        if let Self::Histogram(of) = &mut self {
            of.range = None;
        }
        self
    }
}

impl Distribution {
    fn add(&mut self, more: &Self) {
        if self.count == 0 {
            (self.sum, self.range) = (more.sum, more.range);
        } else if more.count > 0 {
            self.sum = self.sum.zip(more.sum).map(|(sum, more)| sum + more);
            let both = self.range.zip(more.range);
            self.range =
                both.map(|((low, high), (lower, higher))| (low.min(lower), high.max(higher)));
        }
        self.count = self.count.saturating_add(more.count);
        if self.buckets.len() < more.buckets.len() {
            self.buckets.resize(more.buckets.len(), 0);
        }
        for (count, more) in self.buckets.iter_mut().zip(&more.buckets) {
            *count = count.saturating_add(*more);
        }
    }

    fn since(&self, before: &Self) -> Option<Self> {
        if self.buckets.len() != before.buckets.len() {
            return None;
        }
        let buckets = self.buckets.iter().zip(&before.buckets);
        Some(Self {
            count: self.count.checked_sub(before.count)?,
            sum: self.sum.zip(before.sum).map(|(sum, before)| sum - before),
            // Of all values since the start: the difference has no smaller and no larger ones.
            range: self.range,
            buckets: buckets
                .map(|(now, before)| now.checked_sub(*before))
                .collect::<Option<_>>()?,
        })
    }
}

fn added(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Number::Int(a.saturating_add(b)),
        (a, b) => Number::Float(float(a) + float(b)),
    }
}

fn negated(of: Number) -> Number {
    match of {
        Number::Int(count) => Number::Int(count.saturating_neg()),
        Number::Float(measure) => Number::Float(-measure),
    }
}

fn float(of: Number) -> f64 {
    match of {
        Number::Int(count) => count as f64,
        Number::Float(measure) => measure,
    }
}
