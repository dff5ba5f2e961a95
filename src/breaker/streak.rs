//! Failures in a row.
//!
//! Invariant: `length` failures were counted since the last success, all younger than the monitoring period where the
//! policy has one; only then is each failure's instant kept, and of those only as many as the threshold asks for.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use super::{policy::Policy, time::Timestamp};

/// Places that a streak may have whatever memory others take: 2 KiB.
const SMALL: usize = 128;

/// The run of failures since the last success.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Streak {
    length: u64,
    /// Until when a dependency asked to be left alone, with one of these failures.
    asked_until: Timestamp,
    /// When each failure was, and what it asked for; oldest first. Only under a monitoring period.
    #[expect(clippy::box_collection, reason = "8 bytes of an idle breaker instead of 32")]
    recent: Option<Box<VecDeque<(Timestamp, Timestamp)>>>,
}

impl Streak {
    pub(super) const fn new() -> Self {
        Self { length: 0, asked_until: Timestamp::from_nanos(0), recent: None }
    }

    pub(super) fn clear(&mut self) {
        if self.length > 0 {
            *self = Self::default();
        }
    }

    /// Counts failures. Their instants take at most `room` bytes more memory than there is; past that the oldest go.
    pub(super) fn extend(
        &mut self,
        policy: &Policy,
        at: Timestamp,
        failures: u64,
        asked_until: Timestamp,
        room: usize,
    ) {
        self.length += failures;
        self.asked_until = self.asked_until.max(asked_until);
        let Some(keep) = kept(policy) else {
            self.recent = None;
            return;
        };
        let recent = self.recent.get_or_insert_default();
        // A tally may tell of failures that are older than those reported meanwhile.
        let place = recent.partition_point(|(earlier, _)| *earlier <= at);
        // A queue that grows has twice the places.
        let may_grow = recent.capacity() < SMALL || room > recent.capacity() * size_of::<(Timestamp, Timestamp)>();
        let keep = if may_grow { keep } else { keep.min(recent.capacity()) };
        let added = usize::try_from(failures).unwrap_or(usize::MAX).min(keep);
        // The oldest go first, so that the queue has at most `keep` places: of those before the new ones, then of these.
        let mut excess = (recent.len() + added).saturating_sub(keep);
        let is_trimmed = excess != 0;
        let older = excess.min(place);
        recent.drain(..older);
        excess -= older;
        let (place, added, later) = (place - older, added.saturating_sub(excess), excess.saturating_sub(added));
        recent.drain(..later);
        let newer = recent.split_off(place);
        recent.extend(std::iter::repeat_n((at, asked_until), added));
        recent.extend(newer);
        if is_trimmed {
            self.asked_until = latest_asked(recent);
        }
    }

    /// Failures in a row that count now. Forgets those that have aged out.
    pub(super) fn length(&mut self, policy: &Policy, now: Timestamp) -> u64 {
        let (Some(period), Some(_)) = (policy.monitoring_period, policy.failure_threshold) else { return self.length };
        let Some(recent) = &mut self.recent else { return self.length };
        let aged_out = recent.iter().take_while(|(at, _)| now.since(*at) >= period).count();
        if aged_out != 0 {
            recent.drain(..aged_out);
            self.asked_until = latest_asked(recent);
        }
        self.length = recent.len() as u64;
        if recent.is_empty() {
            self.recent = None;
        }
        self.length
    }

    /// Takes out failures that one caller has told: the newest of its own run.
    pub(super) fn forget(&mut self, failures: u64, own: &Self) {
        let Some(recent) = &mut self.recent else {
            self.length = self.length.saturating_sub(failures);
            if self.length == 0 {
                self.asked_until = Timestamp::default();
            }
            return;
        };
        let mut left = failures;
        for told in own.recent.iter().flat_map(|own| own.iter().rev()) {
            if left == 0 {
                break;
            }
            if let Some(place) = recent.iter().rposition(|failure| failure == told) {
                recent.remove(place);
                left -= 1;
            }
        }
        self.length = recent.len() as u64;
        self.asked_until = latest_asked(recent);
    }

    pub(super) const fn asked_until(&self) -> Timestamp {
        self.asked_until
    }

