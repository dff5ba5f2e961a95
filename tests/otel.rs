//! OpenTelemetry: the built server, and a collector that keeps what it is sent.

mod support {
    pub(crate) mod process;
}

use std::time::Duration;

use fuseboard::pb::{AcquireRequest, breaker_service_client::BreakerServiceClient};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    trace::v1::{Span, span::SpanKind},
};
use support::process::Server;
use tokio::{
    net::TcpListener,
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[derive(Clone)]
struct Collector {
    spans: Sender<Span>,
    metrics: Sender<String>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let _ = self.spans.send(span).await;
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|metrics| metrics.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let _ = self.metrics.send(metric.name).await;
        }
        Ok(Response::new(Default::default()))
    }
}

async fn collector() -> (String, Receiver<Span>, Receiver<String>) {
    let (spans, sent) = channel(1_000);
    let (metrics, told) = channel(1_000);
    let collector = Collector { spans, metrics };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector))
        .serve_with_incoming(TcpListenerStream::new(socket));
    tokio::spawn(server);
    (endpoint, sent, told)
}

fn call(breaker: &str, traceparent: Option<&str>) -> Request<AcquireRequest> {
    let mut request = Request::new(AcquireRequest { breaker: breaker.to_owned(), ..AcquireRequest::default() });
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_here_and_what_it_does_not_sample_is_not_sent() {
    let (endpoint, mut spans, mut metrics) = collector().await;
    let mut server = Server::start(&["--otlp-endpoint", &endpoint]);
    let mut client = BreakerServiceClient::connect(server.url()).await.unwrap();
    client.acquire(call("a", None)).await.unwrap();
    client.acquire(call("a", Some(&format!("00-{TRACE}-{PARENT}-00")))).await.unwrap();
    client.acquire(call("a", Some(&format!("00-{TRACE}-{PARENT}-01")))).await.unwrap();
    client.acquire(call("not a key", Some(&format!("00-{TRACE}-{PARENT}-01")))).await.unwrap_err();
    // What waits is sent at the end at the latest.
    server.stop();
    let next = async |spans: &mut Receiver<Span>| timeout(PATIENCE, spans.recv()).await.expect("a span").unwrap();
    let (good, bad) = (next(&mut spans).await, next(&mut spans).await);
    assert!(spans.try_recv().is_err(), "and no other");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for span in [&good, &bad] {
        assert_eq!(span.name, "fuseboard.v1.BreakerService/Acquire");
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
        assert_eq!(span.kind, SpanKind::Server as i32);
    }
    let code = |span: &Span| {
        let found = span.attributes.iter().find(|attribute| attribute.key == "rpc.grpc.status_code");
        format!("{:?}", found.and_then(|attribute| attribute.value.as_ref()?.value.clone()))
    };
    assert_eq!((code(&good).as_str(), code(&bad).as_str()), ("Some(IntValue(0))", "Some(IntValue(3))"));
    let mut names = Vec::new();
    while !names.iter().any(|name| name == "fuseboard.events" || name == "fuseboard.breakers") {
        names.push(timeout(PATIENCE, metrics.recv()).await.expect("metrics").unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_share_of_one_every_call_is_a_trace_of_its_own() {
    let (endpoint, mut spans, _metrics) = collector().await;
    let mut server = Server::start(&["--otlp-endpoint", &endpoint, "--otlp-sampling", "1"]);
    let mut client = BreakerServiceClient::connect(server.url()).await.unwrap();
    client.acquire(call("a", None)).await.unwrap();
    server.stop();
    let span = timeout(PATIENCE, spans.recv()).await.expect("a span").unwrap();
    assert_eq!((span.name.as_str(), span.parent_span_id.len()), ("fuseboard.v1.BreakerService/Acquire", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_neither_calls_nor_the_stop() {
    let mut server = Server::start(&["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-sampling", "1"]);
    let mut client = BreakerServiceClient::connect(server.url()).await.unwrap();
    for _ in 0..100 {
        client.acquire(call("a", None)).await.unwrap();
    }
    server.stop();
}

#[test]
fn an_endpoint_that_is_none_is_refused() {
    let told = Server::refused(&["--otlp-endpoint", "localhost:4317"]);
    assert!(told.contains("must be a URL as http://localhost:4317, or \"off\", not \"localhost:4317\""), "{told}");
}
