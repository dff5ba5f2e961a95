//! One breaker as a client keeps it: what is known, what was decided here and not told yet, the local breaker, and how
//! they decide. No I/O and no clock: `now` is an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    BreakerOptions, Mode, Options, Outcome, Reason, Rejection, Report, Source, State, WhenUnavailable,
    link::Latch,
    local::{Grant, LocalBreaker, LocalRules, Run},
    pb,
    policy::has_window_rule,
    stats::Account,
    tally::{Budget, Lost, Tallies, Tally},
    view::{Verdict, View},
    wire,
};

/// What a rejection tells to wait while the server cannot be asked: by then it was asked at least once more.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// One breaker of a client.
pub(crate) struct Core {
    pub(crate) key: String,
    /// Its number in sessions.
    pub(crate) handle: u32,
    pub(crate) mode: Mode,
    pub(crate) when_unavailable: WhenUnavailable,
    pub(crate) call_timeout: Option<Duration>,
    /// The policy to declare, and the declaration's revision.
    pub(crate) declared: Option<pb::Policy>,
    pub(crate) revision: u64,
    /// A watch that names this breaker has spoken.
    pub(crate) covered: AtomicBool,
    /// The server has taken the declaration, or refused it for good, in this session.
    pub(crate) is_declared: AtomicBool,
    /// Its policy is to be asked for.
    pub(crate) policy_due: AtomicBool,
    /// The server has said where the breaker stands.
    pub(crate) told: AtomicBool,
    /// The next acquire waits for an answer, which the memory has.
    is_awaiting: AtomicBool,
    /// A leaf, but that the link's state may be locked when it is.
    memory: Mutex<Memory>,
}

struct Memory {
    view: View,
    tallies: Tallies,
    /// This client's last failures without a success in between.
    run: Run,
    /// The answer to the last decisive outcome, under a number of its own.
    awaited: Option<Awaited>,
    awaited_seen: u64,
    local: Option<LocalBreaker>,
    /// Which local breaker stands in, or was the last to: its grants are no other's.
    stand_in: u64,
    rules: LocalRules,
    /// Any failure may trip the breaker, as far as is known here.
    is_suspect: bool,
    /// Calls that take at least so long are slow.
    slow_after: Option<Duration>,
    /// Version of the policy that is known, raised to 1; 0: none is.
    policy_at: u64,
    account: Account,
}

/// An answer that the next acquire waits for.
#[derive(Clone)]
pub(crate) struct Awaited {
    number: u64,
    pub(crate) answered: Latch,
}

/// Leave for one call, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// When it was given.
    pub(crate) at: Duration,
    /// Those that it was decided under.
    pub(crate) generations: (u64, u64),
    pub(crate) leave: Leave,
}

#[derive(Debug)]
pub(crate) enum Leave {
    /// Decided from memory; by the local breaker too, where it stands in.
    Cached {
        local: Option<LocalLeave>,
    },
    /// Given by the server. A probe's outcome may move a half-open breaker, or a half-open caller.
    Server {
        permit: Vec<u8>,
        lease_end: Duration,
        is_probe: bool,
    },
    Local(LocalLeave),
    Unavailable,
    /// Given by a fake.
    Fake,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalLeave {
    stand_in: u64,
    grant: Grant,
}

impl Ticket {
    pub(crate) const fn source(&self) -> Source {
        match self.leave {
            Leave::Cached { .. } => Source::Cached,
            Leave::Server { .. } | Leave::Fake => Source::Server,
            Leave::Local(_) => Source::Local,
            Leave::Unavailable => Source::Unavailable,
        }
    }
}

/// What a decision came to, and whether a tally has begun with it that somebody has to see to.
pub(crate) struct Decided {
    pub(crate) decision: Result<Ticket, Rejection>,
    pub(crate) begins_tally: bool,
}

/// What became of an outcome.
pub(crate) struct Counted {
    /// A tally has begun with it.
    pub(crate) begins_tally: bool,
    /// The server's answer to it may be a trip.
    pub(crate) is_decisive: bool,
}

impl Core {
    pub(crate) fn new(key: &str, handle: u32, options: BreakerOptions, client: &Options, budget: Arc<Budget>) -> Self {
        let declared = options.policy.map(|policy| policy.message());
        let mut memory = Memory::new(Tallies::new(key, budget));
        if let Some(policy) = &declared {
            memory.follow(policy);
        }
        Self {
            key: key.to_owned(),
            handle,
            mode: options.mode.unwrap_or(client.mode),
            when_unavailable: options.when_unavailable.unwrap_or(client.when_unavailable),
            call_timeout: options.call_timeout,
            declared,
            revision: options.revision,
            covered: AtomicBool::new(false),
            is_declared: AtomicBool::new(false),
            policy_due: AtomicBool::new(false),
            told: AtomicBool::new(false),
            is_awaiting: AtomicBool::new(false),
            memory: Mutex::new(memory),
        }
    }

