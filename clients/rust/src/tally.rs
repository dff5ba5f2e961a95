//! Calls that were decided here and not told yet. Pure.

use std::{
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{Outcome, Report, pb, wire};

/// The highest count that a tally may carry.
const COUNT_MAX: u32 = 1_000_000;
/// What a pending tally counts as, besides its breaker's key.
const TALLY_BYTES: usize = 256;
/// Bounds a client's pending tallies beyond the one of each breaker that always has its place.
const EXTRA_BYTES_MAX: usize = 512 * 1024;
/// Places that a breaker's list keeps while it is empty.
const KEPT_TALLIES: usize = 4;

/// The calls to one breaker under one pair of generations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    generation: u64,
    caller_generation: u64,
    /// When the oldest of its calls was counted.
    since: Duration,
    successes: u32,
    failures: u32,
    timeouts: u32,
    slow: u32,
    ignored: u32,
    local_failures: u32,
    /// Failures before the first success.
    leading_failures: u32,
    /// The longest run of failures.
    longest_run: u32,
    /// Failures after the last success.
    trailing_failures: u32,
    pub(crate) rejections: u32,
    retry_after: Duration,
}

impl Tally {
    /// Outcomes in it; rejections are none.
    pub(crate) fn calls(&self) -> u64 {
        [self.successes, self.failures, self.timeouts, self.ignored, self.local_failures].map(u64::from).iter().sum()
    }

    fn is_full(&self) -> bool {
        self.calls() >= u64::from(COUNT_MAX) || self.rejections >= COUNT_MAX
    }

    /// It has failures or timeouts.
    pub(crate) const fn has_failures(&self) -> bool {
        self.longest_run > 0
    }

    /// What is lost where it is dropped.
    pub(crate) fn lost(&self) -> Lost {
        Lost { calls: self.calls(), rejections: u64::from(self.rejections) }
    }

    /// One more call.
    pub(crate) fn add(&mut self, report: &Report, is_slow: bool) {
        if report.is_local_failure() {
            self.local_failures += 1;
            return;
        }
        match report.outcome {
            Outcome::Success => {
                self.successes += 1;
                self.trailing_failures = 0;
            }
            Outcome::Failure => self.failures += 1,
            Outcome::Timeout => self.timeouts += 1,
            Outcome::Ignored | Outcome::Cancelled => {
                self.ignored += 1;
                return;
            }
        }
        self.slow += u32::from(is_slow);
        if report.moves() {
            self.trailing_failures += 1;
            self.longest_run = self.longest_run.max(self.trailing_failures);
            if self.successes == 0 {
                self.leading_failures = self.trailing_failures;
            }
            self.retry_after = self.retry_after.max(report.retry_after.unwrap_or_default());
        }
    }

    /// It was decided under generations before those of a status.
    pub(crate) fn is_older_than(&self, status: &pb::BreakerStatus, own: &str) -> bool {
        let caller = status.caller.as_ref().filter(|caller| caller.caller == own);
        self.generation < status.generation || caller.is_some_and(|caller| self.caller_generation < caller.generation)
    }

    /// As it is sent at `now`.
    pub(crate) fn message(&self, breaker: &str, caller: &str, now: Duration) -> pb::Tally {
        let set = |duration: Duration| (!duration.is_zero()).then(|| wire::message(duration));
        pb::Tally {
            breaker: breaker.to_owned(),
            caller: caller.to_owned(),
            generation: self.generation,
            caller_generation: self.caller_generation,
            age: set(now.saturating_sub(self.since)),
            successes: self.successes,
            failures: self.failures,
            timeouts: self.timeouts,
            slow: self.slow,
            ignored: self.ignored,
            rejections: self.rejections,
            trailing_failures: self.trailing_failures,
            leading_failures: self.leading_failures,
            longest_run: self.longest_run,
            local_failures: self.local_failures,
            retry_after: set(self.retry_after),
        }
    }
}

/// What tallies held that the server will not be told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) calls: u64,
    pub(crate) rejections: u64,
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.rejections += other.rejections;
    }
}

/// The room that a client's pending tallies share, beyond the one of each breaker.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: AtomicUsize,
}

impl Budget {
    /// False: there is no room.
    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|&used| used <= EXTRA_BYTES_MAX);
        self.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// A breaker's pending tallies, oldest first: one for each pair of generations, and full ones.
#[derive(Debug)]
pub(crate) struct Tallies {
    pending: Vec<Tally>,
    /// The place of the one that was counted in last.
    last: usize,
    /// What each counts as.
    bytes: usize,
    budget: Arc<Budget>,
}

