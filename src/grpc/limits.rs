//! What the transport is bounded by.

use std::time::Duration;

use crate::share::FairShare;

/// Everything of the transport that can grow or last, and how far. It holds for all listeners of a server together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections; one more is closed at once. Default 10,000.
    pub connections: usize,
    /// Calls whose message is there and that are not answered yet, streams left out; one more is refused at once. Default
    /// 10,000.
    pub calls: usize,
    /// Places that operators' calls have for themselves, beside those of all calls. Default 64.
    pub operator_calls: usize,
    /// Streams that live long (sessions, watches), of all connections; one more is refused. Default 20,000.
    pub streams: usize,
    /// Watches of the health service, beside the streams. Default 10,000.
    pub health_watches: usize,
    /// Streams of the reflection service, beside the streams. Default 1,000.
    pub reflections: usize,
    /// Bytes of all messages that have begun and are not there whole, of all connections; each counts 4 KiB beside what has
    /// come of it. Default 128 MiB.
    pub unread_bytes: usize,
    /// Bytes of all answers to calls that are 16 KiB or more and not sent yet, as their clients do not take them. Default
    /// 256 MiB.
    pub unsent_bytes: usize,
    /// How much of each bound one holder may use of what the others leave.
    pub fair_share: FairShare,
    /// Calls and streams of one connection at a time. Default 1,000.
    pub streams_per_connection: u32,
    /// Largest message of a unary call, in bytes. Default 64 KiB.
    pub unary_message_bytes: usize,
    /// Largest message of a session and of requests that bring lists (`ReportBatch`, `Declare`, `WatchEvents`), in
    /// bytes. Default 1 MiB.
    pub batch_message_bytes: usize,
    /// Headers of one request, in bytes. Default 16 KiB.
    pub header_list_bytes: u32,
    /// Bytes of one stream that wait for a slow reader; more is not asked of the stream. Default 64 KiB.
    pub send_buffer_bytes: usize,
    /// Bytes that a peer may send on one stream before they are read. What HTTP/2 holds unread is of streams that nobody reads
    /// from, so all of them hold at most this for each of `streams`. Default 64 KiB.
    pub stream_window_bytes: u32,
    /// Bytes that a peer may send on one connection before they are read. h2 ends a connection whose unread frames, each counted
    /// as 256 bytes at least, take more than half of it, so it has room for a small frame of each of 1,000 streams. Default
    /// 512 KiB.
    pub connection_window_bytes: u32,
    /// Streams that a peer has opened and reset before we saw them; one more ends the connection (rapid reset). Default
    /// 20.
    pub pending_resets: usize,
    /// How long a message may take from its begin until it is there whole, and a call's also from the call's begin. Default
    /// 5 s.
    pub message_timeout: Duration,
    /// How long a call whose message is there may take until its answer begins. Default 30 s.
    pub call_timeout: Duration,
    /// How long a new connection may take until it speaks HTTP/2. Default 10 s.
    pub handshake_timeout: Duration,
    /// A connection without calls for this long, or up to a quarter longer, is ended politely. Default 15 min.
    pub idle_timeout: Duration,
    /// A connection that is silent for so long is asked for a sign of life. Default 30 s.
    pub keepalive_interval: Duration,
    /// How long it may take to give one. Default 20 s.
    pub keepalive_timeout: Duration,
    /// A connection whose client has shown a certificate ends so long after, so that it is shown again. Default 1 h.
    pub certificate_max_age: Duration,
    /// How long a stopping server waits for what is under way. Default 10 s.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            calls: 10_000,
            operator_calls: 64,
            streams: 20_000,
            health_watches: 10_000,
            reflections: 1_000,
            unread_bytes: 128 << 20,
            unsent_bytes: 256 << 20,
            fair_share: FairShare::default(),
            streams_per_connection: 1_000,
            unary_message_bytes: 64 << 10,
            batch_message_bytes: 1 << 20,
            header_list_bytes: 16 << 10,
            send_buffer_bytes: 64 << 10,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 512 << 10,
            pending_resets: 20,
            message_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15 * 60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            certificate_max_age: Duration::from_secs(3600),
            drain_grace: Duration::from_secs(10),
        }
    }
}
