//! What a scope has seen.

use std::time::Duration;

use super::{
    policy::Policy,
    rule::Numbers,
    streak::Streak,
    time::Timestamp,
    transition::TripRule,
    window::{CallerTag, Counts, Window},
};

/// The streak and the window of one scope.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Statistics {
    pub(super) streak: Streak,
    /// Absent while nothing was counted, so that an idle breaker is small.
    window: Option<Box<Window>>,
    /// Successes of the running slice that are not in the window yet.
    ///
    /// As long as the window holds no failure and no slow call, another success cannot make a rule hold. It is then
    /// counted here, beside the state, and the window's memory is touched once a slice instead of once a call.
    pending: u32,
    /// When the running slice ends; zero while successes go to the window at once.
    pending_until: Timestamp,
}

/// Calls to count at once: `failures - trailing` of them before the last success, the others after it.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) counts: Counts,
    pub(super) trailing_failures: u64,
    pub(super) at: Timestamp,
    pub(super) asked_until: Timestamp,
    /// Whose calls they are, where a window of the last calls has to tell them apart.
    pub(super) tag: CallerTag,
}

impl Statistics {
    pub(super) const fn new() -> Self {
        Self { streak: Streak::new(), window: None, pending: 0, pending_until: Timestamp::from_nanos(0) }
    }

    pub(super) fn restore(streak: Streak, window: Option<Window>) -> Self {
        Self { streak, window: window.map(Box::new), ..Self::new() }
    }

    /// As data, with what was pending.
    pub(super) fn snapshot_window(&self) -> Option<Window> {
        let mut copy = self.clone();
        // At an instant of the running slice: the one after it would let the oldest slice age out.
        copy.flush(self.pending_until.before(Duration::from_nanos(1)));
        copy.window.map(|window| *window)
    }

    /// Counts a success that cannot make a rule hold. False where it has to be recorded and judged.
    pub(super) fn pend_success(&mut self, now: Timestamp) -> bool {
        let pends = now < self.pending_until && self.pending < u32::MAX && self.streak.is_empty();
        self.pending += u32::from(pends);
        pends
    }

    /// Brings the window up to date with what was pending.
    fn flush(&mut self, now: Timestamp) {
        let successes = u64::from(std::mem::take(&mut self.pending));
        if let Some(window) = self.window.as_mut().filter(|_| successes > 0) {
            let counts = Counts { successes, ..Counts::default() };
            let within = self.pending_until.before(Duration::from_nanos(1));
            window.record(now, within, &counts, Timestamp::default(), CallerTag::default());
        }
    }

    pub(super) fn record(&mut self, policy: &Policy, now: Timestamp, sample: &Sample) {
        if sample.counts.successes > 0 {
            self.streak.clear();
        }
        if sample.trailing_failures > 0 {
            self.streak.extend(policy, sample.at, sample.trailing_failures, sample.asked_until);
        }
        self.flush(now);
        let window = self.window.get_or_insert_with(|| Box::new(Window::new(policy.window, now)));
        window.record(now, sample.at, &sample.counts, sample.asked_until, sample.tag);
        let inside = window.counts(now);
        let can_pend = inside.failures == 0 && inside.slow == 0;
        self.pending_until = if can_pend { window.slice_end() } else { Timestamp::default() };
    }

    /// What the trip rules look at.
    pub(super) fn numbers(&mut self, policy: &Policy, now: Timestamp) -> Numbers {
        Numbers { streak: self.streak.length(policy, now), counts: self.counts(now) }
    }

    /// Until when the dependency asked to be left alone, by the failures that this rule counts.
    pub(super) fn asked_until(&mut self, rule: TripRule, now: Timestamp) -> Timestamp {
        match rule {
            TripRule::FailureThreshold => self.streak.asked_until(),
            _ => {
                self.flush(now);
                self.window.as_mut().map_or_else(Timestamp::default, |window| window.asked_until(now))
            }
        }
    }

    pub(super) fn counts(&mut self, now: Timestamp) -> Counts {
        self.flush(now);
        self.window.as_mut().map_or_else(Counts::default, |window| window.counts(now))
    }

    /// What a caller's calls in this window add up to; `own` is that caller's statistics.
    pub(super) fn counts_of(&mut self, now: Timestamp, tag: CallerTag, own: &mut Self) -> Counts {
        self.flush(now);
        let tagged = self.window.as_ref().and_then(|window| window.counts_of(tag));
        tagged.unwrap_or_else(|| own.counts(now))
    }

    /// Takes out what one caller has told: `failures` of the streak, and the calls of the window.
    pub(super) fn forget(&mut self, now: Timestamp, tag: CallerTag, failures: u64, own: &mut Self) {
        self.streak.forget(failures, &own.streak);
        self.flush(now);
        own.flush(now);
        if let Some(window) = &mut self.window {
            window.forget(now, tag, own.window.as_deref());
        }
    }

    /// Gives the calls of one tag another.
    pub(super) fn retag(&mut self, now: Timestamp, from: CallerTag, to: CallerTag) {
        self.flush(now);
        if let Some(window) = &mut self.window {
            window.retag(from, to);
            self.pending_until = Timestamp::default();
        }
    }

    pub(super) fn refit(&mut self, policy: &Policy, now: Timestamp) {
        self.flush(now);
        self.pending_until = Timestamp::default();
        self.streak.refit(policy, now);
        self.window = self.window.take().map(|window| Box::new(window.refit(policy.window, now)));
    }

    /// Gives memory back where everything has aged out. True where nothing is left.
    pub(super) fn tidy(&mut self, policy: &Policy, now: Timestamp) -> bool {
        if self.counts(now) == Counts::default() {
            self.window = None;
            self.pending_until = Timestamp::default();
        }
        self.streak.length(policy, now);
        self.window.is_none() && self.streak.is_empty()
    }
}
