//! From a request's path to the service that answers it, and how much is let in.
//!
//! tonic's own router goes through axum and costs a tenth of a call or more, so the path is looked up here, in a short
//! list with the hottest methods first, and the generated server is called as it is. A method is either a *call*, which is answered soon, or
//! a *stream*, which lives long; both are bounded for the server as a whole, apart from each other, and what is above the
//! bound is refused at once: a queue would only make everybody late.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::{Status, body::Body, server::NamedService, transport::server::TcpConnectInfo};
use tower::Service;

use super::{
    gate::{Gate, Peer},
    limits::Limits,
    pb::{
        admin_service_server::{AdminService, AdminServiceServer},
        breaker_service_server::{BreakerService, BreakerServiceServer},
    },
    status::explained,
};
use crate::{access, engine::Error, otel, share::Holder, shutdown::Shutdown};

/// A refused call may come back after this: calls are answered so fast that room is there again at once.
const CALL_RETRY_AFTER: Duration = Duration::from_millis(100);
/// A refused stream may come back after this: streams live for minutes.
const STREAM_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Comes when a stream is to be cut.
type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a generated server answers with.
type Call = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

// ---- Which services there are --------------------------------------------------------------------------------------

/// The services of a server, being put together. The first are found fastest.
pub struct Services {
    limits: Limits,
    gate: Gate,
    calls: Option<otel::Calls>,
    routes: Vec<Route>,
    names: Vec<&'static str>,
}

impl Services {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, gate: Gate::default(), calls: None, routes: Vec::new(), names: Vec::new() }
    }

    /// Lets requests in through a gate; without one everybody may do everything.
    #[must_use]
    pub fn gate(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Has a span made for each call.
    #[must_use]
    pub(crate) fn traced(self, calls: Option<otel::Calls>) -> Self {
        Self { calls, ..self }
    }

    /// Adds `BreakerService`: its hottest calls, its streams, and the requests that bring lists and may be larger.
    #[must_use]
    pub fn breaker_service(self, service: impl BreakerService) -> Self {
        let small = self.limits.unary_message_bytes;
        let large = self.limits.batch_message_bytes;
        let service = Arc::new(service);
        let server = |bytes| BreakerServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(bytes);
        self.methods(&["Acquire", "Report"], Kind::HotCall, server(small))
            .methods(&["Session", "WatchEvents"], Kind::Stream, server(large))
            .methods(&["ReportBatch", "Declare"], Kind::Call, server(large))
            .service(server(small))
    }

    /// Adds `AdminService`.
    #[must_use]
    pub fn admin_service(self, service: impl AdminService) -> Self {
        let bytes = self.limits.unary_message_bytes;
        self.service(AdminServiceServer::new(service).max_decoding_message_size(bytes))
    }

    /// Adds a service, or what is left of it, all of whose methods are calls.
    #[must_use]
    pub fn service<S: Handler + NamedService>(self, service: S) -> Self {
        self.methods(&[], Kind::Call, service)
    }

    /// Adds some methods of a service; an empty list is all that were not added before.
    #[must_use]
    pub(super) fn methods<S: Handler + NamedService>(
        mut self,
        methods: &'static [&'static str],
        kind: Kind,
        service: S,
    ) -> Self {
        if !self.names.contains(&S::NAME) {
            self.names.push(S::NAME);
        }
        self.routes.push(Route { service: S::NAME, methods, kind, handler: Box::new(service) });
        self
    }

    /// The names of the services that were added.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Everything that there is, ready to be served.
    #[must_use]
    pub fn dispatch(self, shutdown: Shutdown) -> Dispatch {
        let load = Load {
            connections: Gauge::new(self.limits.connections),
            calls: Gauge::new(self.limits.calls),
            streams: Gauge::new(self.limits.streams),
            refused_connections: AtomicU64::new(0),
            refused_calls: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        };
        Dispatch {
            shared: Arc::new(Shared {
                limits: self.limits,
                gate: self.gate,
                calls: self.calls,
                routes: self.routes,
                load,
                shutdown,
            }),
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What a method is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Answered soon, and asked for so often that its request does not carry the peer's address.
    HotCall,
    /// Answered soon.
    Call,
    /// Lives long, and ends by itself when the server drains.
    Stream,
    /// Lives long and knows nothing of draining: it is cut.
    ForeignStream,
}

/// A generated server: always ready, and cheap to clone.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer a request.
    fn call(&self, request: Request<RequestBody>) -> Call;
}

