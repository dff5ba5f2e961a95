//! One life of the server, as its clients have it: its breakers, its connections, and how answers are heard.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fuseboard::pb::{Policy, admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient};
use tokio::time;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{Result, ledger::Ledger};

/// Breakers that trip and recover.
pub(crate) const MOVING: usize = 8;
/// Breakers that nobody declares.
pub(crate) const BARE: usize = 3;
/// Breakers that operators hold in a state.
pub(crate) const HELD: usize = 4;
/// Breakers that are declared again and again.
pub(crate) const DECLARED: usize = 3;
/// Breakers that are deleted and made anew.
pub(crate) const GONE: usize = 3;
/// Breakers that hear of calls in batches.
pub(crate) const COUNTED: usize = 3;

/// How long every permit is good for.
pub(crate) const LEASE: Duration = Duration::from_millis(1_500);
/// No answer takes as long as this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(crate) fn moving(number: usize) -> String {
    format!("kill/moving/{number}")
}

pub(crate) fn bare(number: usize) -> String {
    format!("kill/bare/{number}")
}

pub(crate) fn held(number: usize) -> String {
    format!("kill/held/{number}")
}

pub(crate) fn declared(number: usize) -> String {
    format!("kill/declared/{number}")
}

pub(crate) fn gone(number: usize) -> String {
    format!("kill/gone/{number}")
}

pub(crate) fn counted(number: usize) -> String {
    format!("kill/counted/{number}")
}

/// What each batch for a counted breaker tells the same of.
pub(crate) fn counted_too(number: usize) -> String {
    format!("kill/counted/{number}/too")
}

/// Probes that a moving breaker permits at a time.
pub(crate) fn probes(number: usize) -> u32 {
    number as u32 % 3 + 1
}

/// What services declare for a moving breaker.
pub(crate) fn moving_policy(number: usize) -> Policy {
    let open_ms = [20, 20, 50, 100, 20, 500, 3_000, 30_000][number % 8];
    Policy {
        failure_threshold: Some(2),
        open_duration: Some(span(Duration::from_millis(open_ms))),
        open_duration_min: Some(span(Duration::from_millis(1))),
        lease: Some(span(LEASE)),
        probes: Some(probes(number)),
        successes_to_close: Some(2),
        failures_to_reopen: Some(2),
        ..Policy::default()
    }
}

pub(crate) fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 }
}

/// What was heard of a request.
pub(crate) enum Heard<T> {
    Answer(T),
    /// The server has refused it, and it changed nothing.
    Refused,
    /// Nobody knows what became of it.
    Unknown,
}

impl<T> Heard<T> {
    pub(crate) fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// A server that lives, until it does not.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) service: BreakerServiceClient<Channel>,
    pub(crate) operator: AdminServiceClient<Channel>,
    ledger: Arc<Mutex<Ledger>>,
    over: Arc<AtomicBool>,
}

impl Life {
    pub(crate) async fn connect(address: &str, ledger: Arc<Mutex<Ledger>>) -> Result<Self> {
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
        Ok(Self {
            service: BreakerServiceClient::new(channel.clone()),
            operator: AdminServiceClient::new(channel),
            ledger,
            over: Arc::default(),
        })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics inside")
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// What comes of a request; `allowed` are the reasons for which it may be refused.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        allowed: &[&str],
        request: impl Future<Output = std::result::Result<Response<T>, Status>>,
    ) -> Heard<T> {
        let Ok(answer) = time::timeout(ANSWER_MAX, request).await else {
            self.ledger().violation(format!("{what} has no answer after {ANSWER_MAX:?}"));
            self.end();
            return Heard::Unknown;
        };
        let status = match answer {
            Ok(answer) => return Heard::Answer(answer.into_inner()),
            Err(status) => status,
        };
        let Some(info) = status.get_details_error_info() else {
            // The connection's end, not the server's word.
            self.end();
            if !matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal) {
                self.ledger().violation(format!("{what}: {status}"));
            }
            return Heard::Unknown;
        };
        if info.reason == "STORE_UNAVAILABLE" {
            self.ledger().figures.store_unavailable += 1;
            return Heard::Unknown;
        }
        if !allowed.contains(&info.reason.as_str()) {
            self.ledger().violation(format!("{what}: {status}"));
        }
        Heard::Refused
    }
}
