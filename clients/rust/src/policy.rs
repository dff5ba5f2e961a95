//! The rules of a breaker, as a service declares them.

use std::time::Duration;

use crate::{TripOn, Voters, pb, wire};

/// What trips a breaker and how it recovers. `None` leaves a field out: a trip rule is then off, and any other field the
/// server's default. The server refuses what is out of range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Failures in a row that trip. 0: off. 0 to 10,000.
    pub failure_threshold: Option<u32>,
    /// Only failures in a row younger than this count. 0: no age limit. 1 ms to 24 h.
    pub monitoring_period: Option<Duration>,
    /// Failures inside the window that trip. 0: off. 0 to 1,000,000.
    pub failure_count_threshold: Option<u32>,
    /// Share of the window's calls that failed that trips, once it holds `minimum_calls`. 0: off. 0 to 1.
    pub failure_rate_threshold: Option<f64>,
    /// A call that took at least this long is slow. 0: off. 1 ms to 1 h.
    pub slow_call_duration: Option<Duration>,
    /// Share of the window's calls that were slow that trips. 0: off. 0 to 1.
    pub slow_call_rate_threshold: Option<f64>,
    /// Calls the window must hold before that rate is believed. 0: as `minimum_calls`. 0 to 1,000,000.
    pub slow_call_minimum_calls: Option<u32>,
    /// Which recent calls the counts and rates are taken over. Default: the last 30 s in 10 slices.
    pub window: Option<Window>,
    /// Calls the window must hold before the failure rate is believed. 1 to 1,000,000. Default 20.
    pub minimum_calls: Option<u32>,
    /// How long the breaker stays open. `open_duration_min` to 24 h; 0 is refused. Default 30 s.
    pub open_duration: Option<Duration>,
    /// How the open period grows when recoveries fail. Default: it does not.
    pub open_backoff: Option<OpenBackoff>,
    /// Permits out at a time while half-open, in the whole fleet. 1 to 1,000. Default 1.
    pub probes: Option<u32>,
    /// Successful probes that close it. 1 to 1,000,000. Default 1.
    pub successes_to_close: Option<u32>,
    /// Failed probes that reopen it. 1 to 1,000,000. Default 1.
    pub failures_to_reopen: Option<u32>,
    /// Longest half-open round without a verdict, from its first probe. 0: no limit. 1 ms to 24 h. Default 0.
    pub half_open_max_duration: Option<Duration>,
    /// Longest open period that a dependency's retry-after may ask for. 0: it is not listened to. To 24 h. Default 5 min.
    pub retry_after_max: Option<Duration>,
    /// How long a permit is good for. 1 ms to 1 h. Default 60 s.
    pub lease: Option<Duration>,
    /// What an unreported probe counts as when its lease ends. Default: a failure.
    pub expired_probe: Option<ExpiredPermit>,
    /// What any other unreported permit counts as. Default: ignored.
    pub expired_permit: Option<ExpiredPermit>,
    /// How many callers must have evidence before it opens for all. 1 to 256. Default 2.
    pub min_callers: Option<u32>,
    /// The same as a share of the known callers. 0: `min_callers` alone. 0 to 1. Default 0.
    pub share: Option<f64>,
    /// Whose evidence the quorum counts. Default: [`Voters::Instance`].
    pub voters: Option<Voters>,
    /// Which reports may trip the breaker. Default: [`TripOn::Any`].
    pub trip_on: Option<TripOn>,
    /// Shortest `open_duration` that the policy accepts; protects against a unit mistake. Set it below the default to permit
    /// shorter open periods. 1 ms to 24 h; 0 is refused. Default 100 ms.
    pub open_duration_min: Option<Duration>,
}

/// Which recent calls count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Those of the last `duration` (10 ms to 24 h), counted in `slices` (1 to 120; 0: 10).
    Time {
        /// How far back.
        duration: Duration,
        /// Parts that it is counted in.
        slices: u32,
    },
    /// The last so many calls: 1 to 100,000.
    Count(u32),
}

/// Makes each open period longer than the one before, while recoveries fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenBackoff {
    /// For each failed recovery. 1 to 100. 0: 2.
    pub multiplier: f64,
    /// The ceiling of the open period. 0: 10 times `open_duration`.
    pub max_duration: Duration,
    /// The share of each open period that is random. 0 to 1.
    pub jitter: f64,
}

