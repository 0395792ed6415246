//! HTTP/2 frames by hand (RFC 9113), for what no client's library sends.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Of each stream and of the connection, until the settings and updates say otherwise.
const WINDOW: i64 = 65_535;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header of HPACK that is a literal and not indexed.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.bytes());
    }
    bytes
}

/// The head of a stream of analytics events.
pub(crate) fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/livekit.AnalyticsRecorderService/IngestEvents"),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    head.iter().chain(more).flat_map(|(name, value)| header(name, value)).collect()
}

/// A client's end of a connection, with its windows.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    window: i64,
    initial: i64,
    windows: BTreeMap<u32, i64>,
    /// Streams that the server has ended or reset.
    pub(crate) ended: Vec<u32>,
    /// Whether the server has closed the connection.
    pub(crate) closed: bool,
    /// PINGs of the server that are answered.
    pub(crate) pongs: usize,
}

impl Connection {
    pub(crate) fn open(to: &str) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
        Self {
            stream,
            received: Vec::new(),
            window: WINDOW,
            initial: WINDOW,
            windows: BTreeMap::new(),
            ended: Vec::new(),
            closed: false,
            pongs: 0,
        }
    }

    /// Sends bytes as they are, as far as the server takes them within a time.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        if self.stream.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    /// Begins a stream.
    pub(crate) fn begin(&mut self, stream: u32, head: &[u8]) {
        self.windows.insert(stream, self.initial);
        self.send(&frame(HEADERS, END_HEADERS, stream, head));
    }

    /// How much may be sent on a stream.
    pub(crate) fn room(&self, stream: u32) -> usize {
        let room = self.windows.get(&stream).copied().unwrap_or(0).min(self.window).min(16_384);
        usize::try_from(room).unwrap_or(0)
    }

    /// Sends a part of a stream, for which there is room.
    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8]) {
        let size = i64::try_from(bytes.len()).unwrap();
        self.window -= size;
        *self.windows.get_mut(&stream).unwrap() -= size;
        self.send(&frame(DATA, 0, stream, bytes));
    }

    /// Reads frames until one comes, or none does within a time; answers PINGs and settings.
    pub(crate) fn next(&mut self, within: Duration) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                self.heed(&frame);
                return Some(frame);
            }
            let timeout = within.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(timeout)).unwrap();
            let mut part = [0; 16_384];
            match self.stream.read(&mut part) {
                Ok(n @ 1..) => self.received.extend_from_slice(&part[..n]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Ok(_) | Err(_) => {
                    self.closed = true;
                    return None;
                }
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.received.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    fn heed(&mut self, frame: &Frame) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                for setting in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    if setting[..2] == [0, 4] {
                        let change = i64::from(value) - self.initial;
                        self.windows.values_mut().for_each(|window| *window += change);
                        self.initial = i64::from(value);
                    }
                }
                self.send(&self::frame(SETTINGS, ACK, 0, &[]));
            }
            PING if frame.flags & ACK == 0 => {
                self.pongs += 1;
                self.send(&self::frame(PING, ACK, 0, &frame.payload));
            }
            WINDOW_UPDATE => {
                let by = i64::from(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                if frame.stream == 0 {
                    self.window += by;
                } else if let Some(window) = self.windows.get_mut(&frame.stream) {
                    *window += by;
                }
            }
            RST_STREAM => self.ended.push(frame.stream),
            HEADERS if frame.flags & END_STREAM != 0 => self.ended.push(frame.stream),
            _ => {}
        }
    }
}
