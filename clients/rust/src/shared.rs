//! What the handles and the tasks of one client share.
//!
//! Invariants: the link's state is locked before a breaker's memory, never after it; nothing of the user's runs while
//! either is locked; no lock is held over an await.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    Event, Observer, Options, OverrideMode, Reason, Rejection, Report, State,
    channel::Connection,
    core::{Core, Leave, Ticket},
    events::EVENTS_KEPT,
    link::{Latch, Link},
    pb,
    tally::Budget,
    testing::Script,
    view::{Answer, View},
    wire,
};

pub(crate) struct Shared {
    pub(crate) options: Options,
    /// Names this client in batches, over reconnects.
    pub(crate) id: String,
    born: Instant,
    closed: AtomicBool,
    /// `close` has begun.
    pub(crate) closing: CancellationToken,
    /// The tasks are to end.
    pub(crate) ended: CancellationToken,
    pub(crate) connection: Connection,
    pub(crate) link: Link,
    /// There are breakers that no watch covers.
    pub(crate) uncovered: Notify,
    /// There are policies to declare or to ask for.
    pub(crate) policies_due: Notify,
    /// When the watch last said something, in nanoseconds of `now`.
    heard_at: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) resyncs: AtomicU64,
    pub(crate) breakers: RwLock<Breakers>,
    /// The room for pending tallies.
    pub(crate) budget: Arc<Budget>,
    pub(crate) events: Mutex<Option<broadcast::Sender<Event>>>,
    /// Decides in the place of a server, for a fake.
    pub(crate) script: Option<Arc<Script>>,
}

/// A client's breakers, by key and in the order of their handles.
#[derive(Default)]
pub(crate) struct Breakers {
    pub(crate) by_key: HashMap<String, Arc<Core>>,
    pub(crate) listed: Arc<Vec<Arc<Core>>>,
}

impl Shared {
    pub(crate) fn new(options: Options, script: Option<Arc<Script>>) -> Result<Self, crate::Error> {
        Ok(Self {
            connection: Connection::new(&options)?,
            options,
            id: format!("{:032x}", rand::random::<u128>()),
            #[expect(clippy::disallowed_methods, reason = "time starts here")]
            born: Instant::now(),
            closed: AtomicBool::new(false),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            link: Link::default(),
            uncovered: Notify::new(),
            policies_due: Notify::new(),
            heard_at: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            breakers: RwLock::default(),
            budget: Arc::default(),
            events: Mutex::new(Some(broadcast::channel(EVENTS_KEPT).0)),
            script,
        })
    }

