//! The recent calls, counted: by time in slices, or the last so many.
//!
//! Invariant: the running sum equals a recount of what is inside. A time window of `n` slices holds the running slice
//! of the clock and the `n - 1` full ones before it; nothing is moved by idle time except that it ages out.

use std::collections::VecDeque;

use super::{
    policy::WindowSpec,
    time::{Timestamp, nanos},
};

/// Calls by how they went.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed, timeouts included.
    pub failures: u64,
    /// Those of the failures that were timeouts.
    pub timeouts: u64,
    /// Calls that were slow, whatever their outcome.
    pub slow: u64,
}

impl Counts {
    /// Successes and failures.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.successes + self.failures
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.successes += other.successes;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.slow += other.slow;
    }

    /// Without others, which are among them; never below nothing.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.successes = self.successes.saturating_sub(other.successes);
        self.failures = self.failures.saturating_sub(other.failures);
        self.timeouts = self.timeouts.saturating_sub(other.timeouts);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// The window of one breaker.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// By time.
    Time(TimeWindow),
    /// By number of calls.
    Count(CountWindow),
}

/// Counts by slice of the clock.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct TimeWindow {
    /// Length of a slice in nanoseconds, at least 1.
    pub slice_nanos: u64,
    /// Number of the running slice: time divided by the slice's length.
    pub newest: u64,
    /// What all slices add up to.
    pub sum: Counts,
    /// A ring: slice `i` is at `i % slices.len()`.
    pub slices: Box<[Slice]>,
}

/// The calls of one slice.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Slice {
    /// How they went.
    pub counts: Counts,
    /// Until when a dependency asked to be left alone, with one of these failures.
    pub asked_until: Timestamp,
}

/// Whose calls a window of the last calls holds: a caller's number in its breaker, from 1; 0 where nobody has to know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallerTag(pub u16);

/// The last calls, four bytes each.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CountWindow {
    /// Most calls inside.
    pub length: usize,
    /// The calls inside, oldest first, each with its caller: the sum of 1 for a failure, 2 for a timeout, 4 for a slow
    /// call.
    pub calls: VecDeque<(u8, CallerTag)>,
    /// What the calls of each caller with a tag add up to, by tag. Empty where there is none.
    pub by_caller: Vec<Counts>,
    /// What they add up to.
    pub sum: Counts,
    /// Calls ever recorded: the position of the next one.
    pub position: u64,
    /// Positions of failures that came with a retry-after, with instants that fall from front to back: the front is
    /// the latest instant of all that are inside.
    pub asked_until: VecDeque<(u64, Timestamp)>,
}

