//! What can still be read of a damaged file.
//!
//! It is searched in a copy in memory, by either of redb's two roots, from both ends of each table. Every value has a
//! checksum of its own and names its own key, so what is saved is what was written.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{
    Builder, ConcurrencyMode, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
};
use serde::de::DeserializeOwned;

use super::{
    backend::Image,
    open::Contents,
    tables::{self, AUDIT, DOCUMENTS, EVENTS, Fault, MARKS, Meta, POLICIES, RECORDS},
};
use crate::{
    engine::{AuditEntry, Event, PolicyEntry},
    store::{Document, Floors, Mark, Record, encoding},
};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Absent where it cannot be read.
    pub(super) meta: Option<Meta>,
    pub(super) contents: Contents,
}

/// A generation that is not known is above those that are by this much.
const GENERATIONS: u64 = 1 << 32;

/// The byte of redb's header that says which root is the newest and whether the file was closed.
const FLAGS: usize = 9;
const SECOND_ROOT: u8 = 1;
const RECOVERY: u8 = 2;

/// Whether its server was stopped, not killed.
pub(super) fn was_closed(bytes: &[u8]) -> bool {
    bytes.get(FLAGS).is_some_and(|flags| flags & RECOVERY == 0)
}

/// Reads what can be read.
pub(super) fn search(bytes: &[u8]) -> Found {
    let flags = bytes.get(FLAGS).copied().unwrap_or_default();
    let newest = by_root(bytes, flags & SECOND_ROOT);
    let older = by_root(bytes, !flags & SECOND_ROOT);
    if older.count() > newest.count() { older } else { newest }
}

impl Found {
    fn count(&self) -> usize {
        self.contents.lengths().iter().sum::<usize>() + usize::from(self.meta.is_some())
    }

    /// What a new file begins with: another epoch, and floors above all that was told, as far as that is known.
    pub(super) fn meta(&self, epoch: u64) -> Meta {
        let contents = &self.contents;
        let records = contents.records.iter().map(|record| Floors {
            generation: record.snapshot.generation,
            policies: record.policy_version,
            now: record.created.max(record.used).max(record.snapshot.since),
        });
        let events = contents.events.iter().map(|event| Floors {
            generation: event.status.generation,
            policies: event.policy_version,
            now: event.at,
        });
        let policies =
            contents.policies.iter().map(|entry| Floors { policies: entry.version, now: entry.set, generation: 0 });
        let marks = contents.marks.iter().map(|mark| Floors { now: mark.at, ..Floors::default() });
        let seen = records.chain(events).chain(policies).chain(marks).fold(Floors::default(), Floors::max);
        let floors = match self.meta {
            Some(meta) => seen.max(meta.floors),
            None => Floors {
                generation: seen.generation.saturating_add(GENERATIONS),
                policies: seen.policies.saturating_add(GENERATIONS),
                ..seen
            },
        };
        // The newest transaction may be among what is lost.
        let floors = Floors { generation: floors.generation.saturating_add(GENERATIONS), ..floors };
        Meta { epoch, floors, ..Meta::default() }
    }

    /// The contents of a new file. The log begins again, so that it has no gap, and records name their events in it.
    pub(super) fn into_contents(self) -> Contents {
        let mut contents = self.contents;
        let places = contents.events.iter().zip(1..).map(|(event, place)| (event.sequence, place));
        let places: BTreeMap<u64, u64> = places.collect();
        for record in &mut contents.records {
            record.sequence = places.get(&record.sequence).copied().unwrap_or_default();
        }
        contents
    }
}

fn by_root(bytes: &[u8], root: u8) -> Found {
    let mut bytes = bytes.to_vec();
    let Some(flags) = bytes.get_mut(FLAGS) else { return Found::default() };
    // As one that was closed: a repair would give up at the first page that is damaged.
    *flags = root;
    let length = bytes.len();
    let mut found = Found::default();
    let search = || {
        // A reader beside a writer in another process needs nothing but the root.
        let mut builder = Builder::new();
        builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(length);
        let database = builder.open_read_only_with_backend(Image::new(bytes))?;
        let transaction = database.begin_read()?;
        found.meta = caught(|| tables::meta(&transaction)).ok();
        let contents = &mut found.contents;
        contents.records = values(&transaction, RECORDS, "record", length, |record: &Record| record.key.to_string());
        contents.policies =
            values(&transaction, POLICIES, "policy", length, |entry: &PolicyEntry| entry.pattern.to_string());
        contents.marks = values(&transaction, MARKS, "mark", length, |mark: &Mark| mark.client.to_string());
        contents.documents =
            values(&transaction, DOCUMENTS, "document", length, |document: &Document| document.key.to_string());
        contents.audit = values(&transaction, AUDIT, "audit", length, |entry: &AuditEntry| entry.sequence);
        contents.events = values(&transaction, EVENTS, "event", length, |event: &Event| event.sequence);
        Ok(())
    };
    // What was found until then is kept.
    _ = caught(search);
    found
}

fn caught<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
}

/// A key as it is read, with one of its own.
trait OwnedKey: Ord + std::fmt::Display {
    type Stored: Key + 'static;

    fn own(stored: <Self::Stored as redb::Value>::SelfType<'_>) -> Self;
}

impl OwnedKey for String {
    type Stored = &'static str;

    fn own(stored: &str) -> Self {
        stored.to_owned()
    }
}

impl OwnedKey for u64 {
    type Stored = Self;

    fn own(stored: Self) -> Self {
        stored
    }
}

/// The values of a table that are what they were, in order.
fn values<K: OwnedKey, T: DeserializeOwned>(
    transaction: &ReadTransaction,
    definition: TableDefinition<K::Stored, &'static [u8]>,
    kind: &'static str,
    max: usize,
    key_of: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut found = BTreeMap::new();
    for is_forward in [true, false] {
        let read = || {
            let table = transaction.open_table(definition)?;
            let mut entries = table.iter()?;
            for _ in 0..max {
                let Some(entry) = (if is_forward { entries.next() } else { entries.next_back() }) else { break };
                let (key, bytes) = entry?;
                let key = K::own(key.value());
                if found.contains_key(&key) {
                    break;
                }
                let value = encoding::decode::<T>(kind, &key.to_string(), bytes.value());
                if let Some(value) = value.ok().filter(|value| key_of(value) == key) {
                    found.insert(key, value);
                }
            }
            Ok(())
        };
        // What was found until then is kept.
        _ = caught(read);
    }
    found.into_values().collect()
}
