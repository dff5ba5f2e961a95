//! What can still be read of a damaged file.
//!
//! It is searched in a copy in memory, from both ends of each table. Every value has a checksum of its own and names its own key,
//! so what is saved is what was written.
//!
//! The head of the file is not trusted. What is the same in every file of that length is written anew, and a bit that has flipped
//! in one of the two commit slots is found by the slot's checksum. Where neither slot leads to the tables, the pages are
//! searched for the root of the newest transaction instead.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{
    Builder, ConcurrencyMode, Key, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition,
};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    backend::Image,
    open::Contents,
    tables::{self, AUDIT, DOCUMENTS, EVENTS, Fault, MARKS, Meta, POLICIES, RECORDS},
};
use crate::{
    engine::{AuditEntry, Event, PolicyEntry},
    store::{
        Document, Floors, Mark, Record,
        encoding::{self, Stored},
    },
};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Absent where it cannot be read.
    pub(super) meta: Option<Meta>,
    pub(super) contents: Contents,
    /// Nothing is missing.
    is_complete: bool,
}

/// A generation that is not known is above those that are by this much.
const GENERATIONS: u64 = 1 << 32;

/// redb's head has 64 bytes that describe the file, and two commit slots. The byte that says which slot is the newest and whether the file was closed.
const FLAGS: usize = 9;
const RECOVERY: u8 = 2;
/// Where it has numbers of four bytes: pages of a region's head, of a region at most, full regions, pages in the last one.
const REGION_HEAD: usize = 16;
const REGION_MAX: usize = 20;
const REGIONS: usize = 24;
const LAST_REGION: usize = 28;
/// The commit slots. A slot has a version, whether there is a root of ours, at 8 the root (its page, checksum and length), at 104
/// the transaction, and at last a checksum.
const SLOTS: [usize; 2] = [64, 192];
const SLOT: usize = 128;
const SLOT_CHECKSUM: usize = 112;
const SLOT_TRANSACTION: usize = 104;
const SLOT_ROOT: usize = 8;
const VERSION: u8 = 3;
const PAGE: usize = 4096;
/// A page with entries begins with it.
const LEAF: u8 = 1;
/// The names of tables that every file has, as they follow each other in the root.
const TABLES: &[u8] = b"eventsmarksmetapoliciesrecords";
/// How far into its page they begin at most.
const TABLES_WITHIN: usize = 512;
/// Roots that are looked at, of those that were not overwritten yet, and how many of the newest are searched.
const ROOTS_MAX: usize = 1_000;
const ROOTS_SEARCHED: usize = 4;

/// Whether its server was stopped, not killed.
pub(super) fn was_closed(bytes: &[u8]) -> bool {
    bytes.get(FLAGS).is_some_and(|flags| flags & RECOVERY == 0)
}

/// Reads what can be read.
pub(super) fn search(bytes: &[u8]) -> Found {
    let image = Image::new(bytes.to_vec());
    let Some(file) = File::of(&image, bytes.len()) else { return Found::default() };
    let mut slots = SLOTS.map(|place| Slot::read(bytes, place));
    // The newest first; one that is not what was written says nothing about which is.
    slots.sort_by_key(|slot| std::cmp::Reverse((slot.is_valid(), slot.transaction())));
    let [newest, older] = slots.map(|slot| file.search(&slot));
    let found = if newest.is_complete || older.count() <= newest.count() { newest } else { older };
    if found.meta.is_some() {
        return found;
    }
    let mut roots: Vec<(u64, Slot)> = file.roots(bytes).collect();
    roots.sort_by_key(|(transaction, _)| std::cmp::Reverse(*transaction));
    let mut best = found;
    for (_, root) in roots.iter().take(ROOTS_SEARCHED) {
        let found = file.search(root);
        if found.count() > best.count() {
            best = found;
        }
        if best.is_complete {
            break;
        }
    }
    best
}

