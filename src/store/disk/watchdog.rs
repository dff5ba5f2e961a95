//! Notices a write that takes too long.
//!
//! It looks at the writer now and then instead of being woken by it: a wake would cost more than the rest of a short
//! transaction.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Looks while the disk may take its time.
const LOOKS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Watchdog {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    /// Counts writes.
    number: u64,
    is_writing: bool,
    /// The watchdog waits until there is a write.
    is_asleep: bool,
    is_slow: bool,
    is_closed: bool,
}

impl Watchdog {
    /// A write begins.
    pub(super) fn begin(&self) {
        let mut seen = self.seen.lock();
        seen.number += 1;
        seen.is_writing = true;
        if seen.is_asleep {
            self.changed.notify_one();
        }
    }

    /// The write has ended.
    pub(super) fn end(&self) {
        let mut seen = self.seen.lock();
        seen.is_writing = false;
        seen.is_slow = false;
    }

    pub(super) fn close(&self) {
        self.seen.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Calls `slow` once for each write that takes longer than `patience`, while it lasts; until it is closed.
    pub(super) fn run(&self, patience: Duration, slow: impl Fn()) {
        let (mut number, mut looks) = (0, 0);
        let mut seen = self.seen.lock();
        while !seen.is_closed {
            if !seen.is_writing {
                seen.is_asleep = true;
                self.changed.wait(&mut seen);
                seen.is_asleep = false;
                continue;
            }
            (number, looks) = if seen.number == number { (number, looks + 1) } else { (seen.number, 0) };
            if looks >= LOOKS && !seen.is_slow {
                seen.is_slow = true;
                // Under the lock: the write cannot end in between and leave this standing.
                slow();
            }
            self.changed.wait_for(&mut seen, patience / LOOKS);
        }
    }
}
