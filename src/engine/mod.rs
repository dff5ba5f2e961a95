//! What is alive: all breakers, one clock, one set of deadlines, one event log.
//!
//! [`Engine`] is a cheap handle that transports and tests share. It finds the breaker, locks it, lets the pure breaker
//! decide, and carries out what comes back: moves become events, deadlines go to the timers. The rules are in
//! [`crate::breaker`]; none are repeated here.

mod audit;
mod batches;
mod callers;
mod clock;
mod commits;
mod documents;
mod error;
mod events;
mod expected;
mod folding;
mod jump;
mod kept;
mod keys;
mod measures;
mod policies;
mod policy_hash;
mod progress;
mod registry;
mod requests;
mod restore;
mod seal;
mod shares;
mod timers;
mod tokens;
mod watch;

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch as changes};

pub(crate) use self::seal::SEALS;
pub use self::{
    audit::{Action, AuditEntry},
    batches::BatchClient,
    clock::Clock,
    commits::{STORE_PATIENCE, Ticket, Told},
    error::Error,
    events::{Event, EventKind, EventReason, KEPT_EACH},
    folding::{EVENT_BURST, EVENT_EVERY, FOLDED_FOR, FOLDED_MAX},
    jump::{CLOCK_JUMP_MAX, Expiring, expiring},
    measures::{COMMIT_BOUNDS, Measured, REJECTIONS, RESYNCS, Surveyed},
    policies::{Declaration, PolicyEntry, PolicyOrigin, Provenance, Resolved, matches},
    registry::Handle,
    restore::FilePolicies,
    watch::{Entry, Filter, Message, Position, ResyncReason, Watch, WatchOptions},
};
use self::{
    batches::Batches,
    callers::Callers,
    commits::{Waited, Work, after},
    events::EventLog,
    expected::Expected,
    measures::Measures,
    policies::Policies,
    registry::{Name, Registry, Tenant, spread},
    requests::Requests,
    shares::Shares,
    timers::Timers,
    tokens::Tokens,
};
use crate::{
    access::Seal,
    breaker::{
        Acquire, Breaker, CALLERS_MAX, CallerId, CallerView, Counts, Decision, Kind, LEDGER_BYTES_MAX, Moment,
        OVERRIDES_MAX, Outcome, Override, OverrideMode, Permit, PermitKind, Policy, PolicySpec, ProbeNow, Reason,
        Report, Reported, RequestId, ServiceId, State, StateName, Status, Tally, Timestamp, Totals, Transition,
        backoff::mix,
        policy::{Voters, WINDOW_CALLS_MAX, WindowSpec},
    },
    limit,
    share::{FairShare, Holder},
    store::{Change, Commit, Health, Store},
};

/// Everything that can grow, and how far.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Breakers, at least 1. For each there are 12 to 24 bytes of a table that is made at the start. Default 100,000.
    pub breakers: u32,
    /// Acquires remembered by request id, in 16 parts of equal size. Default 1,000,000.
    pub request_ids: usize,
    /// Clients whose last batch is remembered. Default 10,000.
    pub batch_clients: usize,
    /// How long a silent client's last batch is remembered at least. Default 10 min.
    pub batch_retention: Duration,
    /// Callers that breakers know, added up, and the names remembered, in 16 parts of equal size. Default 1,000,000.
    pub callers: usize,
    /// Operators' policies, those of the file included. Default 10,000.
    pub policies: usize,
    /// Events held. Default 65,536.
    pub events: usize,
    /// Age at which an event leaves the log when a later one comes. Default 30 days.
    pub events_age: Duration,
    /// Watchers at a time. Default 10,000.
    pub watchers: u64,
    /// Memory of all permit ledgers, in bytes. Past it a breaker's oldest permits are given up. Default 64 MiB.
    pub ledger_bytes: usize,
    /// Memory of all breakers' statistics and known callers, in bytes. Past it count windows stop growing, and callers that are
    /// not counted apart yet count as one. The window of all callers is always made where it counts by time. Default
    /// 256 MiB.
    pub statistics_bytes: usize,
    /// Keys and prefixes that all watches name together. Default 1,000,000.
    pub watch_keys: usize,
    /// Handles of all sessions together. Default 1,000,000.
    pub handles: usize,
    /// Tokens, those that have expired included. Default 10,000.
    pub tokens: usize,
    /// A closed breaker that nobody declared goes when it was not used for so long, also with calls in its statistics.
    /// When all places are taken, one with nothing counted goes at once. Default 1 h.
    pub breaker_idle: Duration,
    /// How much of each bound one holder may use of what the others leave.
    pub fair_share: FairShare,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            breakers: 100_000,
            request_ids: 1_000_000,
            batch_clients: 10_000,
            batch_retention: Duration::from_secs(600),
            callers: 1_000_000,
            policies: 10_000,
            events: 65_536,
            events_age: Duration::from_secs(30 * 24 * 3600),
            watchers: 10_000,
            ledger_bytes: 64 << 20,
            statistics_bytes: 256 << 20,
            watch_keys: 1_000_000,
            handles: 1_000_000,
            tokens: 10_000,
            breaker_idle: Duration::from_secs(3600),
            fair_share: FairShare::default(),
        }
    }
}

/// The engine. Clones share one.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    /// What its calls take counts for this one.
    holder: Holder,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    limits: Limits,
    registry: Registry,
    timers: Timers,
    events: EventLog,
    policies: Policies,
    tokens: Tokens,
    seal: Seal,
    requests: Requests,
    batches: Batches,
    callers: Callers,
    expected: Expected,
    shares: Shares,
    store: Arc<dyn Store>,
    /// Whether the store outlives the server.
    is_lasting: bool,
    health: changes::Receiver<Health>,
    /// Names this server in what it commits.
    author: u64,
    to_do: mpsc::UnboundedSender<Work>,
    /// What [`Engine::run`] takes.
    works: Mutex<Option<mpsc::UnboundedReceiver<Work>>>,
    /// Breakers whose statistics are to be written.
    dirty: Mutex<Vec<Handle>>,
    /// Somebody was given a permit since time was last written: no later server may tell an earlier time.
    was_asked: AtomicBool,
    /// Held while operators' policies are written, one after the other.
    policy_writes: tokio::sync::Mutex<()>,
    started: Timestamp,
    ledger_bytes: AtomicUsize,
    statistics_bytes: AtomicUsize,
    /// Callers that breakers know, added up.
    callers_known: AtomicUsize,
    measures: Arc<Measures>,
    /// Held while a manual clock is moved.
    advancing: Mutex<()>,
}

/// The answer to an Acquire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquired {
    /// Permitted, or why not.
    pub decision: Decision,
    /// When it was decided.
    pub at: Timestamp,
    /// The computed state that it was decided in.
    pub state: StateName,
    /// The breaker's generation.
    pub generation: u64,
    /// The generation of the caller's scope.
    pub caller_generation: u64,
    /// What is forced over the state.
    pub forced: Option<OverrideMode>,
    /// It is rejected because the breaker has moved, or would have to, and that could not be recorded.
    pub is_provisional: bool,
}

/// The answer to a Report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportAnswer {
    /// What became of it.
    pub reported: Reported,
    /// The computed state after it.
    pub state: StateName,
    /// The breaker's generation after it; 0 where there is no such breaker any more.
    pub generation: u64,
    /// What is forced over the state.
    pub forced: Option<OverrideMode>,
    /// The state of the caller's scope.
    pub caller_state: StateName,
    /// The generation of the caller's scope.
    pub caller_generation: u64,
}

impl ReportAnswer {
    /// For a breaker that is no more: it was closed, nobody had declared it, and its permits are stale.
    pub const GONE: Self = Self {
        reported: Reported::Stale,
        state: StateName::Closed,
        generation: 0,
        forced: None,
        caller_state: StateName::Closed,
        caller_generation: 0,
    };
}

/// A tally and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct CallerTally<'a> {
    /// Key of the breaker.
    pub key: &'a str,
    /// Who called.
    pub caller: CallerId,
    /// What happened.
    pub tally: Tally,
}

/// The answer to a batch.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct BatchAnswer {
    /// It was counted before.
    pub duplicate: bool,
    /// Tallies that counted.
    pub counted: u32,
    /// Tallies that were stale.
    pub stale: u32,
    /// Breakers that are not in the generation their tally was decided under, or whose caller is not.
    pub changed: Vec<Entry>,
}

/// A batch that was counted, and may have to wait for the store before it is answered.
#[derive(Default, Debug)]
pub struct BatchCounted {
    /// It was counted before.
    duplicate: bool,
    /// Tallies that counted.
    counted: u32,
    /// Tallies that were stale.
    stale: u32,
    /// What its moves wait for.
    tickets: Vec<Ticket>,
}

/// All about one breaker.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// Where it stands.
    pub entry: Entry,
    /// The calls of its window.
    pub window: Counts,
    /// Counts over its life.
    pub totals: Totals,
    /// The policy in force.
    pub policy: Arc<Resolved>,
    /// Revision of its declaration; `None` where it was not declared.
    pub declared_revision: Option<u64>,
    /// Where its declaration comes from; `None` where it was not declared, or that is not known.
    pub provenance: Option<Provenance>,
    /// All overrides, the strongest first.
    pub overrides: Vec<Override>,
    /// The computed state with its data.
    pub state: State,
    /// Probes that are out.
    pub probes_out: usize,
    /// Recoveries that have failed in a row.
    pub failed_recoveries: u32,
    /// When it was created, to the second.
    pub created: Timestamp,
    /// When it next wants waking.
    pub deadline: Timestamp,
    /// Its last event, while the log holds it.
    pub last_event: Option<Arc<Event>>,
    /// The callers that it knows.
    pub callers: Vec<CallerView>,
    /// How many callers must have evidence before it opens for all.
    pub quorum: u32,
}

/// Who changes something, and in which words.
#[derive(Clone, Copy, Default, Debug)]
pub struct Actor<'a> {
    /// Who.
    pub name: &'a str,
    /// Why.
    pub comment: &'a str,
}

