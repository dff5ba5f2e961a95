//! From a socket to requests: accepting connections, bounding them, looking after them and letting them go.
//!
//! A listener belongs to one runtime and one port may have several, so that each core accepts and serves its own
//! connections. Each connection is a task that speaks HTTP/2 and nothing else, over TLS where there is a certificate; anything
//! else that calls is hung up on.
//! Once in a while a listener looks at all its connections: those that have not spoken HTTP/2 in time are closed, and
//! those that have had nothing to do for long are asked to go. When the server drains, the listener closes, every
//! connection is asked to go, and what is under way has the grace to finish.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{self, AbortHandle, JoinSet},
    time::{Interval, MissedTickBehavior},
};
use tonic::transport::server::TcpConnectInfo;

use super::{
    dispatch::{AnswerBody, Answering, Connection, Dispatch},
    gate::Peer,
    limits::Limits,
    turns::{Backlog, Begun, GREEDY_READ, Turns},
};
use crate::{
    share::Refused,
    tls::{self, Alpn, Tls, Wire},
};

/// Connections that the kernel holds for us before they are accepted.
const BACKLOG: i32 = 1_024;
/// How long to wait where the system has no more sockets for us: one that is free again takes a moment.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// A peer that is silent for so long is asked by TCP whether it is there, besides HTTP/2's own keepalive.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Longest time between two looks at the connections.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(5);
/// How long a connection that gives way has to take its leave.
const GIVE_WAY_GRACE: Duration = Duration::from_millis(50);
/// What is refused is told at most this often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// What an HTTP/2 client says first is this long.
const PREFACE_BYTES: usize = 24;

// ---- Listening -----------------------------------------------------------------------------------------------------

/// Sockets that listen on one address, as many as asked for; the kernel spreads connections over them.
///
/// # Errors
/// The address cannot be had; also where another server has it.
pub fn bind(address: SocketAddr, listeners: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if listeners <= 1 {
        return Ok(vec![listen(address, false)?]);
    }
    // A shared port can be shared with another server by mistake, which would then get half of the calls. So first we
    // ask for it as if we wanted it alone.
    drop(listen(address, false)?);
    let first = listen(address, true)?;
    // Port 0 has become a real one.
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..listeners {
        sockets.push(listen(address, true)?);
    }
    Ok(sockets)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server before us may linger for a minute; they must not keep us from starting.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves what comes in at one socket, until the server drains and what was under way has ended or its grace is over.
///
/// # Errors
/// The socket cannot be used.
pub async fn serve(socket: std::net::TcpListener, dispatch: Dispatch, tls: Option<Tls>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let shutdown = dispatch.shutdown().clone();
    let mut drained = pin!(shutdown.drained());
    let mut connections = Connections::new(dispatch, tls);
    // It ends with this.
    let mut turns = JoinSet::new();
    let backlog = connections.backlog.clone();
    turns.spawn(async move { backlog.run().await });
    loop {
        tokio::select! {
            biased;
            () = &mut drained => break,
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            _ = connections.looks.tick() => connections.look_after(),
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.admit(stream, peer);
                    // Accepting costs more than a call, so whoever is there already comes between two that are new.
                    task::yield_now().await;
                }
                Err(error) => after_failed_accept(&error).await,
            },
        }
    }
    drop(socket);
    connections.drain().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the system takes real time, whatever clock the breakers have")]
async fn after_failed_accept(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    // Whoever called has hung up already.
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections for the moment; is the limit of open files too low?");
    tokio::time::sleep(EXHAUSTED_WAIT).await;
}

// ---- Looking after connections -------------------------------------------------------------------------------------

/// The connections of one listener.
struct Connections {
    dispatch: Dispatch,
    tls: Option<Tls>,
    backlog: Backlog,
    tasks: JoinSet<()>,
    clients: HashMap<task::Id, Client>,
    looks: Interval,
    handshake_looks: u32,
    idle_looks: u32,
    /// Present in one listener of the process: what it logs is counted over all of them.
    refusals: Option<Refusals>,
}

/// What a listener knows of one connection.
struct Client {
    connection: Arc<Connection>,
    /// Asks it to go; absent where it was asked.
    end: Option<oneshot::Sender<Ask>>,
    task: AbortHandle,
    /// Looks that have found nothing new.
    quiet: u32,
    /// Calls that the last look has seen.
    seen: u64,
}

