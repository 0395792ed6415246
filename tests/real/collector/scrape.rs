//! Prometheus' text format, read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::PATIENCE;

/// The text of an endpoint.
pub(super) struct Scrape {
    pub(super) text: String,
    /// By the metric's name.
    pub(super) types: BTreeMap<String, String>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Scrape {
    pub(super) fn of(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // 1.0: no chunks.
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let types = types.map(|line| line.split_once(' ').unwrap());
        let types = types.map(|(name, of)| (name.to_owned(), of.to_owned())).collect();
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Self { text: text.to_owned(), types, samples }
    }

    /// Waits until it contains this.
    pub(super) fn when(port: u16, wanted: impl Fn(&Self) -> bool) -> Self {
        let until = Instant::now() + PATIENCE;
        loop {
            let scrape = Self::of(port);
            if wanted(&scrape) {
                return scrape;
            }
            assert!(Instant::now() < until, "not scraped: {}", scrape.text);
            std::thread::yield_now();
        }
    }

    /// The samples that have these labels, and maybe more.
    pub(super) fn with(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has = |sample: &Sample, (key, value): &(&str, &str)| {
            sample.labels.get(*key).is_some_and(|of| of == value)
        };
        let wanted =
            |sample: &&Sample| sample.name == name && labels.iter().all(|label| has(sample, label));
        self.samples.iter().filter(wanted).collect()
    }

    /// Their sum.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.with(name, labels).iter().fold(0.0, |sum, sample| sum + sample.value)
    }
}

/// Equal, but for what rounding does.
pub(super) fn about(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= expected.abs() * 1e-9
}

// None of our labels has a quote or a comma in it.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let pairs = labels.strip_suffix('}').unwrap().split(',').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
    let labels = pairs.map(|(key, of)| (key.to_owned(), of.trim_matches('"').to_owned()));
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
}
