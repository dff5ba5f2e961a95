//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients, and shared fairly; one that has been silent for the retention is forgotten when its place is wanted. One
//! that has not is never forgotten, also where its holder has its share: its last batch could count twice.
//!
//! A batch is counted in parts, so that other work of the thread has its turn. A mark therefore tells how many tallies of the batch
//! were counted. A batch that is interrupted, by a client that leaves, a server that drains or a crash, is continued at that
//! tally when it is sent again, and each tally counts once.
//!
//! Invariant: a client's mark is stored in the same write as what its batches counted since the mark before. A part of a
//! batch is counted under the gate for reading, and so is a record without counts of batches sent to the store; the marks, with every record that
//! batches have counted in, are gathered and sent under it for writing ([`Engine::write_batches`]). Whoever finds that a breaker
//! has to be written in the generation that such counts are of sends all of that with it.
//!
//! [`Engine::write_batches`]: super::Engine::write_batches

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::OwnedMutexGuard;

use super::{error::Error, registry::Handle, shares::add_one};
use crate::{
    breaker::Timestamp,
    share::{Holder, Pool},
    store::Mark,
};

/// How often silent clients are looked for while the table is full: it is read from end to end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who sends batches. Each has a sequence of its own: a client id is good under the identity that it is used with, so that
/// nobody can make the batches of another identity duplicates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchClient<'a> {
    /// The identity; `None` where there is none.
    pub identity: Option<&'a str>,
    /// The client id, of printable ASCII.
    pub id: &'a str,
}

impl<'a> From<&'a str> for BatchClient<'a> {
    fn from(id: &'a str) -> Self {
        Self { identity: None, id }
    }
}

impl<'a> From<&'a String> for BatchClient<'a> {
    fn from(id: &'a String) -> Self {
        id.as_str().into()
    }
}

impl<'a> BatchClient<'a> {
    /// Its name in the table and in the store. A client id has no line break, so no two have one name; one without an identity is
    /// named as it was before there were identities in it.
    fn name(self) -> Cow<'a, str> {
        match self.identity {
            Some(identity) => format!("{identity}\n{}", self.id).into(),
            None => self.id.into(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Batches {
    clients: Mutex<Clients>,
    /// See the invariant above.
    gate: RwLock<()>,
    /// `None`: the store keeps nothing, and has nothing to learn.
    unwritten: Option<Mutex<Unwritten>>,
    /// Marks and counts are on their way to the store.
    is_writing: AtomicBool,
    /// They have to be written as soon as that is possible.
    is_wanted: AtomicBool,
    pool: Arc<Pool>,
    retention: Duration,
}

/// What the store has to learn yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    marks: HashMap<Box<str>, Mark>,
    pub(super) forgotten: Vec<Box<str>>,
    /// Breakers that batches have counted in.
    pub(super) counted: Vec<Handle>,
}

impl Unwritten {
    pub(super) fn take_marks(&mut self) -> Vec<Mark> {
        if self.marks.is_empty() { Vec::new() } else { self.marks.drain().map(|(_, mark)| mark).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.forgotten.is_empty() && self.counted.is_empty()
    }
}

#[derive(Debug, Default)]
struct Clients {
    by_id: HashMap<Box<str>, Client>,
    /// When silent ones were last looked for.
    swept: Option<Timestamp>,
}

#[derive(Debug)]
struct Client {
    /// When it last sent a batch.
    at: Timestamp,
    holder: Holder,
    /// Its last batch. Locked while the batch is counted, over all parts: batches of one client wait for each other.
    last: Arc<tokio::sync::Mutex<Last>>,
}

/// How far the batches of a client were counted.
#[derive(Clone, Copy, Default, Debug)]
struct Last {
    sequence: u64,
    /// Tallies of it that were counted; `None`: all.
    counted: Option<u32>,
}

/// A batch that is being counted.
#[derive(Debug)]
pub(super) struct Counting {
    /// The name of its client.
    client: Box<str>,
    sequence: u64,
    last: OwnedMutexGuard<Last>,
}

impl Batches {
    pub(super) fn new(pool: &Arc<Pool>, retention: Duration, is_lasting: bool) -> Self {
        let unwritten = is_lasting.then(Mutex::default);
        Self {
            clients: Mutex::default(),
            gate: RwLock::default(),
            unwritten,
            is_writing: AtomicBool::default(),
            is_wanted: AtomicBool::default(),
            pool: Arc::clone(pool),
            retention,
        }
    }

    /// Takes what an earlier server has stored.
    pub(super) fn restore(&self, marks: Vec<Mark>) {
        let mut clients = self.clients.lock();
        for mark in marks {
            let last = Last { sequence: mark.sequence, counted: mark.counted };
            let (holder, last) = (Holder::server(), Arc::new(tokio::sync::Mutex::new(last)));
            self.pool.add_anyway(&holder, 1);
            clients.by_id.insert(mark.client, Client { at: mark.at, holder, last });
        }
    }

    /// What the store has to learn.
    pub(super) fn unwritten(&self) -> Option<MutexGuard<'_, Unwritten>> {
        self.unwritten.as_ref().map(|unwritten| unwritten.lock())
    }

    /// While this is held, no marks are gathered. Not while a batch is counted, which holds it already.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    /// While this is held, no batch is counted, and nothing of a breaker is sent to the store by others.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write()
    }

    /// Notes a breaker that a batch has counted in.
    pub(super) fn counted(&self, handle: Handle) {
        if let Some(mut unwritten) = self.unwritten() {
            unwritten.counted.push(handle);
        }
    }

    /// Says whether marks and counts are on their way. Asked and said under the gate for writing, but for the end.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Release);
    }

