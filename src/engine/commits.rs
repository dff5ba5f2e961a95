//! From a move to what may be told of it.
//!
//! A breaker moves in memory at once, and what it made is sent to the store; an answer that would tell of the move waits
//! until it is durable, and so do the events. At most one commit of a breaker is on its way: what happens meanwhile goes
//! with the next one, so a busy half-open breaker costs a write for each turn of the disk, not for each probe.
//!
//! # Invariants
//!
//! - Nobody is told of a version that is not durable: not by an answer, an event, a snapshot or a list.
//! - A commit that was sent stays sent. Who stops waiting is told that it is in doubt; the breaker goes on from it.
//! - What batches have counted is written in one piece with their marks ([`Engine::write_batches`]), with the moves of those breakers.
//! - What does not tell of an untold move waits for nothing: the calls of those whom an isolated caller's move does not
//!   touch, above all.
//! - Where the store has another version, this server's moves since the common one are dropped, and those who wait for them
//!   ask again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Cause, Engine, Shared,
    audit::AuditEntry,
    batches::Unwritten,
    error::Error,
    events::Event,
    log,
    registry::{Handle, SlotGuard, Tenant},
};
use crate::{
    breaker::{CallerId, OverrideMode, StateName, Status, Timestamp},
    share::Holder,
    store::{
        Change, Changed, Commit, Committed, Floors, Follower, Health, Merge, PolicyHash, Record, Refused, Together,
        Version,
    },
};

/// How long an answer waits for the store.
pub const STORE_PATIENCE: Duration = Duration::from_secs(1);
/// How often statistics are written behind.
const WRITE_BEHIND: Duration = Duration::from_millis(500);

/// Events of a breaker that may wait for the store before time stands still for it.
const EVENTS_WAITING_MAX: usize = 16;

/// An answer, and whether it may be told.
#[derive(Debug)]
pub enum Told<T> {
    /// It may.
    Now(T),
    /// It may when what it tells is durable.
    Later(T, Ticket),
    /// There is none yet: ask again when the breaker that is going has gone.
    Again(Ticket),
}

impl<T> Told<T> {
    /// The answer, if it may be told.
    #[must_use]
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(answer) => Some(answer),
            Self::Later(..) | Self::Again(_) => None,
        }
    }
}

/// A place in the queue of those who wait for the store.
#[derive(Clone, Debug)]
pub struct Ticket {
    settled: watch::Receiver<Settled>,
    /// The version waited for.
    number: u64,
}

/// How far the store has come with a breaker.
#[derive(Clone, Copy, Default, Debug)]
struct Settled {
    /// Versions up to this are durable.
    number: u64,
    /// There is nothing to wait for any more: the breaker is gone, or was replaced by what another server made of it.
    is_over: bool,
}

/// How waiting has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waited {
    /// It is durable.
    Durable,
    /// The breaker is gone, or another one.
    Over,
    /// The store did not do it in time.
    InVain,
}

impl Settled {
    /// How waiting for a version has ended, if it has.
    fn ended(self, number: u64) -> Option<Waited> {
        if self.number >= number { Some(Waited::Durable) } else { self.is_over.then_some(Waited::Over) }
    }
}

impl Ticket {
    /// How waiting has ended, if it has.
    fn ended(&self) -> Option<Waited> {
        self.settled.borrow().ended(self.number)
    }

    pub(super) fn is_due(&self) -> bool {
        self.ended().is_some()
    }

    /// Waits until it may be told; also where it never will be, because the breaker is gone or another one.
    pub async fn come(mut self) {
        self.waited().await;
    }

    async fn waited(&mut self) -> Waited {
        let number = self.number;
        // The last word is said before the sender goes.
        let settled = self.settled.wait_for(|settled| settled.ended(number).is_some()).await;
        settled.ok().and_then(|settled| settled.ended(number)).unwrap_or(Waited::Over)
    }
}

