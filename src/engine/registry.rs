//! From key to breaker: a table of keys over a slab of slots.
//!
//! A slot is found by its key, or by a [`Handle`] that remembers where it was: its index and how often the slot had been
//! let before. Slots never move, so a handle costs one lock and no lookup, and a handle to a slot with another tenant is
//! recognised. By key it is one lock too: the table is read without any, and the key compared in the slot.
//!
//! Locks are taken in this order, never the other way: request or batch table, writer of the table of keys, slot, then
//! one of policies, callers, event log and timers.

use std::{
    hash::BuildHasher as _,
    hint,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use hashbrown::DefaultHashBuilder;
use parking_lot::{Mutex, MutexGuard};

use super::{
    commits::Pending,
    folding::Folding,
    keys::{Key, Keys},
    policies::{Provenance, Resolved},
};
use crate::{
    breaker::{Breaker, Timestamp},
    share::Holder,
};

/// Slots that come at once: as many as fit into 24 KiB, which allocators keep without waste.
const CHUNK: u32 = (24 * 1024 / size_of::<Mutex<Slot>>()) as u32;
/// Most slots looked at for one to evict when all are taken: some 15 ms.
const EVICTION_SCAN_MAX: u32 = 1 << 17;
/// The same for a holder that has its share and makes room among its own.
const EVICTION_SCAN_OWN: u32 = 1_024;
/// The same while a whole turn has found none, so that a refusal costs little.
const EVICTION_SCAN_BARREN: u32 = 256;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Where a breaker is, as long as it is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    pub(super) index: u32,
    incarnation: u32,
}

/// What a breaker is found by: its handle or its key.
pub(super) trait Name: Copy {
    /// Locks it; `None` where it is gone, or not there yet.
    fn lock(self, registry: &Registry) -> Option<SlotGuard<'_>>;
}

impl Name for Handle {
    fn lock(self, registry: &Registry) -> Option<SlotGuard<'_>> {
        registry.lock(self)
    }
}

impl Name for &str {
    fn lock(self, registry: &Registry) -> Option<SlotGuard<'_>> {
        registry.lock_key(self)
    }
}

/// A place for a breaker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// How often it has been let.
    incarnation: u32,
    /// When its breaker was made, in seconds after the Unix epoch. A place for a breaker has to be small.
    made_at: u32,
    tenant: Option<Tenant>,
}

/// A breaker with its name and what the engine keeps beside it.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) key: Key,
    pub(super) breaker: Breaker,
    pub(super) policy: Arc<Resolved>,
    /// Who made it.
    pub(super) holder: Arc<Holder>,
    /// Sequence of its last event.
    pub(super) sequence: u64,
    /// When it was last asked or reported, or had a deadline: its time, which never goes back.
    pub(super) used: Timestamp,
    /// Its entry among the timers.
    pub(super) scheduled: Timestamp,
    /// It has counted since its statistics were last written.
    pub(super) is_dirty: bool,
    /// Batches have counted in it since it was last sent to the store: it is written with their marks, or in another generation.
    pub(super) is_batched: bool,
    /// The store has a record of it, or will have.
    pub(super) is_stored: bool,
    /// Where its declaration comes from, if it has one and that is known.
    pub(super) provenance: Option<Box<Provenance>>,
    /// Its moves that were not told yet, as they wait for the store. Nearly no breaker has any.
    pub(super) pending: Option<Box<Pending>>,
    /// Its bursts of events. Made with its first event, and freed when it has long had none.
    pub(super) folding: Option<Box<Folding>>,
}

type Chunk = Box<[Mutex<Slot>]>;

#[derive(Debug)]
pub(super) struct Registry {
    hasher: DefaultHashBuilder,
    /// Where each key's breaker is. The key itself is in the slot.
    keys: Keys,
    slots: Box<[OnceLock<Chunk>]>,
    max: u32,
    /// Slots that were let and are free again.
    free: Mutex<Vec<u32>>,
    /// Slots ever let: those above have not been.
    let_once: AtomicU32,
    used: AtomicU32,
    /// Above every generation that a breaker which is gone has had.
    generation_floor: AtomicU64,
    /// Where the search for a slot to evict goes on.
    hand: AtomicU32,
    /// Slots that it has looked at since it last found one.
    barren: AtomicU32,
}

