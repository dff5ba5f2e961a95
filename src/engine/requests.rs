//! Acquires by their request ids, so that a retry gets the same permit.
//!
//! Bounded: past the bound a permit is not remembered, and a retry takes another one (a probe is not: the breaker
//! remembers those itself).

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::breaker::{Permit, RequestId, Timestamp};

const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Requests {
    shards: Box<[Mutex<Shard>]>,
    max_per_shard: usize,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    permits: HashMap<u128, Permit>,
    /// In the order they came, which is nearly the order their leases end.
    ends: VecDeque<(Timestamp, u128)>,
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
        shard.forget(now);
        if let Some(permit) = shard.permits.get(&request.0).filter(|permit| permit.expire > now) {
            return Ok(Some(*permit));
        }
        if let Some(permit) = grant()? {
            shard.remember(request, permit, self.max_per_shard);
        }
        Ok(None)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().permits.len()).sum()
    }
}

impl Shard {
    fn forget(&mut self, now: Timestamp) {
        while let Some((_, request)) = self.ends.front().filter(|(end, _)| *end <= now).copied() {
            self.ends.pop_front();
            if self.permits.get(&request).is_some_and(|permit| permit.expire <= now) {
                self.permits.remove(&request);
            }
        }
    }

    fn remember(&mut self, request: RequestId, permit: Permit, max: usize) {
        if self.ends.len() < max {
            self.permits.insert(request.0, permit);
            self.ends.push_back((permit.expire, request.0));
        }
    }
}
