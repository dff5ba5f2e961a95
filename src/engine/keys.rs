//! Names of breakers, and where each of them is.
//!
//! The table is read without a lock: an entry only says where to look, and whoever looks there finds the whole key in
//! the slot, under the slot's lock. So a reader that comes while entries are moved may miss one, never take a wrong one,
//! and one that has missed asks again while nobody writes.

use std::{
    array, fmt, str,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

/// Most bytes of a key that is kept in place: with its length and kind it takes 32.
const SHORT: usize = 30;

/// Places in use at first: 16 KiB.
const PLACES_MIN: usize = 2048;

/// A breaker's key. Usual ones are in place, so that to compare one is to look no further than its slot.
pub(super) enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

impl Key {
    #[expect(clippy::cast_possible_truncation, reason = "a short key's length fits")]
    pub(super) fn new(key: &str) -> Self {
        if key.len() > SHORT {
            return Self::Long(key.into());
        }
        let place = |index: usize| key.as_bytes().get(index).copied().unwrap_or_default();
        Self::Short { length: key.len() as u8, bytes: array::from_fn(place) }
    }

    pub(super) fn is(&self, key: &str) -> bool {
        self.as_bytes() == key.as_bytes()
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            // It was made of text, and is not cut.
            Self::Short { .. } => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(key) => key,
        }
    }

    pub(super) fn to_arc(&self) -> Arc<str> {
        self.as_str().into()
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(key) => key.as_bytes(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// An open-addressing table from keys' hashes to slots, with an entry's neighbours in its cache line.
///
/// At least a third of its places stay empty, so a search ends soon. Entries stand as near to their home as they can: the
/// place of one that goes is filled from behind. Its memory is there from the start, as readers could not follow it
/// elsewhere, 12 to 24 bytes for each breaker that there may be; but entries stand close together in a part of it that
/// grows with them, so that few breakers need few lines of the cache.
#[derive(Debug)]
pub(super) struct Keys {
    /// Half of the hash, and the slot's index plus one; 0 where there is none.
    places: Box<[AtomicU64]>,
    /// The last place of the part in use, whose length is a power of 2.
    last: AtomicUsize,
    /// Entries there are.
    entries: Mutex<usize>,
    /// Odd while somebody writes. Who has found nothing while it stayed even and the same has missed nothing.
    writes: AtomicU64,
}

/// Whoever holds this is the one that writes.
pub(super) struct Writer<'a> {
    keys: &'a Keys,
    entries: MutexGuard<'a, usize>,
}

impl Keys {
    /// For at most `max` entries.
    pub(super) fn new(max: u32) -> Self {
        let places = (max as usize * 3 / 2 + 1).next_power_of_two();
        Self {
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            last: AtomicUsize::new(places.min(PLACES_MIN) - 1),
            entries: Mutex::default(),
            writes: AtomicU64::new(0),
        }
    }

    /// The slots that the key of this hash may be in, most likely one.
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> {
        let tag = tag_of(hash);
        let entries = self.from(self.home(tag)).map(|place| self.read(place));
        entries.take_while(|entry| *entry != 0).filter(move |entry| tag_of(*entry) == tag).map(slot_of)
    }

    pub(super) fn write(&self) -> Writer<'_> {
        let entries = self.entries.lock();
        self.writes.fetch_add(1, Ordering::AcqRel);
        Writer { keys: self, entries }
    }

    /// How often a write began or ended.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Keeps writers away.
    pub(super) fn still(&self) -> impl Drop + '_ {
        self.entries.lock()
    }

    /// Where the search for a tag begins.
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.last()
    }

    fn last(&self) -> usize {
        self.last.load(Ordering::Acquire)
    }

    /// All places from one on, around the end.
    fn from(&self, place: usize) -> impl Iterator<Item = usize> {
        let last = self.last();
        (0..=last).map(move |step| (place + step) & last)
    }

    fn read(&self, place: usize) -> u64 {
        self.places[place].load(Ordering::Acquire)
    }

    fn set(&self, place: usize, entry: u64) {
        self.places[place].store(entry, Ordering::Release);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.keys.writes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Writer<'_> {
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        *self.entries += 1;
        let places = self.keys.last() + 1;
        if *self.entries * 3 > places * 2 && places < self.keys.places.len() {
            self.grow(places * 2);
        }
        self.place(entry_of(hash, slot));
    }

    fn place(&self, entry: u64) {
        let keys = self.keys;
        let empty = keys.from(keys.home(tag_of(entry))).find(|place| keys.read(*place) == 0);
        if let Some(place) = empty {
            keys.set(place, entry);
        }
    }

    /// Spreads all entries over more places. Who reads meanwhile misses them, and waits for the writer.
    fn grow(&self, places: usize) {
        let in_use = &self.keys.places[..=self.keys.last()];
        let entries: Vec<u64> = in_use.iter().map(|place| place.swap(0, Ordering::AcqRel)).collect();
        self.keys.last.store(places - 1, Ordering::Release);
        entries.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.place(entry));
    }

    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let keys = self.keys;
        let entry = entry_of(hash, slot);
        let Some(mut hole) = keys.from(keys.home(tag_of(hash))).find(|place| keys.read(*place) == entry) else {
            return;
        };
        *self.entries -= 1;
        // Each that stands behind and could stand in the hole goes there, before it leaves where it was: so that a
        // reader that looks meanwhile may find it twice, and misses it only where it has looked into the hole already.
        for place in keys.from(hole).skip(1) {
            let entry = keys.read(place);
            if entry == 0 {
                break;
            }
            let home = keys.home(tag_of(entry));
            let from_home = place.wrapping_sub(home) & keys.last();
            if from_home >= place.wrapping_sub(hole) & keys.last() {
                keys.set(hole, entry);
                hole = place;
            }
        }
        keys.set(hole, 0);
    }
}