/// What the server has used of its limits.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Tokens there are.
    pub tokens: usize,
    /// Breakers there are.
    pub breakers: u32,
    /// Acquires remembered by request id.
    pub request_ids: usize,
    /// Clients whose last batch is remembered.
    pub batch_clients: usize,
    /// Callers that breakers know, added up, or names remembered, whichever are more.
    pub callers: usize,
    /// Operators' policies.
    pub policies: usize,
    /// Events held.
    pub events: usize,
    /// Watchers now.
    pub watchers: u64,
    /// Keys and prefixes that watches name.
    pub watch_keys: u64,
    /// Handles of sessions.
    pub handles: u64,
    /// Memory of all permit ledgers.
    pub ledger_bytes: usize,
    /// Memory of all breakers' statistics and known callers.
    pub statistics_bytes: usize,
    /// Sequence of the oldest event held; 0: none.
    pub oldest_sequence: u64,
    /// Sequence of the newest event; 0: none.
    pub newest_sequence: u64,
}

/// What lies behind a move, besides the breaker's own reason.
#[derive(Clone, Copy, Default)]
struct Cause<'a> {
    caller: CallerId,
    error_class: &'a str,
    actor: Actor<'a>,
    policy: Option<EventReason>,
    /// What the audit trail says of it, beside what it says of events.
    action: Option<Action>,
    /// Details of `action`, which the step itself may fill in.
    detail: Option<&'a Mutex<String>>,
}

