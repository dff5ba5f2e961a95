//! What a scope has seen.

use std::time::Duration;

use super::{
    outcome::Runs,
    policy::Policy,
    rule::{self, Numbers, Trigger, Trip},
    streak::Streak,
    time::Timestamp,
    transition::{Evidence, TripRule},
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

/// Calls to count at once, with what is known of their order.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) counts: Counts,
    pub(super) runs: Runs,
    pub(super) at: Timestamp,
    pub(super) asked_until: Timestamp,
    /// Whose calls they are, where a window of the last calls has to tell them apart.
    pub(super) tag: CallerTag,
    /// Memory that statistics may take beyond what they have, in bytes.
    pub(super) room: usize,
    /// Set for a caller's own statistics: the most calls of its count window. Without room they have no window.
    pub(super) own_calls_max: Option<usize>,
}

impl Default for Sample {
    fn default() -> Self {
        let (counts, runs, tag) = (Counts::default(), Runs::default(), CallerTag::default());
        let (at, asked_until) = (Timestamp::default(), Timestamp::default());
        Self { counts, runs, at, asked_until, tag, room: usize::MAX, own_calls_max: None }
    }
}

/// A rule that held on the way through a sample, and the numbers that it held on.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) trip: Trip,
    pub(super) numbers: Numbers,
    pub(super) asked_until: Timestamp,
}

/// Calls of a sample that are counted together, and the run of failures that they leave behind.
#[derive(Clone, Copy, Default)]
struct Part {
    counts: Counts,
    run: u64,
}

/// Most parts of a sample: its leading failures, successes up to the minimum of either rate, those before the last
/// success, and the end.
const PARTS: usize = 5;

impl Reached {
    /// The numbers behind the move that follows, where the scope has gone on since.
    pub(super) fn evidence(&self, scope: Evidence) -> Evidence {
        Evidence {
            threshold: self.trip.threshold,
            consecutive_failures: self.numbers.streak,
            window: self.numbers.counts,
            ..scope
        }
    }
}

impl Sample {
    /// The last of the calls: what they are of, so far as it matters to which rules they may make hold. As in the order of
    /// [`Sample::parts`], failures come last where no runs are reported, and so do slow calls.
    pub(super) fn last(&self) -> Counts {
        let is_ended = self.counts.successes != 0 && self.runs.longest != 0;
        let failures = if is_ended { self.runs.trailing } else { self.counts.failures };
        Counts { failures, ..self.counts }
    }

    /// The calls in their order, as far as it is known. Between the first and the last success the failures come last. Which
    /// calls timed out or were slow is not known: the last ones.
    ///
    /// The rules have to be judged after each part. Within a part no rule can hold that holds neither before nor after it:
    /// failures only add to what a rule asks for, and successes only take away, but for the success that completes a
    /// rate's minimum, which ends a part. `calls` are in the window already.
    fn parts(&self, policy: &Policy, calls: u64) -> [Part; PARTS] {
        let (Counts { successes, failures, .. }, Runs { leading, longest, trailing }) = (self.counts, self.runs);
        let mut parts = [Part::default(); PARTS];
        // A client that does not report runs: all failures come last, and only some of them are a run.
        let is_told = longest != 0;
        let leading = if is_told { leading } else { 0 };
        let between = if is_told { failures - leading - trailing } else { 0 };
        let ended = u64::from(between != 0).min(successes);
        parts[0] = Part::of(0, leading, leading);
        let mut left = successes - ended;
        for (part, minimum) in parts[1..3].iter_mut().zip(rule::minimums(policy)) {
            let done = calls + leading + (successes - ended - left);
            let more = minimum.saturating_sub(done);
            if (1..left).contains(&more) {
                *part = Part::of(more, 0, 0);
                left -= more;
            }
        }
        if ended != 0 {
            parts[3] = Part::of(left, between, if longest > leading.max(trailing) { longest } else { 0 });
            left = ended;
        }
        parts[4] = Part::of(left, failures - leading - between, trailing);
        let Counts { mut timeouts, mut slow, .. } = self.counts;
        for Part { counts, .. } in parts.iter_mut().rev() {
            counts.timeouts = timeouts.min(counts.failures);
            counts.slow = slow.min(counts.calls());
            timeouts -= counts.timeouts;
            slow -= counts.slow;
        }
        parts
    }
}

