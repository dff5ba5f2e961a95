//! Random histories of two servers against a naive model.

use std::collections::BTreeMap;

use fuseboard::{
    engine::{AuditEntry, PolicyEntry},
    store::{Change, Commit, Committed, Document, Floors, Mark, Merge, Record, Refused, Version},
};
use proptest::prelude::*;

use crate::{
    home::{Heard, Held, Home, document, floors, held, mark, policy, record, version},
    samples::{self, at},
};

#[derive(Clone, Debug)]
enum Step {
    /// Some are made from the stored version, others from any.
    Commit {
        server: bool,
        key: u8,
        from: Option<Version>,
        to: Option<Version>,
        events: Vec<u8>,
    },
    Policy {
        server: bool,
        pattern: u8,
        from: Option<u64>,
        to: Option<u64>,
    },
    Document {
        server: bool,
        key: u8,
        from: Option<u64>,
        is_there: bool,
    },
    Merge {
        server: bool,
        records: Vec<(u8, Option<Version>, u8)>,
        marks: Vec<u8>,
        forgotten: Vec<u8>,
    },
    Reopen,
}

fn versions() -> impl Strategy<Value = Version> {
    (0..3_u64, 0..3_u64).prop_map(|(generation, number)| version(generation, number))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let often = |versions| prop::option::weighted(0.3, versions);
    let commit = (
        any::<bool>(),
        0..4_u8,
        often(versions().boxed()),
        prop::option::weighted(0.85, versions()),
        prop::collection::vec(any::<u8>(), 0..4),
    );
    let commit = commit.prop_map(|(server, key, from, to, events)| Step::Commit { server, key, from, to, events });
    let policy = (any::<bool>(), 0..3_u8, prop::option::weighted(0.3, 0..4_u64), prop::option::of(1..4_u64));
    let policy = policy.prop_map(|(server, pattern, from, to)| Step::Policy { server, pattern, from, to });
    let document = (any::<bool>(), 0..3_u8, prop::option::weighted(0.3, 0..4_u64), any::<bool>());
    let document = document.prop_map(|(server, key, from, is_there)| Step::Document { server, key, from, is_there });
    let merged = (0..5_u8, often(versions().boxed()), any::<u8>());
    let merge = (
        any::<bool>(),
        prop::collection::vec(merged, 0..4),
        prop::collection::vec(any::<u8>(), 0..3),
        prop::collection::vec(any::<u8>(), 0..3),
    );
    let merge = merge.prop_map(|(server, records, marks, forgotten)| Step::Merge { server, records, marks, forgotten });
    let step = prop_oneof![6 => commit, 2 => policy, 2 => document, 3 => merge, 1 => Just(Step::Reopen)];
    prop::collection::vec(step, 1..40)
}

/// What a store should hold, in the plainest words.
#[derive(Default)]
struct Model {
    records: BTreeMap<String, Record>,
    policies: BTreeMap<String, PolicyEntry>,
    marks: BTreeMap<String, Mark>,
    documents: BTreeMap<String, Document>,
    held: Held,
    told: Vec<Committed>,
}

const EVENTS_MAX: usize = 12;

impl Model {
    fn commit(&mut self, commit: &Commit) -> Result<(), Refused> {
        let fits = match &commit.change {
            Change::Breaker { key, from, .. } => match self.records.get(&**key) {
                Some(stored) if stored.snapshot.version > 0 => stored.version() == *from,
                _ => from.number == 0,
            },
            Change::Policy { pattern, from, .. } => {
                self.policies.get(&**pattern).map_or(0, |entry| entry.version) == *from
            }
            Change::Document { key, from, .. } => {
                self.documents.get(&**key).map_or(0, |document| document.version) == *from
            }
        };
        if !fits {
            return Err(Refused::Moved);
        }
        let mut events = Vec::new();
        for event in &commit.events {
            self.held.newest += 1;
            let mut event = event.clone();
            event.sequence = self.held.newest;
            event.at = self.held.events.last().map_or(event.at, |last| last.at.max(event.at));
            self.held.floors.now = self.held.floors.now.max(event.at);
            self.held.events.push(event.clone());
            events.push(event.into());
        }
        while self.held.events.len() > EVENTS_MAX {
            self.held.events.remove(0);
        }
        match &commit.change {
            Change::Breaker { key, to: Some(record), .. } => {
                let mut record = (**record).clone();
                if !commit.events.is_empty() {
                    record.sequence = self.held.newest;
                }
                self.held.floors.now = self.held.floors.now.max(record.created).max(record.used);
                self.records.insert(key.to_string(), record);
            }
            Change::Breaker { key, to: None, .. } => _ = self.records.remove(&**key),
            Change::Policy { pattern, to: Some(entry), .. } => {
                self.held.floors.now = self.held.floors.now.max(entry.set);
                self.policies.insert(pattern.to_string(), (**entry).clone());
            }
            Change::Policy { pattern, to: None, .. } => _ = self.policies.remove(&**pattern),
            Change::Document { key, to: Some(document), .. } => {
                self.documents.insert(key.to_string(), (**document).clone());
            }
            Change::Document { key, to: None, .. } => _ = self.documents.remove(&**key),
        }
        let mut audit = Vec::new();
        for entry in &commit.audit {
            self.held.floors.now = self.held.floors.now.max(entry.at);
            let sequence = self.held.audit.len() as u64 + 1;
            let entry = AuditEntry { sequence, ..entry.clone() };
            audit.push(entry.clone());
            self.held.audit.insert(0, entry);
        }
        self.note(&[], commit.floors);
        self.told.push(Committed { author: commit.author, changed: (&commit.change).into(), events, audit });
        Ok(())
    }

