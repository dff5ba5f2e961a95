//! Names of callers, by the hash that permits carry: so that an event can say whose report made the move.
//!
//! Bounded: past the bound a caller's calls count as ever, and events leave its name out.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;
use xxhash_rust::xxh3::xxh3_64;

use crate::breaker::CallerId;

const SHARDS: usize = 16;

type Names = HashMap<u64, Arc<str>>;

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
        // 0 is the caller that gives no name.
        let id = xxh3_64(name.as_bytes()).max(1);
        let shard = self.shard(id);
        if !shard.read().contains_key(&id) {
            let mut names = shard.write();
            if names.len() < self.max_per_shard {
                names.entry(id).or_insert_with(|| name.into());
            }
        }
        CallerId(id)
    }

    pub(super) fn name(&self, id: CallerId) -> Option<Arc<str>> {
        self.shard(id.0).read().get(&id.0).map(Arc::clone)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, id: u64) -> &RwLock<Names> {
        &self.shards[id as usize % SHARDS]
    }
}
