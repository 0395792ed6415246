//! Instruments in a snapshot. Calls and reports are not saved: only the library has them, and it has
//! no snapshots.

use serde::{Deserialize, Serialize};

use super::histogram::Histograms;
use super::lifecycle::Lifecycle;
use super::node::NodeStreams;
use super::points::NodeSeries;
use super::state::Stats;
use super::top::Top;
use crate::snapshot::{Error, Part, Writer, read};
use livekit_otel_model::event::Time;

#[derive(Serialize)]
struct NodesRef<'a> {
    is_exponential: bool,
    flushed: Time,
    top: &'a Top,
    overflowed: &'a NodeSeries<u64>,
    nodes: &'a NodeStreams,
    lifecycle: &'a Lifecycle,
}

#[derive(Deserialize)]
struct Nodes {
    is_exponential: bool,
    flushed: Time,
    top: Top,
    overflowed: NodeSeries<u64>,
    nodes: NodeStreams,
    lifecycle: Lifecycle,
}

impl Stats {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let Self { nodes, lifecycle, top, overflowed, flushed, .. } = self;
        let is_exponential = self.settings.histograms == Histograms::Exponential;
        let flushed = *flushed;
        let nodes = NodesRef { is_exponential, flushed, top, overflowed, nodes, lifecycle };
        to.put(Part::Nodes, &nodes)?;
        self.works.save(&self.settings, to)?;
        self.streams.save(to)
    }

    /// Reads a part that [`Stats::save`] wrote; `false` if it is none of them.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<bool, Error> {
        match part {
            Part::Nodes => {
                let saved: Nodes = read(content)?;
                self.flushed = saved.flushed;
                self.top = saved.top;
                self.overflowed = saved.overflowed;
                let is_exponential = self.settings.histograms == Histograms::Exponential;
                if saved.is_exponential == is_exponential {
                    self.nodes = saved.nodes;
                    self.lifecycle = saved.lifecycle;
                } else {
                    // Buckets of one kind can't be converted to the other: their series restart.
                    self.lifecycle = Lifecycle::new(saved.flushed);
                }
            }
            Part::WorkSeries => self.works.load(&self.settings, content)?,
            Part::Series => self.streams.load(content)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
