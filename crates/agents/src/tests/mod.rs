//! What leaves, and what does not.

mod captures;
mod made;
mod points;
mod random;
mod records;

use bytes::Bytes;
use livekit_otel_model::foreign::{Body, ForeignData, ForeignExemplar, Origin, Upload};
use livekit_otel_model::privacy::{HashKey, Privacy};

use crate::{Content, Reader};

const DROP: Reader = Reader { privacy: Privacy::Drop, content: Content::Drop };
const PLAIN: Reader = Reader { privacy: Privacy::Plain, content: Content::Plain };

fn hash() -> Privacy {
    Privacy::Hash(HashKey::new("sixteen-bytes-of").unwrap())
}

/// The bytes of an upload that leave: all of them, or those of redacted jobs.
fn leaving(upload: &Upload, is_redacted: bool) -> Vec<u8> {
    let mut out = Out { bytes: Vec::new(), is_redacted };
    match upload {
        Upload::Spans(spans) => {
            for span in spans {
                out.origin(&span.origin);
                out.text(&span.name);
                out.text(span.failure.as_deref().unwrap_or_default());
                out.text(&format!("{:?}", span.facts));
                out.body(&span.body);
                span.links.iter().for_each(|link| out.body(&link.body));
            }
        }
        Upload::Logs(logs) => {
            for log in logs {
                out.origin(&log.origin);
                out.text(&format!("{:?}", log.facts));
                out.body(&log.body);
            }
        }
        Upload::Metrics(metrics) => {
            for metric in metrics {
                out.origin(&metric.origin);
                out.text(&format!("{} {} {}", metric.name, metric.unit, metric.description));
                out.data(&metric.data);
            }
        }
        Upload::Recording(recording) => out.text(&format!("{recording:?}")),
    }
    out.bytes
}

struct Out {
    bytes: Vec<u8>,
    is_redacted: bool,
}

impl Out {
    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }

    fn origin(&mut self, origin: &Origin) {
        self.bytes.extend_from_slice(&origin.resource);
        self.bytes.extend_from_slice(&origin.scope);
        self.text(&format!(
            "{:?} {} {}",
            origin.process, origin.resource_schema, origin.scope_schema
        ));
    }

    fn body(&mut self, body: &Body) {
        let redacted = body.redacted.as_ref().filter(|_| self.is_redacted);
        self.bytes.extend_from_slice(redacted.unwrap_or(&body.sent));
    }

    fn point(&mut self, attributes: &Bytes, exemplars: &[ForeignExemplar]) {
        self.bytes.extend_from_slice(attributes);
        for exemplar in exemplars {
            self.body(&exemplar.body);
        }
    }

    fn data(&mut self, data: &ForeignData) {
        match data {
            ForeignData::Gauge(points) | ForeignData::Sum { points, .. } => {
                for point in points {
                    self.point(&point.attributes, &point.exemplars);
                }
            }
            ForeignData::Histogram { points, .. } => {
                for point in points {
                    self.point(&point.attributes, &point.exemplars);
                }
            }
        }
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}
