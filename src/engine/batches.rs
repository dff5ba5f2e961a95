//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients; one that has been silent for [`RETENTION`] is forgotten when its place is wanted.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use super::error::Error;
use crate::breaker::Timestamp;

/// How long a silent client is remembered at least.
pub const RETENTION: Duration = Duration::from_secs(600);
const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Batches {
    shards: Box<[Mutex<HashMap<Box<str>, Last>>]>,
    max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    at: Timestamp,
}

impl Batches {
    pub(super) fn new(max: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), max }
    }

    /// Runs `count` unless this client's batch was counted before. Batches of one client wait for each other.
    pub(super) fn once<T>(
        &self,
        client: &str,
        sequence: u64,
        now: Timestamp,
        count: impl FnOnce() -> T,
    ) -> Result<Option<T>, Error> {
        let mut shard = self.shards[super::registry::key_hash(client) as usize % SHARDS].lock();
        if let Some(last) = shard.get_mut(client) {
            last.at = now;
            if sequence <= last.sequence {
                return Ok(None);
            }
            last.sequence = sequence;
            return Ok(Some(count()));
        }
        if shard.len() >= self.max.div_ceil(SHARDS) {
            shard.retain(|_, last| now.since(last.at) < RETENTION);
            if shard.len() >= self.max.div_ceil(SHARDS) {
                return Err(Error::Limit {
                    reason: "CLIENT_LIMIT",
                    what: "clients that send batches",
                    max: self.max as u64,
                    advice: "give each process one client_id for its life, or raise limits.max_batch_clients",
                    retry_after: Duration::from_secs(10),
                });
            }
        }
        shard.insert(client.into(), Last { sequence, at: now });
        Ok(Some(count()))
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
