//! Names of callers, by the hash that permits carry: so that an event can say whose report made the move.
//!
//! Bounded: at the bound names go that nobody has used since the last time, so that a fleet which restarts under new names
//! for months still has its names told. Where all are in use, a caller's calls count as ever, and events leave its name
//! out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use xxhash_rust::xxh3::xxh3_64;

use crate::breaker::{CallerId, ServiceId};

const SHARDS: usize = 16;

/// The id of a caller's name, which is not remembered.
#[must_use]
pub fn caller_id(name: &str) -> CallerId {
    // 0 is the caller that gives no name.
    if name.is_empty() { CallerId::default() } else { CallerId(xxh3_64(name.as_bytes()).max(1)) }
}

type Names = HashMap<u64, Name>;

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    /// Since names last had to go.
    is_used: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Callers {
    shards: Box<[RwLock<Names>]>,
    max_per_shard: usize,
}

impl Callers {
    pub(super) fn new(max: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), max_per_shard: max.div_ceil(SHARDS) }
    }

    pub(super) fn id(&self, name: &str) -> CallerId {
        if name.is_empty() {
            return CallerId::default();
        }
        let CallerId(id) = caller_id(name);
        let shard = self.shard(id);
        if !shard.read().get(&id).is_some_and(Name::note_use) {
            self.add(&mut shard.write(), id, name);
        }
        CallerId(id)
    }

    #[cold]
    fn add(&self, names: &mut Names, id: u64, name: &str) {
        if names.len() >= self.max_per_shard {
            names.retain(|_, name| std::mem::take(name.is_used.get_mut()));
        }
        if names.len() < self.max_per_shard {
            names.entry(id).or_insert_with(|| Name { text: name.into(), is_used: AtomicBool::new(true) });
        }
    }

    /// The service that a caller is an instance of, by the part of its name before the first `/`. Callers whose name is
    /// forgotten are all of one service.
    pub(super) fn service(&self, id: CallerId) -> ServiceId {
        let shard = self.shard(id.0).read();
        let service = shard.get(&id.0).map(|name| name.text.split('/').next().unwrap_or_default());
        service.map_or_else(ServiceId::default, |service| ServiceId(xxh3_64(service.as_bytes()).max(1)))
    }

    pub(super) fn name(&self, id: CallerId) -> Option<Arc<str>> {
        self.shard(id.0).read().get(&id.0).map(|name| Arc::clone(&name.text))
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, id: u64) -> &RwLock<Names> {
        &self.shards[id as usize % SHARDS]
    }
}

impl Name {
    /// True, as it is there.
    fn note_use(&self) -> bool {
        // Written only where it changes: callers on several threads share the line.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        true
    }
}