impl Engine {
    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The time, and a random number. One is good for a whole batch.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), random: random() }
    }

    /// Names this server's event log.
    #[must_use]
    pub fn history(&self) -> u64 {
        self.shared.store.epoch()
    }

    /// When the engine was made.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.shared.started
    }

    /// The id of a caller's name, which is remembered for events.
    #[must_use]
    pub fn caller(&self, name: &str) -> CallerId {
        self.shared.callers.id(name)
    }

    /// As [`Engine::caller`], of a name that is not remembered.
    #[must_use]
    pub fn caller_id(&self, name: &str) -> CallerId {
        self.shared.callers.find(name)
    }

    /// The name of a caller, as long as it is remembered.
    #[must_use]
    pub fn caller_name(&self, id: CallerId) -> Option<Arc<str>> {
        self.shared.callers.name(id)
    }

    // ---- What services do ------------------------------------------------------------------------------------------

    /// The breaker of a key, made where there is none yet.
    ///
    /// # Errors
    /// No room for another breaker.
    pub fn handle(&self, key: &str) -> Result<Handle, Error> {
        self.handle_with(key, None)
    }

    /// The breaker of a key, if there is one.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Handle> {
        self.shared.registry.find(key)
    }

    /// Asks for leave to make one call. `None` where the handle's breaker is gone: find it anew by its key.
    ///
    /// A request with an id that was granted a permit gets it again while its lease runs.
    #[must_use]
    pub fn acquire(
        &self,
        moment: Moment,
        handle: Handle,
        caller: CallerId,
        request: RequestId,
        lease: Option<Duration>,
    ) -> Option<Told<Acquired>> {
        self.acquire_named(moment, handle, caller, request, lease)
    }

    /// As [`Engine::acquire`], of the breaker of a key, which is made where there is none yet.
    ///
    /// # Errors
    /// No room for another breaker.
    pub fn acquire_by_key(
        &self,
        moment: Moment,
        key: &str,
        caller: CallerId,
        request: RequestId,
        lease: Option<Duration>,
    ) -> Result<Told<Acquired>, Error> {
        match self.acquire_named(moment, key, caller, request, lease) {
            Some(acquired) => Ok(acquired),
            None => self.always(key, |handle| self.acquire(moment, handle, caller, request, lease)),
        }
    }

    /// An answer to an Acquire that may be told, at the latest when the patience with the store ends: then what can be said
    /// without it, which is a permit where the breaker is closed, else a provisional rejection.
    ///
    /// # Errors
    /// No room for another breaker.
    pub async fn acquired(
        &self,
        mut told: Told<Acquired>,
        key: &str,
        caller: CallerId,
        request: RequestId,
        lease: Option<Duration>,
        patience: Duration,
    ) -> Result<Acquired, Error> {
        let until = after(patience.min(STORE_PATIENCE));
        loop {
            let (answer, ticket) = match told {
                Told::Now(acquired) => return Ok(acquired),
                Told::Later(acquired, ticket) => (Some(acquired), ticket),
                Told::Again(ticket) => (None, ticket),
            };
            match (self.wait(ticket, until).await, answer) {
                (Waited::Durable, Some(acquired)) => return Ok(acquired),
                (Waited::InVain, answer) => {
                    if let Some(Decision::Permitted(permit)) = answer.map(|answer| answer.decision) {
                        // Nobody has it, and nobody will.
                        let _ = self.report_by_key(self.moment(), key, &permit, &Report::of(Outcome::Cancelled), "");
                    }
                    return self.always(key, |handle| self.acquire_unrecorded(handle, caller, lease));
                }
                _ => told = self.acquire_by_key(self.moment(), key, caller, request, lease)?,
            }
        }
    }

    fn acquire_named(
        &self,
        moment: Moment,
        name: impl Name,
        caller: CallerId,
        request: RequestId,
        lease: Option<Duration>,
    ) -> Option<Told<Acquired>> {
        if request == RequestId::default() {
            return self.acquire_now(moment, name, caller, request, lease);
        }
        let mut fresh = None;
        let known = self.shared.requests.once(&self.holder, request, moment.now, || {
            let told = self.acquire_now(moment, name, caller, request, lease).ok_or(())?;
            // A probe is remembered by its breaker, and what waits for the store may come to nothing.
            let permit = match &told {
                Told::Now(Acquired { decision: Decision::Permitted(permit), .. }) => Some(*permit),
                _ => None,
            };
            fresh = Some(told);
            Ok::<_, ()>(permit)
        });
        match known {
            Ok(Some(permit)) => {
                let mut slot = name.lock(&self.shared.registry)?;
                Some(Told::Now(acquired(slot.tenant(), moment.now, caller, Decision::Permitted(permit))))
            }
            Ok(None) => fresh,
            Err(()) => None,
        }
    }

    fn acquire_now(
        &self,
        moment: Moment,
        name: impl Name,
        caller: CallerId,
        request: RequestId,
        lease: Option<Duration>,
    ) -> Option<Told<Acquired>> {
        let act = |tenant: &mut Tenant, moment: Moment| {
            let acquire = self.acquire_of(tenant, caller, request, lease);
            let step = tenant.breaker.acquire(moment, &acquire);
            if let Decision::Rejected { reason, .. } = step.answer {
                self.shared.measures.rejected(reason);
                tenant.is_dirty = self.shared.is_lasting;
            }
            (acquired(tenant, moment.now, caller, step.answer), step.transitions)
        };
        let waits = |tenant: &Tenant, acquired: &Acquired| {
            let is_probe = |permit: Permit| matches!(permit.kind, PermitKind::Probe | PermitKind::CallerProbe);
            matches!(acquired.decision, Decision::Permitted(permit) if is_probe(permit)) || tenant.is_untold(caller)
        };
        if self.shared.is_lasting && !self.shared.was_asked.load(Ordering::Relaxed) {
            self.shared.was_asked.store(true, Ordering::Relaxed);
        }
        self.step(name, moment, act, by_time, waits)
    }

    fn acquire_of(&self, tenant: &Tenant, caller: CallerId, request: RequestId, lease: Option<Duration>) -> Acquire {
        let room = self.shared.limits.ledger_bytes.saturating_sub(self.shared.ledger_bytes.load(Ordering::Relaxed));
        let ledger_bytes_max = (tenant.breaker.ledger_bytes() + room).min(LEDGER_BYTES_MAX);
        let (service, callers_max) = (self.service(tenant, caller), self.callers_max(tenant));
        Acquire { caller, service, request, lease, ledger_bytes_max, callers_max }
    }

    /// The service that a caller is an instance of. It is looked up only where services vote.
    fn service(&self, tenant: &Tenant, caller: CallerId) -> ServiceId {
        match tenant.policy.policy.voters {
            Voters::Instance => ServiceId::from(caller),
            Voters::Service => self.shared.callers.service(caller),
        }
    }

    /// Tells a breaker whose policy counts services which callers are whose.
    fn assign_services(&self, tenant: &mut Tenant) {
        if tenant.policy.policy.voters == Voters::Service {
            tenant.breaker.assign_services(|caller| self.shared.callers.service_if_known(caller));
        }
    }

    /// What can be said while nothing can be recorded.
    fn acquire_unrecorded(&self, handle: Handle, caller: CallerId, lease: Option<Duration>) -> Option<Acquired> {
        let mut slot = self.shared.registry.lock(handle)?;
        let index = slot.index();
        let tenant = slot.tenant();
        tenant.used = tenant.used.max(self.now());
        let (now, told) = (tenant.used, tenant.told().map(|told| told.status));
        let acquire = self.acquire_of(tenant, caller, RequestId::default(), lease);
        let act = |tenant: &mut Tenant| (tenant.breaker.acquire_unrecorded(now, &acquire, told.as_ref()), Vec::new());
        let decision = self.settle(tenant, index, act, by_time).0;
        let is_provisional = matches!(decision, Decision::Rejected { .. });
        if let Decision::Rejected { reason, .. } = decision {
            self.shared.measures.rejected(reason);
        }
        let status = tenant.breaker.status(now);
        let told = told.unwrap_or(status);
        Some(Acquired {
            is_provisional,
            // Refused as if it were open, whatever is behind it.
            state: if is_provisional { StateName::Open } else { told.state },
            generation: told.generation,
            forced: told.forced,
            ..acquired(tenant, now, caller, decision)
        })
    }

    /// Says how a call went. The permit must be of this breaker: its token names the key, and whoever reads it checks
    /// that. `None` where the handle's breaker is gone, and the report is as stale as [`ReportAnswer::GONE`].
    pub fn report(
        &self,
        moment: Moment,
        handle: Handle,
        permit: &Permit,
        report: &Report,
        error_class: &str,
    ) -> Option<Told<ReportAnswer>> {
        self.report_named(moment, handle, permit, report, error_class)
    }

    /// As [`Engine::report`], of the breaker of a key. One that there is not is gone.
    #[must_use]
    pub fn report_by_key(
        &self,
        moment: Moment,
        key: &str,
        permit: &Permit,
        report: &Report,
        error_class: &str,
    ) -> Told<ReportAnswer> {
        let reported = self.report_named(moment, key, permit, report, error_class);
        reported.unwrap_or(Told::Now(ReportAnswer::GONE))
    }

    fn report_named(
        &self,
        moment: Moment,
        name: impl Name,
        permit: &Permit,
        report: &Report,
        error_class: &str,
    ) -> Option<Told<ReportAnswer>> {
        let act = |tenant: &mut Tenant, moment| {
            tenant.is_dirty = self.shared.is_lasting;
            let step = tenant.breaker.report(moment, permit, report);
            let (caller_state, caller_generation) = tenant.breaker.caller_scope(permit.caller);
            let answer = ReportAnswer {
                reported: step.answer,
                state: tenant.breaker.state().name(),
                generation: tenant.breaker.generation(),
                forced: tenant.breaker.forced(),
                caller_state,
                caller_generation,
            };
            (answer, step.transitions)
        };
        let cause = |answer: &ReportAnswer| match answer.reported {
            Reported::Counted => Cause { caller: permit.caller, error_class, ..Cause::default() },
            Reported::Stale | Reported::Duplicate => Cause::default(),
        };
        self.step(name, moment, act, cause, |tenant, _| tenant.is_untold(permit.caller))
    }

    /// Counts what a client has decided by itself, once for each batch of an identity's client.
    ///
    /// # Errors
    /// Too many clients send batches; the store did not record a move that it made. Sent again it is a duplicate then.
    pub async fn report_batch(
        &self,
        client: impl Into<BatchClient<'_>>,
        sequence: u64,
        tallies: &[CallerTally<'_>],
    ) -> Result<BatchAnswer, Error> {
        let counted = self.count_batch(client, sequence, tallies, || Ok(())).await?;
        self.batch_answer(counted, tallies).await
    }

    /// The first half of [`Engine::report_batch`]: counts the batch, in parts between which the thread does other work. Before each
    /// part but the first, `goes_on` is asked. A batch that ends early, also by being dropped, is continued where it ended when
    /// it is sent again.
    ///
    /// # Errors
    /// Too many clients send batches; `goes_on` returned an error.
    pub async fn count_batch(
        &self,
        client: impl Into<BatchClient<'_>>,
        sequence: u64,
        tallies: &[CallerTally<'_>],
        goes_on: impl Fn() -> Result<(), Error>,
    ) -> Result<BatchCounted, Error> {
        let begun = self.shared.batches.begin(&self.holder, client.into(), sequence, self.now()).await?;
        let mut counted = BatchCounted { duplicate: begun.is_none(), ..BatchCounted::default() };
        let Some(mut counting) = begun else { return Ok(counted) };
        let mut done = counting.counted().min(tallies.len());
        loop {
            let part = part_of(&tallies[done..]);
            done += part.len();
            let (moment, mut moved) = (self.moment(), Vec::new());
            let count = || {
                for tally in part {
                    let is_counted = self.count_tally(moment, tally, &mut counted.tickets, &mut moved);
                    counted.counted += u32::from(is_counted);
                    counted.stale += u32::from(!is_counted);
                }
            };
            self.shared.batches.count(&mut counting, done, done == tallies.len(), moment.now, count);
            // Not before all of the part is counted: a move may have to be written together with what else it counted.
            moved.into_iter().for_each(|index| self.submit(index));
            if done == tallies.len() {
                return Ok(counted);
            }
            tokio::task::yield_now().await;
            goes_on()?;
        }
    }

    /// The second half of [`Engine::report_batch`]: waits for what the batch moved, and says where its breakers stand.
    ///
    /// # Errors
    /// The store did not record a move that it made.
    pub async fn batch_answer(&self, counted: BatchCounted, tallies: &[CallerTally<'_>]) -> Result<BatchAnswer, Error> {
        let BatchCounted { duplicate, counted, stale, tickets } = counted;
        let until = after(STORE_PATIENCE);
        for ticket in tickets {
            if self.wait(ticket, until).await == Waited::InVain {
                return Err(self.store_unavailable());
            }
        }
        Ok(BatchAnswer { duplicate, counted, stale, changed: self.changed(tallies).await })
    }

    /// True where it counted. Without room for its breaker there is nothing to count it on.
    fn count_tally(
        &self,
        moment: Moment,
        tally: &CallerTally<'_>,
        tickets: &mut Vec<Ticket>,
        moved: &mut Vec<u32>,
    ) -> bool {
        let act = |tenant: &mut Tenant, moment| {
            tenant.is_batched = self.shared.is_lasting;
            let (service, callers_max) = (self.service(tenant, tally.caller), self.callers_max(tenant));
            let step = tenant.breaker.tally(moment, tally.caller, service, &tally.tally, callers_max);
            (step.answer, step.transitions)
        };
        let cause = |reported: &Reported| match reported {
            Reported::Counted => Cause { caller: tally.caller, ..Cause::default() },
            Reported::Stale | Reported::Duplicate => Cause::default(),
        };
        let waits = |tenant: &Tenant, _: &Reported| tenant.is_untold(tally.caller);
        let moved = Cell::from_mut(moved);
        let submit = |index| {
            let mut indices = moved.take();
            indices.push(index);
            moved.set(indices);
        };
        let step = |handle| self.step_and(handle, moment, act, cause, waits, submit);
        let (reported, ticket) = match self.always(tally.key, step) {
            Ok(Told::Now(reported)) => (reported, None),
            Ok(Told::Later(reported, ticket)) => (reported, Some(ticket)),
            // It is going, or has no room: what was decided under it is stale, and counted with the breakers that are gone.
            Ok(Told::Again(_)) | Err(_) => {
                let (stale, rejected) = (tally.tally.calls(), u64::from(tally.tally.rejections));
                self.shared.measures.leave(&Totals { stale, rejected, ..Totals::default() });
                (Reported::Stale, None)
            }
        };
        tickets.extend(ticket);
        reported == Reported::Counted
    }

    /// Where the breakers and callers stand, each once, that are not in the generations of their tallies.
    async fn changed(&self, tallies: &[CallerTally<'_>]) -> Vec<Entry> {
        let (mut told, mut changed) = (HashSet::new(), Vec::new());
        for tallies in tallies.chunks(LOOKUPS_AT_ONCE) {
            for tally in tallies {
                let scope = (tally.key, tally.caller);
                let entry = if told.contains(&scope) { None } else { self.entry(tally.key, Some(tally.caller)) };
                let Some(entry) = entry else { continue };
                let now = (entry.status.generation, entry.caller.map_or(0, |caller| caller.generation));
                if now != (tally.tally.generation, tally.tally.caller_generation) && told.insert(scope) {
                    changed.push(entry);
                    if changed.len() == CHANGED_MAX {
                        return changed;
                    }
                }
            }
            if tallies.len() == LOOKUPS_AT_ONCE {
                tokio::task::yield_now().await;
            }
        }
        changed
    }

    /// Notes that a caller is there, at a breaker that there is: it has a session or a watch open.
    pub fn see(&self, key: &str, caller: CallerId) -> Option<Handle> {
        self.see_at(self.find(key)?, caller)
    }

    /// Lets a breaker that was just made know the callers that watch its key.
    fn meet_expecting(&self, key: &str, handle: Handle) {
        for caller in self.shared.expected.of(key) {
            self.see_at(handle, caller);
        }
    }

    fn see_at(&self, handle: Handle, caller: CallerId) -> Option<Handle> {
        let act = |tenant: &mut Tenant, moment: Moment| {
            let (service, callers_max) = (self.service(tenant, caller), self.callers_max(tenant));
            tenant.breaker.see(moment.now, caller, service, callers_max);
            ((), Vec::new())
        };
        self.step(handle, self.moment(), act, by_time, |_, ()| false)?;
        Some(handle)
    }

    /// Callers that a breaker may know, with what others know.
    fn callers_max(&self, tenant: &Tenant) -> usize {
        let known = self.shared.callers_known.load(Ordering::Relaxed);
        let room = self.shared.limits.callers.saturating_sub(known);
        (tenant.breaker.callers_known() + room).min(CALLERS_MAX)
    }

    /// Checks a service's policy for its breaker, as [`Engine::declare`] does.
    ///
    /// # Errors
    /// A field out of its range, or an `open_duration` below the `open_duration_min` that holds for it.
    pub fn check_declaration(&self, key: &str, spec: &PolicySpec) -> Result<(), Error> {
        self.shared.policies.check(key, spec)
    }

    /// Takes a service's policy for its breaker, unless a stronger declaration stands.
    ///
    /// # Errors
    /// A field out of its range; no room for another breaker; the store did not record it.
    pub async fn declare(&self, key: &str, declaration: &Declaration, caller: CallerId) -> Result<View, Error> {
        let name = self.caller_name(caller);
        let by = service(name.as_deref().unwrap_or_default());
        self.declare_by(key, declaration, caller, &by.into()).await
    }

    /// As [`Engine::declare`], by a declarer with another name than its caller's service: an identity.
    ///
    /// # Errors
    /// As [`Engine::declare`].
    pub async fn declare_by(
        &self,
        key: &str,
        declaration: &Declaration,
        caller: CallerId,
        by: &Arc<str>,
    ) -> Result<View, Error> {
        self.check_declaration(key, &declaration.spec)?;
        self.have_store()?;
        let cause = Cause { caller, policy: Some(EventReason::Declared), ..Cause::default() };
        let act = |tenant: &mut Tenant, moment: Moment| {
            let standing = tenant.policy.declaration.clone();
            let news = match &standing {
                Some(standing) => {
                    Provenance::of_news(standing, tenant.provenance.as_deref(), declaration, by, moment.now)
                }
                None => Some(Provenance::first(Arc::clone(by), moment.now)),
            };
            let declared = if news.is_some() { None } else { standing };
            let version = tenant.breaker.version();
            let is_news = version == 0 || news.is_some();
            let moves = self.follow_policies(tenant, moment, Some(declared.as_ref().unwrap_or(declaration)));
            if let Some(news) = news {
                tenant.provenance = Some(Box::new(news));
            }
            if is_news && tenant.breaker.version() == version {
                // No move, but to be remembered all the same.
                tenant.breaker.touch();
            }
            (view(tenant, moment.now), moves)
        };
        let attempt = || {
            let moment = self.moment();
            let step = |handle| self.step(handle, moment, act, |_| cause, |tenant, _| tenant.pending.is_some());
            self.always_as(key, Some(declaration), step)
        };
        let view = self.told(attempt).await?;
        Ok(self.complete(view))
    }

    /// Removes what was declared for a breaker, which follows operators' policies and the default then.
    ///
    /// # Errors
    /// The breaker was never seen, or was not declared; the store did not record it.
    pub async fn delete_declaration(&self, key: &str, actor: Actor<'_>) -> Result<Entry, Error> {
        let act = |tenant: &mut Tenant, moment: Moment| {
            if tenant.policy.declaration.is_none() {
                return (false, Vec::new());
            }
            let version = tenant.breaker.version();
            let moves = self.follow_policies(tenant, moment, None);
            tenant.provenance = None;
            if tenant.breaker.version() == version {
                // The policy in force stays, but what was declared has to be forgotten.
                tenant.breaker.touch();
            }
            (true, moves)
        };
        let cause = |deleted: &bool| match deleted {
            true => Cause { actor, action: Some(Action::DeclarationDeleted), ..Cause::default() },
            false => Cause::default(),
        };
        if !self.operate(key, act, cause).await? {
            return Err(Error::NotFound {
                reason: "DECLARATION_NOT_FOUND",
                what: "declaration of",
                name: key.to_owned(),
                advice: "GetState shows what was declared, and by whom",
            });
        }
        self.entry(key, None).ok_or_else(|| breaker_not_found(key))
    }

    /// Closes a breaker, with empty statistics and backoff.
    ///
    /// # Errors
    /// The breaker was never seen; the store did not record it.
    pub async fn reset(&self, key: &str, actor: Actor<'_>) -> Result<Entry, Error> {
        let act = |tenant: &mut Tenant, moment| ((), tenant.breaker.reset(moment).transitions);
        self.operate(key, act, |()| Cause { actor, ..Cause::default() }).await?;
        self.entry(key, None).ok_or_else(|| breaker_not_found(key))
    }

    /// Does what an operator wants with a breaker that there is.
    async fn operate<'a, T>(
        &self,
        key: &str,
        act: impl Fn(&mut Tenant, Moment) -> (T, Vec<Transition>),
        cause: impl Fn(&T) -> Cause<'a>,
    ) -> Result<T, Error> {
        self.have_store()?;
        let attempt = || {
            let found = self.step(key, self.moment(), &act, &cause, |tenant, _| tenant.pending.is_some());
            found.ok_or_else(|| breaker_not_found(key))
        };
        self.told(attempt).await
    }

    /// All about a breaker.
    ///
    /// # Errors
    /// The breaker was never seen; its last move waits for the store.
    pub async fn view(&self, key: &str) -> Result<View, Error> {
        let act = |tenant: &mut Tenant, moment: Moment| {
            let moves = tenant.breaker.handle_timeout(moment);
            (view(tenant, moment.now), moves)
        };
        let attempt = || {
            let found = self.step(key, self.moment(), act, by_time, |tenant, _| tenant.pending.is_some());
            found.ok_or_else(|| breaker_not_found(key))
        };
        let view = self.told(attempt).await?;
        Ok(self.complete(view))
    }

    /// Adds to a view what is known outside the breaker, now that its last move has its place in the log.
    fn complete(&self, mut view: View) -> View {
        if let Some(mut slot) = self.shared.registry.lock_key(&view.entry.key) {
            view.created = slot.made();
            view.entry.sequence = slot.tenant().sequence;
        }
        view.last_event = self.shared.events.get(view.entry.sequence);
        view
    }

    /// Follows what happens.
    ///
    /// # Errors
    /// Too many watchers, or keys of watches.
    pub fn watch(&self, options: WatchOptions) -> Result<Watch, Error> {
        let taken = self.take_watch(options.filter.keys.len() + options.filter.prefixes.len())?;
        Ok(Watch::new(self.clone(), options, taken))
    }

    // ---- What operators do -----------------------------------------------------------------------------------------

    /// Holds a breaker in a state by the override with an id; makes the breaker where there is none.
    ///
    /// # Errors
    /// No room for another breaker, or for another override of this one; the store did not record it.
    pub async fn set_override(
        &self,
        key: &str,
        id: &str,
        mode: OverrideMode,
        expire_after: Option<Duration>,
        actor: Actor<'_>,
    ) -> Result<Entry, Error> {
        self.have_store()?;
        let act = |tenant: &mut Tenant, moment: Moment| {
            let forced = Override {
                id: id.to_owned(),
                mode,
                actor: actor.name.to_owned(),
                reason: actor.comment.to_owned(),
                set: moment.now,
                expire: expire_after.map_or(Timestamp::NEVER, |after| moment.now.after(after)),
            };
            let step = tenant.breaker.set_override(moment, forced);
            (step.answer, step.transitions)
        };
        let detail = Mutex::new(format!("{}, id {id}", mode.name()));
        let cause = |set: &bool| match set {
            true => Cause { actor, action: Some(Action::OverrideSet), detail: Some(&detail), ..Cause::default() },
            false => Cause::default(),
        };
        let attempt = || {
            let moment = self.moment();
            self.always(key, |handle| self.step(handle, moment, act, cause, |tenant, _| tenant.pending.is_some()))
        };
        if !self.told(attempt).await? {
            return Err(limit::OVERRIDES.reached(OVERRIDES_MAX as u64));
        }
        self.entry(key, None).ok_or_else(|| breaker_not_found(key))
    }

    /// Moves an open breaker, or an isolated caller of it, to half-open before its open period has passed.
    ///
    /// # Errors
    /// The breaker was never seen, or does not know the caller; it is not open; the store did not record it.
    pub async fn probe_now(&self, key: &str, caller: Option<&str>, actor: Actor<'_>) -> Result<Entry, Error> {
        let id = caller.map(|name| self.caller_id(name));
        let act = |tenant: &mut Tenant, moment| {
            let step = match id {
                None => tenant.breaker.probe_now(moment),
                Some(id) => tenant.breaker.probe_caller_now(moment, id),
            };
            (step.answer, step.transitions)
        };
        // Moves that time brought in the same step are not the actor's.
        let cause = |answer: &ProbeNow| match answer {
            ProbeNow::Moved => Cause { actor, ..Cause::default() },
            ProbeNow::NotOpen(_) | ProbeNow::UnknownCaller => Cause::default(),
        };
        match self.operate(key, act, cause).await? {
            ProbeNow::Moved => self.entry(key, id).ok_or_else(|| breaker_not_found(key)),
            ProbeNow::NotOpen(state) => Err(Error::NotOpen {
                what: if caller.is_some() { "caller" } else { "breaker" },
                name: caller.unwrap_or(key).to_owned(),
                state: state.name(),
            }),
            ProbeNow::UnknownCaller => Err(Error::NotFound {
                reason: "CALLER_NOT_FOUND",
                what: "caller",
                name: caller.unwrap_or_default().to_owned(),
                advice: "GetState lists the callers that the breaker knows",
            }),
        }
    }

    /// Ends the override with an id; without one, all of the breaker.
    ///
    /// # Errors
    /// The breaker was never seen, or has no override; the store did not record it.
    pub async fn clear_override(&self, key: &str, id: Option<&str>, actor: Actor<'_>) -> Result<Entry, Error> {
        let detail = Mutex::default();
        let act = |tenant: &mut Tenant, moment: Moment| {
            // One that has expired is ended by time, in the same step.
            let is_meant = |forced: &&Override| id.is_none_or(|id| forced.id == id) && forced.expire > moment.now;
            let ids: Vec<_> = tenant.breaker.overrides().iter().filter(is_meant).map(|forced| &*forced.id).collect();
            *detail.lock() = format!("id {}", ids.join(", "));
            let step = tenant.breaker.clear_override(moment, id);
            (step.answer, step.transitions)
        };
        let cause = |cleared: &bool| match cleared {
            true => Cause { actor, action: Some(Action::OverrideCleared), detail: Some(&detail), ..Cause::default() },
            false => Cause::default(),
        };
        if !self.operate(key, act, cause).await? {
            return Err(Error::NotFound {
                reason: "OVERRIDE_NOT_FOUND",
                what: if id.is_some() { "override with the id" } else { "override of" },
                name: id.unwrap_or(key).to_owned(),
                advice: "GetState lists a breaker's overrides with their ids",
            });
        }
        self.entry(key, None).ok_or_else(|| breaker_not_found(key))
    }

    /// Forgets a breaker.
    ///
    /// # Errors
    /// The breaker was never seen; the store did not record it.
    pub async fn delete(&self, key: &str, actor: Actor<'_>) -> Result<(), Error> {
        self.have_store()?;
        let until = after(STORE_PATIENCE);
        let handle = self.find(key).ok_or_else(|| breaker_not_found(key))?;
        while let Some(ticket) = self.let_go(handle, Some(actor)) {
            if self.wait(ticket, until).await == Waited::InVain {
                return Err(self.store_unavailable());
            }
        }
        Ok(())
    }

    /// Makes a breaker go with its record: deleted by somebody, or idle, which is no event. `None` where it is gone.
    fn let_go(&self, handle: Handle, actor: Option<Actor<'_>>) -> Option<Ticket> {
        let mut slot = self.shared.registry.lock(handle)?;
        let tenant = slot.tenant();
        if let Some(going) = tenant.going() {
            return Some(going);
        }
        let moment = Moment { now: self.now().max(tenant.used), random: random() };
        self.settle(tenant, handle.index, |tenant| ((), tenant.breaker.handle_timeout(moment)), by_time);
        tenant.used = moment.now;
        let before = tenant.standing();
        let deleted = actor.map(|actor| event_of(tenant, moment.now, before.status, actor));
        let ticket = tenant.go(before, deleted.into_iter().collect(), moment.now);
        drop(slot);
        self.submit_end(handle);
        ticket
    }

    /// The first `max` breakers after a key, in the order of their keys, and one more where there are more.
    #[must_use]
    pub fn list(&self, after: &str, max: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut page = Listed::new();
        self.list_places(0..self.end(), &mut page, max, |key| key > after, wanted);
        page.into_values().collect()
    }

    /// As [`Engine::list`], of breakers whose keys are wanted, for serving threads: it looks at a thousand breakers at a time,
    /// between which the thread does other work, and works for two callers at a time. Others wait.
    ///
    /// # Errors
    /// Too many wait, for all callers or for this one.
    pub async fn page(
        &self,
        after: &str,
        max: usize,
        wanted_key: impl Fn(&str) -> bool,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>, Error> {
        let _place = self.shared.shares.listings.take(&self.holder, 1)?;
        let _turn = self.shared.shares.listing.acquire().await;
        let (mut page, mut start) = (Listed::new(), 0);
        loop {
            let end = self.end().min(start + LISTED_AT_ONCE);
            self.list_places(start..end, &mut page, max, |key| key > after && wanted_key(key), &wanted);
            if end == self.end() {
                return Ok(page.into_values().collect());
            }
            start = end;
            tokio::task::yield_now().await;
        }
    }

    /// Adds the breakers of some places to a page of the first `max` and one more.
    fn list_places(
        &self,
        places: Range<u32>,
        page: &mut Listed,
        max: usize,
        wanted_key: impl Fn(&str) -> bool,
        wanted: impl Fn(&Entry) -> bool,
    ) {
        for index in places {
            let full = page.len() > max;
            let last: Option<Arc<str>> =
                if full { page.last_key_value().map(|(key, _)| Arc::clone(key)) } else { None };
            let is_before = |key: &str| last.as_ref().is_none_or(|last| key < &**last);
            let entry = self.entry_at(index, None, |key| is_before(key) && wanted_key(key));
            if let Some(entry) = entry.filter(|entry| wanted(entry)) {
                page.insert(Arc::clone(&entry.key), entry);
                if page.len() > max + 1 {
                    page.pop_last();
                }
            }
        }
    }

    /// The first events after a sequence, or before it and newest first, of those that are held: the history, in pages.
    #[must_use]
    pub fn events(&self, from: u64, newest_first: bool, max: usize) -> Vec<Arc<Event>> {
        let events = &self.shared.events;
        if newest_first { events.read_back(from, max) } else { events.read_on(from, max) }
    }

    /// Sets the operators' policy for a key or pattern. Returns the entry and how many breakers it changed. Has to be
    /// awaited to its end: breakers follow it then.
    ///
    /// # Errors
    /// A field out of its range, a version that has moved, or too many policies; the store did not record it.
    pub async fn set_policy(
        &self,
        pattern: &str,
        spec: PolicySpec,
        expected: Option<u64>,
        actor: Actor<'_>,
    ) -> Result<(PolicyEntry, u64), Error> {
        let _one_at_a_time = self.shared.policy_writes.lock().await;
        let entry = PolicyEntry {
            pattern: pattern.into(),
            spec,
            version: 0,
            origin: PolicyOrigin::Api,
            actor: actor.name.into(),
            set: self.now(),
        };
        let (entry, replaced, _room) = self.shared.policies.prepare(entry, expected, &self.holder)?;
        self.write_policy(&entry.pattern, replaced, Some(&entry), actor).await?;
        let changed = self.apply_policies(Some(pattern), Cause { actor, ..Cause::default() }).await;
        Ok((entry, changed))
    }

    /// Removes a policy that was set through the API. Returns how many breakers it changed. To be awaited to its end, too.
    ///
    /// # Errors
    /// No such policy, one of the file, or a version that has moved; the store did not record it.
    pub async fn delete_policy(&self, pattern: &str, expected: Option<u64>, actor: Actor<'_>) -> Result<u64, Error> {
        let _one_at_a_time = self.shared.policy_writes.lock().await;
        let replaced = self.shared.policies.prepare_removal(pattern, expected)?;
        self.write_policy(&pattern.into(), replaced, None, actor).await?;
        Ok(self.apply_policies(Some(pattern), Cause { actor, ..Cause::default() }).await)
    }

    /// Stores an operator's policy, or that it is gone, and puts it in force.
    async fn write_policy(
        &self,
        pattern: &Arc<str>,
        from: u64,
        entry: Option<&PolicyEntry>,
        actor: Actor<'_>,
    ) -> Result<(), Error> {
        self.have_store()?;
        let mut floors = self.floors();
        floors.policies += 1;
        let to = entry.map(|entry| Box::new(entry.clone()));
        let change = Change::Policy { pattern: Arc::clone(pattern), from, to };
        let (action, detail) = match entry {
            Some(entry) => (Action::PolicySet, audit::brief(&entry.spec)),
            None => (Action::PolicyDeleted, String::new()),
        };
        let audit = vec![AuditEntry::new(floors.now, actor, action, pattern, detail)];
        let author = self.shared.author;
        let commit = Commit { author, change, events: Vec::new(), audit, floors };
        // Whoever comes next has to know what became of it, so this waits for as long as it takes.
        match self.send(commit).await {
            Ok(()) => self.shared.policies.put(pattern, entry.cloned(), Some(&self.holder)),
            Err(crate::store::Refused::Moved) => {
                let current = self.shared.policies.get(pattern).map_or(0, |entry| entry.version);
                return Err(Error::VersionMoved { expected: from, current });
            }
            Err(refused) => return Err(Error::Store { why: refused.to_string() }),
        }
        Ok(())
    }

    /// Takes what the policy file says now. Returns how many breakers it changed. To be awaited to its end.
    ///
    /// # Errors
    /// A field out of its range; nothing is changed then.
    pub async fn load_policies(&self, file: FilePolicies) -> Result<u64, Error> {
        let _one_at_a_time = self.shared.policy_writes.lock().await;
        self.shared.policies.load_file(file.default, file.by_pattern, self.now())?;
        Ok(self.apply_policies(None, Cause { policy: Some(EventReason::PolicyFile), ..Cause::default() }).await)
    }

    /// The policy that was set for exactly this key or pattern.
    ///
    /// # Errors
    /// No such policy.
    pub fn policy(&self, pattern: &str) -> Result<PolicyEntry, Error> {
        self.shared.policies.get(pattern)
    }

    /// Operators' policies, or those that apply to a key, the strongest first.
    #[must_use]
    pub fn policies(&self, key: Option<&str>) -> Vec<PolicyEntry> {
        self.shared.policies.list(key)
    }

    /// What holds where nobody says anything.
    #[must_use]
    pub fn default_policy(&self) -> Policy {
        self.shared.policies.default_policy()
    }

    /// What is used of the limits.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        Usage {
            breakers: shared.registry.len(),
            request_ids: shared.requests.len(),
            batch_clients: shared.batches.len(),
            callers: shared.callers.len().max(shared.callers_known.load(Ordering::Relaxed)),
            policies: shared.policies.len(),
            tokens: shared.tokens.len(),
            events: shared.events.len(),
            watchers: shared.shares.watchers.used(),
            watch_keys: shared.shares.watch_keys.used(),
            handles: shared.shares.handles.used(),
            ledger_bytes: shared.ledger_bytes.load(Ordering::Relaxed),
            statistics_bytes: shared.statistics_bytes.load(Ordering::Relaxed),
            oldest_sequence: shared.events.oldest(),
            newest_sequence: shared.events.newest(),
        }
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    // ---- What time does --------------------------------------------------------------------------------------------

    /// When the next timer falls due. `None`: no breaker waits for anything.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.shared.timers.next()
    }

    /// Moves a manual clock. Timers that fall due fire in order, each at its own instant. `None` where the clock is the
    /// machine's.
    #[must_use]
    pub fn advance(&self, by: Duration) -> Option<Timestamp> {
        let Clock::Manual(_) = self.shared.clock else { return None };
        let _one_at_a_time = self.shared.advancing.lock();
        let target = self.now().after(by);
        while let Some((at, _)) = self.shared.timers.due(target) {
            self.shared.clock.move_to(at);
            self.fire_due(at.max(self.now()));
        }
        self.shared.clock.move_to(target);
        Some(target)
    }

    fn fire_due(&self, now: Timestamp) {
        self.shared.requests.tidy(now);
        let mut before = None;
        while let Some((at, index)) = self.shared.timers.due(now) {
            // An entry moves when it is served. One that does not would be served for ever.
            if before.replace((at, index)) == Some((at, index)) {
                self.break_loop(at, index, now);
                continue;
            }
            // Where the entry is no more, another thread has just moved it, or emptied the slot, which takes it along.
            let Some(mut slot) = self.shared.registry.lock_index(index) else { continue };
            let handle = slot.handle();
            let tenant = slot.tenant();
            if tenant.scheduled != at {
                continue;
            }
            if tenant.is_waiting_long() || tenant.going().is_some() {
                // Time goes on for it when its moves can be told, if it is still there.
                self.shared.timers.set(index, at, now.after(STORE_PATIENCE));
                tenant.scheduled = now.after(STORE_PATIENCE);
                continue;
            }
            let moment = Moment { now: now.max(tenant.used), random: random() };
            if tenant.breaker.deadline() <= moment.now {
                tenant.used = moment.now;
            }
            let act = |tenant: &mut Tenant| {
                let moves = tenant.breaker.handle_timeout(moment);
                if moves.is_empty() && tenant.folding_due() <= moment.now {
                    // No move, but events that have waited are to be recorded.
                    tenant.breaker.touch();
                }
                ((), moves)
            };
            self.settle(tenant, index, act, by_time);
            let (is_idle, is_stored, is_pending) =
                (self.is_idle(tenant, now), tenant.is_stored, tenant.pending.is_some());
            if !is_idle {
                self.reschedule(tenant, index, now);
                drop(slot);
                if is_pending {
                    self.submit(index);
                }
                continue;
            }
            // It goes by its key, whose lock comes before the slot's.
            let key = tenant.key.to_arc();
            if is_stored {
                // Looked after again in case that takes long.
                self.reschedule(tenant, index, now);
                drop(slot);
                self.let_go(handle, None);
                continue;
            }
            drop(slot);
            if !self.evict(&key, now)
                && let Some(mut slot) = self.shared.registry.lock_index(index)
            {
                self.reschedule(slot.tenant(), index, now);
            }
        }
    }

    fn evict(&self, key: &str, now: Timestamp) -> bool {
        let may_go = |tenant: &mut Tenant| self.is_idle(tenant, now) && !tenant.is_stored;
        self.shared.registry.remove(key, may_go, |index, tenant| self.vacate(index, tenant))
    }

    fn is_idle(&self, tenant: &Tenant, now: Timestamp) -> bool {
        let idle = now.since(tenant.used) >= self.shared.limits.breaker_idle;
        idle && tenant.pending.is_none() && tenant.policy.declaration.is_none() && tenant.breaker.is_at_rest()
    }

    /// Gives back what a tenant no longer needs, and sets its timer anew: its breaker's deadline, or when it should be
    /// looked after.
    fn schedule(&self, tenant: &mut Tenant, index: u32, now: Timestamp) {
        let idle = self.shared.limits.breaker_idle.max(Duration::from_millis(1));
        let is_empty = self.tidy(tenant, now);
        let unused = now.since(tenant.used);
        // One that may not go is looked after ever more seldom, twice as late each time.
        let looked_after = if unused < idle { tenant.used.after(idle) } else { now.after(unused) };
        let aged_out = aged_out(tenant).filter(|aged_out| !is_empty && now < *aged_out);
        let next = tenant.breaker.deadline().min(looked_after).min(aged_out.unwrap_or(Timestamp::NEVER));
        let next = next.min(tenant.folding_due());
        self.shared.timers.set(index, tenant.scheduled, next);
        tenant.scheduled = next;
    }

    /// As [`Engine::schedule`], for a tenant whose deadline has just been served: the next one has to lie ahead. One that was
    /// restored or taken over from another server may have fallen due in the meantime, and is served at once.
    fn reschedule(&self, tenant: &mut Tenant, index: u32, now: Timestamp) {
        self.schedule(tenant, index, now);
        if tenant.scheduled <= now {
            let next = self.made_no_progress(tenant.key.as_str(), tenant.scheduled, now);
            self.shared.timers.set(index, tenant.scheduled, next);
            tenant.scheduled = next;
        }
    }

    /// Frees what has aged out. True where the breaker is as good as new.
    fn tidy(&self, tenant: &mut Tenant, now: Timestamp) -> bool {
        let before = Held::by(tenant);
        let is_new = tenant.breaker.tidy(now);
        tenant.tidy_folding(now);
        self.account(before, tenant);
        is_new
    }

    /// Notes a deadline that was served and still does not lie ahead, which is a fault of this server. Returns when to serve
    /// it again, so that it costs little until the fault is mended.
    #[cold]
    fn made_no_progress(&self, key: &str, deadline: Timestamp, now: Timestamp) -> Timestamp {
        self.shared.measures.timer_stuck();
        let behind = now.since(deadline);
        tracing::error!(
            breaker = key,
            ?behind,
            "timer made no progress; serving it again in {TIMER_PAUSE:?}. Report this as a bug"
        );
        now.after(TIMER_PAUSE)
    }

    /// Moves an entry of the timers that was served and did not move.
    #[cold]
    fn break_loop(&self, at: Timestamp, index: u32, now: Timestamp) {
        let mut slot = self.shared.registry.lock_index(index);
        match slot.as_mut().map(|slot| slot.tenant()).filter(|tenant| tenant.scheduled == at) {
            Some(tenant) => {
                let next = self.made_no_progress(tenant.key.as_str(), at, now);
                self.shared.timers.set(index, at, next);
                tenant.scheduled = next;
            }
            None => {
                self.made_no_progress("none", at, now);
                self.shared.timers.set(index, at, Timestamp::NEVER);
            }
        }
    }

    /// Looks after a tenant as soon as what was counted has aged out.
    #[cold]
    fn schedule_aging(&self, tenant: &mut Tenant, index: u32) {
        if let Some(aged_out) = aged_out(tenant).filter(|aged_out| *aged_out < tenant.scheduled) {
            self.shared.timers.set(index, tenant.scheduled, aged_out);
            tenant.scheduled = aged_out;
        }
    }

    /// Gives back what a tenant holds outside its slot.
    fn vacate(&self, index: u32, tenant: &Tenant) {
        self.shared.timers.set(index, tenant.scheduled, Timestamp::NEVER);
        let held = Held::by(tenant);
        self.shared.ledger_bytes.fetch_sub(held.ledger_bytes, Ordering::Relaxed);
        self.shared.statistics_bytes.fetch_sub(held.statistics_bytes, Ordering::Relaxed);
        self.shared.callers_known.fetch_sub(held.callers, Ordering::Relaxed);
        self.shared.measures.leave(&tenant.breaker.totals());
        self.shared.shares.remove_breaker(&tenant.holder);
    }

    // ---- Details ---------------------------------------------------------------------------------------------------

    fn handle_with(&self, key: &str, declared: Option<&Declaration>) -> Result<Handle, Error> {
        if let Some(handle) = self.find(key) {
            return Ok(handle);
        }
        let shared = &self.shared;
        let now = self.now();
        // One with a record has to leave the store first.
        let stored: Cell<Option<Arc<str>>> = Cell::new(None);
        let may_go = |tenant: &mut Tenant| {
            let may_go = tenant.policy.declaration.is_none() && tenant.pending.is_none() && self.tidy(tenant, now);
            if may_go && tenant.is_stored {
                stored.set(Some(tenant.key.to_arc()));
            }
            may_go && !tenant.is_stored
        };
        let vacate = |index, tenant: &mut Tenant| self.vacate(index, tenant);
        let holder = shared.shares.intern(&self.holder);
        let create = || {
            let mut is_made = false;
            let made = shared.registry.find_or_create(
                key,
                may_go,
                // The slot is locked: who writes a policy now finds the breaker in it after that, and lets it follow.
                |key, generation| {
                    let policy = shared.policies.resolve(key.as_str(), declared);
                    let tenant = Tenant {
                        breaker: Breaker::new(Arc::clone(&policy.policy), generation, now),
                        policy,
                        key,
                        holder: Arc::clone(&holder),
                        sequence: 0,
                        used: now,
                        scheduled: Timestamp::NEVER,
                        is_dirty: false,
                        is_batched: false,
                        is_stored: false,
                        provenance: None,
                        pending: None,
                        folding: None,
                    };
                    (tenant, now)
                },
                |tenant, handle| {
                    is_made = true;
                    self.schedule(tenant, handle.index, now);
                },
                vacate,
            );
            if !is_made {
                shared.shares.breakers.remove(&holder, 1);
            }
            made
        };
        let mut refused = None;
        for _ in 0..ROOM_TRIES {
            if let Err(limit) = shares::add_one(&shared.shares.breakers, &holder) {
                // A holder that has its share makes room among its own breakers, and one that has less among all.
                let own = limit.is_share_used_up() && !shares::is_server(&holder);
                let is_evicted =
                    shared.registry.evict(own, |tenant| (!own || tenant.holder == holder) && may_go(tenant), vacate);
                refused = Some(limit);
                if is_evicted {
                    continue;
                }
            } else if let Some(handle) = create() {
                self.meet_expecting(key, handle);
                return Ok(handle);
            }
            let Some(key) = stored.take() else { break };
            if let Some(idle) = self.find(&key) {
                self.let_go(idle, None);
            }
        }
        shared.shares.release(&holder);
        if let Some(refused) = refused.filter(|refused| !shares::is_server(&refused.holder)) {
            return Err(refused.into());
        }
        Err(self.breaker_limit())
    }

    fn breaker_limit(&self) -> Error {
        limit::BREAKERS.reached(u64::from(self.shared.limits.breakers))
    }

    /// Runs something with the breaker of a key, again where it is evicted in between.
    ///
    /// # Errors
    /// No room for another breaker.
    pub fn always<T>(&self, key: &str, act: impl Fn(Handle) -> Option<T>) -> Result<T, Error> {
        self.always_as(key, None, act)
    }

    fn always_as<T>(
        &self,
        key: &str,
        declared: Option<&Declaration>,
        act: impl Fn(Handle) -> Option<T>,
    ) -> Result<T, Error> {
        for _ in 0..8 {
            if let Some(answer) = act(self.handle_with(key, declared)?) {
                return Ok(answer);
            }
        }
        Err(self.breaker_limit())
    }

    /// Lets a breaker act under its lock and carries out what comes back. `waits` says whether the answer tells of what is
    /// not durable. `None` where there is none of that name.
    fn step<'a, T>(
        &self,
        name: impl Name,
        moment: Moment,
        act: impl FnOnce(&mut Tenant, Moment) -> (T, Vec<Transition>),
        cause: impl FnOnce(&T) -> Cause<'a>,
        waits: impl FnOnce(&Tenant, &T) -> bool,
    ) -> Option<Told<T>> {
        self.step_and(name, moment, act, cause, waits, |index| self.submit(index))
    }

    /// As [`Engine::step`]; `submit` is given the index of a breaker that has something for the store.
    fn step_and<'a, T>(
        &self,
        name: impl Name,
        moment: Moment,
        act: impl FnOnce(&mut Tenant, Moment) -> (T, Vec<Transition>),
        cause: impl FnOnce(&T) -> Cause<'a>,
        waits: impl FnOnce(&Tenant, &T) -> bool,
        submit: impl FnOnce(u32),
    ) -> Option<Told<T>> {
        let mut slot = name.lock(&self.shared.registry)?;
        let handle = slot.handle();
        let index = handle.index;
        let tenant = slot.tenant();
        if let Some(going) = tenant.going() {
            return Some(Told::Again(going));
        }
        // One random number may serve a batch; its breakers still differ. Two threads may read the clock in one order
        // and come here in the other: a breaker's time never goes back.
        let moment = Moment { random: moment.random ^ spread(index), now: moment.now.max(tenant.used) };
        tenant.used = moment.now;
        let (was_dirty, was_batched) = (tenant.is_dirty, tenant.is_batched);
        let (answer, is_raised) = self.settle(tenant, index, |tenant| act(tenant, moment), cause);
        // The end of a permit's lease is a deadline, at which statistics are looked after too; a tally has none.
        if tenant.breaker.deadline() == Timestamp::NEVER {
            self.schedule_aging(tenant, index);
        }
        if was_dirty {
            tenant.is_dirty = true;
        } else if tenant.is_dirty {
            self.shared.dirty.lock().push(handle);
        }
        if was_batched {
            tenant.is_batched = true;
        } else if tenant.is_batched {
            self.shared.batches.counted(handle);
        }
        // Nearly every call.
        if tenant.pending.is_none() {
            return Some(Told::Now(answer));
        }
        let ticket = tenant.ticket().filter(|_| is_raised || waits(tenant, &answer));
        drop(slot);
        submit(index);
        Some(match ticket {
            Some(ticket) if !ticket.is_due() => Told::Later(answer, ticket),
            _ => Told::Now(answer),
        })
    }

    /// Lets a breaker act, and notes what it did for the store. True where it did something that has to be durable before it
    /// is told; who has let go of the slot calls [`Engine::submit`] then.
    fn settle<'a, T>(
        &self,
        tenant: &mut Tenant,
        index: u32,
        act: impl FnOnce(&mut Tenant) -> (T, Vec<Transition>),
        cause: impl FnOnce(&T) -> Cause<'a>,
    ) -> (T, bool) {
        let before = Held::by(tenant);
        let used = self.shared.statistics_bytes.load(Ordering::Relaxed);
        tenant.breaker.set_statistics_room(self.shared.limits.statistics_bytes.saturating_sub(used));
        let standing = tenant.standing();
        let (answer, moves) = act(tenant);
        self.account(before, tenant);
        let mut deadline = tenant.breaker.deadline();
        let is_raised = standing.is_before(tenant);
        if is_raised {
            if !moves.is_empty() {
                // What kept it from going may be over, while it was looked after ever more seldom.
                deadline = deadline.min(tenant.used.after(self.shared.limits.breaker_idle));
            }
            let cause = cause(&answer);
            let detail = cause.detail.map_or_else(String::new, |detail| detail.lock().clone());
            let audit = cause
                .action
                .map(|action| AuditEntry::new(self.now(), cause.actor, action, &tenant.key.to_arc(), detail));
            let events = self.events_of(tenant, moves, cause);
            tenant.note_moves(standing, events, self.now().max(tenant.used));
            tenant.note_action(audit);
        }
        deadline = deadline.min(tenant.folding_due());
        if deadline < tenant.scheduled {
            self.shared.timers.set(index, tenant.scheduled, deadline);
            tenant.scheduled = deadline;
        }
        (answer, is_raised)
    }

    /// Keeps the sums over all breakers, of what a breaker held before and holds now.
    fn account(&self, before: Held, tenant: &Tenant) {
        let now = Held::by(tenant);
        let note = |sum: &AtomicUsize, before: usize, now: usize| {
            if now != before {
                // Wraps on the way down, as it should.
                sum.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        note(&self.shared.callers_known, before.callers, now.callers);
        note(&self.shared.ledger_bytes, before.ledger_bytes, now.ledger_bytes);
        note(&self.shared.statistics_bytes, before.statistics_bytes, now.statistics_bytes);
    }

    /// Makes events of moves. The cause is behind the last move, and behind all that were requested: a reset restores isolated
    /// callers first. The other moves came with time.
    fn events_of(&self, tenant: &Tenant, moves: Vec<Transition>, cause: Cause<'_>) -> Vec<Event> {
        let last = moves.len().saturating_sub(1);
        let events = moves.into_iter().enumerate().map(|(index, transition)| {
            let is_caused = index == last || transition.reason == Reason::Requested;
            let cause = if is_caused { cause } else { Cause::default() };
            let reason = cause.policy.filter(|_| transition.kind == Kind::PolicyChanged);
            let scope = transition.caller;
            Event {
                from: transition.from,
                to: transition.to,
                kind: EventKind::Moved(transition.kind),
                reason: reason.unwrap_or(EventReason::Breaker(transition.reason)),
                names: self.names(&transition),
                evidence: transition.evidence,
                caller: self.shared.callers.name(scope.map_or(cause.caller, |scope| scope.caller)),
                scope,
                error_class: cause.error_class.into(),
                ..event_of(tenant, transition.at, transition.status, cause.actor)
            }
        });
        events.collect()
    }

    /// The names of the callers that a move is about.
    fn names(&self, transition: &Transition) -> Box<[(CallerId, Arc<str>)]> {
        let evidence = transition.evidence.as_ref().and_then(|evidence| evidence.callers.as_ref());
        let parts = evidence.into_iter().flat_map(|callers| callers.with.iter().chain(&callers.without));
        let ids = parts.map(|part| part.caller).chain(transition.caller.map(|scope| scope.caller));
        ids.filter_map(|id| Some((id, self.shared.callers.name(id)?))).collect()
    }

    /// Gives a breaker the policy that is in force for it now, if that is another one.
    fn follow_policies(&self, tenant: &mut Tenant, moment: Moment, declared: Option<&Declaration>) -> Vec<Transition> {
        let resolved = self.shared.policies.resolve(tenant.key.as_str(), declared);
        if resolved.is_same(&tenant.policy) {
            return Vec::new();
        }
        if resolved.policy == tenant.policy.policy {
            // Made of something else, which is no event: what the last one told as the version stays.
            let resolved = Resolved { version: tenant.policy.version, ..(*resolved).clone() };
            tenant.policy = self.shared.policies.share(resolved);
            return Vec::new();
        }
        tenant.policy = resolved;
        self.assign_services(tenant);
        tenant.breaker.set_policy(moment, Arc::clone(&tenant.policy.policy)).transitions
    }

    /// Lets every breaker that a pattern matches follow the policies as they are now, and waits now and then for the store to
    /// keep up. Returns how many have another policy.
    async fn apply_policies(&self, pattern: Option<&str>, cause: Cause<'_>) -> u64 {
        let moment = self.moment();
        let mut changed = 0;
        for index in 0..self.end() {
            let (is_changed, ticket) = self.apply_policies_at(index, pattern, moment, cause).unwrap_or_default();
            changed += u64::from(is_changed);
            if let Some(ticket) = ticket {
                self.submit(index);
                if changed.is_multiple_of(POLICIES_AT_ONCE) {
                    self.wait(ticket, after(STORE_PATIENCE)).await;
                }
            }
        }
        changed
    }

    fn apply_policies_at(
        &self,
        index: u32,
        pattern: Option<&str>,
        moment: Moment,
        cause: Cause<'_>,
    ) -> Option<(bool, Option<Ticket>)> {
        let mut slot = self.shared.registry.lock_index(index)?;
        let tenant = slot.tenant();
        if tenant.going().is_some() || !pattern.is_none_or(|pattern| matches(pattern, tenant.key.as_str())) {
            return None;
        }
        let moment = Moment { now: moment.now.max(tenant.used), ..moment };
        let before = Arc::clone(tenant.breaker.policy());
        let declared = tenant.policy.declaration.clone();
        let act = |tenant: &mut Tenant| ((), self.follow_policies(tenant, moment, declared.as_ref()));
        let ((), is_raised) = self.settle(tenant, index, act, |()| cause);
        Some((before != *tenant.breaker.policy(), tenant.ticket().filter(|_| is_raised)))
    }

    /// Where a breaker stands, and a caller with it.
    #[must_use]
    pub fn entry(&self, key: &str, caller: Option<CallerId>) -> Option<Entry> {
        self.entry_of(key, caller)
    }

    fn entry_of(&self, name: impl Name, caller: Option<CallerId>) -> Option<Entry> {
        let mut slot = name.lock(&self.shared.registry)?;
        Some(told_entry(slot.tenant(), self.now(), caller))
    }

    fn entry_at(&self, index: u32, caller: Option<CallerId>, wanted: impl Fn(&str) -> bool) -> Option<Entry> {
        let mut slot = self.shared.registry.lock_index(index)?;
        let tenant = slot.tenant();
        wanted(tenant.key.as_str()).then(|| told_entry(tenant, self.now(), caller))
    }

    /// As [`Engine::entry`], of what the log has recorded: a watcher learns of the rest by events.
    fn logged_entry(&self, key: &str, caller: Option<CallerId>) -> Option<Entry> {
        let mut slot = self.shared.registry.lock_key(key)?;
        Some(logged_entry(slot.tenant(), self.now(), caller))
    }

    fn logged_entry_at(&self, index: u32, caller: Option<CallerId>, wanted: impl Fn(&str) -> bool) -> Option<Entry> {
        let mut slot = self.shared.registry.lock_index(index)?;
        let tenant = slot.tenant();
        wanted(tenant.key.as_str()).then(|| logged_entry(tenant, self.now(), caller))
    }

    fn end(&self) -> u32 {
        self.shared.registry.end()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.forget_expected();
    }
}

/// What a breaker holds of what all breakers together are bounded by.
#[derive(Clone, Copy, Default)]
struct Held {
    ledger_bytes: usize,
    statistics_bytes: usize,
    callers: usize,
}

impl Held {
    fn by(tenant: &Tenant) -> Self {
        Self {
            ledger_bytes: tenant.breaker.ledger_bytes(),
            statistics_bytes: tenant.breaker.statistics_bytes(),
            callers: tenant.breaker.callers_known(),
        }
    }
}

/// The service of a caller: its name up to the first `/`.
fn service(caller: &str) -> &str {
    caller.split('/').next().unwrap_or_default()
}

/// When all that a tenant's breaker has counted so far will have aged out, if by time it does.
fn aged_out(tenant: &Tenant) -> Option<Timestamp> {
    let policy = tenant.breaker.policy();
    match policy.window {
        WindowSpec::Time { duration, .. } => {
            Some(tenant.used.after(duration.max(policy.monitoring_period.unwrap_or_default())))
        }
        WindowSpec::Count(_) => None,
    }
}

fn acquired(tenant: &Tenant, now: Timestamp, caller: CallerId, decision: Decision) -> Acquired {
    Acquired {
        decision,
        at: now.max(tenant.used),
        state: tenant.breaker.state().name(),
        generation: tenant.breaker.generation(),
        caller_generation: match decision {
            Decision::Permitted(permit) => permit.caller_generation,
            Decision::Rejected { .. } => tenant.breaker.caller_scope(caller).1,
        },
        forced: tenant.breaker.forced(),
        is_provisional: false,
    }
}

fn entry(tenant: &mut Tenant, now: Timestamp, caller: Option<CallerId>) -> Entry {
    let now = now.max(tenant.used);
    Entry {
        key: tenant.key.to_arc(),
        sequence: tenant.sequence,
        policy_version: tenant.policy.version,
        status: tenant.breaker.status(now),
        caller: caller.and_then(|caller| tenant.breaker.caller_status(caller, now)),
        callers_isolated: tenant.breaker.callers_isolated(),
    }
}

/// As [`entry`], of what has been told.
fn told_entry(tenant: &mut Tenant, now: Timestamp, caller: Option<CallerId>) -> Entry {
    let told = tenant.told().copied();
    let caller = caller.filter(|caller| !tenant.has_caller_untold(*caller));
    let entry = entry(tenant, now, caller);
    match told {
        Some(told) => Entry {
            status: told.status,
            policy_version: told.policy_version,
            callers_isolated: told.callers_isolated,
            ..entry
        },
        None => entry,
    }
}

/// As [`told_entry`], of what the log has recorded.
fn logged_entry(tenant: &mut Tenant, now: Timestamp, caller: Option<CallerId>) -> Entry {
    let logged = tenant.logged();
    let caller = caller.filter(|caller| !tenant.has_caller_folded(*caller));
    let entry = told_entry(tenant, now, caller);
    match logged {
        Some((status, policy_version)) => Entry { status, policy_version, ..entry },
        None => entry,
    }
}

fn view(tenant: &mut Tenant, now: Timestamp) -> View {
    View {
        entry: entry(tenant, now, None),
        window: tenant.breaker.counts(now),
        totals: tenant.breaker.totals(),
        policy: Arc::clone(&tenant.policy),
        declared_revision: tenant.policy.declaration.as_ref().map(|declared| declared.revision),
        provenance: tenant.provenance.as_deref().cloned(),
        overrides: tenant.breaker.overrides().to_vec(),
        state: tenant.breaker.state().clone(),
        probes_out: tenant.breaker.probes().len(),
        failed_recoveries: tenant.breaker.failed_recoveries(),
        created: Timestamp::default(),
        deadline: tenant.breaker.deadline(),
        last_event: None,
        callers: tenant.breaker.callers(now),
        quorum: u32::try_from(tenant.breaker.quorum()).unwrap_or(u32::MAX),
    }
}

/// The parts of an event that are the same for all kinds.
fn event_of(tenant: &Tenant, at: Timestamp, status: Status, actor: Actor<'_>) -> Event {
    Event {
        sequence: 0,
        kind: EventKind::Deleted,
        key: tenant.key.to_arc(),
        from: status.state,
        to: status.state,
        reason: EventReason::Breaker(crate::breaker::Reason::Requested),
        evidence: None,
        caller: None,
        scope: None,
        names: Box::default(),
        error_class: Box::default(),
        actor: actor.name.into(),
        comment: actor.comment.into(),
        at,
        policy_version: tenant.policy.version,
        status,
        moves: 1,
        first_at: None,
    }
}

/// Stored breakers that are made to go before a new one is refused. Where the store takes its time, the next ones find room.
const ROOM_TRIES: usize = 8;

/// Most breakers that the answer to a batch lists, below 1 MiB: an entry is at most 1,000 bytes. A client learns of the others by
/// its watch, or by the answers to its next batches.
const CHANGED_MAX: usize = 1_000;

/// How much of a batch is counted at a time, in units of an average tally's work: some tens of microseconds.
const PART_WORK: u64 = 16;

/// Calls of a tally that are about as much work as an average tally. A tally of more calls than a window has places is no more work
/// than one that fills it.
const CALLS_OF_ONE_WORK: u64 = 16_384;

/// Entries in the order of their keys.
type Listed = BTreeMap<Arc<str>, Entry>;

/// Breakers that a listing looks at before other work of the thread has its turn.
const LISTED_AT_ONCE: u32 = 1_024;

/// Breakers that are looked up at a time.
const LOOKUPS_AT_ONCE: usize = 1_000;

/// How long a timer that makes no progress is put off.
const TIMER_PAUSE: Duration = Duration::from_secs(1);

/// Breakers that follow a policy before the store has to have caught up.
const POLICIES_AT_ONCE: u64 = 1_000;

/// The first part of a batch that is counted at a time: at least one tally, if there is one.
fn part_of<'a, 'b>(tallies: &'a [CallerTally<'b>]) -> &'a [CallerTally<'b>] {
    let mut work = 0;
    let fits = |tally: &&CallerTally<'_>| {
        let is_first = work == 0;
        work += 1 + tally.tally.counted().min(u64::from(WINDOW_CALLS_MAX)) / CALLS_OF_ONE_WORK;
        is_first || work <= PART_WORK
    };
    let count = tallies.iter().take_while(fits).count();
    &tallies[..count]
}

