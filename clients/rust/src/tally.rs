//! Calls that were decided here and not told yet. Pure.

use std::{collections::VecDeque, time::Duration};

use crate::{Outcome, Report, pb, wire};

/// The highest count that a tally may carry.
const COUNT_MAX: u32 = 1_000_000;
/// Tallies of earlier generations that wait for a batch, for each breaker. Beyond, the oldest is dropped.
const SEALED_MAX: usize = 16;

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

    fn is_empty(&self) -> bool {
        self.calls() == 0 && self.rejections == 0
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

/// A breaker's tallies: the one that counts, and those of earlier generations, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    current: Tally,
    sealed: VecDeque<Tally>,
}

impl Tallies {
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_empty() && self.sealed.is_empty()
    }

    /// The tally for decisions of a pair of generations. What counted under another is sealed; `dropped` grows by the
    /// calls that had to be given up for it.
    pub(crate) fn at(
        &mut self,
        (generation, caller_generation): (u64, u64),
        now: Duration,
        dropped: &mut u64,
    ) -> &mut Tally {
        let current = &self.current;
        let is_other = (current.generation, current.caller_generation) != (generation, caller_generation);
        let is_full = current.calls() >= u64::from(COUNT_MAX) || current.rejections == COUNT_MAX;
        if !current.is_empty() && (is_other || is_full) {
            self.seal(dropped);
        }
        if self.current.is_empty() {
            self.current = Tally { generation, caller_generation, since: now, ..Tally::default() };
        }
        &mut self.current
    }

    fn seal(&mut self, dropped: &mut u64) {
        if self.sealed.len() == SEALED_MAX {
            *dropped += self.sealed.pop_front().map_or(0, |oldest| oldest.calls());
        }
        self.sealed.push_back(std::mem::take(&mut self.current));
    }

    /// Removes tallies older than `age_max`, and says how many calls were in them.
    pub(crate) fn expire(&mut self, now: Duration, age_max: Duration) -> u64 {
        let mut expired = 0;
        let mut has_expired = |tally: &Tally| {
            let is_old = now.saturating_sub(tally.since) > age_max;
            expired += if is_old { tally.calls() } else { 0 };
            is_old
        };
        self.sealed.retain(|tally| !has_expired(tally));
        if has_expired(&self.current) {
            self.current = Tally::default();
        }
        expired
    }

    /// Removes everything, and says how many calls were in it.
    pub(crate) fn clear(&mut self) -> u64 {
        let all = std::mem::take(self);
        all.sealed.iter().chain([&all.current]).map(Tally::calls).sum()
    }

    /// Removes at most `most` tallies, oldest first.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Tally> {
        let mut taken: Vec<_> = self.sealed.drain(..self.sealed.len().min(most)).collect();
        if taken.len() < most && !self.current.is_empty() {
            taken.push(std::mem::take(&mut self.current));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    const SECOND: Duration = Duration::from_secs(1);

    fn add(tallies: &mut Tallies, generation: u64, outcome: Outcome, at: Duration) {
        tallies.at((generation, 0), at, &mut 0).add(&Report::new(outcome), false);
    }

    #[test]
    fn a_tally_tells_the_failures_in_a_row_since_the_last_success() {
        let mut tallies = Tallies::default();
        for outcome in [Outcome::Failure, Outcome::Success, Outcome::Timeout, Outcome::Failure, Outcome::Ignored] {
            add(&mut tallies, 1, outcome, SECOND);
        }
        let local = Report { origin: Some(Origin::Local), ..Report::new(Outcome::Failure) };
        tallies.at((1, 0), SECOND, &mut 0).add(&local, false);
        let message = tallies.take(9)[0].message("db", "web/1", 3 * SECOND);
        assert_eq!((message.successes, message.failures, message.timeouts), (1, 2, 1));
        assert_eq!((message.trailing_failures, message.ignored, message.local_failures), (2, 1, 1));
        assert_eq!(message.age, Some(wire::message(2 * SECOND)));
    }

    #[test]
    fn calls_of_two_generations_are_told_apart_the_older_first() {
        let mut tallies = Tallies::default();
        add(&mut tallies, 1, Outcome::Success, SECOND);
        add(&mut tallies, 2, Outcome::Success, SECOND);
        let taken = tallies.take(9);
        assert_eq!(taken.iter().map(|tally| tally.generation).collect::<Vec<_>>(), [1, 2]);
        assert!(tallies.is_empty());
    }

    #[test]
    fn what_is_too_old_or_too_much_is_dropped_and_counted() {
        let mut tallies = Tallies::default();
        let mut dropped = 0;
        for generation in 0..=SEALED_MAX as u64 + 1 {
            tallies.at((generation, 0), SECOND, &mut dropped).add(&Report::new(Outcome::Success), false);
        }
        assert_eq!(dropped, 1);
        assert_eq!(tallies.expire(12 * SECOND, 10 * SECOND), SEALED_MAX as u64 + 1);
        assert!(tallies.is_empty());
    }
}
