//! The world that the campaign plays in: breakers and how well their dependencies are, and what has been seen.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fuseboard::pb::{
    CountWindow, GetServerInfoRequest, OpenBackoff, Outcome, Policy, TimeWindow, Window,
    admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient, window,
};
use rand::Rng;
use serde::Serialize;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{Result, history::History};

/// Breakers in the world.
pub(crate) const BREAKERS: usize = 300;
/// The most probes that any policy of the world allows.
const PROBES_MAX: i64 = 3;
/// What a client takes ahead of its reader, in bytes: little, so that a slow reader is soon felt by the server.
const STREAM_WINDOW: u32 = 65_535;
/// Violations that are told; more are only counted by their absence.
const VIOLATIONS_MAX: usize = 50;

/// Everything that actors share.
pub(crate) struct World {
    address: SocketAddr,
    started: Instant,
    stopped: AtomicBool,
    /// The sequence that every watcher is to read to, once the load has stopped.
    target: OnceLock<u64>,
    /// Probes that callers hold for sure: counted after the answer came, given back before the report goes.
    probes_out: Vec<AtomicI64>,
    counters: Counters,
    violations: Mutex<Vec<String>>,
    pub(crate) history: History,
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) permitted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) reports: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) watches: AtomicU64,
    pub(crate) resyncs: AtomicU64,
}

/// [`Counters`], told.
#[derive(Serialize)]
pub(crate) struct Counts {
    permitted: u64,
    rejected: u64,
    probes: u64,
    reports: u64,
    batches: u64,
    sessions: u64,
    operations: u64,
    watches: u64,
    resyncs: u64,
}

impl World {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            started: Instant::now(),
            stopped: AtomicBool::new(false),
            target: OnceLock::new(),
            probes_out: (0..BREAKERS).map(|_| AtomicI64::new(0)).collect(),
            counters: Counters::default(),
            violations: Mutex::default(),
            history: History::default(),
        }
    }

    /// A connection of one's own, as a service.
    pub(crate) async fn service(&self) -> Result<BreakerServiceClient<Channel>> {
        Ok(BreakerServiceClient::new(self.connect().await?))
    }

    /// A connection of one's own, as an operator.
    pub(crate) async fn operator(&self) -> Result<AdminServiceClient<Channel>> {
        Ok(AdminServiceClient::new(self.connect().await?))
    }

    async fn connect(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        Ok(endpoint.initial_stream_window_size(STREAM_WINDOW).connect().await?)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks actors to end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Tells the watchers how far there is to read.
    pub(crate) async fn set_target(&self) -> Result<()> {
        let info = self.operator().await?.get_server_info(GetServerInfoRequest {}).await?.into_inner();
        self.target.set(info.newest_sequence).map_err(|_| "the target was set before")?;
        Ok(())
    }

    pub(crate) fn target(&self) -> Option<u64> {
        self.target.get().copied()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn counts(&self) -> Counts {
        let c = &self.counters;
        Counts {
            permitted: c.permitted.load(Relaxed),
            rejected: c.rejected.load(Relaxed),
            probes: c.probes.load(Relaxed),
            reports: c.reports.load(Relaxed),
            batches: c.batches.load(Relaxed),
            sessions: c.sessions.load(Relaxed),
            operations: c.operations.load(Relaxed),
            watches: c.watches.load(Relaxed),
            resyncs: c.resyncs.load(Relaxed),
        }
    }

    pub(crate) fn violation(&self, what: String) {
        let mut violations = self.violations.lock().expect("nobody panics inside");
        if violations.len() < VIOLATIONS_MAX {
            eprintln!("violation: {what}");
            violations.push(what);
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("nobody panics inside").clone()
    }

    /// The answer; an error that is not among the allowed ones is a violation.
    pub(crate) fn expect<T>(
        &self,
        what: &str,
        answer: std::result::Result<tonic::Response<T>, Status>,
        allowed: &[Code],
    ) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                if !allowed.contains(&status.code()) {
                    self.violation(format!("{what}: {status}"));
                }
                None
            }
        }
    }

    /// A probe has been granted.
    pub(crate) fn hold_probe(&self, breaker: usize) {
        bump(&self.counters.probes);
        let out = self.probes_out[breaker].fetch_add(1, Relaxed) + 1;
        if out > PROBES_MAX.min(probes(breaker)) {
            self.violation(format!("{} has {out} probes out", key(breaker)));
        }
    }

    /// A probe is about to be reported, or lost.
    pub(crate) fn give_back_probe(&self, breaker: usize) {
        self.probes_out[breaker].fetch_sub(1, Relaxed);
    }

    /// How a call to a breaker's dependency goes now. Each is sick for some seconds in a period of its own.
    pub(crate) fn call(&self, breaker: usize) -> (Outcome, Duration) {
        let period = 8 + breaker as u64 * 7 % 23;
        let sick = 2 + breaker as u64 % 4;
        let second = self.elapsed().as_secs() + breaker as u64 * 13;
        let luck = rand::rng().random_range(0..1_000);
        if second % period < sick {
            let outcome = match luck {
                0..100 => Outcome::Success,
                100..250 => Outcome::Timeout,
                _ => Outcome::Failure,
            };
            return (outcome, Duration::from_millis(200));
        }
        let outcome = match luck {
            0..5 => Outcome::Failure,
            5..15 => Outcome::Ignored,
            15..25 => Outcome::Cancelled,
            _ => Outcome::Success,
        };
        (outcome, Duration::from_millis(10))
    }
}

pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Key of a breaker: in one of ten groups, so that prefixes and patterns have something to match.
pub(crate) fn key(breaker: usize) -> String {
    format!("campaign/{}/{breaker:03}", breaker % 10)
}

/// A breaker by chance.
pub(crate) fn any_breaker() -> usize {
    rand::rng().random_range(0..BREAKERS)
}

fn probes(breaker: usize) -> i64 {
    if breaker % 5 == 1 { PROBES_MAX } else { 1 }
}

/// What a service declares for a breaker: one of four kinds, or nothing.
pub(crate) fn policy(breaker: usize) -> Option<Policy> {
    let base = Policy { open_duration: seconds(1), lease: seconds(5), ..Policy::default() };
    let rules = match breaker % 5 {
        0 => Policy { failure_threshold: Some(3), ..base },
        1 => Policy {
            failure_rate_threshold: Some(0.5),
            minimum_calls: Some(10),
            window: Some(Window { kind: Some(window::Kind::Time(TimeWindow { duration: seconds(5), slices: 5 })) }),
            open_backoff: Some(OpenBackoff { multiplier: 2.0, max_duration: seconds(5), jitter: 0.2 }),
            probes: Some(3),
            successes_to_close: Some(2),
            failures_to_reopen: Some(2),
            half_open_max_duration: seconds(3),
            ..base
        },
        2 => Policy {
            failure_count_threshold: Some(8),
            window: Some(Window { kind: Some(window::Kind::Count(CountWindow { calls: 20 })) }),
            open_duration: seconds(2),
            ..base
        },
        3 => Policy {
            failure_threshold: Some(10),
            monitoring_period: seconds(2),
            slow_call_duration: Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
            slow_call_rate_threshold: Some(0.5),
            slow_call_minimum_calls: Some(10),
            ..base
        },
        _ => return None,
    };
    Some(rules)
}

pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}
