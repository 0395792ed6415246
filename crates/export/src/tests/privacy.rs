//! Personal data in the attributes of series.

use super::*;
use crate::metric_requests;
use livekit_otel_model::privacy::HashKey;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Data, Metric, Number, NumberPoint, Series};

#[test]
fn exporters_with_different_privacy_encode_one_series_differently() {
    let hash = |secret| Privacy::Hash(HashKey::new(secret).unwrap());
    let all = [
        Privacy::Drop,
        Privacy::Plain,
        hash("a-key-of-sixteen"),
        hash("another-key-of-sixteen"),
        Privacy::Drop,
    ];
    let series: Series = vec![Attribute::new(key::PARTICIPANT_IDENTITY, "ada")].into();
    let point = NumberPoint {
        attributes: series,
        start: None,
        time: Time::from_secs(1_795_406_960).unwrap(),
        value: Some(Number::Int(1)),
    };
    let metric =
        Metric { name: "lk.x", unit: "", description: "", data: Data::Gauge(vec![point.clone()]) };
    let sent = all.map(|privacy| {
        let mut settings = settings("http://127.0.0.1:9", Protocol::Grpc);
        settings.privacy = privacy.clone();
        let first = metric_requests(&settings, std::slice::from_ref(&metric), &[]);
        let recreated = Metric {
            data: Data::Gauge(vec![NumberPoint {
                attributes: point.attributes.to_vec().into(),
                ..point.clone()
            }]),
            ..metric.clone()
        };
        assert_eq!(first, metric_requests(&settings, &[recreated], &[]), "{privacy:?}");
        first
    });
    assert!(sent[0] == sent[4] && sent[0] != sent[1] && sent[2] != sent[3]);
}
