//! Every move a breaker can make, on one page.
//!
//! ```text
//!             a trip rule holds                     the open period has passed
//!   closed ─────────────────────────▶ open ─────────────────────────────▶ half-open
//!     ▲                                ▲                                     │ │
//!     │                                └── enough probes failed, or timed out ┘ │
//!     └──────────────────────── enough probes succeeded ─────────────────────────┘
//!   any ── reset ─▶ closed        any ── override set, cleared or expired ─▶ the same state
//!   open ── an operator asks for probes ─▶ half-open
//! ```
//!
//! Every one raises the generation, so that what was permitted before it is stale after it. A change of policy is told
//! like a move but moves nothing: state, generation and permits stay.
//!
//! A caller's scope makes the same moves under names of its own (isolated, half-opened, restored). They raise the
//! caller's generation and leave the breaker's state and generation alone.

use std::time::Duration;

use super::{
    CallerStatus, Status,
    permit::CallerId,
    state::StateName::{self, Closed, HalfOpen, Open},
    time::Timestamp,
    window::Counts,
};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It tripped, or a recovery failed.
    Opened,
    /// The open period has passed, or an operator ended it.
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
    /// One caller is refused, and nobody else: a rule held on its calls, or its recovery failed.
    CallerIsolated,
    /// The caller's own open period has passed, or an operator ended it.
    CallerHalfOpened,
    /// The caller's probes succeeded; or it is forgiven or forgotten.
    CallerRestored,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Opened,
        Self::HalfOpened,
        Self::Closed,
        Self::Reset,
        Self::PolicyChanged,
        Self::OverrideSet,
        Self::OverrideCleared,
        Self::WouldHaveOpened,
        Self::CallerIsolated,
        Self::CallerHalfOpened,
        Self::CallerRestored,
    ];
}

/// Why it happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The caller was not seen for an hour.
    CallerForgotten,
}

/// The rule that held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripRule {
    /// Failures in a row.
    FailureThreshold,
    /// Failures inside the window.
    FailureCountThreshold,
    /// Failures as a share of the window's calls.
    FailureRateThreshold,
    /// Slow calls as a share of the window's calls.
    SlowCallRateThreshold,
    /// Isolated callers as a share of the known ones.
    CallersIsolated,
}

/// The numbers behind a move.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
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
    /// Who is behind it, where several callers are known.
    pub callers: Option<Box<CallersEvidence>>,
}

/// Whose calls made a breaker open, and whose were left out.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallersEvidence {
    /// How many callers it took.
    pub quorum: u32,
    /// How many were known.
    pub known: u32,
    /// Those whose calls the evidence stands on, the worst first, at most [`EVIDENCE_CALLERS_MAX`].
    pub with: Vec<CallerEvidence>,
    /// The worst ones, which it stands without, the same.
    pub without: Vec<CallerEvidence>,
}

/// One caller's part in the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallerEvidence {
    /// Who.
    pub caller: CallerId,
    /// Its calls in the evidence, and those of them that failed (were slow, for that rule).
    pub calls: u64,
    /// See `calls`.
    pub failures: u64,
}

/// Most callers that evidence names.
pub const EVIDENCE_CALLERS_MAX: usize = 16;

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
    /// The caller whose scope moved, after it; `from` and `to` are then that scope's. `None`: the breaker moved.
    pub caller: Option<CallerStatus>,
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
            Self::CallerIsolated => "caller_isolated",
            Self::CallerHalfOpened => "caller_half_opened",
            Self::CallerRestored => "caller_restored",
        }
    }

    /// Whether a move of this kind may lead from one state to the other.
    #[must_use]
    pub const fn is_legal(self, from: StateName, to: StateName) -> bool {
        match self {
            Self::Opened | Self::WouldHaveOpened | Self::CallerIsolated => {
                matches!((from, to), (Closed | HalfOpen, Open))
            }
            Self::HalfOpened | Self::CallerHalfOpened => matches!((from, to), (Open, HalfOpen)),
            Self::CallerRestored => matches!((from, to), (Open | HalfOpen, Closed)),
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
            Self::TripRule(TripRule::CallersIsolated) => "callers_isolated",
            Self::OpenPeriodPassed => "open_period_passed",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbesFailed => "probes_failed",
            Self::HalfOpenTimedOut => "half_open_timed_out",
            Self::Requested => "requested",
            Self::OverrideExpired => "override_expired",
            Self::CallerForgotten => "caller_forgotten",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_leads_where_it_may_and_nowhere_else() {
        let states = [Closed, Open, HalfOpen];
        let legal = |kind: Kind| {
            let pairs = states.into_iter().flat_map(|from| states.map(|to| (from, to)));
            pairs.filter(|(from, to)| kind.is_legal(*from, *to)).collect::<Vec<_>>()
        };
        for kind in Kind::ALL {
            let expected: &[(StateName, StateName)] = match kind {
                Kind::Opened | Kind::WouldHaveOpened | Kind::CallerIsolated => &[(Closed, Open), (HalfOpen, Open)],
                Kind::HalfOpened | Kind::CallerHalfOpened => &[(Open, HalfOpen)],
                Kind::CallerRestored => &[(Open, Closed), (HalfOpen, Closed)],
                Kind::Closed => &[(HalfOpen, Closed)],
                Kind::Reset => &[(Closed, Closed), (Open, Closed), (HalfOpen, Closed)],
                Kind::PolicyChanged | Kind::OverrideSet | Kind::OverrideCleared => {
                    &[(Closed, Closed), (Open, Open), (HalfOpen, HalfOpen)]
                }
            };
            assert_eq!(legal(kind), expected, "{kind:?}");
        }
    }
}
