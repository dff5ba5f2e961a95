//! Callers that watch breakers by key: a breaker that is made knows those that expect it at once, and nobody has to look for it.
//!
//! Bounded by the keys that all watches may name. Keys are told apart by a hash that is keyed with a secret of the store: a
//! watch has no rights to a breaker whose key only has the same hash.

use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{
    access::Seal,
    breaker::{CALLERS_MAX, CallerId},
};

/// The callers that expect one key; one entry for each watch.
type Expecting = SmallVec<[CallerId; 2]>;

#[derive(Debug)]
pub(super) struct Expected {
    seal: Seal,
    by_key: Mutex<HashMap<u64, Expecting>>,
    /// Keys that are expected: most servers have none, and do not look.
    keys: AtomicUsize,
}

impl Expected {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, by_key: Mutex::default(), keys: AtomicUsize::default() }
    }

    /// Notes that a caller watches keys. The keys are looked up after this.
    pub(super) fn add<'a>(&self, keys: impl Iterator<Item = &'a str>, caller: CallerId) {
        let mut by_key = self.by_key.lock();
        keys.for_each(|key| by_key.entry(self.seal.key_hash(key)).or_default().push(caller));
        self.keys.store(by_key.len(), Ordering::SeqCst);
    }

    /// Takes one watch back.
    pub(super) fn remove<'a>(&self, keys: impl Iterator<Item = &'a str>, caller: CallerId) {
        let mut by_key = self.by_key.lock();
        for key in keys {
            let Entry::Occupied(mut expecting) = by_key.entry(self.seal.key_hash(key)) else { continue };
            if let Some(place) = expecting.get().iter().position(|other| *other == caller) {
                expecting.get_mut().swap_remove(place);
            }
            if expecting.get().is_empty() {
                expecting.remove();
            }
        }
        if by_key.capacity() > 1_024 && by_key.len() < by_key.capacity() / 4 {
            by_key.shrink_to_fit();
        }
        self.keys.store(by_key.len(), Ordering::SeqCst);
    }

    /// The callers that expect a breaker, which is there already.
    pub(super) fn of(&self, key: &str) -> Expecting {
        if self.keys.load(Ordering::SeqCst) == 0 {
            return Expecting::new();
        }
        let by_key = self.by_key.lock();
        by_key
            .get(&self.seal.key_hash(key))
            .map(|callers| callers.iter().take(CALLERS_MAX).copied().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_expected_as_long_as_one_watch_expects_it() {
        let expected = Expected::new(Seal::of(b"of the unit test"));
        let (one, two) = (CallerId(1), CallerId(2));
        expected.add(["a", "b"].into_iter(), one);
        expected.add(["a"].into_iter(), one);
        expected.add(["a"].into_iter(), two);
        assert_eq!(expected.of("a").as_slice(), [one, one, two]);
        expected.remove(["a", "b"].into_iter(), one);
        assert_eq!(expected.of("a").len(), 2);
        assert!(expected.of("b").is_empty());
        expected.remove(["a"].into_iter(), one);
        expected.remove(["a"].into_iter(), two);
        assert!(expected.of("a").is_empty());
        assert!(expected.by_key.lock().is_empty());
    }
}
