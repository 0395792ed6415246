//! OTLP's gRPC services: `TraceService`, `LogsService` and `MetricsService`, each with the unary method
//! `Export` (opentelemetry-proto, collector/).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use tokio::time::timeout;
use tonic::codegen::Service;

use super::answer::{self, Busy, Problem};
use super::body::{self, Memory};
use super::intake::Door;
use crate::source::connections::Use;
use crate::source::messages::{Fault, MESSAGE_TIMEOUT, Reading, answered, messages};
use livekit_otel_model::Source;

const METHODS: [(&str, Source); 3] = [
    ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", Source::OtlpTraces),
    ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Source::OtlpLogs),
    ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Source::OtlpMetrics),
];

/// The services.
#[derive(Debug, Clone)]
pub(in crate::source) struct Exports(Door);

impl Exports {
    pub(in crate::source) fn new(door: Door) -> Self {
        Self(door)
    }

    /// Adds the methods to a router.
    pub(in crate::source) fn routes(self, to: axum::Router) -> axum::Router {
        METHODS.iter().fold(to, |to, (path, _)| to.route_service(path, self.clone()))
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<axum::body::Body>> for Exports {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let path = request.uri().path();
        let method = METHODS.into_iter().find(|(method, _)| *method == path);
        let door = self.0.clone();
        Box::pin(async move {
            let Some((_, source)) = method else {
                return Ok(tonic::Status::unimplemented("no such method").into_http());
            };
            let accepted = export(&door, source, request).await;
            Ok(match accepted {
                Ok(rejected) => answered(&answer::message(rejected)),
                Err(problem) => problem.status().into_http(),
            })
        })
    }
}

async fn export(
    door: &Door,
    source: Source,
    request: http::Request<axum::body::Body>,
) -> Result<u64, Problem> {
    let (head, body) = request.into_parts();
    door.admit(source, &head.headers, &head.extensions)?;
    let accepted = receive(door, source, &head, body).await;
    accepted.map_err(|problem| door.intake.refused(source, problem, &head.extensions))
}

async fn receive(
    door: &Door,
    source: Source,
    head: &http::request::Parts,
    body: axum::body::Body,
) -> Result<u64, Problem> {
    let (budget, max) = (&door.intake.budget, door.intake.max_body);
    let used = head.extensions.get::<Arc<Use>>().cloned();
    let share = used.as_ref().map_or_else(|| budget.share(), |used| used.upload_share(budget));
    let reading = Reading { budget: budget.clone(), share: share.clone(), used, max };
    let mut messages = messages(&head.headers, body, reading).map_err(|_| Problem::Compression)?;
    let mut next = async || {
        let next = timeout(MESSAGE_TIMEOUT, messages.next()).await.map_err(|_| Problem::Slow)?;
        next.transpose().map_err(|fault| problem(&fault))
    };
    let message = next().await?.ok_or(Problem::Malformed)?;
    // The method is unary.
    if next().await?.is_some() {
        return Err(Problem::Malformed);
    }
    // JSON in a journal is from HTTP.
    if message.bytes.first() == Some(&b'{') {
        return Err(Problem::Malformed);
    }
    let memory = Memory::of(budget, &share, message.lease);
    door.intake.request(source, message.bytes, memory).await
}

fn problem(fault: &Fault) -> Problem {
    match fault {
        Fault::TooLarge { size, max } => body::too_large(*size as u64, *max),
        Fault::Malformed(_) | Fault::Gone(_) => Problem::Malformed,
        Fault::Slow => Problem::Slow,
        Fault::Displaced => Problem::Busy(Busy::Displaced),
    }
}
