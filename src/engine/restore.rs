//! From the store into memory and back: at the start, when another server has moved a breaker, and behind the calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Batches, Callers, Cause, Clock, Engine, EventReason, Handle, Held, Limits, Policies, Registry, Requests, Resolved,
    Shared, Tenant, Timers, Tokens, by_time,
    commits::{Listener, Waited, after},
    error::Error,
    events::EventLog,
    expected::Expected,
    folding::Folding,
    policy_hash::is_hash_of,
    random,
    seal::seal_of,
    shares::Shares,
};
use crate::{
    breaker::{Breaker, CallerId, Moment, PolicySpec, Status, Timestamp},
    share::Holder,
    store::{Memory, Merge, Record, Refused, Store},
};

/// Records that are read or written at once.
const PAGE: usize = 1_000;
/// Events that are read at once.
const EVENTS_PAGE: usize = 4_096;

/// What the configuration says about policies.
#[derive(Clone, Default, Debug)]
pub struct FilePolicies {
    /// What holds where nobody says anything.
    pub default: PolicySpec,
    /// By key or pattern.
    pub by_pattern: Vec<(String, PolicySpec)>,
}

impl Engine {
    /// An engine without breakers that keeps nothing. `default` changes the built-in policy.
    ///
    /// # Errors
    /// A field of the default policy that is out of its range.
    pub fn new(clock: Clock, limits: Limits, default: PolicySpec) -> Result<Self, Error> {
        let store = Arc::new(Memory::new(limits.events));
        let file = FilePolicies { default, by_pattern: Vec::new() };
        let opened = Self::open(clock, limits, file, store).now_or_never();
        opened.unwrap_or_else(|| Err(Error::Store { why: "memory answers at once".to_owned() }))
    }

    /// An engine that goes on from what a store holds. Its clock should not be behind the store's.
    ///
    /// # Errors
    /// A policy that is out of its range; a store that cannot be read.
    pub async fn open(clock: Clock, limits: Limits, file: FilePolicies, store: Arc<dyn Store>) -> Result<Self, Error> {
        let root = store.root().await.map_err(unreadable)?;
        let started = clock.now();
        #[expect(clippy::disallowed_methods, reason = "a breaker has one commit under way: its bound is the breakers'")]
        let (to_do, works) = mpsc::unbounded_channel();
        let author = rand::random();
        let seal = seal_of(&*store, author, root.documents.clone()).await?;
        let shares = Shares::new(&limits);
        let shared = Shared {
            registry: Registry::new(limits.breakers.max(1), root.floors.generation.max(1)),
            timers: Timers::default(),
            events: EventLog::new(limits.events, limits.events_age, root.newest),
            policies: Policies::new(file.default.clone(), &shares.policies)?,
            tokens: Tokens::new(&shares.tokens),
            requests: Requests::new(&limits),
            batches: Batches::new(&shares.batch_clients, limits.batch_retention, store.is_lasting()),
            shares,
            callers: Callers::new(limits.callers, seal.clone()),
            author,
            expected: Expected::new(seal.clone()),
            seal,
            health: store.health(),
            is_lasting: store.is_lasting(),
            store,
            to_do,
            works: Mutex::new(Some(works)),
            dirty: Mutex::default(),
            was_asked: AtomicBool::new(false),
            policy_writes: tokio::sync::Mutex::default(),
            started,
            ledger_bytes: AtomicUsize::new(0),
            statistics_bytes: AtomicUsize::new(0),
            callers_known: AtomicUsize::new(0),
            measures: Arc::default(),
            advancing: Mutex::new(()),
            clock,
            limits,
        };
        let engine = Self { shared: Arc::new(shared), holder: Holder::server() };
        let shared = &engine.shared;
        shared.policies.restore(root.policies, root.floors.policies);
        shared.policies.load_file(file.default, file.by_pattern, started)?;
        shared.batches.restore(root.marks);
        shared.tokens.restore(&root.documents);
        engine.read_events(root.newest).await?;
        let changed = engine.read_breakers().await?;
        shared.store.follow(Arc::new(Listener(Arc::downgrade(shared))));
        for index in changed {
            engine.submit(index);
        }
        if shared.is_lasting {
            // Whatever is told from here on is above what a server after this one begins with.
            engine.merge(&[]).await.map_err(unreadable)?;
        }
        Ok(engine)
    }

    async fn read_events(&self, newest: u64) -> Result<(), Error> {
        let mut after = newest.saturating_sub(self.shared.limits.events as u64);
        while after < newest {
            let page = self.shared.store.events(after, EVENTS_PAGE).await.map_err(unreadable)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            self.append_events(&page, None);
        }
        Ok(())
    }

