//! What of the audit trail, and of events that have left the log, is kept: a bound in entries, in bytes and in age, and whose
//! entries go at a bound. The holder of an audit entry is an identity, that of an event its breaker.
//!
//! Invariants:
//!
//! - At a bound in entries or bytes, the oldest entry of the holder with the most bytes goes. So a holder that writes a lot
//!   loses its own entries, and one that stays below an equal share of the bound loses none to others.
//! - Sequences rise and are never given again; where entries went there are gaps.
//! - Age takes the oldest entries whoever wrote them, a few with each write.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{breaker::Timestamp, engine::AuditEntry};

/// Entries that age takes away with one write, at most.
const AGED_MAX: usize = 64;

/// How much of the audit trail is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditRetention {
    /// Entries, at least 1.
    pub entries: u64,
    /// Bytes of all entries as they are stored.
    pub bytes: u64,
    /// Age at which an entry goes when a later one comes.
    pub age: Duration,
}

impl Default for AuditRetention {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 64 << 20, age: Duration::from_secs(400 * 24 * 3600) }
    }
}

impl AuditRetention {
    /// Everything is kept.
    pub(crate) const NONE: Self = Self { entries: u64::MAX, bytes: u64::MAX, age: Duration::MAX };
}

/// Who holds which entries, by sequence.
#[derive(Clone, Default, Debug)]
pub(crate) struct Trail {
    entries: BTreeMap<u64, Kept>,
    holders: HashMap<Arc<str>, Holder>,
    /// The holders by what they hold.
    ranks: BTreeSet<(u64, Arc<str>)>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    holder: Arc<str>,
    bytes: u64,
    at: Timestamp,
}

#[derive(Clone, Default, Debug)]
struct Holder {
    sequences: BTreeSet<u64>,
    bytes: u64,
}

impl Trail {
    /// Notes an entry of the audit trail that takes so many bytes.
    pub(crate) fn add_audit(&mut self, entry: &AuditEntry, bytes: usize) {
        self.add(holder(&entry.actor), entry.sequence, entry.at, bytes);
    }

    /// Notes an entry of a holder that takes so many bytes.
    pub(crate) fn add(&mut self, name: &str, sequence: u64, at: Timestamp, bytes: usize) {
        let bytes = bytes as u64;
        let name = self.holders.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let held = self.holders.entry(Arc::clone(&name)).or_default();
        self.ranks.remove(&(held.bytes, Arc::clone(&name)));
        held.sequences.insert(sequence);
        held.bytes += bytes;
        self.ranks.insert((held.bytes, Arc::clone(&name)));
        self.bytes += bytes;
        self.entries.insert(sequence, Kept { holder: name, bytes, at });
    }

    /// How many entries a holder has.
    pub(crate) fn held(&self, name: &str) -> usize {
        self.holders.get(name).map_or(0, |held| held.sequences.len())
    }

    /// Takes out the oldest entry of a holder; its sequence.
    pub(crate) fn take_oldest(&mut self, name: &str) -> Option<u64> {
        let sequence = self.holders.get(name)?.sequences.first().copied()?;
        self.remove(sequence);
        Some(sequence)
    }

