//! Crashes, disks that fail, disks that lie, and bits that flip.

use std::{collections::BTreeSet, fs, io::ErrorKind, sync::Arc, time::Duration};

use fuseboard::{
    engine::Event,
    store::{
        Commit, Committed, Disk, DiskOptions, Follower, Health, Merge, OpenError, Opened, Record, Refused, Store as _,
    },
};
use futures_util::future::join_all;
use parking_lot::Mutex;

use crate::{
    faulty::{Fault, Faulty, Operation},
    home::{
        Directory, Heard, Held, document, floors, held, mark, merge, policy, record, removal, sequences, step, version,
    },
    samples::{self, at},
};

fn options() -> DiskOptions {
    DiskOptions { retry: Duration::from_millis(1), ..DiskOptions::default() }
}

/// A directory whose file has these bytes.
fn with(image: &[u8]) -> Directory {
    let directory = Directory::quick();
    fs::create_dir_all(directory.path()).unwrap();
    fs::write(directory.file(), image).unwrap();
    directory
}

/// The bytes of a new store.
fn fresh() -> Vec<u8> {
    let directory = Directory::quick();
    Disk::open(directory.path(), &options()).unwrap().store.close();
    fs::read(directory.file()).unwrap()
}

fn open(directory: &Directory, disk: &Faulty) -> Result<Opened, OpenError> {
    Disk::open_with(directory.path(), &options(), disk.backends())
}

/// What is written in the tests below, one after the other.
enum Act {
    Commit(Box<Commit>),
    Merge(Merge),
    /// One write.
    Together(Vec<Commit>, Merge),
}

fn acts() -> Vec<Act> {
    let commit = |commit| Act::Commit(Box::new(commit));
    let mut acts = Vec::new();
    for number in 0..8_u64 {
        let key = format!("key-{number}");
        acts.push(commit(Commit { floors: floors(number, 1, at(100 + number)), ..step(&key, 0, 2) }));
        let counted = merge(vec![record(&format!("batched-{number}"), version(1, 0))]);
        let counted = Merge { marks: vec![mark("c", number)], ..counted };
        acts.push(Act::Together(vec![step(&key, 1, 1), step(&format!("also-{number}"), 0, 1)], counted));
    }
    let full = samples::records().pop().unwrap();
    let mut full = Record { key: "full".into(), ..full };
    full.snapshot.version = 1;
    acts.push(commit(crate::home::commit(version(1, 0), full, 1)));
    acts.push(commit(policy("a*", 0, Some(3))));
    acts.push(commit(removal("key-3", version(1, 2))));
    let counted = (0..30).map(|number| record(&format!("merged-{number}"), version(1, 0))).collect();
    acts.push(Act::Merge(Merge { marks: vec![mark("d", 1)], ..merge(counted) }));
    acts.push(commit(policy("a*", 3, None)));
    acts.push(commit(step("last", 0, 3)));
    acts
}

/// Notes how many operations there were when it was told.
struct Places(Faulty, Mutex<Vec<usize>>);

impl Follower for Places {
    fn committed(&self, _: &Committed) {
        self.1.lock().push(self.0.log().len());
    }
}

/// A run of all acts, and what a store that was killed at any place of it has to have.
struct Run {
    disk: Faulty,
    /// What the store held after each act; before the first at 0.
    states: Vec<Held>,
    /// How many operations there were when each was answered, or told to followers before.
    answered: Vec<usize>,
}

