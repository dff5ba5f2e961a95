//! The breaker that stands in while no server can be asked.
//!
//! One rule, the same in the clients of all languages: so many failures in a row, all young enough, open it; after the
//! open period one probe decides. It does no I/O and reads no clock: `now` is an argument that never goes back.

use std::{collections::VecDeque, time::Duration};

use crate::{Outcome, Reason, State, pb};

/// A probe that nobody reported for so long counts as a failure.
const PROBE_LEASE: Duration = Duration::from_secs(60);
/// What callers are told to wait while the probe is out.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The shortest wait that a rejection names.
pub(crate) const RETRY_AFTER_MIN: Duration = Duration::from_millis(10);

/// What the local breaker takes from a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalRules {
    /// Failures in a row that open it.
    failure_threshold: usize,
    /// How young each of them must be. None: no limit.
    monitoring_period: Option<Duration>,
    /// How long it stays open.
    open_duration: Duration,
}

impl Default for LocalRules {
    fn default() -> Self {
        Self { failure_threshold: 5, monitoring_period: None, open_duration: Duration::from_secs(30) }
    }
}

impl LocalRules {
    /// Those of a policy; what is unset or off there has the default.
    pub(crate) fn of(policy: &pb::Policy) -> Self {
        let default = Self::default();
        let positive = |duration: Option<prost_types::Duration>| {
            duration.map(crate::wire::duration).filter(|duration| !duration.is_zero())
        };
        Self {
            failure_threshold: match policy.failure_threshold {
                Some(threshold) if threshold > 0 => threshold as usize,
                _ => default.failure_threshold,
            },
            monitoring_period: positive(policy.monitoring_period),
            open_duration: positive(policy.open_duration).unwrap_or(default.open_duration),
        }
    }
}

/// When the last failures without a success in between happened, oldest first; at most as many as the rules need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run(VecDeque<Duration>);

impl Run {
    /// Adds a failure.
    pub(crate) fn add(&mut self, at: Duration, rules: &LocalRules) {
        while self.0.len() >= rules.failure_threshold {
            self.0.pop_front();
        }
        self.0.push_back(at);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// It is as long as the threshold.
    pub(crate) fn reaches(&self, rules: &LocalRules) -> bool {
        self.0.len() >= rules.failure_threshold
    }

    /// When its last failure trips a breaker: the run is long and young enough.
    fn trips_at(&self, rules: &LocalRules) -> Option<Duration> {
        let first = self.0.len().checked_sub(rules.failure_threshold)?;
        let (first, last) = (*self.0.get(first)?, *self.0.back()?);
        rules.monitoring_period.is_none_or(|period| last.saturating_sub(first) < period).then_some(last)
    }
}

/// Leave for one call: the stretch that it was given in. Every move begins another, and an outcome of an earlier stretch
/// moves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    stretch: u64,
    probe: u64,
}

/// The local breaker's no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// [`Reason::Open`], or [`Reason::HalfOpenFull`].
    pub reason: Reason,
    /// How long to wait.
    pub retry_after: Duration,
    /// In which state it was refused.
    pub state: State,
}

#[derive(Debug)]
enum Standing {
    /// The failures in a row: fewer than the threshold, or too old ones.
    Closed {
        failures: Run,
    },
    Open {
        until: Duration,
    },
    HalfOpen {
        probe_since: Option<Duration>,
    },
}

/// Closed, open or half-open, by what this process sees itself.
#[derive(Debug)]
pub struct LocalBreaker {
    rules: LocalRules,
    standing: Standing,
    stretch: u64,
    probes: u64,
}

impl LocalBreaker {
    /// One that starts closed.
    pub(crate) fn new(rules: LocalRules) -> Self {
        Self { rules, standing: Standing::Closed { failures: Run::default() }, stretch: 0, probes: 0 }
    }