impl Registry {
    /// Breakers made in it start at the generation `floor`.
    pub(super) fn new(max: u32, floor: u64) -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            keys: Keys::new(max),
            slots: (0..max.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            max,
            free: Mutex::default(),
            let_once: AtomicU32::new(0),
            used: AtomicU32::new(0),
            generation_floor: AtomicU64::new(floor),
            hand: AtomicU32::new(0),
            barren: AtomicU32::new(0),
        }
    }

    /// Breakers there are.
    pub(super) fn len(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn find(&self, key: &str) -> Option<Handle> {
        self.lock_key(key).map(|slot| slot.handle())
    }

    /// The breaker of a key that was not found; `create` makes one where there is still none. `None` where there is no
    /// room.
    pub(super) fn find_or_create(
        &self,
        key: &str,
        evictable: impl Fn(&mut Tenant) -> bool,
        create: impl FnOnce(Key, u64) -> (Tenant, Timestamp),
        placed: impl FnOnce(&mut Tenant, Handle),
        evicted: impl Fn(u32, &mut Tenant),
    ) -> Option<Handle> {
        let hash = self.hash(key);
        let index = self.vacancy().or_else(|| self.evict_one(&evictable, &evicted))?;
        let mut keys = self.keys.write();
        if let Some(known) = self.lock_in_table(hash, key) {
            self.free.lock().push(index);
            return Some(known.handle());
        }
        let mut slot = self.cell(index)?.lock();
        slot.incarnation = slot.incarnation.wrapping_add(1);
        let handle = Handle { index, incarnation: slot.incarnation };
        let generation = self.generation_floor();
        let (tenant, made) = create(Key::new(key), generation);
        slot.made_at = u32::try_from(made.as_nanos() / NANOS_PER_SECOND).unwrap_or(u32::MAX);
        let tenant = slot.tenant.insert(tenant);
        self.used.fetch_add(1, Ordering::Relaxed);
        placed(tenant, handle);
        keys.insert(hash, index);
        Some(handle)
    }

    /// Makes a tenant go that may, and returns its slot. The search goes on where the last one ended; `None` only after
    /// it has been all around in vain, or as far as one call may take it.
    fn evict_one(&self, evictable: impl Fn(&mut Tenant) -> bool, evicted: impl Fn(u32, &mut Tenant)) -> Option<u32> {
        let slots = self.end().max(1);
        let barren = self.barren.load(Ordering::Relaxed);
        let scan = slots.min(if barren >= slots { EVICTION_SCAN_BARREN } else { EVICTION_SCAN_MAX });
        let vacated = (0..scan).find_map(|_| self.evict_next(&evictable, &evicted));
        self.barren.store(if vacated.is_some() { 0 } else { barren.saturating_add(scan) }, Ordering::Relaxed);
        vacated
    }

    /// Makes one tenant go that may, and gives its slot back. Of those of one holder, only the next few are looked at.
    pub(super) fn evict(
        &self,
        of_one: bool,
        evictable: impl Fn(&mut Tenant) -> bool,
        evicted: impl Fn(u32, &mut Tenant),
    ) -> bool {
        let vacated = if of_one {
            (0..EVICTION_SCAN_OWN.min(self.end())).find_map(|_| self.evict_next(&evictable, &evicted))
        } else {
            self.evict_one(evictable, evicted)
        };
        self.free.lock().extend(vacated);
        vacated.is_some()
    }

    /// Looks at the next slot.
    fn evict_next(&self, evictable: impl Fn(&mut Tenant) -> bool, evicted: impl Fn(u32, &mut Tenant)) -> Option<u32> {
        let index = self.hand.fetch_add(1, Ordering::Relaxed) % self.end().max(1);
        let key = {
            let mut slot = self.cell(index)?.lock();
            slot.tenant.as_mut().and_then(|tenant| evictable(tenant).then(|| tenant.key.to_arc()))
        }?;
        self.take_out(&key, evictable, evicted)
    }

    /// Removes a breaker if it may go. True where it went.
    pub(super) fn remove(
        &self,
        key: &str,
        may_go: impl FnOnce(&mut Tenant) -> bool,
        going: impl FnOnce(u32, &mut Tenant),
    ) -> bool {
        let vacated = self.take_out(key, may_go, going);
        self.free.lock().extend(vacated);
        vacated.is_some()
    }

    /// As [`Registry::remove`]; the slot is the caller's to let or to give back.
    fn take_out(
        &self,
        key: &str,
        may_go: impl FnOnce(&mut Tenant) -> bool,
        going: impl FnOnce(u32, &mut Tenant),
    ) -> Option<u32> {
        let hash = self.hash(key);
        let mut keys = self.keys.write();
        let mut guard = self.lock_in_table(hash, key)?;
        let (index, slot) = (guard.index, &mut guard.slot);
        let tenant = slot.tenant.as_mut()?;
        if !may_go(tenant) {
            return None;
        }
        going(index, tenant);
        self.generation_floor.fetch_max(tenant.breaker.generation() + 1, Ordering::AcqRel);
        slot.tenant = None;
        keys.remove(hash, index);
        self.used.fetch_sub(1, Ordering::Relaxed);
        Some(index)
    }

    /// Locks the breaker of a handle; `None` where it is gone.
    pub(super) fn lock(&self, handle: Handle) -> Option<SlotGuard<'_>> {
        let slot = lock(self.cell(handle.index)?);
        let is_it = slot.incarnation == handle.incarnation && slot.tenant.is_some();
        is_it.then_some(SlotGuard { index: handle.index, slot })
    }

    /// Locks the breaker of a key; `None` where there is none.
    pub(super) fn lock_key(&self, key: &str) -> Option<SlotGuard<'_>> {
        let hash = self.hash(key);
        let writes = self.keys.writes();
        if let Some(found) = self.lock_in_table(hash, key) {
            return Some(found);
        }
        // Its entry may just have been moved. It was not where nobody wrote meanwhile, and is not while nobody writes.
        if writes.is_multiple_of(2) && self.keys.writes() == writes {
            return None;
        }
        let _still = self.keys.still();
        self.lock_in_table(hash, key)
    }

    /// The generation that a breaker made now starts at.
    pub(super) fn generation_floor(&self) -> u64 {
        self.generation_floor.load(Ordering::Acquire)
    }

    /// Locks whatever is in a slot.
    pub(super) fn lock_index(&self, index: u32) -> Option<SlotGuard<'_>> {
        let slot = self.cell(index)?.lock();
        slot.tenant.is_some().then_some(SlotGuard { index, slot })
    }

    /// One above the highest index that was ever let.
    pub(super) fn end(&self) -> u32 {
        self.let_once.load(Ordering::Acquire).min(self.max)
    }

    fn vacancy(&self) -> Option<u32> {
        if let Some(index) = self.free.lock().pop() {
            return Some(index);
        }
        let next =
            self.let_once.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| (next < self.max).then(|| next + 1));
        let index = next.ok()?;
        self.slots[(index / CHUNK) as usize].get_or_init(|| (0..CHUNK).map(|_| Mutex::default()).collect());
        Some(index)
    }

    fn cell(&self, index: u32) -> Option<&Mutex<Slot>> {
        self.slots.get((index / CHUNK) as usize)?.get()?.get((index % CHUNK) as usize)
    }

    fn lock_in_table(&self, hash: u64, key: &str) -> Option<SlotGuard<'_>> {
        self.keys.candidates(hash).find_map(|index| {
            let slot = lock(self.cell(index)?);
            let is_it = slot.tenant.as_ref().is_some_and(|tenant| tenant.key.is(key));
            is_it.then_some(SlotGuard { index, slot })
        })
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// A number over all the bits of a larger one, as tables and draws look at the uppermost.
pub(super) const fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A locked slot that has a tenant.
pub(super) struct SlotGuard<'a> {
    index: u32,
    slot: MutexGuard<'a, Slot>,
}