    fn merge(&mut self, merge: &Merge) {
        for record in &merge.records {
            let record = record.clone();
            self.held.floors.now = self.held.floors.now.max(record.created).max(record.used);
            match self.records.get(&*record.key).map(|stored| (stored.version(), stored.sequence)) {
                Some((version, sequence)) if version == record.version() => {
                    self.records.insert(record.key.to_string(), Record { sequence, ..record });
                }
                None if record.snapshot.version == 0 => _ = self.records.insert(record.key.to_string(), record),
                _ => {}
            }
        }
        for client in &merge.forgotten {
            self.marks.remove(&**client);
        }
        self.note(&merge.marks, merge.floors);
    }

    fn note(&mut self, marks: &[Mark], floors: Floors) {
        for mark in marks {
            self.held.floors.now = self.held.floors.now.max(mark.at);
            self.marks.insert(mark.client.to_string(), mark.clone());
        }
        self.held.floors = self.held.floors.max(floors);
    }

    fn stored(&self, key: &str) -> Version {
        self.records.get(key).map_or(version(0, 0), Record::version)
    }

    fn is(&self, found: Held) {
        let expected = Held {
            records: self.records.values().cloned().collect(),
            policies: self.policies.values().cloned().collect(),
            marks: self.marks.values().cloned().collect(),
            documents: self.documents.values().cloned().collect(),
            audit: self.held.audit.clone(),
            events: self.held.events.clone(),
            ..Held { floors: self.held.floors, newest: self.held.newest, ..Held::default() }
        };
        assert_eq!(found, expected);
    }
}

fn key(number: u8) -> String {
    format!("key-{number}")
}

async fn play(mut home: Home, steps: &[Step]) {
    let mut model = Model::default();
    let mut heard = Heard::follow(&*home.two());
    for (number, step) in steps.iter().enumerate() {
        let number = number as u64;
        let store = |server: bool| if server { home.one() } else { home.two() };
        match step {
            Step::Commit { server, key: name, from, to, events } => {
                let name = key(*name);
                let from = from.unwrap_or_else(|| model.stored(&name));
                let change = Change::Breaker {
                    key: name.as_str().into(),
                    from,
                    to: to.map(|to| Box::new(Record { used: at(number), ..record(&name, to) })),
                };
                let commit = Commit {
                    author: u64::from(*server),
                    change,
                    events: events.iter().map(|seconds| samples::event(&name, u64::from(*seconds))).collect(),
                    audit: Vec::new(),
                    floors: floors(number / 2, number / 3, at(0)),
                };
                let expected = model.commit(&commit);
                assert_eq!(store(*server).commit(commit).await, expected);
            }
            Step::Policy { server, pattern, from, to } => {
                let pattern = key(*pattern);
                let stored = model.policies.get(&pattern).map_or(0, |entry| entry.version);
                let commit = policy(&pattern, from.unwrap_or(stored), *to);
                let expected = model.commit(&commit);
                assert_eq!(store(*server).commit(commit).await, expected);
            }
            Step::Document { server, key: name, from, is_there } => {
                let name = key(*name);
                let stored = model.documents.get(&name).map_or(0, |document| document.version);
                let body = is_there.then(|| format!("{{\"step\":{number}}}"));
                let commit = document(&name, from.unwrap_or(stored), body.as_deref());
                let expected = model.commit(&commit);
                assert_eq!(store(*server).commit(commit).await, expected);
            }
            Step::Merge { server, records, marks, forgotten } => {
                let records = records.iter().map(|(name, of, used)| {
                    let of = of.unwrap_or_else(|| model.stored(&key(*name)));
                    Record { used: at(u64::from(*used)), sequence: 99, ..record(&key(*name), of) }
                });
                let merge = Merge {
                    records: records.collect(),
                    marks: marks.iter().map(|client| mark(&key(*client % 5), number)).collect(),
                    forgotten: forgotten.iter().map(|client| key(*client % 5).into()).collect(),
                    floors: floors(number / 3, number / 2, at(0)),
                };
                model.merge(&merge);
                store(*server).merge(merge).await.unwrap();
            }
            Step::Reopen => {
                assert_eq!(*heard.0.lock(), model.told);
                model.told.clear();
                home.again();
                heard = Heard::follow(&*home.two());
            }
        }
    }
    assert_eq!(*heard.0.lock(), model.told);
    model.is(held(&*home.one()).await.unwrap());
    model.is(held(&*home.again()).await.unwrap());
}

proptest! {
    #[test]
    fn every_home_is_like_the_naive_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for home in [Home::memory(EVENTS_MAX), Home::quick_disk(EVENTS_MAX, true)] {
            runtime.block_on(play(home, &steps));
        }
    }
}
