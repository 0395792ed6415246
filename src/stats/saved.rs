//! Instruments in a snapshot. What calls and reports told is the library's, which has no snapshots.

use serde::{Deserialize, Serialize};

use super::Stats;
use super::lifecycle::Lifecycle;
use super::node::NodeStreams;
use crate::event::Time;
use crate::snapshot::{Error, Part, Writer, read};

#[derive(Serialize)]
struct NodesRef<'a> {
    nodes: &'a NodeStreams,
    lifecycle: &'a Lifecycle,
    flushed: Time,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: NodeStreams,
    lifecycle: Lifecycle,
    flushed: Time,
}

impl Stats {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let Self { nodes, lifecycle, flushed, .. } = self;
        to.put(Part::Nodes, &NodesRef { nodes, lifecycle, flushed: *flushed })?;
        self.participants.save(to)
    }

    /// Takes in a part that [`Stats::save`] wrote; `false` where it is none of them.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<bool, Error> {
        match part {
            Part::Nodes => {
                let Nodes { nodes, lifecycle, flushed } = read(content)?;
                self.nodes = nodes;
                self.lifecycle = lifecycle;
                self.flushed = flushed;
            }
            Part::Series => self.participants.load(content)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
