//! Where telemetry comes from: signed webhooks, the analytics streams, and captures of them.

pub mod keys;

pub use keys::Keys;
