//! The recent calls, counted: by time in slices, or the last so many.
//!
//! Invariant: the running sum equals a recount of what is inside. A time window of `n` slices holds the running slice
//! of the clock and the `n - 1` full ones before it; nothing is moved by idle time except that it ages out.

use std::{collections::VecDeque, ops::Range};

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

/// The last calls.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CountWindow {
    /// Most calls inside.
    pub length: usize,
    /// The calls inside, oldest first.
    pub calls: Calls,
    /// What the calls of each caller with a tag add up to, by tag. Empty where there is none.
    pub by_caller: Vec<Counts>,
    /// What they add up to.
    pub sum: Counts,
    /// Calls ever recorded: the position of the next one.
    pub position: u64,
    /// Positions of failures that came with a retry-after, with instants that fall from front to back: the front is
    /// the latest instant of all that are inside. At most [`ASKED_MAX`]: where there are more, the last instant holds until
    /// the newest of these failures leaves the window.
    pub asked_until: VecDeque<(u64, Timestamp)>,
}

/// Most instants that a count window keeps. A dependency that asks for the same instant with every failure needs one.
pub const ASKED_MAX: usize = 64;

const FAILURE: u8 = 1;
const TIMEOUT: u8 = 2;
const SLOW: u8 = 4;

/// Places that a count window may have whatever memory others take: half a KiB, and 2 KiB more for tags.
const SMALL: usize = 1_024;

/// Calls per word of a packed ring.
const PER_WORD: usize = 16;
/// Bits per call.
const BITS: usize = 4;

/// A queue of calls, packed: half a byte per call, and two bytes more for the caller's tag where callers are told apart.
///
/// A call is the sum of 1 for a failure, 2 for a timeout and 4 for a slow call, with the tag of its caller. It is stored and
/// serialized as the sequence of these pairs.
#[derive(Clone, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(from = "VecDeque<(u8, CallerTag)>", into = "VecDeque<(u8, CallerTag)>")]
pub struct Calls {
    /// A ring of [`PER_WORD`] calls per word.
    words: Vec<u64>,
    /// A ring of the same places; empty while no call has a tag.
    tags: Vec<CallerTag>,
    /// The place of the oldest call.
    head: usize,
    len: usize,
}

