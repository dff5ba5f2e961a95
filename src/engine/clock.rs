//! The one reader of time.
//!
//! Invariant: no reading is less than an earlier one. The system clock is read once, when the server starts; from then
//! on a monotonic clock counts, so a jump of the machine's clock neither lengthens nor shortens an open period.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::breaker::Timestamp;

/// How far the time that a server tells may be ahead of what it has stored.
const TOLD_AHEAD: Duration = Duration::from_secs(1);

/// Where the server's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The machine's.
    System {
        /// The server's time at `started`.
        origin: Timestamp,
        /// When the server started, by the monotonic clock.
        started: Instant,
    },
    /// Still, until somebody moves it.
    Manual(AtomicU64),
}

impl Clock {
    /// The machine's clock, but nowhere before `floor`: the last instant that a server before this one has stored. Where the
    /// machine's clock was put back in between, it goes on a second after that, because that server told some more.
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    #[must_use]
    pub fn system(floor: Timestamp) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::default().after(since_epoch);
        let origin = if now < floor { floor.after(TOLD_AHEAD) } else { now };
        Self::System { origin, started: Instant::now() }
    }

    /// A clock that stands still at an instant.
    #[must_use]
    pub const fn manual(at: Timestamp) -> Self {
        Self::Manual(AtomicU64::new(at.as_nanos()))
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System { origin, started } => origin.after(started.elapsed()),
            Self::Manual(now) => Timestamp::from_nanos(now.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward to an instant. The machine's clock moves by itself.
    pub(super) fn move_to(&self, at: Timestamp) {
        if let Self::Manual(now) = self {
            now.fetch_max(at.as_nanos(), Ordering::AcqRel);
        }
    }

    /// Waits until an instant has come; for ever where time stands still, as then somebody moves it and fires what is due.
    #[expect(clippy::disallowed_methods, reason = "this is where timers wait")]
    pub(super) async fn come(&self, at: Timestamp) {
        match self {
            Self::System { .. } => tokio::time::sleep(at.since(self.now())).await,
            Self::Manual(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_on_is_ahead_of_the_machine_only_where_that_was_set_back() {
        let machine = Clock::system(Timestamp::default()).now();
        let second = Duration::from_secs(1);
        let soon = Clock::system(machine).now();
        assert!(soon >= machine && soon < machine.after(60 * second));
        let stored = machine.after(3600 * second);
        assert!(Clock::system(stored).now() >= stored.after(TOLD_AHEAD));
    }
}