impl<S> Handler for S
where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future = Call>,
    S: Clone + Send + Sync + 'static,
{
    fn call(&self, request: Request<RequestBody>) -> Call {
        Service::call(&mut self.clone(), request)
    }
}

struct Route {
    service: &'static str,
    /// Empty: all that no route before this one has.
    methods: &'static [&'static str],
    kind: Kind,
    handler: Box<dyn Handler>,
}

// ---- How requests get there ----------------------------------------------------------------------------------------

/// The way from a request to its service. Clones share one, and its bounds.
#[derive(Clone)]
pub struct Dispatch {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    gate: Gate,
    calls: Option<otel::Calls>,
    routes: Vec<Route>,
    load: Load,
    shutdown: Shutdown,
}

#[derive(Debug)]
struct Load {
    connections: Gauge,
    calls: Gauge,
    streams: Gauge,
    refused_connections: AtomicU64,
    refused_calls: AtomicU64,
    failed_handshakes: AtomicU64,
    denied: AtomicU64,
}

/// How much the transport has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Connections now.
    pub connections: usize,
    /// Calls that are not answered yet.
    pub calls: usize,
    /// Streams that live long.
    pub streams: usize,
    /// Connections closed because there were too many, since the start.
    pub refused_connections: u64,
    /// Calls and streams refused because there were too many, since the start.
    pub refused_calls: u64,
    /// TLS handshakes that came to nothing, since the start.
    pub failed_handshakes: u64,
    /// Calls and streams of nobody who is known, or of somebody who may not, since the start.
    pub denied: u64,
}

impl Dispatch {
    /// How much there is to do.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let load = &self.shared.load;
        Usage {
            connections: load.connections.used(),
            calls: load.calls.used(),
            streams: load.streams.used(),
            refused_connections: load.refused_connections.load(Ordering::Relaxed),
            refused_calls: load.refused_calls.load(Ordering::Relaxed),
            failed_handshakes: load.failed_handshakes.load(Ordering::Relaxed),
            denied: load.denied.load(Ordering::Relaxed),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The moment when the server begins to drain.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// A place for another connection, if there is room.
    pub(super) fn connect(&self, peer: TcpConnectInfo) -> Option<Arc<Connection>> {
        let load = &self.shared.load;
        if !load.connections.enter() {
            load.refused_connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Arc::new(Connection {
            shared: Arc::clone(&self.shared),
            address: peer.remote_addr().map_or_else(Holder::server, |remote| Holder::address(remote.ip())),
            peer,
            names: OnceLock::new(),
            greeted: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }))
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").field("load", &self.shared.load).finish_non_exhaustive()
    }
}

impl Shared {
    fn find(&self, path: &str) -> Option<&Route> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let takes =
            |route: &&Route| route.service == service && (route.methods.is_empty() || route.methods.contains(&method));
        self.routes.iter().find(takes)
    }

    fn gauge(&self, kind: Kind) -> &Gauge {
        match kind {
            Kind::HotCall | Kind::Call => &self.load.calls,
            Kind::Stream | Kind::ForeignStream => &self.load.streams,
        }
    }
}

/// A running count with a bound.
#[derive(Debug)]
struct Gauge {
    used: AtomicUsize,
    max: usize,
}

impl Gauge {
    const fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Counts one more, unless there are as many as there may be.
    fn enter(&self) -> bool {
        let room = self.used.fetch_add(1, Ordering::Relaxed) < self.max;
        if !room {
            self.leave();
        }
        room
    }

