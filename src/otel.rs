//! OpenTelemetry: a span for each call and a few sums, sent to a collector over OTLP. Off unless an endpoint is configured; then
//! calls pay a look at an option.
//!
//! A caller's context is taken over from its `traceparent` header, and its decision whether a call is sampled with it. Metrics
//! are those that say how breakers stand; `/metrics` has more. What cannot be sent is dropped: a collector that is down holds
//! up nobody.

use std::time::Duration;

use http::{HeaderMap, Request};
use opentelemetry::{
    Context, KeyValue,
    metrics::MeterProvider as _,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

use crate::{
    breaker::StateName,
    engine::{Engine, REJECTIONS},
};

const NAME: &str = "fuseboard";
/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Breakers looked at between two looks at anything else.
const SURVEY_PLACES: u32 = 1_024;

/// What is sent, until it is shut down.
#[derive(Debug)]
pub(crate) struct Otel {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Otel {
    /// Begins to send to a collector. Has to be called where tokio runs, as that drives the connections.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub(crate) fn start(endpoint: &str, sampling: f64, engine: &Engine) -> Result<Self, ExporterBuildError> {
        let resource = Resource::builder()
            .with_service_name(NAME)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(TIMEOUT).build()?;
        let sums = MetricExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(TIMEOUT).build()?;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sampling)));
        let traces = SdkTracerProvider::builder()
            .with_batch_exporter(spans)
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .build();
        let metrics = SdkMeterProvider::builder().with_periodic_exporter(sums).with_resource(resource).build();
        observe(&metrics, engine);
        Ok(Self { traces, metrics })
    }

    /// What makes spans.
    pub(crate) fn calls(&self) -> Calls {
        Calls { tracer: self.traces.tracer(NAME), propagator: TraceContextPropagator::new() }
    }

    /// Sends what is left. Waits for it, so not on a thread that drives connections.
    pub(crate) fn shut_down(&self) {
        for ended in [self.traces.shutdown_with_timeout(TIMEOUT), self.metrics.shutdown_with_timeout(TIMEOUT)] {
            if let Err(error) = ended {
                tracing::debug!(%error, "the last telemetry is not sent");
            }
        }
    }
}

/// Has the sums read whenever they are sent.
fn observe(metrics: &SdkMeterProvider, engine: &Engine) {
    let meter = metrics.meter(NAME);
    let breakers = engine.clone();
    meter
        .u64_observable_gauge("fuseboard.breakers")
        .with_description("Breakers by state.")
        .with_callback(move |observer| {
            let mut counts = [0_u64; 3];
            let mut next = Some(0);
            while let Some(from) = next {
                next = breakers.survey(from, SURVEY_PLACES, |breaker| counts[breaker.status.state as usize] += 1);
            }
            for state in [StateName::Closed, StateName::Open, StateName::HalfOpen] {
                observer.observe(counts[state as usize], &[KeyValue::new("state", state.name())]);
            }
        })
        .build();
    let events = engine.clone();
    meter
        .u64_observable_counter("fuseboard.events")
        .with_description("Events since the start, by kind.")
        .with_callback(move |observer| {
            for (kind, count) in events.measured().events {
                observer.observe(count, &[KeyValue::new("kind", kind)]);
            }
        })
        .build();
    let rejections = engine.clone();
    meter
        .u64_observable_counter("fuseboard.rejections")
        .with_description("Calls refused since the start, by reason.")
        .with_callback(move |observer| {
            for (reason, count) in REJECTIONS.into_iter().zip(rejections.measured().rejections) {
                observer.observe(count, &[KeyValue::new("reason", reason.name())]);
            }
        })
        .build();
}

/// Makes a span for each call.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Calls {
    /// The span of a call that begins, as part of its caller's trace where it has one.
    pub(crate) fn begin<T>(&self, request: &Request<T>) -> Span {
        let method = request.uri().path().trim_start_matches('/');
        let (service, name) = method.split_once('/').unwrap_or((method, ""));
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", name.to_owned()),
        ];
        let builder = SpanBuilder::from_name(method.to_owned()).with_kind(SpanKind::Server).with_attributes(attributes);
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(request.headers()));
        self.tracer.build_with_context(builder, &parent)
    }
}

/// Ends the span of a call with its gRPC status, 0 where all is well.
pub(crate) fn end(mut span: Span, code: i64, message: &str) {
    span.set_attribute(KeyValue::new("rpc.grpc.status_code", code));
    // What the server is at fault for, as the conventions have it: DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL and the like.
    if matches!(code, 2 | 4 | 12 | 13 | 14 | 15) {
        span.set_status(Status::error(message.to_owned()));
    }
    span.end();
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
