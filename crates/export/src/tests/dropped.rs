//! The tasks of an exporter that is dropped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dropped_exporter_retries_for_a_while_and_stops() {
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
    let Fixture { exporter, ledger, dead_letters } = exporting(&settings);
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
    assert_eq!(attempts.load(Relaxed), before, "it continues");
    assert_eq!(Arc::strong_count(&dead_letters), 1, "a task still holds them");
    refusing.abort();
}

#[tokio::test]
async fn records_queued_when_an_exporter_is_dropped_are_delivered() {
    let (listener, address) = bound().await;
    let mut received = serve(listener, Vec::new());
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["last"]);
    drop(fixture.exporter);
    assert_eq!(names(&received.recv().await.unwrap().0), ["last"]);
}