    // Deciding.

    /// Permits or rejects from memory; none where the server has to be asked.
    pub(crate) fn decide(&self, is_fresh: bool, is_usable: bool, now: Duration) -> Option<Decided> {
        if self.mode != Mode::Cached {
            return None;
        }
        let mut memory = self.memory.lock();
        let generations = memory.view.generations();
        let view = &memory.view;
        match view.decide(is_fresh, now) {
            Verdict::Permit => {
                let mut local = None;
                if !is_usable && self.when_unavailable == WhenUnavailable::Local {
                    match self.ask_local(&mut memory, now) {
                        Ok(leave) => local = Some(leave),
                        Err(rejection) => return Some(Decided { decision: Err(rejection), begins_tally: false }),
                    }
                }
                memory.account.permits.add(Source::Cached);
                let ticket = Ticket { at: now, generations, leave: Leave::Cached { local } };
                Some(Decided { decision: Ok(ticket), begins_tally: false })
            }
            Verdict::Reject { reason, retry_after } => {
                let rejection = self.rejection(reason, retry_after, view.breaker.state, Source::Cached);
                memory.account.rejections.add(Source::Cached);
                let begins_tally = memory.tallies.is_empty();
                memory.tally(generations, now).rejections += 1;
                Some(Decided { decision: Err(rejection), begins_tally })
            }
            Verdict::Ask => None,
        }
    }

    /// Decides while the server cannot be asked.
    pub(crate) fn decide_without_server(&self, now: Duration) -> Result<Ticket, Rejection> {
        let mut memory = self.memory.lock();
        let leave = match self.when_unavailable {
            WhenUnavailable::Local => {
                let leave = self.ask_local(&mut memory, now)?;
                memory.account.permits.add(Source::Local);
                Leave::Local(leave)
            }
            WhenUnavailable::Permit => {
                memory.account.permits.add(Source::Unavailable);
                Leave::Unavailable
            }
            WhenUnavailable::Reject => {
                memory.account.rejections.add(Source::Unavailable);
                let state = memory.view.breaker.state;
                return Err(self.rejection(Reason::Unavailable, UNAVAILABLE_RETRY_AFTER, state, Source::Unavailable));
            }
        };
        Ok(Ticket { at: now, generations: memory.view.generations(), leave })
    }

    fn ask_local(&self, memory: &mut Memory, now: Duration) -> Result<LocalLeave, Rejection> {
        let answer = memory.stand_in(now).acquire(now);
        answer.map(|grant| LocalLeave { stand_in: memory.stand_in, grant }).map_err(|refusal| {
            memory.account.rejections.add(Source::Local);
            self.rejection(refusal.reason, refusal.retry_after, Some(refusal.state), Source::Local)
        })
    }

    /// The server's answer to an acquire, as the decision.
    pub(crate) fn decided(&self, answer: pb::SessionAcquired, now: Duration) -> Result<Ticket, Rejection> {
        let mut memory = self.memory.lock();
        let state = State::from_wire(answer.state);
        if answer.decision() == pb::Decision::Permitted {
            memory.account.permits.add(Source::Server);
            // A caller that is not known to be closed is being probed itself.
            let is_probe =
                state == Some(State::HalfOpen) || memory.view.caller.state.is_some_and(|state| state != State::Closed);
            let lease_end = now + answer.lease.map_or(Duration::ZERO, wire::duration);
            let generations = if answer.provisional {
                memory.view.generations()
            } else {
                (answer.generation, answer.caller_generation)
            };
            let leave = Leave::Server { permit: answer.permit, lease_end, is_probe };
            return Ok(Ticket { at: now, generations, leave });
        }
        memory.account.rejections.add(Source::Server);
        // A reason that this client does not know is the server's no all the same.
        let reason = Reason::from_wire(answer.reason).unwrap_or(Reason::Open);
        Err(self.rejection(reason, answer.retry_after.map_or(Duration::ZERO, wire::duration), state, Source::Server))
    }