impl Connections {
    #[expect(clippy::disallowed_methods, reason = "peers take real time, whatever clock the breakers have")]
    fn new(dispatch: Dispatch, tls: Option<Tls>) -> Self {
        let limits = dispatch.limits();
        // Often enough to be late by a quarter at most.
        let period = limits.handshake_timeout.min(limits.idle_timeout) / 4;
        let period = period.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        let mut looks = tokio::time::interval(period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refusals = dispatch
            .claim_reports()
            .then(|| Refusals { looks_between: ticks(TELL_INTERVAL, period), ..Refusals::default() });
        Self {
            backlog: Backlog::default(),
            tls,
            tasks: JoinSet::new(),
            clients: HashMap::new(),
            looks,
            handshake_looks: ticks(limits.handshake_timeout, period),
            idle_looks: ticks(limits.idle_timeout, period),
            refusals,
            dispatch,
        }
    }

    fn admit(&mut self, stream: TcpStream, remote: SocketAddr) {
        let peer = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(remote) };
        let connection = match self.dispatch.connect(peer.clone()) {
            Ok(connection) => connection,
            Err(refused) => {
                if !self.make_room(&refused) {
                    return;
                }
                let Ok(connection) = self.dispatch.connect(peer) else { return };
                connection
            }
        };
        if let Err(error) = prepare(&stream) {
            // Whoever called has hung up already.
            tracing::debug!(%error, %remote, "a connection cannot be used");
            return;
        }
        let (end, asked) = oneshot::channel();
        let limits = self.dispatch.limits();
        let ends = Ends { max_age: limits.certificate_max_age, grace: limits.drain_grace };
        let begun = Begun::default();
        let http = http(limits, begun.clone());
        let turns = Turns::new(Arc::clone(connection.turn()), begun, self.backlog.clone());
        let task = self.tasks.spawn(run(http, turns, stream, self.tls.clone(), Arc::clone(&connection), asked, ends));
        self.clients.insert(task.id(), Client { connection, end: Some(end), task, quiet: 0, seen: 0 });
    }

    /// Has a connection go that does nothing, in favor of a new one: of the holder that has its share, or of any where there are as
    /// many as there may be. Those that have not spoken HTTP/2 go first, then those that have made no call, then those that have been
    /// idle the longest.
    fn make_room(&mut self, refused: &Refused) -> bool {
        let holder = refused.is_share_used_up().then_some(&refused.holder);
        let could_go = |client: &&mut Client| {
            holder.is_none_or(|holder| client.connection.address() == holder) && client.connection.could_give_way()
        };
        // One that came just now has had no time to ask for anything.
        let idle = self.clients.values_mut().filter(could_go).filter(|client| client.quiet > 0);
        let order = |client: &&mut Client| {
            let connection = &client.connection;
            (!connection.greeted(), connection.begun() == 0, client.quiet)
        };
        let Some(client) = idle.max_by_key(order) else { return false };
        client.connection.give_way();
        if client.connection.greeted() {
            client.ask_to_go(Ask::GiveWay);
        } else {
            client.task.abort();
        }
        true
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a connection has panicked");
                }
                error.id()
            }
        };
        self.clients.remove(&id);
    }

    fn look_after(&mut self) {
        for client in self.clients.values_mut() {
            client.look_after(self.handshake_looks, self.idle_looks);
        }
        if let Some(refusals) = &mut self.refusals {
            refusals.tell(&self.dispatch);
        }
    }

    /// Asks everybody to go, waits, and then closes what is left.
    async fn drain(mut self) {
        for client in self.clients.values_mut() {
            // One that has not spoken yet has nothing under way.
            if client.connection.greeted() { client.ask_to_go(Ask::Finish) } else { client.task.abort() }
        }
        let grace = self.dispatch.limits().drain_grace;
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_gone).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), ?grace, "the grace is over; closing what is left");
            self.tasks.shutdown().await;
        }
    }
}

impl Client {
    fn look_after(&mut self, handshake_looks: u32, idle_looks: u32) {
        let begun = self.connection.begun();
        if self.connection.busy() || begun != self.seen {
            (self.quiet, self.seen) = (0, begun);
            return;
        }
        self.quiet = self.quiet.saturating_add(1);
        if !self.connection.greeted() {
            if self.quiet >= handshake_looks {
                tracing::debug!(peer = ?self.connection.peer().remote_addr, "a connection has not spoken HTTP/2 in time");
                self.task.abort();
            }
        } else if self.quiet >= idle_looks {
            self.ask_to_go(Ask::Finish);
        }
    }

    fn ask_to_go(&mut self, ask: Ask) {
        if let Some(end) = self.end.take() {
            // One that is gone already needs no asking.
            let _ = end.send(ask);
        }
    }
}

/// How a connection is asked to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    /// When what is under way is finished.
    Finish,
    /// At once: nothing is under way, and another one has its place. A peer that says nothing would keep its descriptor until
    /// HTTP/2's keepalive notices.
    GiveWay,
}

/// How many periods make up a time, at least one.
fn ticks(time: Duration, period: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(period.as_nanos().max(1))).unwrap_or(u32::MAX).max(1)
}

/// Tells of what was refused, but not each time: whoever floods us must not flood the log.
#[derive(Default)]
struct Refusals {
    connections: u64,
    calls: u64,
    handshakes: u64,
    denied: u64,
    looks_between: u32,
    looks_left: u32,
}