/// What a permit counts as when its lease ends and nobody has reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredPermit {
    /// A failure.
    Failure,
    /// A timeout.
    Timeout,
    /// Nothing.
    Ignored,
}

impl ExpiredPermit {
    const fn message(this: Option<Self>) -> i32 {
        (match this {
            None => pb::ExpiredPermit::Unspecified,
            Some(Self::Failure) => pb::ExpiredPermit::Failure,
            Some(Self::Timeout) => pb::ExpiredPermit::Timeout,
            Some(Self::Ignored) => pb::ExpiredPermit::Ignored,
        }) as i32
    }
}

impl Policy {
    pub(crate) fn message(&self) -> pb::Policy {
        let duration = |duration: Option<Duration>| duration.map(wire::message);
        pb::Policy {
            failure_threshold: self.failure_threshold,
            monitoring_period: duration(self.monitoring_period),
            failure_count_threshold: self.failure_count_threshold,
            failure_rate_threshold: self.failure_rate_threshold,
            slow_call_duration: duration(self.slow_call_duration),
            slow_call_rate_threshold: self.slow_call_rate_threshold,
            slow_call_minimum_calls: self.slow_call_minimum_calls,
            window: self.window.map(|window| pb::Window { kind: Some(window.message()) }),
            minimum_calls: self.minimum_calls,
            open_duration: duration(self.open_duration),
            open_backoff: self.open_backoff.map(|backoff| pb::OpenBackoff {
                multiplier: backoff.multiplier,
                max_duration: duration(Some(backoff.max_duration).filter(|max| !max.is_zero())),
                jitter: backoff.jitter,
            }),
            probes: self.probes,
            successes_to_close: self.successes_to_close,
            failures_to_reopen: self.failures_to_reopen,
            half_open_max_duration: duration(self.half_open_max_duration),
            retry_after_max: duration(self.retry_after_max),
            lease: duration(self.lease),
            expired_probe: ExpiredPermit::message(self.expired_probe),
            expired_permit: ExpiredPermit::message(self.expired_permit),
            min_callers: self.min_callers,
            share: self.share,
            voters: self.voters.map_or(0, Voters::wire),
            trip_on: self.trip_on.map_or(0, TripOn::wire),
            open_duration_min: duration(self.open_duration_min),
        }
    }
}

/// It has a rule that a single failure may complete.
pub(crate) fn has_window_rule(policy: &pb::Policy) -> bool {
    policy.failure_count_threshold.is_some_and(|threshold| threshold > 0)
        || [policy.failure_rate_threshold, policy.slow_call_rate_threshold]
            .into_iter()
            .flatten()
            .any(|threshold| threshold > 0.0)
}

impl Window {
    fn message(self) -> pb::window::Kind {
        match self {
            Self::Time { duration, slices } => {
                pb::window::Kind::Time(pb::TimeWindow { duration: Some(wire::message(duration)), slices })
            }
            Self::Count(calls) => pb::window::Kind::Count(pb::CountWindow { calls }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_whose_evidence_counts_and_what_may_trip() {
        let policy = Policy {
            voters: Some(Voters::Service),
            trip_on: Some(TripOn::Failure),
            open_duration_min: Some(Duration::from_millis(1)),
            ..Policy::default()
        };
        let message = policy.message();
        assert_eq!((message.voters(), message.trip_on()), (pb::Voters::Service, pb::TripOn::Failure));
        assert_eq!(message.open_duration_min.map(wire::duration), Some(Duration::from_millis(1)));
        let unset = Policy::default().message();
        assert_eq!((unset.voters(), unset.trip_on()), (pb::Voters::Unspecified, pb::TripOn::Unspecified));
    }

    #[test]
    fn a_rule_over_a_window_makes_every_failure_decisive() {
        let has = |policy: Policy| has_window_rule(&policy.message());
        assert!(!has(Policy { failure_threshold: Some(3), failure_rate_threshold: Some(0.0), ..Policy::default() }));
        assert!(has(Policy { failure_count_threshold: Some(9), ..Policy::default() }));
        assert!(has(Policy { failure_rate_threshold: Some(0.5), ..Policy::default() }));
        assert!(has(Policy { slow_call_rate_threshold: Some(0.5), ..Policy::default() }));
    }
}