async fn run() -> Run {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = open(&directory, &disk).unwrap().store;
    let (mut states, mut answered) = (vec![held(&store).await.unwrap()], Vec::new());
    let told = Arc::new(Places(disk.clone(), Mutex::default()));
    store.follow(told.clone());
    for act in acts() {
        match act {
            Act::Commit(commit) => {
                store.commit(*commit).await.unwrap();
                answered.extend(told.1.lock().pop());
            }
            Act::Merge(merge) => {
                store.merge(merge).await.unwrap();
                answered.push(disk.log().len());
            }
            Act::Together(commits, merge) => {
                let together = store.write_together(commits, merge);
                for answer in together.commits {
                    answer.await.unwrap();
                }
                together.merge.await.unwrap();
                let places = std::mem::take(&mut *told.1.lock());
                assert!(places.iter().all(|place| *place == places[0]), "one write: {places:?}");
                answered.push(places[0]);
            }
        }
        states.push(held(&store).await.unwrap());
    }
    store.close();
    Run { disk, states, answered }
}

/// Opens what a crash has left: everything answered is there, and of what was not, all or nothing.
async fn after_crash(run: &Run, image: &[u8], place: usize, goes_on: bool) -> (Faulty, Held) {
    let (disk, directory) = (Faulty::new(image.to_vec()), with(image));
    let Opened { store, damage } = open(&directory, &disk).unwrap();
    assert_eq!(damage, None, "after {place} operations");
    let answered = run.answered.iter().filter(|count| **count <= place).count();
    let found = held(&store).await.unwrap();
    let is_state = run.states[answered..].iter().take(2).any(|state| *state == found);
    assert!(is_state, "after {place} operations and {answered} answers: {found:?}");
    if goes_on {
        store.commit(step("after", 0, 1)).await.unwrap();
        assert_eq!(sequences(&store).await, (1..=found.newest + 1).collect::<Vec<_>>());
    }
    store.close();
    (disk, found)
}

#[tokio::test]
async fn every_prefix_of_what_is_written_opens_with_all_that_was_answered() {
    let run = run().await;
    let log = run.disk.log();
    for place in 0..=log.len() {
        for seed in 0..3 {
            let image = run.disk.after_crash(&log[..place], seed * 10_000 + place as u64);
            after_crash(&run, &image, place, place % 16 == 0).await;
        }
    }
}

/// What a follower was told: key, and how many operations there were.
struct Keys(Faulty, Mutex<Vec<(Arc<str>, usize)>>);

impl Follower for Keys {
    fn committed(&self, committed: &Committed) {
        self.1.lock().push((Arc::clone(&committed.events[0].key), self.0.log().len()));
    }
}

#[tokio::test]
async fn commits_that_share_a_transaction_are_whole_after_a_crash() {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = open(&directory, &disk).unwrap().store;
    let told = Arc::new(Keys(disk.clone(), Mutex::default()));
    store.follow(told.clone());
    for round in 0..6 {
        let all = (0..7).map(|number| store.commit(step(&format!("key-{number}"), round, 2)));
        assert!(join_all(all).await.iter().all(Result::is_ok));
    }
    store.close();
    let (log, told) = (disk.log(), told.1.lock().clone());
    assert_eq!(told.len(), 42);
    for place in 0..=log.len() {
        let image = disk.after_crash(&log[..place], place as u64);
        let directory = with(&image);
        let Opened { store, damage } = open(&directory, &Faulty::new(image)).unwrap();
        assert_eq!(damage, None, "after {place} operations");
        let found = held(&store).await.unwrap();
        assert_eq!(sequences(&store).await, (1..=found.newest).collect::<Vec<_>>());
        for number in 0..7 {
            let key = format!("key-{number}");
            let stored = found.records.iter().find(|record| *record.key == *key);
            let (number, last) = stored.map_or((0, 0), |record| (record.snapshot.version, record.sequence));
            let events: Vec<u64> =
                found.events.iter().filter(|event| *event.key == *key).map(|event| event.sequence).collect();
            assert_eq!((events.len() as u64, events.last().copied().unwrap_or(0)), (number * 2, last), "{key}");
            let durable = told.iter().filter(|(told, at)| **told == *key && *at <= place).count();
            assert!(number >= durable as u64, "{key} after {place} operations");
        }
    }
}