/// The moves of a breaker that were not told yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Where the breaker stands as far as anybody knows.
    told: Standing,
    /// Callers whose scopes have moved since.
    callers: Vec<CallerId>,
    /// The version that is stored.
    stored: Version,
    /// What is on its way.
    writing: Option<Writing>,
    /// What happened and is not on its way yet.
    events: Vec<Event>,
    /// What the audit trail says of it, beside what it says of the events.
    audit: Vec<AuditEntry>,
    /// It is being deleted. It answers nobody until it is gone.
    is_going: bool,
    settled: watch::Sender<Settled>,
}

#[derive(Debug)]
struct Writing {
    version: Version,
    /// Where the breaker stands in that version.
    standing: Standing,
    /// Callers that had moved by then.
    callers: usize,
    /// Entries of the audit trail that go with it, beside those of its events.
    actions: usize,
    /// It makes the breaker go.
    is_last: bool,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) policy_version: u64,
    pub(super) callers_isolated: usize,
    /// The breaker's version number.
    number: u64,
}

impl Standing {
    /// Whether a breaker has changed since in what has to be durable.
    pub(super) fn is_before(&self, tenant: &Tenant) -> bool {
        self.number != tenant.breaker.version()
    }
}

impl Tenant {
    pub(super) fn standing(&mut self) -> Standing {
        Standing {
            status: self.breaker.status(self.used),
            policy_version: self.policy.version,
            callers_isolated: self.breaker.callers_isolated(),
            number: self.breaker.version(),
        }
    }

    /// Where the breaker stands as far as anybody knows, if it is not what it is.
    pub(super) fn told(&self) -> Option<&Standing> {
        self.pending.as_ref().map(|pending| &pending.told)
    }

    /// A ticket for the end of a breaker that is going; `None` where it is not.
    pub(super) fn going(&self) -> Option<Ticket> {
        let pending = self.pending.as_ref().filter(|pending| pending.is_going)?;
        Some(Ticket { settled: pending.settled.subscribe(), number: u64::MAX })
    }

    /// The version that it is in.
    pub(super) const fn version(&self) -> Version {
        Version { generation: self.breaker.generation(), number: self.breaker.version() }
    }

    /// The version that the store has, as far as this server knows.
    pub(super) fn stored(&self) -> Version {
        self.pending.as_ref().map_or_else(|| self.version(), |pending| pending.stored)
    }

