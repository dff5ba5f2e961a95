//! The time that a data directory has stored, where it does not fit the machine's clock: it is accepted, or put back.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde_json::Value;

use super::{
    OpenError, backend,
    inspect::InspectError,
    lock::Lock,
    open::{FILE, Site},
    tables::{self, AUDIT, DOCUMENTS, Fault, MARKS, POLICIES, Retention, Writing},
};
use crate::{
    breaker::Timestamp,
    engine::{AuditEntry, Event, PolicyEntry},
    store::{
        Document, Mark, Record,
        encoding::{self, Stored},
    },
};

/// Memory for pages of the file.
const CACHE_BYTES: usize = 32 << 20;
/// Strings that people choose are no instants, whatever they look like.
const NO_INSTANTS: [&str; 12] = [
    "key", "pattern", "client", "name", "names", "caller", "callers", "actor", "comment", "reason", "detail", "subject",
];

/// What has become of a directory's time. As text it is a message for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adjusted {
    /// The time that it had stored.
    pub from: Timestamp,
    /// The time that it has now.
    pub to: Timestamp,
    /// Values that have changed beside it.
    pub values: u64,
}

impl fmt::Display for Adjusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |at: Timestamp| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(at.as_nanos()));
        let Self { from, to, values } = self;
        match from == to {
            true => write!(f, "the stored time is {}: nothing to change", date(*from)),
            false => write!(f, "the stored time was {}, and is {}; {values} values changed", date(*from), date(*to)),
        }
    }
}

