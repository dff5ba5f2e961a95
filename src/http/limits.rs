//! What the HTTP port is bounded by.

use std::time::Duration;

use crate::share::FairShare;

/// Everything of the HTTP port that can grow or last, and how far.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections; for one more, the one that has been idle the longest gives way, or it is closed at once. Default 1,000.
    pub connections: usize,
    /// Requests whose body is there and that are not answered and sent yet, streams and probes left out; one more is refused
    /// at once. Default 256.
    pub requests: usize,
    /// Places that operators' requests have for themselves, beside those of all requests. Default 32.
    pub operator_requests: usize,
    /// Event streams; one more is refused. Default 500.
    pub streams: usize,
    /// How much of each bound one holder may use of what the others leave.
    pub fair_share: FairShare,
    /// Breakers with metrics of their own. Default 1,000.
    pub metrics_breakers: u32,
    /// Request line and headers of a request, in bytes; not below 8 KiB. Default 16 KiB.
    pub header_bytes: usize,
    /// Headers of a request. Default 64.
    pub headers: usize,
    /// How long a connection may take until its next request's headers are there, idle time included. Default 15 s.
    pub header_timeout: Duration,
    /// Body of a request, in bytes. Default 64 KiB.
    pub body_bytes: usize,
    /// How long a body may take to arrive. Default 5 s.
    pub body_timeout: Duration,
    /// How long an answer may take until it begins. Default 30 s.
    pub call_timeout: Duration,
    /// How long a reader may take nothing of what waits for it. Default 20 s.
    pub write_timeout: Duration,
    /// A connection whose client has shown a certificate ends so long after, so that it is shown again. Default 1 h.
    pub certificate_max_age: Duration,
    /// How long a stopping port waits for what is under way. Default 1 s: calls have ended before it stops.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            requests: 256,
            operator_requests: 32,
            streams: 500,
            fair_share: FairShare::default(),
            metrics_breakers: 1_000,
            header_bytes: 16 << 10,
            headers: 64,
            header_timeout: Duration::from_secs(15),
            body_bytes: 64 << 10,
            body_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(20),
            certificate_max_age: Duration::from_secs(3600),
            stop_grace: Duration::from_secs(1),
        }
    }
}