impl SlotGuard<'_> {
    pub(super) const fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn handle(&self) -> Handle {
        Handle { index: self.index, incarnation: self.slot.incarnation }
    }

    /// When its breaker was made, to the second.
    pub(super) fn made(&self) -> Timestamp {
        Timestamp::from_nanos(u64::from(self.slot.made_at) * NANOS_PER_SECOND)
    }

    #[expect(clippy::expect_used, reason = "a guard is made only of a slot that is let, and lives under its lock")]
    pub(super) fn tenant(&mut self) -> &mut Tenant {
        self.slot.tenant.as_mut().expect("a guarded slot has a tenant")
    }
}

/// Locks with a pause that doubles, before it sleeps. A waiter that leaves the cache line alone lets the holder go on at
/// full speed, where a fair hand-over would cost a line transfer for each call: two threads on one hot breaker then get
/// as much done as one.
fn lock(cell: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    let mut pause = 16;
    while pause <= 8192 {
        if let Some(guard) = cell.try_lock() {
            return guard;
        }
        for _ in 0..pause {
            hint::spin_loop();
        }
        pause *= 2;
    }
    cell.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_there_is_missed_without_the_writers_lock() {
        let registry = Registry::new(8, 1);
        let _still = registry.keys.still();
        assert!(registry.lock_key("absent").is_none());
    }
}
