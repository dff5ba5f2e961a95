//! The tables of the file, and what is read from and written to them in one transaction.

use std::{ops::Bound, sync::Arc, time::Duration};

use redb::{
    CommitError, DatabaseError, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError,
    TransactionError, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::{
    breaker::Timestamp,
    engine::{AuditEntry, Event, PolicyEntry},
    store::{
        AuditRetention, Change, Changed, Commit, Committed, Document, Floors, Mark, Merge, Record, Refused, Root,
        encoding::{self, EncodingError, Stored},
        trail::Trail,
    },
};

pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
pub(super) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
pub(super) const POLICIES: TableDefinition<&str, &[u8]> = TableDefinition::new("policies");
pub(super) const MARKS: TableDefinition<&str, &[u8]> = TableDefinition::new("marks");
/// A file from before there were documents has no such table until one is written; so it is with the audit trail.
pub(super) const DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("documents");
pub(super) const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// Key of the number that says what tables there are, four bytes, the lowest first.
const LAYOUT_KEY: &str = "layout";
const LAYOUT: u32 = 1;
const STATE_KEY: &str = "state";

/// Events that one transaction takes away beyond twice as many as it brings.
const TRIM: usize = 16;

/// Why a transaction failed, or a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What redb says.
    #[error("{0}")]
    Storage(redb::Error),
    /// A value is not what it should be.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// What should be there is not.
    #[error("{0}")]
    Damaged(String),
    /// A newer server wrote the file.
    #[error("{0}")]
    Newer(String),
    /// The file is not where it was opened.
    #[error("{0}")]
    Gone(String),
}

macro_rules! storage_faults {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        })*
    };
}

storage_faults!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(redb::Error::Io(error))
    }
}

impl Fault {
    /// A panic of redb: it found what it holds to be impossible.
    pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Self::Damaged(format!("a part of it is impossible: {}", text.unwrap_or("no more is known")))
    }

    /// Whether the file is to blame, and not the disk, the system or its version.
    pub(super) fn is_damage(&self) -> bool {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match self {
            Self::Storage(redb::Error::Io(error)) => matches!(error.kind(), InvalidData | UnexpectedEof),
            Self::Storage(error) => !matches!(
                error,
                redb::Error::PreviousIo
                    | redb::Error::DatabaseClosed
                    | redb::Error::Unsupported
                    | redb::Error::DatabaseAlreadyOpen
                    | redb::Error::LockProtocolMismatch
            ),
            Self::Encoding(error) => !matches!(error, EncodingError::Newer { .. }),
            Self::Damaged(_) => true,
            Self::Newer(_) | Self::Gone(_) => false,
        }
    }

    pub(super) const fn is_newer(&self) -> bool {
        matches!(self, Self::Newer(_) | Self::Encoding(EncodingError::Newer { .. }))
    }

    /// Whether the database has to be opened again before it can say more.
    pub(super) const fn wants_reopening(&self) -> bool {
        matches!(self, Self::Storage(redb::Error::PreviousIo | redb::Error::DatabaseClosed))
    }
}

/// What is written with every transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) epoch: u64,
    pub(super) floors: Floors,
    /// Sequence of the newest event; 0: none.
    pub(super) newest: u64,
    /// Time of the newest event.
    pub(super) newest_at: Timestamp,
    /// Counts transactions. So a server whose transaction failed can tell whether it is in the file all the same.
    pub(super) transaction: u64,
}

impl Stored for Meta {}

/// How much of the log and of the audit trail is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) events_max: u64,
    pub(super) events_age: Duration,
    pub(super) audit: AuditRetention,
}

impl Retention {
    /// Everything is kept.
    pub(super) const NONE: Self = Self { events_max: u64::MAX, events_age: Duration::MAX, audit: AuditRetention::NONE };
}

/// The oldest event that is held: sequence and time.
pub(super) type Oldest = Option<(u64, Timestamp)>;

