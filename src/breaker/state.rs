//! The three states, each with what it needs and nothing else.

use std::time::Duration;

use super::{callers::VotersOf, permit::CallerId, policy::Policy, time::Timestamp};

/// How long a caller whose probe came back without a verdict lets others go first, and isolated callers those that found
/// no place: twice the longest time that these wait until they ask again.
pub(super) const STEP_BACK: Duration = Duration::from_secs(2);
/// Callers of a round that are remembered, at most: as many as a breaker knows.
const CALLERS_MAX: usize = 256;

/// A state by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// Calls are permitted and judged.
    Closed,
    /// Calls are rejected.
    Open,
    /// Probes decide.
    HalfOpen,
}

impl StateName {
    /// The state as logs, metrics and commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A state with its data. Few breakers are half-open at a time, so a round is kept elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls are permitted and judged.
    Closed,
    /// Calls are rejected until the open period has passed.
    Open {
        /// When it has.
        until: Timestamp,
        /// Recoveries that have failed in a row.
        failed_recoveries: u32,
    },
    /// Probes decide.
    HalfOpen(Box<Round>),
}

/// A half-open round: what its probes have said so far.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Round {
    /// When its first probe was granted, from which the time without a verdict counts. Before that, when it was entered; an
    /// override makes a round start over, so this may be later than the move to half-open.
    pub began: Timestamp,
    /// When the round ends without a verdict. [`Timestamp::NEVER`] where there is no limit, and until its first probe is
    /// granted.
    pub until: Timestamp,
    /// Probes granted in it.
    pub granted: u32,
    /// Probes that succeeded.
    pub successes: u32,
    /// Probes that failed.
    pub failures: u32,
    /// Until when the dependency asked to be left alone, with one of the failures.
    pub asked_until: Timestamp,
    /// Recoveries that have failed in a row, before this one.
    pub failed_recoveries: u32,
    /// Callers whose probes failed, one of each voter, in the order they first did.
    pub failed: Vec<CallerId>,
    /// Callers whose probes came back without a verdict, and until when they let others go first.
    pub stepped_back: Vec<(CallerId, Timestamp)>,
    /// When a round reopens that would have, but for want of another caller's failure; [`Timestamp::NEVER`]: it need not.
    pub disputed_until: Timestamp,
    /// Until when a place is kept for a caller that found none: isolated callers do not get it, nor those that stepped
    /// back.
    pub reserved_until: Timestamp,
}

impl Round {
    /// A round that is entered at an instant. It has no end before its first probe.
    fn new(began: Timestamp, failed_recoveries: u32) -> Self {
        Self { began, failed_recoveries, until: Timestamp::NEVER, disputed_until: Timestamp::NEVER, ..Self::default() }
    }

    /// Changes how long it may take without a verdict.
    pub(super) fn limit_to(&mut self, limit: Option<Duration>) {
        let limit = limit.filter(|_| self.granted != 0);
        self.until = limit.map_or(Timestamp::NEVER, |limit| self.began.after(limit));
    }

    /// Whether a caller may have the next probe. In a dispute, one that has failed may not; nor, where a place is kept,
    /// one whose probe was no help. What one caller did, all callers did that are one voter with it.
    pub(super) fn may_probe(&self, voters: VotersOf<'_>, caller: CallerId, now: Timestamp, is_disputed: bool) -> bool {
        let mut stepped_back = self.stepped_back.iter().filter(|(who, _)| voters.are_one(*who, caller));
        let waits = stepped_back.any(|(_, until)| now < *until || now < self.reserved_until);
        !(waits || (is_disputed && self.has_failed(voters, caller)))
    }

    /// Whether a probe of the caller's voter has failed.
    pub(super) fn has_failed(&self, voters: VotersOf<'_>, caller: CallerId) -> bool {
        self.failed.iter().any(|failed| voters.are_one(*failed, caller))
    }

    /// Whether enough probes have failed, but of fewer voters than it takes.
    pub(super) fn is_disputed(&self, policy: &Policy, quorum: usize, voters: VotersOf<'_>) -> bool {
        quorum > 1 && self.failures >= policy.failures_to_reopen && voters.count(&self.failed) < quorum
    }

    pub(super) fn step_back(&mut self, caller: CallerId, now: Timestamp) {
        self.stepped_back.retain(|(who, _)| *who != caller);
        if self.stepped_back.len() < CALLERS_MAX {
            self.stepped_back.push((caller, now.after(STEP_BACK)));
        }
    }

    /// A caller found no place.
    pub(super) fn reserve(&mut self, voters: VotersOf<'_>, caller: CallerId, now: Timestamp) {
        if !self.stepped_back.iter().any(|(who, _)| voters.are_one(*who, caller)) {
            self.reserved_until = now.after(STEP_BACK);
        }
    }

