//! Load and checks for `livekit-otel`: captures and their replay, a simulated LiveKit server, and an OTLP
//! receiver that reports what reached it.

pub mod capture;
pub mod demo;
#[doc(hidden)]
pub mod labels;
#[doc(hidden)]
pub mod post;
pub mod replay;
pub mod simulate;
