//! A real OpenTelemetry Collector, built by its builder from `builder.yaml`, and Prometheus' promtool:
//! what becomes of our metrics in them.

mod cluster;
mod dashboards;
mod equality;
mod live;
mod names;
mod ours;
mod pipelines;
pub(crate) mod prometheus;
mod rules;
mod scrape;
mod validate;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel_export::Settings;
use livekit_otel_livekit::keys::Keys;

use crate::parts::collector::Otelcol;
use crate::parts::{Part, build_part, or_say};

const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Built {
    pub(crate) otelcol: PathBuf,
    promtool: PathBuf,
}

/// Builds them, once; where that can't be done says so, loudly.
pub(crate) fn build() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    BUILT.get_or_init(|| or_say("NO REAL COLLECTOR", built())).as_ref()
}

fn built() -> Result<Built, String> {
    let otelcol = build_part(Part::Collector)?.path;
    Ok(Built { otelcol, promtool: build_part(Part::Promtool)?.path })
}

/// How metrics are sent to it.
fn export(endpoint: &str) -> Settings {
    let mut export = Config::for_keys(Keys::default()).export;
    export.metrics.endpoint = endpoint.parse().unwrap();
    export
}
