//! All that `serve` emits of a replayed call, as a real collector's file exporter writes it, is in the
//! registry, and follows LiveKit's rules.

use super::prometheus::{config, replay};
use super::{Otelcol, build};
use crate::live_check::check;
use crate::program::Program;
use crate::registry::livekit;

const CONFIG: &str = "yaml:{receivers: {otlp: {protocols: {grpc: {}}}}, \
    exporters: {file: {path: '${env:OUTPUT}'}}, service: {pipelines: {\
    traces: {receivers: [otlp], exporters: [file]}, logs: {receivers: [otlp], exporters: [file]}, \
    metrics: {receivers: [otlp], exporters: [file]}}}}";

#[test]
fn all_that_serve_emits_of_a_replayed_call_is_in_the_registry() {
    let (Some(built), Some(livekit)) = (build(), livekit()) else { return };
    let directory = tempfile::tempdir().unwrap();
    for level in ["node", "room", "participant", "track"] {
        let output = directory.path().join(format!("{level}.json"));
        let variables = [("OUTPUT", output.display().to_string())];
        let otelcol = Otelcol::start(&built.otelcol, CONFIG, &variables);
        let program = Program::start(&config(directory.path(), level, &otelcol.endpoint));
        replay(&program);
        // Without a journal a stop ends what is open and delivers all.
        let (code, printed) = program.stop();
        assert_eq!(code, Some(0), "{printed:#?}");
        assert_eq!(otelcol.stop(), [""; 0]);
        let printed =
            check(&[output], &livekit).unwrap_or_else(|found| panic!("{level}: {found:#?}"));
        eprintln!("stats.level {level}: {printed}");
    }
}
