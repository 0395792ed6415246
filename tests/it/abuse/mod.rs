//! What an attacker sends, against a server that runs: bounded in time and number, on loopback.

mod tokens;
