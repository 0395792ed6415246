//! A stand-in of a service's Prometheus endpoint.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What a service says, from the file of its name.
pub(super) fn text(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{root}/tests/real/collector/cluster/{name}.prom")).unwrap()
}

/// It listens until the tests end.
pub(super) struct Service {
    address: String,
}

impl Service {
    pub(super) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let text = text(name);
        std::thread::spawn(move || {
            for (scrape, stream) in (1..).zip(listener.incoming()) {
                answer(stream.unwrap(), &grown(&text, scrape));
            }
        });
        Self { address }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }
}

// After so many scrapes what only grows is so many times as much.
fn grown(text: &str, scrapes: u32) -> String {
    let mut out = String::new();
    let mut grows = false;
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            grows = !of.ends_with(" gauge");
        }
        let sample = line.rsplit_once(' ').filter(|_| grows && !line.starts_with('#'));
        let grown = sample.map(|(series, value)| {
            format!("{series} {}", value.parse::<f64>().unwrap() * f64::from(scrapes))
        });
        out.push_str(grown.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}

fn answer(mut stream: TcpStream, text: &str) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    if head.count() == 0 {
        return;
    }
    // The collector may have given up.
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}
