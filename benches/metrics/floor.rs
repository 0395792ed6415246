//! The same bytes, by hand: what there is to know of a stream is in an array, its attributes are
//! encoded, and each point is written field by field.

use livekit_otel_export::encode_table;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Column, Row};

use crate::streams::{Streams, flush};

const CHUNK: usize = 128;

struct Stream {
    attributes: Vec<u8>,
    start: u64,
    time: u64,
    counts: [u64; 12],
    measured: [f64; 3],
}

pub struct Floor {
    counters: &'static [Column; 12],
    gauges: &'static [Column; 3],
    streams: Vec<Stream>,
}

impl Floor {
    pub fn of(streams: usize) -> Self {
        let load = Streams::of(streams);
        let mut stats = load.open();
        load.apply(&mut stats, 2);
        let mut all = Vec::with_capacity(streams);
        let mut columns = None;
        flush(&mut stats, 2, |table| {
            columns = Some((table.counters, table.gauges));
            encode_table(&Privacy::Plain, table);
            all.extend(table.rows.iter().map(stream));
        });
        let (counters, gauges) = columns.unwrap();
        Self { counters, gauges, streams: all }
    }

    pub fn encode(&self, each: &mut impl FnMut(&[u8])) {
        let (mut points, mut metric) = (Vec::new(), Vec::new());
        for streams in self.streams.chunks(CHUNK) {
            for (nth, column) in self.counters.iter().enumerate() {
                points.clear();
                for stream in streams {
                    head(0x0a, 27 + stream.attributes.len(), &mut points);
                    fixed(0x11, stream.start, &mut points);
                    fixed(0x19, stream.time, &mut points);
                    fixed(0x31, stream.counts[nth], &mut points);
                    points.extend_from_slice(&stream.attributes);
                }
                points.extend_from_slice(&[0x10, 2, 0x18, 1]);
                write(column, 0x3a, &points, &mut metric);
                each(&metric);
            }
            for (nth, column) in self.gauges.iter().enumerate() {
                points.clear();
                for stream in streams {
                    head(0x0a, 18 + stream.attributes.len(), &mut points);
                    fixed(0x19, stream.time, &mut points);
                    fixed(0x21, stream.measured[nth].to_bits(), &mut points);
                    points.extend_from_slice(&stream.attributes);
                }
                write(column, 0x2a, &points, &mut metric);
                each(&metric);
            }
        }
    }
}

fn stream(row: &Row) -> Stream {
    Stream {
        attributes: row.series.encoded(0, |_| unreachable!("it was encoded")).to_vec(),
        start: row.start.nanos(),
        time: row.time.unwrap().nanos(),
        counts: row.counts,
        measured: row.measured.map(Option::unwrap),
    }
}

fn write(column: &Column, key: u8, points: &[u8], to: &mut Vec<u8>) {
    to.clear();
    for (key, text) in [(0x0a, column.name), (0x12, column.description), (0x1a, column.unit)] {
        head(key, text.len(), to);
        to.extend_from_slice(text.as_bytes());
    }
    head(key, points.len(), to);
    to.extend_from_slice(points);
}

#[allow(clippy::cast_possible_truncation)] // each is below 0x80
fn head(key: u8, mut len: usize, to: &mut Vec<u8>) {
    to.push(key);
    while len >= 0x80 {
        to.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    to.push(len as u8);
}

fn fixed(key: u8, value: u64, to: &mut Vec<u8>) {
    to.push(key);
    to.extend_from_slice(&value.to_le_bytes());
}
