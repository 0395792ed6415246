//! Instruments: stats windows, reports and facts go in, metric points come out, at the times passed in.
//!
//! A stats window is a finished window of one of the server's stats workers. It is applied once and
//! never split or merged with another, so the histograms count windows.

pub mod calls;
mod exemplar;
mod histogram;
mod lifecycle;
mod node;
mod points;
mod reports;
mod saved;
mod settings;
mod state;
mod streams;
mod tally;
mod top;
pub mod worker;
mod works;

pub(crate) use exemplar::Origin as ExemplarOrigin;
pub use histogram::Histograms;
pub(crate) use histogram::{Histogram, Points, TURN_BOUNDS};
pub(crate) use points::{
    FlushInterval, Instrument, NodeSeries, histogram_points, number_points, seconds,
};
pub use reports::NodeReports;
pub use settings::{Level, NodeStreamSource, Settings};
pub use state::Stats;
pub use streams::most_series;
