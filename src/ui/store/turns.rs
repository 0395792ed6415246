//! What agents' spans say of a room's turns and failures.

mod failed;
mod held;
mod parts;
mod rows;
mod stage;
#[cfg(test)]
mod tests;

pub(in crate::ui) use failed::{Failure, What};
pub(in crate::ui) use held::Agents;
pub(in crate::ui) use parts::{Cause, Part};
pub(in crate::ui) use rows::Turn;
pub(in crate::ui) use stage::Stage;