    /// Takes out an entry; its sequence.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<u64> {
        self.remove(sequence);
        Some(sequence)
    }

    /// Takes out the oldest entry of the holder with the most; its sequence.
    pub(crate) fn take_surplus(&mut self) -> Option<u64> {
        let sequence = self.surplus().or_else(|| self.entries.first_key_value().map(|(sequence, _)| *sequence))?;
        self.take(sequence)
    }

    /// Bytes of all entries.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The newest sequence; 0: none.
    pub(crate) fn newest(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    /// Takes out what is beyond the bounds; the sequences of it. The newest entry stays.
    pub(crate) fn trim(&mut self, retention: &AuditRetention, now: Timestamp) -> Vec<u64> {
        let mut gone = Vec::new();
        while self.entries.len() > 1
            && (self.entries.len() as u64 > retention.entries || self.bytes > retention.bytes)
            && let Some(sequence) = self.surplus()
        {
            self.remove(sequence);
            gone.push(sequence);
        }
        for _ in 0..AGED_MAX {
            let Some((sequence, oldest)) = self.entries.first_key_value() else { break };
            if self.entries.len() == 1 || now.since(oldest.at) <= retention.age {
                break;
            }
            let sequence = *sequence;
            self.remove(sequence);
            gone.push(sequence);
        }
        gone
    }

    /// The oldest entry of the holder with the most, but not the newest of all.
    fn surplus(&self) -> Option<u64> {
        let newest = self.newest();
        let oldest = |name: &Arc<str>| self.holders.get(name).and_then(|held| held.sequences.first().copied());
        self.ranks.iter().rev().filter_map(|(_, name)| oldest(name)).find(|sequence| *sequence != newest)
    }

    fn remove(&mut self, sequence: u64) {
        let Some(Kept { holder: name, bytes, .. }) = self.entries.remove(&sequence) else { return };
        self.bytes -= bytes;
        let Some(held) = self.holders.get_mut(&name) else { return };
        self.ranks.remove(&(held.bytes, Arc::clone(&name)));
        held.bytes -= bytes;
        held.sequences.remove(&sequence);
        if held.sequences.is_empty() {
            self.holders.remove(&name);
        } else {
            self.ranks.insert((held.bytes, name));
        }
    }
}

/// Whose entry it is: the identity, without what the request said of itself behind it.
fn holder(actor: &str) -> &str {
    actor.split_once(" (").map_or(actor, |(identity, _)| identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Action;

    const BOUND: AuditRetention = AuditRetention { entries: 10, bytes: u64::MAX, age: Duration::from_secs(100) };

    fn entry(sequence: u64, actor: &str, second: u64) -> AuditEntry {
        AuditEntry {
            sequence,
            at: Timestamp::from_nanos(second * 1_000_000_000),
            actor: actor.into(),
            action: Action::Reset,
            target: "a".into(),
            reason: "".into(),
            detail: "".into(),
        }
    }

    /// Adds an entry as a store does; whose are left, and how many.
    fn write(trail: &mut Trail, actor: &str, second: u64, retention: &AuditRetention) -> Vec<u64> {
        let entry = entry(trail.newest() + 1, actor, second);
        trail.add_audit(&entry, 100);
        trail.trim(retention, entry.at)
    }

    #[test]
    fn a_flood_of_one_identity_takes_its_own_entries_only() {
        let mut trail = Trail::default();
        for _ in 0..3 {
            write(&mut trail, "ana", 0, &BOUND);
        }
        for flood in 0..1_000 {
            // What it says of itself gives it no second share.
            write(&mut trail, &format!("web (somebody {flood})"), 0, &BOUND);
        }
        assert_eq!((trail.held("ana"), trail.held("web")), (3, 7));
        assert_eq!(trail.newest(), 1_003);
        for _ in 0..10 {
            write(&mut trail, "bea", 0, &BOUND);
        }
        assert_eq!(["ana", "web", "bea"].map(|name| trail.held(name) >= 3), [true; 3], "an equal share each");
        assert_eq!(trail.entries.len(), 10);
    }

    #[test]
    fn bytes_are_bounded_like_entries() {
        let bound = AuditRetention { bytes: 450, ..BOUND };
        let mut trail = Trail::default();
        for _ in 0..8 {
            write(&mut trail, "ana", 0, &bound);
        }
        assert_eq!((trail.bytes, trail.entries.len()), (400, 4));
    }

    #[test]
    fn an_entry_goes_at_its_age_when_a_later_one_comes_and_the_newest_stays() {
        let mut trail = Trail::default();
        write(&mut trail, "ana", 0, &BOUND);
        assert_eq!(write(&mut trail, "ana", 100, &BOUND), Vec::<u64>::new());
        assert_eq!(write(&mut trail, "bea", 101, &BOUND), [1]);
        assert_eq!(trail.trim(&BOUND, Timestamp::from_nanos(u64::MAX - 1)), [2]);
        assert_eq!(trail.newest(), 3);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut trail = Trail::default();
        for number in 0..50 {
            write(&mut trail, &format!("somebody {}", number % 25), number, &BOUND);
        }
        let bytes: u64 = trail.holders.values().map(|held| held.bytes).sum();
        assert_eq!((trail.entries.len(), trail.bytes, bytes), (10, 1_000, 1_000));
        assert_eq!(trail.ranks.len(), trail.holders.len());
    }
}