/// One transaction that is being written.
pub(super) struct Writing<'t> {
    transaction: &'t WriteTransaction,
    pub(super) records: Table<'t, &'static str, &'static [u8]>,
    pub(super) events: Table<'t, u64, &'static [u8]>,
    pub(super) meta: Meta,
    pub(super) oldest: Oldest,
    /// Bytes that it brings.
    pub(super) bytes: usize,
    appended: usize,
    pub(super) is_changed: bool,
    retention: Retention,
    /// Read from the table when it is first needed.
    trail: &'t mut Option<Trail>,
}

impl<'t> Writing<'t> {
    /// Where the transaction does not come to its end, `trail` is no longer what the file has, and has to be dropped.
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        meta: Meta,
        oldest: Oldest,
        retention: Retention,
        trail: &'t mut Option<Trail>,
    ) -> Result<Self, Fault> {
        let (records, events) = (transaction.open_table(RECORDS)?, transaction.open_table(EVENTS)?);
        let (bytes, appended, is_changed) = (0, 0, false);
        Ok(Self { transaction, records, events, meta, oldest, bytes, appended, is_changed, retention, trail })
    }

    pub(super) const fn transaction(&self) -> &'t WriteTransaction {
        self.transaction
    }

    /// Writes a commit, unless it is refused.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<Result<Committed, Refused>, Fault> {
        match self.fits(&commit.change) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Refused::Moved)),
            // It spoils nothing for the others.
            Err(Fault::Encoding(error)) => return Ok(Err(Refused::Unreadable(error.to_string()))),
            Err(fault) => return Err(fault),
        }
        self.is_changed = true;
        let mut events = Vec::with_capacity(commit.events.len());
        for event in &commit.events {
            events.push(Arc::new(self.append(event.clone())?));
        }
        match &commit.change {
            Change::Breaker { key, to: None, .. } => {
                self.records.remove(&**key)?;
            }
            Change::Breaker { to: Some(record), .. } => match events.last() {
                Some(last) => self.put_record(&Record { sequence: last.sequence, ..(**record).clone() })?,
                None => self.put_record(record)?,
            },
            Change::Policy { pattern, to: None, .. } => {
                self.transaction.open_table(POLICIES)?.remove(&**pattern)?;
            }
            Change::Policy { to: Some(entry), .. } => self.put_policy(entry)?,
            Change::Document { key, to: None, .. } => {
                self.transaction.open_table(DOCUMENTS)?.remove(&**key)?;
            }
            Change::Document { to: Some(document), .. } => self.put_document(document)?,
        }
        let audit = self.put_audit(&commit.audit)?;
        self.meta.floors = self.meta.floors.max(Floors { now: commit.now(), ..commit.floors });
        Ok(Ok(Committed { author: commit.author, changed: Changed::from(&commit.change), events, audit }))
    }

    fn fits(&self, change: &Change) -> Result<bool, Fault> {
        match change {
            Change::Breaker { key, from, .. } => {
                let stored = get::<Record>(&self.records, "record", key)?;
                Ok(from.replaces(stored.map(|record| record.version())))
            }
            Change::Policy { pattern, from, .. } => {
                let stored = get::<PolicyEntry>(&self.transaction.open_table(POLICIES)?, "policy", pattern)?;
                Ok(stored.map_or(0, |entry| entry.version) == *from)
            }
            Change::Document { key, from, .. } => {
                let stored = get::<Document>(&self.transaction.open_table(DOCUMENTS)?, "document", key)?;
                Ok(stored.map_or(0, |document| document.version) == *from)
            }
        }
    }

    /// Writes a merge. All of it in one transaction: a mark must be there with what its batch counted.
    pub(super) fn merge(&mut self, merge: &Merge) -> Result<(), Fault> {
        self.is_changed = true;
        for record in &merge.records {
            // What cannot be read is replaced by a commit or by nothing.
            let stored = match get::<Record>(&self.records, "record", &record.key) {
                Err(Fault::Encoding(_)) => continue,
                stored => stored?,
            };
            match stored {
                Some(stored) if stored.version() == record.version() => {
                    self.put_record(&Record { sequence: stored.sequence, ..record.clone() })?;
                }
                None if record.version().number == 0 => self.put_record(record)?,
                Some(_) | None => {}
            }
        }
        if !merge.forgotten.is_empty() {
            let mut marks = self.transaction.open_table(MARKS)?;
            for client in &merge.forgotten {
                marks.remove(&**client)?;
            }
        }
        self.put_marks(&merge.marks)?;
        self.meta.floors = self.meta.floors.max(Floors { now: merge.now(), ..merge.floors });
        Ok(())
    }

    /// Gives an event the next sequence.
    pub(super) fn append(&mut self, event: Event) -> Result<Event, Fault> {
        self.meta.newest += 1;
        self.meta.newest_at = self.meta.newest_at.max(event.at);
        let event = Event { sequence: self.meta.newest, at: self.meta.newest_at, ..event };
        let bytes = encoding::encode(&event)?;
        self.bytes += bytes.len();
        self.appended += 1;
        self.events.insert(event.sequence, &*bytes)?;
        self.oldest.get_or_insert((event.sequence, event.at));
        Ok(event)
    }

    pub(super) fn put_record(&mut self, record: &Record) -> Result<(), Fault> {
        let bytes = encoding::encode(record)?;
        self.bytes += bytes.len();
        self.records.insert(&*record.key, &*bytes)?;
        Ok(())
    }

    pub(super) fn put_policy(&mut self, entry: &PolicyEntry) -> Result<(), Fault> {
        let bytes = encoding::encode(entry)?;
        self.bytes += bytes.len();
        self.transaction.open_table(POLICIES)?.insert(&*entry.pattern, &*bytes)?;
        Ok(())
    }

    pub(super) fn put_document(&mut self, document: &Document) -> Result<(), Fault> {
        let bytes = encoding::encode(document)?;
        self.bytes += bytes.len();
        self.transaction.open_table(DOCUMENTS)?.insert(&*document.key, &*bytes)?;
        Ok(())
    }

    /// Adds to the audit trail, with the next sequences, and takes away what is too much of it.
    pub(super) fn put_audit(&mut self, entries: &[AuditEntry]) -> Result<Vec<AuditEntry>, Fault> {
        let mut put = Vec::with_capacity(entries.len());
        if entries.is_empty() {
            return Ok(put);
        }
        let mut table = self.transaction.open_table(AUDIT)?;
        let trail = match &mut *self.trail {
            Some(trail) => trail,
            trail => trail.insert(trail_of(&table)?),
        };
        let last = table.last()?.map_or(0, |(last, _)| last.value());
        for (sequence, entry) in (last + 1..).zip(entries) {
            let entry = AuditEntry { sequence, ..entry.clone() };
            let bytes = encoding::encode(&entry)?;
            self.bytes += bytes.len();
            table.insert(entry.sequence, &*bytes)?;
            trail.add_audit(&entry, bytes.len());
            for gone in trail.trim(&self.retention.audit, self.meta.floors.now.max(entry.at)) {
                table.remove(gone)?;
            }
            put.push(entry);
        }
        Ok(put)
    }

    pub(super) fn put_marks(&mut self, marks: &[Mark]) -> Result<(), Fault> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut table = self.transaction.open_table(MARKS)?;
        for mark in marks {
            let bytes = encoding::encode(mark)?;
            self.bytes += bytes.len();
            table.insert(&*mark.client, &*bytes)?;
        }
        Ok(())
    }

    /// Takes old events away, a few at a time. The newest stays: it says where the log is.
    fn trim(&mut self) -> Result<(), Fault> {
        let retention = self.retention;
        let Some((first, mut at)) = self.oldest else { return Ok(()) };
        let steps = (self.appended * 2 + TRIM) as u64;
        let held = self.meta.newest - first + 1;
        // By number without a look: sequences have no gap.
        let surplus = held.saturating_sub(retention.events_max).min(steps);
        let mut oldest = first;
        while oldest < first + surplus {
            self.events.remove(oldest)?;
            oldest += 1;
        }
        if surplus > 0 {
            at = oldest_of(&self.events)?.map_or(at, |(_, at)| at);
        }
        while oldest < (first + steps).min(self.meta.newest) && self.meta.floors.now.since(at) > retention.events_age {
            self.events.remove(oldest)?;
            oldest += 1;
            at = oldest_of(&self.events)?.map_or(at, |(_, at)| at);
        }
        self.oldest = Some((oldest, at));
        Ok(())
    }

    /// Writes what goes with every transaction. The tables are closed then, and it can be committed.
    pub(super) fn finish(mut self) -> Result<(Meta, Oldest), Fault> {
        self.trim()?;
        self.meta.transaction += 1;
        let bytes = encoding::encode(&self.meta)?;
        self.transaction.open_table(META)?.insert(STATE_KEY, &*bytes)?;
        Ok((self.meta, self.oldest))
    }
}

