//! The HTTP side port: for people, browsers and monitoring. Services call gRPC.
//!
//! | route | |
//! | --- | --- |
//! | `GET /` | the dashboard, and its files under `/assets/` |
//! | `GET /livez` | the process lives |
//! | `GET /readyz` | it may be sent calls: 503 while it drains |
//! | `GET /health/circuit-breakers` | 200 `healthy`, or 503 `degraded` while a breaker refuses calls |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /api/v1/openapi.json` | what follows, for programs |
//! | `GET /api/v1/breakers` | `ListBreakers` |
//! | `GET`, `DELETE /api/v1/breakers/{breaker}` | `GetState`, `DeleteBreaker` |
//! | `POST /api/v1/breakers/{breaker}/acquire`, `/report`, `/reset` | `Acquire`, `Report`, `Reset` |
//! | `POST /api/v1/breakers/{breaker}/probe` | `ProbeNow` |
//! | `PUT`, `DELETE /api/v1/breakers/{breaker}/override` | `SetOverride`, `ClearOverride` |
//! | `DELETE /api/v1/breakers/{breaker}/declaration` | `DeleteDeclaration` |
//! | `POST /api/v1/declare`, `/api/v1/report-batch` | `Declare`, `ReportBatch` |
//! | `GET /api/v1/policies` | `ListPolicies` |
//! | `GET`, `PUT`, `DELETE /api/v1/policies/{pattern}` | `GetPolicy`, `SetPolicy`, `DeletePolicy` |
//! | `GET /api/v1/events` | `ListEvents` |
//! | `GET /api/v1/events/stream` | `WatchEvents`, as server-sent events |
//! | `GET /api/v1/server` | `GetServerInfo` |
//! | `GET /api/v1/identity` | `GetIdentity` |
//! | `GET`, `POST /api/v1/tokens`, `DELETE /api/v1/tokens/{name}` | `ListTokens`, `CreateToken`, `RevokeToken` |
//! | `GET /api/v1/audit` | `ListAudit` |
//! | `GET /api/v1/webhooks`, `POST /api/v1/webhooks/{name}/test` | `ListWebhooks`, `TestWebhook` |
//! | `POST /api/v1/login`, `/api/v1/logout` | a token as a cookie, for the dashboard |
//!
//! It translates and stops there: an API route is the RPC's own code (`api.rs`), and everything passes `guard.rs`. It runs on
//! one thread of its own, until calls under way have ended, so that a draining server can be seen to drain.

mod api;
mod dashboard;
mod document;
mod error;
mod guard;
mod health;
mod json;
mod limits;
mod listener;
mod metrics;
mod openapi;
mod process;
mod session;
mod stream;

use std::{io, net::SocketAddr, net::TcpListener, sync::Arc};

use axum::{
    Router,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use tokio::sync::Mutex;

use self::error::Error;
pub use self::limits::Limits;
use crate::{
    grpc::{AdminService, BreakerService, Context, Dispatch},
    limit,
    share::Pool,
    shutdown::Shutdown,
    tls::Tls,
};

/// Breakers looked at before another request may be served.
const SURVEY_PLACES: u32 = 1_024;

/// What all routes share.
#[derive(Debug)]
struct App {
    breakers: BreakerService,
    admin: AdminService,
    context: Arc<Context>,
    /// The gRPC port, whose load metrics tell of.
    dispatch: Dispatch,
    limits: Limits,
    /// Where the port listens.
    address: SocketAddr,
    tls: Option<Tls>,
    pools: Pools,
    /// Who is signed in to the dashboard.
    sessions: session::Sessions,
    baseline: metrics::Baseline,
    /// The turn of one scrape, and what the last one told.
    scrapes: Mutex<metrics::LastTold>,
    openapi: document::Document,
}

/// What is bounded, and shared between holders.
#[derive(Debug)]
struct Pools {
    connections: Arc<Pool>,
    requests: Arc<Pool>,
    operator_requests: Arc<Pool>,
    streams: Arc<Pool>,
}

impl Pools {
    fn new(limits: &Limits) -> Self {
        let pool = |limit, max: usize| Arc::new(Pool::new(limit, max as u64, limits.fair_share));
        Self {
            connections: pool(limit::HTTP_CONNECTIONS, limits.connections),
            requests: pool(limit::HTTP_REQUESTS, limits.requests),
            operator_requests: pool(limit::HTTP_OPERATOR_REQUESTS, limits.operator_requests),
            streams: pool(limit::HTTP_STREAMS, limits.streams),
        }
    }

    const fn all(&self) -> [&Arc<Pool>; 4] {
        [&self.connections, &self.requests, &self.operator_requests, &self.streams]
    }
}

/// The port, ready to serve.
#[derive(Clone, Debug)]
pub struct Port {
    app: Arc<App>,
}

impl Port {
    /// A port at an address, before anybody calls.
    #[must_use]
    pub fn new(
        breakers: BreakerService,
        admin: AdminService,
        context: Arc<Context>,
        dispatch: Dispatch,
        limits: Limits,
        address: SocketAddr,
        tls: Option<Tls>,
    ) -> Self {
        let app = App {
            breakers,
            admin,
            dispatch,
            address,
            tls,
            pools: Pools::new(&limits),
            sessions: session::Sessions::new(limits.fair_share),
            baseline: metrics::Baseline::of(&context.engine, limits.metrics_breakers),
            scrapes: Mutex::default(),
            openapi: openapi::make(),
            limits,
            context,
        };
        Self { app: Arc::new(app) }
    }

    /// What is bounded and shared, and who uses how much of it.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.app.pools.all().into_iter().chain([self.app.sessions.pool()]).map(Arc::clone).collect()
    }

    /// Serves what comes in at a socket until `stop`.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(self, socket: TcpListener, stop: &Shutdown) -> io::Result<()> {
        let app = self.app;
        let tls = app.tls.clone();
        let connections = Arc::clone(&app.pools.connections);
        listener::serve(socket, router(Arc::clone(&app)), &app.limits, connections, tls, stop).await
    }
}

fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/health/circuit-breakers", get(health::circuit_breakers))
        .route("/metrics", get(metrics::scrape))
        .route(openapi::PATH, get(openapi::document))
        .route(stream::PATH, get(stream::watch))
        .route(session::LOGIN, post(session::login))
        .route(session::LOGOUT, post(session::logout));
    dashboard::routes(api::routes(router))
        .fallback(async || api::not_found())
        .method_not_allowed_fallback(async || {
            let message = "this route does not take this method: /api/v1/openapi.json lists those it takes";
            Error::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}
