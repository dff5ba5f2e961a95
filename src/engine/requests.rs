//! Acquires by their request ids, so that a retry gets the same permit.
//!
//! Bounded: past the bound a permit is not remembered, and a retry takes another one (a probe is not: the breaker
//! remembers those itself). What a lease's end has made useless goes with the next calls, a few at a time, so that no
//! call pays for many; without calls it goes when timers fire.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::breaker::{Permit, RequestId, Timestamp};

const SHARDS: usize = 16;
/// Most requests that a call forgets. More than the one that it may add, so that those that ended fill no shard.
const FORGET_MAX: usize = 8;
/// Most requests that a timer forgets before it lets others at the shard.
const TIDY_MAX: usize = 256;
/// A table is made smaller when it could hold so many times what it does.
const SPARE_FACTOR: usize = 4;
/// A table that holds so few is small enough.
const SPARE_MIN: usize = 256;

#[derive(Debug)]
pub(super) struct Requests {
    shards: Box<[Mutex<Shard>]>,
    max_per_shard: usize,
}

#[derive(Debug, Default)]
struct Shard {
    permits: HashMap<u128, Permit>,
    /// The same requests in the order their leases end. Leases differ, so it is not the order they came in.
    ends: BTreeSet<(Timestamp, u128)>,
}

impl Requests {
    pub(super) fn new(max: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), max_per_shard: max.div_ceil(SHARDS) }
    }

    /// Runs `grant` unless this request was granted a permit whose lease still runs. Two at once with one id wait for
    /// each other.
    pub(super) fn once<E>(
        &self,
        request: RequestId,
        now: Timestamp,
        grant: impl FnOnce() -> Result<Option<Permit>, E>,
    ) -> Result<Option<Permit>, E> {
        // The lowest bits of a hash choose the shard.
        let mut shard = self.shards[request.0 as usize % SHARDS].lock();
        shard.forget(now, FORGET_MAX);
        if let Some(permit) = shard.permits.get(&request.0).filter(|permit| permit.expire > now) {
            return Ok(Some(*permit));
        }
        if let Some(permit) = grant()? {
            shard.remember(request, permit, self.max_per_shard);
        }
        Ok(None)
    }

    /// Forgets all whose leases have ended, and gives their memory back. A shard in use is left to its user.
    pub(super) fn tidy(&self, now: Timestamp) {
        for shard in &self.shards {
            while let Some(mut shard) = shard.try_lock() {
                if shard.forget(now, TIDY_MAX) < TIDY_MAX {
                    shard.shrink();
                    break;
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().permits.len()).sum()
    }
}

impl Shard {
    /// Forgets up to `max` requests whose leases have ended, and says how many.
    fn forget(&mut self, now: Timestamp, max: usize) -> usize {
        for forgotten in 0..max {
            let Some((_, request)) = self.ends.first().filter(|(end, _)| *end <= now).copied() else {
                return forgotten;
            };
            self.ends.pop_first();
            self.permits.remove(&request);
        }
        max
    }

    fn remember(&mut self, request: RequestId, permit: Permit, max: usize) {
        if self.permits.len() >= max && !self.permits.contains_key(&request.0) {
            return;
        }
        self.ends.insert((permit.expire, request.0));
        // One that has ended may not be forgotten yet. Its end goes too: a request has one.
        if let Some(ended) = self.permits.insert(request.0, permit)
            && ended.expire != permit.expire
        {
            self.ends.remove(&(ended.expire, request.0));
        }
    }

    fn shrink(&mut self) {
        let needed = self.permits.len().max(SPARE_MIN);
        if self.permits.capacity() > needed * SPARE_FACTOR {
            self.permits.shrink_to(needed * 2);
        }
    }
}