    pub(super) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Acquire)
    }

    /// They could not be gathered now, and somebody waits for them.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    pub(super) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }

    /// Whether the store has all of it.
    pub(super) fn is_written(&self) -> bool {
        !self.is_writing() && self.unwritten().is_none_or(|unwritten| unwritten.is_empty())
    }

    /// Begins to count a client's batch, or continues one that was interrupted. `None`: it was counted before.
    pub(super) async fn begin(
        &self,
        holder: &Holder,
        client: BatchClient<'_>,
        sequence: u64,
        now: Timestamp,
    ) -> Result<Option<Counting>, Error> {
        let name = client.name();
        let last = self.last(holder, client, &name, sequence, now)?.lock_owned().await;
        let is_new = sequence > last.sequence || (sequence == last.sequence && last.counted.is_some());
        Ok(is_new.then(|| Counting { client: name.into(), sequence, last }))
    }

    /// Runs `count`, after which the first `counted` tallies of a batch are counted, and notes that. `is_whole`: these are all.
    pub(super) fn count<T>(
        &self,
        counting: &mut Counting,
        counted: usize,
        is_whole: bool,
        now: Timestamp,
        count: impl FnOnce() -> T,
    ) -> T {
        let Counting { client, sequence, last } = counting;
        let counted = if is_whole { None } else { u32::try_from(counted).ok() };
        // The marks that are gathered are of whole parts.
        let _counting = self.gate.read();
        **last = Last { sequence: *sequence, counted };
        if let Some(mut unwritten) = self.unwritten() {
            // It is back.
            unwritten.forgotten.retain(|forgotten| forgotten != client);
            let mark = Mark { client: client.clone(), sequence: *sequence, at: now, counted };
            unwritten.marks.insert(client.clone(), mark);
        }
        count()
    }

    fn last(
        &self,
        holder: &Holder,
        client: BatchClient<'_>,
        name: &str,
        sequence: u64,
        now: Timestamp,
    ) -> Result<Arc<tokio::sync::Mutex<Last>>, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.by_id.get_mut(name) {
            client.at = client.at.max(now);
            return Ok(Arc::clone(&client.last));
        }
        if add_one(&self.pool, holder).is_err() {
            let forgotten = clients.sweep(now, self.retention, &self.pool);
            if let Some(mut unwritten) = self.unwritten() {
                forgotten.iter().for_each(|name| _ = unwritten.marks.remove(name));
                unwritten.forgotten.extend(forgotten);
            }
            add_one(&self.pool, holder)?;
        }
        // A version before this one kept the marks of all identities by client id alone. The batch that was under way when it
        // ended counts once as well; no other one is judged by such a mark.
        let before = client.identity.and_then(|_| clients.by_id.get(client.id));
        let before = before
            .and_then(|before| before.last.try_lock().ok().map(|last| *last))
            .filter(|last| last.sequence == sequence);
        let last = Arc::new(tokio::sync::Mutex::new(before.unwrap_or_default()));
        clients.by_id.insert(name.into(), Client { at: now, holder: holder.clone(), last: Arc::clone(&last) });
        Ok(last)
    }

    pub(super) fn len(&self) -> usize {
        self.clients.lock().by_id.len()
    }
}

impl Counting {
    /// Tallies that were counted before.
    pub(super) fn counted(&self) -> usize {
        let counted = self.last.counted.filter(|_| self.last.sequence == self.sequence);
        counted.map_or(0, |counted| counted as usize)
    }
}

impl Clients {
    /// Makes silent clients go, and says which.
    fn sweep(&mut self, now: Timestamp, retention: Duration, pool: &Pool) -> Vec<Box<str>> {
        if self.swept.is_some_and(|swept| now.since(swept) < SWEEP_EVERY) {
            return Vec::new();
        }
        self.swept = Some(now);
        let silent = self.by_id.extract_if(|_, client| now.since(client.at) >= retention);
        let forget = |(id, client): (_, Client)| {
            pool.remove(&client.holder, 1);
            id
        };
        silent.map(forget).collect()
    }
}