    /// Memory on the heap, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let recent = self.recent.as_ref();
        recent.map_or(0, |recent| {
            size_of::<VecDeque<(Timestamp, Timestamp)>>() + recent.capacity() * size_of::<(Timestamp, Timestamp)>()
        })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The streak under another policy. One that gains a monitoring period starts to age from now.
    pub(super) fn refit(&mut self, policy: &Policy, now: Timestamp) {
        let was = std::mem::take(self);
        match was.recent {
            Some(recent) if kept(policy).is_some() => {
                for (at, asked) in *recent {
                    self.extend(policy, at, 1, asked, usize::MAX);
                }
            }
            _ if was.length > 0 => self.extend(policy, now, was.length, was.asked_until, usize::MAX),
            _ => {}
        }
    }

    pub(super) fn snapshot(&self) -> StreakSnapshot {
        StreakSnapshot {
            length: self.length,
            asked_until: self.asked_until,
            recent: self.recent.as_ref().map(|recent| recent.iter().copied().collect()),
        }
    }

    pub(super) fn restore(snapshot: StreakSnapshot) -> Self {
        Self {
            length: snapshot.length,
            asked_until: snapshot.asked_until,
            recent: snapshot.recent.map(|recent| Box::new(recent.into())),
        }
    }
}

/// A streak as data.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct StreakSnapshot {
    /// Failures in a row.
    pub length: u64,
    /// Until when a dependency asked to be left alone.
    pub asked_until: Timestamp,
    /// When each failure was and what it asked for, oldest first; only under a monitoring period.
    pub recent: Option<Vec<(Timestamp, Timestamp)>>,
}

/// A fleet's row of failures may have to be longer than the threshold by as much as its calls can double.
const GROWTH_MAX: usize = 64;

/// The latest instant until which a dependency asked to be left alone.
fn latest_asked(recent: &VecDeque<(Timestamp, Timestamp)>) -> Timestamp {
    recent.iter().map(|(_, asked)| *asked).max().unwrap_or_default()
}