impl Refusals {
    fn tell(&mut self, dispatch: &Dispatch) {
        self.looks_left = self.looks_left.saturating_sub(1);
        let usage = dispatch.usage();
        let connections = usage.refused_connections - self.connections;
        let calls = usage.refused_calls - self.calls;
        let handshakes = usage.failed_handshakes - self.handshakes;
        let denied = usage.denied - self.denied;
        if self.looks_left > 0 || connections + calls + handshakes + denied == 0 {
            return;
        }
        if connections + calls > 0 {
            tracing::warn!(connections, calls, "refused, because the server has as many as it may");
        }
        if handshakes > 0 {
            tracing::warn!(handshakes, "TLS handshakes have failed; with --log fuseboard=debug each one says why");
        }
        if denied > 0 {
            tracing::warn!(calls = denied, "refused: nobody who is known, or somebody who may not");
        }
        (self.connections, self.denied) = (usage.refused_connections, usage.denied);
        (self.calls, self.handshakes) = (usage.refused_calls, usage.failed_handshakes);
        self.looks_left = self.looks_between;
    }
}

// ---- One connection ------------------------------------------------------------------------------------------------

fn http(limits: &Limits, begun: Begun) -> http2::Builder<Begun> {
    let mut http = http2::Builder::new(begun);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_list_bytes)
        .max_send_buf_size(limits.send_buffer_bytes)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        // No gRPC client reads it.
        .auto_date_header(false);
    http
}

/// Answers are small and waited for, so they are sent at once; a peer that vanished is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))
}

/// How a connection ends whose client's certificate does.
#[derive(Clone, Copy)]
struct Ends {
    max_age: Duration,
    /// What is under way has so long to finish.
    grace: Duration,
}

async fn run(
    http: http2::Builder<Begun>,
    mut turns: Turns,
    stream: TcpStream,
    tls: Option<Tls>,
    connection: Arc<Connection>,
    asked: oneshot::Receiver<Ask>,
    ends: Ends,
) {
    let remote = connection.peer().remote_addr;
    let stream = match tls {
        None => Wire::Left(stream),
        // Whoever takes too long has not spoken HTTP/2 in time, and is closed for it.
        Some(ref tls) => match tls.accept(stream, Alpn::Grpc).await {
            Ok(stream) => {
                let stream = Wire::Right(stream);
                connection.is_of(Peer(tls::names(&stream).into()));
                stream
            }
            Err(error) => {
                connection.handshake_failed();
                tracing::debug!(%error, ?remote, "a TLS handshake has failed");
                return;
            }
        },
    };
    let certificate = tls.zip(tls::shown(&stream));
    let outlived = async {
        match &certificate {
            Some((tls, shown)) => tls.outlived(shown, ends.max_age).await,
            None => std::future::pending().await,
        }
    };
    let stream = Greeting { stream, missing: PREFACE_BYTES, connection: Arc::clone(&connection) };
    let mut http = pin!(http.serve_connection(TokioIo::new(stream), Requests(connection)));
    let result = tokio::select! {
        biased;
        result = turns.drive(http.as_mut()) => result,
        ask = asked => {
            http.as_mut().graceful_shutdown();
            match ask {
                // It is told so before it is closed, as far as it reads.
                Ok(Ask::GiveWay) => match tokio::time::timeout(GIVE_WAY_GRACE, turns.drive(http)).await {
                    Ok(result) => result,
                    Err(_) => return,
                },
                _ => turns.drive(http).await,
            }
        }
        why = outlived => {
            tracing::debug!(why, ?remote, "a connection ends");
            http.as_mut().graceful_shutdown();
            match tokio::time::timeout(ends.grace, turns.drive(http)).await {
                Ok(result) => result,
                // Its streams, which go on elsewhere.
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        // A peer that is not one of ours, or that has gone without a word: no matter of the server's.
        tracing::debug!(%error, ?remote, "a connection has broken");
    }
}

/// The requests of one connection.
struct Requests(Arc<Connection>);

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.0.answer(request)
    }
}

/// A socket that notes when its peer has said enough to have spoken HTTP/2, and is not read from when its connection's turn is over.
struct Greeting {
    stream: Wire,
    missing: usize,
    connection: Arc<Connection>,
}

impl AsyncRead for Greeting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, missing, connection } = &mut *self;
        let turn = connection.turn();
        if turn.has_read() {
            // It goes on with the next turn.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = if turn.is_greedy() {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(buffer.remaining().min(GREEDY_READ)));
            let polled = Pin::new(stream).poll_read(context, &mut part);
            let read = part.filled().len();
            buffer.advance(read);
            polled
        } else {
            Pin::new(stream).poll_read(context, buffer)
        };
        let read = buffer.filled().len() - before;
        turn.read(read);
        if *missing > 0 {
            *missing = missing.saturating_sub(read);
            if *missing == 0 {
                connection.greet();
            }
        }
        polled
    }
}

impl AsyncWrite for Greeting {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grpc::Services, shutdown::Shutdown};

    #[tokio::test]
    async fn one_listener_of_a_process_logs_what_all_of_them_have_refused() {
        let dispatch = Services::new(Limits::default()).dispatch(Shutdown::new());
        let listeners = [(); 3].map(|()| Connections::new(dispatch.clone(), None));
        let logging = listeners.iter().filter(|listener| listener.refusals.is_some()).count();
        assert_eq!(logging, 1);
    }
}