    /// Returns the slots of breakers that have events to be stored: their policy has changed since, or a burst was not recorded
    /// to its end.
    async fn read_breakers(&self) -> Result<Vec<u32>, Error> {
        let mut after: Arc<str> = "".into();
        let mut changed = Vec::new();
        loop {
            let page = self.shared.store.scan(&after, PAGE).await.map_err(unreadable)?;
            let Some(last) = page.last() else { break };
            after = Arc::clone(&last.key);
            for record in page {
                changed.extend(self.place(record)?);
            }
        }
        Ok(changed)
    }

    /// Makes a breaker of its record. Returns its slot if there are events to be stored: its policy is another one than before,
    /// which is a move, or events have waited.
    ///
    /// # Errors
    /// No room for another breaker.
    fn place(&self, mut record: Record) -> Result<Option<u32>, Error> {
        let now = self.now();
        self.meet_callers(&mut record);
        let resolved = self.shared.policies.resolve(&record.key, record.declaration.as_ref());
        let is_changed = !is_hash_of(record.policy_hash, &resolved.policy, resolved.hash);
        let mut policy = resolved;
        if !is_changed && policy.version != record.policy_version {
            // It came into force before, as all breakers say that share it.
            policy = self.shared.policies.share(Resolved { version: record.policy_version, ..(*policy).clone() });
        }
        let key = Arc::clone(&record.key);
        // Who made it is not in its record.
        let holder = self.shared.shares.intern(&Holder::server());
        let moment = Moment { now, random: random() };
        let mut changed = None;
        let logged = self.logged_at(&record);
        let has_folded = !record.folded.is_empty();
        let handle = self.shared.registry.find_or_create(
            &key,
            |_| false,
            |key, _| {
                let breaker = Breaker::restore(Arc::clone(&policy.policy), record.snapshot, now);
                let tenant = Tenant {
                    key,
                    breaker,
                    policy,
                    holder,
                    sequence: record.sequence,
                    used: record.used.min(now),
                    scheduled: Timestamp::NEVER,
                    is_dirty: false,
                    is_batched: false,
                    is_stored: true,
                    provenance: record.provenance,
                    pending: None,
                    folding: Folding::restore(record.folded, logged, now),
                };
                (tenant, record.created)
            },
            |tenant, handle| {
                self.shared.shares.breakers.add_anyway(&tenant.holder, 1);
                self.account(Held::default(), tenant);
                self.assign_services(tenant);
                if is_changed {
                    let policy = Arc::clone(&tenant.policy.policy);
                    let cause = Cause { policy: Some(EventReason::PolicyFile), ..Cause::default() };
                    let act = |tenant: &mut Tenant| ((), tenant.breaker.set_policy(moment, policy).transitions);
                    self.settle(tenant, handle.index, act, |()| cause);
                    changed = Some(handle.index);
                } else if has_folded {
                    // Recorded now: it has waited since before this server was there.
                    let touch = |tenant: &mut Tenant| (tenant.breaker.touch(), Vec::new());
                    self.settle(tenant, handle.index, touch, by_time);
                    changed = Some(handle.index);
                }
                self.schedule(tenant, handle.index, now);
            },
            |_, _| {},
        );
        self.meet_expecting(&key, handle.ok_or_else(|| self.breaker_limit())?);
        Ok(changed)
    }

    /// Remembers the names of a record's callers, and gives these the ids that their names have here. Records of a version whose
    /// ids were an unkeyed hash have other ones, and so have all if the key in the store was lost.
    fn meet_callers(&self, record: &mut Record) {
        let known = record.snapshot.callers.iter().flat_map(|callers| &callers.known).map(|known| known.caller);
        let known: Vec<_> = known.filter(|id| *id != CallerId::default()).collect();
        // Names are in the order of their callers. Which ones were forgotten is not said.
        let is_complete = known.len() == record.callers.len();
        let mut renamed = HashMap::new();
        for (index, name) in record.callers.iter().enumerate() {
            let stored = if is_complete { known[index] } else { unkeyed_id(name) };
            let id = self.caller(name);
            // No id: its name has that of another.
            if id != stored && id != CallerId::default() {
                renamed.insert(stored, id);
            }
        }
        if !renamed.is_empty() {
            record.snapshot.rename_callers(|id| renamed.get(&id).copied().unwrap_or(id));
        }
    }

    /// Takes what another server has made of a breaker in the place of what this one had.
    pub(super) async fn reload(&self, key: &str) {
        match self.shared.store.load(key).await {
            Ok(record) => self.adopt(key, record),
            Err(refused) => tracing::error!(breaker = key, "cannot be taken over from another server: {refused}"),
        }
    }