/// Time alone is behind the moves, not whoever happened to come by.
fn by_time<T>(_: &T) -> Cause<'static> {
    Cause::default()
}

fn breaker_not_found(key: &str) -> Error {
    Error::NotFound {
        reason: "BREAKER_NOT_FOUND",
        what: "breaker",
        name: key.to_owned(),
        advice: "an Acquire or Declare makes it",
    }
}

/// A random number for jitter: unlike those before it, and hard enough to guess for that. Secrets need more.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(rand::random());
    }
    let state = STATE.get();
    STATE.set(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
    mix(state)
}

/// A line for every event.
fn log(events: &[Arc<Event>]) {
    for event in events {
        tracing::info!(
            target: "fuseboard::event",
            breaker = %event.key,
            sequence = event.sequence,
            generation = event.status.generation,
            from = event.from.name(),
            to = event.to.name(),
            reason = event.reason.name(),
            caller = event.caller.as_deref(),
            moves = (event.moves > 1).then_some(event.moves),
            actor = non_empty(&event.actor),
            comment = non_empty(&event.comment),
            "{}",
            event.kind.name(),
        );
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now<T>(told: Told<T>) -> T {
        told.now().unwrap()
    }

    fn engine() -> Engine {
        let clock = Clock::manual(Timestamp::from_nanos(1_577_836_800_000_000_000));
        Engine::new(clock, Limits::default(), PolicySpec::default()).unwrap()
    }

    /// Whether a breaker has memory for statistics, or for permits.
    fn holds(engine: &Engine, key: &str) -> (bool, bool) {
        let mut slot = engine.shared.registry.lock_key(key).unwrap();
        let breaker = &slot.tenant().breaker;
        (breaker.snapshot().window.is_some(), breaker.deadline() != Timestamp::NEVER)
    }

    fn call(engine: &Engine, key: &str, lease: Duration) {
        let caller = CallerId::default();
        let acquired =
            engine.acquire_by_key(engine.moment(), key, caller, RequestId::default(), Some(lease)).map(now).unwrap();
        let Decision::Permitted(permit) = acquired.decision else { panic!("rejected") };
        let report = Report::of(Outcome::Success);
        assert_eq!(
            engine.report_by_key(engine.moment(), key, &permit, &report, "").now().unwrap().reported,
            Reported::Counted
        );
    }

    #[test]
    fn a_breaker_gives_its_memory_back_when_what_it_counted_has_aged_out() {
        let engine = engine();
        call(&engine, "short-lease", SECOND);
        call(&engine, "long-lease", 60 * SECOND);
        let tally = Tally { generation: 1, successes: 1, ..Tally::default() };
        let tallies = [CallerTally { key: "tallied", caller: CallerId::default(), tally }];
        engine.report_batch("sdk", 1, &tallies).now_or_never().unwrap().unwrap();
        assert_eq!(holds(&engine, "short-lease"), (true, true));
        assert_eq!(holds(&engine, "tallied"), (true, false));

        engine.advance(2 * SECOND).unwrap();
        assert_eq!(holds(&engine, "short-lease"), (true, false));
        engine.advance(29 * SECOND).unwrap();
        assert_eq!(holds(&engine, "short-lease"), (false, false));
        assert_eq!(holds(&engine, "tallied"), (false, false));
        engine.advance(30 * SECOND).unwrap();
        assert_eq!(holds(&engine, "long-lease"), (false, false));
        assert_eq!(engine.usage().breakers, 3);
    }

    #[test]
    fn a_timer_that_makes_no_progress_is_counted_and_stops_nothing() {
        let engine = engine();
        // An entry without a breaker, as a fault elsewhere could leave it.
        engine.shared.timers.set(7, Timestamp::NEVER, engine.now().after(SECOND));
        engine.advance(2 * SECOND).unwrap();
        assert_eq!((engine.shared.timers.next(), engine.measured().timers_stuck), (None, 1));

        // A deadline that is served and stays where it was.
        let handle = engine.handle("a").unwrap();
        let past = engine.now();
        let mut slot = engine.shared.registry.lock_index(handle.index).unwrap();
        let next = engine.made_no_progress(slot.tenant().key.as_str(), past, engine.now());
        drop(slot);
        assert_eq!((next, engine.measured().timers_stuck), (past.after(TIMER_PAUSE), 2));
        engine.advance(Duration::from_secs(4000)).unwrap();
        assert_eq!(engine.usage().breakers, 0, "time goes on for the others");
    }

    #[test]
    fn a_breaker_that_was_never_asked_is_not_looked_after_until_it_is_idle() {
        let engine = engine();
        engine.handle("a").unwrap();
        assert_eq!(engine.shared.timers.next(), Some(engine.now().after(engine.limits().breaker_idle)));
    }
}
