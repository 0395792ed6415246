//! Records of other programs leave once and whole, with their resource, scope and schema URLs.

mod messages;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric};
use opentelemetry_proto::tonic::trace::v1::{self as trace, span};
use proptest::prelude::*;

use super::*;
use crate::foreign;
use crate::record::{Record, Scope};
use crate::request::Assembler;
use livekit_otel_model::foreign::{Body, Foreign, ForeignLog, ForeignSpan, Origin};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Link};
use messages::{Sent, id, of_log, of_metric, of_span, read, text};

// The points of a metric, as metrics of one point.
fn each_point(of: &metrics::Metric) -> Vec<metrics::Metric> {
    let data: Vec<metric::Data> = match of.data.clone().unwrap() {
        metric::Data::Gauge(gauge) => {
            let each = gauge.data_points.into_iter();
            each.map(|point| metric::Data::Gauge(metrics::Gauge { data_points: vec![point] }))
                .collect()
        }
        metric::Data::Sum(sum) => {
            let each = sum.data_points.clone().into_iter();
            each.map(|point| {
                metric::Data::Sum(metrics::Sum { data_points: vec![point], ..sum.clone() })
            })
            .collect()
        }
        metric::Data::Histogram(histogram) => {
            let each = histogram.data_points.clone().into_iter();
            each.map(|point| {
                let data_points = vec![point];
                metric::Data::Histogram(metrics::Histogram { data_points, ..histogram.clone() })
            })
            .collect()
        }
        _ => panic!("another kind"),
    };
    data.into_iter().map(|data| metrics::Metric { data: Some(data), ..of.clone() }).collect()
}

// All foreign records of the requests of `records` mixed with LiveKit's, each of which is `livekit`.
fn sent<T: PartialEq>(
    records: Vec<Record>,
    livekit: &impl Message,
    limit: usize,
    decode: impl Fn(Bytes) -> Vec<Sent<T>>,
) -> Vec<Sent<T>> {
    let assembler = assembler(limit);
    let bytes = Bytes::from(livekit.encode_to_vec());
    let livekit = || Record { scope: Scope::LiveKit, items: 1, bytes: bytes.clone(), number: 0 };
    let mixed: Vec<Record> = records.into_iter().flat_map(|record| [livekit(), record]).collect();
    let (mut seen, mut livekits) = (Vec::new(), 0);
    let mut rest = &mixed[..];
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(assembler.fits(rest));
        rest = after;
        let request = assembler.request(batch);
        let is_alone = batch.len() == 1 && batch[0].items == 1;
        assert!(request.len() <= limit || is_alone, "{} of {limit}", request.len());
        let foreign = batch.iter().filter(|record| record.scope == Scope::Foreign);
        let items: u64 = foreign.map(|record| record.items).sum();
        let (own, others): (Vec<_>, Vec<_>) =
            decode(request).into_iter().partition(|(resource, ..)| {
                resource.attributes.iter().any(|each| *each == text("service.name", "test"))
            });
        assert_eq!(others.len() as u64, items);
        livekits += own.len();
        seen.extend(others);
    }
    assert_eq!(livekits, mixed.len() / 2);
    seen
}

fn assembler(limit: usize) -> Assembler {
    Assembler::new(&[("service.name".to_owned(), "test".to_owned())], limit)
}

macro_rules! decode {
    ($request:ty, $resources:ident, $scopes:ident, $records:ident) => {
        |bytes: Bytes| {
            let mut all = Vec::new();
            for group in <$request>::decode(bytes).unwrap().$resources {
                for scope in group.$scopes {
                    for record in scope.$records {
                        all.push((
                            group.resource.clone().unwrap_or_default(),
                            group.schema_url.clone(),
                            scope.scope.clone().unwrap_or_default(),
                            scope.schema_url.clone(),
                            record,
                        ));
                    }
                }
            }
            all
        }
    };
}