/// Who holds which entries of the audit trail. What cannot be read has no holder, and stays.
fn trail_of(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Trail, Fault> {
    let mut trail = Trail::default();
    for entry in table.iter()? {
        let (sequence, bytes) = entry?;
        if let Ok(entry) = encoding::decode("audit", &sequence.value().to_string(), bytes.value()) {
            trail.add_audit(&entry, bytes.value().len());
        }
    }
    Ok(trail)
}

/// Makes the tables of a new file.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), Fault> {
    transaction.open_table(RECORDS)?;
    transaction.open_table(EVENTS)?;
    transaction.open_table(POLICIES)?;
    transaction.open_table(MARKS)?;
    transaction.open_table(META)?.insert(LAYOUT_KEY, &*LAYOUT.to_le_bytes().to_vec())?;
    Ok(())
}

/// What is written with every transaction.
pub(super) fn meta(transaction: &ReadTransaction) -> Result<Meta, Fault> {
    let missing = |what: &str| Fault::Damaged(format!("it has no {what}"));
    let table = transaction.open_table(META)?;
    let layout = table.get(LAYOUT_KEY)?.ok_or_else(|| missing("layout number"))?;
    match layout.value().try_into().map(u32::from_le_bytes) {
        Ok(LAYOUT) => {}
        Ok(layout) if layout > LAYOUT => {
            let known = format!("this server knows layouts up to {LAYOUT}: a newer one wrote it");
            return Err(Fault::Newer(format!("it has layout {layout}, and {known}")));
        }
        _ => return Err(missing("layout number that ever was")),
    }
    get(&table, "meta", STATE_KEY)?.ok_or_else(|| missing("state"))
}

