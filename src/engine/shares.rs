//! Fair shares of what the engine bounds: a pool for each bound, and who uses how much of it.
//!
//! The rule is in [`crate::share`]. What nobody asked for (breakers of an earlier start, webhooks) is the server's own, which
//! has no share: it may use all of a bound.

use std::{
    collections::HashSet,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Engine, Limits, error::Error, events::Event};
use crate::{
    breaker::CALLERS_MAX,
    limit::{BATCH_CLIENTS, BREAKERS, HANDLES, LISTINGS, Level, POLICIES, REQUEST_IDS, TOKENS, WATCH_KEYS, WATCHERS},
    share::{Holder, Pool, Refused, Use},
};

/// Listings of breakers at a time, those included that wait.
const LISTINGS_MAX: usize = 64;

/// Listings of breakers that are worked on at a time. Each looks at every breaker.
const LISTINGS_AT_ONCE: usize = 2;

/// The pools of the engine's bounds.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) watchers: Arc<Pool>,
    pub(super) watch_keys: Arc<Pool>,
    pub(super) handles: Arc<Pool>,
    pub(super) breakers: Arc<Pool>,
    pub(super) batch_clients: Arc<Pool>,
    pub(super) policies: Arc<Pool>,
    pub(super) tokens: Arc<Pool>,
    pub(super) listings: Arc<Pool>,
    /// The turn of one listing.
    pub(super) listing: Semaphore,
    /// A client was identified: who is named as an actor is an identity then, and not what a request says of itself.
    identified: AtomicBool,
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
            policies: pool(POLICIES, limits.policies),
            tokens: pool(TOKENS, limits.tokens),
            listings: pool(LISTINGS, LISTINGS_MAX),
            listing: Semaphore::new(LISTINGS_AT_ONCE),
            identified: AtomicBool::new(false),
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

/// Room for one more, until what is made of it is counted by itself. The server itself has no share.
pub(super) fn room(pool: &Arc<Pool>, holder: &Holder) -> Result<Use, Error> {
    if is_server(holder) {
        return if pool.used() < pool.max() {
            Ok(pool.take_anyway(holder, 1))
        } else {
            Err(pool.limit().reached(pool.max()))
        };
    }
    Ok(pool.take(holder, 1)?)
}

/// Whose it is what an actor has written: the identity, without what the request said of itself behind it.
pub(super) fn holder_of(actor: &str) -> Holder {
    Holder::identity(actor.split_once(" (").map_or(actor, |(identity, _)| identity).into())
}

impl Engine {
    /// The engine for what a client asks for: what its calls take counts for the holder.
    #[must_use]
    pub fn on_behalf_of(&self, holder: Holder) -> Self {
        let identified = &self.shared.shares.identified;
        if holder.is_identity() && !identified.load(Ordering::Relaxed) {
            identified.store(true, Ordering::Relaxed);
        }
        Self { shared: Arc::clone(&self.shared), holder }
    }

    /// Takes events of a breaker that `maker` has made into the log. An event that an operator asked for is that operator's.
    pub(super) fn append_events(&self, events: &[Arc<Event>], maker: Option<&Holder>) {
        let is_identified = self.shared.shares.identified.load(Ordering::Relaxed);
        self.shared.events.append(events, |event| {
            if is_identified && !event.actor.is_empty() {
                return holder_of(&event.actor);
            }
            maker.cloned().unwrap_or_else(Holder::server)
        });
    }

    /// Room for a session's handles, none yet.
    #[must_use]
    pub fn handles(&self) -> Option<Use> {
        self.shared.shares.handles.take(&self.holder, 0).ok()
    }

    /// What is used of each limit, with the holders that use the most of it: for operators and metrics.
    #[must_use]
    pub fn levels(&self, biggest: usize) -> Vec<Level> {
        let Shares { watchers, watch_keys, handles, breakers, batch_clients, policies, tokens, .. } =
            &self.shared.shares;
        let (limits, usage) = (self.limits(), self.usage());
        let shared = [breakers, policies, tokens, batch_clients, watchers, watch_keys, handles];
        let mut levels: Vec<Level> = shared.into_iter().map(|pool| Level::of(pool, biggest)).collect();
        levels.extend([
            self.shared.requests.level(limits.request_ids as u64, biggest),
            Level::unshared("max_callers", limits.callers as u64, usage.callers as u64),
            Level::unshared("event_log_events", limits.events as u64, usage.events as u64),
            Level::unshared("permit_ledger_bytes", limits.ledger_bytes as u64, usage.ledger_bytes as u64),
            Level::unshared("statistics_bytes", limits.statistics_bytes as u64, usage.statistics_bytes as u64),
            Level::of_each("callers_per_breaker", CALLERS_MAX as u64),
        ]);
        levels
    }

    /// The holders that use the most of a limit, by its name; none where it is not shared.
    #[must_use]
    pub fn biggest(&self, limit: &str, count: usize) -> Vec<(Holder, u64)> {
        self.levels(count).into_iter().find(|level| level.name == limit).map_or_else(Vec::new, |level| level.biggest)
    }

    /// What is taken for a watch.
    pub(super) fn take_watch(&self, keys: usize) -> Result<[Use; 2], Error> {
        let shares = &self.shared.shares;
        Ok([shares.watchers.take(&self.holder, 1)?, shares.watch_keys.take(&self.holder, keys as u64)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::FairShare;

    fn pool(max: u64) -> Arc<Pool> {
        Arc::new(Pool::new(BREAKERS, max, FairShare::percent(50)))
    }

    fn shares() -> Shares {
        Shares {
            watchers: pool(9),
            watch_keys: pool(9),
            handles: pool(9),
            breakers: pool(9),
            batch_clients: pool(9),
            policies: pool(9),
            tokens: pool(9),
            listings: pool(9),
            listing: Semaphore::new(LISTINGS_AT_ONCE),
            identified: AtomicBool::default(),
            holders: Mutex::default(),
        }
    }

    #[test]
    fn a_holder_of_breakers_is_kept_once_and_as_long_as_it_has_any() {
        let shares = shares();
        let shop = Holder::identity("shop".into());
        let first = shares.intern(&shop);
        let second = shares.intern(&shop);
        assert_eq!(*first, shop);
        assert!(Arc::ptr_eq(&first, &second));
        add_one(&shares.breakers, &first).unwrap();
        add_one(&shares.breakers, &second).unwrap();
        shares.remove_breaker(&second);
        drop(second);
        assert_eq!((shares.breakers.used(), shares.holders.lock().len()), (1, 1), "another pointer is there");
        shares.remove_breaker(&first);
        assert_eq!((shares.breakers.used(), shares.holders.lock().len()), (0, 0));
    }

    #[test]
    fn only_the_server_is_the_server() {
        assert!(is_server(&Holder::server()));
        assert!(!is_server(&Holder::identity("server".into())));
        assert_eq!(holder_of("ada (of shop)"), Holder::identity("ada".into()));
        assert_eq!(holder_of("ada"), Holder::identity("ada".into()));
    }
}
