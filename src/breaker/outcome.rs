//! How a permitted call went.

use std::time::Duration;

/// How a call went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The dependency answered as it should.
    Success,
    /// The dependency failed.
    Failure,
    /// The dependency did not answer in time: a failure, told apart in the numbers.
    Timeout,
    /// The call says nothing about the dependency. Gives the permit back and moves nothing.
    Ignored,
    /// The call never finished. Gives the permit back and moves nothing.
    Cancelled,
}

/// On whose side a failure arose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Origin {
    /// The dependency's, or the way to it.
    #[default]
    Dependency,
    /// The caller's own. Never counts for the fleet.
    Local,
}

/// A report of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it went.
    pub outcome: Outcome,
    /// How long it took. `None`: not measured, and then never slow.
    pub duration: Option<Duration>,
    /// What the dependency asked for by a retry-after of its own. Heard from failures only.
    pub retry_after: Option<Duration>,
    /// On whose side a failure arose.
    pub origin: Origin,
}

impl Report {
    /// A report that says the outcome and nothing more.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        Self { outcome, duration: None, retry_after: None, origin: Origin::Dependency }
    }
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reported {
    /// It counted, once.
    Counted,
    /// It is of an older generation, its lease has ended, or its slice of the permit ledger was given up.
    Stale,
    /// It was reported before.
    Duplicate,
}

/// Calls that a client decided on by itself while the breaker was closed.
///
/// Plain counts cannot say "in a row", so the run of failures since the last success comes along.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// The generation that the client decided under.
    pub generation: u64,
    /// The generation of the caller's scope that it decided under. 0: it has never moved.
    pub caller_generation: u64,
    /// How long ago the calls were, at the oldest.
    pub age: Duration,
    /// Calls that succeeded.
    pub successes: u32,
    /// Calls that failed, without the timeouts.
    pub failures: u32,
    /// Calls that timed out.
    pub timeouts: u32,
    /// Those of the above that were slow.
    pub slow: u32,
    /// Ignored and cancelled calls.
    pub ignored: u32,
    /// Calls that the client rejected.
    pub rejections: u32,
    /// Failures that were the caller's own; not among the above.
    pub local_failures: u32,
    /// Failures and timeouts since the last success; all of them where there was none.
    pub trailing_failures: u32,
    /// The longest retry-after that came with a failure.
    pub retry_after: Option<Duration>,
}