#[tokio::test]
async fn a_crash_while_it_recovers_from_a_crash_loses_nothing() {
    let run = run().await;
    let log = run.disk.log();
    for place in (0..log.len()).step_by(23) {
        let image = run.disk.after_crash(&log[..place], place as u64);
        let (second, found) = after_crash(&run, &image, place, false).await;
        let recovery = second.log();
        for again in 0..recovery.len() {
            let image = second.after_crash(&recovery[..again], again as u64);
            let (_, still) = after_crash(&run, &image, place, false).await;
            // What a start has shown is not taken back by the next: it was made durable first.
            if recovery[..again].iter().any(|operation| matches!(operation, Operation::Sync)) {
                assert!(still == found, "after {place} and {again} operations");
            }
        }
    }
}

/// Values that may be served of a damaged file: those that were written at some time. Numbers in the log are made anew.
struct Written {
    records: Vec<Record>,
    events: Vec<Event>,
}

impl Written {
    fn of<'a>(states: impl IntoIterator<Item = &'a Held>) -> Self {
        let mut written = Self { records: Vec::new(), events: Vec::new() };
        for state in states {
            for record in &state.records {
                let record = Record { sequence: 0, ..record.clone() };
                if !written.records.contains(&record) {
                    written.records.push(record);
                }
            }
            for event in &state.events {
                let event = Event { sequence: 0, ..event.clone() };
                if !written.events.contains(&event) {
                    written.events.push(event);
                }
            }
        }
        written
    }

    fn has(&self, found: &Held) {
        for record in &found.records {
            assert!(self.records.contains(&Record { sequence: 0, ..record.clone() }), "{record:?}");
        }
        for event in &found.events {
            assert!(self.events.contains(&Event { sequence: 0, ..event.clone() }), "{event:?}");
        }
        let sequences: Vec<u64> = found.events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=found.newest).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_sync_that_lies_is_an_earlier_state_or_damage_and_never_nonsense() {
    let run = run().await;
    let log = run.disk.log();
    let written = Written::of(&run.states);
    let syncs: Vec<usize> = (0..log.len()).filter(|place| matches!(log[*place], Operation::Sync)).collect();
    let (mut opened, mut damaged) = (0, 0);
    for (number, lie) in syncs.iter().enumerate() {
        for lies in [BTreeSet::from([*lie]), syncs[number..].iter().copied().take(3).collect()] {
            for place in [lie + 1, (lie + 9).min(log.len()), log.len()] {
                let image = run.disk.with_lies(&log[..place], &lies, number as u64);
                let directory = with(&image);
                let Opened { store, damage } = open(&directory, &Faulty::new(image)).unwrap();
                let found = held(&store).await.unwrap();
                if damage.is_some() {
                    damaged += 1;
                    written.has(&found);
                } else {
                    opened += 1;
                    assert!(run.states.contains(&found), "{lies:?} of {place}: {found:?}");
                }
            }
        }
    }
    assert!(opened > 0 && damaged > 0, "{opened} opened, {damaged} damaged");
}

// A disk that fails.

/// What is asked for at once while the disk fails.
fn burst(store: &Disk, answered: &Arc<Mutex<Vec<u64>>>) -> Vec<tokio::task::JoinHandle<Result<(), Refused>>> {
    let commits = (0..6).map(|number| (number, store.commit(step(&format!("key-{number}"), 0, 2))));
    let tasks = commits.map(|(number, commit)| {
        let answered = Arc::clone(answered);
        tokio::spawn(async move {
            let answer = commit.await;
            answered.lock().push(number);
            answer
        })
    });
    tasks.collect()
}

const FAULTS: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::Other];