    /// One that starts where the breaker was last known to stand; `until` is an open one's deadline, where it is known.
    /// A closed one starts with the failures of `run`; where these trip it, it is open since the last of them.
    pub(crate) fn standing(
        rules: LocalRules,
        state: Option<State>,
        until: Option<Duration>,
        run: &Run,
        now: Duration,
    ) -> Self {
        let mut local = Self::new(rules);
        local.standing = match (state, until) {
            (Some(State::Open), Some(until)) if now < until => Standing::Open { until },
            (Some(State::Open | State::HalfOpen), _) => Standing::HalfOpen { probe_since: None },
            _ => {
                let mut failures = Run::default();
                for &at in &run.0 {
                    failures.add(at, &rules);
                }
                let tripped_at = failures.trips_at(&rules);
                local.standing = Standing::Closed { failures };
                if let Some(at) = tripped_at {
                    local.open(at);
                }
                return local;
            }
        };
        local
    }

    /// It permits every call.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.standing, Standing::Closed { .. })
    }

    /// Asks for leave to make one call.
    ///
    /// # Errors
    ///
    /// Why not, and for how long.
    pub fn acquire(&mut self, now: Duration) -> Result<Grant, Refusal> {
        self.pass_time(now);
        match &mut self.standing {
            Standing::Closed { .. } => Ok(Grant { stretch: self.stretch, probe: 0 }),
            Standing::Open { until } => {
                let retry_after = until.saturating_sub(now).max(RETRY_AFTER_MIN);
                Err(Refusal { reason: Reason::Open, retry_after, state: State::Open })
            }
            Standing::HalfOpen { probe_since: Some(_) } => {
                Err(Refusal { reason: Reason::HalfOpenFull, retry_after: FULL_RETRY_AFTER, state: State::HalfOpen })
            }
            Standing::HalfOpen { probe_since } => {
                *probe_since = Some(now);
                self.probes += 1;
                Ok(Grant { stretch: self.stretch, probe: self.probes })
            }
        }
    }

    /// How a call that it permitted went. A failure of the caller's own making is told as [`Outcome::Ignored`].
    pub fn report(&mut self, grant: Grant, outcome: Outcome, now: Duration) {
        self.pass_time(now);
        if grant.stretch != self.stretch {
            return;
        }
        match &mut self.standing {
            Standing::Closed { .. } => self.count(outcome, now),
            // A probe whose place was given back and taken by another is not the one that decides.
            Standing::HalfOpen { probe_since } if grant.probe == self.probes => match outcome {
                Outcome::Success => self.enter(Standing::Closed { failures: Run::default() }),
                Outcome::Failure | Outcome::Timeout => self.open(now),
                Outcome::Ignored | Outcome::Cancelled => *probe_since = None,
            },
            Standing::HalfOpen { .. } | Standing::Open { .. } => {}
        }
    }

    /// How a call went that was decided by somebody else. It counts while closed only.
    pub(crate) fn observe(&mut self, outcome: Outcome, now: Duration) {
        self.pass_time(now);
        self.count(outcome, now);
    }

    fn count(&mut self, outcome: Outcome, now: Duration) {
        let Standing::Closed { failures } = &mut self.standing else { return };
        match outcome {
            Outcome::Success => failures.clear(),
            Outcome::Failure | Outcome::Timeout => {
                failures.add(now, &self.rules);
                if failures.trips_at(&self.rules).is_some() {
                    self.open(now);
                }
            }
            Outcome::Ignored | Outcome::Cancelled => {}
        }
    }

    /// The moves that time alone makes, each at its own instant.
    fn pass_time(&mut self, now: Duration) {
        if let Standing::HalfOpen { probe_since: Some(since) } = self.standing
            && now >= since + PROBE_LEASE
        {
            self.open(since + PROBE_LEASE);
        }
        if let Standing::Open { until } = self.standing
            && now >= until
        {
            self.enter(Standing::HalfOpen { probe_since: None });
        }
    }

    fn open(&mut self, at: Duration) {
        self.enter(Standing::Open { until: at + self.rules.open_duration });
    }

    fn enter(&mut self, standing: Standing) {
        self.standing = standing;
        self.stretch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(local: &mut LocalBreaker, now: Duration) {
        let grant = local.acquire(now).expect("permitted");
        local.report(grant, Outcome::Failure, now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds() {
        let mut local = LocalBreaker::new(LocalRules::default());
        for at in 0..5 {
            fail(&mut local, at * SECOND);
        }
        let refusal = local.acquire(10 * SECOND).expect_err("open");
        assert_eq!(refusal, Refusal { reason: Reason::Open, retry_after: 24 * SECOND, state: State::Open });
    }

    #[test]
    fn failures_older_than_the_monitoring_period_do_not_count() {
        let rules = LocalRules { failure_threshold: 2, monitoring_period: Some(5 * SECOND), ..LocalRules::default() };
        let mut local = LocalBreaker::new(rules);
        fail(&mut local, Duration::ZERO);
        fail(&mut local, 5 * SECOND);
        assert!(local.acquire(5 * SECOND).is_ok(), "the first was 5 s old");
        fail(&mut local, 6 * SECOND);
        assert!(local.acquire(6 * SECOND).is_err());
    }

    #[test]
    fn one_probe_decides_and_a_forgotten_one_counts_as_a_failure() {
        let rules = LocalRules { failure_threshold: 1, open_duration: 10 * SECOND, ..LocalRules::default() };
        let mut local = LocalBreaker::new(rules);
        fail(&mut local, Duration::ZERO);
        let probe = local.acquire(10 * SECOND).expect("a probe");
        assert_eq!(local.acquire(11 * SECOND).expect_err("it is out").reason, Reason::HalfOpenFull);
        assert_eq!(local.acquire(70 * SECOND).expect_err("opened again at 70 s").retry_after, 10 * SECOND);
        local.report(probe, Outcome::Success, 71 * SECOND);
        assert!(local.acquire(71 * SECOND).is_err(), "an outcome of an earlier stretch moves nothing");
        let probe = local.acquire(80 * SECOND).expect("another probe");
        local.report(probe, Outcome::Success, 80 * SECOND);
        assert!(local.acquire(80 * SECOND).is_ok());
    }

    #[test]
    fn a_given_back_probe_leaves_its_place_to_the_next_one_alone() {
        let mut local =
            LocalBreaker::standing(LocalRules::default(), Some(State::HalfOpen), None, &Run::default(), Duration::ZERO);
        let first = local.acquire(Duration::ZERO).expect("a probe");
        local.report(first, Outcome::Cancelled, Duration::ZERO);
        let second = local.acquire(SECOND).expect("its place");
        local.report(first, Outcome::Failure, SECOND);
        local.report(second, Outcome::Success, SECOND);
        assert!(local.acquire(SECOND).is_ok(), "only the second decided");
    }

    fn run(failures: &[u32], rules: &LocalRules) -> Run {
        let mut run = Run::default();
        for &at in failures {
            run.add(at * SECOND, rules);
        }
        run
    }

    #[test]
    fn a_closed_one_starts_with_the_failures_of_before() {
        let rules = LocalRules { failure_threshold: 3, monitoring_period: Some(10 * SECOND), ..LocalRules::default() };
        let starts = |failures: &[u32]| {
            LocalBreaker::standing(rules, Some(State::Closed), None, &run(failures, &rules), 9 * SECOND)
        };
        let mut two = starts(&[1, 2]);
        fail(&mut two, 9 * SECOND);
        assert_eq!(two.acquire(9 * SECOND).expect_err("the third").retry_after, 30 * SECOND);
        let mut three = starts(&[1, 2, 3]);
        assert_eq!(three.acquire(9 * SECOND).expect_err("open since the last").retry_after, 24 * SECOND);
        assert!(three.acquire(33 * SECOND).is_ok(), "a probe");
        let mut four = starts(&[0, 1, 2, 11]);
        assert!(four.acquire(11 * SECOND).is_ok(), "the first of the last three is 10 s older than the last");
    }

    #[test]
    fn a_run_follows_a_threshold_that_changes() {
        let with = |failure_threshold| LocalRules { failure_threshold, ..LocalRules::default() };
        let mut run = run(&[1, 2, 3, 4], &with(4));
        assert!(run.reaches(&with(2)) && run.reaches(&with(4)) && !run.reaches(&with(5)));
        let mut lower = LocalBreaker::standing(with(2), None, None, &run, 5 * SECOND);
        assert!(lower.acquire(5 * SECOND).is_err());
        let mut higher = LocalBreaker::standing(with(5), None, None, &run, 5 * SECOND);
        assert!(higher.acquire(5 * SECOND).is_ok());
        run.add(6 * SECOND, &with(2));
        assert!(!run.reaches(&with(3)), "it keeps as many as the rules need");
    }
}