/// The oldest event that is held.
pub(super) fn oldest_of(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Oldest, Fault> {
    let Some((sequence, bytes)) = table.first()? else { return Ok(None) };
    let event: Event = encoding::decode("event", &sequence.value().to_string(), bytes.value())?;
    Ok(Some((sequence.value(), event.at)))
}

fn get<T: Stored>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    kind: &'static str,
    key: &str,
) -> Result<Option<T>, Fault> {
    let bytes = table.get(key)?;
    Ok(bytes.map(|bytes| encoding::decode(kind, key, bytes.value())).transpose()?)
}

pub(super) fn load(transaction: &ReadTransaction, key: &str) -> Result<Option<Record>, Fault> {
    get(&transaction.open_table(RECORDS)?, "record", key)
}

pub(super) fn scan(transaction: &ReadTransaction, after: &str, max: usize) -> Result<Vec<Record>, Fault> {
    let table = transaction.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.range::<&str>((Bound::Excluded(after), Bound::Unbounded))?.take(max) {
        let (key, bytes) = entry?;
        records.push(encoding::decode("record", key.value(), bytes.value())?);
    }
    Ok(records)
}

pub(super) fn events(transaction: &ReadTransaction, after: u64, max: usize) -> Result<Vec<Arc<Event>>, Fault> {
    let table = transaction.open_table(EVENTS)?;
    let mut events = Vec::new();
    for entry in table.range((Bound::Excluded(after), Bound::Unbounded))?.take(max) {
        let (sequence, bytes) = entry?;
        events.push(Arc::new(encoding::decode("event", &sequence.value().to_string(), bytes.value())?));
    }
    Ok(events)
}