/// One of redb's commit slots.
#[derive(Clone, Copy)]
struct Slot([u8; SLOT]);

impl Slot {
    /// The slot of a file, with one flipped bit put right.
    fn read(bytes: &[u8], place: usize) -> Self {
        let read = bytes.get(place..).and_then(|bytes| bytes.first_chunk().copied());
        let mut slot = Self(read.unwrap_or([0; SLOT]));
        for bit in 0..8 * SLOT {
            if slot.is_valid() {
                return slot;
            }
            slot.flip(bit);
            if slot.is_valid() {
                return slot;
            }
            slot.flip(bit);
        }
        slot
    }

    /// One that leads to a root: its page number and checksum, and how many tables there are.
    fn of_root(page: u64, checksum: u128, tables: u64) -> Self {
        let mut slot = Self([0; SLOT]);
        slot.0[1] = 1;
        slot.0[SLOT_ROOT..SLOT_ROOT + 8].copy_from_slice(&page.to_le_bytes());
        slot.0[SLOT_ROOT + 8..SLOT_ROOT + 24].copy_from_slice(&checksum.to_le_bytes());
        slot.0[SLOT_ROOT + 24..SLOT_ROOT + 32].copy_from_slice(&tables.to_le_bytes());
        slot.0[SLOT_TRANSACTION] = 1;
        slot
    }

    fn flip(&mut self, bit: usize) {
        self.0[bit / 8] ^= 1 << (bit % 8);
    }

    fn checksum(&self) -> [u8; SLOT - SLOT_CHECKSUM] {
        xxh3_128(&self.0[..SLOT_CHECKSUM]).to_le_bytes()
    }

    fn is_valid(&self) -> bool {
        self.0[0] == VERSION && self.0[SLOT_CHECKSUM..] == self.checksum()
    }

    fn transaction(&self) -> u64 {
        let bytes = self.0[SLOT_TRANSACTION..].first_chunk();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// As one that redb opens. What it leads to is verified by itself.
    fn made_valid(mut self) -> Self {
        self.0[0] = VERSION;
        let checksum = self.checksum();
        self.0[SLOT_CHECKSUM..].copy_from_slice(&checksum);
        self
    }
}

/// A file that is searched, and what its head has to be.
struct File {
    image: Image,
    length: usize,
    head: [u8; SLOTS[0]],
    region_head: usize,
    region_max: usize,
}

impl File {
    /// `None` where nothing has that length.
    fn of(image: &Image, length: usize) -> Option<Self> {
        // What every file begins with, whatever redb's defaults are.
        let fresh = Image::new(Vec::new());
        let made = caught(|| Ok(Builder::new().create_with_backend(fresh.clone())?)).ok()?;
        let mut head: [u8; SLOTS[0]] = fresh.first()?;
        drop(made);
        let number = |place: usize| {
            head[place..].first_chunk().and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok())
        };
        let (region_head, region_max) = (number(REGION_HEAD)?, number(REGION_MAX)?.max(1));
        let pages = (length / PAGE).checked_sub(1)?;
        let region = region_head + region_max;
        let last = (pages % region).saturating_sub(region_head);
        for (place, number) in [(REGIONS, pages / region), (LAST_REGION, last)] {
            head[place..place + 4].copy_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
        }
        head[FLAGS] = 0;
        Some(Self { image: image.clone(), length, head, region_head, region_max })
    }

