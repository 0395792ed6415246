//! Names that leave the program with failed dispatches.

/// Event names.
pub(super) mod event {
    pub(in crate::ui) const AGENT_DISPATCH_FAILED: &str = "lk.agent.dispatch_failed";
}
