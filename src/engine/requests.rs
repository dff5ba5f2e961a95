//! Acquires by their request ids, so that a retry gets the same permit.
//!
//! Bounded, and shared fairly: a holder that has its share forgets its own oldest request for the next one, and nobody else's.
//! Where the bound itself is reached a permit is not remembered, and a retry takes another one (a probe is not: the breaker
//! remembers those itself). What a lease's end has made useless goes with the next calls, a few at a time, so that no
//! call pays for many; without calls it goes when timers fire.

use std::collections::{BTreeSet, HashMap, VecDeque};

use parking_lot::Mutex;

use super::{
    Limits,
    shares::{self, add_one, is_server},
};
use crate::{
    breaker::{Permit, RequestId, Timestamp},
    limit::{Level, REQUEST_IDS},
    share::{Holder, Pool},
};

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
}

#[derive(Debug)]
struct Shard {
    permits: HashMap<u128, Granted>,
    /// The same requests in the order their leases end. Leases differ, so it is not the order they came in.
    ends: BTreeSet<(Timestamp, u128)>,
    /// The requests of each holder in the order they came in. Those that are forgotten stay until they are the oldest.
    own: HashMap<Holder, Own>,
    pool: Pool,
}

#[derive(Debug)]
struct Granted {
    permit: Permit,
    holder: Holder,
    /// Its place among its holder's.
    number: u64,
}

#[derive(Default, Debug)]
struct Own {
    order: VecDeque<(u64, u128)>,
    next: u64,
    /// Those of them that are remembered.
    count: usize,
}

impl Requests {
    pub(super) fn new(limits: &Limits) -> Self {
        let shard = |_| Mutex::new(Shard::new(shares::request_ids(limits.request_ids.div_ceil(SHARDS), limits)));
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    /// Runs `grant` unless this request was granted a permit whose lease still runs. Two at once with one id wait for
    /// each other.
    pub(super) fn once<E>(
        &self,
        holder: &Holder,
        request: RequestId,
        now: Timestamp,
        grant: impl FnOnce() -> Result<Option<Permit>, E>,
    ) -> Result<Option<Permit>, E> {
        // The lowest bits of a hash choose the shard.
        let mut shard = self.shards[request.0 as usize % SHARDS].lock();
        shard.forget(now, FORGET_MAX);
        let known = shard.permits.get(&request.0).map(|granted| granted.permit);
        if let Some(permit) = known.filter(|permit| permit.expire > now) {
            return Ok(Some(permit));
        }
        if let Some(permit) = grant()? {
            shard.remember(holder, request, permit);
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

    /// What is used of the limit, and who uses the most of it. A holder that has its share loses its oldest and is not refused.
    pub(super) fn level(&self, max: u64, biggest: usize) -> Level {
        let biggest = if biggest == 0 { Vec::new() } else { self.biggest(biggest) };
        Level { biggest, ..Level::unshared(REQUEST_IDS.name, max, self.len() as u64) }
    }

    /// The holders that use the most.
    fn biggest(&self, count: usize) -> Vec<(Holder, u64)> {
        let mut sums: HashMap<Holder, u64> = HashMap::new();
        for shard in &self.shards {
            for (holder, own) in &shard.lock().own {
                *sums.entry(holder.clone()).or_default() += own.count as u64;
            }
        }
        let mut biggest: Vec<_> = sums.into_iter().filter(|(_, used)| *used > 0).collect();
        biggest.sort_unstable_by_key(|(_, used)| std::cmp::Reverse(*used));
        biggest.truncate(count);
        biggest
    }
}

impl Shard {
    fn new(pool: Pool) -> Self {
        Self { permits: HashMap::new(), ends: BTreeSet::new(), own: HashMap::new(), pool }
    }

    /// Forgets up to `max` requests whose leases have ended, and says how many.
    fn forget(&mut self, now: Timestamp, max: usize) -> usize {
        for forgotten in 0..max {
            let Some((_, request)) = self.ends.first().filter(|(end, _)| *end <= now).copied() else {
                return forgotten;
            };
            self.remove(request);
        }
        max
    }

    fn remove(&mut self, request: u128) {
        let Some(Granted { permit, holder, .. }) = self.permits.remove(&request) else { return };
        self.ends.remove(&(permit.expire, request));
        self.pool.remove(&holder, 1);
        let Some(own) = self.own.get_mut(&holder) else { return };
        own.count -= 1;
        if own.count == 0 {
            self.own.remove(&holder);
        } else if own.order.len() > own.count * 2 + SPARE_MIN {
            // Leases that end out of order leave gaps.
            let permits = &self.permits;
            own.order.retain(|(number, request)| permits.get(request).is_some_and(|granted| granted.number == *number));
        }
    }

    fn remember(&mut self, holder: &Holder, request: RequestId, permit: Permit) {
        // One that has ended may not be forgotten yet.
        self.remove(request.0);
        while let Err(refused) = add_one(&self.pool, holder) {
            let is_own = refused.is_share_used_up() && !is_server(holder);
            if !is_own || !self.forget_oldest(holder) {
                return;
            }
        }
        self.ends.insert((permit.expire, request.0));
        let own = self.own.entry(holder.clone()).or_default();
        let number = own.next;
        own.next += 1;
        own.count += 1;
        own.order.push_back((number, request.0));
        self.permits.insert(request.0, Granted { permit, holder: holder.clone(), number });
    }

    /// Forgets the oldest request of a holder. False where it has none.
    fn forget_oldest(&mut self, holder: &Holder) -> bool {
        while let Some((number, request)) = self.own.get_mut(holder).and_then(|own| own.order.pop_front()) {
            if self.permits.get(&request).is_some_and(|granted| granted.number == number && granted.holder == *holder) {
                self.remove(request);
                return true;
            }
        }
        false
    }

    fn shrink(&mut self) {
        let needed = self.permits.len().max(SPARE_MIN);
        if self.permits.capacity() > needed * SPARE_FACTOR {
            self.permits.shrink_to(needed * 2);
        }
    }
}
