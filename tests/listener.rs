//! The listener under everything a network brings: too many connections, silence, garbage, floods, and a drain.
//!
//! Health and reflection are service enough. All is on loopback, with limits small enough to be reached in a moment.

#[path = "hostile/frames.rs"]
#[allow(dead_code, reason = "the attacks use the rest")]
mod frames;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fuseboard::{
    grpc::{Dispatch, Limits, RequestBody, Services, bind, serve, standard_services},
    share::FairShare,
    shutdown::Shutdown,
    store::Health,
};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, body::Body, server::NamedService, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const ACQUIRE: &str = "/fuseboard.v1.BreakerService/Acquire";
/// A call that operators make.
const RESET: &str = "/fuseboard.v1.BreakerService/Reset";
/// Every wait of these tests ends by then.
const PATIENCE: Duration = Duration::from_secs(20);
/// An empty message, as gRPC frames it.
const EMPTY_MESSAGE: Bytes = Bytes::from_static(&[0, 0, 0, 0, 0]);

struct Server {
    address: SocketAddr,
    dispatch: Dispatch,
    shutdown: Shutdown,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        Self::with(Services::new(limits))
    }

    fn with(services: Services) -> Self {
        let shutdown = Shutdown::new();
        let dispatch =
            standard_services(services, &shutdown, watch::channel(Health::Well).1).dispatch(shutdown.clone());
        let socket = bind(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let serving = tokio::spawn(serve(socket, dispatch.clone(), None));
        Self { address, dispatch, shutdown, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn check(&self) -> Result<i32, Status> {
        let mut client = HealthClient::new(self.channel().await);
        Ok(client.check(HealthCheckRequest::default()).await?.into_inner().status)
    }

    async fn calls_are(&self, calls: usize) {
        within(async {
            while self.dispatch.usage().calls != calls {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn stopped(self) {
        within(self.serving).await.unwrap().unwrap();
    }
}

/// A service whose calls are under way until it is told otherwise.
#[derive(Clone)]
struct Held(watch::Receiver<bool>);

impl NamedService for Held {
    const NAME: &'static str = "fuseboard.v1.BreakerService";
}

impl tower::Service<Request<RequestBody>> for Held {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        let mut told = self.0.clone();
        Box::pin(async move {
            _ = told.wait_for(|is_over| *is_over).await;
            Ok(Status::ok("").into_http())
        })
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("takes too long")
}

/// Waits until the peer hangs up; whatever it says before is passed over.
async fn hung_up(stream: &mut TcpStream) {
    let mut buffer = [0; 1_024];
    within(async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} }).await;
}

/// A connection by hand: calls can be held back half way.
struct ByHand {
    requests: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl ByHand {
    async fn connect(server: &Server) -> Self {
        let (requests, connection) = h2::client::handshake(server.connect().await).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// The first half of a call.
    async fn begin(&mut self, path: &str, headers: HeaderMap) -> HalfCall {
        let mut request = Request::post(format!("http://localhost{path}"));
        *request.headers_mut().unwrap() = headers;
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, body) = requests.send_request(request, false).unwrap();
        HalfCall { response, body }
    }
}

struct HalfCall {
    response: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl HalfCall {
    /// The other half, and how it ended.
    async fn finish(mut self) -> Status {
        self.body.send_data(EMPTY_MESSAGE, true).unwrap();
        self.answer().await
    }

    async fn answer(self) -> Status {
        let response = within(self.response).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        if let Some(status) = Status::from_header_map(response.headers()) {
            assert!(response.body().is_end_stream(), "{status:?} is in headers that do not end the stream");
            return status;
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            data.unwrap();
        }
        Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
    let server = Server::start(Limits::default());
    let mut client = HealthClient::new(server.channel().await);
    for service in ["", "grpc.health.v1.Health"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(client.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
    let unknown = client.check(HealthCheckRequest { service: "payments".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_finds_the_details_of_errors() {
    let server = Server::start(Limits::default());
    let mut client = ServerReflectionClient::new(server.channel().await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned())),
        ask(MessageRequest::FileContainingSymbol("fuseboard.v1.BreakerService.Acquire".to_owned())),
    ]);
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = next().await else { panic!("a list was asked for") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    let wanted =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    assert_eq!(names, wanted, "and nothing that is only described");
    for _ in 0..2 {
        assert!(matches!(next().await, MessageResponse::FileDescriptorResponse(_)));
    }
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_at_once() {
    const LIMIT: usize = 5;
    const MORE: usize = 40;
    let server = Server::start(Limits {
        connections: LIMIT,
        fair_share: FairShare::OFF,
        message_timeout: PATIENCE,
        ..Limits::default()
    });
    let mut held = Vec::new();
    for _ in 0..LIMIT {
        let mut one = ByHand::connect(&server).await;
        // One that has nothing to do would give way.
        let call = one.begin(CHECK, HeaderMap::new()).await;
        assert_eq!(one.begin(CHECK, HeaderMap::new()).await.finish().await.code(), Code::Ok);
        held.push((one, call));
    }
    for _ in 0..MORE {
        hung_up(&mut server.connect().await).await;
    }
    let usage = server.dispatch.usage();
    assert_eq!((usage.connections, usage.refused_connections), (LIMIT, MORE as u64));
    for (one, _) in &mut held {
        let call = one.begin(CHECK, HeaderMap::new()).await;
        assert_eq!(call.finish().await.code(), Code::Ok, "what is already there keeps working");
    }
    let (gone, call) = held.pop().unwrap();
    assert_eq!(call.finish().await.code(), Code::Ok);
    drop(gone.requests);
    within(gone.connection).await.unwrap().unwrap();
    within(async { while server.check().await.is_err() {} }).await;
}

#[tokio::test]
async fn whoever_does_not_speak_http2_is_hung_up_on() {
    let server = Server::start(Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() });
    for words in [&b""[..], b"PRI * HTTP/2", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", &[0; 4_096], &[0xff; 70_000]] {
        let mut stream = server.connect().await;
        // The server may hang up before it has heard everything.
        let _ = stream.write_all(words).await;
        hung_up(&mut stream).await;
    }
    let mut nonsense = server.connect().await;
    nonsense.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let _ = nonsense.write_all(&[0xff; 4_096]).await;
    hung_up(&mut nonsense).await;
    assert_eq!(server.check().await.unwrap(), ServingStatus::Serving as i32);
}

#[tokio::test]
async fn a_peer_that_gives_no_sign_of_life_is_let_go() {
    let server = Server::start(Limits {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut alive = ByHand::connect(&server).await;
    let mut dead = server.connect().await;
    // The greeting and empty settings, and then nothing: no answer to a ping either.
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    hung_up(&mut dead).await;
    let call = alive.begin(CHECK, HeaderMap::new()).await;
    assert_eq!(call.finish().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_connection_that_has_nothing_to_do_is_asked_to_go() {
    let server = Server::start(Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut busy = ByHand::connect(&server).await;
    let held = busy.begin(CHECK, HeaderMap::new()).await;
    let idle = ByHand::connect(&server).await;
    within(idle.connection).await.unwrap().unwrap();
    assert_eq!(held.finish().await.code(), Code::Ok, "one with a call under way stays");
}

#[tokio::test]
async fn headers_above_the_limit_are_refused_and_the_connection_goes_on() {
    let server = Server::start(Limits::default());
    let mut client = ByHand::connect(&server).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-large", "x".repeat(20_000).parse().unwrap());
    let call = client.begin(CHECK, headers).await;
    match within(call.response).await {
        Ok(response) => assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_reset(), "{error}"),
    }
    let call = client.begin(CHECK, HeaderMap::new()).await;
    assert_eq!(call.finish().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_no_more() {
    let server = Server::start(Limits { streams_per_connection: 7, ..Limits::default() });
    let mut client = ByHand::connect(&server).await;
    let call = client.begin(CHECK, HeaderMap::new()).await;
    assert_eq!(call.finish().await.code(), Code::Ok);
    assert_eq!(client.requests.current_max_send_streams(), 7);
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let server = Server::start(Limits::default());
    let mut client = ByHand::connect(&server).await;
    for path in ["/grpc.health.v1.Health/Chuck", "/fuseboard.v1.BreakerService/Acquire", "/", "/a", "//", "/a/b/c"] {
        let call = client.begin(path, HeaderMap::new()).await;
        assert_eq!(call.finish().await.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn an_idle_connection_gives_way_to_a_new_one() {
    let limits = Limits { connections: 2, handshake_timeout: Duration::from_millis(400), ..Limits::default() };
    let server = Server::start(limits);
    let mut busy = ByHand::connect(&server).await;
    let mut watcher = HealthClient::new(server.channel().await);
    let mut watch = watcher.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(busy.begin(CHECK, HeaderMap::new()).await.finish().await.code(), Code::Ok);
    // Refused until the listener has seen one of them idle.
    within(async { while server.check().await.is_err() {} }).await;
    within(busy.connection).await.unwrap().unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving, "one that is used stays");
}

#[tokio::test]
async fn calls_above_capacity_are_refused_at_once_and_streams_do_not_count() {
    let (is_over, told) = watch::channel(false);
    let limits = Limits { calls: 4, operator_calls: 2, health_watches: 1, ..Limits::default() };
    let server = Server::with(Services::new(limits).service(Held(told)));
    let mut watcher = HealthClient::new(server.channel().await);
    let _watch = watcher.watch(HealthCheckRequest::default()).await.unwrap();
    let mut client = ByHand::connect(&server).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut call = client.begin(ACQUIRE, HeaderMap::new()).await;
        call.body.send_data(EMPTY_MESSAGE, true).unwrap();
        held.push(call);
    }
    server.calls_are(3).await;
    let refused = client.begin(ACQUIRE, HeaderMap::new()).await.finish().await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.reason, "CALL_LIMIT");
    let of = |name: &str| info.metadata[name].as_str();
    assert_eq!([of("limit"), of("holder"), of("used"), of("share")], ["max_in_flight", "address:127.0.0.1", "3", "3"]);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    let refused = watcher.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "STREAM_LIMIT");
    assert_eq!(server.dispatch.usage().refused_calls, 2);
    // What people and orchestrators need last has places of its own.
    assert_eq!(server.check().await.unwrap(), ServingStatus::Serving as i32);
    let mut operators = client.begin(RESET, HeaderMap::new()).await;
    operators.body.send_data(EMPTY_MESSAGE, true).unwrap();
    server.calls_are(4).await;
    is_over.send(true).unwrap();
    for call in held.into_iter().chain([operators]) {
        assert_eq!(call.answer().await.code(), Code::Ok);
    }
    assert_eq!(client.begin(ACQUIRE, HeaderMap::new()).await.finish().await.code(), Code::Ok, "there is room again");
}

#[tokio::test]
async fn a_call_counts_when_its_message_is_there_and_an_unfinished_one_has_its_time() {
    let (_is_over, told) = watch::channel(true);
    let limits =
        Limits { calls: 1, operator_calls: 0, message_timeout: Duration::from_millis(500), ..Limits::default() };
    let server = Server::with(Services::new(limits).service(Held(told)));
    let mut client = ByHand::connect(&server).await;
    let mut late = Vec::new();
    for path in [ACQUIRE, CHECK, RESET, "/grpc.health.v1.Health/Watch"] {
        let mut call = client.begin(path, HeaderMap::new()).await;
        call.body.send_data(EMPTY_MESSAGE.slice(..3), false).unwrap();
        late.push(call);
    }
    assert_eq!(client.begin(ACQUIRE, HeaderMap::new()).await.finish().await.code(), Code::Ok);
    let usage = server.dispatch.usage();
    assert_eq!((usage.calls, usage.streams, usage.refused_calls), (0, 0, 0));
    for call in late {
        let status = call.answer().await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "MESSAGE_TIMEOUT");
    }
    let unread = server.dispatch.pools().into_iter().find(|pool| pool.limit().name == "unread_bytes").unwrap();
    within(async {
        while unread.used() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn unfinished_messages_of_one_holder_have_their_share_of_the_budget() {
    // Room for two and a half of what each counts, of which three quarters are one holder's.
    let server = Server::start(Limits { unread_bytes: 13 << 10, message_timeout: PATIENCE * 2, ..Limits::default() });
    let mut client = ByHand::connect(&server).await;
    let mut held = [client.begin(CHECK, HeaderMap::new()).await, client.begin(CHECK, HeaderMap::new()).await];
    let refused = client.begin(CHECK, HeaderMap::new()).await.answer().await;
    assert_eq!(refused.get_details_error_info().unwrap().reason, "UNREAD_LIMIT");
    // Of a message what has come counts, too.
    held[0].body.send_data(Bytes::from_static(&[0, 0, 0, 15, 160]), false).unwrap();
    held[0].body.send_data(vec![0; 3_000].into(), false).unwrap();
    let [first, second] = held;
    assert_eq!(first.answer().await.get_details_error_info().unwrap().reason, "UNREAD_LIMIT");
    assert_eq!(second.finish().await.code(), Code::Ok);
}

#[tokio::test]
async fn an_unfinished_message_of_a_stream_has_its_time() {
    let limits = Limits { message_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(limits);
    let mut client = ByHand::connect(&server).await;
    let mut call = client.begin("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", HeaderMap::new()).await;
    // {"listServices": ""}, and the begin of another one.
    call.body.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 0x3a, 0, 0, 0]), false).unwrap();
    let unread = server.dispatch.pools().into_iter().find(|pool| pool.limit().name == "unread_bytes").unwrap();
    within(async {
        while unread.used() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(unread.used(), (4 << 10) + 2, "what has come of it counts");
    let status = call.answer().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.get_details_error_info().unwrap().reason, "MESSAGE_TIMEOUT");
    within(async {
        while unread.used() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reflection_stream_says_what_was_wrong_with_its_messages() {
    let server = Server::start(Limits::default());
    let mut client = ByHand::connect(&server).await;
    let mut begin = async |piece: &'static [u8], is_end: bool| {
        let mut call =
            client.begin("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", HeaderMap::new()).await;
        call.body.send_data(Bytes::from_static(piece), is_end).unwrap();
        call.answer().await
    };
    // Cut off; not of its type; whole.
    for (piece, is_end) in [(&[0, 0, 0, 0, 2, 0x3a][..], true), (&[0, 0, 0, 0, 1, 0xff], false)] {
        let status = begin(piece, is_end).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "MALFORMED_MESSAGE");
    }
    assert_eq!(begin(&[0, 0, 0, 0, 2, 0x3a, 0], true).await.code(), Code::Ok);
}

#[tokio::test]
async fn reflection_streams_take_no_places_of_other_streams() {
    let server = Server::start(Limits { reflections: 4, ..Limits::default() });
    let mut curious = ServerReflectionClient::new(server.channel().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(curious.server_reflection_info(tokio_stream::pending()).await.unwrap());
    }
    let refused = curious.server_reflection_info(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().metadata["limit"], "reflection_streams");
    let mut watcher = HealthClient::new(server.channel().await);
    watcher.watch(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_reset_gives_its_place_back() {
    let (_is_over, told) = watch::channel(false);
    let server = Server::with(Services::new(Limits { calls: 1, ..Limits::default() }).service(Held(told)));
    let mut client = ByHand::connect(&server).await;
    let mut reset = client.begin(ACQUIRE, HeaderMap::new()).await;
    reset.body.send_data(EMPTY_MESSAGE, true).unwrap();
    server.calls_are(1).await;
    drop(reset);
    server.calls_are(0).await;
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_ends_streams() {
    // Nothing may have to wait for the grace to be over.
    let server = Server::start(Limits { drain_grace: PATIENCE * 2, ..Limits::default() });
    let mut client = ByHand::connect(&server).await;
    let held = client.begin(CHECK, HeaderMap::new()).await;
    let mut watcher = HealthClient::new(server.channel().await);
    let mut watch = watcher.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut curious = ServerReflectionClient::new(server.channel().await);
    let mut answers = curious.server_reflection_info(tokio_stream::pending()).await.unwrap().into_inner();
    // The server has seen the held call's headers by now, as it has answered to later ones.
    let _silent = server.connect().await;

    server.shutdown.drain();
    assert_eq!(within(watch.next()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(within(watch.next()).await.is_none(), "a watch that knows of the drain ends");
    let cut = within(answers.next()).await.unwrap().unwrap_err();
    assert_eq!((cut.code(), cut.get_details_error_info().unwrap().reason.as_str()), (Code::Unavailable, "DRAINING"));
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody new is let in");
    assert!(!server.serving.is_finished(), "a call is under way");
    assert_eq!(held.finish().await.code(), Code::Ok);
    server.stopped().await;
}

#[tokio::test]
async fn a_drain_ends_with_its_grace() {
    let server = Server::start(Limits { drain_grace: Duration::from_millis(100), ..Limits::default() });
    let mut client = ByHand::connect(&server).await;
    let held = client.begin(CHECK, HeaderMap::new()).await;
    assert_eq!(client.begin(CHECK, HeaderMap::new()).await.finish().await.code(), Code::Ok);
    server.shutdown.drain();
    server.stopped().await;
    assert!(within(held.response).await.is_err());
}

#[tokio::test]
async fn an_oversized_message_is_refused() {
    let server = Server::start(Limits::default());
    let mut client = HealthClient::new(server.channel().await);
    let error = client.check(HealthCheckRequest { service: "x".repeat(5_000) }).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
}

#[test]
fn several_listeners_share_a_port_but_not_with_another_server() {
    let sockets = bind(([127, 0, 0, 1], 0).into(), 3).unwrap();
    let address = sockets[0].local_addr().unwrap();
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    for listeners in [1, 3] {
        assert!(bind(address, listeners).is_err(), "half of the calls would go to the other server");
    }
}

/// A connection by frames, which has spoken HTTP/2 and been answered.
async fn greeted(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(frames::HELLO).await.unwrap();
    within(stream.read_exact(&mut [0; 9])).await.unwrap();
    stream
}

/// Sends as much as the system takes, before anybody else gets to run.
fn send_at_once(stream: &TcpStream, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while let Ok(taken) = stream.try_write(&bytes[sent..]) {
        sent += taken;
        if sent == bytes.len() {
            break;
        }
    }
    sent
}

/// How many frames of a kind are whole in these bytes.
fn count(mut bytes: &[u8], kind: u8) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(rest) = rest.get(length..) else { break };
        count += usize::from(head[3] == kind);
        bytes = rest;
    }
    count
}

/// A whole health check.
fn check_frames(stream: u32) -> Vec<u8> {
    let headers = frames::frame(frames::HEADERS, frames::END_HEADERS, stream, &frames::call(CHECK));
    [headers, frames::frame(frames::DATA, frames::END_STREAM, stream, &EMPTY_MESSAGE)].concat()
}

/// Has a connection send all this at once, and another one a health check behind it. What the first one has been answered when the
/// other one is.
async fn answered_before_another(bytes: &[u8]) -> Vec<u8> {
    let server = Server::start(Limits::default());
    let (greedy, mut other) = (greeted(&server).await, greeted(&server).await);
    // So that what comes is an answer, and begins with a frame.
    let skipped = async |stream: &TcpStream| {
        stream.readable().await.unwrap();
        while stream.try_read(&mut [0; 1_024]).is_ok() {}
    };
    within(skipped(&greedy)).await;
    within(skipped(&other)).await;
    assert!(send_at_once(&greedy, bytes) >= bytes.len().min(100_000), "the system takes too little at once");
    let check = check_frames(1);
    assert_eq!(send_at_once(&other, &check), check.len());
    let mut answer = Vec::new();
    while count(&answer, frames::HEADERS) == 0 {
        within(other.read_buf(&mut answer)).await.unwrap();
    }
    let (mut answered, mut part) = (Vec::new(), vec![0; 1 << 20]);
    while let Ok(read @ 1..) = greedy.try_read(&mut part) {
        answered.extend(&part[..read]);
    }
    answered
}

#[tokio::test]
async fn a_connection_that_floods_has_turns_and_others_come_between() {
    let pings = frames::frame(frames::PING, 0, 0, &[0; 8]).repeat(10_000);
    let answered = count(&answered_before_another(&pings).await, frames::PING);
    assert!(answered < 2_000, "{answered} of 10,000 PINGs came before a call");
}

#[tokio::test]
async fn a_connection_with_a_thousand_calls_has_turns_and_others_come_between() {
    let calls: Vec<u8> = (0..1_000).flat_map(|number| check_frames(number * 2 + 1)).collect();
    let answered = count(&answered_before_another(&calls).await, frames::HEADERS);
    assert!(answered < 400, "{answered} answers of 2 frames each came before another connection's one");
}