/// The machine's time.
#[expect(clippy::disallowed_methods, reason = "what is stored is compared with the machine's clock")]
pub(super) fn machine() -> Timestamp {
    Timestamp::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Accepts the machine's clock, however much later it is than what is stored: the next server starts, and what has expired by
/// then is gone. A clock that is behind changes nothing.
///
/// # Errors
/// A server runs on the directory, there is no store in it, it is damaged, or the system refuses.
pub fn accept_clock(directory: &Path) -> Result<Adjusted, InspectError> {
    change(directory, |writing| {
        let from = writing.meta.floors.now.max(writing.meta.newest_at);
        writing.meta.floors.now = from.max(machine());
        Ok(Adjusted { from, to: writing.meta.floors.now, values: 0 })
    })
}

/// Puts a time that is ahead of the machine's clock back to it, after a server has run with a wrong clock. Every stored instant
/// that is ahead goes back by as much as the stored time is ahead. The end of a token or an override stays where that was made
/// before. What a server has made expire by the wrong clock does not come back.
///
/// # Errors
/// As [`accept_clock`].
pub fn repair_clock(directory: &Path) -> Result<Adjusted, InspectError> {
    repair_clock_to(directory, machine())
}

/// As [`repair_clock`], with another time in the place of the machine's.
///
/// # Errors
/// As [`accept_clock`].
#[doc(hidden)]
pub fn repair_clock_to(directory: &Path, now: Timestamp) -> Result<Adjusted, InspectError> {
    change(directory, |writing| {
        let from = writing.meta.floors.now.max(writing.meta.newest_at);
        if from <= now {
            return Ok(Adjusted { from, to: from, values: 0 });
        }
        let back = Back { now, by: from.since(now) };
        let transaction = writing.transaction();
        let mut values = back.table::<Record>(&mut writing.records, "record")?;
        values += back.optional::<PolicyEntry>(transaction, POLICIES, "policy")?;
        values += back.optional::<Mark>(transaction, MARKS, "mark")?;
        values += back.optional::<Document>(transaction, DOCUMENTS, "document")?;
        if transaction.list_tables()?.any(|table| redb::TableHandle::name(&table) == redb::TableHandle::name(&AUDIT)) {
            values += back.numbered::<AuditEntry>(&mut transaction.open_table(AUDIT)?, "audit", |_, _| {})?;
        }
        let mut newest_at = Timestamp::default();
        values += back.numbered::<Event>(&mut writing.events, "event", |event, changed| {
            // Nothing in the log is older than what comes before it.
            let at = event.at.max(newest_at);
            *changed |= at != event.at;
            event.at = at;
            newest_at = at;
        })?;
        writing.meta.newest_at = newest_at;
        writing.meta.floors.now = now.max(newest_at);
        writing.oldest = tables::oldest_of(&writing.events)?;
        Ok(Adjusted { from, to: writing.meta.floors.now, values })
    })
}

/// Changes a directory in one transaction.
fn change(
    directory: &Path,
    change: impl FnOnce(&mut Writing<'_>) -> Result<Adjusted, Fault>,
) -> Result<Adjusted, InspectError> {
    let path = directory.join(FILE);
    if !path.try_exists().map_err(|source| InspectError::Io { path: path.clone(), source })? {
        return Err(InspectError::Missing { path: directory.to_owned() });
    }
    let _lock = Lock::take(directory).map_err(|error| match error {
        OpenError::Locked { path, pid } => InspectError::Locked { path, pid },
        OpenError::Io { path, source } => InspectError::Io { path, source },
        other => InspectError::Unreadable { path: path.clone(), why: other.to_string() },
    })?;
    let site = Site {
        directory: directory.to_owned(),
        cache_bytes: CACHE_BYTES,
        backends: backend::files(),
        sync_failed: Arc::default(),
    };
    let changed = || {
        let open = site.open(true)?;
        let transaction = open.database.begin_write()?;
        let mut trail = None;
        let mut writing = Writing::begin(&transaction, open.meta, open.oldest, Retention::NONE, &mut trail)?;
        let adjusted = change(&mut writing)?;
        writing.finish()?;
        transaction.commit()?;
        open.database.close()?;
        Ok(adjusted)
    };
    changed().map_err(|fault: Fault| InspectError::Unreadable { path, why: fault.to_string() })
}

/// A step back in time.
#[derive(Clone, Copy)]
struct Back {
    now: Timestamp,
    by: Duration,
}

impl Back {
    fn optional<T: Stored + PartialEq>(
        self,
        transaction: &WriteTransaction,
        definition: TableDefinition<'static, &'static str, &'static [u8]>,
        kind: &'static str,
    ) -> Result<u64, Fault> {
        let name = redb::TableHandle::name(&definition).to_owned();
        if !transaction.list_tables()?.any(|table| redb::TableHandle::name(&table) == name) {
            return Ok(0);
        }
        self.table::<T>(&mut transaction.open_table(definition)?, kind)
    }

    fn table<T: Stored + PartialEq>(
        self,
        table: &mut Table<'_, &'static str, &'static [u8]>,
        kind: &'static str,
    ) -> Result<u64, Fault> {
        let mut changed = Vec::new();
        for entry in table.iter()? {
            let (key, bytes) = entry?;
            let value = encoding::decode::<T>(kind, key.value(), bytes.value())?;
            let other = self.value(&value, kind)?;
            if other != value {
                changed.push((key.value().to_owned(), encoding::encode(&other)?));
            }
        }
        for (key, bytes) in &changed {
            table.insert(&**key, &**bytes)?;
        }
        Ok(changed.len() as u64)
    }

    fn numbered<T: Stored + PartialEq>(
        self,
        table: &mut Table<'_, u64, &'static [u8]>,
        kind: &'static str,
        mut look: impl FnMut(&mut T, &mut bool),
    ) -> Result<u64, Fault> {
        let mut changed = Vec::new();
        for entry in table.iter()? {
            let (number, bytes) = entry?;
            let value = encoding::decode::<T>(kind, &number.value().to_string(), bytes.value())?;
            let mut other = self.value(&value, kind)?;
            let mut is_changed = other != value;
            look(&mut other, &mut is_changed);
            if is_changed {
                changed.push((number.value(), encoding::encode(&other)?));
            }
        }
        for (number, bytes) in &changed {
            table.insert(number, &**bytes)?;
        }
        Ok(changed.len() as u64)
    }

    /// The value with every instant that is ahead put back. It is found by how instants are written for people, in which no other
    /// value looks like one.
    fn value<T: Stored + PartialEq>(self, value: &T, kind: &'static str) -> Result<T, Fault> {
        let failed = |error: serde_json::Error| Fault::Damaged(format!("a {kind} cannot be put back in time: {error}"));
        let written = serde_json::to_value(value).map_err(failed)?;
        if serde_json::from_value::<T>(written.clone()).map_err(failed)? != *value {
            return Err(Fault::Damaged(format!("a {kind} is not read as it is written")));
        }
        let mut written = written;
        self.walk(&mut written);
        serde_json::from_value(written).map_err(failed)
    }

    fn walk(self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(at) = self.ahead(text) {
                    *text = written(at.before(self.by));
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.walk(value)),
            Value::Object(fields) => {
                // An end that was chosen before is as it was meant.
                let is_of_before = |made: Option<&Value>| {
                    made.and_then(Value::as_str).is_some_and(|made| instant(made).is_some_and(|made| made <= self.now))
                };
                let keeps = [("created", "expires"), ("set", "expire")];
                let keeps = keeps.map(|(made, end)| is_of_before(fields.get(made)).then_some(end));
                for (name, value) in fields.iter_mut() {
                    if NO_INSTANTS.contains(&&**name) || keeps.contains(&Some(name)) {
                        continue;
                    }
                    match value {
                        // What a document says is JSON as well.
                        Value::String(text) if name == "body" => {
                            if let Ok(mut body) = serde_json::from_str::<Value>(text) {
                                let before = body.clone();
                                self.walk(&mut body);
                                if body != before {
                                    *text = body.to_string();
                                }
                            }
                        }
                        value => self.walk(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn ahead(self, text: &str) -> Option<Timestamp> {
        instant(text).filter(|at| *at > self.now && *at != Timestamp::NEVER)
    }
}

/// The instant that a text is as it is written for people, and no other text.
fn instant(text: &str) -> Option<Timestamp> {
    let is_likely = text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    if !is_likely {
        return None;
    }
    serde_json::from_value(Value::String(text.to_owned())).ok().filter(|at| written(*at) == text)
}

fn written(at: Timestamp) -> String {
    serde_json::to_value(at).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
