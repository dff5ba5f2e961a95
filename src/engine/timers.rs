//! One ordered set of deadlines for the whole server. What a deadline means is left to the breaker.
//!
//! Invariant: a slot has at most one entry, at the instant its tenant remembers as `scheduled`. Deadlines that move
//! later are not moved here: the entry fires early, which is harmless, and is then set to the new instant.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::breaker::Timestamp;

/// An instant and a slot, in the 12 bytes that they need: there is one for each breaker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Deadline([u32; 3]);

impl Deadline {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
    const fn new(at: Timestamp, slot: u32) -> Self {
        Self([(at.as_nanos() >> 32) as u32, at.as_nanos() as u32, slot])
    }

    const fn at(self) -> Timestamp {
        Timestamp::from_nanos(((self.0[0] as u64) << 32) | self.0[1] as u64)
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: Mutex<BTreeSet<Deadline>>,
    /// Rung when the first deadline comes closer.
    sooner: Notify,
}

impl Timers {
    /// Moves a slot's entry from one instant to another. [`Timestamp::NEVER`] stands for no entry.
    pub(super) fn set(&self, slot: u32, from: Timestamp, to: Timestamp) {
        let mut deadlines = self.deadlines.lock();
        if from != Timestamp::NEVER {
            deadlines.remove(&Deadline::new(from, slot));
        }
        if to == Timestamp::NEVER {
            return;
        }
        let deadline = Deadline::new(to, slot);
        deadlines.insert(deadline);
        if deadlines.first() == Some(&deadline) {
            self.sooner.notify_one();
        }
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.deadlines.lock().first().map(|deadline| deadline.at())
    }

    /// The first slot that is due. Its entry stays until the slot is set anew.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let first = self.deadlines.lock().first().copied();
        first.map(|deadline| (deadline.at(), deadline.0[2])).filter(|(at, _)| *at <= now)
    }

    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }
}
