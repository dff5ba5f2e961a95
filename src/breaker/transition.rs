//! Every move a breaker can make, on one page.
//!
//! ```text
//!             a trip rule holds                     the open period has passed
//!   closed ─────────────────────────▶ open ─────────────────────────────▶ half-open
//!     ▲                                ▲                                     │ │
//!     │                                └── enough probes failed, or timed out ┘ │
//!     └──────────────────────── enough probes succeeded ─────────────────────────┘
//!   any ── reset ─▶ closed        any ── override set, cleared or expired ─▶ the same state
//! ```
//!
//! Every one raises the generation, so that what was permitted before it is stale after it. A change of policy is told
//! like a move but moves nothing: state, generation and permits stay.

use std::time::Duration;

use super::{
    Status,
    policy::Ratio,
    state::StateName::{self, Closed, HalfOpen, Open},
    time::Timestamp,
    window::Counts,
};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// It tripped, or a recovery failed.
    Opened,
    /// The open period has passed.
    HalfOpened,
    /// Enough probes succeeded.
    Closed,
    /// It was reset.
    Reset,
    /// Its policy changed.
    PolicyChanged,
    /// An operator set an override.
    OverrideSet,
    /// An override was cleared or ended.
    OverrideCleared,
    /// As `Opened`, in shadow: callers were not told.
    WouldHaveOpened,
}

/// Why it happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// A trip rule held.
    TripRule(TripRule),
    /// The open period has passed.
    OpenPeriodPassed,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Enough probes failed.
    ProbesFailed,
    /// The half-open round took too long.
    HalfOpenTimedOut,
    /// Somebody asked for it.
    Requested,
    /// The override's own expiry.
    OverrideExpired,
}

/// The rule that held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TripRule {
    /// Failures in a row.
    FailureThreshold,
    /// Failures inside the window.
    FailureCountThreshold,
    /// Failures as a share of the window's calls.
    FailureRateThreshold,
    /// Slow calls as a share of the window's calls.
    SlowCallRateThreshold,
}

/// The numbers behind a move.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Evidence {
    /// Failures in a row.
    pub consecutive_failures: u64,
    /// The calls of the window.
    pub window: Counts,
    /// What the rule asks for: calls, or a ratio. Zero without a rule.
    pub threshold: f64,
    /// Probes of the round that succeeded.
    pub probe_successes: u32,
    /// Probes of the round that failed.
    pub probe_failures: u32,
    /// Length of the open period that begins.
    pub open_duration: Option<Duration>,
    /// Whether a dependency's retry-after lengthened it.
    pub retry_after_applied: bool,
    /// Recoveries that have failed in a row.
    pub failed_recoveries: u32,
}

/// One move, as it is told to everybody.
#[derive(Clone, PartialEq, Debug)]
pub struct Transition {
    /// What happened.
    pub kind: Kind,
    /// The computed state before.
    pub from: StateName,
    /// The computed state after.
    pub to: StateName,
    /// Why.
    pub reason: Reason,
    /// The numbers behind it, where numbers played a part.
    pub evidence: Option<Evidence>,
    /// When.
    pub at: Timestamp,
    /// The breaker after it.
    pub status: Status,
}

impl Kind {
    /// The kind as logs, metrics and commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::HalfOpened => "half_opened",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::PolicyChanged => "policy_changed",
            Self::OverrideSet => "override_set",
            Self::OverrideCleared => "override_cleared",
            Self::WouldHaveOpened => "would_have_opened",
        }
    }

    /// Whether a move of this kind may lead from one state to the other.
    #[must_use]
    pub const fn is_legal(self, from: StateName, to: StateName) -> bool {
        match self {
            Self::Opened | Self::WouldHaveOpened => matches!((from, to), (Closed | HalfOpen, Open)),
            Self::HalfOpened => matches!((from, to), (Open, HalfOpen)),
            Self::Closed => matches!((from, to), (HalfOpen, Closed)),
            Self::Reset => matches!(to, Closed),
            Self::PolicyChanged | Self::OverrideSet | Self::OverrideCleared => {
                matches!((from, to), (Closed, Closed) | (Open, Open) | (HalfOpen, HalfOpen))
            }
        }
    }
}

impl Reason {
    /// The reason as logs, metrics and commands name it; a trip by its rule.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TripRule(TripRule::FailureThreshold) => "failure_threshold",
            Self::TripRule(TripRule::FailureCountThreshold) => "failure_count_threshold",
            Self::TripRule(TripRule::FailureRateThreshold) => "failure_rate_threshold",
            Self::TripRule(TripRule::SlowCallRateThreshold) => "slow_call_rate_threshold",
            Self::OpenPeriodPassed => "open_period_passed",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbesFailed => "probes_failed",
            Self::HalfOpenTimedOut => "half_open_timed_out",
            Self::Requested => "requested",
            Self::OverrideExpired => "override_expired",
        }
    }
}

/// A rule that holds, and what it asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Trip {
    pub(super) rule: TripRule,
    pub(super) threshold: f64,
}

impl Trip {
    pub(super) fn by_count(rule: TripRule, threshold: u32) -> Self {
        Self { rule, threshold: f64::from(threshold) }
    }

    pub(super) const fn by_rate(rule: TripRule, threshold: Ratio) -> Self {
        Self { rule, threshold: threshold.get() }
    }
}