/// Entries of the audit trail before a sequence, the newest first.
pub(super) fn audit(transaction: &ReadTransaction, before: u64, max: usize) -> Result<Vec<AuditEntry>, Fault> {
    let Some(table) = optional(transaction.open_table(AUDIT))? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for entry in table.range(..before)?.rev().take(max) {
        let (sequence, bytes) = entry?;
        entries.push(encoding::decode("audit", &sequence.value().to_string(), bytes.value())?);
    }
    Ok(entries)
}

/// A table that not every file has.
pub(super) fn optional<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn root(transaction: &ReadTransaction) -> Result<Root, Fault> {
    let meta = meta(transaction)?;
    let mut root = Root { floors: meta.floors, newest: meta.newest, ..Root::default() };
    for entry in transaction.open_table(POLICIES)?.iter()? {
        let (pattern, bytes) = entry?;
        root.policies.push(encoding::decode("policy", pattern.value(), bytes.value())?);
    }
    for entry in transaction.open_table(MARKS)?.iter()? {
        let (client, bytes) = entry?;
        root.marks.push(encoding::decode("mark", client.value(), bytes.value())?);
    }
    if let Some(table) = optional(transaction.open_table(DOCUMENTS))? {
        for entry in table.iter()? {
            let (key, bytes) = entry?;
            root.documents.push(encoding::decode("document", key.value(), bytes.value())?);
        }
    }
    Ok(root)
}

/// Whether every value is as it was written, and the log without a gap.
pub(super) fn verify(transaction: &ReadTransaction, meta: &Meta) -> Result<(), Fault> {
    for (definition, kind) in [(RECORDS, "record"), (POLICIES, "policy"), (MARKS, "mark"), (DOCUMENTS, "document")] {
        let Some(table) = optional(transaction.open_table(definition))? else { continue };
        for entry in table.iter()? {
            let (key, bytes) = entry?;
            encoding::check(kind, key.value(), bytes.value())?;
        }
    }
    if let Some(table) = optional(transaction.open_table(AUDIT))? {
        for entry in table.iter()? {
            let (sequence, bytes) = entry?;
            encoding::check("audit", &sequence.value().to_string(), bytes.value())?;
        }
    }
    let mut last = None;
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (sequence, bytes) = entry?;
        let sequence = sequence.value();
        encoding::check("event", &sequence.to_string(), bytes.value())?;
        if last.is_some_and(|last: u64| last + 1 != sequence) {
            return Err(Fault::Damaged(format!("the log has a gap before event {sequence}")));
        }
        last = Some(sequence);
    }
    if last.unwrap_or(meta.newest) == meta.newest {
        Ok(())
    } else {
        Err(Fault::Damaged(format!("the log does not end at event {}", meta.newest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_every_transaction_is_written_as_it_always_was() {
        let floors = Floors { generation: 300, policies: 2, now: Timestamp::from_nanos(u64::MAX) };
        let newest_at = Timestamp::from_nanos(4);
        let meta = Meta { epoch: u64::MAX - 1, floors, newest: 3, newest_at, transaction: 5 };
        let bytes = encoding::encode(&meta).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let why = "as in tests/store/encoding.rs";
        let payload = "feffffffffffffffff01ac0202ffffffffffffffffff01030405";
        assert_eq!(hex(&bytes), format!("02a3252ed92feefcfe{payload}"), "{why}");
        let mut format_1 = vec![0x01, 0x79, 0xa6, 0x5f, 0x92, 0xab, 0xd8, 0xd4, 0xec];
        format_1.extend(&bytes[format_1.len()..]);
        assert_eq!(encoding::decode::<Meta>("meta", STATE_KEY, &format_1), Ok(meta), "{why}");
        assert_eq!(encoding::decode::<Meta>("meta", STATE_KEY, &bytes), Ok(meta));
    }
}
