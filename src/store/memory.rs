//! A store in memory. It ends with the process; clones are one store, which several servers in one process may share.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Answer, AuditRetention, Change, Changed, Commit, Committed, Document, Floors, Follower, Health, Mark, Merge,
    Record, Refused, Root, Store, Together, encoding, trail::Trail,
};
use crate::{
    breaker::Timestamp,
    engine::{AuditEntry, Event, PolicyEntry},
};

/// A store in memory.
#[derive(Clone, Debug)]
pub struct Memory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: u64,
    events_max: usize,
    audit: AuditRetention,
    health: watch::Sender<Health>,
    /// Held while followers are told: they hear commits in the order of the log.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: BTreeMap<Arc<str>, Record>,
    policies: BTreeMap<Arc<str>, PolicyEntry>,
    marks: BTreeMap<Box<str>, Mark>,
    documents: BTreeMap<Arc<str>, Document>,
    audit: BTreeMap<u64, AuditEntry>,
    trail: Trail,
    floors: Floors,
    events: VecDeque<Arc<Event>>,
    newest: u64,
    followers: Vec<Arc<dyn Follower>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("records", &self.records.len())
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// An empty store that holds so many events, at least 1.
    #[must_use]
    pub fn new(events_max: usize) -> Self {
        Self::keeping(events_max, AuditRetention::default())
    }

    /// As [`Memory::new`], with the bounds of the audit trail.
    #[must_use]
    pub fn keeping(events_max: usize, audit: AuditRetention) -> Self {
        let inner = Inner {
            epoch: rand::random::<u64>().max(1),
            events_max: events_max.max(1),
            audit,
            health: watch::Sender::default(),
            kept: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Kept {
    fn commit(&mut self, commit: Commit, events_max: usize, retention: &AuditRetention) -> Result<Committed, Refused> {
        if !self.fits(&commit.change) {
            return Err(Refused::Moved);
        }
        let now = commit.now();
        let mut at = self.events.back().map_or_else(Timestamp::default, |event| event.at);
        let mut events = Vec::with_capacity(commit.events.len());
        for event in commit.events {
            self.newest += 1;
            at = at.max(event.at);
            let event = Arc::new(Event { sequence: self.newest, at, ..event });
            self.events.push_back(Arc::clone(&event));
            events.push(event);
        }
        while self.events.len() > events_max {
            self.events.pop_front();
        }
        let changed = Changed::from(&commit.change);
        let floors = Floors { now, ..commit.floors };
        match commit.change {
            Change::Breaker { key, to: None, .. } => {
                self.records.remove(&key);
            }
            Change::Breaker { key, to: Some(mut record), .. } => {
                record.sequence = events.last().map_or(record.sequence, |event| event.sequence);
                self.records.insert(key, *record);
            }
            Change::Policy { pattern, to: None, .. } => {
                self.policies.remove(&pattern);
            }
            Change::Policy { pattern, to: Some(entry), .. } => {
                self.policies.insert(pattern, *entry);
            }
            Change::Document { key, to: None, .. } => {
                self.documents.remove(&key);
            }
            Change::Document { key, to: Some(document), .. } => {
                self.documents.insert(key, *document);
            }
        }
        let mut audit = Vec::with_capacity(commit.audit.len());
        for entry in commit.audit {
            let entry = AuditEntry { sequence: self.trail.newest() + 1, ..entry };
            self.trail.add_audit(&entry, encoding::encode(&entry).map_or(0, |bytes| bytes.len()));
            self.audit.insert(entry.sequence, entry.clone());
            for gone in self.trail.trim(retention, now) {
                self.audit.remove(&gone);
            }
            audit.push(entry);
        }
        self.floors = self.floors.max(floors);
        Ok(Committed { author: commit.author, changed, events, audit })
    }

    fn commit_and_tell(&mut self, commit: Commit, inner: &Inner) -> Result<(), Refused> {
        let committed = self.commit(commit, inner.events_max, &inner.audit)?;
        for follower in &self.followers {
            follower.committed(&committed);
        }
        Ok(())
    }

    fn fits(&self, change: &Change) -> bool {
        match change {
            Change::Breaker { key, from, .. } => from.replaces(self.records.get(key).map(Record::version)),
            Change::Policy { pattern, from, .. } => {
                self.policies.get(pattern).map_or(0, |entry| entry.version) == *from
            }
            Change::Document { key, from, .. } => {
                self.documents.get(key).map_or(0, |document| document.version) == *from
            }
        }
    }

    fn merge(&mut self, merge: Merge) {
        let floors = Floors { now: merge.now(), ..merge.floors };
        for record in merge.records {
            match self.records.get_mut(&record.key) {
                Some(stored) if stored.version() == record.version() => {
                    *stored = Record { sequence: stored.sequence, ..record };
                }
                None if record.version().number == 0 => {
                    self.records.insert(Arc::clone(&record.key), record);
                }
                Some(_) | None => {}
            }
        }
        for client in &merge.forgotten {
            self.marks.remove(client);
        }
        self.marks.extend(merge.marks.into_iter().map(|mark| (mark.client.clone(), mark)));
        self.floors = self.floors.max(floors);
    }
}

impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_lasting(&self) -> bool {
        false
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    fn now(&self) -> Timestamp {
        self.inner.kept.lock().floors.now
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health.subscribe()
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.inner.kept.lock().followers.push(follower);
    }

    fn root(&self) -> Answer<'_, Root> {
        Box::pin(async {
            let kept = self.inner.kept.lock();
            Ok(Root {
                policies: kept.policies.values().cloned().collect(),
                marks: kept.marks.values().cloned().collect(),
                documents: kept.documents.values().cloned().collect(),
                floors: kept.floors,
                newest: kept.newest,
            })
        })
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(async move { Ok(self.inner.kept.lock().records.get(key).cloned()) })
    }

    fn scan<'a>(&'a self, after: &'a str, max: usize) -> Answer<'a, Vec<Record>> {
        Box::pin(async move {
            let kept = self.inner.kept.lock();
            let after = kept.records.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
            Ok(after.take(max).map(|(_, record)| record.clone()).collect())
        })
    }

    fn events(&self, after: u64, max: usize) -> Answer<'_, Vec<Arc<Event>>> {
        Box::pin(async move {
            let kept = self.inner.kept.lock();
            let place = kept.events.partition_point(|event| event.sequence <= after);
            Ok(kept.events.range(place..).take(max).cloned().collect())
        })
    }

    fn audit(&self, before: u64, max: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(async move {
            let kept = self.inner.kept.lock();
            Ok(kept.audit.range(..before).rev().take(max).map(|(_, entry)| entry.clone()).collect())
        })
    }

    fn commit(&self, commit: Commit) -> Answer<'static, ()> {
        let told = self.inner.kept.lock().commit_and_tell(commit, &self.inner);
        Box::pin(std::future::ready(told))
    }

    fn merge(&self, merge: Merge) -> Answer<'static, ()> {
        self.inner.kept.lock().merge(merge);
        Box::pin(std::future::ready(Ok(())))
    }

    fn write_together(&self, commits: Vec<Commit>, merge: Merge) -> Together {
        let mut kept = self.inner.kept.lock();
        let commits = commits.into_iter().map(|commit| kept.commit_and_tell(commit, &self.inner));
        let commits = commits.map(|told| Box::pin(std::future::ready(told)) as Answer<'static, ()>).collect();
        kept.merge(merge);
        Together { commits, merge: Box::pin(std::future::ready(Ok(()))) }
    }
}