    pub(super) fn note_failure(&mut self, voters: VotersOf<'_>, caller: CallerId) {
        if !self.has_failed(voters, caller) && self.failed.len() < CALLERS_MAX {
            self.failed.push(caller);
        }
    }
}

impl State {
    /// Half-open, with a round without probes.
    pub(super) fn half_open(now: Timestamp, failed_recoveries: u32) -> Self {
        Self::HalfOpen(Box::new(Round::new(now, failed_recoveries)))
    }

    /// The state as it was stored. Before this version a round ended by time also without a probe.
    pub(super) fn restored(mut self) -> Self {
        if let Self::HalfOpen(round) = &mut self
            && round.granted == 0
        {
            round.until = Timestamp::NEVER;
        }
        self
    }

    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Closed => StateName::Closed,
            Self::Open { .. } => StateName::Open,
            Self::HalfOpen(_) => StateName::HalfOpen,
        }
    }

    /// Whether it is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// When the state ends by itself.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        match self {
            Self::Closed => Timestamp::NEVER,
            Self::Open { until, .. } => *until,
            Self::HalfOpen(round) => round.until.min(round.disputed_until),
        }
    }

    /// The half-open round.
    #[must_use]
    pub fn round(&self) -> Option<&Round> {
        if let Self::HalfOpen(round) = self { Some(round) } else { None }
    }

    /// Recoveries that have failed in a row since it was last closed.
    #[must_use]
    pub const fn failed_recoveries(&self) -> u32 {
        match self {
            Self::Closed => 0,
            Self::Open { failed_recoveries, .. } => *failed_recoveries,
            Self::HalfOpen(round) => round.failed_recoveries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: VotersOf<'static> = VotersOf::CALLERS;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_caller_that_stepped_back_lets_others_go_first_for_two_seconds() {
        let (one, other) = (CallerId(1), CallerId(2));
        let mut round = Round::new(at(10), 0);
        assert!(round.may_probe(VOTERS, one, at(10), false));
        round.step_back(one, at(10));
        let end = at(12).before(Duration::from_nanos(1));
        assert_eq!([end, at(12)].map(|now| round.may_probe(VOTERS, one, now, false)), [false, true]);
        assert!(round.may_probe(VOTERS, other, at(10), false));
        round.step_back(one, at(11));
        assert_eq!(round.stepped_back, [(one, at(13))], "the last time counts");

        // A place that is kept is kept from it, not from others.
        round.reserve(VOTERS, one, at(20));
        assert_eq!(round.reserved_until, Timestamp::default(), "for itself none is kept");
        round.reserve(VOTERS, other, at(20));
        let end = at(22).before(Duration::from_nanos(1));
        assert_eq!([end, at(22)].map(|now| round.may_probe(VOTERS, one, now, false)), [false, true]);
        assert!(round.may_probe(VOTERS, other, end, false));
    }

    #[test]
    fn in_a_dispute_a_caller_whose_probe_failed_gets_none() {
        let policy = Policy { failures_to_reopen: 2, ..Policy::default() };
        let (one, other) = (CallerId(1), CallerId(2));
        let mut round = Round { failures: 1, ..Round::new(at(10), 0) };
        round.note_failure(VOTERS, one);
        round.note_failure(VOTERS, one);
        assert_eq!(round.failed, [one]);
        assert!(!round.is_disputed(&policy, 2, VOTERS), "too few have failed");
        round.failures = 2;
        assert!(round.is_disputed(&policy, 2, VOTERS));
        assert!(!round.is_disputed(&policy, 1, VOTERS), "one caller is enough");
        assert_eq!([true, false].map(|disputed| round.may_probe(VOTERS, one, at(10), disputed)), [false, true]);
        assert!(round.may_probe(VOTERS, other, at(10), true));
        round.note_failure(VOTERS, other);
        assert!(!round.is_disputed(&policy, 2, VOTERS));
    }

    #[test]
    fn a_round_remembers_as_many_callers_as_a_breaker_knows() {
        let mut round = Round::new(at(10), 0);
        for caller in 0..300 {
            round.note_failure(VOTERS, CallerId(caller));
            round.step_back(CallerId(caller), at(10));
        }
        assert_eq!((round.failed.len(), round.stepped_back.len()), (256, 256));
    }

    #[test]
    fn a_state_ends_by_itself_when_it_says() {
        let open = State::Open { until: at(5), failed_recoveries: 3 };
        let round = Round { until: at(9), disputed_until: at(8), ..Round::new(at(1), 4) };
        let half_open = State::HalfOpen(Box::new(round));
        let states = [&State::Closed, &open, &half_open];
        assert_eq!(states.map(State::until), [Timestamp::NEVER, at(5), at(8)]);
        assert_eq!(states.map(State::failed_recoveries), [0, 3, 4]);
        assert_eq!(states.map(State::is_closed), [true, false, false]);
        assert_eq!(states.map(|state| state.round().is_some()), [false, false, true]);
    }
}
