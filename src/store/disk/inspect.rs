//! Looks into a data directory while no server runs on it. Nothing in it is changed: the file is read into memory, and
//! what a crash has left to repair is repaired there.

use std::{
    fmt, fs,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use serde::Serialize;
use serde_json::{Value, json};

pub use super::clock::{Adjusted, accept_clock, repair_clock, repair_clock_to};
use super::{
    OpenError,
    backend::Image,
    clock,
    lock::Lock,
    open::{FILE, check_version},
    salvage,
    tables::{self, AUDIT, DOCUMENTS, EVENTS, Fault, MARKS, Meta, POLICIES, RECORDS},
};
use crate::{
    breaker::Timestamp,
    engine::{AuditEntry, Event, PolicyEntry, SEALS},
    store::{
        Document, Mark, Record,
        encoding::{self, Stored},
    },
};

/// Problems that a report lists; it counts the others.
const PROBLEMS_MAX: usize = 20;

/// Why a directory cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A server runs on it.
    #[error("a server runs on {} (pid {}): stop it first", path.display(), pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Whose it is, where that can be read.
        pid: Option<u32>,
    },
    /// There is nothing to look into.
    #[error("{} has no store: there is no {FILE} in it", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The file cannot be read as a whole.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, for people.
        why: String,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a check found. As text it is a short table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its server was stopped, not killed.
    pub was_closed: bool,
    /// Names the log of events. `None`: it cannot be read.
    pub epoch: Option<u64>,
    /// The server's time when it last wrote.
    pub written: Option<Timestamp>,
    /// How far that is ahead of the machine's clock, where it is by more than a second.
    pub ahead: Option<Duration>,
    /// Sequence of the newest event.
    pub newest: u64,
    /// Values that can be read and their bytes, by table.
    pub tables: Vec<(&'static str, u64, u64)>,
    /// What is wrong, for people; the first ones.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: usize,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, problem: impl fmt::Display) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "file      {}, {} bytes", self.path.display(), self.bytes)?;
        writeln!(f, "closed    {}", if self.was_closed { "yes" } else { "no: the next start repairs it" })?;
        if let Some(epoch) = self.epoch {
            writeln!(f, "epoch     {epoch:016x}")?;
        }
        if let Some(written) = self.written.filter(|written| *written != Timestamp::default()) {
            let written = UNIX_EPOCH + Duration::from_nanos(written.as_nanos());
            writeln!(f, "written   {}", humantime::format_rfc3339_seconds(written))?;
            if let Some(ahead) = self.ahead {
                let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
                writeln!(
                    f,
                    "clock     the stored time is {ahead} ahead of this machine's: `fuseboard store repair-clock`"
                )?;
            }
        }
        writeln!(f, "newest    event {}", self.newest)?;
        for (name, values, bytes) in &self.tables {
            writeln!(f, "{name:<9} {values}, {bytes} bytes")?;
        }
        match self.problem_count {
            0 => writeln!(f, "problems  none"),
            count => {
                writeln!(f, "problems  {count}")?;
                self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
                let more = count - self.problems.len();
                if more > 0 { writeln!(f, "  and {more} more") } else { Ok(()) }
            }
        }
    }
}

/// The file of a directory, in memory.
struct Copy {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Nobody writes while it is looked into.
    _lock: Lock,
}

impl Copy {
    fn read(directory: &Path) -> Result<Self, InspectError> {
        let path = directory.join(FILE);
        if !path.try_exists().map_err(|source| InspectError::Io { path: path.clone(), source })? {
            return Err(InspectError::Missing { path: directory.to_owned() });
        }
        let lock = Lock::take(directory).map_err(|error| match error {
            OpenError::Locked { path, pid } => InspectError::Locked { path, pid },
            OpenError::Io { path, source } => InspectError::Io { path, source },
            other => InspectError::Unreadable { path: path.clone(), why: other.to_string() },
        })?;
        let bytes = fs::read(&path).map_err(|source| InspectError::Io { path: path.clone(), source })?;
        Ok(Self { path, bytes, _lock: lock })
    }

    /// Opens it and verifies every page.
    fn open(&self) -> Result<(Database, ReadTransaction, Meta), Fault> {
        let open = || {
            let image = Image::new(self.bytes.clone());
            check_version(&image)?;
            let database = Builder::new().set_check_integrity_on_open(true).create_with_backend(image)?;
            let transaction = database.begin_read()?;
            let meta = tables::meta(&transaction)?;
            Ok((database, transaction, meta))
        };
        caught(open)
    }
}

fn caught<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
}

