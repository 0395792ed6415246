//! Jobs in a snapshot.

use serde::{Deserialize, Serialize};

use super::Agents;
use super::absent::Absent;
use super::job::{Job, Key};
use super::rooms::InferredRooms;
use super::windows::{Side, Window};
use crate::snapshot::{Error, Part, Writer, read};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{SpanId, TraceId};

// How many ids are one part.
const MANY: usize = 10_000;

#[derive(Serialize)]
enum Saved<'a> {
    Job(&'a Key, &'a Job),
    Strangers(&'a [(Time, TraceId, SpanId)]),
    Rooms(&'a InferredRooms),
    // Whether they are young.
    Windows(bool, Vec<(&'a Side, &'a Vec<Window>)>),
    // When they were last known to be connected, and since when there are young windows.
    Analytics(Option<Time>, Option<Time>),
    Absent(&'a Absent),
}

#[derive(Deserialize)]
enum Loaded {
    Job(Key, Box<Job>),
    Strangers(Vec<(Time, TraceId, SpanId)>),
    Rooms(InferredRooms),
    Windows(bool, Vec<(Side, Vec<Window>)>),
    Analytics(Option<Time>, Option<Time>),
    Absent(Absent),
}

impl Agents {
    /// Writes the state of all jobs.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        for (key, job) in &self.jobs {
            to.put(Part::Agents, &Saved::Job(key, job))?;
        }
        let (first, second) = self.strangers.order().as_slices();
        for ids in first.chunks(MANY).chain(second.chunks(MANY)) {
            to.put(Part::Agents, &Saved::Strangers(ids))?;
        }
        to.put(Part::Agents, &Saved::Rooms(&self.inferred))?;
        for (is_young, part) in self.windows.parts() {
            to.put(Part::Agents, &Saved::Windows(is_young, part))?;
        }
        to.put(Part::Agents, &Saved::Analytics(self.analytics, self.windows.since()))?;
        if let Some(absent) = &self.absent {
            to.put(Part::Agents, &Saved::Absent(absent))?;
        }
        self.derived.save(to)
    }

    /// Reads a part that [`Agents::save`] wrote; `false` if it is none of them.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<bool, Error> {
        match part {
            Part::Agents => {}
            Part::DerivedSeries => return self.derived.load(content).map(|()| true),
            _ => return Ok(false),
        }
        match read(content)? {
            Loaded::Job(key, job) => self.insert(key, job),
            Loaded::Strangers(order) => self.strangers.restore(order),
            Loaded::Rooms(rooms) => self.inferred = rooms,
            Loaded::Windows(is_young, part) => self.windows.restore(is_young, part),
            Loaded::Analytics(connected, since) => {
                self.analytics = connected;
                self.windows.restore_since(since);
            }
            Loaded::Absent(absent) => self.absent = self.absent.take().map(|_| absent),
        }
        Ok(true)
    }
}