impl Part {
    fn of(successes: u64, failures: u64, run: u64) -> Self {
        Self { counts: Counts { successes, failures, ..Counts::default() }, run }
    }
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
        if let Some(window) = self.window.as_mut().filter(|_| successes != 0) {
            let counts = Counts { successes, ..Counts::default() };
            let within = self.pending_until.before(Duration::from_nanos(1));
            window.record(now, within, &counts, Timestamp::default(), CallerTag::default(), usize::MAX);
        }
    }

    /// Counts calls in the order that is known of them. The rules have to be judged after the last; what comes back is the
    /// first rule that held before that, on the way. `stops`: the calls after it do not count here any more.
    pub(super) fn record(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        sample: &Sample,
        stops: bool,
    ) -> Option<Box<Reached>> {
        let Counts { successes, failures, .. } = sample.counts;
        // Nearly every report.
        if successes == 0 || successes + failures == 1 {
            self.record_part(policy, now, sample, &Part { counts: sample.counts, run: sample.runs.trailing });
            return None;
        }
        let mut reached = None;
        let parts = sample.parts(policy, self.counts(now).calls());
        let (end, way) = parts.split_last()?;
        // All parts together have the room of the sample.
        let before = self.bytes();
        let with_room =
            |taken: usize| Sample { room: sample.room.saturating_sub(taken.saturating_sub(before)), ..*sample };
        for part in way.iter().filter(|part| part.counts.calls() != 0) {
            self.record_part(policy, now, &with_room(self.bytes()), part);
            if reached.is_some() {
                continue;
            }
            reached = self.reached(policy, now, Trigger::of(policy, &part.counts)).map(Box::new);
            if stops && reached.is_some() {
                return reached;
            }
        }
        self.record_part(policy, now, &with_room(self.bytes()), end);
        reached
    }

    /// The rule that holds now, of those that the last calls may make hold.
    pub(super) fn reached(&mut self, policy: &Policy, now: Timestamp, trigger: Trigger) -> Option<Reached> {
        let numbers = self.numbers(policy, now);
        let trip = rule::judge(policy, &numbers, trigger)?;
        Some(Reached { trip, numbers, asked_until: self.asked_until(trip.rule, now) })
    }

    /// Notes a probe, which is in no window: the failures in a row go on over an open period.
    pub(super) fn probed(&mut self, policy: &Policy, sample: &Sample) {
        if sample.counts.successes > 0 {
            self.streak.clear();
        }
        if sample.counts.failures != 0 {
            self.streak.extend(policy, sample.at, sample.counts.failures, sample.asked_until, sample.room);
        }
    }

    fn record_part(&mut self, policy: &Policy, now: Timestamp, sample: &Sample, part: &Part) {
        if part.counts.successes != 0 {
            self.streak.clear();
        }
        if part.run != 0 {
            self.streak.extend(policy, sample.at, part.run, sample.asked_until, sample.room);
        }
        self.flush(now);
        let is_refused = sample.own_calls_max.is_some() && sample.room < Window::bytes_of(policy.window);
        if is_refused && self.window.is_none() {
            return;
        }
        let window = self.window.get_or_insert_with(|| Box::new(Window::new(policy.window, now)));
        if let Some(max) = sample.own_calls_max {
            window.limit(policy.window, max);
        }
        window.record(now, sample.at, &part.counts, sample.asked_until, sample.tag, sample.room);
        let inside = window.counts(now);
        let can_pend = inside.failures == 0 && inside.slow == 0;
        self.pending_until = if can_pend { window.slice_end() } else { Timestamp::default() };
    }

    /// Bounds a count window to the last `max` calls.
    pub(super) fn limit(&mut self, policy: &Policy, max: usize) {
        if let Some(window) = &mut self.window {
            window.limit(policy.window, max);
        }
    }

    /// Memory on the heap, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.window.as_ref().map_or(0, |window| size_of::<Window>() + window.bytes()) + self.streak.bytes()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::policy::WindowSpec;

    fn sample(successes: u64, failures: u64) -> Sample {
        let counts = Counts { successes, failures, ..Counts::default() };
        Sample { counts, runs: Runs { trailing: failures, ..Runs::default() }, ..Sample::default() }
    }

    #[test]
    fn the_last_of_the_calls_are_failures_unless_runs_say_otherwise() {
        let last = |successes, failures, runs| {
            let counts = Counts { successes, failures, ..Counts::default() };
            Sample { counts, runs, ..Sample::default() }.last().failures
        };
        let runs = |longest, trailing| Runs { leading: 0, longest, trailing };
        assert_eq!(last(1, 3, runs(0, 1)), 3, "no runs are reported");
        assert_eq!(last(1, 3, runs(2, 1)), 1);
        assert_eq!(last(1, 3, runs(3, 0)), 0, "a success ended them");
        assert_eq!(last(0, 3, runs(3, 3)), 3);
        assert_eq!(last(0, 3, runs(3, 0)), 3, "without a success nothing did");
    }

    #[test]
    fn a_sample_has_a_part_up_to_each_minimum() {
        let ratio = crate::breaker::policy::Ratio::new(0.5);
        let policy = Policy {
            failure_rate_threshold: ratio,
            minimum_calls: 5,
            slow_call_duration: Some(Duration::from_secs(1)),
            slow_call_rate_threshold: ratio,
            slow_call_minimum_calls: 8,
            ..Policy::default()
        };
        let parts = |sample: Sample, calls: u64| {
            sample.parts(&policy, calls).map(|part| (part.counts.successes, part.counts.failures, part.run))
        };
        let of = |successes, failures, leading, longest, trailing| {
            let counts = Counts { successes, failures, ..Counts::default() };
            Sample { counts, runs: Runs { leading, longest, trailing }, ..Sample::default() }
        };
        let none = (0, 0, 0);
        assert_eq!(parts(of(10, 2, 0, 0, 1), 0), [none, (5, 0, 0), (3, 0, 0), none, (2, 2, 1)]);
        assert_eq!(parts(of(10, 2, 0, 0, 1), 6), [none, none, (2, 0, 0), none, (8, 2, 1)]);
        assert_eq!(parts(of(10, 6, 2, 3, 1), 0), [(0, 2, 2), (3, 0, 0), (3, 0, 0), (3, 3, 3), (1, 1, 1)]);
        assert_eq!(parts(of(10, 6, 3, 3, 1), 9), [(0, 3, 3), none, none, (9, 2, 0), (1, 1, 1)]);
        let mixed = Counts { successes: 10, failures: 6, timeouts: 2, slow: 4 };
        let mixed = Sample { counts: mixed, ..of(10, 6, 2, 3, 1) };
        let told = mixed.parts(&policy, 0).map(|part| (part.counts.timeouts, part.counts.slow));
        assert_eq!(told, [(0, 0), (0, 0), (0, 0), (1, 2), (1, 2)], "the last ones");
    }

    #[test]
    fn statistics_weigh_their_window_and_their_streak() {
        let policy = Policy { monitoring_period: Some(Duration::from_secs(10)), ..Policy::default() };
        let mut statistics = Statistics::new();
        assert_eq!(statistics.bytes(), 0);
        statistics.record(&policy, Timestamp::default(), &sample(1, 0), false);
        let window = size_of::<Window>() + Window::bytes_of(policy.window);
        assert_eq!(statistics.bytes(), window);
        statistics.record(&policy, Timestamp::default(), &sample(0, 1), false);
        assert!(statistics.streak.bytes() > 0);
        assert_eq!(statistics.bytes(), window + statistics.streak.bytes());
    }

    #[test]
    fn a_callers_own_window_is_made_where_there_is_room_for_it() {
        let (policy, now) = (Policy::default(), Timestamp::default());
        let needed = Window::bytes_of(policy.window);
        let own = |room| Sample { own_calls_max: Some(10), room, ..sample(1, 0) };
        let mut statistics = Statistics::new();
        statistics.record(&policy, now, &own(needed - 1), false);
        assert_eq!((statistics.counts(now).calls(), statistics.bytes()), (0, 0));
        statistics.record(&policy, now, &own(needed), false);
        assert_eq!(statistics.counts(now).calls(), 1);
        statistics.record(&policy, now, &own(0), false);
        assert_eq!(statistics.counts(now).calls(), 2, "it is there");
        let mut fleet = Statistics::new();
        fleet.record(&policy, now, &Sample { room: 0, ..sample(1, 0) }, false);
        assert_eq!(fleet.counts(now).calls(), 1, "the fleet's is always made");
    }

    #[test]
    fn a_callers_own_count_window_is_bounded() {
        let policy = Policy { window: WindowSpec::Count(50), ..Policy::default() };
        let now = Timestamp::default();
        let mut statistics = Statistics::new();
        for _ in 0..40 {
            let own = Sample { own_calls_max: Some(10), tag: CallerTag(1), ..sample(1, 0) };
            statistics.record(&policy, now, &own, false);
        }
        assert_eq!(statistics.counts(now).calls(), 10);
        statistics.limit(&policy, 4);
        assert_eq!(statistics.counts(now).calls(), 4);
    }

    #[test]
    fn successes_pend_while_the_window_has_nothing_else() {
        let (policy, now) = (Policy::default(), Timestamp::from_nanos(1));
        let mut statistics = Statistics::new();
        assert!(!statistics.pend_success(now), "there is no window yet");
        statistics.record(&policy, now, &sample(1, 0), false);
        assert!(statistics.pend_success(now));
        let end = statistics.pending_until;
        assert!(statistics.pend_success(end.before(Duration::from_nanos(1))));
        assert!(!statistics.pend_success(end), "another slice");
        assert_eq!(statistics.clone().counts(now).calls(), 3);
        let mut full = Statistics { pending: u32::MAX, ..statistics.clone() };
        assert!(!full.pend_success(now));
        statistics.record(&policy, now, &sample(0, 1), false);
        statistics.record(&policy, now, &sample(1, 0), false);
        assert!(!statistics.pend_success(now), "a failure is inside");
        let slow = Sample { counts: Counts { successes: 1, slow: 1, ..Counts::default() }, ..Sample::default() };
        let mut statistics = Statistics::new();
        statistics.record(&policy, now, &slow, false);
        assert!(!statistics.pend_success(now), "a slow call is inside");
    }

    #[test]
    fn what_has_aged_out_gives_its_memory_back() {
        let policy = Policy::default();
        let mut statistics = Statistics::new();
        statistics.record(&policy, Timestamp::default(), &sample(1, 0), false);
        assert!(!statistics.tidy(&policy, Timestamp::default()));
        let later = Timestamp::default().after(Duration::from_secs(60));
        assert!(statistics.tidy(&policy, later));
        assert_eq!(statistics, Statistics::new());
        statistics.record(&policy, later, &sample(0, 1), false);
        assert!(!statistics.tidy(&policy, later.after(Duration::from_secs(60))), "failures in a row do not age");
        assert_eq!(statistics.bytes(), 0);
    }
}