    /// A ticket for what the breaker is now; `None` where all of it was told.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        let pending = self.pending.as_ref()?;
        Some(Ticket { settled: pending.settled.subscribe(), number: self.breaker.version() })
    }

    /// Whether a caller would learn from an answer what was not told yet.
    pub(super) fn is_untold(&self, caller: CallerId) -> bool {
        let seen = |status: &Status| -> (StateName, Option<OverrideMode>, u64) {
            (status.state, status.forced, status.generation)
        };
        let now = (self.breaker.state().name(), self.breaker.forced(), self.breaker.generation());
        self.pending.as_ref().is_some_and(|pending| {
            seen(&pending.told.status) != now || pending.callers.contains(&caller) || pending.is_going
        })
    }

    pub(super) fn has_caller_untold(&self, caller: CallerId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.callers.contains(&caller))
    }

    /// Whether so much waits for the store that time should not add to it.
    pub(super) fn is_waiting_long(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.events.len() >= EVENTS_WAITING_MAX)
    }

    /// Notes what the breaker has done since it stood at `before`.
    pub(super) fn note_moves(&mut self, before: Standing, events: Vec<Event>, now: Timestamp) {
        let stored = Version { generation: before.status.generation, number: before.number };
        let pending = self.pending.get_or_insert_with(|| {
            Box::new(Pending {
                told: before,
                callers: Vec::new(),
                stored,
                writing: None,
                events: Vec::new(),
                audit: Vec::new(),
                is_going: false,
                settled: watch::Sender::new(Settled { number: stored.number, is_over: false }),
            })
        });
        for event in &events {
            let moved = event.scope.map(|scope| scope.caller);
            pending.callers.extend(moved.filter(|caller| !pending.callers.contains(caller)));
        }
        let told = (pending.told.status, pending.told.policy_version);
        let recorded = self.fold(events, told, now);
        if let Some(pending) = &mut self.pending {
            pending.events.extend(recorded);
        }
        self.is_stored = true;
    }

    /// Notes what the audit trail says of a change that was noted.
    pub(super) fn note_action(&mut self, entry: Option<AuditEntry>) {
        if let Some(pending) = &mut self.pending {
            pending.audit.extend(entry);
        }
    }

    /// Makes it go: with the next commit, which is its last.
    pub(super) fn go(&mut self, before: Standing, events: Vec<Event>, now: Timestamp) -> Option<Ticket> {
        self.note_moves(before, events, now);
        let waited = self.take_folded(now);
        if let Some(pending) = &mut self.pending {
            pending.events.extend(waited);
            pending.is_going = true;
        }
        self.going()
    }

    /// Whether something has happened that is not on its way.
    fn has_news(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            let sent = pending.writing.as_ref().map_or(pending.stored.number, |writing| writing.version.number);
            let is_going = pending.is_going && pending.writing.as_ref().is_none_or(|writing| !writing.is_last);
            !pending.events.is_empty() || self.breaker.version() != sent || is_going
        })
    }

    /// Whether something is on its way.
    fn is_writing_any(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.writing.is_some())
    }

    /// Whether the next commit is one of the generation that is stored.
    fn keeps_generation(&self) -> bool {
        let is_stored = |pending: &Pending| !pending.is_going && pending.stored.generation == self.breaker.generation();
        self.pending.as_ref().is_some_and(|pending| is_stored(pending))
    }

    /// A commit with the first so many events is on its way.
    fn begin_writing(&mut self, writing: Writing, events: usize) {
        if let Some(pending) = &mut self.pending {
            pending.events.drain(..events.min(pending.events.len()));
            pending.audit.drain(..writing.actions.min(pending.audit.len()));
            pending.writing = Some(writing);
        }
    }

    /// The version that was on its way is durable.
    fn is_durable(&mut self, last: Option<&Event>) {
        if let Some(last) = last {
            self.sequence = last.sequence;
            self.has_logged(last);
        }
        let Some(pending) = &mut self.pending else { return };
        let Some(written) = pending.writing.take() else { return };
        pending.told = written.standing;
        pending.stored = written.version;
        pending.callers.drain(..written.callers);
        pending.settled.send_replace(Settled { number: written.version.number, is_over: false });
        if pending.events.is_empty() && self.breaker.version() == written.version.number && !pending.is_going {
            self.pending = None;
            self.is_all_durable();
        }
    }

    /// Nobody has to wait for this breaker any more.
    pub(super) fn end_waiting(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.settled.send_modify(|settled| settled.is_over = true);
        }
    }
}

/// What batches have counted: the breakers whose commits are in it, the commits, and the rest.
type Gathered = (Vec<(Handle, Arc<str>)>, Vec<Commit>, Merge);

/// What there is to be sent of a breaker.
enum Next {
    Nothing,
    Alone(Handle, Commit),
    /// It goes with the marks of the batches that it has counted, and with all that they have counted.
    WithBatches,
}

/// What the engine does beside answering.
pub(super) enum Work {
    /// Sees a commit through.
    Commit(Sent),
    /// Sees the marks of batches through, with what they counted.
    Batches(BoxFuture<'static, Result<(), Refused>>),
    /// Takes what another server has made of a breaker.
    Reload(Arc<str>),
    /// Lets breakers follow a policy that another server has set.
    FollowPolicies(Arc<str>),
}

/// A commit that is on its way.
pub(super) struct Sent {
    handle: Handle,
    key: Arc<str>,
    answer: BoxFuture<'static, Result<(), Refused>>,
}

/// What has come to its end.
enum Done {
    Commit(Handle, Arc<str>, Result<(), Refused>),
    Batches,
    WriteBehind,
    Other,
}

/// The engine as the store knows it.
pub(super) struct Listener(pub(super) Weak<Shared>);

impl Follower for Listener {
    fn committed(&self, committed: &Committed) {
        if let Some(shared) = self.0.upgrade() {
            Engine { shared, holder: Holder::server() }.committed(committed);
        }
    }
}

impl Engine {
    /// Sends what a breaker has done to the store, if nothing of it is on its way. Where the store answers at once, it is
    /// told when this returns.
    pub(super) fn submit(&self, index: u32) {
        loop {
            // No marks are gathered between the record is made and its place in the store's order.
            let gate = self.shared.batches.read();
            let Some(slot) = self.shared.registry.lock_index(index) else { return };
            match self.next_commit(slot) {
                Next::Nothing => return,
                Next::WithBatches => {
                    drop(gate);
                    return self.write_batches();
                }
                Next::Alone(handle, commit) => {
                    let key = commit.key();
                    let answer = self.send(commit);
                    drop(gate);
                    if !self.see_through(handle, key, answer) {
                        return;
                    }
                }
            }
        }
    }