/// How many instants are kept; `None` where no age matters.
fn kept(policy: &Policy) -> Option<usize> {
    let (Some(_), Some(threshold)): (Option<Duration>, Option<NonZeroU32>) =
        (policy.monitoring_period, policy.failure_threshold)
    else {
        return None;
    };
    Some(threshold.get() as usize + GROWTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aging() -> Policy {
        let period = Some(Duration::from_secs(10));
        Policy { monitoring_period: period, failure_threshold: NonZeroU32::new(3), ..Policy::default() }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_streak_weighs_its_instants() {
        let mut streak = Streak::new();
        streak.extend(&Policy::default(), at(1), 3, Timestamp::default(), usize::MAX);
        assert_eq!(streak.bytes(), 0, "none are kept");
        streak.clear();
        streak.extend(&aging(), at(1), 3, Timestamp::default(), usize::MAX);
        let places = streak.recent.as_ref().map_or(0, |recent| recent.capacity());
        assert!(places >= 3);
        assert_eq!(streak.bytes(), size_of::<VecDeque<(Timestamp, Timestamp)>>() + places * 16);
    }

    #[test]
    fn as_many_instants_are_kept_as_the_threshold_can_ask_for() {
        let mut streak = Streak::new();
        streak.extend(&aging(), at(1), 1_000, Timestamp::default(), usize::MAX);
        assert_eq!(streak.length(&aging(), at(1)), 3 + GROWTH_MAX as u64);
        let policy = Policy { failure_threshold: NonZeroU32::new(100_000), ..aging() };
        let mut streak = Streak::new();
        streak.extend(&policy, at(1), 10_000, Timestamp::default(), 0);
        assert_eq!(streak.length(&policy, at(1)), 10_000, "a small one may grow once");
        let places = streak.recent.as_ref().map_or(0, |recent| recent.capacity());
        assert!(places >= SMALL);
        streak.extend(&policy, at(2), 50_000, Timestamp::default(), places * 16);
        assert_eq!(streak.length(&policy, at(2)), places as u64, "no more than there is room for");
        streak.extend(&policy, at(3), 50_000, Timestamp::default(), places * 16 + 1);
        assert_eq!(streak.length(&policy, at(3)), 50_000 + places as u64);
    }

    #[test]
    fn failures_age_out_at_the_end_of_the_period_in_the_order_of_their_instants() {
        let mut streak = Streak::new();
        streak.extend(&aging(), at(5), 1, at(100), usize::MAX);
        streak.extend(&aging(), at(3), 1, at(200), usize::MAX);
        assert_eq!(streak.asked_until(), at(200));
        assert_eq!(streak.length(&aging(), at(13).before(Duration::from_nanos(1))), 2);
        assert_eq!((streak.length(&aging(), at(13)), streak.asked_until()), (1, at(100)));
        assert_eq!((streak.length(&aging(), at(15)), streak.asked_until()), (0, Timestamp::default()));
        assert_eq!((streak.is_empty(), streak.bytes()), (true, 0));
    }

    #[test]
    fn a_callers_failures_are_taken_out_by_their_instants() {
        let (mut fleet, mut own) = (Streak::new(), Streak::new());
        for second in 1..=4 {
            fleet.extend(&aging(), at(second), 1, Timestamp::default(), usize::MAX);
        }
        for second in [2, 3] {
            own.extend(&aging(), at(second), 1, Timestamp::default(), usize::MAX);
        }
        let instants = |streak: &Streak| -> Vec<Timestamp> {
            streak.recent.iter().flat_map(|recent| recent.iter().map(|(at, _)| *at)).collect()
        };
        let mut one = fleet.clone();
        one.forget(1, &own);
        assert_eq!((one.length, instants(&one)), (3, vec![at(1), at(2), at(4)]), "the newest of its own");
        fleet.forget(2, &own);
        assert_eq!((fleet.length, instants(&fleet)), (2, vec![at(1), at(4)]));
        let mut plain = Streak { length: 5, asked_until: at(9), recent: None };
        plain.forget(3, &own);
        assert_eq!((plain.length, plain.asked_until()), (2, at(9)));
        plain.forget(3, &own);
        assert_eq!(plain, Streak::new());
    }

    #[test]
    fn a_streak_goes_on_under_another_policy() {
        let mut streak = Streak::new();
        streak.extend(&Policy::default(), at(1), 2, at(50), usize::MAX);
        streak.refit(&aging(), at(20));
        assert_eq!((streak.length(&aging(), at(29)), streak.asked_until()), (2, at(50)), "it ages from now");
        let mut copy = streak.clone();
        copy.refit(&aging(), at(25));
        assert_eq!(copy, streak, "instants stay");
        streak.refit(&Policy::default(), at(25));
        assert_eq!((streak.length(&Policy::default(), at(99)), streak.bytes()), (2, 0));
        let mut empty = Streak::new();
        empty.refit(&aging(), at(25));
        assert_eq!(empty, Streak::new());
    }

    #[test]
    fn failures_that_are_counted_at_once_are_counted_like_one_by_one() {
        let policy = Policy {
            failure_threshold: NonZeroU32::new(10),
            monitoring_period: Some(Duration::from_secs(3_600)),
            ..Policy::default()
        };
        let keep = kept(&policy).unwrap() as u64;
        let (mut bulk, mut single) = (Streak::new(), Streak::new());
        // Some are older than those before them; some tallies have more failures than are kept.
        let tallies = [(50, 3), (70, keep + 5), (60, 7), (10, keep), (80, 1), (20, 200), (80, 30), (75, keep - 1)];
        for (number, (at, failures)) in tallies.into_iter().cycle().take(40).enumerate() {
            let at = Timestamp::from_nanos(at);
            let asked = Timestamp::from_nanos(1_000 * (number as u64 % 7));
            bulk.extend(&policy, at, failures, asked, usize::MAX);
            // Those beyond what is kept leave at once.
            for _ in 0..failures {
                single.extend(&policy, at, 1, asked, usize::MAX);
            }
            let now = Timestamp::from_nanos(100);
            assert_eq!(bulk.length(&policy, now), single.length(&policy, now), "after {number}");
            assert_eq!(bulk.snapshot(), single.snapshot(), "after {number}");
        }
    }

    #[test]
    fn what_a_forgotten_failure_asked_for_is_forgotten_with_it() {
        let (policy, at) = (Policy::default(), Timestamp::from_nanos(1_000));
        let mut streak = Streak::new();
        streak.extend(&policy, at, 1, at.after(Duration::from_secs(60)), usize::MAX);
        streak.forget(1, &streak.clone());
        assert_eq!(streak, Streak::new());
    }
}
