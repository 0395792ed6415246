//! Sessions: LiveKit's events and stats windows become finished spans, log records and [`Fact`]s for
//! the instruments. Events and times go in, outputs come out: the same inputs have the same outputs,
//! ids and times included.

mod agents;
mod answers;
mod attributes;
mod callers;
mod calls;
mod dispatched;
mod dispatches;
mod early;
mod egresses;
mod ended;
mod event_time;
mod failure;
mod gone;
mod jobs;
mod legs;
mod listed;
mod lives;
mod locate;
mod log;
mod mutes;
mod outputs;
mod participant;
mod places;
mod polls;
mod presence;
mod questions;
mod reconcile;
mod release;
mod released;
mod restart;
mod room;
mod saved;
mod sessions;
mod settings;
mod spans;
mod subscription;
mod totals;
mod track;
mod twins;
mod verdict;
mod works;

pub use crate::facts::{
    Census, Description, Disagreement, Fact, Forgotten, Labels, ParticipantUsage, StreamContext,
    TrackTimes, WorkDone,
};
pub use agents::Stay;
pub use outputs::{Outcome, Outputs};
pub use sessions::Sessions;
pub use settings::{AgentTraces, Settings, TraceScope};