    /// The client's time.
    pub(crate) fn now(&self) -> Duration {
        self.options.clock.as_ref().map_or_else(|| self.born.elapsed(), |clock| clock())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// True the first time.
    pub(crate) fn begin_closing(&self) -> bool {
        let is_first = !self.closed.swap(true, Relaxed);
        self.closing.cancel();
        is_first
    }

    pub(crate) fn cores(&self) -> Arc<Vec<Arc<Core>>> {
        Arc::clone(&self.breakers.read().listed)
    }

    pub(crate) fn find(&self, key: &str) -> Option<Arc<Core>> {
        self.breakers.read().by_key.get(key).cloned()
    }

    /// The watch has said something.
    pub(crate) fn heard(&self) {
        self.heard_at.store(u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long ago the watch said something.
    pub(crate) fn staleness(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.heard_at.load(Relaxed)))
    }

    pub(crate) fn is_fresh(&self, core: &Core, now: Duration) -> bool {
        core.is_covered() && self.staleness(now) <= self.options.staleness_max()
    }

    // Decisions.

    /// Waits, as `execute` does, for the answer to the last decisive outcome, so that the view has what it made of the
    /// breaker. An answer that did not come is waited for once.
    pub(crate) async fn wait_for_decisive(&self, core: &Core) {
        let Some(awaited) = core.awaited() else { return };
        if !awaited.answered.is_cancelled() {
            if !self.is_usable() || self.is_closed() {
                return;
            }
            self.wait_for(&awaited.answered).await;
        }
        core.has_awaited(&awaited);
    }

    /// Decides without waiting; none where the server has to be asked.
    pub(crate) fn decide_here(&self, core: &Core) -> Option<Result<Ticket, Rejection>> {
        let now = self.now();
        if let Some(script) = &self.script {
            return Some(core.decided_by_fake(script.refusal(&core.key), now));
        }
        if self.is_closed() {
            return Some(core.decide_without_server(now));
        }
        let decided = core.decide(self.is_fresh(core, now), self.is_usable(), now)?;
        if decided.begins_tally {
            self.gather();
        }
        Some(decided.decision)
    }

    /// Asks the server, at most `acquire_timeout`; then, or where it cannot be asked, `when_unavailable` decides.
    pub(crate) async fn decide_by_asking(&self, core: &Arc<Core>) -> Result<Ticket, Rejection> {
        let asking = tokio::time::timeout(self.options.acquire_timeout, self.answer(core));
        let answer = tokio::select! {
            answer = asking => answer.unwrap_or_else(|_| {
                self.link.settled.cancel();
                self.become_unusable();
                None
            }),
            () = self.closing.cancelled() => None,
        };
        match answer {
            Some(answer) => core.decided(answer, self.now()),
            None => core.decide_without_server(self.now()),
        }
    }

    async fn answer(&self, core: &Arc<Core>) -> Option<pb::SessionAcquired> {
        if !self.is_usable() {
            self.link.settled.cancelled().await;
        }
        self.ask(core)?.answer().await
    }

    /// Takes what an answer to an acquire says of the breaker.
    pub(crate) fn apply_acquired(&self, core: &Core, acquired: &pb::SessionAcquired) {
        if !acquired.provisional {
            let reason = Reason::from_wire(acquired.reason);
            let retry_after = acquired.retry_after.map_or(Duration::ZERO, wire::duration);
            let answer = Answer {
                state: State::from_wire(acquired.state),
                generation: acquired.generation,
                override_mode: OverrideMode::from_wire(acquired.override_mode),
                caller_state: None,
                caller_generation: acquired.caller_generation,
                rejection: reason.map(|reason| (reason, retry_after)),
            };
            self.apply(core, |view, now| view.apply_answer(&answer, now));
        }
        if !core.told.swap(true, Relaxed) && core.declared.is_none() {
            self.refresh_policy(core);
        }
    }

    /// Changes what is known of a breaker, and asks for its policy where that is another.
    pub(crate) fn apply(&self, core: &Core, change: impl FnOnce(&mut View, Duration)) {
        let now = self.now();
        if core.apply(|view| change(view, now)) {
            self.refresh_policy(core);
        }
    }

    pub(crate) fn refresh_policy(&self, core: &Core) {
        core.policy_due.store(true, Relaxed);
        self.policies_due.notify_one();
    }

    // Outcomes.

    /// Takes the outcome of a permitted call. The latch is for those who wait for the server's answer.
    pub(crate) fn finish(&self, core: &Arc<Core>, ticket: Ticket, report: Report) -> Option<Latch> {
        let now = self.now();
        let report = report.bounded(now.saturating_sub(ticket.at));
        self.observe(|observer| observer.finished(&core.key, &report));
        let generations = ticket.generations;
        match ticket.leave {
            Leave::Cached { .. } if self.is_closed() => {
                core.drop_report();
                None
            }
            Leave::Cached { local } if report.moves() => self.tell_failure(core, generations, local, &report, now),
            Leave::Cached { local } => {
                if core.count(generations, local, &report, self.is_usable(), now).begins_tally {
                    self.gather();
                }
                None
            }
            Leave::Server { permit, lease_end, is_probe } => {
                self.report(core, generations, permit, lease_end, is_probe, &report)
            }
            Leave::Local(local) => {
                core.count_unreported(generations, Some(local), &report, now);
                None
            }
            Leave::Unavailable => {
                core.count_unreported(generations, None, &report, now);
                None
            }
            Leave::Fake => {
                if let Some(script) = &self.script {
                    script.reported(&core.key, report.outcome);
                }
                None
            }
        }
    }

    // Who listens.

    pub(crate) fn publish(&self, event: Event) {
        self.observe(|observer| observer.happened(&event));
        if let Some(events) = &*self.events.lock() {
            // Nobody subscribes, perhaps.
            let _ = events.send(event);
        }
    }

    /// Calls the observer, where there is one, and survives what it does.
    pub(crate) fn observe(&self, call: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.options.observer
            && catch_unwind(AssertUnwindSafe(|| call(&**observer))).is_err()
        {
            error!("the observer panicked");
        }
    }
}
