//! The empty server beside ours: the same service and messages, answers made of constants.
//!
//! What it serves a second is what gRPC costs; what Fuseboard serves less is what Fuseboard costs.

use std::{net::SocketAddr, pin::Pin};

use bytes::Bytes;
use clap::ValueEnum;
use fuseboard::{
    grpc,
    pb::{
        AcquireRequest, AcquireResponse, Decision, DeclareRequest, DeclareResponse, GetStateRequest, GetStateResponse,
        ReportBatchRequest, ReportBatchResponse, ReportRequest, ReportResponse, ReportResult, ResetRequest,
        ResetResponse, SessionAcquired, SessionReported, SessionRequest, SessionResponse, State, WatchEventsRequest,
        WatchEventsResponse,
        breaker_service_server::{BreakerService, BreakerServiceServer},
    },
    shutdown::Shutdown,
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, runtime};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, transport};

use crate::Result;

// As long as Fuseboard's with a caller named.
const PERMIT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SESSION_PERMIT: &[u8] = &[0; 36];

/// How the empty service is served.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// As tonic's documentation does it: `Server::builder()`, its router, a runtime of many threads.
    Default,
    /// As little as there can be between tonic's generated code and the socket: hyper on a runtime of one thread.
    Bare,
    /// As Fuseboard serves: its own listener with all its bounds, on the same runtime.
    Ours,
}

impl Kind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Bare => "bare",
            Self::Ours => "ours",
        }
    }
}

/// Serves until killed.
pub(crate) fn serve(kind: Kind, address: SocketAddr) -> Result<()> {
    let one_thread = || runtime::Builder::new_current_thread().enable_all().build();
    match kind {
        Kind::Default => runtime::Runtime::new()?.block_on(async {
            let service = BreakerServiceServer::new(Empty);
            Ok(transport::Server::builder().add_service(service).serve(address).await?)
        }),
        Kind::Bare => one_thread()?.block_on(serve_bare(address)),
        Kind::Ours => one_thread()?.block_on(serve_as_we_do(address)),
    }
}

async fn serve_bare(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let service = TowerToHyperService::new(BreakerServiceServer::new(Empty));
        tokio::spawn(async move {
            let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service);
            // A client that goes away is no matter of ours.
            let _ = connection.await;
        });
    }
}

async fn serve_as_we_do(address: SocketAddr) -> Result<()> {
    let socket = grpc::bind(address, 1)?.pop().ok_or("no socket could be had")?;
    let services = grpc::Services::new(grpc::Limits::default()).breaker_service(Empty);
    Ok(grpc::serve(socket, services.dispatch(Shutdown::new()), None).await?)
}

#[derive(Clone, Copy)]
struct Empty;

#[tonic::async_trait]
impl BreakerService for Empty {
    type SessionStream = Pin<Box<dyn Stream<Item = Answer<SessionResponse>> + Send>>;
    type WatchEventsStream = tokio_stream::Empty<Answer<WatchEventsResponse>>;

    async fn acquire(&self, _: Request<AcquireRequest>) -> Answer<Response<AcquireResponse>> {
        Ok(Response::new(AcquireResponse {
            decision: Decision::Permitted.into(),
            state: State::Closed.into(),
            permit: PERMIT.to_owned(),
            lease: Some(LEASE),
            generation: 1,
            ..AcquireResponse::default()
        }))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Answer<Response<ReportResponse>> {
        Ok(Response::new(ReportResponse {
            result: ReportResult::Counted.into(),
            state: State::Closed.into(),
            generation: 1,
            ..ReportResponse::default()
        }))
    }

    async fn session(&self, request: Request<Streaming<SessionRequest>>) -> Answer<Response<Self::SessionStream>> {
        Ok(Response::new(Box::pin(request.into_inner().map(|frame| frame.map(answer)))))
    }

    async fn report_batch(&self, _: Request<ReportBatchRequest>) -> Answer<Response<ReportBatchResponse>> {
        Err(not_here())
    }

    async fn declare(&self, _: Request<DeclareRequest>) -> Answer<Response<DeclareResponse>> {
        Err(not_here())
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Answer<Response<ResetResponse>> {
        Err(not_here())
    }

    async fn get_state(&self, _: Request<GetStateRequest>) -> Answer<Response<GetStateResponse>> {
        Err(not_here())
    }

    async fn watch_events(&self, _: Request<WatchEventsRequest>) -> Answer<Response<Self::WatchEventsStream>> {
        Err(not_here())
    }
}

type Answer<T> = std::result::Result<T, Status>;

const LEASE: prost_types::Duration = prost_types::Duration { seconds: 60, nanos: 0 };

fn answer(frame: SessionRequest) -> SessionResponse {
    let acquired = frame.acquires.iter().map(|item| SessionAcquired {
        number: item.number,
        decision: Decision::Permitted.into(),
        state: State::Closed.into(),
        permit: Bytes::from_static(SESSION_PERMIT),
        lease: Some(LEASE),
        generation: 1,
        ..SessionAcquired::default()
    });
    let reported = frame.reports.iter().map(|item| SessionReported {
        number: item.number,
        result: ReportResult::Counted.into(),
        state: State::Closed.into(),
        generation: 1,
        ..SessionReported::default()
    });
    SessionResponse { acquired: acquired.collect(), reported: reported.collect(), ..SessionResponse::default() }
}

fn not_here() -> Status {
    Status::unimplemented("the empty service only acquires and reports")
}