impl Tallies {
    pub(crate) fn new(key: &str, budget: Arc<Budget>) -> Self {
        Self { pending: Vec::new(), last: 0, bytes: TALLY_BYTES + key.len(), budget }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Some of them have failures or timeouts.
    pub(crate) fn have_failures(&self) -> bool {
        self.pending.iter().any(Tally::has_failures)
    }

    /// The tally for decisions of a pair of generations. `lost` grows by what had to be given up to make room for it.
    pub(crate) fn at(
        &mut self,
        (generation, caller_generation): (u64, u64),
        now: Duration,
        lost: &mut Lost,
    ) -> &mut Tally {
        let matches = |tally: &Tally| {
            (tally.generation, tally.caller_generation) == (generation, caller_generation) && !tally.is_full()
        };
        if !self.pending.get(self.last).is_some_and(matches) {
            self.last = self.pending.iter().rposition(matches).unwrap_or_else(|| {
                if !self.pending.is_empty() && !self.budget.take(self.bytes) {
                    *lost += self.pending.remove(0).lost();
                }
                self.pending.push(Tally { generation, caller_generation, since: now, ..Tally::default() });
                self.pending.len() - 1
            });
        }
        &mut self.pending[self.last]
    }

    /// Keeps those that `stays` names, and gives the room of the others back.
    fn keep(&mut self, stays: impl FnMut(&mut Tally) -> bool) {
        let extra = |count: usize| count.saturating_sub(1);
        let before = extra(self.pending.len());
        self.pending.retain_mut(stays);
        self.budget.give_back(self.bytes * (before - extra(self.pending.len())));
        if self.pending.is_empty() && self.pending.capacity() > KEPT_TALLIES {
            self.pending = Vec::new();
        }
    }

    /// Removes tallies older than `age_max`, and says what was in them.
    pub(crate) fn expire(&mut self, now: Duration, age_max: Duration) -> Lost {
        let mut expired = Lost::default();
        self.keep(|tally| {
            let stays = now.saturating_sub(tally.since) <= age_max;
            if !stays {
                expired += tally.lost();
            }
            stays
        });
        expired
    }

    /// Removes everything, and says what was in it.
    pub(crate) fn clear(&mut self) -> Lost {
        let mut lost = Lost::default();
        self.keep(|tally| {
            lost += tally.lost();
            false
        });
        lost
    }

    /// Removes at most `most` tallies, oldest first.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Tally> {
        let mut taken = Vec::new();
        self.keep(|tally| {
            let stays = taken.len() >= most;
            if !stays {
                taken.push(std::mem::take(tally));
            }
            stays
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    const SECOND: Duration = Duration::from_secs(1);

    fn tallies() -> Tallies {
        Tallies::new("db", Arc::default())
    }

    fn add(tallies: &mut Tallies, generation: u64, outcome: Outcome, at: Duration) -> Lost {
        let mut lost = Lost::default();
        tallies.at((generation, 0), at, &mut lost).add(&Report::new(outcome), false);
        lost
    }

    #[test]
    fn a_tally_tells_its_runs_of_failures_in_order() {
        let mut tallies = tallies();
        // S: success, F: failure, T: timeout, I: ignored, C: cancelled.
        for letter in "FTISFFCTSF".chars() {
            let outcome = match letter {
                'S' => Outcome::Success,
                'F' => Outcome::Failure,
                'T' => Outcome::Timeout,
                'I' => Outcome::Ignored,
                _ => Outcome::Cancelled,
            };
            add(&mut tallies, 1, outcome, SECOND);
        }
        let local = Report { origin: Some(Origin::Local), ..Report::new(Outcome::Failure) };
        tallies.at((1, 0), SECOND, &mut Lost::default()).add(&local, false);
        let message = tallies.take(9)[0].message("db", "web/1", 3 * SECOND);
        assert_eq!((message.successes, message.failures, message.timeouts), (2, 4, 2));
        assert_eq!((message.leading_failures, message.longest_run, message.trailing_failures), (2, 3, 1));
        assert_eq!((message.ignored, message.local_failures), (2, 1));
        assert_eq!(message.age, Some(wire::message(2 * SECOND)));
    }

    #[test]
    fn calls_of_generations_that_alternate_take_two_tallies() {
        let mut tallies = tallies();
        for _ in 0..30 {
            for generation in [2, 1] {
                assert_eq!(add(&mut tallies, generation, Outcome::Success, SECOND), Lost::default());
            }
        }
        let taken = tallies.take(9);
        assert_eq!(taken.iter().map(|tally| (tally.generation, tally.calls())).collect::<Vec<_>>(), [(2, 30), (1, 30)]);
        assert!(tallies.is_empty());
    }

    #[test]
    fn pending_tallies_are_bounded_in_bytes_and_the_oldest_of_the_breaker_is_dropped() {
        let budget = Arc::new(Budget::default());
        let mut db = Tallies::new("db", Arc::clone(&budget));
        let most = EXTRA_BYTES_MAX / (TALLY_BYTES + 2) + 1;
        for generation in 0..most as u64 {
            assert_eq!(add(&mut db, generation, Outcome::Success, SECOND), Lost::default());
            db.at((generation, 0), SECOND, &mut Lost::default()).rejections += 2;
        }
        let oldest = Lost { calls: 1, rejections: 2 };
        assert_eq!(add(&mut db, u64::MAX, Outcome::Success, SECOND), oldest);
        let mut other = Tallies::new("other", Arc::clone(&budget));
        assert_eq!(add(&mut other, 1, Outcome::Success, SECOND), Lost::default(), "one always has its place");
        assert_eq!(add(&mut other, 2, Outcome::Success, SECOND), Lost { calls: 1, rejections: 0 });
        assert_eq!(db.take(most + 1).len(), most);
        assert_eq!(other.clear().calls, 1);
        assert_eq!(budget.used.load(Relaxed), 0, "all room is given back");
    }

    #[test]
    fn what_is_too_old_is_dropped_and_counted() {
        let mut tallies = tallies();
        add(&mut tallies, 1, Outcome::Success, SECOND);
        tallies.at((1, 0), SECOND, &mut Lost::default()).rejections += 1;
        add(&mut tallies, 2, Outcome::Failure, 9 * SECOND);
        assert_eq!(tallies.expire(12 * SECOND, 10 * SECOND), Lost { calls: 1, rejections: 1 });
        assert!(tallies.have_failures());
        assert_eq!(tallies.take(9).len(), 1);
    }
}
