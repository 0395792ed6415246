//! The `livekit-otel` binary.
fn main() {}
