//! A part's process, and what its HTTP server says.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(50);

/// It is killed where it is let go of.
pub(crate) struct Process(Child);

impl Process {
    /// What it prints is added to the file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Returns once its server has the path.
    pub(crate) fn serves(&mut self, port: u16, path: &str, log: &Path) {
        let until = Instant::now() + PATIENCE;
        while get(port, path).is_err() {
            let is_over = self.0.try_wait().unwrap().is_some() || Instant::now() > until;
            assert!(!is_over, "{}", std::fs::read_to_string(log).unwrap());
            std::thread::park_timeout(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The body that is there; whatever is not 200 is an error.
pub(crate) fn get(port: u16, path: &str) -> Result<String, String> {
    ask(port, &format!("GET {path}"), "")
}

/// What is answered to this JSON, likewise.
pub(crate) fn post(port: u16, path: &str, body: &str) -> Result<String, String> {
    ask(port, &format!("POST {path}"), body)
}

fn ask(port: u16, what: &str, body: &str) -> Result<String, String> {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // 1.0: no chunks.
        write!(
            stream,
            "{what} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error: std::io::Error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let is_ok = head.split(' ').nth(1) == Some("200");
    if is_ok { Ok(body.to_owned()) } else { Err(answer) }
}

/// The JSON that is there.
pub(crate) fn json(port: u16, path: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(&get(port, path)?).map_err(|error| error.to_string())
}

/// A text in a query of a URL.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
