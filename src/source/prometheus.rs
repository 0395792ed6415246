//! The program's own metrics in Prometheus' text format, version 0.0.4, with the names that Prometheus'
//! OTLP receiver uses.

use std::fmt::Write;

use livekit_otel_pipeline::own::{FAMILIES, Family, Kind, Own};

/// The media type of [`text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Returns their current values.
pub(super) fn text(own: &Own) -> String {
    let observed = own.observe();
    let mut text = String::new();
    for family in &FAMILIES {
        let name = name(family);
        let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {name} {}.\n# TYPE {name} {kind}", family.brief);
        (family.points)(&observed, &mut |value, attributes| {
            let labels = attributes.iter().map(|(key, value)| (underscored(key), value));
            // Values are names of this program, and need no escapes.
            let labels: Vec<_> = labels.map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        });
    }
    text
}

// OpenTelemetry's rules: the unit unless it is an annotation, then `_total` for counters.
fn name(family: &Family) -> String {
    let unit = if family.unit == "By" { "_bytes" } else { "" };
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", underscored(family.name))
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_own_counter_has_an_alert() {
        let alerts =
            concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/prometheus/alerts.yaml");
        let alerts = std::fs::read_to_string(alerts).unwrap();
        let counters = FAMILIES.iter().filter(|family| family.kind == Kind::Counter).map(name);
        let without: Vec<_> = counters.filter(|name| !alerts.contains(name.as_str())).collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
