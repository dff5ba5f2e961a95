//! How a permitted call went.

use std::time::Duration;

/// How a call went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The dependency answered as it should.
    Success,
    /// The dependency failed.
    Failure,
    /// The dependency did not answer in time: a failure, told apart in the numbers.
    Timeout,
    /// The call says nothing about the dependency. Gives the permit back and moves nothing.
    Ignored,
    /// The call never finished. Gives the permit back and moves nothing.
    Cancelled,
}

/// On whose side a failure arose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Origin {
    /// The dependency's, or the way to it.
    #[default]
    Dependency,
    /// The caller's own. Never counts for the fleet.
    Local,
}

/// A report of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it went.
    pub outcome: Outcome,
    /// How long it took. `None`: not measured, and then never slow.
    pub duration: Option<Duration>,
    /// What the dependency asked for by a retry-after of its own. Heard from failures only.
    pub retry_after: Option<Duration>,
    /// On whose side a failure arose.
    pub origin: Origin,
}

impl Report {
    /// A report that says the outcome and nothing more.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        Self { outcome, duration: None, retry_after: None, origin: Origin::Dependency }
    }
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reported {
    /// It counted, once.
    Counted,
    /// It is of an older generation, its lease has ended, or its slice of the permit ledger was given up.
    Stale,
    /// It was reported before.
    Duplicate,
}

/// Calls that a client decided on by itself while the breaker was closed.
///
/// Plain counts cannot express "in a row", so a tally also carries its runs of failures: before its first success, the
/// longest, and after its last success.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// The generation that the client decided under.
    pub generation: u64,
    /// The generation of the caller's scope that it decided under. 0: it has never moved.
    pub caller_generation: u64,
    /// How long ago the calls were, at the oldest.
    pub age: Duration,
    /// Calls that succeeded.
    pub successes: u32,
    /// Calls that failed, without the timeouts.
    pub failures: u32,
    /// Calls that timed out.
    pub timeouts: u32,
    /// Those of the above that were slow.
    pub slow: u32,
    /// Ignored and cancelled calls.
    pub ignored: u32,
    /// Calls that the client rejected.
    pub rejections: u32,
    /// Failures that were the caller's own; not among the above.
    pub local_failures: u32,
    /// Failures and timeouts before the first success; all of them if there is no success.
    pub leading_failures: u32,
    /// Longest run of failures and timeouts without a success in between. 0: the larger of `leading_failures` and
    /// `trailing_failures`. Where these are 0 as well, the client does not report runs.
    pub longest_run: u32,
    /// Failures and timeouts after the last success; all of them if there is no success.
    pub trailing_failures: u32,
    /// The longest retry-after that came with a failure.
    pub retry_after: Option<Duration>,
}

impl Tally {
    /// Calls that count: successes, failures and timeouts.
    #[must_use]
    pub fn counted(&self) -> u64 {
        u64::from(self.successes) + self.failed()
    }

    /// All calls that were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counted() + u64::from(self.ignored) + u64::from(self.local_failures)
    }

    /// Failures and timeouts.
    #[must_use]
    pub fn failed(&self) -> u64 {
        u64::from(self.failures) + u64::from(self.timeouts)
    }

    /// The runs of failures, each within the counts.
    pub(super) fn runs(&self) -> Runs {
        let failed = self.failed();
        if self.successes == 0 {
            return Runs::one(failed);
        }
        let trailing = u64::from(self.trailing_failures).min(failed);
        let leading = u64::from(self.leading_failures).min(failed - trailing);
        if leading == 0 && self.longest_run == 0 {
            return Runs { trailing, ..Runs::default() };
        }
        Runs { leading, longest: u64::from(self.longest_run).min(failed).max(leading).max(trailing), trailing }
    }
}

/// Where the failures of several calls are among their successes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Runs {
    /// Failures before the first success.
    pub(super) leading: u64,
    /// Failures in the longest run. 0 although there are failures: only `trailing` is known.
    pub(super) longest: u64,
    /// Failures after the last success.
    pub(super) trailing: u64,
}

impl Runs {
    /// Failures without a success among them.
    pub(super) const fn one(failures: u64) -> Self {
        Self { leading: failures, longest: failures, trailing: failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up() {
        let tally = Tally { successes: 1, failures: 20, timeouts: 300, ignored: 4_000, ..Tally::default() };
        let tally = Tally { local_failures: 50_000, rejections: 600_000, ..tally };
        assert_eq!((tally.failed(), tally.counted(), tally.calls()), (320, 321, 54_321));
    }

    #[test]
    fn runs_are_read_within_the_counts() {
        let runs = |successes, failures, leading_failures, longest_run, trailing_failures| {
            let tally = Tally {
                successes,
                failures,
                timeouts: 1,
                leading_failures,
                longest_run,
                trailing_failures,
                ..Tally::default()
            };
            let Runs { leading, longest, trailing } = tally.runs();
            (leading, longest, trailing)
        };
        assert_eq!(runs(0, 4, 0, 0, 0), (5, 5, 5), "all of them without a success, whatever is said");
        assert_eq!(runs(2, 4, 0, 0, 3), (0, 0, 3), "a client that does not report runs");
        assert_eq!(runs(2, 4, 1, 0, 3), (1, 3, 3), "the longest of those that are told");
        assert_eq!(runs(2, 4, 2, 0, 1), (2, 2, 1));
        assert_eq!(runs(2, 4, 0, 4, 1), (0, 4, 1));
        assert_eq!(runs(2, 4, 9, 9, 9), (0, 5, 5), "the trailing run first");
        assert_eq!(runs(2, 4, 9, 9, 2), (3, 5, 2));
    }
}
