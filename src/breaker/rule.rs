//! The trip rules, each once: whether it holds on some numbers, and how much a caller's numbers speak for it.
//!
//! The numbers may be those of all callers, of one, or of all without some; the rules do not know the difference.

use super::{
    policy::{Policy, Ratio, TripOn},
    transition::TripRule,
    window::Counts,
};

/// What the rules look at.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Numbers {
    /// Failures in a row.
    pub(super) streak: u64,
    /// The calls of the window.
    pub(super) counts: Counts,
}

/// A rule that holds, and what it asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Trip {
    pub(super) rule: TripRule,
    pub(super) threshold: f64,
}

/// Which rules the calls that were just counted may make hold: all, or under `trip_on: failure` those that count what they
/// were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trigger {
    failure: bool,
    slow: bool,
}

impl Trigger {
    pub(super) fn of(policy: &Policy, counted: &Counts) -> Self {
        let is_any = policy.trip_on == TripOn::Any;
        Self { failure: is_any || counted.failures > 0, slow: is_any || counted.slow > 0 }
    }

    pub(super) const fn allows(self, rule: TripRule) -> bool {
        match rule {
            TripRule::SlowCallRateThreshold => self.slow,
            _ => self.failure,
        }
    }
}

/// The rules on a scope's numbers, in the order they are documented.
pub(super) const RULES: [TripRule; 4] = [
    TripRule::FailureThreshold,
    TripRule::FailureCountThreshold,
    TripRule::FailureRateThreshold,
    TripRule::SlowCallRateThreshold,
];

/// The first rule that holds, of those that the calls may make hold.
pub(super) fn judge(policy: &Policy, numbers: &Numbers, trigger: Trigger) -> Option<Trip> {
    RULES.into_iter().filter(|rule| trigger.allows(*rule)).find_map(|rule| rule.judge(policy, numbers, 0))
}

/// The calls at which each rate in force is first believed, the smaller first; 0 where a rate is off.
pub(super) fn minimums(policy: &Policy) -> [u64; 2] {
    let rates = [
        (TripRule::FailureRateThreshold, policy.failure_rate_threshold.is_some()),
        (TripRule::SlowCallRateThreshold, policy.trips_by_slow_calls()),
    ];
    let mut minimums = rates.map(|(rule, is_on)| if is_on { u64::from(rule.minimum_calls(policy)) } else { 0 });
    minimums.sort_unstable();
    minimums
}

/// How many failures more a row of them takes in a fleet of several callers: one for each time its calls double beyond
/// `minimum_calls`, up to three times the threshold in all. In so many calls a few failures happen to come in a row by
/// chance; beyond that a longer row says nothing new, and the calls that it takes go into a dead dependency.
pub(super) fn growth(policy: &Policy, calls: u64) -> u64 {
    let doubled = (calls / u64::from(policy.minimum_calls.max(1))).checked_ilog2().unwrap_or(0);
    let most = policy.failure_threshold.map_or(0, |threshold| threshold.get().saturating_mul(2));
    u64::from(doubled.min(most))
}

impl TripRule {
    /// Whether the rule holds, a row of failures being asked to be longer by `growth`.
    pub(super) fn judge(self, policy: &Policy, numbers: &Numbers, growth: u64) -> Option<Trip> {
        let counts = &numbers.counts;
        let by_count = |threshold: u64, count: u64| (count >= threshold).then_some(approximate(threshold));
        let by_rate = |rate: Ratio, part: u64| {
            let is_believed = counts.calls() >= u64::from(self.minimum_calls(policy));
            (is_believed && rate.reached(part, counts.calls())).then_some(rate.get())
        };
        let threshold = match self {
            Self::FailureThreshold => by_count(u64::from(policy.failure_threshold?.get()) + growth, numbers.streak),
            Self::FailureCountThreshold => by_count(policy.failure_count_threshold?.get().into(), counts.failures),
            Self::FailureRateThreshold => by_rate(policy.failure_rate_threshold?, counts.failures),
            Self::SlowCallRateThreshold => {
                policy.slow_call_duration?;
                by_rate(policy.slow_call_rate_threshold?, counts.slow)
            }
            Self::CallersIsolated => None,
        };
        threshold.map(|threshold| Trip { rule: self, threshold })
    }

    /// How many calls the rule asks for before it is believed.
    pub(super) const fn minimum_calls(self, policy: &Policy) -> u32 {
        match self {
            Self::FailureRateThreshold => policy.minimum_calls,
            Self::SlowCallRateThreshold => policy.slow_call_minimum_calls,
            Self::FailureThreshold | Self::FailureCountThreshold | Self::CallersIsolated => 0,
        }
    }

    /// How much a caller's numbers speak for the rule: failures, or by how many they exceed what the rate allows on so
    /// many calls, to a millionth: less is an error of the arithmetic.
    pub(super) fn weight(self, policy: &Policy, numbers: &Numbers) -> f64 {
        let counts = &numbers.counts;
        let excess = |rate: Option<Ratio>, part: u64| {
            let exceed = |rate: Ratio| (-rate.get()).mul_add(approximate(counts.calls()), approximate(part));
            rate.map_or(0.0, |rate| (exceed(rate) * 1e6).round() / 1e6 + 0.0)
        };
        match self {
            Self::FailureThreshold => approximate(numbers.streak),
            Self::FailureCountThreshold => approximate(counts.failures),
            Self::FailureRateThreshold => excess(policy.failure_rate_threshold, counts.failures),
            Self::SlowCallRateThreshold => excess(policy.slow_call_rate_threshold, counts.slow),
            Self::CallersIsolated => 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn approximate(count: u64) -> f64 {
    count as f64
}
