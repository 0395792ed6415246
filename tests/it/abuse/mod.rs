//! Attacks on a running server: bounded in time and number, on loopback.

pub(crate) mod tokens;