    /// Reads by one root.
    fn search(&self, slot: &Slot) -> Found {
        let mut found = Found::default();
        let read = || {
            let (_database, transaction) = self.open(slot)?;
            found.meta = caught(|| tables::meta(&transaction)).ok();
            let mut is_complete = found.meta.is_some();
            let (contents, max) = (&mut found.contents, self.length);
            let complete = &mut is_complete;
            contents.records =
                values(&transaction, RECORDS, "record", max, complete, |record: &Record| record.key.to_string());
            contents.policies = values(&transaction, POLICIES, "policy", max, complete, |entry: &PolicyEntry| {
                entry.pattern.to_string()
            });
            contents.marks = values(&transaction, MARKS, "mark", max, complete, |mark: &Mark| mark.client.to_string());
            contents.documents = values(&transaction, DOCUMENTS, "document", max, complete, |document: &Document| {
                document.key.to_string()
            });
            contents.audit = values(&transaction, AUDIT, "audit", max, complete, |entry: &AuditEntry| entry.sequence);
            contents.events = values(&transaction, EVENTS, "event", max, complete, |event: &Event| event.sequence);
            found.is_complete = is_complete;
            Ok(())
        };
        // What was found until then is kept.
        _ = caught(read);
        found
    }

    fn open(&self, slot: &Slot) -> Result<(ReadOnlyDatabase, ReadTransaction), Fault> {
        let slot = slot.made_valid().0;
        // In both places: one that cannot be read keeps redb from opening the file.
        self.image.set_first(&[&self.head[..], &slot, &slot].concat());
        // A reader beside a writer in another process needs nothing but the root.
        let mut builder = Builder::new();
        builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(self.length);
        let database = builder.open_read_only_with_backend(self.image.clone())?;
        let transaction = database.begin_read()?;
        Ok((database, transaction))
    }

    /// The roots of transactions whose pages were not overwritten, each with our number of its transaction.
    fn roots<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (u64, Slot)> + 'a {
        let pages = bytes.chunks_exact(PAGE).enumerate().skip(1);
        let roots = pages.filter_map(|(number, page)| self.root(number - 1, page)).take(ROOTS_MAX);
        roots.filter_map(|slot| {
            let read = || {
                let (_database, transaction) = self.open(&slot)?;
                tables::meta(&transaction)
            };
            Some((caught(read).ok()?.transaction, slot))
        })
    }

    /// The slot of a root, where a page is one. A root lists the tables and is a single page.
    fn root(&self, number: usize, page: &[u8]) -> Option<Slot> {
        let begin = page.get(..TABLES_WITHIN + TABLES.len())?;
        if page[0] != LEAF || !begin.windows(TABLES.len()).any(|window| window == TABLES) {
            return None;
        }
        let entries = usize::from(u16::from_le_bytes([page[2], page[3]]));
        // Where each key ends, and then where each value does.
        let end = page.get(4 + 4 * (2 * entries).checked_sub(1)?..)?.first_chunk()?;
        let used = page.get(..usize::try_from(u32::from_le_bytes(*end)).ok()?)?;
        let region = self.region_head + self.region_max;
        let place = u64::try_from((number % region).checked_sub(self.region_head)?).ok()?;
        let page = place | u64::try_from(number / region).ok()? << 20;
        Some(Slot::of_root(page, xxh3_128(used), entries as u64))
    }
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
fn values<K: OwnedKey, T: Stored>(
    transaction: &ReadTransaction,
    definition: TableDefinition<K::Stored, &'static [u8]>,
    kind: &'static str,
    max: usize,
    is_complete: &mut bool,
    key_of: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut found = BTreeMap::new();
    for is_forward in [true, false] {
        let read = || {
            let Some(table) = tables::optional(transaction.open_table(definition))? else { return Ok(()) };
            let mut entries = table.iter()?;
            for _ in 0..max {
                let Some(entry) = (if is_forward { entries.next() } else { entries.next_back() }) else { break };
                let (key, bytes) = entry?;
                let key = K::own(key.value());
                if found.contains_key(&key) {
                    break;
                }
                let value = encoding::decode::<T>(kind, &key.to_string(), bytes.value());
                match value.ok().filter(|value| key_of(value) == key) {
                    Some(value) => _ = found.insert(key, value),
                    None => *is_complete = false,
                }
            }
            Ok(())
        };
        // What was found until then is kept.
        if caught(read).is_err() {
            *is_complete = false;
        }
        if *is_complete {
            break;
        }
    }
    found.into_values().collect()
}