/// Verifies everything that a directory holds: pages, values, the log, and that each agrees with the others.
///
/// # Errors
/// A server runs on it, there is no store in it, or the system refuses.
pub fn check(directory: &Path) -> Result<Report, InspectError> {
    let copy = Copy::read(directory)?;
    let mut report = Report {
        path: copy.path.clone(),
        bytes: copy.bytes.len() as u64,
        was_closed: salvage::was_closed(&copy.bytes),
        epoch: None,
        written: None,
        ahead: None,
        newest: 0,
        tables: Vec::new(),
        problems: Vec::new(),
        problem_count: 0,
    };
    let read = copy.open().and_then(|(database, transaction, meta)| {
        report.epoch = Some(meta.epoch);
        report.written = Some(meta.floors.now);
        report.ahead = Some(meta.floors.now.since(clock::machine())).filter(|ahead| ahead.as_secs() > 1);
        report.newest = meta.newest;
        let checked = caught(|| check_values(&transaction, &meta, &mut report));
        drop(database);
        checked
    });
    if let Err(fault) = read {
        report.problem(&fault);
        if fault.is_damage() {
            let found = salvage::search(&copy.bytes);
            report.newest = found.meta.map_or(0, |meta| meta.newest);
            let contents = found.contents;
            report.tables = vec![
                ("records", contents.records.len() as u64, bytes_of(&contents.records)),
                ("policies", contents.policies.len() as u64, bytes_of(&contents.policies)),
                ("marks", contents.marks.len() as u64, bytes_of(&contents.marks)),
                ("documents", contents.documents.len() as u64, bytes_of(&contents.documents)),
                ("audit", contents.audit.len() as u64, bytes_of(&contents.audit)),
                ("events", contents.events.len() as u64, bytes_of(&contents.events)),
            ];
        }
    }
    Ok(report)
}

fn bytes_of<T: Serialize>(values: &[T]) -> u64 {
    values.iter().filter_map(|value| encoding::encode(value).ok()).map(|bytes| bytes.len() as u64).sum()
}

fn check_values(transaction: &ReadTransaction, meta: &Meta, report: &mut Report) -> Result<(), Fault> {
    let mut problems = Vec::new();
    let table = each(transaction, RECORDS, "record", &mut problems, |key, record: Record, problems| {
        if *record.key != *key {
            problems.push(format!("record {key:?} says that its key is {:?}", record.key));
        }
        if record.sequence > meta.newest {
            problems.push(format!("record {key:?} names event {}, which was never written", record.sequence));
        }
    })?;
    report.tables.push(table);
    let table = each(transaction, POLICIES, "policy", &mut problems, |key, entry: PolicyEntry, problems| {
        if *entry.pattern != *key {
            problems.push(format!("policy {key:?} says that its pattern is {:?}", entry.pattern));
        }
    })?;
    report.tables.push(table);
    let table = each(transaction, MARKS, "mark", &mut problems, |key, mark: Mark, problems| {
        if *mark.client != *key {
            problems.push(format!("mark {key:?} says that its client is {:?}", mark.client));
        }
    })?;
    report.tables.push(table);
    let table = each(transaction, DOCUMENTS, "document", &mut problems, |key, document: Document, problems| {
        if *document.key != *key {
            problems.push(format!("document {key:?} says that its key is {:?}", document.key));
        }
    })?;
    report.tables.push(table);
    report.tables.push(check_audit(transaction, &mut problems)?);
    let (mut last, mut at) = (None, Timestamp::default());
    let (mut values, mut bytes) = (0, 0);
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (sequence, value) = entry?;
        let sequence = sequence.value();
        (values, bytes) = (values + 1, bytes + value.value().len() as u64);
        if let Some(last) = last.filter(|last: &u64| *last + 1 != sequence) {
            problems.push(format!("the log has a gap from event {last} to event {sequence}"));
        }
        last = Some(sequence);
        match encoding::decode::<Event>("event", &sequence.to_string(), value.value()) {
            Err(error) => problems.push(error.to_string()),
            Ok(event) => {
                if event.sequence != sequence {
                    problems.push(format!("event {sequence} says that its sequence is {}", event.sequence));
                }
                if event.at < at {
                    problems.push(format!("event {sequence} is older than the one before"));
                }
                at = event.at;
            }
        }
    }
    if last.unwrap_or_default() != meta.newest {
        problems.push(format!("the log ends at event {}, not at {}", last.unwrap_or_default(), meta.newest));
    }
    report.tables.push(("events", values, bytes));
    problems.into_iter().for_each(|problem| report.problem(problem));
    Ok(())
}

fn check_audit(transaction: &ReadTransaction, problems: &mut Vec<String>) -> Result<(&'static str, u64, u64), Fault> {
    let (mut values, mut bytes) = (0, 0);
    let Some(table) = tables::optional(transaction.open_table(AUDIT))? else { return Ok(("audit", values, bytes)) };
    for entry in table.iter()? {
        let (sequence, value) = entry?;
        (values, bytes) = (values + 1, bytes + value.value().len() as u64);
        if let Err(error) = encoding::decode::<AuditEntry>("audit", &sequence.value().to_string(), value.value()) {
            problems.push(error.to_string());
        }
    }
    Ok(("audit", values, bytes))
}

