//! OpenTelemetry for LiveKit: what a LiveKit server tells of its rooms, as traces, logs and
//! metrics over OTLP.
//!
//! The program `livekit-otel` is this library with a command line. To have it inside a program of
//! yours, start a [`serve::Server`]: it listens for webhooks and analytics streams and sends what
//! they tell to a collector.
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
//! An SFU or agent in Rust needs no server: it tells a [`telemetry::Telemetry`] of its rooms,
//! participants and tracks, by the methods of LiveKit's own telemetry service. Begin with
//! `examples/sfu.rs`, which makes a call of two and prints what a collector gets of it.
//!
//! ```
//! use livekit_otel_telemetry::messages::{Room, RoomEndReason};
//! use livekit_otel_telemetry::{OtelSettings, Telemetry, TelemetryService};
//! use std::time::Duration;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let collector = livekit_otel_tools::demo::Collector::start().await?;
//! # let endpoint = collector.endpoint().parse()?;
//! let settings = OtelSettings::default().service_name("my-sfu").endpoint(&endpoint);
//! let telemetry = Telemetry::builder().otel(settings).start()?;
//! let room = Room { sid: "RM_1".into(), name: "standup".into(), ..Room::default() };
//! telemetry.room_started(&room);
//! telemetry.room_ended(&room, RoomEndReason::RoomEndApiDelete);
//! let report = telemetry.shutdown(Instant::now() + Duration::from_secs(10)).await;
//! assert_eq!(report.undelivered, 0);
//! # assert_eq!(collector.stop().await.traces.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Below that, [`engine::Engine`] is the same without any socket or clock: what was told goes in
//! with its time, finished spans, log records and metric points come out.
//!
//! ```
//! use livekit_otel_engine::{Batch, Engine};
//! use livekit_otel_model::event::Time;
//! use livekit_otel_livekit;
//! use livekit_otel_engine::session;
//! use livekit_otel_engine::stats;
//!
//! let now = Time::from_secs(1_795_406_961).ok_or("unset")?;
//! let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), now);
//! let mut out = Batch::default();
//! let webhook = br#"{"event": "room_started", "id": "EV_1", "createdAt": "1795406961",
//!     "room": {"sid": "RM_XHuZ4ggjTArt", "name": "standup"}}"#;
//! engine.apply(&proto::webhook(webhook)?.decoded, now, false, &mut out);
//! assert_eq!(&*out.logs[0].event_name, "lk.room.created");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ARCHITECTURE.md, at the top of the repository, draws how the modules fit together.

pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
mod descriptors;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod observe;
pub mod serve;
pub mod source;
pub mod ui;
