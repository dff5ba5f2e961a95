//! The homes, and what is written to them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fuseboard::{
    breaker::Timestamp,
    engine::{AuditEntry, Event, PolicyEntry},
    store::{
        Change, Commit, Committed, Disk, DiskOptions, Document, Floors, Follower, Mark, Memory, Merge, Record, Refused,
        Store, Version,
    },
};
use parking_lot::Mutex;

use crate::{
    faulty::Faulty,
    samples::{self, at},
};

/// A directory of one test, gone with it.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        Self::within(env!("CARGO_TARGET_TMPDIR"))
    }

    /// Where a sync costs nothing, if there is such a place: for tests in which the disk is played.
    pub(crate) fn quick() -> Self {
        let memory = "/dev/shm";
        if Path::new(memory).is_dir() { Self::within(memory) } else { Self::new() }
    }

    fn within(place: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(Path::new(place).join(format!("fuseboard-store-{}-{number}", process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("fuseboard.redb")
    }

    /// Names of what is in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A home with two servers in it, which may be one.
pub(crate) enum Home {
    Memory(Memory, Memory),
    Disk { directory: Directory, store: Option<Arc<Disk>>, events_max: usize, reopens: bool, quick: bool },
}

impl Home {
    pub(crate) fn memory(events_max: usize) -> Self {
        let memory = Memory::new(events_max);
        Self::Memory(memory.clone(), memory)
    }

    pub(crate) fn disk(events_max: usize, reopens: bool) -> Self {
        let mut home = Self::Disk { directory: Directory::new(), store: None, events_max, reopens, quick: false };
        home.open();
        home
    }

    /// The same without a sync, for many histories.
    pub(crate) fn quick_disk(events_max: usize, reopens: bool) -> Self {
        let mut home = Self::Disk { directory: Directory::quick(), store: None, events_max, reopens, quick: true };
        home.open();
        home
    }

    fn open(&mut self) {
        if let Self::Disk { directory, store, events_max, quick, .. } = self {
            let options = DiskOptions { events_max: *events_max, ..DiskOptions::default() };
            let opened = if *quick {
                Disk::open_with(directory.path(), &options, Faulty::new(Vec::new()).backends())
            } else {
                Disk::open(directory.path(), &options)
            };
            let opened = opened.unwrap();
            assert_eq!(opened.damage, None);
            *store = Some(Arc::new(opened.store));
        }
    }

    pub(crate) fn one(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(one, _) => Arc::new(one.clone()),
            Self::Disk { store, .. } => store.clone().unwrap(),
        }
    }

    pub(crate) fn two(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(_, two) => Arc::new(two.clone()),
            Self::Disk { store, .. } => store.clone().unwrap(),
        }
    }

    /// Stops and starts, where the home is one that survives it.
    pub(crate) fn again(&mut self) -> Arc<dyn Store> {
        if let Self::Disk { store, reopens: true, .. } = self {
            store.take().unwrap().close();
            self.open();
        }
        self.one()
    }
}

/// What a follower has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<Committed>>);

impl Follower for Heard {
    fn committed(&self, committed: &Committed) {
        self.0.lock().push(committed.clone());
    }
}

impl Heard {
    pub(crate) fn follow(store: &dyn Store) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        store.follow(heard.clone());
        heard
    }

    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.0.lock().iter().flat_map(|committed| &committed.events).map(|event| event.sequence).collect()
    }
}

pub(crate) const fn version(generation: u64, number: u64) -> Version {
    Version { generation, number }
}

/// A record at a version.
pub(crate) fn record(key: &str, version: Version) -> Record {
    let mut record = samples::record(key);
    (record.snapshot.generation, record.snapshot.version) = (version.generation, version.number);
    record
}

/// A commit of a record with so many events.
pub(crate) fn commit(from: Version, to: Record, events: usize) -> Commit {
    let events = (0..events).map(|_| samples::event(&to.key, 10)).collect();
    let change = Change::Breaker { key: Arc::clone(&to.key), from, to: Some(Box::new(to)) };
    Commit { author: 1, change, events, audit: Vec::new(), floors: Floors::default() }
}

/// A commit of the next version of a breaker.
pub(crate) fn step(key: &str, number: u64, events: usize) -> Commit {
    commit(version(1, number), record(key, version(1, number + 1)), events)
}

pub(crate) fn removal(key: &str, from: Version) -> Commit {
    let change = Change::Breaker { key: key.into(), from, to: None };
    Commit { change, ..commit(from, record(key, from), 1) }
}

pub(crate) fn policy(pattern: &str, from: u64, to: Option<u64>) -> Commit {
    let entry = |version| PolicyEntry { pattern: pattern.into(), version, ..samples::policies().remove(1) };
    let change = Change::Policy { pattern: pattern.into(), from, to: to.map(|version| Box::new(entry(version))) };
    Commit { change, events: Vec::new(), ..step("unused", 0, 0) }
}

pub(crate) fn document(key: &str, from: u64, to: Option<&str>) -> Commit {
    let document = |body: &str| Document { key: key.into(), version: from + 1, body: body.into() };
    let change = Change::Document { key: key.into(), from, to: to.map(|body| Box::new(document(body))) };
    Commit { change, events: Vec::new(), audit: vec![samples::audit(key)], ..step("unused", 0, 0) }
}

pub(crate) fn mark(client: &str, sequence: u64) -> Mark {
    Mark { client: client.into(), sequence, at: at(1), counted: None }
}

pub(crate) fn merge(records: Vec<Record>) -> Merge {
    Merge { records, ..Merge::default() }
}

/// Everything that a store holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) records: Vec<Record>,
    pub(crate) policies: Vec<PolicyEntry>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) documents: Vec<Document>,
    /// Newest first.
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) events: Vec<Event>,
    pub(crate) floors: Floors,
    pub(crate) newest: u64,
}

pub(crate) async fn held(store: &dyn Store) -> Result<Held, Refused> {
    let root = store.root().await?;
    let events = store.events(0, usize::MAX).await?.iter().map(|event| Event::clone(event)).collect();
    Ok(Held {
        records: store.scan("", usize::MAX).await?,
        policies: root.policies,
        marks: root.marks,
        documents: root.documents,
        audit: store.audit(u64::MAX, usize::MAX).await?,
        events,
        floors: root.floors,
        newest: root.newest,
    })
}

pub(crate) async fn sequences(store: &dyn Store) -> Vec<u64> {
    store.events(0, usize::MAX).await.unwrap().iter().map(|event| event.sequence).collect()
}

pub(crate) const fn floors(generation: u64, policies: u64, now: Timestamp) -> Floors {
    Floors { generation, policies, now }
}