proptest! {
    #[test]
    fn each_foreign_record_is_in_one_request_whole_and_within_the_limit(
        sizes in proptest::collection::vec(0usize..900, 1..40),
        limit in 2000usize..9000,
    ) {
        let most = assembler(limit).max_group_bytes();
        let all = || sizes.iter().enumerate();

        let (expected, spans): (Vec<_>, Vec<_>) =
            all().map(|(nth, size)| of_span(nth, *size)).unzip();
        let records = foreign::spans(&Privacy::Plain, &spans, most);
        let decode = decode!(ExportTraceServiceRequest, resource_spans, scope_spans, spans);
        let mut seen = sent(records, &of_span(0, 9).0.4, limit, decode);
        seen.sort_by_key(|(.., span)| span.span_id[..2].iter().rev().copied().collect::<Vec<_>>());
        prop_assert_eq!(seen, expected);

        let (expected, logs): (Vec<_>, Vec<_>) =
            all().map(|(nth, size)| of_log(nth, *size)).unzip();
        let records = foreign::logs(&logs, most);
        let decode = decode!(ExportLogsServiceRequest, resource_logs, scope_logs, log_records);
        let mut seen = sent(records, &of_log(0, 9).0.4, limit, decode);
        seen.sort_by_key(|(.., log)| log.time_unix_nano);
        prop_assert_eq!(seen, expected);

        let metrics: (Vec<_>, Vec<_>) = (0..4).map(|nth| of_metric(nth, &sizes)).unzip();
        let (expected, metrics) = (metrics.0.concat(), metrics.1);
        let records = foreign::metrics(&Privacy::Plain, &metrics, most);
        let decode = decode!(ExportMetricsServiceRequest, resource_metrics, scope_metrics, metrics);
        let each = |bytes| {
            let each = decode(bytes).into_iter().flat_map(|(a, b, c, d, metric)| {
                let points = each_point(&metric).into_iter();
                points.map(move |point| (a.clone(), b.clone(), c.clone(), d.clone(), point))
            });
            each.collect()
        };
        let mut seen = sent(records, &of_metric(0, &[9]).0[0].4, limit, each);
        seen.sort_by(|a, b| a.4.name.cmp(&b.4.name));
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn added_attributes_and_links_follow_those_of_the_program() {
    let (sent, mut span) = of_span(2, 5);
    span.added =
        vec![Attribute::new(key::ROOM_NAME, "standup"), Attribute::new(key::JOB_ID, "AJ_1")];
    span.added_links = vec![Link { trace_id: [3; 16], span_id: [4; 8] }];
    let records = foreign::spans(&Privacy::Drop, &[span], 1 << 20);
    let mut expected = sent.4;
    expected.attributes.push(text("lk.job_id", "AJ_1"));
    expected.links.push(span::Link {
        trace_id: vec![3; 16],
        span_id: vec![4; 8],
        flags: 1,
        ..Default::default()
    });
    let group = trace::ResourceSpans::decode(records[0].bytes.clone()).unwrap();
    assert_eq!(group.scope_spans[0].spans, [expected]);
}

#[test]
fn a_span_without_a_body_has_a_name_a_kind_and_times() {
    let (_, mut span) = of_span(1, 5);
    span.body = Body::default();
    span.failure = None;
    let records = foreign::spans(&Privacy::Plain, &[span], 1 << 20);
    let group = trace::ResourceSpans::decode(records[0].bytes.clone()).unwrap();
    let [actual] = &group.scope_spans[0].spans[..] else { panic!("one span") };
    assert_eq!((&*actual.name, actual.kind()), ("llm_node 1", span::SpanKind::Internal));
    assert_eq!((actual.start_time_unix_nano, actual.end_time_unix_nano), (10, 20));
    assert_eq!((&actual.trace_id[..], &actual.span_id[..]), (&id::<16>(1)[..], &id::<8>(1)[..]));
    assert_eq!((actual.parent_span_id.len(), &actual.status), (8, &None));
}

#[test]
fn groups_depend_on_what_an_origin_is_and_not_on_where_it_is() {
    let spans = || (0..30).map(|nth| of_span(nth, 5).1);
    let apart: Vec<_> = spans().collect();
    let shared: Vec<Arc<Origin>> = (0..3).map(read).collect();
    let together: Vec<_> = spans()
        .enumerate()
        .map(|(nth, span)| ForeignSpan { origin: Arc::clone(&shared[nth % 3]), ..span })
        .collect();
    let records = foreign::spans(&Privacy::Plain, &apart, 1 << 20);
    assert_eq!(records, foreign::spans(&Privacy::Plain, &together, 1 << 20));
    assert_eq!(records.iter().map(|record| record.items).collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn a_group_has_at_most_500_records_and_256_kib() {
    let log = of_log(0, 5).1;
    let items = |logs: &[ForeignLog]| {
        let records = foreign::logs(logs, assembler(64 << 20).max_group_bytes());
        assert!(records.iter().all(|record| record.items == 1 || record.bytes.len() <= 256 << 10));
        records.iter().map(|record| record.items).collect::<Vec<_>>()
    };
    assert_eq!(items(&vec![log; 1100]), [500, 500, 100]);
    let large = [of_log(0, 100_000).1, of_log(0, 100_000).1, of_log(0, 300_000).1];
    assert_eq!(items(&large), [2, 1]);
}

fn foreign(count: usize) -> Foreign {
    Foreign { logs: (0..count).map(|nth| of_log(3 * nth, 5).1).collect(), ..Foreign::default() }
}

#[tokio::test]
async fn foreign_records_are_counted_one_by_one() {
    let (listener, address) = bound().await;
    let partial = ExportLogsPartialSuccess { rejected_log_records: 2, ..Default::default() };
    let answers = [
        Ok(ExportLogsServiceResponse { partial_success: Some(partial) }),
        Err(Status::invalid_argument("no")),
    ];
    let mut received = serve(listener, answers.into());
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.exporter.foreign(&foreign(5));
    let (request, _) = received.recv().await.unwrap();
    assert_eq!(names(&request).len(), 5);
    // Nothing of this process is in it.
    assert_eq!(request.resource_logs.len(), 1);
    fixture.exporter.foreign(&foreign(4));
    fixture.log(&["a"]);
    assert_eq!(received.recv().await.unwrap().0.resource_logs.len(), 2);
    let output = fixture.shutdown().await;
    assert_eq!((output.accepted, output.delivered, output.dead_letters), (10, 3, 5));
    assert_eq!((lost(&output, Lost::Rejected), output.waiting()), (2, 0));
}

#[tokio::test]
async fn foreign_records_of_a_disabled_signal_are_counted() {
    let fixture = exporting(&settings("http://127.0.0.1:9", Protocol::Grpc));
    let spans = (0..7).map(|nth| of_span(nth, 5).1).collect();
    fixture.exporter.foreign(&Foreign { spans, ..Foreign::default() });
    let output = fixture.ledger.snapshot().outputs[Signal::Traces as usize].clone();
    assert_eq!((output.accepted, lost(&output, Lost::Disabled)), (7, 7));
}
