//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients; one that has been silent for the retention is forgotten when its place is wanted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::error::Error;
use crate::breaker::Timestamp;

/// How often silent clients are looked for while the table is full: it is read from end to end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Batches {
    clients: Mutex<Clients>,
    max: usize,
    retention: Duration,
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
    pub(super) fn new(max: usize, retention: Duration) -> Self {
        Self { clients: Mutex::default(), max, retention }
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
        Ok(Some(count()))
    }

    fn last(&self, client: &str, now: Timestamp) -> Result<Arc<Mutex<u64>>, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.by_id.get_mut(client) {
            client.at = client.at.max(now);
            return Ok(Arc::clone(&client.last));
        }
        if clients.by_id.len() >= self.max {
            clients.sweep(now, self.retention);
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
    fn sweep(&mut self, now: Timestamp, retention: Duration) {
        if self.swept.is_none_or(|swept| now.since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.by_id.retain(|_, client| now.since(client.at) < retention);
        }
    }
}
