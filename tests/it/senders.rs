//! Everything that sends analytics, against a server that requires a token.

use std::time::Duration;

use livekit_otel::serve::Server;
use livekit_otel::source::listen::GrpcAuth;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_telemetry::messages::AnalyticsEvent;
use livekit_otel_telemetry::{AnalyticsForwarder, AnalyticsService, ForwardSettings, Tokens};
use livekit_otel_tools::simulate::{Settings, Simulation, send};
use tokio::time::Instant;

use crate::serve::{KEY, SECRET, config, destination, replay_to, the_capture};

async fn serving() -> Server {
    // No collector listens there.
    let mut config = config("http://127.0.0.1:1");
    config.grpc_auth = GrpcAuth::Token;
    config.shutdown_timeout = Duration::from_millis(10);
    Server::start(config).await.unwrap()
}

fn accepted(server: &Server, source: Source) -> u64 {
    let inputs = server.ledger().inputs;
    inputs.into_iter().find(|row| row.source == source).unwrap().accepted
}

#[tokio::test]
async fn a_forwarder_with_a_key_is_admitted() {
    let server = serving().await;
    let tokens = Tokens::minted(KEY, SECRET).unwrap();
    let endpoint = format!("http://{}", server.grpc());
    let settings = ForwardSettings::to(&endpoint).unwrap().tokens(tokens);
    let forwarder = AnalyticsForwarder::start(settings).unwrap();
    forwarder.send_event(AnalyticsEvent { id: "AE_1".into(), ..AnalyticsEvent::default() });
    assert_eq!(forwarder.shutdown(Instant::now() + Duration::from_mins(1)).await, 0);
    assert_eq!(accepted(&server, Source::Events), 1);
}

#[tokio::test]
async fn a_replay_is_admitted_by_its_key() {
    let server = serving().await;
    let sent = replay_to(&server, &the_capture()).await;
    assert!(sent.events > 0 && sent.stats > 0, "{sent:?}");
    assert!(accepted(&server, Source::Events) >= sent.events);
}

#[tokio::test]
async fn a_simulation_is_admitted_by_its_key() {
    let server = serving().await;
    let settings = Settings {
        rooms: 1,
        participants: 1,
        duration: Duration::from_secs(10),
        webhooks: false,
        ..Settings::default()
    };
    let simulation = Simulation::new(settings, Time::from_millis(1_700_000_000_000).unwrap());
    let stop = std::future::pending();
    let report = send::send(simulation, &destination(&server), stop, |_| {}).await.unwrap();
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    assert!(accepted(&server, Source::Events) > 0);
}
