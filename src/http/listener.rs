//! From a socket to requests: accepting connections, bounding them and cutting those that do not keep up.
//!
//! HTTP/1.1, on one thread of its own, so that whoever looks never delays those who call.
//!
//! Where there are as many connections as there may be, or a holder has its share of them, the one that has been idle the longest
//! gives way to a new one: whoever holds connections without using them keeps nobody out.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::{self, AbortHandle, JoinSet},
    time::{Instant, Sleep},
};
use tower::ServiceExt as _;

use super::limits::Limits;
use crate::{
    grpc::Peer,
    share::{Holder, Pool, Use},
    shutdown::Shutdown,
    tls::{self, Alpn, Tls, Wire},
};

/// How long to wait where the system has no more sockets for us.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Serves what comes in at a socket until it is told to stop.
pub(super) async fn serve(
    socket: std::net::TcpListener,
    router: Router,
    limits: &Limits,
    places: Arc<Pool>,
    tls: Option<Tls>,
    stop: &Shutdown,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let http = http(limits);
    let mut stopped = pin!(stop.drained());
    let mut connections = JoinSet::new();
    let mut standings = Standings { places, clock: Arc::default(), all: HashMap::new() };
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            Some(ended) = connections.join_next_with_id() => standings.forget(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, remote)) => {
                    let Some(standing) = standings.admit(remote) else {
                        tracing::debug!(%remote, "a connection of the HTTP port is refused: there are as many as there may be");
                        continue;
                    };
                    let held = Arc::clone(&standing);
                    let (http, router, limits, tls) = (http.clone(), router.clone(), limits.clone(), tls.clone());
                    let stop = stop.clone();
                    let task = connections.spawn(async move {
                        if let Some(stream) = shake_hands(stream, tls.as_ref(), limits.header_timeout, remote).await {
                            run(http, stream, router, &limits, tls, &standing, stop).await;
                        }
                        standing.give_back();
                    });
                    standings.all.insert(task.id(), (task, held));
                }
                Err(error) => after_failed_accept(&error).await,
            },
        }
    }
    drop(socket);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_grace, all_gone).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes);
    http
}

/// The connection, with TLS where there is a certificate; `None` where it came to nothing in time.
async fn shake_hands(stream: TcpStream, tls: Option<&Tls>, patience: Duration, remote: SocketAddr) -> Option<Wire> {
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return Some(Wire::Left(stream)) };
    match tokio::time::timeout(patience, tls.accept(stream, Alpn::Http)).await {
        Ok(Ok(stream)) => Some(Wire::Right(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, %remote, "a TLS handshake of the HTTP port has failed");
            None
        }
        Err(_) => None,
    }
}

async fn run(
    http: http1::Builder,
    stream: Wire,
    router: Router,
    limits: &Limits,
    tls: Option<Tls>,
    standing: &Arc<Standing>,
    stop: Shutdown,
) {
    let standing = Arc::clone(standing);
    let peer = Peer(tls::names(&stream).into());
    let router = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(standing.address.clone());
        request.extensions_mut().insert(Arc::clone(&standing));
        request
    });
    let certificate = tls.zip(tls::shown(&stream));
    let outlived = async {
        match &certificate {
            Some((tls, shown)) => tls.outlived(shown, limits.certificate_max_age).await,
            None => std::future::pending().await,
        }
    };
    let stream = TokioIo::new(Impatient { stream, write_timeout: limits.write_timeout, stalled: None });
    let mut connection = pin!(http.serve_connection(stream, TowerToHyperService::new(router)));
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = stop.drained() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        why = outlived => {
            tracing::debug!(why, "a connection of the HTTP port ends");
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.stop_grace, connection).await {
                Ok(result) => result,
                // Its stream of events, which goes on elsewhere.
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        // A peer that is too slow, or that has gone without a word: no matter of the server's.
        tracing::debug!(%error, "a connection of the HTTP port has broken");
    }
}

/// The connections of the port.
struct Standings {
    places: Arc<Pool>,
    /// Counts requests: the order in which connections became idle.
    clock: Arc<AtomicU64>,
    all: HashMap<task::Id, (AbortHandle, Arc<Standing>)>,
}

impl Standings {
    /// A place for a new connection, if need be that of one that has been idle for long.
    fn admit(&self, remote: SocketAddr) -> Option<Arc<Standing>> {
        let address = Holder::address(remote.ip());
        let place = match self.places.take(&address, 1) {
            Ok(place) => place,
            Err(refused) => {
                // Its own connections where it has its share, else those of whoever has the most.
                let of = if refused.is_share_used_up() { address.clone() } else { self.places.biggest(1).pop()?.0 };
                let idle = self.all.values().filter(|(_, standing)| standing.address == of && standing.is_idle());
                let (task, standing) = idle.min_by_key(|(_, standing)| standing.idle_since.load(Ordering::Relaxed))?;
                standing.give_back();
                task.abort();
                self.places.take(&address, 1).ok()?
            }
        };
        let idle_since = self.clock.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Standing {
            address,
            place: Mutex::new(Some(place)),
            clock: Arc::clone(&self.clock),
            working: AtomicU32::new(0),
            idle_since: AtomicU64::new(idle_since),
        }))
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a connection of the HTTP port has panicked");
                }
                error.id()
            }
        };
        if let Some((_, standing)) = self.all.remove(&id) {
            standing.give_back();
        }
    }
}

/// How a connection stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// Who uses what it takes, unless its requests have an identity.
    address: Holder,
    place: Mutex<Option<Use>>,
    clock: Arc<AtomicU64>,
    /// Requests that are whole and not answered and sent.
    working: AtomicU32,
    /// When it became idle, by the clock of requests.
    idle_since: AtomicU64,
}

impl Standing {
    fn is_idle(&self) -> bool {
        self.working.load(Ordering::Relaxed) == 0 && self.place.lock().is_some()
    }

    fn give_back(&self) {
        self.place.lock().take();
    }

    /// Keeps its place as long as a request is under way.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.working.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request of a connection that is under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Standing>);

impl Drop for Busy {
    fn drop(&mut self) {
        let Standing { clock, working, idle_since, .. } = &*self.0;
        idle_since.store(clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        working.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the system takes real time, whatever clock the breakers have")]
async fn after_failed_accept(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "the HTTP port cannot accept connections for the moment");
    tokio::time::sleep(EXHAUSTED_WAIT).await;
}

/// A socket that gives up on a peer that takes nothing of what waits for it.
struct Impatient {
    stream: Wire,
    write_timeout: Duration,
    /// When patience ends; absent while the peer reads.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    #[expect(clippy::disallowed_methods, reason = "peers take real time, whatever clock the breakers have")]
    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let until = Instant::now() + self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.watch(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch(context, polled)
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
