//! From a request's path to the service that answers it, and how much is let in.
//!
//! tonic's own router goes through axum and costs a tenth of a call or more, so the path is looked up here, in a short
//! list with the hottest methods first, and the generated server is called as it is. A method is either a *call*, which is answered soon, or
//! a *stream*, which lives long; both are bounded for the server as a whole, apart from each other and shared between holders
//! ([`crate::share`]), and what is above the bound is refused at once: a queue would only make everybody late.
//!
//! A request of one message is read before its service is called, and takes its place when the message is there: until then
//! it uses bytes of a budget for unfinished messages, and has little time. So a peer that never ends its messages takes no
//! places of calls. Health checks are answered without waiting and take no place, operators' calls have places of their own.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body, server::NamedService, transport::server::TcpConnectInfo};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use super::{
    gate::{Gate, Peer},
    limits::Limits,
    pb::{
        admin_service_server::{AdminService, AdminServiceServer},
        breaker_service_server::{BreakerService, BreakerServiceServer},
    },
    status::{DOMAIN, explained, of_transport},
    turns::Turn,
};
use crate::{
    access::{self, Grant, Need},
    engine::Error,
    limit, otel,
    share::{Holder, Pool, Refused, Use},
    shutdown::Shutdown,
};

/// What an unfinished message counts beside its bytes: its headers, and what keeps track of it.
const UNFINISHED_BYTES: u64 = 4 << 10;
/// The length of a message stands before it, after one byte of flags.
const PREFIX_BYTES: usize = 5;

/// An answer of so many bytes counts until it is sent: a client that takes no answers gives its places back all the same.
const UNSENT_BYTES: usize = 16 << 10;

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
        self.methods(&["Acquire", "Report"], Kind::HotCall, small, server(small))
            .methods(&["Session"], Kind::Stream, large, server(large))
            .methods(&["WatchEvents"], Kind::Watch, large, server(large))
            .methods(&["ReportBatch", "Declare"], Kind::Call, large, server(large))
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
        let bytes = self.limits.unary_message_bytes;
        self.methods(&[], Kind::Call, bytes, service)
    }

    /// Adds some methods of a service, and how large their messages may be; an empty list is all that were not added before.
    #[must_use]
    pub(super) fn methods<S: Handler + NamedService>(
        mut self,
        methods: &'static [&'static str],
        kind: Kind,
        bytes: usize,
        service: S,
    ) -> Self {
        if !self.names.contains(&S::NAME) {
            self.names.push(S::NAME);
        }
        self.routes.push(Route { service: S::NAME, methods, kind, bytes, handler: Box::new(service) });
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
            pools: Pools::new(&self.limits),
            refused_calls: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            is_reported: AtomicBool::new(false),
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
    /// Answered at once, without waiting for anything, and needed by orchestrators: it takes no place.
    Check,
    /// Sends messages and gets some, lives long, and ends by itself when the server drains.
    Stream,
    /// As a stream, of one request.
    Watch,
    /// A watch of the health service.
    HealthWatch,
    /// Lives long and knows nothing of draining: it is cut.
    ForeignStream,
}

impl Kind {
    /// Whether a request has one message, which is read before the service is called.
    const fn has_one_message(self) -> bool {
        !matches!(self, Self::Stream | Self::ForeignStream)
    }

    /// Whether it is over when it is answered.
    const fn is_call(self) -> bool {
        matches!(self, Self::HotCall | Self::Call | Self::Check)
    }
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
    /// Largest message.
    bytes: usize,
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
    pools: Pools,
    refused_calls: AtomicU64,
    failed_handshakes: AtomicU64,
    denied: AtomicU64,
    /// A listener logs it, for all of them.
    is_reported: AtomicBool,
}

/// What is bounded, and shared between holders.
#[derive(Debug)]
struct Pools {
    connections: Arc<Pool>,
    calls: Arc<Pool>,
    operator_calls: Arc<Pool>,
    streams: Arc<Pool>,
    health_watches: Arc<Pool>,
    reflections: Arc<Pool>,
    unread: Arc<Pool>,
    unsent: Arc<Pool>,
}

