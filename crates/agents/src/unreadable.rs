//! Why a request is refused.

use thiserror::Error;

/// Why a request can't be read. It shows nothing of it.
#[derive(Debug, Error)]
#[error("it is not the expected OTLP message")]
pub struct Unreadable;
