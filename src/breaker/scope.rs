//! One state machine with what it has seen: the fleet's, or one caller's. The rules are the same in both.
//!
//! A scope knows how to enter its states and what a half-open round makes of a verdict. Which scope a call counts in,
//! and what else a move brings with it, is said in [`super`] and in [`super::callers`].

use std::time::Duration;

use super::{
    backoff,
    callers::VotersOf,
    permit::CallerId,
    policy::Policy,
    state::State,
    statistics::{Sample, Statistics},
    time::{Moment, Timestamp},
    transition::Evidence,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scope {
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) since: Timestamp,
    pub(super) statistics: Statistics,
}

/// What a half-open round comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// More probes have to tell.
    None,
    /// Enough succeeded.
    Close,
    /// Enough failed.
    Reopen,
}

/// The open period that began.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenPeriod {
    pub(super) duration: Duration,
    /// Whether a dependency's retry-after lengthened it.
    pub(super) is_asked: bool,
}

impl Scope {
    pub(super) const fn new(generation: u64, now: Timestamp) -> Self {
        Self { generation, state: State::Closed, since: now, statistics: Statistics::new() }
    }

    /// The one door into a state.
    pub(super) fn enter(&mut self, state: State, generation: u64, now: Timestamp) {
        if self.state.name() != state.name() {
            self.since = now;
        }
        self.state = state;
        self.generation = generation;
    }

    /// Opens after so many failed recoveries in a row, at least until the dependency wants to be asked again.
    pub(super) fn open(
        &mut self,
        policy: &Policy,
        moment: Moment,
        generation: u64,
        failed_recoveries: u32,
        asked_until: Timestamp,
    ) -> OpenPeriod {
        let own = moment.now.after(backoff::open_period(policy, failed_recoveries, moment.random));
        let until = own.max(asked_until);
        self.enter(State::Open { until, failed_recoveries }, generation, moment.now);
        OpenPeriod { duration: until.since(moment.now), is_asked: until > own }
    }

    /// Adds what a probe has said, and what the round comes to.
    pub(super) fn probed(
        &mut self,
        policy: &Policy,
        quorum: usize,
        voters: VotersOf<'_>,
        caller: CallerId,
        sample: &Sample,
    ) -> Verdict {
        let State::HalfOpen(round) = &mut self.state else { return Verdict::None };
        let more = |calls: u64| u32::try_from(calls).unwrap_or(u32::MAX);
        // A breaker that trips by slow calls does not close on them.
        let slow = if policy.trips_by_slow_calls() { sample.counts.slow.min(sample.counts.successes) } else { 0 };
        let (successes, failures) = (sample.counts.successes - slow, sample.counts.failures + slow);
        round.successes = round.successes.saturating_add(more(successes));
        round.failures = round.failures.saturating_add(more(failures));
        round.asked_until = round.asked_until.max(sample.asked_until);
        if failures > 0 && quorum > 1 {
            round.note_failure(voters, caller);
        }
        if round.failures >= policy.failures_to_reopen && !round.is_disputed(policy, quorum, voters) {
            Verdict::Reopen
        } else if round.successes >= policy.successes_to_close {
            Verdict::Close
        } else {
            Verdict::None
        }
    }

    /// The numbers behind a move.
    pub(super) fn evidence(&mut self, policy: &Policy, now: Timestamp) -> Evidence {
        let (probe_successes, probe_failures) = match &self.state {
            State::HalfOpen(round) => (round.successes, round.failures),
            _ => (0, 0),
        };
        let numbers = self.statistics.numbers(policy, now);
        Evidence {
            consecutive_failures: numbers.streak,
            window: numbers.counts,
            probe_successes,
            probe_failures,
            failed_recoveries: self.state.failed_recoveries(),
            ..Evidence::default()
        }
    }
}
