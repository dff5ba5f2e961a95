//! The client that behaves, and what comes to a server besides: health checks, and services that have just started.

use std::net::SocketAddr;

use fuseboard::pb::{
    self, AcquireRequest, CreateTokenRequest, ListEventsRequest, ReportBatchRequest, Role, WatchEventsRequest,
    WatchFilter, admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{ADMIN_TOKEN, PATIENCE, process::Server};

/// What was refused, and how.
type Refused = Option<String>;

/// Sends a token with each call, if there is one.
#[derive(Clone)]
pub(crate) struct Bearer(pub(crate) Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

pub(crate) type Calls = BreakerServiceClient<InterceptedService<Channel, Bearer>>;

/// A client with a connection of its own.
pub(crate) async fn connect(server: SocketAddr, token: Bearer) -> Result<Calls, String> {
    let endpoint = Channel::from_shared(format!("http://{server}")).map_err(text)?;
    Ok(BreakerServiceClient::with_interceptor(endpoint.connect().await.map_err(text)?, token))
}

/// A new token that may report.
pub(crate) async fn token(server: &Server, name: &str) -> String {
    let roles = vec![Role::Report as i32];
    let request = CreateTokenRequest { name: name.to_owned(), roles, ..CreateTokenRequest::default() };
    admin(server, true).await.create_token(request).await.unwrap().into_inner().secret
}

async fn admin(server: &Server, has_tokens: bool) -> AdminServiceClient<InterceptedService<Channel, Bearer>> {
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    AdminServiceClient::with_interceptor(channel, Bearer(has_tokens.then(|| ADMIN_TOKEN.to_owned())))
}

/// A service that has been there for long.
pub(crate) struct Behaved {
    token: Bearer,
    calls: Calls,
    admin: AdminServiceClient<InterceptedService<Channel, Bearer>>,
    /// The permit of the request that it tries again.
    permit: String,
    newcomers: u32,
}

impl Behaved {
    pub(crate) async fn connect(server: &Server, token: Option<String>) -> Self {
        let admin = admin(server, token.is_some()).await;
        let token = Bearer(token);
        let calls = connect(server.address(), token.clone()).await.unwrap();
        Self { token, calls, admin, permit: String::new(), newcomers: 0 }
    }

    /// Whether its usual call is answered.
    pub(crate) async fn call(&mut self) -> bool {
        let request = AcquireRequest { breaker: "payments".to_owned(), ..AcquireRequest::default() };
        timeout(PATIENCE, self.calls.acquire(request)).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Does what the server has to remember: a request that may be tried again, a batch, and an event.
    pub(crate) async fn leave_marks(&mut self) {
        self.permit = self.tried_again().await.unwrap();
        self.calls.report_batch(batch("shop".to_owned())).await.unwrap();
        let declaration = pb::Declaration {
            breaker: "payments".to_owned(),
            policy: Some(pb::Policy { failure_threshold: Some(7), ..pb::Policy::default() }),
            revision: 1,
        };
        let request = pb::DeclareRequest { declarations: vec![declaration], caller: "shop".to_owned() };
        self.calls.declare(request).await.unwrap();
        assert!(self.has_history().await, "the declaration is an event");
    }

    /// What of it the server does not remember.
    pub(crate) async fn forgotten(&mut self) -> Vec<&'static str> {
        let mut forgotten = Vec::new();
        if self.tried_again().await.ok().as_ref() != Some(&self.permit) {
            forgotten.push("request id");
        }
        if !self.calls.report_batch(batch("shop".to_owned())).await.is_ok_and(|answer| answer.get_ref().duplicate) {
            forgotten.push("batch");
        }
        if !self.has_history().await {
            forgotten.push("history");
        }
        forgotten
    }

    async fn tried_again(&mut self) -> Result<String, Status> {
        let request = AcquireRequest {
            breaker: "payments".to_owned(),
            request_id: "tried-again".to_owned(),
            lease: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..AcquireRequest::default()
        };
        Ok(self.calls.acquire(request).await?.into_inner().permit)
    }

    async fn has_history(&mut self) -> bool {
        let request = ListEventsRequest { breaker: "payments".to_owned(), ..ListEventsRequest::default() };
        self.admin.list_events(request).await.is_ok_and(|events| !events.get_ref().events.is_empty())
    }

    /// Health checks by clients that come for them.
    pub(crate) async fn check(&self, server: &Server) -> [Refused; 3] {
        let health = async {
            let channel = Channel::from_shared(server.url()).map_err(text)?.connect().await.map_err(text)?;
            HealthClient::new(channel).check(HealthCheckRequest::default()).await.map_err(text)
        };
        [
            in_time("health", health).await,
            in_time("/livez", probe(server, "/livez")).await,
            in_time("/readyz", probe(server, "/readyz")).await,
        ]
    }

    /// What a service does that has just started: a call of a breaker that is not there yet, its first batch, and a watch.
    pub(crate) async fn newcomer(&mut self, server: &Server) -> [Refused; 4] {
        self.newcomers += 1;
        let name = format!("shop/{}", self.newcomers);
        let request = AcquireRequest { breaker: name.clone(), ..AcquireRequest::default() };
        let mut calls = match timeout(PATIENCE, connect(server.address(), self.token.clone())).await {
            Ok(Ok(calls)) => calls,
            Ok(Err(refused)) => return [(); 4].map(|()| Some(format!("connection: {refused}"))),
            Err(_) => return [(); 4].map(|()| Some("connection: no answer".to_owned())),
        };
        let filter = WatchFilter { breakers: vec![name.clone()], ..WatchFilter::default() };
        let watch = WatchEventsRequest { filter: Some(filter), ..WatchEventsRequest::default() };
        [
            in_time("Acquire", calls.clone().acquire(request)).await,
            in_time("ReportBatch", calls.clone().report_batch(batch(name))).await,
            in_time("WatchEvents", async {
                let mut messages = calls.watch_events(watch).await?.into_inner();
                messages.message().await?.ok_or_else(|| Status::cancelled("it ended"))
            })
            .await,
            in_time("POST", self.post(server)).await,
        ]
    }

    /// A call over HTTP.
    async fn post(&self, server: &Server) -> Result<(), String> {
        let token = self.token.0.as_ref().map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "POST /api/v1/breakers/payments/acquire HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\n{}content-length: 2\r\n\r\n{{}}",
            token.unwrap_or_default()
        );
        ask(server, &request).await
    }
}

fn batch(client_id: String) -> ReportBatchRequest {
    ReportBatchRequest { client_id, batch_sequence: 1, tallies: Vec::new() }
}

/// A probe by a client that comes for it.
async fn probe(server: &Server, path: &str) -> Result<(), String> {
    ask(server, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
}

async fn ask(server: &Server, request: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(server.http_address()).await.map_err(text)?;
    stream.write_all(request.as_bytes()).await.map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(text)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
}

async fn in_time<T, E: ToString>(what: &str, answer: impl Future<Output = Result<T, E>>) -> Refused {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(_)) => None,
        Ok(Err(refused)) => Some(format!("{what}: {}", refused.to_string())),
        Err(_) => Some(format!("{what}: no answer within {:?}", PATIENCE)),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
