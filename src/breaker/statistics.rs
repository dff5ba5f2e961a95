//! What a scope has seen, and whether a trip rule holds on it.

use super::{
    policy::Policy,
    streak::Streak,
    time::Timestamp,
    transition::{Trip, TripRule},
    window::{Counts, Window},
};

/// The streak and the window of one scope.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Statistics {
    pub(super) streak: Streak,
    /// Absent while nothing was counted, so that an idle breaker is small.
    pub(super) window: Option<Box<Window>>,
}

/// Calls to count at once: `failures - trailing` of them before the last success, the others after it.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) counts: Counts,
    pub(super) trailing_failures: u64,
    pub(super) at: Timestamp,
    pub(super) asked_until: Timestamp,
}

impl Statistics {
    pub(super) fn record(&mut self, policy: &Policy, now: Timestamp, sample: &Sample) {
        if sample.counts.successes > 0 {
            self.streak.clear();
        }
        if sample.trailing_failures > 0 {
            self.streak.extend(policy, sample.at, sample.trailing_failures, sample.asked_until);
        }
        let window = self.window.get_or_insert_with(|| Box::new(Window::new(policy.window, now)));
        window.record(now, sample.at, &sample.counts, sample.asked_until);
    }

    /// The first rule that holds, in the order they are documented.
    pub(super) fn judge(&mut self, policy: &Policy, now: Timestamp) -> Option<Trip> {
        if let Some(threshold) = policy.failure_threshold
            && !self.streak.is_empty()
            && self.streak.length(policy, now) >= u64::from(threshold.get())
        {
            return Some(Trip::by_count(TripRule::FailureThreshold, threshold.get()));
        }
        let counts = self.counts(now);
        if let Some(threshold) = policy.failure_count_threshold
            && counts.failures >= u64::from(threshold.get())
        {
            return Some(Trip::by_count(TripRule::FailureCountThreshold, threshold.get()));
        }
        if let Some(rate) = policy.failure_rate_threshold
            && counts.calls() >= u64::from(policy.minimum_calls)
            && rate.reached(counts.failures, counts.calls())
        {
            return Some(Trip::by_rate(TripRule::FailureRateThreshold, rate));
        }
        if let (Some(rate), Some(_)) = (policy.slow_call_rate_threshold, policy.slow_call_duration)
            && counts.calls() >= u64::from(policy.slow_call_minimum_calls)
            && rate.reached(counts.slow, counts.calls())
        {
            return Some(Trip::by_rate(TripRule::SlowCallRateThreshold, rate));
        }
        None
    }

    /// Until when the dependency asked to be left alone, by the failures that this rule counts.
    pub(super) fn asked_until(&mut self, rule: TripRule, now: Timestamp) -> Timestamp {
        match rule {
            TripRule::FailureThreshold => self.streak.asked_until(),
            _ => self.window.as_mut().map_or_else(Timestamp::default, |window| window.asked_until(now)),
        }
    }

    pub(super) fn counts(&mut self, now: Timestamp) -> Counts {
        self.window.as_mut().map_or_else(Counts::default, |window| window.counts(now))
    }

    pub(super) fn refit(&mut self, policy: &Policy, now: Timestamp) {
        self.streak.refit(policy, now);
        self.window = self.window.take().map(|window| Box::new(window.refit(policy.window, now)));
    }

    /// Gives memory back where everything has aged out. True where nothing is left.
    pub(super) fn tidy(&mut self, policy: &Policy, now: Timestamp) -> bool {
        if self.counts(now) == Counts::default() {
            self.window = None;
        }
        self.streak.length(policy, now);
        self.window.is_none() && self.streak.is_empty()
    }
}
