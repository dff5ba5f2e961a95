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
        for _ in 0..failures.min(keep as u64) {
            recent.insert(place, (at, asked_until));
        }
        while recent.len() > keep {
            recent.pop_front();
        }
    }

    /// Failures in a row that count now. Forgets those that have aged out.
    pub(super) fn length(&mut self, policy: &Policy, now: Timestamp) -> u64 {
        let (Some(period), Some(_)) = (policy.monitoring_period, policy.failure_threshold) else { return self.length };
        let Some(recent) = &mut self.recent else { return self.length };
        while recent.front().is_some_and(|(at, _)| now.since(*at) >= period) {
            recent.pop_front();
        }
        self.length = recent.len() as u64;
        self.asked_until = recent.iter().map(|(_, asked)| *asked).max().unwrap_or_default();
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

    #[test]
    fn what_a_forgotten_failure_asked_for_is_forgotten_with_it() {
        let (policy, at) = (Policy::default(), Timestamp::from_nanos(1_000));
        let mut streak = Streak::new();
        streak.extend(&policy, at, 1, at.after(Duration::from_secs(60)), usize::MAX);
        streak.forget(1, &streak.clone());
        assert_eq!(streak, Streak::new());
    }
}
