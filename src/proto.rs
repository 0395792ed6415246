//! Messages to events.