    /// A fake's decision.
    pub(crate) fn decided_by_fake(
        &self,
        refused: Option<(Reason, Duration, State)>,
        now: Duration,
    ) -> Result<Ticket, Rejection> {
        let mut memory = self.memory.lock();
        if let Some((reason, retry_after, state)) = refused {
            memory.account.rejections.add(Source::Server);
            return Err(self.rejection(reason, retry_after, Some(state), Source::Server));
        }
        memory.account.permits.add(Source::Server);
        Ok(Ticket { at: now, generations: (0, 0), leave: Leave::Fake })
    }

    fn rejection(&self, reason: Reason, retry_after: Duration, state: Option<State>, source: Source) -> Rejection {
        Rejection { breaker: self.key.clone(), reason, retry_after, state, source }
    }

    // Outcomes.

    /// Counts the outcome of a call that was decided from memory.
    pub(crate) fn count(
        &self,
        generations: (u64, u64),
        local: Option<LocalLeave>,
        report: &Report,
        is_usable: bool,
        now: Duration,
    ) -> Counted {
        let mut memory = self.memory.lock();
        let begins_tally = memory.tallies.is_empty();
        let took = report.duration.unwrap_or_default();
        let is_slow = memory.slow_after.is_some_and(|slow_after| took >= slow_after);
        memory.tally(generations, now).add(report, is_slow);
        if !is_usable && self.when_unavailable == WhenUnavailable::Local {
            match local {
                Some(leave) => memory.tell_local(leave, report.local_outcome(), now),
                None if memory.view.is_past(generations) => {}
                None => memory.stand_in(now).observe(report.local_outcome(), now),
            }
        }
        Counted { begins_tally, is_decisive: memory.record(generations, report, now) }
    }

    /// Takes the outcome of a permit of the server's into the run. True: the server's answer to it may be a trip.
    pub(crate) fn record(&self, generations: (u64, u64), report: &Report, now: Duration) -> bool {
        self.memory.lock().record(generations, report, now)
    }

    /// Counts the outcome of a call that the server did not know of.
    pub(crate) fn count_unreported(
        &self,
        generations: (u64, u64),
        local: Option<LocalLeave>,
        report: &Report,
        now: Duration,
    ) {
        let mut memory = self.memory.lock();
        memory.account.unreported += 1;
        if let Some(leave) = local {
            memory.tell_local(leave, report.local_outcome(), now);
        }
        memory.record(generations, report, now);
    }

    /// An outcome that cannot be told.
    pub(crate) fn drop_report(&self) {
        self.lose(Lost { calls: 1, rejections: 0 });
    }

    /// Outcomes and rejections that cannot be told.
    pub(crate) fn lose(&self, lost: Lost) {
        self.memory.lock().account.lost += lost;
    }

    // Waiting for decisive outcomes.

    /// The next acquire waits for this answer.
    pub(crate) fn await_answer(&self, answered: &Latch) {
        let mut memory = self.memory.lock();
        memory.await_answer(answered);
        self.is_awaiting.store(true, Relaxed);
    }

    /// The same if failures or timeouts wait to be sent.
    pub(crate) fn await_pending(&self, answered: &Latch) {
        let mut memory = self.memory.lock();
        if memory.tallies.have_failures() {
            memory.await_answer(answered);
            self.is_awaiting.store(true, Relaxed);
        }
    }

    /// The answer that the next acquire waits for.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        if self.is_awaiting.load(Relaxed) { self.memory.lock().awaited.clone() } else { None }
    }

    /// An answer was awaited, whether or not it came: no acquire waits for it again.
    pub(crate) fn has_awaited(&self, awaited: &Awaited) {
        let mut memory = self.memory.lock();
        if memory.awaited.take_if(|other| other.number == awaited.number).is_some() {
            self.is_awaiting.store(false, Relaxed);
        }
    }

    /// Outcomes that the server has acknowledged; `is_stale`: it counted them apart.
    pub(crate) fn acknowledge(&self, calls: u64, is_stale: bool) {
        let account = &mut self.memory.lock().account;
        account.reported += calls;
        account.stale_reports += if is_stale { calls } else { 0 };
    }

    pub(crate) fn account(&self) -> Account {
        self.memory.lock().account
    }

    /// At most `most` tallies to send, oldest first, and whether there are more. Too old ones are dropped.
    pub(crate) fn take_tallies(&self, most: usize, now: Duration, age_max: Duration) -> (Vec<Tally>, bool) {
        let memory = &mut *self.memory.lock();
        memory.account.lost += memory.tallies.expire(now, age_max);
        (memory.tallies.take(most), !memory.tallies.is_empty())
    }

