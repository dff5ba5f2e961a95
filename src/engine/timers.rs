//! One ordered set of deadlines for the whole server. What a deadline means is left to the breaker.
//!
//! Invariant: a slot has at most one entry, at the instant its tenant remembers as `scheduled`. Deadlines that move
//! later are not moved here: the entry fires early, which is harmless, and is then set to the new instant.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::breaker::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: Mutex<BTreeSet<(Timestamp, u32)>>,
    /// Rung when the first deadline comes closer.
    sooner: Notify,
}

impl Timers {
    /// Moves a slot's entry from one instant to another. [`Timestamp::NEVER`] stands for no entry.
    pub(super) fn set(&self, slot: u32, from: Timestamp, to: Timestamp) {
        let mut deadlines = self.deadlines.lock();
        if from != Timestamp::NEVER {
            deadlines.remove(&(from, slot));
        }
        if to == Timestamp::NEVER {
            return;
        }
        deadlines.insert((to, slot));
        if deadlines.first() == Some(&(to, slot)) {
            self.sooner.notify_one();
        }
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.deadlines.lock().first().map(|(at, _)| *at)
    }

    /// The first slot that is due. Its entry stays until the slot is set anew.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Timestamp, u32)> {
        self.deadlines.lock().first().copied().filter(|(at, _)| *at <= now)
    }

    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }
}