#[tokio::test]
async fn a_disk_that_fails_once_delays_and_changes_nothing() {
    let image = fresh();
    for error in FAULTS {
        for number in 0.. {
            let (disk, directory) = (Faulty::new(image.clone()), with(&image));
            disk.set(Fault::Once(number, error));
            let store = match open(&directory, &disk) {
                Ok(Opened { store, damage }) => {
                    assert_eq!(damage, None);
                    store
                }
                Err(error) => {
                    // Nothing is damaged, and the next start finds everything.
                    assert!(matches!(error, OpenError::Io { .. }), "{error}");
                    open(&directory, &disk).unwrap().store
                }
            };
            let heard = Heard::follow(&store);
            let counted = Merge { marks: vec![mark("c", 1)], ..merge(vec![record("merged", version(1, 0))]) };
            let merging = tokio::spawn(store.merge(counted));
            for answer in join_all(burst(&store, &Arc::default())).await {
                answer.unwrap().unwrap();
            }
            merging.await.unwrap().unwrap();
            store.commit(step("after", 0, 1)).await.unwrap();
            assert_eq!(heard.sequences(), (1..=13).collect::<Vec<_>>(), "{error} at {number}");
            let keys: Vec<String> = heard.0.lock().iter().map(|heard| heard.events[0].key.to_string()).collect();
            let expected = (0..6).map(|number| format!("key-{number}")).chain(["after".to_owned()]);
            assert_eq!(keys, expected.collect::<Vec<_>>(), "in the order in which they came");
            assert_eq!(sequences(&store).await, (1..=13).collect::<Vec<_>>());
            assert_eq!(*store.health().borrow(), Health::Well);
            let before = held(&store).await.unwrap();
            assert_eq!((before.records.len(), before.marks.len()), (8, 1));
            let crashed = disk.after_crash(&disk.log(), number as u64);
            if disk.failed() == 0 {
                break;
            }
            store.close();
            // Also what a failed sync was about is on the disk now.
            let (disk, directory) = (Faulty::new(crashed.clone()), with(&crashed));
            let Opened { store, damage } = open(&directory, &disk).unwrap();
            assert_eq!(damage, None, "{error} at {number}");
            assert_eq!(held(&store).await.unwrap(), before, "{error} at {number}");
        }
    }
}

