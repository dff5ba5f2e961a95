//! Whether the serving threads make progress, which is what liveness reports.
//!
//! Each serving thread runs [`Pulse::keep`] beside its listener: once a second it makes an Acquire of a private breaker, along
//! the road and the locks of every other Acquire ([`Engine::check_progress`]), and notes when it came through. A thread that hangs
//! in a lock or in a blocking call notes nothing, and neither does one whose runtime does not get to its tasks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::engine::Engine;

/// Time between two beats of a thread.
const INTERVAL: Duration = Duration::from_secs(1);
/// Silence after which a thread counts as stalled. An overloaded thread is late by milliseconds, not by seconds.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// The beat of a thread that has ended.
const AT_REST: u64 = u64::MAX;

/// The beats of all serving threads. Clones share them.
#[derive(Clone, Debug)]
pub struct Pulse {
    started: Instant,
    interval: Duration,
    stalled_after: Duration,
    /// When each thread last came through, in milliseconds since `started`.
    beats: Arc<[AtomicU64]>,
}

/// A serving thread that makes no progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stalled {
    /// Number of the thread, from 0.
    pub thread: usize,
    /// Time since its last beat.
    pub silent_for: Duration,
}

impl Pulse {
    /// Beats of this many threads, which have to begin within the time that they may be silent.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self::with(threads, INTERVAL, STALLED_AFTER)
    }

    /// As [`Pulse::new`], with the time between beats and the silence after which a thread counts as stalled.
    #[expect(
        clippy::disallowed_methods,
        reason = "threads make progress in real time, whatever clock the breakers have"
    )]
    #[must_use]
    pub fn with(threads: usize, interval: Duration, stalled_after: Duration) -> Self {
        let beats = (0..threads).map(|_| AtomicU64::new(0)).collect();
        Self { started: Instant::now(), interval, stalled_after, beats }
    }

    /// Beats on the thread that polls it, until it is dropped.
    #[expect(
        clippy::disallowed_methods,
        reason = "threads make progress in real time, whatever clock the breakers have"
    )]
    pub async fn keep(&self, thread: usize, engine: &Engine) {
        let Some(beat) = self.beats.get(thread) else { return };
        let _at_rest = AtRest(beat);
        for turn in 0.. {
            engine.check_progress(turn);
            beat.store(self.now(), Ordering::Relaxed);
            tokio::time::sleep(self.interval).await;
        }
    }

    /// The thread that has been silent the longest, if that is longer than a working thread ever is.
    #[must_use]
    pub fn stalled(&self) -> Option<Stalled> {
        let now = self.now();
        let silent_for = |beat: &AtomicU64| match beat.load(Ordering::Relaxed) {
            AT_REST => Duration::ZERO,
            beat => Duration::from_millis(now.saturating_sub(beat)),
        };
        let longest = self.beats.iter().map(silent_for).enumerate().max_by_key(|(_, silent_for)| *silent_for);
        let (thread, silent_for) = longest.filter(|(_, silent_for)| *silent_for > self.stalled_after)?;
        Some(Stalled { thread, silent_for })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(AT_REST)
    }
}

impl Default for Pulse {
    /// Of no threads: nothing stalls.
    fn default() -> Self {
        Self::new(0)
    }
}

/// A thread that has ended is not stalled.
struct AtRest<'a>(&'a AtomicU64);

impl Drop for AtRest<'_> {
    fn drop(&mut self) {
        self.0.store(AT_REST, Ordering::Relaxed);
    }
}