impl Calls {
    /// The number of calls.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The call at an index, counted from the oldest.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(u8, CallerTag)> {
        (index < self.len).then(|| self.at(self.place(index)))
    }

    /// All calls, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, CallerTag)> {
        (0..self.len).map(|index| self.at(self.place(index)))
    }

    /// Memory on the heap, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>() + self.tags.capacity() * size_of::<CallerTag>()
    }

    /// Whether another call needs more memory.
    const fn is_full(&self) -> bool {
        self.len == self.capacity()
    }

    /// Whether the ring may move to a larger one, when its memory was `before` and may be `room` more.
    const fn may_grow(&self, before: usize, room: usize) -> bool {
        let after = self.bytes() + self.bytes() / 2;
        self.capacity() < SMALL || after.saturating_sub(before) <= room
    }

    const fn capacity(&self) -> usize {
        self.words.len() * PER_WORD
    }

    const fn place(&self, index: usize) -> usize {
        let place = self.head + index;
        if place < self.capacity() { place } else { place - self.capacity() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "half a byte")]
    fn at(&self, place: usize) -> (u8, CallerTag) {
        let flags = (self.words[place / PER_WORD] >> (place % PER_WORD * BITS)) as u8 & 0xf;
        (flags, self.tags.get(place).copied().unwrap_or_default())
    }

    /// Appends `count` equal calls. There is room for them.
    fn push_run(&mut self, flags: u8, tag: CallerTag, count: usize) {
        let (first, second) = self.ranges(self.len, count);
        self.len += count;
        for range in [first, second] {
            fill(&mut self.words, range.clone(), flags);
            self.set_tags(range, tag);
        }
    }

    /// Appends one call, in a larger ring of at most `max` calls if this one is full.
    fn push_back(&mut self, flags: u8, tag: CallerTag, max: usize) {
        if self.is_full() {
            self.grow(max);
        }
        self.push_run(flags, tag, 1);
    }

    /// Removes the oldest calls.
    fn drop_front(&mut self, count: usize) {
        self.head = self.place(count);
        self.len -= count;
    }

    fn clear(&mut self) {
        (self.head, self.len) = (0, 0);
    }

    /// Counts the oldest calls, with the runs of calls that have the same tag.
    fn count_front(&self, count: usize, mut add: impl FnMut(CallerTag, Counts)) {
        let (first, second) = self.ranges(0, count);
        for range in [first, second] {
            if self.tags.is_empty() {
                add(CallerTag::default(), count_of(&self.words, range));
                continue;
            }
            let mut start = range.start;
            for run in self.tags[range].chunk_by(|a, b| a == b) {
                let end = start + run.len();
                add(run[0], count_of(&self.words, start..end));
                start = end;
            }
        }
    }

    /// The places of `count` calls from an index on: a ring has two ranges of them.
    const fn ranges(&self, index: usize, count: usize) -> (Range<usize>, Range<usize>) {
        let start = self.place(index);
        let first = if count < self.capacity() - start { count } else { self.capacity() - start };
        (start..start + first, 0..count - first)
    }

    fn set_tags(&mut self, places: Range<usize>, tag: CallerTag) {
        if self.tags.is_empty() && tag != CallerTag::default() && !places.is_empty() {
            self.tags = vec![CallerTag::default(); self.capacity()];
        }
        if !self.tags.is_empty() {
            self.tags[places].fill(tag);
        }
    }

    /// Gives the calls of one tag another.
    fn retag(&mut self, from: CallerTag, to: CallerTag) {
        if self.tags.is_empty() && from == CallerTag::default() {
            let (first, second) = self.ranges(0, self.len);
            self.set_tags(first, to);
            self.set_tags(second, to);
        }
        // Also in places that are not in use, where it does not matter.
        for tag in &mut self.tags {
            *tag = if *tag == from { to } else { *tag };
        }
    }

    /// Moves the calls to a larger ring, of at most `max` calls.
    fn grow(&mut self, max: usize) {
        self.resize(self.len + self.len / 2 + PER_WORD, max);
    }

    /// Moves the calls to a ring for `wanted` calls, or for `max` where that is less; never for fewer than there are.
    fn resize(&mut self, wanted: usize, max: usize) {
        let words = wanted.min(max).max(self.len + usize::from(self.is_full())).div_ceil(PER_WORD);
        let mut resized = Self { words: vec![0; words], ..Self::default() };
        if !self.tags.is_empty() {
            resized.tags = vec![CallerTag::default(); words * PER_WORD];
        }
        let (first, second) = self.ranges(0, self.len);
        for range in [first, second] {
            copy(&self.words, range.clone(), &mut resized.words, resized.len);
            if !self.tags.is_empty() {
                resized.tags[resized.len..resized.len + range.len()].copy_from_slice(&self.tags[range.clone()]);
            }
            resized.len += range.len();
        }
        *self = resized;
    }
}

/// One bit of each call of a word.
const EACH: u64 = 0x1111_1111_1111_1111;

/// The bits of calls `from..to` of a word.
const fn mask(from: usize, to: usize) -> u64 {
    let below = if to == PER_WORD { u64::MAX } else { (1 << (to * BITS)) - 1 };
    below & (u64::MAX << (from * BITS))
}

/// The words of a range of places, each with the mask of those that are in the range.
fn masked(places: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = places.start / PER_WORD..places.end.div_ceil(PER_WORD);
    words.map(move |word| {
        #[cfg(test)]
        tests::TOUCHED.set(tests::TOUCHED.get() + 1);
        let first = word * PER_WORD;
        (word, mask(places.start.saturating_sub(first), (places.end - first).min(PER_WORD)))
    })
}

/// Writes one call to a range of places.
fn fill(words: &mut [u64], places: Range<usize>, flags: u8) {
    let value = EACH * u64::from(flags & 0xf);
    for (word, mask) in masked(places) {
        words[word] = words[word] & !mask | value & mask;
    }
}

/// The calls of a range of places, added up.
fn count_of(words: &[u64], places: Range<usize>) -> Counts {
    let calls = places.len() as u64;
    let (mut failures, mut timeouts, mut slow) = (0, 0, 0);
    let of = |word: u64, flag: u8| u64::from((word & (EACH * u64::from(flag))).count_ones());
    for (word, mask) in masked(places) {
        let word = words[word] & mask;
        failures += of(word, FAILURE);
        timeouts += of(word, TIMEOUT);
        slow += of(word, SLOW);
    }
    Counts { successes: calls - failures, failures, timeouts, slow }
}