#[tokio::test]
async fn while_a_disk_fails_nothing_is_answered_and_health_says_so_until_it_works_again() {
    let image = fresh();
    for error in FAULTS {
        for number in 0.. {
            let (disk, directory) = (Faulty::new(image.clone()), with(&image));
            let store = open(&directory, &disk).unwrap().store;
            let (heard, answered) = (Heard::follow(&store), Arc::<Mutex<Vec<u64>>>::default());
            store.commit(step("before", 0, 1)).await.unwrap();
            let began = disk.count();
            disk.set(Fault::From(began + number, error));
            let tasks = burst(&store, &answered);
            let mut health = store.health();
            let all = join_all(tasks);
            tokio::pin!(all);
            let failed = tokio::select! {
                biased;
                _ = health.wait_for(|health| *health != Health::Well) => true,
                _ = &mut all => false,
            };
            if !failed {
                assert_eq!(disk.failed(), 0);
                break;
            }
            let Health::Failing { why } = health.borrow().clone() else { panic!("it is well") };
            assert!(why.contains("error") || why.contains("storage"), "{why}");
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let so_far = answered.lock().len();
            // What was not told to followers was not answered either.
            assert!(heard.sequences().len() > so_far * 2, "{error} at {number}");
            assert!(so_far < 6);
            disk.set(Fault::None);
            for answer in all.await {
                answer.unwrap().unwrap();
            }
            health.wait_for(|health| *health == Health::Well).await.unwrap();
            assert_eq!(heard.sequences(), (1..=13).collect::<Vec<_>>(), "{error} at {number}");
            assert_eq!(sequences(&store).await, (1..=13).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn reads_wait_while_the_file_is_opened_again() {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = Arc::new(open(&directory, &disk).unwrap().store);
    store.commit(step("a", 0, 1)).await.unwrap();
    disk.set(Fault::From(0, ErrorKind::Other));
    let waiting = tokio::spawn(store.commit(step("b", 0, 1)));
    store.health().wait_for(|health| *health != Health::Well).await.unwrap();
    let reading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.load("a").await.unwrap().unwrap().version() }
    });
    tokio::task::yield_now().await;
    disk.set(Fault::None);
    assert_eq!(reading.await.unwrap(), version(1, 1));
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn closing_a_store_whose_disk_fails_ends() {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = open(&directory, &disk).unwrap().store;
    disk.set(Fault::From(0, ErrorKind::StorageFull));
    let waiting = tokio::spawn(store.commit(step("a", 0, 1)));
    store.health().wait_for(|health| *health != Health::Well).await.unwrap();
    store.close();
    assert_eq!(waiting.await.unwrap(), Err(Refused::Closed));
    disk.set(Fault::None);
    let store = open(&directory, &disk).unwrap().store;
    assert_eq!(sequences(&store).await, [0; 0]);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_told_of_while_that_lasts() {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let options = DiskOptions { patience: Duration::from_millis(20), ..options() };
    let store = Disk::open_with(directory.path(), &options, disk.backends()).unwrap().store;
    let mut health = store.health();
    for number in 0..3 {
        disk.shut_gate(true);
        let waiting = tokio::spawn(store.commit(step("a", number, 1)));
        let failing = health.wait_for(|health| *health != Health::Well).await.unwrap().clone();
        assert_eq!(failing, Health::Failing { why: "the disk has not answered for 20ms".into() });
        assert!(!waiting.is_finished());
        disk.shut_gate(false);
        waiting.await.unwrap().unwrap();
        assert_eq!(*health.borrow_and_update(), Health::Well);
    }
    assert_eq!(sequences(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn the_marks_of_a_merge_are_there_with_all_that_it_brings_or_not_at_all() {
    const RECORDS: usize = 5_000;
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = open(&directory, &disk).unwrap().store;
    let counted = (0..RECORDS).map(|number| record(&format!("merged-{number}"), version(1, 0))).collect();
    store.merge(Merge { marks: vec![mark("c", 1)], ..merge(counted) }).await.unwrap();
    let log = disk.log();
    let mut seen = [0; 2];
    for place in (0..=log.len()).rev().step_by(7).chain(0..20) {
        let image = disk.after_crash(&log[..place], place as u64);
        let directory = with(&image);
        let found = held(&open(&directory, &Faulty::new(image)).unwrap().store).await.unwrap();
        let is_there = !found.marks.is_empty();
        assert_eq!(found.records.len(), if is_there { RECORDS } else { 0 }, "after {place} operations");
        seen[usize::from(is_there)] += 1;
    }
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

// Bits that flip.

async fn flipped(image: &[u8], states: &[Held], places: impl Iterator<Item = usize>) {
    let written = Written::of(states);
    let (mut opened, mut damaged) = (0, 0);
    for place in places {
        let mut image = image.to_vec();
        image[place] ^= 1 << (place % 8);
        let directory = with(&image);
        let Opened { store, damage } = open(&directory, &Faulty::new(image)).unwrap();
        let found = held(&store).await.unwrap();
        if let Some(damage) = damage {
            damaged += 1;
            assert!(damage.path.exists());
            written.has(&found);
        } else {
            opened += 1;
            assert!(states.contains(&found), "byte {place}: {found:?}");
        }
    }
    assert!(opened > 0 && damaged > 0, "{opened} opened, {damaged} damaged");
}

/// A file with some hundred records and what it holds, closed and as a crash leaves it.
async fn large() -> (Vec<u8>, Vec<u8>, Held) {
    let image = fresh();
    let (disk, directory) = (Faulty::new(image.clone()), with(&image));
    let store = open(&directory, &disk).unwrap().store;
    let records = (0..300).map(|number| record(&format!("key-{number:03}"), version(1, 0))).collect();
    store.merge(Merge { marks: vec![mark("c", 1)], ..merge(records) }).await.unwrap();
    store.commit(Commit { floors: floors(3, 4, at(70)), ..step("a", 0, 100) }).await.unwrap();
    store.commit(document("token/a", 0, Some("{}"))).await.unwrap();
    store.commit(policy("a*", 0, Some(3))).await.unwrap();
    let state = held(&store).await.unwrap();
    let crashed = disk.after_crash(&disk.log(), 1);
    store.close();
    (fs::read(directory.file()).unwrap(), crashed, state)
}

#[tokio::test]
async fn a_flipped_bit_in_a_closed_file_is_harmless_or_damage() {
    let (closed, _, state) = large().await;
    let places = (0..320).chain((320..closed.len()).step_by(313));
    flipped(&closed, &[state], places).await;
}

#[tokio::test]
async fn a_flipped_bit_after_a_crash_is_harmless_or_damage() {
    let (_, crashed, state) = large().await;
    // With its newest root gone, redb goes back to the one before: the same without the last commit.
    let before = Held { policies: Vec::new(), ..Held { floors: state.floors, newest: state.newest, ..clone(&state) } };
    let places = (0..320).chain((320..crashed.len()).step_by(313));
    flipped(&crashed, &[state, before], places).await;
}

/// How much a store holds of each kind.
fn sizes(held: &Held) -> [usize; 6] {
    [
        &held.records.len(),
        &held.policies.len(),
        &held.marks.len(),
        &held.documents.len(),
        &held.audit.len(),
        &held.events.len(),
    ]
    .map(|size| *size)
}

/// Opens a file whose head is damaged: all of it is there, or all but the newest commit.
async fn has_all(image: Vec<u8>, states: &[Held], what: &str) -> bool {
    let directory = with(&image);
    let Opened { store, damage } = open(&directory, &Faulty::new(image)).unwrap();
    let found = held(&store).await.unwrap();
    let expected: Vec<_> = states.iter().map(sizes).collect();
    assert!(expected.contains(&sizes(&found)), "{what}: {:?} in place of {expected:?}", sizes(&found));
    Written::of(states).has(&found);
    damage.is_some_and(|damage| damage.path.exists())
}

/// A file with some hundred records as it was closed, as a crash leaves it, what it holds, and that without its last commit.
async fn with_states() -> ([Vec<u8>; 2], [Held; 2]) {
    let (closed, crashed, state) = large().await;
    let before = Held { policies: Vec::new(), ..clone(&state) };
    ([closed, crashed], [state, before])
}

#[tokio::test]
async fn a_flipped_bit_in_the_head_of_a_file_loses_the_newest_commit_at_most() {
    let (images, states) = with_states().await;
    for image in &images {
        let mut damaged = 0;
        for place in (0..320).chain((320..4096).step_by(151)) {
            let mut image = image.clone();
            image[place] ^= 1 << (place % 8);
            damaged += usize::from(has_all(image, &states, &format!("byte {place}")).await);
        }
        assert!(damaged > 9, "{damaged}: the magic number at least");
    }
}

#[tokio::test]
async fn a_head_that_is_gone_loses_the_newest_commit_at_most() {
    let (images, states) = with_states().await;
    for image in images {
        for (first, last) in [(0, 64), (64, 320), (0, 320), (0, 4096)] {
            for byte in [0, 0xff, 0x5a] {
                let mut image = image.clone();
                image[first..last].fill(byte);
                let is_damaged = has_all(image, &states, &format!("{first}..{last} is {byte}")).await;
                assert!(is_damaged, "{first}..{last} is {byte}");
            }
        }
    }
}

fn clone(held: &Held) -> Held {
    Held {
        records: held.records.clone(),
        policies: held.policies.clone(),
        marks: held.marks.clone(),
        documents: held.documents.clone(),
        audit: held.audit.clone(),
        events: held.events.clone(),
        floors: held.floors,
        newest: held.newest,
    }
}
