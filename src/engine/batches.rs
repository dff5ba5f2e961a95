//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients; one that has been silent for the retention is forgotten when its place is wanted.
//!
//! Invariant: a client's mark goes to the store before or with what its batch counted, as far as that would count again. It is
//! noted as unwritten before the batch is counted, and who sends counts to the store takes the marks that are unwritten then
//! along, one sender after the other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use super::error::Error;
use crate::{breaker::Timestamp, store::Mark};

/// How often silent clients are looked for while the table is full: it is read from end to end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Batches {
    clients: Mutex<Clients>,
    /// `None`: the store keeps nothing, and has nothing to learn.
    unwritten: Option<Mutex<Unwritten>>,
    max: usize,
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
    /// Number of its last batch. Locked while the batch is counted: batches of one client wait for each other.
    last: Arc<Mutex<u64>>,
}

impl Batches {
    pub(super) fn new(max: usize, retention: Duration, is_lasting: bool) -> Self {
        let unwritten = is_lasting.then(Mutex::default);
        Self { clients: Mutex::default(), unwritten, max, retention }
    }

    /// Takes what an earlier server has stored.
    pub(super) fn restore(&self, marks: Vec<Mark>) {
        let client = |mark: Mark| (mark.client, Client { at: mark.at, last: Arc::new(Mutex::new(mark.sequence)) });
        self.clients.lock().by_id.extend(marks.into_iter().map(client));
    }

    /// What the store has to learn. Held while something is sent to it, so that marks go in the order they are taken.
    pub(super) fn unwritten(&self) -> Option<MutexGuard<'_, Unwritten>> {
        self.unwritten.as_ref().map(|unwritten| unwritten.lock())
    }

    /// Runs `count` unless this client's batch was counted before.
    pub(super) fn once<T>(
        &self,
        client: &str,
        sequence: u64,
        now: Timestamp,
        count: impl FnOnce() -> T,
    ) -> Result<Option<T>, Error> {
        let last = self.last(client, now)?;
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

    fn last(&self, client: &str, now: Timestamp) -> Result<Arc<Mutex<u64>>, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.by_id.get_mut(client) {
            client.at = client.at.max(now);
            return Ok(Arc::clone(&client.last));
        }
        if clients.by_id.len() >= self.max {
            let forgotten = clients.sweep(now, self.retention);
            if let Some(mut unwritten) = self.unwritten() {
                unwritten.forgotten.extend(forgotten);
            }
        }
        if clients.by_id.len() >= self.max {
            return Err(Error::Limit {
                reason: "CLIENT_LIMIT",
                what: "clients that send batches",
                max: self.max as u64,
                advice: "give each process one client_id for its life, or raise limits.max_batch_clients",
                retry_after: Duration::from_secs(10),
            });
        }
        let last = Arc::default();
        clients.by_id.insert(client.into(), Client { at: now, last: Arc::clone(&last) });
        Ok(last)
    }

    pub(super) fn len(&self) -> usize {
        self.clients.lock().by_id.len()
    }
}

impl Clients {
    /// Makes silent clients go, and says which.
    fn sweep(&mut self, now: Timestamp, retention: Duration) -> Vec<Box<str>> {
        if self.swept.is_some_and(|swept| now.since(swept) < SWEEP_EVERY) {
            return Vec::new();
        }
        self.swept = Some(now);
        self.by_id.extract_if(|_, client| now.since(client.at) >= retention).map(|(id, _)| id).collect()
    }
}
