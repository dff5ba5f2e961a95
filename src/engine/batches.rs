//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients, and shared fairly; one that has been silent for the retention is forgotten when its place is wanted. One
//! that has not is never forgotten, also where its holder has its share: its last batch could count twice.
//!
//! Invariant: a client's mark goes to the store before or with what its batch counted, as far as that would count again. It is
//! noted as unwritten before the batch is counted, and who sends counts to the store takes the marks that are unwritten then
//! along, one sender after the other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use super::{error::Error, shares::add_one};
use crate::{
    breaker::Timestamp,
    share::{Holder, Pool},
    store::Mark,
};

/// How often silent clients are looked for while the table is full: it is read from end to end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Batches {
    clients: Mutex<Clients>,
    /// `None`: the store keeps nothing, and has nothing to learn.
    unwritten: Option<Mutex<Unwritten>>,
    pool: Arc<Pool>,
    retention: Duration,
}

/// What the store has to learn yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    marks: HashMap<Box<str>, Mark>,
    forgotten: Vec<Box<str>>,
}

impl Unwritten {
    pub(super) fn take_marks(&mut self) -> Vec<Mark> {
        if self.marks.is_empty() { Vec::new() } else { self.marks.drain().map(|(_, mark)| mark).collect() }
    }

    pub(super) fn take_forgotten(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.forgotten)
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
    /// Number of its last batch. Locked while the batch is counted: batches of one client wait for each other.
    last: Arc<Mutex<u64>>,
}

impl Batches {
    pub(super) fn new(pool: &Arc<Pool>, retention: Duration, is_lasting: bool) -> Self {
        let unwritten = is_lasting.then(Mutex::default);
        Self { clients: Mutex::default(), unwritten, pool: Arc::clone(pool), retention }
    }

    /// Takes what an earlier server has stored.
    pub(super) fn restore(&self, marks: Vec<Mark>) {
        let mut clients = self.clients.lock();
        for mark in marks {
            let (holder, last) = (Holder::server(), Arc::new(Mutex::new(mark.sequence)));
            self.pool.add_anyway(&holder, 1);
            clients.by_id.insert(mark.client, Client { at: mark.at, holder, last });
        }
    }

    /// What the store has to learn. Held while something is sent to it, so that marks go in the order they are taken.
    pub(super) fn unwritten(&self) -> Option<MutexGuard<'_, Unwritten>> {
        self.unwritten.as_ref().map(|unwritten| unwritten.lock())
    }

    /// Runs `count` unless this client's batch was counted before.
    pub(super) fn once<T>(
        &self,
        holder: &Holder,
        client: &str,
        sequence: u64,
        now: Timestamp,
        count: impl FnOnce() -> T,
    ) -> Result<Option<T>, Error> {
        let last = self.last(holder, client, now)?;
        let mut last = last.lock();
        if sequence <= *last {
            return Ok(None);
        }
        *last = sequence;
        if let Some(mut unwritten) = self.unwritten() {
            // It is back. What is to be forgotten may be written after its mark.
            unwritten.forgotten.retain(|forgotten| **forgotten != *client);
            unwritten.marks.insert(client.into(), Mark { client: client.into(), sequence, at: now });
        }
        Ok(Some(count()))
    }

    fn last(&self, holder: &Holder, client: &str, now: Timestamp) -> Result<Arc<Mutex<u64>>, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.by_id.get_mut(client) {
            client.at = client.at.max(now);
            return Ok(Arc::clone(&client.last));
        }
        if add_one(&self.pool, holder).is_err() {
            let forgotten = clients.sweep(now, self.retention, &self.pool);
            if let Some(mut unwritten) = self.unwritten() {
                unwritten.forgotten.extend(forgotten);
            }
            add_one(&self.pool, holder)?;
        }
        let last = Arc::default();
        clients.by_id.insert(client.into(), Client { at: now, holder: holder.clone(), last: Arc::clone(&last) });
        Ok(last)
    }

    pub(super) fn len(&self) -> usize {
        self.clients.lock().by_id.len()
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
