//! Fair shares of what the engine bounds: a pool for each bound, and who uses how much of it.
//!
//! The rule is in [`crate::share`]. What nobody asked for (breakers of an earlier start, webhooks) is the server's own, which
//! has no share: it may use all of a bound.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;

use super::{Engine, Limits, error::Error};
use crate::share::{Holder, Limit, Pool, Refused, Use};

const WATCHERS: Limit = Limit {
    name: "max_watchers",
    reason: "WATCHER_LIMIT",
    what: "watchers",
    advice: "watch with one stream a process and filter there",
    retry_after: Duration::from_secs(5),
};

const WATCH_KEYS: Limit = Limit {
    name: "max_watch_keys",
    reason: "WATCH_KEY_LIMIT",
    what: "keys and prefixes of watches",
    advice: "watch a prefix in place of many keys",
    retry_after: Duration::from_secs(5),
};

const HANDLES: Limit = Limit {
    name: "max_handles",
    reason: "HANDLE_LIMIT",
    what: "handles of sessions",
    advice: "name breakers by key where a session uses them once, or end unused sessions",
    retry_after: Duration::from_secs(5),
};

const BREAKERS: Limit = Limit {
    name: "max_breakers",
    reason: "BREAKER_LIMIT",
    what: "breakers",
    advice: "use one key for each dependency, not for each request",
    retry_after: Duration::from_secs(1),
};

const REQUEST_IDS: Limit = Limit {
    name: "max_request_ids",
    reason: "REQUEST_ID_LIMIT",
    what: "request ids",
    advice: "ask for shorter leases",
    retry_after: Duration::from_secs(1),
};

const BATCH_CLIENTS: Limit = Limit {
    name: "max_batch_clients",
    reason: "CLIENT_LIMIT",
    what: "clients that send batches",
    advice: "give each process one client_id for its life",
    retry_after: Duration::from_secs(10),
};

/// The pools of the engine's bounds.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) watchers: Arc<Pool>,
    pub(super) watch_keys: Arc<Pool>,
    pub(super) handles: Arc<Pool>,
    pub(super) breakers: Arc<Pool>,
    pub(super) batch_clients: Arc<Pool>,
    /// Holders of breakers, each once: a breaker has a pointer only.
    holders: Mutex<HashSet<Arc<Holder>>>,
}

impl Shares {
    pub(super) fn new(limits: &Limits) -> Self {
        let pool = |limit, max: usize| Arc::new(Pool::new(limit, max as u64, limits.fair_share));
        Self {
            watchers: Arc::new(Pool::new(WATCHERS, limits.watchers, limits.fair_share)),
            watch_keys: pool(WATCH_KEYS, limits.watch_keys),
            handles: pool(HANDLES, limits.handles),
            breakers: pool(BREAKERS, limits.breakers.max(1) as usize),
            batch_clients: pool(BATCH_CLIENTS, limits.batch_clients),
            holders: Mutex::default(),
        }
    }

    /// One pointer for all breakers of a holder.
    pub(super) fn intern(&self, holder: &Holder) -> Arc<Holder> {
        let mut holders = self.holders.lock();
        if let Some(known) = holders.get(holder) {
            return Arc::clone(known);
        }
        let holder = Arc::new(holder.clone());
        holders.insert(Arc::clone(&holder));
        holder
    }

    /// Counts a breaker that goes.
    pub(super) fn remove_breaker(&self, holder: &Arc<Holder>) {
        self.breakers.remove(holder, 1);
        self.release(holder);
    }

    /// Forgets a holder where this is the only pointer beside the table's own.
    pub(super) fn release(&self, holder: &Arc<Holder>) {
        let mut holders = self.holders.lock();
        if Arc::strong_count(holder) <= 2 {
            holders.remove(&**holder);
        }
    }
}

/// A pool of one part of the table of request ids.
pub(super) fn request_ids(max: usize, limits: &Limits) -> Pool {
    Pool::new(REQUEST_IDS, max as u64, limits.fair_share)
}

/// Whether it is the server itself.
pub(super) fn is_server(holder: &Holder) -> bool {
    static SERVER: LazyLock<Holder> = LazyLock::new(Holder::server);
    *holder == *SERVER
}

/// Counts one more for a holder. The server itself has no share.
pub(super) fn add_one(pool: &Pool, holder: &Holder) -> Result<(), Box<Refused>> {
    if is_server(holder) && pool.used() < pool.max() {
        pool.add_anyway(holder, 1);
        return Ok(());
    }
    pool.add(holder, 1)
}

impl Engine {
    /// The engine for what a client asks for: what its calls take counts for the holder.
    #[must_use]
    pub fn on_behalf_of(&self, holder: Holder) -> Self {
        Self { shared: Arc::clone(&self.shared), holder }
    }

    /// Room for a session's handles, none yet.
    #[must_use]
    pub fn handles(&self) -> Option<Use> {
        self.shared.shares.handles.take(&self.holder, 0).ok()
    }

    /// The pools of the bounds that clients share, for operators and metrics.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        let Shares { watchers, watch_keys, handles, breakers, batch_clients, .. } = &self.shared.shares;
        [watchers, watch_keys, handles, breakers, batch_clients].into_iter().map(|pool| &**pool)
    }

    /// The holders that use the most of a limit, by the name of its setting; none where it is not shared.
    #[must_use]
    pub fn biggest(&self, limit: &str, count: usize) -> Vec<(Holder, u64)> {
        if limit == REQUEST_IDS.name {
            return self.shared.requests.biggest(count);
        }
        self.pools().find(|pool| pool.limit().name == limit).map(|pool| pool.biggest(count)).unwrap_or_default()
    }

    /// What is taken for a watch.
    pub(super) fn take_watch(&self, keys: usize) -> Result<[Use; 2], Error> {
        let shares = &self.shared.shares;
        Ok([shares.watchers.take(&self.holder, 1)?, shares.watch_keys.take(&self.holder, keys as u64)?])
    }
}