const FAILURE: u8 = 1;
const TIMEOUT: u8 = 2;
const SLOW: u8 = 4;

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(spec: WindowSpec, now: Timestamp) -> Self {
        match spec {
            WindowSpec::Time { duration, slices } => {
                let slice_nanos = slice_nanos(duration, slices);
                Self::Time(TimeWindow {
                    slice_nanos,
                    newest: now.as_nanos() / slice_nanos,
                    sum: Counts::default(),
                    slices: vec![Slice::default(); slices as usize].into(),
                })
            }
            WindowSpec::Count(length) => Self::Count(CountWindow {
                length: length as usize,
                calls: VecDeque::new(),
                by_caller: Vec::new(),
                sum: Counts::default(),
                position: 0,
                asked_until: VecDeque::new(),
            }),
        }
    }

    /// Counts calls that happened at `at`, with the latest instant until which the dependency asked to be left alone.
    pub fn record(&mut self, now: Timestamp, at: Timestamp, counts: &Counts, asked_until: Timestamp, tag: CallerTag) {
        match self {
            Self::Time(window) => window.record(now, at, counts, asked_until),
            Self::Count(window) => window.record(counts, asked_until, tag),
        }
    }

    /// What a caller's calls inside add up to. A window by time does not know: the caller's own one does.
    #[must_use]
    pub fn counts_of(&self, tag: CallerTag) -> Option<Counts> {
        match self {
            Self::Time(_) => None,
            Self::Count(window) => Some(window.by_caller.get(usize::from(tag.0)).copied().unwrap_or_default()),
        }
    }

    /// Takes out what one caller has told: its calls by tag, or those of its own window, which has the same slices.
    pub fn forget(&mut self, now: Timestamp, tag: CallerTag, own: Option<&Self>) {
        match (self, own) {
            (Self::Count(window), _) => window.forget(tag),
            (Self::Time(window), Some(Self::Time(own))) => window.forget(now, own),
            (Self::Time(_), _) => {}
        }
    }

    /// Gives the calls of one tag another.
    pub fn retag(&mut self, from: CallerTag, to: CallerTag) {
        if let Self::Count(window) = self {
            window.retag(from, to);
        }
    }

    /// The calls inside, as of now.
    pub fn counts(&mut self, now: Timestamp) -> Counts {
        match self {
            Self::Time(window) => {
                window.advance(now);
                window.sum
            }
            Self::Count(window) => window.sum,
        }
    }

    /// The latest instant until which the dependency asked to be left alone, by a failure inside.
    pub fn asked_until(&mut self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(window) => {
                window.advance(now);
                window.slices.iter().map(|slice| slice.asked_until).max().unwrap_or_default()
            }
            Self::Count(window) => window.asked_until.front().map_or_else(Timestamp::default, |(_, until)| *until),
        }
    }

    /// Until when calls that are told later still go to the same place: the end of the running slice.
    #[must_use]
    pub fn slice_end(&self) -> Timestamp {
        match self {
            Self::Time(window) => Timestamp::from_nanos((window.newest + 1).saturating_mul(window.slice_nanos)),
            Self::Count(window) if window.by_caller.is_empty() => Timestamp::NEVER,
            // Each call has to be told apart.
            Self::Count(_) => Timestamp::default(),
        }
    }

    /// The window under a new spec, with its calls where they still fit: a count window keeps the last calls of the
    /// new length, a time window with other slices starts empty.
    #[must_use]
    pub fn refit(self, spec: WindowSpec, now: Timestamp) -> Self {
        match (self, spec) {
            (Self::Count(mut window), WindowSpec::Count(length)) => {
                window.length = length as usize;
                window.trim();
                Self::Count(window)
            }
            (Self::Time(window), WindowSpec::Time { duration, slices })
                if window.slice_nanos == slice_nanos(duration, slices) && window.slices.len() == slices as usize =>
            {
                Self::Time(window)
            }
            (_, spec) => Self::new(spec, now),
        }
    }
}

fn slice_nanos(duration: std::time::Duration, slices: u32) -> u64 {
    (nanos(duration) / u64::from(slices)).max(1)
}

impl TimeWindow {
    fn advance(&mut self, now: Timestamp) {
        let running = now.as_nanos() / self.slice_nanos;
        let length = self.slices.len() as u64;
        let passed = running.saturating_sub(self.newest).min(length);
        for slice in (running.saturating_sub(passed) + 1)..=running {
            let slot = &mut self.slices[(slice % length) as usize];
            self.sum.subtract(&slot.counts);
            *slot = Slice::default();
        }
        self.newest = self.newest.max(running);
    }

    fn record(&mut self, now: Timestamp, at: Timestamp, counts: &Counts, asked_until: Timestamp) {
        self.advance(now);
        let length = self.slices.len() as u64;
        let slice = (at.as_nanos() / self.slice_nanos).min(self.newest);
        if slice + length <= self.newest {
            return; // Aged out before it arrived.
        }
        let slot = &mut self.slices[(slice % length) as usize];
        slot.counts.add(counts);
        slot.asked_until = slot.asked_until.max(asked_until);
        self.sum.add(counts);
    }