/// Copies a range of places to other words, from a place on. What follows there in its last word is cleared.
fn copy(from: &[u64], places: Range<usize>, to: &mut [u64], place: usize) {
    let (mut start, mut place) = (places.start, place);
    while start < places.end {
        // As many as there are in both words.
        let count = (PER_WORD - start % PER_WORD).min(PER_WORD - place % PER_WORD).min(places.end - start);
        let value = from[start / PER_WORD] >> (start % PER_WORD * BITS) & mask(0, count);
        let word = &mut to[place / PER_WORD];
        *word = *word & mask(0, place % PER_WORD) | value << (place % PER_WORD * BITS);
        start += count;
        place += count;
    }
}

impl PartialEq for Calls {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Calls {}

impl FromIterator<(u8, CallerTag)> for Calls {
    fn from_iter<I: IntoIterator<Item = (u8, CallerTag)>>(calls: I) -> Self {
        let mut packed = Self::default();
        calls.into_iter().for_each(|(flags, tag)| packed.push_back(flags, tag, usize::MAX));
        packed
    }
}

impl From<VecDeque<(u8, CallerTag)>> for Calls {
    fn from(calls: VecDeque<(u8, CallerTag)>) -> Self {
        calls.into_iter().collect()
    }
}

impl From<Calls> for VecDeque<(u8, CallerTag)> {
    fn from(calls: Calls) -> Self {
        calls.iter().collect()
    }
}

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
                calls: Calls::default(),
                by_caller: Vec::new(),
                sum: Counts::default(),
                position: 0,
                asked_until: VecDeque::new(),
            }),
        }
    }

    /// Counts calls that happened at `at`, with the latest instant until which the dependency asked to be left alone. A
    /// count window takes at most `room` bytes more memory than it has; past that, its oldest calls leave early.
    pub fn record(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        counts: &Counts,
        asked_until: Timestamp,
        tag: CallerTag,
        room: usize,
    ) {
        match self {
            Self::Time(window) => window.record(now, at, counts, asked_until),
            Self::Count(window) => window.record(counts, asked_until, tag, room),
        }
    }

    /// Memory on the heap, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Time(window) => window.slices.len() * size_of::<Slice>(),
            Self::Count(window) => {
                window.calls.bytes()
                    + window.by_caller.capacity() * size_of::<Counts>()
                    + window.asked_until.capacity() * size_of::<(u64, Timestamp)>()
            }
        }
    }

    /// Memory on the heap that an empty window of a spec has, in bytes.
    #[must_use]
    pub const fn bytes_of(spec: WindowSpec) -> usize {
        match spec {
            WindowSpec::Time { slices, .. } => slices as usize * size_of::<Slice>(),
            WindowSpec::Count(_) => 0,
        }
    }

    /// Bounds a count window to the last `max` calls, and to those of its spec.
    pub fn limit(&mut self, spec: WindowSpec, max: usize) {
        if let (Self::Count(window), WindowSpec::Count(length)) = (self, spec) {
            window.limit(max.min(length as usize));
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
                window.limit(length as usize);
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
    fn record(&mut self, counts: &Counts, asked_until: Timestamp, tag: CallerTag, room: usize) {
        let before = self.calls.bytes();
        let calls = counts.calls();
        let first = calls.saturating_sub(self.length as u64);
        // Where each kind begins.
        let (failures, timeouts, slow) = (counts.successes, calls - counts.timeouts, calls.saturating_sub(counts.slow));
        let mut ends = [failures, timeouts, slow, calls].map(|end| end.max(first));
        ends.sort_unstable();
        let mut start = first;
        for end in ends {
            let flag = |begins: u64, flag: u8| if start >= begins { flag } else { 0 };
            let flags = flag(failures, FAILURE) | flag(timeouts, TIMEOUT) | flag(slow, SLOW);
            self.push_run(flags, tag, usize::try_from(end - start).unwrap_or(self.length), before, room);
            start = end;
        }
        if counts.failures != 0 && asked_until != Timestamp::default() {
            while self.asked_until.back().is_some_and(|(_, until)| *until <= asked_until) {
                self.asked_until.pop_back();
            }
            let is_full = self.asked_until.len() >= ASKED_MAX;
            match self.asked_until.back_mut().filter(|_| is_full) {
                Some((position, _)) => *position = self.position - 1,
                None => self.asked_until.push_back((self.position - 1, asked_until)),
            }
        }
        self.trim();
    }

    fn limit(&mut self, length: usize) {
        self.length = length;
        if self.calls.len() > length {
            self.trim();
            self.calls.resize(length, length);
        }
    }

    /// Appends `count` equal calls, of which there are at most as many as the window holds. The oldest calls leave where there is
    /// no place for more, in as few steps as the ring grows.
    fn push_run(&mut self, flags: u8, tag: CallerTag, mut count: usize, before: usize, room: usize) {
        self.position += count as u64;
        while count != 0 {
            let is_at_length = self.calls.len() >= self.length;
            if !is_at_length && self.calls.is_full() && self.calls.may_grow(before, room) {
                self.calls.grow(self.length);
                continue;
            }
            let places = self.calls.capacity().min(self.length);
            if places == 0 {
                return;
            }
            let added = match places.saturating_sub(self.calls.len()) {
                // The ring is as large as it may be.
                0 => count.min(places),
                free => count.min(free),
            };
            self.drop_front((self.calls.len() + added).saturating_sub(places));
            self.calls.push_run(flags, tag, added);
            self.add(flags, tag, added as u64);
            count -= added;
        }
    }

    fn drop_front(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        if count >= self.calls.len() {
            self.calls.clear();
            self.sum = Counts::default();
            self.by_caller.fill(Counts::default());
            return;
        }
        let (sum, by_caller) = (&mut self.sum, &mut self.by_caller);
        self.calls.count_front(count, |tag, counts| {
            sum.subtract(&counts);
            if let Some(own) = by_caller.get_mut(usize::from(tag.0)) {
                own.subtract(&counts);
            }
        });
        self.calls.drop_front(count);
    }

    fn trim(&mut self) {
        self.drop_front(self.calls.len().saturating_sub(self.length));
        let oldest = self.position - self.calls.len() as u64;
        while self.asked_until.front().is_some_and(|(position, _)| *position < oldest) {
            self.asked_until.pop_front();
        }
    }

    fn add(&mut self, flags: u8, tag: CallerTag, times: u64) {
        let Counts { successes, failures, timeouts, slow } = counts_of(flags);
        let counts = Counts {
            successes: successes * times,
            failures: failures * times,
            timeouts: timeouts * times,
            slow: slow * times,
        };
        self.sum.add(&counts);
        self.add_to_caller(tag, &counts);
    }

    fn add_to_caller(&mut self, tag: CallerTag, counts: &Counts) {
        if tag != CallerTag::default() {
            let index = usize::from(tag.0);
            if self.by_caller.len() <= index {
                self.by_caller.resize(index + 1, Counts::default());
            }
            self.by_caller[index].add(counts);
        }
    }

    fn forget(&mut self, tag: CallerTag) {
        let oldest = self.position - self.calls.len() as u64;
        // What stays moves up to the newest position.
        let mut asked_until = VecDeque::new();
        let mut gone_after = 0;
        let mut index = self.calls.len();
        for (position, until) in self.asked_until.iter().rev() {
            let place = position.checked_sub(oldest).and_then(|index| usize::try_from(index).ok());
            let Some(place) = place.filter(|place| *place < index) else { continue };
            while index > place + 1 {
                index -= 1;
                gone_after += u64::from(self.calls.at(self.calls.place(index)).1 == tag);
            }
            if self.calls.at(self.calls.place(place)).1 != tag {
                asked_until.push_front((position + gone_after, *until));
            }
        }
        self.asked_until = asked_until;
        self.calls = self.calls.iter().filter(|(_, of)| *of != tag).collect();
        if let Some(own) = self.by_caller.get_mut(usize::from(tag.0)) {
            self.sum.subtract(&std::mem::take(own));
        }
    }

    fn retag(&mut self, from: CallerTag, to: CallerTag) {
        if from == to || self.calls.is_empty() {
            return;
        }
        let counts = if from == CallerTag::default() {
            let mut rest = self.sum;
            self.by_caller.iter().for_each(|own| rest.subtract(own));
            rest
        } else {
            self.by_caller.get_mut(usize::from(from.0)).map_or_else(Counts::default, std::mem::take)
        };
        if counts != Counts::default() {
            self.calls.retag(from, to);
            self.add_to_caller(to, &counts);
        }
    }
}

fn counts_of(flags: u8) -> Counts {
    let has = |flag: u8| u64::from(flags & flag != 0);
    Counts { successes: 1 - has(FAILURE), failures: has(FAILURE), timeouts: has(TIMEOUT), slow: has(SLOW) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Words of rings that were read or written.
        pub(super) static TOUCHED: Cell<usize> = const { Cell::new(0) };
    }

    fn call() -> impl Strategy<Value = (u8, CallerTag)> {
        (0..8_u8, prop::sample::select(vec![0_u16, 0, 0, 1, 2, 300]).prop_map(CallerTag))
    }

    proptest! {
        #[test]
        fn a_packed_queue_is_a_queue(steps in prop::collection::vec((call(), 0..4_u8), 0..400)) {
            let (mut packed, mut plain) = (Calls::default(), VecDeque::new());
            for ((flags, tag), step) in steps {
                match step {
                    0 => {
                        prop_assert_eq!(packed.get(0), plain.pop_front());
                        packed.drop_front(packed.len().min(1));
                    }
                    _ => {
                        packed.push_back(flags, tag, 1_000);
                        plain.push_back((flags, tag));
                    }
                }
                prop_assert_eq!(packed.len(), plain.len());
            }
            prop_assert_eq!(packed.get(packed.len()), None);
            prop_assert!(packed.iter().eq(plain.iter().copied()));
            prop_assert_eq!(&packed, &plain.iter().copied().collect::<Calls>());
            prop_assert_eq!(&VecDeque::from(packed), &plain);
        }
    }

    /// Records calls one at a time, as the window is defined.
    fn record_one_by_one(window: &mut CountWindow, counts: &Counts, tag: CallerTag, room: usize) {
        let (before, calls) = (window.calls.bytes(), counts.calls());
        for call in calls.saturating_sub(window.length as u64)..calls {
            let failure = if call >= counts.successes { FAILURE } else { 0 };
            let timeout = if call >= calls - counts.timeouts { TIMEOUT } else { 0 };
            let slow = if call >= calls.saturating_sub(counts.slow) { SLOW } else { 0 };
            let must_grow = window.calls.is_full() && window.calls.len() < window.length;
            if window.calls.len() >= window.length || (must_grow && !window.calls.may_grow(before, room)) {
                let (flags, of) = window.calls.get(0).unwrap();
                window.calls.drop_front(1);
                window.sum.subtract(&counts_of(flags));
                if let Some(own) = window.by_caller.get_mut(usize::from(of.0)) {
                    own.subtract(&counts_of(flags));
                }
            }
            window.calls.push_back(failure | timeout | slow, tag, window.length);
            window.add(failure | timeout | slow, tag, 1);
            window.position += 1;
        }
    }

    fn tally() -> impl Strategy<Value = (Counts, CallerTag)> {
        let calls = prop::sample::select(vec![0_u64, 1, 2, 15, 16, 17, 100, 1_999, 2_000, 2_001, 5_000]);
        let counts =
            (calls.clone(), calls.clone(), calls, 0..=100_u64).prop_map(|(successes, failures, slow, part)| {
                let timeouts = failures * part / 100;
                Counts { successes, failures, timeouts, slow: slow.min(successes + failures) }
            });
        (counts, prop::sample::select(vec![0_u16, 0, 1, 2, 300]).prop_map(CallerTag))
    }

    proptest! {
        #[test]
        fn calls_that_are_recorded_at_once_are_recorded_like_one_by_one(
            tallies in prop::collection::vec((tally(), 0..12_u8), 1..12),
            length in prop::sample::select(vec![1_u32, 5, 16, 100, 2_000, 3_000]),
            room in prop::sample::select(vec![0_usize, 100, 1_000, usize::MAX]),
        ) {
            let at = Timestamp::default();
            let Window::Count(mut bulk) = Window::new(WindowSpec::Count(length), at) else { panic!("a count window") };
            let mut single = bulk.clone();
            for ((counts, tag), then) in tallies {
                bulk.record(&counts, at, tag, room);
                record_one_by_one(&mut single, &counts, tag, room);
                prop_assert_eq!(&bulk, &single);
                prop_assert_eq!(bulk.calls.bytes(), single.calls.bytes());
                match then {
                    0 => [&mut bulk, &mut single].map(|window| window.forget(CallerTag(1))),
                    1 => [&mut bulk, &mut single].map(|window| window.retag(CallerTag(2), CallerTag(1))),
                    2 => [&mut bulk, &mut single].map(|window| window.retag(CallerTag(0), CallerTag(2))),
                    3 => [&mut bulk, &mut single].map(|window| window.retag(CallerTag(1), CallerTag(0))),
                    4 => [&mut bulk, &mut single].map(|window| window.limit(length as usize / 2 + 1)),
                    _ => continue,
                };
                let mut recount = Counts::default();
                let mut by_caller = vec![Counts::default(); 301];
                for (flags, tag) in bulk.calls.iter() {
                    recount.add(&counts_of(flags));
                    by_caller[usize::from(tag.0)].add(&counts_of(flags));
                }
                prop_assert_eq!(bulk.sum, recount);
                for (tag, counts) in by_caller.iter().enumerate().skip(1) {
                    prop_assert_eq!(bulk.by_caller.get(tag).copied().unwrap_or_default(), *counts);
                }
            }
        }
    }

    #[test]
    fn a_tally_touches_each_place_of_a_window_at_most_twice_however_many_calls_it_has() {
        let at = Timestamp::default();
        let Window::Count(mut window) = Window::new(WindowSpec::Count(100_000), at) else { panic!("a count window") };
        let (all, half) = (1_000_000, 50_000);
        for (tag, successes, failures) in
            [(0, all, 0), (1, all, all - 1), (2, half, half - 1), (3, 1, half), (0, half, 1)]
        {
            let counts = Counts { successes, failures, timeouts: failures / 2, slow: failures / 3 };
            let before = TOUCHED.get();
            window.record(&counts, at, CallerTag(tag), usize::MAX);
            let touched = TOUCHED.get() - before;
            assert!(touched <= 2 * 100_000 / PER_WORD + 100, "{touched} words for {counts:?}");
        }
    }

    #[test]
    fn a_call_takes_half_a_byte_and_two_and_a_half_where_callers_are_told_apart() {
        let mut window = Window::new(WindowSpec::Count(100_000), Timestamp::default());
        let calls = Counts { successes: 60_000, failures: 60_000, ..Counts::default() };
        let record = |window: &mut Window, tag| {
            let at = Timestamp::default();
            window.record(at, at, &calls, at, CallerTag(tag), usize::MAX);
        };
        record(&mut window, 0);
        assert!(window.bytes() <= 50_008, "{} bytes", window.bytes());
        record(&mut window, 1);
        assert!(window.bytes() <= 250_200, "{} bytes", window.bytes());
        assert_eq!(window.counts(Timestamp::default()), Counts { successes: 40_000, failures: 60_000, ..calls });
    }

    const NOW: Timestamp = Timestamp::from_nanos(0);
    const SUCCESS: Counts = Counts { successes: 1, failures: 0, timeouts: 0, slow: 0 };
    const FAILURE_OF_ONE: Counts = Counts { successes: 0, failures: 1, timeouts: 0, slow: 0 };

    fn count_window(length: u32) -> Window {
        Window::new(WindowSpec::Count(length), NOW)
    }

    /// Calls inside, and the memory of their queue.
    fn size(window: &Window) -> (usize, usize) {
        let Window::Count(window) = window else { panic!("a count window") };
        (window.calls.len(), window.calls.bytes())
    }

    #[test]
    fn past_its_small_size_a_count_window_grows_into_room_only() {
        let recorded = |tag: u16, room: usize| {
            let mut window = count_window(100_000);
            (0..5_000).for_each(|_| window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(tag), room));
            window
        };
        assert_eq!(size(&recorded(0, usize::MAX)).0, 5_000);
        assert_eq!(size(&recorded(0, 0)), (1_456, 728), "16 calls a word, half as many places more each time");
        let tagged = recorded(1, 0);
        assert_eq!(size(&tagged), (1_456, 728 + 2 * 1_456));
        let Window::Count(inside) = &tagged else { panic!("a count window") };
        assert_eq!(tagged.bytes(), 728 + 2 * 1_456 + inside.by_caller.capacity() * size_of::<Counts>());

        let mut full = recorded(0, 0);
        full.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), 363);
        assert_eq!(size(&full), (1_456, 728), "half of what it has is missing by a byte");
        full.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), 364);
        assert_eq!(size(&full), (1_457, 1_104));

        let at_once = |room: usize| {
            let mut window = count_window(100_000);
            let calls = Counts { successes: 5_000, ..Counts::default() };
            window.record(NOW, NOW, &calls, NOW, CallerTag(0), room);
            size(&window).0
        };
        assert_eq!([at_once(1_091), at_once(1_092)], [1_456, 2_208], "the calls of one record share its room");
    }

    #[test]
    fn a_queue_of_calls_is_empty_without_calls() {
        let mut calls = Calls::default();
        assert_eq!((calls.is_empty(), calls.len(), calls.bytes()), (true, 0, 0));
        calls.push_back(FAILURE, CallerTag(0), 10);
        assert_eq!((calls.is_empty(), calls.len(), calls.bytes()), (false, 1, 8));
    }

    #[test]
    fn a_bounded_count_window_keeps_its_last_calls() {
        let mut window = count_window(100);
        for _ in 0..60 {
            window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX);
        }
        for _ in 0..4 {
            window.record(NOW, NOW, &FAILURE_OF_ONE, Timestamp::from_nanos(7), CallerTag(0), usize::MAX);
        }
        let spec = WindowSpec::Count(100);
        window.limit(spec, 64);
        assert_eq!(size(&window), (64, 48), "as many fit");
        window.limit(spec, 10);
        assert_eq!(size(&window), (10, 8));
        assert_eq!(window.counts(NOW), Counts { successes: 6, failures: 4, ..Counts::default() });
        assert_eq!(window.asked_until(NOW), Timestamp::from_nanos(7));
        window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX);
        assert_eq!(size(&window), (10, 8));
        window.limit(WindowSpec::Count(3), 10);
        assert_eq!(size(&window).0, 3, "never more than its spec");
        window.limit(WindowSpec::Time { duration: std::time::Duration::from_secs(1), slices: 1 }, 1);
        assert_eq!(size(&window).0, 3, "of another spec");
        (0..4).for_each(|_| window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX));
        assert_eq!(window.asked_until(NOW), Timestamp::default(), "the failures that asked have left");
    }

    #[test]
    fn calls_by_tag_are_told_apart_moved_and_taken_out() {
        let mut window = count_window(10);
        let of =
            |window: &Window, tag| window.counts_of(CallerTag(tag)).map(|counts| (counts.successes, counts.failures));
        window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX);
        assert_eq!(window.slice_end(), Timestamp::NEVER);
        window.retag(CallerTag(0), CallerTag(1));
        assert_eq!(window.slice_end(), Timestamp::default(), "each call is told apart from now on");
        for (tag, until) in [(1, 90), (2, 80), (1, 70), (2, 60)] {
            window.record(NOW, NOW, &FAILURE_OF_ONE, Timestamp::from_nanos(until), CallerTag(tag), usize::MAX);
        }
        assert_eq!([0, 1, 2, 3].map(|tag| of(&window, tag)), [(0, 0), (1, 2), (0, 2), (0, 0)].map(Some));
        let mut other = window.clone();
        other.forget(NOW, CallerTag(1), None);
        assert_eq!((of(&other, 1), of(&other, 2)), (Some((0, 0)), Some((0, 2))));
        assert_eq!((size(&other).0, other.counts(NOW).calls()), (2, 2));
        assert_eq!(other.asked_until(NOW), Timestamp::from_nanos(80));
        // Nine more calls let the first of what was left leave, ten both.
        (0..8).for_each(|_| other.record(NOW, NOW, &SUCCESS, NOW, CallerTag(2), usize::MAX));
        assert_eq!(other.asked_until(NOW), Timestamp::from_nanos(80));
        other.record(NOW, NOW, &SUCCESS, NOW, CallerTag(2), usize::MAX);
        assert_eq!(other.asked_until(NOW), Timestamp::from_nanos(60));
        other.record(NOW, NOW, &SUCCESS, NOW, CallerTag(2), usize::MAX);
        assert_eq!(other.asked_until(NOW), Timestamp::default());
        window.retag(CallerTag(1), CallerTag(2));
        assert_eq!((of(&window, 1), of(&window, 2)), (Some((0, 0)), Some((1, 4))));
        assert_eq!(window.counts(NOW).calls(), 5, "the whole stays");
    }

    #[test]
    fn a_callers_slices_are_taken_out_of_the_fleets() {
        let spec = WindowSpec::Time { duration: std::time::Duration::from_secs(10), slices: 10 };
        let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
        let (mut fleet, mut own) = (Window::new(spec, at(0)), Window::new(spec, at(0)));
        for second in 0..10 {
            let counts = Counts { failures: 1 << second, ..Counts::default() };
            own.record(at(second), at(second), &counts, NOW, CallerTag(1), usize::MAX);
            fleet.record(at(second), at(second), &counts, NOW, CallerTag(1), usize::MAX);
        }
        let others = Counts { failures: 2_000, ..SUCCESS };
        fleet.record(at(12), at(12), &others, NOW, CallerTag(2), usize::MAX);
        assert_eq!(fleet.counts(at(12)).failures, 2_000 + 1_023 - 7, "slices 3 to 9");
        let mut gone = fleet.clone();
        gone.forget(at(12), CallerTag(1), Some(&own));
        assert_eq!(gone.counts(at(12)), others, "what has aged out is not taken out twice");
        let mut later = fleet.clone();
        later.forget(at(15), CallerTag(1), Some(&own));
        assert_eq!(later.counts(at(15)), others);
        own.record(at(13), at(13), &SUCCESS, NOW, CallerTag(1), usize::MAX);
        let mut ahead = fleet.clone();
        ahead.forget(at(12), CallerTag(1), Some(&own));
        assert_eq!(
            ahead.counts(at(12)),
            Counts { failures: 2_008, ..SUCCESS },
            "its slice 3 made room for its slice 13"
        );
        let mut unlike = fleet.clone();
        unlike.forget(
            at(12),
            CallerTag(1),
            Some(&Window::new(WindowSpec::Time { duration: std::time::Duration::from_secs(10), slices: 5 }, at(0))),
        );
        assert_eq!(unlike, fleet);
        assert_eq!((fleet.bytes(), Window::bytes_of(spec)), (10 * size_of::<Slice>(), 10 * size_of::<Slice>()));
        assert_eq!(fleet.slice_end(), at(13));
    }

    #[test]
    fn a_window_keeps_its_calls_where_they_fit_the_new_spec() {
        let spec = |seconds, slices| WindowSpec::Time { duration: std::time::Duration::from_secs(seconds), slices };
        let mut window = Window::new(spec(10, 10), NOW);
        window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX);
        let calls = |spec: WindowSpec| window.clone().refit(spec, NOW).counts(NOW).calls();
        assert_eq!([calls(spec(10, 10)), calls(spec(10, 5)), calls(spec(20, 10)), calls(spec(5, 5))], [1, 0, 0, 0]);
        assert_eq!(calls(WindowSpec::Count(10)), 0);
        let mut window = count_window(10);
        (0..8).for_each(|_| window.record(NOW, NOW, &SUCCESS, NOW, CallerTag(0), usize::MAX));
        let calls = |spec: WindowSpec| window.clone().refit(spec, NOW).counts(NOW).calls();
        assert_eq!([calls(WindowSpec::Count(5)), calls(WindowSpec::Count(20)), calls(spec(10, 10))], [5, 8, 0]);
    }

    #[test]
    fn instants_that_fall_with_every_failure_are_bounded() {
        let mut window = Window::new(WindowSpec::Count(100_000), Timestamp::default());
        let failure = Counts { failures: 1, ..Counts::default() };
        for until in (1..=10_000).rev() {
            let at = Timestamp::default();
            window.record(at, at, &failure, Timestamp::from_nanos(until), CallerTag(0), usize::MAX);
        }
        let Window::Count(window) = window else { panic!("a count window") };
        assert_eq!(window.asked_until.len(), ASKED_MAX);
        assert_eq!(window.asked_until.front(), Some(&(0, Timestamp::from_nanos(10_000))));
        assert_eq!(window.asked_until.back().map(|(position, _)| *position), Some(9_999));
    }
}
