//! The program's own metrics as Prometheus' text, version 0.0.4, under the names that Prometheus' OTLP
//! receiver gives them.

use std::fmt::Write;

use livekit_otel_pipeline::own::{FAMILIES, Family, Kind, Own};

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// All of them as they stand.
pub fn text(own: &Own) -> String {
    let observed = own.observe();
    let mut text = String::new();
    for family in &FAMILIES {
        let name = name(family);
        let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
        // What is written into a string can't fail.
        let _ = writeln!(text, "# HELP {name} {}.\n# TYPE {name} {kind}", family.brief);
        (family.points)(&observed, &mut |value, attributes| {
            let labels = attributes.iter().map(|(key, value)| (underscored(key), value));
            // The values are words of ours: none wants escaping.
            let labels: Vec<_> = labels.map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        });
    }
    text
}

// OpenTelemetry's rules: a unit that is no annotation, then `_total` for what only grows.
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
    fn each_count_of_the_programs_own_has_an_alert() {
        let alerts =
            concat!(env!("CARGO_MANIFEST_DIR"), "/collector-config/prometheus/alerts.yaml");
        let alerts = std::fs::read_to_string(alerts).unwrap();
        let counters = FAMILIES.iter().filter(|family| family.kind == Kind::Counter).map(name);
        let without: Vec<_> = counters.filter(|name| !alerts.contains(name.as_str())).collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