    /// As [`Engine::submit`], of a breaker that is going. What it sends has no record, so it may come while a batch is counted.
    pub(super) fn submit_end(&self, handle: Handle) {
        let Some(mut slot) = self.shared.registry.lock(handle) else { return };
        if slot.tenant().going().is_none() {
            return;
        }
        if let Next::Alone(handle, commit) = self.next_commit(slot) {
            let key = commit.key();
            let answer = self.send(commit);
            self.see_through(handle, key, answer);
        }
    }

    /// True where the store has answered at once that it has the commit.
    fn see_through(&self, handle: Handle, key: Arc<str>, mut answer: BoxFuture<'static, Result<(), Refused>>) -> bool {
        match (&mut answer).now_or_never() {
            Some(Ok(())) => return true,
            Some(Err(refused)) => self.refused(&key, &refused),
            None => self.shared.work(Work::Commit(Sent { handle, key, answer })),
        }
        false
    }

    /// Gives a commit to the store, where it has its place when this returns.
    pub(super) fn send(&self, commit: Commit) -> BoxFuture<'static, Result<(), Refused>> {
        let has_probes = match &commit.change {
            Change::Breaker { to: Some(record), .. } => !record.snapshot.probes.is_empty(),
            Change::Breaker { to: None, .. } | Change::Policy { .. } | Change::Document { .. } => false,
        };
        let is_grant = has_probes && commit.events.is_empty();
        self.timed(if is_grant { self.shared.store.grant(commit) } else { self.shared.store.commit(commit) })
    }