impl Pools {
    fn new(limits: &Limits) -> Self {
        let pool = |limit, max: usize| Arc::new(Pool::new(limit, max as u64, limits.fair_share));
        Self {
            connections: pool(limit::CONNECTIONS, limits.connections),
            calls: pool(limit::CALLS, limits.calls),
            operator_calls: pool(limit::OPERATOR_CALLS, limits.operator_calls),
            streams: pool(limit::STREAMS, limits.streams),
            health_watches: pool(limit::HEALTH_WATCHES, limits.health_watches),
            reflections: pool(limit::REFLECTION_STREAMS, limits.reflections),
            unread: pool(limit::UNREAD_BYTES, limits.unread_bytes),
            unsent: pool(limit::UNSENT_BYTES, limits.unsent_bytes),
        }
    }

    fn all(&self) -> [&Arc<Pool>; 8] {
        let Self { connections, calls, operator_calls, streams, health_watches, reflections, unread, unsent } = self;
        [connections, calls, operator_calls, streams, health_watches, reflections, unread, unsent]
    }

    fn of(&self, place: Place) -> &Pool {
        match place {
            Place::Call => &self.calls,
            Place::OperatorCall => &self.operator_calls,
            Place::Stream => &self.streams,
            Place::HealthWatch => &self.health_watches,
            Place::Reflection => &self.reflections,
        }
    }
}

/// What a call or stream takes one of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Call,
    OperatorCall,
    Stream,
    HealthWatch,
    Reflection,
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
    /// Whether the caller is the one that logs the usage: true once in the life of the process.
    pub(super) fn claim_reports(&self) -> bool {
        !self.shared.load.is_reported.swap(true, Ordering::Relaxed)
    }

    /// How much there is to do.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let load = &self.shared.load;
        Usage {
            connections: load.pools.connections.used() as usize,
            calls: (load.pools.calls.used() + load.pools.operator_calls.used()) as usize,
            streams: [&load.pools.streams, &load.pools.health_watches, &load.pools.reflections]
                .map(|pool| pool.used() as usize)
                .iter()
                .sum(),
            refused_connections: load.pools.connections.refused(),
            refused_calls: load.refused_calls.load(Ordering::Relaxed),
            failed_handshakes: load.failed_handshakes.load(Ordering::Relaxed),
            denied: load.denied.load(Ordering::Relaxed),
        }
    }

    /// What is bounded and shared, and who uses how much of it.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.shared.load.pools.all().map(Arc::clone).into()
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
    pub(super) fn connect(&self, peer: TcpConnectInfo) -> Result<Arc<Connection>, Box<Refused>> {
        let address = peer.remote_addr().map_or_else(Holder::server, |remote| Holder::address(remote.ip()));
        let place = self.shared.load.pools.connections.take(&address, 1)?;
        Ok(Arc::new(Connection {
            shared: Arc::clone(&self.shared),
            place: Mutex::new(Some(place)),
            address,
            peer,
            names: OnceLock::new(),
            greeted: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            turn: Arc::default(),
        }))
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").field("load", &self.shared.load).finish_non_exhaustive()
    }
}

impl Shared {
    fn find(&self, path: &str) -> Option<(usize, &Route)> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let takes = |(_, route): &(usize, &Route)| {
            route.service == service && (route.methods.is_empty() || route.methods.contains(&method))
        };
        self.routes.iter().enumerate().find(takes)
    }
}

