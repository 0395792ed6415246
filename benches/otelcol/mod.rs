//! The collector beside the benches: `make bench` builds it from `builder.yaml`.

/// What `OTELCOL` names, if it is there; where it isn't says so, loudly.
pub fn otelcol() -> Option<String> {
    let named = std::env::var("OTELCOL").ok().filter(|path| std::path::Path::new(path).exists());
    if named.is_none() {
        println!("!!! OTELCOL names no collector: none beside this one");
    }
    named
}
