//! The livekit-otel server, embedded in a program of your own.
//!
//! The binary `livekit-otel` is this library with a command line. A [`serve::Server`] receives a LiveKit
//! server's webhooks and analytics streams, and sends traces, logs and metrics to a collector over
//! OTLP.
//!
//! ```no_run
//! use livekit_otel::config::Config;
//! use livekit_otel::serve::Server;
//! use livekit_otel_livekit::keys::Keys;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut keys = Keys::default();
//! keys.insert("devkey", std::env::var("LIVEKIT_API_SECRET")?);
//! let mut config = Config::for_keys(keys);
//! config.export.traces.endpoint = "http://collector:4317".parse()?;
//! let server = Server::start(config).await?;
//! println!("webhooks go to http://{}/webhook", server.http());
//! let report = server.shutdown().await;
//! assert_eq!(report.undelivered, 0);
//! # Ok(())
//! # }
//! ```
//!
//! An SFU or agent in Rust needs no server, but the crate [`livekit_otel_telemetry`].
//!
//! Without sockets and clocks there is [`livekit_otel_engine::Engine`]: events go in with their times,
//! finished spans, log records and metric points come out.
//!
//! ```
//! use livekit_otel_engine::{Batch, Engine, session, stats};
//! use livekit_otel_model::event::Time;
//!
//! let now = Time::from_secs(1_795_406_961).ok_or("unset")?;
//! let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), now);
//! let mut out = Batch::default();
//! let webhook = br#"{"event": "room_started", "id": "EV_1", "createdAt": "1795406961",
//!     "room": {"sid": "RM_XHuZ4ggjTArt", "name": "standup"}}"#;
//! engine.apply(&livekit_otel_livekit::webhook(webhook)?.decoded, now, false, &mut out);
//! assert_eq!(&*out.logs[0].event_name, "lk.room.created");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ARCHITECTURE.md in the repository shows the crates of the workspace and their dependencies.

pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
mod descriptors;
pub mod doctor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod observe;
pub mod serve;
pub mod source;
pub mod ui;
pub mod version;