    fn leave(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    fn used(&self) -> usize {
        // Somebody on the way in or out may be counted for a moment.
        self.used.load(Ordering::Relaxed).min(self.max)
    }
}

/// One connection: its requests come in here.
pub(super) struct Connection {
    shared: Arc<Shared>,
    peer: TcpConnectInfo,
    /// Who uses what its requests take, unless they have an identity.
    address: Holder,
    /// What the peer's certificate calls it.
    names: OnceLock<Peer>,
    /// Whether the peer has spoken HTTP/2.
    greeted: AtomicBool,
    /// Calls and streams that ever began, and that ended.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Connection {
    pub(super) fn greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed)
    }

    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// Notes that the peer and we have found no common TLS.
    pub(super) fn handshake_failed(&self) {
        self.shared.load.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the names that the peer has proved to have.
    pub(super) fn is_of(&self, peer: Peer) {
        // Once, after the handshake.
        let _ = self.names.set(peer);
    }

    /// Calls and streams that ever began.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether a call or stream is under way.
    pub(super) fn busy(&self) -> bool {
        self.begun() != self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn peer(&self) -> &TcpConnectInfo {
        &self.peer
    }

    /// Begins to answer a request.
    pub(super) fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answering {
        let Some(route) = self.shared.find(request.uri().path()) else {
            return Answering::known(Status::unimplemented(""));
        };
        let span = self.shared.calls.as_ref().map(|calls| Box::new(calls.begin(&request)));
        let mut request = request;
        let holder = match self.identify(&mut request) {
            Ok(holder) => holder,
            Err(error) => {
                self.shared.load.denied.fetch_add(1, Ordering::Relaxed);
                return Answering::known(error.into());
            }
        };
        request.extensions_mut().insert(holder);
        if !self.shared.gauge(route.kind).enter() {
            return self.refuse(route.kind);
        }
        let ticket = Ticket::new(Arc::clone(self), route.kind);
        let mut request = request.map(|inner| RequestBody { inner, cut: self.cut(route.kind) });
        if route.kind != Kind::HotCall {
            request.extensions_mut().insert(self.peer.clone());
        }
        Answering { state: State::Called(route.handler.call(request)), ticket: Some(ticket), timeout: None, span }
    }

    /// Finds out who asks, for the service, which knows what that bounds, and who uses what the request takes.
    fn identify(&self, request: &mut Request<Incoming>) -> Result<Holder, Error> {
        if self.shared.gate.is_open() {
            return Ok(self.address.clone());
        }
        let method = request.uri().path().trim_start_matches('/');
        let peer = self.names.get().cloned().unwrap_or_default();
        let grant = self.shared.gate.admit(method, access::need(method), request.headers(), &peer)?;
        let holder = match grant.identity() {
            Some(identity) => Holder::identity(Arc::clone(&identity.name)),
            None => self.address.clone(),
        };
        request.extensions_mut().insert(grant);
        Ok(holder)
    }

    /// What ends a stream from outside, where it needs that.
    fn cut(&self, kind: Kind) -> Option<Cut> {
        (kind == Kind::ForeignStream).then(|| {
            let shutdown = self.shared.shutdown.clone();
            Box::pin(async move { shutdown.drained().await }) as Cut
        })
    }

    #[cold]
    fn refuse(&self, kind: Kind) -> Answering {
        self.shared.load.refused_calls.fetch_add(1, Ordering::Relaxed);
        let max = self.shared.gauge(kind).max as u64;
        let error = match kind {
            Kind::HotCall | Kind::Call => Error::Limit {
                reason: "CALL_LIMIT",
                what: "calls at a time",
                max,
                advice: "send fewer at a time, use a session, or raise the limit",
                retry_after: CALL_RETRY_AFTER,
            },
            Kind::Stream | Kind::ForeignStream => Error::Limit {
                reason: "STREAM_LIMIT",
                what: "streams at a time",
                max,
                advice: "end some, or raise the limit",
                retry_after: STREAM_RETRY_AFTER,
            },
        };
        Answering::known(error.into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.load.connections.leave();
    }
}

/// The place of one call or stream. A call gives its place back when it is answered, a stream when it is over.
struct Ticket {
    connection: Arc<Connection>,
    kind: Kind,
    counted: bool,
}

impl Ticket {
    fn new(connection: Arc<Connection>, kind: Kind) -> Self {
        connection.begun.fetch_add(1, Ordering::Relaxed);
        Self { connection, kind, counted: true }
    }

    fn answered(&mut self) {
        if matches!(self.kind, Kind::HotCall | Kind::Call) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.connection.shared.gauge(self.kind).leave();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
        self.connection.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of a request. A stream that is cut ends here too: who reads it would hold the connection open otherwise.
pub struct RequestBody {
    inner: Incoming,
    cut: Option<Cut>,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if frame.is_pending()
            && let Some(cut) = &mut self.cut
        {
            ready!(cut.as_mut().poll(context));
            self.cut = None;
            return Poll::Ready(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// ---- How answers go back -------------------------------------------------------------------------------------------

/// A request being answered.
pub(super) struct Answering {
    state: State,
    /// Absent where nothing was let in.
    ticket: Option<Ticket>,
    /// Made when the first look finds no answer: nearly every call has one then, and a timer costs.
    timeout: Option<Pin<Box<Sleep>>>,
    /// What a collector is told of it. A stream's ends when its answer begins.
    span: Option<Box<opentelemetry_sdk::trace::Span>>,
}

enum State {
    Called(Call),
    Known(Box<Status>),
}

impl Answering {
    fn known(status: Status) -> Self {
        Self { state: State::Known(Box::new(status)), ticket: None, timeout: None, span: None }
    }

    #[expect(clippy::disallowed_methods, reason = "a peer takes real time, whatever clock the breakers have")]
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(ticket) = &self.ticket else { return Poll::Pending };
        let after = ticket.connection.shared.limits.call_timeout;
        self.timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(after))).as_mut().poll(context)
    }
}

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let response = match &mut this.state {
            State::Known(status) => status.clone().into_http(),
            State::Called(call) => match call.as_mut().poll(context) {
                Poll::Ready(Ok(response)) => response,
                Poll::Pending => {
                    ready!(this.poll_timeout(context));
                    Status::deadline_exceeded("the request's message did not arrive in time").into_http()
                }
            },
        };
        if let Some(span) = this.span.take() {
            tell(*span, response.headers());
        }
        let mut ticket = this.ticket.take();
        if let Some(ticket) = &mut ticket {
            ticket.answered();
        }
        Poll::Ready(Ok(explained(response).map(|inner| AnswerBody::new(inner, ticket))))
    }
}

/// Ends a call's span. An error stands in the headers, as it was known before the answer began.
#[cold]
fn tell(span: opentelemetry_sdk::trace::Span, headers: &HeaderMap) {
    let status = Status::from_header_map(headers);
    let (code, message) = status.as_ref().map_or((0, ""), |status| (status.code() as i64, status.message()));
    otel::end(span, code, message);
}

/// The body of an answer. It holds the place of its stream, and ends the streams that do not know how to.
pub(super) struct AnswerBody {
    inner: Body,
    ticket: Option<Ticket>,
    cut: Option<Cut>,
}

impl AnswerBody {
    fn new(inner: Body, ticket: Option<Ticket>) -> Self {
        let cut = ticket.as_ref().and_then(|ticket| ticket.connection.cut(ticket.kind));
        Self { inner, ticket, cut }
    }

    /// The end of a stream that was cut.
    fn end(&mut self) -> Frame<Bytes> {
        (self.inner, self.cut, self.ticket) = (Body::empty(), None, None);
        let mut trailers = HeaderMap::new();
        // Nothing of ours is unfit for a header.
        let _ = Status::from(Error::Draining).add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First of all, because a stream whose request was cut may end as if all were well.
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end())));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
