//! Names of callers, by the hash that permits carry: so that an event can say whose report made the move.
//!
//! Clients choose names, and rights depend on their ids. The hash is therefore keyed with a secret of the store, and each lookup compares the name
//! that is remembered for the id. A name whose id belongs to another name counts as no name.
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

use crate::{
    access::Seal,
    breaker::{CallerId, ServiceId},
};

const SHARDS: usize = 16;

type Names = HashMap<u64, Name>;

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    service: ServiceId,
    /// Since names last had to go.
    is_used: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Callers {
    shards: Box<[RwLock<Names>]>,
    max_per_shard: usize,
    seal: Seal,
}

impl Callers {
    pub(super) fn new(max: usize, seal: Seal) -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), max_per_shard: max.div_ceil(SHARDS), seal }
    }

    /// The id of a name, which is remembered.
    pub(super) fn id(&self, name: &str) -> CallerId {
        if name.is_empty() {
            return CallerId::default();
        }
        self.remember(self.hash(name), name)
    }

    fn remember(&self, id: u64, name: &str) -> CallerId {
        let shard = self.shard(id);
        let known = shard.read().get(&id).map(|known| known.note_use(name));
        let is_own = known.unwrap_or_else(|| self.add(&mut shard.write(), id, name));
        if is_own { CallerId(id) } else { CallerId::default() }
    }

    /// The id of a name, which is not remembered.
    pub(super) fn find(&self, name: &str) -> CallerId {
        let id = if name.is_empty() { 0 } else { self.hash(name) };
        let is_another = self.shard(id).read().get(&id).is_some_and(|known| *known.text != *name);
        if is_another { CallerId::default() } else { CallerId(id) }
    }

    /// 0 is the caller that gives no name.
    fn hash(&self, name: &str) -> u64 {
        self.seal.name_hash(name).max(1)
    }

    /// False where the id is another name's.
    #[cold]
    fn add(&self, names: &mut Names, id: u64, name: &str) -> bool {
        // Another thread may have added one since.
        if let Some(known) = names.get(&id) {
            return known.note_use(name);
        }
        if names.len() >= self.max_per_shard {
            names.retain(|_, name| std::mem::take(name.is_used.get_mut()));
        }
        if names.len() < self.max_per_shard {
            let service = ServiceId(self.hash(name.split('/').next().unwrap_or_default()));
            names.insert(id, Name { text: name.into(), service, is_used: AtomicBool::new(true) });
        }
        true
    }

    /// The service that a caller is an instance of, by the part of its name before the first `/`. Callers whose name is
    /// forgotten are all of one service.
    pub(super) fn service(&self, id: CallerId) -> ServiceId {
        self.service_by_name(id).unwrap_or_default()
    }

    /// The same of a caller that does not call now: where its name is not known it may be of any service.
    pub(super) fn service_if_known(&self, id: CallerId) -> ServiceId {
        let unknown = if id == CallerId::default() { ServiceId::default() } else { ServiceId::UNKNOWN };
        self.service_by_name(id).unwrap_or(unknown)
    }

    fn service_by_name(&self, id: CallerId) -> Option<ServiceId> {
        self.shard(id.0).read().get(&id.0).map(|name| name.service)
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
    /// Whether it is this name, which is in use.
    fn note_use(&self, name: &str) -> bool {
        if *self.text != *name {
            return false;
        }
        // Written only where it changes: callers on several threads share the line.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(max: usize) -> Callers {
        Callers::new(max, Seal::of(b"of the unit test"))
    }

    #[test]
    fn a_name_whose_id_is_another_names_counts_as_no_name() {
        let callers = callers(64);
        let own = callers.id("cart/1");
        // As if both names had one hash.
        assert_eq!(callers.remember(own.0, "shop/1"), CallerId::default());
        assert_eq!(callers.remember(own.0, "cart/1"), own);
        assert_eq!(callers.name(own).as_deref(), Some("cart/1"));

        let stolen = callers.find("shop/2");
        callers.remember(stolen.0, "cart/2");
        assert_eq!((callers.find("shop/2"), callers.id("shop/2")), Default::default());
        assert_eq!(callers.name(stolen).as_deref(), Some("cart/2"));
    }

    #[test]
    fn an_id_is_the_same_whether_its_name_is_remembered_or_not() {
        let callers = callers(0);
        assert_eq!(callers.id("cart/1"), callers.find("cart/1"));
        assert_eq!((callers.len(), callers.find("")), (0, CallerId::default()));
        assert_ne!(callers.id("cart/1"), callers.id("cart/2"));
        let other = Callers::new(64, Seal::of(b"of another store"));
        assert_ne!(callers.id("cart/1"), other.id("cart/1"));
    }

    #[test]
    fn instances_of_one_service_are_of_one_service() {
        let callers = callers(64);
        let [one, two, other] = ["shop/1", "shop/2", "cart/1"].map(|name| callers.service(callers.id(name)));
        assert_eq!(one, two);
        assert_ne!(one, other);
        assert_eq!(callers.service(CallerId(7)), ServiceId::default(), "its name is not known");
    }
}
