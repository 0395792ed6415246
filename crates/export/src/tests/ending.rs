//! What becomes of the tasks of an exporter that is dropped, and of what is set aside.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use livekit_otel_durable::journal::{dead_letter_files, read_dead_letter};
use livekit_otel_durable::store::{Directory, Files};
use livekit_otel_model::signal::{Attribute, Number, NumberPoint, Series};

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_dropped_tries_for_a_while_and_ends() {
    let (listener, address) = bound().await;
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&attempts);
    let refusing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            counted.fetch_add(1, Relaxed);
        }
    });
    let settings = settings(&format!("http://{address}/v1/logs"), Protocol::HttpProtobuf);
    let Fixture { exporter, ledger, set_aside } = exporting(&settings);
    exporter.logs(&[record("a")]);
    // The clock stands still while anything runs.
    while attempts.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(exporter);
    let lost = || lost(&ledger.snapshot().outputs[Signal::Logs as usize], Lost::Shutdown);
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(attempts.load(Relaxed) < 100, "it does not pause");
    }
    assert_eq!(lost(), 1);
    let before = attempts.load(Relaxed);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(attempts.load(Relaxed), before, "it goes on");
    assert_eq!(Arc::strong_count(&set_aside), 1, "a task holds what it had");
    refusing.abort();
}

#[tokio::test]
async fn what_waits_as_an_exporter_is_dropped_is_delivered() {
    let (listener, address) = bound().await;
    let mut received = serve(listener, Vec::new());
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["last"]);
    drop(fixture.exporter);
    assert_eq!(names(&received.recv().await.unwrap().0), ["last"]);
}

#[tokio::test]
async fn what_has_no_number_is_set_aside_each_time_under_an_id_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (listener, address) = bound().await;
        let refused = || Err(Status::invalid_argument("no"));
        let mut received = serve(listener, vec![refused(), refused()]);
        let directory = Arc::new(Directory::open(place.path(), Arc::new(Files)).unwrap());
        let set_aside = Arc::new(DeadLetters::on_disk(&directory, 1_000_000).unwrap());
        let ledger = Arc::new(Ledger::default());
        let settings = settings(&format!("http://{address}"), Protocol::Grpc);
        let exporter = Exporter::start(&settings, Arc::clone(&ledger), &set_aside).unwrap();
        for _ in 0..2 {
            exporter.logs(&[record("own")]);
            received.recv().await.unwrap();
        }
        exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(ledger.snapshot().outputs[Signal::Logs as usize].dead_letters, 2);
    }
    let items = dead_letter_files(place.path())
        .unwrap()
        .iter()
        .map(|file| read_dead_letter(file).unwrap().0.items)
        .sum::<u64>();
    assert_eq!(items, 4);
}

#[test]
fn each_privacy_sends_its_own_attributes_of_one_series() {
    let key = |secret| Privacy::Hash(crate::privacy::HashKey::new(secret).unwrap());
    let all = [
        Privacy::Drop,
        Privacy::Plain,
        key("a-key-of-sixteen"),
        key("another-key-of-sixteen"),
        Privacy::Drop,
    ];
    let series: Series =
        vec![Attribute::new(livekit_otel_model::semconv::key::PARTICIPANT_IDENTITY, "ada")].into();
    let point = NumberPoint {
        attributes: series,
        start: None,
        time: Time::from_secs(1_795_406_960).unwrap(),
        value: Some(Number::Int(1)),
    };
    let metric = Metric {
        name: "lk.x",
        unit: "",
        description: "",
        data: livekit_otel_model::signal::Data::Gauge(vec![point.clone()]),
    };
    let sent = all.map(|privacy| {
        let mut settings = settings("http://127.0.0.1:9", Protocol::Grpc);
        settings.privacy = privacy.clone();
        let first = metric_requests(&settings, std::slice::from_ref(&metric), &[]);
        let afresh = Metric {
            data: livekit_otel_model::signal::Data::Gauge(vec![NumberPoint {
                attributes: point.attributes.to_vec().into(),
                ..point.clone()
            }]),
            ..metric.clone()
        };
        assert_eq!(first, metric_requests(&settings, &[afresh], &[]), "{privacy:?}");
        first
    });
    assert!(sent[0] == sent[4] && sent[0] != sent[1] && sent[2] != sent[3]);
}