    fn forget(&mut self, now: Timestamp, own: &Self) {
        self.advance(now);
        let length = self.slices.len() as u64;
        if (own.slice_nanos, own.slices.len()) != (self.slice_nanos, self.slices.len()) {
            return;
        }
        let oldest = (self.newest + 1).saturating_sub(length);
        for slice in oldest..=own.newest.min(self.newest) {
            let index = (slice % length) as usize;
            // What the caller's window has not dropped yet is older than its newest slice by less than a round.
            if slice + length > own.newest {
                self.slices[index].counts.subtract(&own.slices[index].counts);
                self.sum.subtract(&own.slices[index].counts);
            }
        }
    }
}

impl CountWindow {
    /// Successes first, then failures: the order a tally's trailing failures are in. Which of a tally's calls were slow
    /// is not known; the last ones are taken.
    fn record(&mut self, counts: &Counts, asked_until: Timestamp, tag: CallerTag) {
        let calls = counts.calls();
        for call in calls.saturating_sub(self.length as u64)..calls {
            let failure = if call >= counts.successes { FAILURE } else { 0 };
            let timeout = if call >= calls - counts.timeouts { TIMEOUT } else { 0 };
            let slow = if call >= calls.saturating_sub(counts.slow) { SLOW } else { 0 };
            let flags = failure | timeout | slow;
            self.calls.push_back((flags, tag));
            self.add(flags, tag);
            self.position += 1;
        }
        if counts.failures > 0 && asked_until > Timestamp::default() {
            while self.asked_until.back().is_some_and(|(_, until)| *until <= asked_until) {
                self.asked_until.pop_back();
            }
            self.asked_until.push_back((self.position - 1, asked_until));
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.calls.len() > self.length {
            let Some((flags, tag)) = self.calls.pop_front() else { break };
            self.subtract(flags, tag);
        }
        let oldest = self.position - self.calls.len() as u64;
        while self.asked_until.front().is_some_and(|(position, _)| *position < oldest) {
            self.asked_until.pop_front();
        }
    }

    fn add(&mut self, flags: u8, tag: CallerTag) {
        let counts = counts_of(flags);
        self.sum.add(&counts);
        if tag != CallerTag::default() {
            let index = usize::from(tag.0);
            if self.by_caller.len() <= index {
                self.by_caller.resize(index + 1, Counts::default());
            }
            self.by_caller[index].add(&counts);
        }
    }

    fn subtract(&mut self, flags: u8, tag: CallerTag) {
        let counts = counts_of(flags);
        self.sum.subtract(&counts);
        if let Some(own) = self.by_caller.get_mut(usize::from(tag.0)) {
            own.subtract(&counts);
        }
    }

    fn forget(&mut self, tag: CallerTag) {
        let (calls, oldest) = (&self.calls, self.position - self.calls.len() as u64);
        // What stays moves up to the newest position.
        let moved = self.asked_until.iter().filter_map(|(position, until)| {
            let index = usize::try_from(position.checked_sub(oldest)?).ok()?;
            let gone_after = calls.range(index + 1..).filter(|(_, of)| *of == tag).count() as u64;
            (calls.get(index)?.1 != tag).then_some((position + gone_after, *until))
        });
        self.asked_until = moved.collect();
        self.calls.retain(|(_, of)| *of != tag);
        if let Some(own) = self.by_caller.get_mut(usize::from(tag.0)) {
            self.sum.subtract(&std::mem::take(own));
        }
    }

    fn retag(&mut self, from: CallerTag, to: CallerTag) {
        for index in 0..self.calls.len() {
            let (flags, tag) = self.calls[index];
            if tag == from {
                self.subtract(flags, from);
                self.calls[index].1 = to;
                self.add(flags, to);
            }
        }
    }
}

fn counts_of(flags: u8) -> Counts {
    let has = |flag: u8| u64::from(flags & flag != 0);
    Counts { successes: 1 - has(FAILURE), failures: has(FAILURE), timeouts: has(TIMEOUT), slow: has(SLOW) }
}
