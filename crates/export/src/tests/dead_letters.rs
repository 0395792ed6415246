//! Dead letters on disk.

use super::*;
use livekit_otel_durable::journal::{dead_letter_files, read_dead_letter};
use livekit_otel_durable::store::{Directory, Files};

#[tokio::test]
async fn dead_letters_without_a_number_each_have_an_id_of_their_own() {
    let path = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (listener, address) = bound().await;
        let refused = || Err(Status::invalid_argument("no"));
        let mut received = serve(listener, vec![refused(), refused()]);
        let directory = Arc::new(Directory::open(path.path(), Arc::new(Files)).unwrap());
        let dead_letters = Arc::new(DeadLetters::on_disk(&directory, 1_000_000).unwrap());
        let ledger = Arc::new(Ledger::default());
        let settings = settings(&format!("http://{address}"), Protocol::Grpc);
        let exporter = Exporter::start(&settings, Arc::clone(&ledger), &dead_letters).unwrap();
        for _ in 0..2 {
            exporter.logs(&[record("own")]);
            received.recv().await.unwrap();
        }
        exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(ledger.snapshot().outputs[Signal::Logs as usize].dead_letters, 2);
    }
    let items = dead_letter_files(path.path())
        .unwrap()
        .iter()
        .map(|file| read_dead_letter(file).unwrap().0.items)
        .sum::<u64>();
    assert_eq!(items, 4);
}