    #[expect(clippy::disallowed_methods, reason = "a disk's time is real")]
    fn timed(&self, answer: BoxFuture<'static, Result<(), Refused>>) -> BoxFuture<'static, Result<(), Refused>> {
        let (measures, given) = (Arc::clone(&self.shared.measures), Instant::now());
        Box::pin(async move {
            let answer = answer.await;
            measures.committed(given.elapsed(), answer.is_err());
            answer
        })
    }

    fn next_commit(&self, mut slot: SlotGuard<'_>) -> Next {
        let (handle, created) = (slot.handle(), slot.made());
        let tenant = slot.tenant();
        if !tenant.has_news() || tenant.is_writing_any() {
            return Next::Nothing;
        }
        if tenant.is_batched && tenant.keeps_generation() {
            return Next::WithBatches;
        }
        // Where it was batched, it is in another generation, in which the tallies are stale when they are sent again.
        tenant.is_batched = false;
        match self.commit_of(tenant, created) {
            Some((commit, writing)) => {
                tenant.begin_writing(writing, commit.events.len());
                Next::Alone(handle, commit)
            }
            None => Next::Nothing,
        }
    }

    /// The commit of what is pending of a breaker.
    fn commit_of(&self, tenant: &mut Tenant, created: Timestamp) -> Option<(Commit, Writing)> {
        let standing = tenant.standing();
        let pending = tenant.pending.as_ref()?;
        let version = Version { generation: standing.status.generation, number: standing.number };
        let writing = Writing {
            version,
            standing,
            callers: pending.callers.len(),
            actions: pending.audit.len(),
            is_last: pending.is_going,
        };
        let (from, events, is_going) = (pending.stored, pending.events.clone(), pending.is_going);
        let actions = pending.audit.clone();
        let record = (!is_going).then(|| Box::new(self.record(tenant, created)));
        let change = Change::Breaker { key: tenant.key.to_arc(), from, to: record };
        let mut floors = self.floors();
        if is_going {
            floors.generation = floors.generation.max(version.generation + 1);
        }
        let audit = events.iter().filter_map(AuditEntry::of).chain(actions).collect();
        Some((Commit { author: self.shared.author, change, events, audit, floors }, writing))
    }

    /// Sends the marks of batches to the store, with every breaker that they have counted in, as one write. A move of such a
    /// breaker that is not on its way is in it. Where that cannot be now, it is done as soon as it can.
    ///
    /// Without that, a crash between two writes would leave counts without marks, so that a batch that is sent again counts
    /// twice; or marks without counts, so that it never counts.
    pub(super) fn write_batches(&self) {
        let batches = &self.shared.batches;
        let gate = batches.write();
        let Some(mut unwritten) = batches.unwritten().filter(|unwritten| !unwritten.is_empty()) else { return };
        // Said before it is known: whatever is waited for may end meanwhile.
        batches.want();
        // One at a time, as with the commits of a breaker: what comes while the disk is slow adds up here.
        let gathered = if batches.is_writing() { None } else { self.gather(&mut unwritten) };
        let Some((sent, commits, merge)) = gathered else { return };
        drop(unwritten);
        batches.take_wanted();
        batches.set_writing(true);
        let Together { commits: answers, merge } = self.shared.store.write_together(commits, merge);
        let answers: Vec<_> = answers.into_iter().map(|answer| self.timed(answer)).collect();
        drop(gate);
        self.see_batches_through(merge);
        for ((handle, key), answer) in sent.into_iter().zip(answers) {
            if self.see_through(handle, key, answer) {
                self.submit(handle.index);
            }
        }
    }

    fn see_batches_through(&self, mut answer: BoxFuture<'static, Result<(), Refused>>) {
        match (&mut answer).now_or_never() {
            Some(answer) => self.batches_written(&answer),
            None => self.shared.work(Work::Batches(answer)),
        }
    }

    fn batches_written(&self, answer: &Result<(), Refused>) {
        if let Err(refused) = answer {
            tracing::error!("what batches counted was not stored: {refused}");
        }
        self.shared.batches.set_writing(false);
    }

    /// Takes what [`Engine::write_batches`] sends. `None`, and nothing is changed, while a breaker has moved again with an earlier
    /// move still on its way: there is no version of it that could be written now.
    fn gather(&self, unwritten: &mut Unwritten) -> Option<Gathered> {
        let registry = &self.shared.registry;
        let (mut commits, mut records) = (Vec::new(), Vec::new());
        for handle in &unwritten.counted {
            let Some(mut slot) = registry.lock(*handle) else { continue };
            let created = slot.made();
            let tenant = slot.tenant();
            match (tenant.is_batched, tenant.has_news()) {
                (false, _) => {}
                (true, true) if tenant.is_writing_any() => return None,
                (true, true) => commits.extend(self.commit_of(tenant, created).map(|commit| (*handle, commit))),
                // Of the version that the store has, or will have when this comes.
                (true, false) => records.push(self.record(tenant, created)),
            }
        }
        // Nothing was sent of them meanwhile. What they have done since is sent later.
        for handle in unwritten.counted.drain(..) {
            if let Some(mut slot) = registry.lock(handle) {
                let tenant = slot.tenant();
                tenant.is_batched = false;
                tenant.is_stored = true;
            }
        }
        let mut sent = Vec::new();
        let begin = |(handle, (commit, writing)): (Handle, (Commit, Writing))| {
            if let Some(mut slot) = registry.lock(handle) {
                slot.tenant().begin_writing(writing, commit.events.len());
            }
            sent.push((handle, commit.key()));
            commit
        };
        let commits = commits.into_iter().map(begin).collect();
        let (marks, forgotten) = (unwritten.take_marks(), std::mem::take(&mut unwritten.forgotten));
        Some((sent, commits, Merge { records, marks, forgotten, floors: self.floors() }))
    }

    pub(super) fn floors(&self) -> Floors {
        let shared = &self.shared;
        // A server after this one begins above, because breakers that were never stored began here.
        let generation = shared.registry.generation_floor() + 1;
        Floors { generation, policies: shared.policies.version(), now: self.now() }
    }

    /// All that is kept of a breaker.
    pub(super) fn record(&self, tenant: &Tenant, created: Timestamp) -> Record {
        let snapshot = tenant.breaker.snapshot();
        let known = snapshot.callers.iter().flat_map(|callers| &callers.known);
        Record {
            key: tenant.key.to_arc(),
            callers: known.filter_map(|known| self.shared.callers.name(known.caller)).collect(),
            declaration: tenant.policy.declaration.clone(),
            provenance: tenant.provenance.clone(),
            policy_version: tenant.policy.version,
            policy_hash: PolicyHash::OfDifferences(tenant.policy.hash),
            sequence: tenant.sequence,
            created,
            used: tenant.used,
            snapshot,
            folded: tenant.folded().to_vec(),
        }
    }

    /// The store has it: it may be told.
    fn committed(&self, committed: &Committed) {
        let is_own = committed.author == self.shared.author;
        let events = &committed.events;
        let last = events.last().map(|event| &**event);
        self.shared.measures.happened(events);
        match &committed.changed {
            Changed::Breaker { key, version: Some(version) } if is_own => {
                // The log and the breaker change together for those who read both.
                let mut slot = self.shared.registry.lock_key(key);
                let tenant = slot.as_mut().map(|slot| slot.tenant());
                self.append_events(events, tenant.as_ref().map(|tenant| &*tenant.holder));
                if let Some(tenant) = tenant.filter(|tenant| tenant.is_writing(*version)) {
                    tenant.is_durable(last);
                }
            }
            Changed::Breaker { key, version: None } if is_own => {
                let gone = self.shared.registry.remove(
                    key,
                    |tenant| tenant.going().is_some(),
                    |index, tenant| {
                        self.append_events(events, Some(&*tenant.holder));
                        tenant.end_waiting();
                        self.vacate(index, tenant);
                    },
                );
                if !gone {
                    self.append_events(events, None);
                }
            }
            Changed::Breaker { key, .. } => {
                self.append_events(events, None);
                self.shared.work(Work::Reload(Arc::clone(key)));
            }
            Changed::Policy { pattern, entry } => {
                if !is_own {
                    self.shared.policies.put(pattern, entry.as_deref().cloned(), None);
                    self.shared.work(Work::FollowPolicies(Arc::clone(pattern)));
                }
            }
            Changed::Document { key, document } => {
                self.shared.tokens.put(key, document.as_deref());
            }
        }
        log(events);
        if is_own {
            committed.audit.iter().for_each(AuditEntry::log);
        }
    }

    fn refused(&self, key: &Arc<str>, refused: &Refused) {
        match refused {
            Refused::Moved => self.shared.work(Work::Reload(Arc::clone(key))),
            Refused::Closed | Refused::Unreadable(_) => {
                tracing::error!(breaker = %key, "a move was not stored: {refused}");
            }
        }
    }

    /// Why the store cannot write; `None` where it can.
    #[must_use]
    pub fn store_problem(&self) -> Option<String> {
        match &*self.shared.health.borrow() {
            Health::Well => None,
            Health::Failing { why } => Some(why.clone()),
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        *self.shared.health.borrow() != Health::Well
    }

    /// The store's name.
    #[must_use]
    pub fn store_name(&self) -> &'static str {
        self.shared.store.name()
    }

    /// Comes when the store cannot write, at once where it already cannot.
    ///
    /// # Errors
    /// Always: what is wrong with it.
    pub async fn store_failure(&self) -> Result<std::convert::Infallible, Error> {
        if self.shared.health.clone().wait_for(|health| *health != Health::Well).await.is_err() {
            std::future::pending::<()>().await;
        }
        Err(self.store_unavailable())
    }

    /// Tells when the store's health changes.
    #[must_use]
    pub fn store_health(&self) -> watch::Receiver<Health> {
        self.shared.health.clone()
    }

    /// Waits for a ticket until the patience with the store is over, which it is at once while the store fails.
    #[expect(clippy::disallowed_methods, reason = "a disk's time is real")]
    pub(super) async fn wait(&self, mut ticket: Ticket, until: Instant) -> Waited {
        // Memory answers at once, also where there is no runtime.
        if let Some(waited) = ticket.ended() {
            return waited;
        }
        tokio::select! {
            biased;
            waited = ticket.waited() => waited,
            _ = self.store_failure() => Waited::InVain,
            () = tokio::time::sleep_until(until) => Waited::InVain,
        }
    }

    /// An answer, when it may be told.
    ///
    /// # Errors
    /// Those of the attempt; the store did not record it in time.
    pub async fn told<T>(&self, mut attempt: impl FnMut() -> Result<Told<T>, Error>) -> Result<T, Error> {
        let mut until = None;
        loop {
            let (answer, ticket) = match attempt()? {
                Told::Now(answer) => return Ok(answer),
                Told::Later(answer, ticket) => (Some(answer), ticket),
                Told::Again(ticket) => (None, ticket),
            };
            let until = *until.get_or_insert_with(|| after(STORE_PATIENCE));
            match (self.wait(ticket, until).await, answer) {
                (Waited::Durable, Some(answer)) => return Ok(answer),
                (Waited::InVain, _) => return Err(self.store_unavailable()),
                _ => {}
            }
        }
    }

    pub(super) fn store_unavailable(&self) -> Error {
        let why = self.store_problem().unwrap_or_else(|| format!("it has not answered for {STORE_PATIENCE:?}"));
        Error::Store { why }
    }

    /// Refuses what an operator wants while it could not be recorded.
    pub(super) fn have_store(&self) -> Result<(), Error> {
        if self.is_failing() { Err(self.store_unavailable()) } else { Ok(()) }
    }

    /// Fires timers as they fall due, sees commits through and writes statistics behind, for ever.
    #[expect(clippy::disallowed_methods, reason = "statistics are written behind in real time")]
    pub async fn run(&self) {
        let Some(mut work) = self.shared.works.lock().take() else { return };
        let mut under_way: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        let mut ticks = tokio::time::interval(WRITE_BEHIND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_writing_behind = !self.shared.is_lasting;
        loop {
            let next = self.shared.timers.next().unwrap_or(Timestamp::NEVER);
            tokio::select! {
                () = self.shared.clock.come(next) => self.fire_due(self.now()),
                () = self.shared.timers.sooner() => {}
                Some(work) = work.recv() => under_way.push(self.clone().work(work)),
                Some(done) = under_way.next() => match done {
                    Done::Commit(handle, key, answer) => {
                        match answer {
                            Ok(()) => self.submit(handle.index),
                            Err(refused) => self.refused(&key, &refused),
                        }
                        self.write_wanted_batches();
                    }
                    Done::Batches => self.write_wanted_batches(),
                    Done::WriteBehind => is_writing_behind = false,
                    Done::Other => {}
                },
                _ = ticks.tick(), if !is_writing_behind => {
                    is_writing_behind = true;
                    let engine = self.clone();
                    under_way.push(Box::pin(async move {
                        engine.write_behind().await;
                        Done::WriteBehind
                    }));
                }
            }
        }
    }

    fn write_wanted_batches(&self) {
        if self.shared.batches.take_wanted() {
            self.write_batches();
        }
    }

    fn work(self, work: Work) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            match work {
                Work::Commit(Sent { handle, key, answer }) => Done::Commit(handle, key, answer.await),
                Work::Batches(answer) => {
                    self.batches_written(&answer.await);
                    Done::Batches
                }
                Work::Reload(key) => {
                    self.reload(&key).await;
                    Done::Other
                }
                Work::FollowPolicies(pattern) => {
                    self.apply_policies(Some(&pattern), Cause::default()).await;
                    Done::Other
                }
            }
        })
    }
}

impl Tenant {
    fn is_writing(&self, version: Version) -> bool {
        let writing = self.pending.as_ref().and_then(|pending| pending.writing.as_ref());
        writing.is_some_and(|writing| writing.version == version)
    }
}

impl Shared {
    /// Leaves something to [`Engine::run`].
    pub(super) fn work(&self, work: Work) {
        // The receiver lives as long as the engine does, running or not.
        let _ = self.to_do.send(work);
    }
}

/// When a wait ends that begins now.
#[expect(clippy::disallowed_methods, reason = "a disk's time is real")]
pub(super) fn after(patience: Duration) -> Instant {
    Instant::now() + patience
}