    /// Drops tallies that have grown too old. True: there are others.
    pub(crate) fn expire_tallies(&self, now: Duration, age_max: Duration) -> bool {
        let memory = &mut *self.memory.lock();
        memory.account.lost += memory.tallies.expire(now, age_max);
        !memory.tallies.is_empty()
    }

    /// Nothing more can be told.
    pub(crate) fn give_up(&self) {
        let memory = &mut *self.memory.lock();
        memory.account.lost += memory.tallies.clear();
    }

    // What the server says.

    pub(crate) fn view(&self) -> View {
        self.memory.lock().view
    }

    /// Changes what is known. True: the policy in force is another than the one that is known.
    pub(crate) fn apply(&self, change: impl FnOnce(&mut View)) -> bool {
        let memory = &mut *self.memory.lock();
        let generations = memory.view.generations();
        change(&mut memory.view);
        if memory.view.generations() != generations {
            memory.run.clear();
        }
        memory.policy_at != 0 && memory.view.policy_version > memory.policy_at
    }

    /// Takes the policy in force.
    pub(crate) fn apply_policy(&self, policy: Option<&pb::PolicyInForce>) {
        let memory = &mut *self.memory.lock();
        let Some(policy) = policy.filter(|policy| policy.version >= memory.policy_at) else { return };
        // A breaker that nobody wrote a policy for has version 0; that it is known has to be told apart from that.
        memory.policy_at = policy.version.max(1);
        if let Some(policy) = &policy.policy {
            memory.follow(policy);
        }
    }

    /// Events were lost: nothing is known any more. True: a policy was known.
    pub(crate) fn forget(&self) -> bool {
        let memory = &mut *self.memory.lock();
        memory.view = View::default();
        std::mem::take(&mut memory.policy_at) != 0
    }

    /// The server can be asked again.
    pub(crate) fn dismiss_stand_in(&self) {
        self.memory.lock().local = None;
    }

    /// The breaker was reset.
    pub(crate) fn reset(&self) {
        let mut memory = self.memory.lock();
        memory.local = None;
        memory.run.clear();
    }

    pub(crate) fn is_covered(&self) -> bool {
        self.covered.load(Relaxed)
    }
}

impl Memory {
    fn new(tallies: Tallies) -> Self {
        Self {
            view: View::default(),
            tallies,
            run: Run::default(),
            awaited: None,
            awaited_seen: 0,
            local: None,
            stand_in: 0,
            rules: LocalRules::default(),
            is_suspect: true,
            slow_after: None,
            policy_at: 0,
            account: Account::default(),
        }
    }

    /// Takes an outcome into the run. True: it is decisive, because the server's answer to it may be a trip.
    fn record(&mut self, generations: (u64, u64), report: &Report, now: Duration) -> bool {
        if self.view.is_past(generations) {
            return false;
        }
        let mut is_decisive = false;
        if report.outcome == Outcome::Success {
            self.run.clear();
        } else if report.moves() {
            self.run.add(now, &self.rules);
            is_decisive = self.is_suspect || self.run.reaches(&self.rules);
        }
        if self.local.as_ref().is_some_and(|local| !local.is_closed()) {
            self.run.clear();
        }
        is_decisive
    }

    fn await_answer(&mut self, answered: &Latch) {
        self.awaited_seen += 1;
        self.awaited = Some(Awaited { number: self.awaited_seen, answered: answered.clone() });
    }

    /// The tally for these generations. What has to be given up for it is counted.
    fn tally(&mut self, generations: (u64, u64), now: Duration) -> &mut Tally {
        self.tallies.at(generations, now, &mut self.account.lost)
    }

    /// The local breaker, which starts where the view stands.
    fn stand_in(&mut self, now: Duration) -> &mut LocalBreaker {
        let breaker = &self.view.breaker;
        self.local.get_or_insert_with(|| {
            self.stand_in += 1;
            LocalBreaker::standing(self.rules, breaker.state, breaker.until, &self.run, now)
        })
    }

    /// The outcome of a call that the local breaker permitted, unless another has taken its place.
    fn tell_local(&mut self, leave: LocalLeave, outcome: Outcome, now: Duration) {
        if let Some(local) = self.local.as_mut().filter(|_| leave.stand_in == self.stand_in) {
            local.report(leave.grant, outcome, now);
        }
    }

    fn follow(&mut self, policy: &pb::Policy) {
        self.rules = LocalRules::of(policy);
        self.is_suspect = has_window_rule(policy);
        self.slow_after = policy.slow_call_duration.map(wire::duration).filter(|slow| !slow.is_zero());
    }
}