fn each<T: Stored>(
    transaction: &ReadTransaction,
    definition: redb::TableDefinition<&'static str, &'static [u8]>,
    kind: &'static str,
    problems: &mut Vec<String>,
    mut look: impl FnMut(&str, T, &mut Vec<String>),
) -> Result<(&'static str, u64, u64), Fault> {
    let (mut values, mut bytes) = (0, 0);
    let name = match kind {
        "record" => "records",
        "policy" => "policies",
        "mark" => "marks",
        _ => "documents",
    };
    let Some(table) = tables::optional(transaction.open_table(definition))? else { return Ok((name, values, bytes)) };
    for entry in table.iter()? {
        let (key, value) = entry?;
        (values, bytes) = (values + 1, bytes + value.value().len() as u64);
        match encoding::decode(kind, key.value(), value.value()) {
            Ok(value) => look(key.value(), value, problems),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok((name, values, bytes))
}

/// Writes everything that a directory holds as lines of JSON: an object for each value, its `kind` one of `store`, `record`,
/// `policy`, `mark`, `document`, `audit` and `event`. A token is a document, with the hash of its secret. The key that seals
/// permits is left out.
///
/// # Errors
/// A server runs on it, there is no store in it, it is damaged, or nobody reads on.
pub fn dump(directory: &Path, to: &mut impl Write) -> Result<(), InspectError> {
    let copy = Copy::read(directory)?;
    let unreadable = |why: String| InspectError::Unreadable { path: copy.path.clone(), why };
    let (database, transaction, meta) = copy.open().map_err(|fault| unreadable(fault.to_string()))?;
    let written = caught(|| {
        let epoch = format!("{:016x}", meta.epoch);
        line(to, "store", &json!({ "epoch": epoch, "floors": meta.floors, "newest": meta.newest }))?;
        lines::<Record>(&transaction, RECORDS, "record", to, |_| ())?;
        lines::<PolicyEntry>(&transaction, POLICIES, "policy", to, |_| ())?;
        lines::<Mark>(&transaction, MARKS, "mark", to, |_| ())?;
        lines::<Document>(&transaction, DOCUMENTS, "document", to, |document| {
            if document.key.starts_with(SEALS) {
                document.body = r#""secret""#.into();
            }
        })?;
        if let Some(table) = tables::optional(transaction.open_table(AUDIT))? {
            for entry in table.iter()? {
                let (sequence, bytes) = entry?;
                line(
                    to,
                    "audit",
                    &encoding::decode::<AuditEntry>("audit", &sequence.value().to_string(), bytes.value())?,
                )?;
            }
        }
        for entry in transaction.open_table(EVENTS)?.iter()? {
            let (sequence, bytes) = entry?;
            line(to, "event", &encoding::decode::<Event>("event", &sequence.value().to_string(), bytes.value())?)?;
        }
        to.flush()?;
        Ok(())
    });
    drop((transaction, database));
    written.map_err(|fault| match fault {
        Fault::Storage(redb::Error::Io(source)) => InspectError::Io { path: "standard output".into(), source },
        fault => unreadable(fault.to_string()),
    })
}

fn lines<T: Stored>(
    transaction: &ReadTransaction,
    definition: redb::TableDefinition<&'static str, &'static [u8]>,
    kind: &'static str,
    to: &mut impl Write,
    redact: impl Fn(&mut T),
) -> Result<(), Fault> {
    let Some(table) = tables::optional(transaction.open_table(definition))? else { return Ok(()) };
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let mut value = encoding::decode::<T>(kind, key.value(), bytes.value())?;
        redact(&mut value);
        line(to, kind, &value)?;
    }
    Ok(())
}

fn line<T: Serialize>(to: &mut impl Write, kind: &str, value: &T) -> Result<(), Fault> {
    let mut value = serde_json::to_value(value).map_err(|error| Fault::Damaged(error.to_string()))?;
    readable(&mut value);
    writeln!(to, "{}", json!({ "kind": kind, "value": value }))?;
    Ok(())
}

/// Makes lengths of time what people write.
fn readable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let part = |name| fields.get(name).and_then(Value::as_u64);
            if let (2, Some(seconds), Some(Ok(nanos))) = (fields.len(), part("secs"), part("nanos").map(u32::try_from))
            {
                *value = humantime::format_duration(Duration::new(seconds, nanos)).to_string().into();
            } else {
                fields.values_mut().for_each(readable);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(readable),
        _ => {}
    }
}