/// One connection: its requests come in here.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Given back when it ends, or when it gives way to another one.
    place: Mutex<Option<Use>>,
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
    /// What is left of its turn on its serving thread.
    turn: Arc<Turn>,
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

    /// What is left of its turn.
    pub(super) const fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    pub(super) fn peer(&self) -> &TcpConnectInfo {
        &self.peer
    }

    /// Who uses its place.
    pub(super) const fn address(&self) -> &Holder {
        &self.address
    }

    /// Whether it could give way to another one: nothing is under way, and it has not done so before.
    pub(super) fn could_give_way(&self) -> bool {
        !self.busy() && self.place.lock().is_some()
    }

    /// Gives its place to another one, before it has ended.
    pub(super) fn give_way(&self) {
        self.place.lock().take();
    }

    /// Begins to answer a request.
    pub(super) fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answering {
        let Some((route_index, route)) = self.shared.find(request.uri().path()) else {
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
        if route.kind != Kind::HotCall {
            request.extensions_mut().insert(self.peer.clone());
        }
        request.extensions_mut().insert(holder.clone());
        let mut ticket = Ticket::new(Arc::clone(self), route.kind, holder);
        let mut intake = None;
        let state = if route.kind.has_one_message() {
            State::Reading(Reading::new(route_index, request))
        } else if let Err(error) = ticket.enter(request.uri().path(), request.extensions()) {
            return Answering::known(error.into());
        } else {
            let cut = self.cut(route.kind);
            let arriving = Arriving::new(Arc::clone(self), ticket.holder.clone());
            intake = (route.kind == Kind::ForeignStream).then(Arc::default);
            let (framing, intake) = (Framing::default(), intake.clone());
            let messages = |inner| RequestBody(Content::Stream(Messages { inner, cut, arriving, framing, intake }));
            State::Called(route.handler.call(request.map(messages)))
        };
        Answering { state, ticket: Some(ticket), timeout: None, span, intake }
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
}

/// The place of one call or stream. A call gives its place back when it is answered, a stream when it is over.
struct Ticket {
    connection: Arc<Connection>,
    kind: Kind,
    holder: Holder,
    place: Option<Place>,
}

impl Ticket {
    fn new(connection: Arc<Connection>, kind: Kind, holder: Holder) -> Self {
        connection.begun.fetch_add(1, Ordering::Relaxed);
        Self { connection, kind, holder, place: None }
    }

    /// Takes a place for a request that can be answered now.
    fn enter(&mut self, path: &str, extensions: &Extensions) -> Result<(), Error> {
        let pools = &self.connection.shared.load.pools;
        let place = match self.kind {
            Kind::Check => return Ok(()),
            Kind::HotCall => Place::Call,
            Kind::Call if is_operators(path) && pools.operator_calls.add(&self.holder, 1).is_ok() => {
                self.place = Some(Place::OperatorCall);
                return Ok(());
            }
            Kind::Call => Place::Call,
            Kind::Stream | Kind::Watch => Place::Stream,
            Kind::HealthWatch => Place::HealthWatch,
            Kind::ForeignStream => Place::Reflection,
        };
        let pool = pools.of(place);
        match pool.add(&self.holder, 1) {
            Ok(()) => self.place = Some(place),
            Err(refused) => return Err(self.refuse(refused, pool, extensions)),
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self, refused: Box<Refused>, pool: &Pool, extensions: &Extensions) -> Error {
        let shared = &self.connection.shared;
        shared.load.refused_calls.fetch_add(1, Ordering::Relaxed);
        // Where nobody is asked who they are, everybody may see everything; it is not looked for at each refusal of a flood.
        let sees_others = extensions.get::<Grant>().is_some_and(Grant::sees_others);
        if sees_others { refused.telling(pool).into() } else { refused.into() }
    }

    fn answered(&mut self) {
        if self.kind.is_call() {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.connection.shared.load.pools.of(place).remove(&self.holder, 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
        self.connection.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether a call is one of those that operators make, and need most where everything else is used up.
fn is_operators(path: &str) -> bool {
    matches!(access::need(path.trim_start_matches('/')), Need::Read | Need::Operate | Need::Admin)
}

// ---- How messages arrive -------------------------------------------------------------------------------------------

/// A message on its way: what has come of it counts in the budget of unfinished messages, and it has a deadline.
struct Arriving {
    connection: Arc<Connection>,
    holder: Holder,
    /// Absent while no message is unfinished: nearly all come whole.
    late: Option<(Use, Pin<Box<Sleep>>)>,
}

impl Arriving {
    const fn new(connection: Arc<Connection>, holder: Holder) -> Self {
        Self { connection, holder, late: None }
    }

    /// Waits for more of a message of which there are so many bytes.
    #[expect(clippy::disallowed_methods, reason = "a peer takes real time, whatever clock the breakers have")]
    fn poll_late(&mut self, bytes: usize, context: &mut Context<'_>) -> Poll<Status> {
        let shared = &self.connection.shared;
        let wanted = UNFINISHED_BYTES + bytes as u64;
        let taken = match &mut self.late {
            Some((used, _)) => used.resize(wanted),
            None => shared.load.pools.unread.take(&self.holder, wanted).map(|used| {
                let sleep = tokio::time::sleep(shared.limits.message_timeout);
                self.late = Some((used, Box::pin(sleep)));
            }),
        };
        if let Err(refused) = taken {
            shared.load.refused_calls.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Error::from(refused).into());
        }
        let Some((_, deadline)) = &mut self.late else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(late(shared.limits.message_timeout))
    }

    /// The message is there.
    fn arrived(&mut self) {
        self.late = None;
    }
}

#[cold]
fn late(timeout: Duration) -> Status {
    let details = ErrorDetails::with_error_info("MESSAGE_TIMEOUT", DOMAIN, HashMap::new());
    let message = format!("the request's message was not there whole within {timeout:?}: send it at once");
    Status::with_error_details(tonic::Code::DeadlineExceeded, message, details)
}

/// A request of one message that is being read.
struct Reading {
    route: usize,
    /// Absent when it was read.
    request: Option<Request<Incoming>>,
    arriving: Option<Arriving>,
    /// What has come of the message: nearly always one piece.
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Reading {
    const fn new(route: usize, request: Request<Incoming>) -> Self {
        Self { route, request: Some(request), arriving: None, pieces: VecDeque::new(), bytes: 0 }
    }

    /// The request, when its message is there, or as much of it as shows that it is too large.
    fn poll(&mut self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Request<RequestBody>, Status>> {
        let shared = &ticket.connection.shared;
        let Some(request) = &mut self.request else { return Poll::Pending };
        let body = request.body_mut();
        while !body.is_end_stream() && !is_too_large(&self.pieces, self.bytes, shared.routes[self.route].bytes) {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data()
                        && !piece.is_empty()
                    {
                        self.bytes += piece.len();
                        self.pieces.push_back(piece);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Status::from_error(error.into()))),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    let new = || Arriving::new(Arc::clone(&ticket.connection), ticket.holder.clone());
                    return self.arriving.get_or_insert_with(new).poll_late(self.bytes, context).map(Err);
                }
            }
        }
        self.arriving = None;
        let pieces = std::mem::take(&mut self.pieces);
        Poll::Ready(self.request.take().map_or_else(
            || Err(Status::cancelled("the request was read already")),
            |request| Ok(request.map(|_| RequestBody(Content::Whole(pieces)))),
        ))
    }
}

/// Whether a message says that it is larger than it may be, or is. Its service refuses it then, and says so.
fn is_too_large(pieces: &VecDeque<Bytes>, bytes: usize, max: usize) -> bool {
    let said = pieces.front().and_then(|first| first.get(1..PREFIX_BYTES)).and_then(|said| said.try_into().ok());
    bytes > max + PREFIX_BYTES || said.is_some_and(|said| u32::from_be_bytes(said) as usize > max)
}

/// The body of a request.
pub struct RequestBody(Content);

enum Content {
    /// One message that is there.
    Whole(VecDeque<Bytes>),
    Stream(Messages),
}

/// The messages of a stream, one after the other. One that is cut ends here too: who reads it would hold the connection open
/// otherwise.
struct Messages {
    inner: Incoming,
    cut: Option<Cut>,
    arriving: Arriving,
    framing: Framing,
    /// Absent where the service answers a failure of its requests with that failure.
    intake: Option<Arc<Mutex<Intake>>>,
}

/// How the requests of a stream have ended. The reflection service takes a request that fails (late, over a bound, cut off,
/// not of its type) for the end of them all and ends as if all were well; its answer is corrected by this.
#[derive(Debug, Default)]
enum Intake {
    #[default]
    Open,
    Ended,
    Failed(Status),
}

impl Intake {
    /// The status of an answer that has ended without one of its own, unless all was well.
    fn failure(&self) -> Option<Status> {
        match self {
            Self::Ended => None,
            Self::Failed(status) => Some(status.clone()),
            // The service has given up on a request that was there whole.
            Self::Open => Some(of_transport(Status::internal("it does not decode"))),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut self.get_mut().0 {
            Content::Whole(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            Content::Stream(messages) => messages.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole(pieces) => pieces.is_empty(),
            Content::Stream(messages) => messages.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Content::Stream(messages) => messages.inner.size_hint(),
        }
    }
}

impl Messages {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = self.poll_next(context);
        if let Some(intake) = &self.intake {
            match &polled {
                Poll::Ready(Some(Err(status))) => *intake.lock() = Intake::Failed(status.clone()),
                Poll::Ready(None) if self.framing.unfinished() > 0 && self.cut.is_some() => {
                    *intake.lock() = Intake::Failed(of_transport(Status::internal("it is cut off")));
                }
                Poll::Ready(None) => *intake.lock() = Intake::Ended,
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
        }
        polled
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    self.framing.take(piece);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if let Some(cut) = &mut self.cut
                    && cut.as_mut().poll(context).is_ready()
                {
                    self.cut = None;
                    return Poll::Ready(None);
                }
                match self.framing.unfinished() {
                    0 => self.arriving.arrived(),
                    bytes => return self.arriving.poll_late(bytes, context).map(|status| Some(Err(status))),
                }
                Poll::Pending
            }
        }
    }
}

/// Where in a stream of messages the last piece ended.
#[derive(Default)]
struct Framing {
    /// Bytes of the prefix that have come.
    prefix: usize,
    /// The length that it says, as far as it has come.
    length: u32,
    /// Bytes of the message that have come.
    body: usize,
}

impl Framing {
    fn take(&mut self, mut piece: &[u8]) {
        while let Some((first, rest)) = piece.split_first() {
            if self.prefix < PREFIX_BYTES {
                // The first byte holds flags.
                self.length = if self.prefix == 0 { 0 } else { self.length << 8 | u32::from(*first) };
                self.prefix += 1;
                piece = rest;
            } else {
                let taken = piece.len().min(self.length as usize - self.body);
                self.body += taken;
                piece = &piece[taken..];
            }
            if self.prefix == PREFIX_BYTES && self.body == self.length as usize {
                *self = Self::default();
            }
        }
    }

    /// Bytes of a message that has begun and is not whole.
    const fn unfinished(&self) -> usize {
        self.prefix + self.body
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
    /// How its requests end, where the service does not say so.
    intake: Option<Arc<Mutex<Intake>>>,
}

#[expect(clippy::large_enum_variant, reason = "every call is read first, and a box costs")]
enum State {
    Reading(Reading),
    Called(Call),
    Known(Box<Status>),
}

impl Answering {
    fn known(status: Status) -> Self {
        Self { state: State::Known(Box::new(status)), ticket: None, timeout: None, span: None, intake: None }
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
        if let (State::Reading(reading), Some(ticket)) = (&mut this.state, &mut this.ticket) {
            let route = reading.route;
            this.state = match ready!(reading.poll(ticket, context)).and_then(|request| {
                ticket.enter(request.uri().path(), request.extensions())?;
                Ok(request)
            }) {
                Ok(request) => State::Called(ticket.connection.shared.routes[route].handler.call(request)),
                Err(status) => State::Known(Box::new(status)),
            };
        }
        let response = match &mut this.state {
            State::Known(status) => status.clone().into_http(),
            State::Called(call) => match call.as_mut().poll(context) {
                Poll::Ready(Ok(response)) => response,
                Poll::Pending => {
                    ready!(this.poll_timeout(context));
                    Status::deadline_exceeded("the answer took too long").into_http()
                }
            },
            // Without a ticket nothing is read.
            State::Reading(_) => return Poll::Pending,
        };
        if let Some(span) = this.span.take() {
            tell(*span, response.headers());
        }
        let mut ticket = this.ticket.take();
        if let Some(ticket) = &mut ticket {
            ticket.answered();
        }
        let takes_all = ticket.as_ref().is_some_and(|ticket| ticket.kind == Kind::Call);
        let mut response = explained(response).map(|inner| AnswerBody::new(inner, ticket, this.intake.take()));
        if takes_all {
            response.body_mut().take_from_service(context);
        }
        Poll::Ready(Ok(response))
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
    intake: Option<Arc<Mutex<Intake>>>,
    /// What the service has given already, as the next thing to send.
    taken: Option<Result<Frame<Bytes>, Status>>,
}

/// A part of an answer, counted until its last byte is sent.
struct Unsent {
    bytes: Bytes,
    _use: Use,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AnswerBody {
    /// Takes the answer of a call from its service at once, so that it is counted also where its client takes nothing.
    fn take_from_service(&mut self, context: &mut Context<'_>) {
        // An error has no body: its status is in the headers, which have to end the stream. Clients other than tonic's insist on that.
        if self.inner.is_end_stream() {
            return;
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(first)) => self.taken = Some(first.map(|frame| self.counted(frame))),
            Poll::Ready(None) => self.inner = Body::empty(),
            Poll::Pending => {}
        }
    }

    fn counted(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let (Some(ticket), Some(bytes)) = (&self.ticket, frame.data_ref()) else { return frame };
        if bytes.len() < UNSENT_BYTES {
            return frame;
        }
        let load = &ticket.connection.shared.load;
        match load.pools.unsent.take(&ticket.holder, bytes.len() as u64) {
            Ok(used) => frame.map_data(|bytes| Bytes::from_owner(Unsent { bytes, _use: used })),
            Err(refused) => {
                load.refused_calls.fetch_add(1, Ordering::Relaxed);
                self.inner = Body::empty();
                trailers(Error::from(refused).into())
            }
        }
    }

    fn new(inner: Body, ticket: Option<Ticket>, intake: Option<Arc<Mutex<Intake>>>) -> Self {
        let cut = ticket.as_ref().and_then(|ticket| ticket.connection.cut(ticket.kind));
        Self { inner, ticket, cut, intake, taken: None }
    }

    /// The last frame of an answer that the service has ended as if all were well, where its requests have failed.
    #[cold]
    fn corrected(&self, last: Frame<Bytes>) -> Frame<Bytes> {
        let is_ok = last.trailers_ref().and_then(Status::from_header_map).is_some_and(|said| said.code() == Code::Ok);
        let failure = self.intake.as_ref().filter(|_| is_ok).and_then(|intake| intake.lock().failure());
        failure.map_or(last, trailers)
    }

    /// The end of a stream that was cut.
    fn end(&mut self) -> Frame<Bytes> {
        (self.inner, self.cut, self.ticket) = (Body::empty(), None, None);
        trailers(Error::Draining.into())
    }
}

fn trailers(status: Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // Nothing of ours is unfit for a header.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
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
        if let Some(taken) = self.taken.take() {
            return Poll::Ready(Some(taken));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) if self.intake.is_some() && frame.is_trailers() => {
                Poll::Ready(Some(Ok(self.corrected(frame))))
            }
            polled => Poll::Ready(polled),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.taken.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}