/// The half of a hash that an entry has in its upper half.
const fn tag_of(hash_or_entry: u64) -> u32 {
    (hash_or_entry >> 32) as u32
}

const fn entry_of(hash: u64, slot: u32) -> u64 {
    (tag_of(hash) as u64) << 32 | (slot as u64 + 1)
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is the tag")]
const fn slot_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes with few tags whose homes are near each other and at the table's end.
    fn crowded() -> impl Strategy<Value = Vec<(bool, u64)>> {
        let keys = Keys::new(64);
        let near: Vec<u64> =
            (0..2_000_u32).filter(|tag| [126, 127, 0, 1].contains(&keys.home(*tag))).take(40).map(u64::from).collect();
        prop::collection::vec((any::<bool>(), prop::sample::select(near).prop_map(|tag| tag << 32)), 0..300)
    }

    proptest! {
        #[test]
        fn what_was_put_in_and_not_taken_out_is_found(steps in crowded()) {
            let keys = Keys::new(64);
            let mut known = HashMap::new();
            for (slot, (inserts, hash)) in (0..).zip(steps) {
                if inserts && !known.contains_key(&hash) {
                    keys.write().insert(hash, slot);
                    known.insert(hash, slot);
                } else if let Some(slot) = known.remove(&hash) {
                    keys.write().remove(hash, slot);
                }
                for (hash, slot) in &known {
                    prop_assert_eq!(keys.candidates(*hash).collect::<Vec<_>>(), vec![*slot]);
                }
                let entries = keys.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
                prop_assert_eq!(entries, known.len());
            }
        }

        #[test]
        fn a_key_is_itself_whatever_its_length(key in "[a-z/]{0,40}", other in "[a-z/]{0,40}") {
            let kept = Key::new(&key);
            prop_assert_eq!(kept.as_str(), &*key);
            prop_assert!(kept.is(&key));
            prop_assert_eq!(kept.is(&other), key == other);
        }
    }

    #[test]
    fn a_table_that_grows_keeps_what_it_has_and_is_never_too_full() {
        let keys = Keys::new(10_000);
        let hash = |slot: u32| super::super::registry::spread(slot).rotate_left(32);
        for slot in 0..10_000 {
            keys.write().insert(hash(slot), slot);
            assert!((slot as usize) < (keys.last() + 1) * 2 / 3);
        }
        assert_eq!(keys.last() + 1, keys.places.len());
        assert!((0..10_000).all(|slot| keys.candidates(hash(slot)).any(|found| found == slot)));
        (0..10_000).for_each(|slot| keys.write().remove(hash(slot), slot));
        assert_eq!(*keys.entries.lock(), 0);
        assert!(keys.places.iter().all(|place| place.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_key_takes_32_bytes() {
        assert_eq!(size_of::<Key>(), 32);
    }
}
