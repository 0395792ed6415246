//! OTLP, and only here: encode, split by size, deliver, retry, count.

pub mod settings;

pub use settings::Settings;