    fn adopt(&self, key: &str, record: Option<Record>) {
        let Some(mut record) = record else {
            let leave = |index: u32, tenant: &mut Tenant| {
                tenant.end_waiting();
                self.vacate(index, tenant);
            };
            self.shared.registry.remove(key, |tenant| tenant.is_stored, leave);
            return;
        };
        let now = self.now();
        let logged = self.logged_at(&record);
        if let Some(mut slot) = self.shared.registry.lock_key(key) {
            let index = slot.index();
            let tenant = slot.tenant();
            let known = tenant.stored();
            // Old news. What was done from there on is on its way, and stays.
            if record.version() == known || (known.number > 0 && record.version() < known) {
                return;
            }
            let before = Held::by(tenant);
            self.meet_callers(&mut record);
            tenant.policy = self.shared.policies.resolve(key, record.declaration.as_ref());
            tenant.provenance = record.provenance;
            tenant.breaker = Breaker::restore(Arc::clone(&tenant.policy.policy), record.snapshot, now);
            self.assign_services(tenant);
            tenant.sequence = record.sequence;
            tenant.adopt_folded(record.folded, logged, now);
            tenant.is_stored = true;
            tenant.end_waiting();
            self.account(before, tenant);
            self.schedule(tenant, index, now);
            return;
        }
        match self.place(record) {
            Ok(changed) => changed.into_iter().for_each(|index| self.submit(index)),
            Err(error) => tracing::error!(breaker = key, "cannot be taken over from another server: {error}"),
        }
    }

    /// Where a breaker stood after its last event, while the log holds it: for what waits behind that event.
    fn logged_at(&self, record: &Record) -> Option<(Status, u64)> {
        if record.folded.is_empty() {
            return None;
        }
        self.shared.events.get(record.sequence).map(|event| (event.status, event.policy_version))
    }

    /// Writes what was counted since the last time, a page at a time so that commits come in between.
    pub(super) async fn write_behind(&self) {
        if self.is_failing() {
            // Those that have gone since are not waited for. No slot is locked under the list's lock.
            let is_full = self.shared.dirty.lock().len() > self.shared.limits.breakers as usize;
            let waiting = if is_full { std::mem::take(&mut *self.shared.dirty.lock()) } else { Vec::new() };
            let waiting = waiting.into_iter().filter(|handle| self.shared.registry.lock(*handle).is_some());
            let waiting: Vec<_> = waiting.collect();
            self.shared.dirty.lock().extend(waiting);
            return;
        }
        self.write_batches();
        let was_asked = self.shared.was_asked.swap(false, Ordering::AcqRel);
        let dirty = std::mem::take(&mut *self.shared.dirty.lock());
        if dirty.is_empty() && was_asked {
            // The time alone.
            self.merge_or_log(&[]).await;
        }
        for page in dirty.chunks(PAGE) {
            self.merge_or_log(page).await;
        }
    }

    /// What a breaker has counted. `None` where it is gone, or where its next turn comes, when nothing of it is on its way.
    fn record_to_merge(&self, handle: Handle) -> Option<Record> {
        let mut slot = self.shared.registry.lock(handle)?;
        let created = slot.made();
        let tenant = slot.tenant();
        if tenant.is_batched {
            // Its turn comes with the marks of those batches.
            tenant.is_dirty = false;
            return None;
        }
        if tenant.pending.is_some() {
            self.shared.dirty.lock().push(handle);
            return None;
        }
        tenant.is_dirty = false;
        tenant.is_stored = true;
        Some(self.record(tenant, created))
    }

    async fn merge_or_log(&self, page: &[Handle]) {
        if let Err(refused) = self.merge(page).await {
            tracing::error!("statistics were not stored: {refused}");
        }
    }

    async fn merge(&self, page: &[Handle]) -> Result<(), Refused> {
        let answer = {
            // What batches count in these from here on is sent later.
            let _gate = self.shared.batches.read();
            let records = page.iter().filter_map(|handle| self.record_to_merge(*handle)).collect();
            self.shared.store.merge(Merge { records, floors: self.floors(), ..Merge::default() })
        };
        answer.await
    }

    /// Writes all that is not written yet. [`Engine::run`] has to run meanwhile. For when nobody calls any more; gives up
    /// after `grace`.
    pub async fn close(&self, grace: Duration) {
        let until = after(grace);
        for index in 0..self.end() {
            let ticket = self.shared.registry.lock_index(index).and_then(|mut slot| slot.tenant().ticket());
            let waited = match ticket {
                Some(ticket) => self.wait(ticket, until).await,
                None => Waited::Durable,
            };
            if waited == Waited::InVain {
                tracing::error!("stopped before everything was stored: {}", self.store_unavailable());
                return;
            }
        }
        self.shared.was_asked.store(true, Ordering::Release);
        self.write_behind().await;
        // What batches have counted may have to wait for a move that timers made.
        while !self.is_failing() && !self.shared.batches.is_written() {
            if until <= after(Duration::ZERO) {
                tracing::error!("stopped before everything was stored: {}", self.store_unavailable());
                return;
            }
            pause().await;
            self.write_batches();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a disk's time is real")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The id of a caller's name as versions made it that had no key for it. Good for finding what they stored, and nothing else:
/// clients can choose names that have one id.
fn unkeyed_id(name: &str) -> CallerId {
    CallerId(xxh3_64(name.as_bytes()).max(1))
}

fn unreadable(refused: Refused) -> Error {
    Error::Store { why: refused.to_string() }
}
