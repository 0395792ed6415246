//! A collector receives the points that a naive model computes from the same windows, and that the
//! OpenTelemetry SDK exports.

pub(crate) mod history;
pub(crate) mod model;
pub(crate) mod points;
mod sdk;

use livekit_otel::config::Config;
use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_export::metric_requests;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::signal::Temporality;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use points::Point;
use proptest::prelude::*;
use prost::Message;

prop_compose! {
    fn settings()(
        level in prop_oneof![
            Just(Level::Node), Just(Level::Room), Just(Level::Participant), Just(Level::Track)
        ],
        delta in any::<bool>(),
        exponential in any::<bool>(),
    ) -> Settings {
        let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
        let histograms =
            if exponential { Histograms::Exponential } else { Histograms::Explicit };
        Settings { level, temporality, histograms, ..Settings::default() }
    }
}

/// The points that a collector receives.
pub(crate) fn received(
    settings: Settings,
    steps: &[(livekit_otel_model::event::Time, history::Step)],
) -> Vec<Point> {
    let (metrics, tables) = history::run(settings, steps);
    // So small that most requests are split.
    let mut export = Config::for_keys(Keys::default()).export;
    export.max_request_bytes = 10_000;
    let requests = metric_requests(&export, &metrics, &tables);
    let decode = |request| ExportMetricsServiceRequest::decode(request).unwrap();
    let requests: Vec<_> = requests.into_iter().map(decode).collect();
    let mut points = points::all(&requests);
    points.retain(|point| {
        point.metric.starts_with("lk.stream.") || point.metric.starts_with("lk.node.")
    });
    points
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_points_are_those_of_the_naive_model(
        settings in settings(),
        steps in history::whole(),
    ) {
        let steps = history::timed(&steps);
        let mut actual = received(settings, &steps);
        let mut expected = model::expected(settings, &steps);
        if settings.histograms == Histograms::Exponential {
            points::forget_exemplars(&mut actual);
            points::forget_exemplars(&mut expected);
        }
        prop_assert_eq!(actual.len(), expected.len());
        for (actual, expected) in actual.iter().zip(&expected) {
            prop_assert_eq!(actual, expected);
        }
    }
}
