//! The pure breaker: all rules live here, once.
//!
//! It does no I/O, reads no clock and draws no random numbers: every input brings a [`Moment`], and what happened comes
//! back as values. Read in this order: [`policy`] says when it moves, [`transition`] what moves there are, [`state`] what
//! each state holds, and this page how calls and reports drive it. [`Breaker::deadline`] says when it wants waking, and
//! [`Breaker::handle_timeout`] is harmless when called early or often.
//!
//! A store drives it by copy: take a [`Snapshot`], step the breaker, and if [`Breaker::version`] rose, commit the new
//! snapshot with the transitions if the stored version is still the old one; else load and step again. Calls and
//! reports of a closed breaker leave the version alone.
//!
//! # Invariants
//!
//! - Every [`Transition`] is legal ([`transition::Kind::is_legal`]) and raises the generation by one; only a change of policy
//!   leaves it.
//! - A report moves at most the breaker that is in the generation of its permit; each permit counts at most once.
//! - Probes out never exceed `probes`, those of earlier rounds included, until each is reported or its lease ends.
//! - Under an override only calls that the computed machine would have admitted move it.
//! - Nothing here grows without a bound: the ledger (256 KiB), probes (1,000), the window and the streak (by policy).

mod backoff;
pub mod outcome;
pub mod permit;
pub mod policy;
mod snapshot;
pub mod state;
mod statistics;
mod streak;
pub mod time;
pub mod transition;
pub mod window;

use std::{sync::Arc, time::Duration};

use self::streak::Streak;
pub use self::{
    backoff::{RETRY_AFTER_FORCED_MAX, RETRY_AFTER_MIN, RETRY_AFTER_PROBE_MAX},
    outcome::{Origin, Outcome, Report, Reported, Tally},
    permit::{CallerId, LEDGER_BYTES_MAX, Permit, PermitKind, Probe, RequestId},
    policy::{Policy, PolicyError, PolicySpec},
    snapshot::Snapshot,
    state::{Round, State, StateName},
    streak::StreakSnapshot,
    time::{Moment, Timestamp},
    transition::{Evidence, Kind, Reason, Transition, TripRule},
    window::Counts,
};
use self::{
    permit::{Entry, Ledger},
    statistics::{Sample, Statistics},
    transition::Trip,
};

/// One breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: Arc<Policy>,
    version: u64,
    generation: u64,
    state: State,
    since: Timestamp,
    statistics: Statistics,
    /// Absent while no permit is out.
    ledger: Option<Box<Ledger>>,
    successes: u64,
    failures: u64,
    /// What most breakers never need.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, PartialEq, Default, Debug)]
struct Rare {
    probes: Vec<Probe>,
    forced: Option<Override>,
    failed_recoveries: u32,
    totals: Totals,
}

/// What is forced over the computed state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OverrideMode {
    /// Every call is rejected.
    ForcedOpen,
    /// Every call is permitted.
    ForcedClosed,
    /// Every call is permitted, and events say what would have happened.
    Shadow,
}

/// An operator's state over the computed one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    /// What is forced.
    pub mode: OverrideMode,
    /// Who set it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When it was set.
    pub set: Timestamp,
    /// When it ends by itself; [`Timestamp::NEVER`]: when it is cleared.
    pub expire: Timestamp,
}

/// Counts over a breaker's life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Moves to open.
    pub opens: u64,
    /// Moves from half-open to closed.
    pub closes: u64,
    /// Calls counted as successes.
    pub successes: u64,
    /// Calls counted as failures, timeouts included.
    pub failures: u64,
    /// Those of the failures that were timeouts.
    pub timeouts: u64,
    /// Reports of ignored and cancelled calls.
    pub ignored: u64,
    /// Calls rejected.
    pub rejected: u64,
    /// Stale reports and tallies.
    pub stale: u64,
    /// Permits whose lease ended unreported.
    pub expired: u64,
    /// Reports of calls that only an override let through.
    pub bypassed: u64,
    /// Failures of the callers' own.
    pub local_failures: u64,
    /// When it last opened.
    pub last_open: Option<Timestamp>,
    /// When it last closed.
    pub last_close: Option<Timestamp>,
}

/// Where a breaker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The computed state.
    pub state: StateName,
    /// What is forced over it.
    pub forced: Option<OverrideMode>,
    /// The generation.
    pub generation: u64,
    /// When the state was entered.
    pub since: Timestamp,
    /// When it ends by itself; [`Timestamp::NEVER`]: it has no deadline.
    pub until: Timestamp,
    /// When the override ends by itself; [`Timestamp::NEVER`]: there is none, or it stays.
    pub override_expire: Timestamp,
    /// Failures in a row.
    pub failures: u64,
}

/// A request for leave to make one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquire {
    /// Who asks.
    pub caller: CallerId,
    /// Names the request over retries.
    pub request: RequestId,
    /// How long the permit should be good for; at most the policy's lease. `None`: the policy's lease.
    pub lease: Option<Duration>,
    /// Memory that this breaker's ledger may take, at most [`LEDGER_BYTES_MAX`].
    pub ledger_bytes_max: usize,
}

/// The answer to an [`Acquire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Make the call, then report it.
    Permitted(Permit),
    /// Do not make the call.
    Rejected {
        /// Why.
        reason: Rejection,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Why a call is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rejection {
    /// The breaker is open.
    Open,
    /// All probes are out.
    HalfOpenFull,
    /// An operator holds it open.
    ForcedOpen,
}

/// An answer, and the moves that came with it, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Step<T> {
    /// The answer.
    pub answer: T,
    /// The moves. Empty for nearly every call; an empty vector takes no memory.
    pub transitions: Vec<Transition>,
}

/// The moves of one step, as they are made.
type Moves = Vec<Transition>;

impl Breaker {
    /// A new breaker: closed, with nothing counted. `generation` must be above every one that its key ever had.
    #[must_use]
    pub const fn new(policy: Arc<Policy>, generation: u64, now: Timestamp) -> Self {
        Self {
            policy,
            version: 0,
            generation,
            state: State::Closed,
            since: now,
            statistics: Statistics::new(),
            ledger: None,
            successes: 0,
            failures: 0,
            rare: None,
        }
    }

    // ---- What callers do -------------------------------------------------------------------------------------------

    /// Asks for leave to make one call.
    pub fn acquire(&mut self, moment: Moment, acquire: &Acquire) -> Step<Decision> {
        let transitions = self.handle_timeout(moment);
        let answer = self.decide(moment.now, acquire);
        if matches!(answer, Decision::Rejected { .. }) {
            self.totals_mut().rejected += 1;
        }
        Step { answer, transitions }
    }

    fn decide(&mut self, now: Timestamp, acquire: &Acquire) -> Decision {
        let forced = self.forced();
        if forced == Some(OverrideMode::ForcedOpen) {
            let left = self.override_expire().since(now).min(RETRY_AFTER_FORCED_MAX);
            return self.reject(Rejection::ForcedOpen, left, acquire);
        }
        let (rejection, left) = match &self.state {
            State::Closed => return self.permit(now, PermitKind::Call, acquire),
            State::Open { until } => (Rejection::Open, until.since(now)),
            State::HalfOpen(_) => {
                if let Some(probe) = self.probe_of(acquire.request) {
                    return Decision::Permitted(probe);
                }
                if self.probes().len() < self.policy.probes as usize {
                    return self.permit(now, PermitKind::Probe, acquire);
                }
                (Rejection::HalfOpenFull, self.probe_deadline().since(now).min(RETRY_AFTER_PROBE_MAX))
            }
        };
        if forced.is_some() {
            return self.permit(now, PermitKind::Bypass, acquire);
        }
        self.reject(rejection, left, acquire)
    }

    fn reject(&self, reason: Rejection, left: Duration, acquire: &Acquire) -> Decision {
        let retry_after = backoff::retry_after(left, acquire.caller.0, self.generation);
        Decision::Rejected { reason, retry_after }
    }

    fn permit(&mut self, now: Timestamp, kind: PermitKind, acquire: &Acquire) -> Decision {
        let lease = acquire.lease.map_or(self.policy.lease, |lease| lease.min(self.policy.lease));
        let mut expire = now.after(lease);
        if kind == PermitKind::Probe {
            // A round that ends by time leaves no probe out.
            expire = expire.min(self.state.until());
        }
        let bytes_max = acquire.ledger_bytes_max.min(LEDGER_BYTES_MAX);
        let (slice, serial) = self.ledger.get_or_insert_default().issue(now, expire, self.policy.lease, bytes_max);
        let permit = Permit { kind, generation: self.generation, slice, serial, expire, caller: acquire.caller };
        if kind == PermitKind::Probe {
            self.rare_mut().probes.push(Probe { permit, request: acquire.request });
            self.version += 1;
        }
        Decision::Permitted(permit)
    }

    /// Says how a permitted call went.
    pub fn report(&mut self, moment: Moment, permit: &Permit, report: &Report) -> Step<Reported> {
        let mut transitions = self.handle_timeout(moment);
        let is_probe = self.take_back(permit);
        let answer = self.admit(moment.now, permit, is_probe);
        match (answer, &self.state) {
            // What a permit let through is known from the state and the list, so nothing depends on what its holder
            // could have altered.
            (Reported::Counted, State::Closed) => self.count(moment, report, &mut transitions),
            (Reported::Counted, State::HalfOpen(_)) if is_probe => self.count(moment, report, &mut transitions),
            (Reported::Counted, _) => self.totals_mut().bypassed += 1,
            (Reported::Stale, _) => self.totals_mut().stale += 1,
            (Reported::Duplicate, _) => {}
        }
        Step { answer, transitions }
    }

    /// Whether a report of this permit counts; from then on it has.
    fn admit(&mut self, now: Timestamp, permit: &Permit, is_probe: bool) -> Reported {
        if permit.generation != self.generation || permit.expire <= now {
            return Reported::Stale;
        }
        let entry = self.ledger.as_ref().map_or(Entry::Unknown, |ledger| ledger.look(permit.slice, permit.serial));
        match entry {
            Entry::Reported => return Reported::Duplicate,
            // A probe is good as long as it is on the list, which survives a restart; the ledger does not.
            Entry::Unknown if !is_probe => return Reported::Stale,
            Entry::Unknown | Entry::Open => {}
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.mark_reported(permit.slice, permit.serial);
        }
        Reported::Counted
    }

    fn take_back(&mut self, permit: &Permit) -> bool {
        let Some(rare) = &mut self.rare else { return false };
        let Some(index) = rare.probes.iter().position(|probe| probe.permit.is_same(permit)) else { return false };
        rare.probes.swap_remove(index);
        self.version += 1;
        true
    }

    fn count(&mut self, moment: Moment, report: &Report, moves: &mut Moves) {
        let failed = match report.outcome {
            Outcome::Ignored | Outcome::Cancelled => {
                self.totals_mut().ignored += 1;
                return;
            }
            Outcome::Failure | Outcome::Timeout if report.origin == Origin::Local => {
                self.totals_mut().local_failures += 1;
                return;
            }
            Outcome::Success => false,
            Outcome::Failure | Outcome::Timeout => true,
        };
        let slow = match (self.policy.slow_call_duration, report.duration) {
            (Some(limit), Some(duration)) => duration >= limit,
            _ => false,
        };
        let counts = Counts {
            successes: u64::from(!failed),
            failures: u64::from(failed),
            timeouts: u64::from(report.outcome == Outcome::Timeout),
            slow: u64::from(slow),
        };
        if !failed && !slow && self.state == State::Closed && self.statistics.pend_success(moment.now) {
            self.successes += 1;
            return;
        }
        let asked_until = if failed { self.asked_until(moment.now, report.retry_after) } else { Timestamp::default() };
        let sample = Sample { counts, trailing_failures: counts.failures, at: moment.now, asked_until };
        self.weigh(moment, &sample, moves);
    }

    /// Until when the dependency asks to be left alone, as far as the policy listens.
    fn asked_until(&self, now: Timestamp, retry_after: Option<Duration>) -> Timestamp {
        retry_after.map_or_else(Timestamp::default, |asked| now.after(asked.min(self.policy.retry_after_max)))
    }

    /// Counts calls of this generation and makes the move that follows.
    fn weigh(&mut self, moment: Moment, sample: &Sample, moves: &mut Moves) {
        let counts = &sample.counts;
        self.successes += counts.successes;
        self.failures += counts.failures;
        if counts.timeouts > 0 {
            self.totals_mut().timeouts += counts.timeouts;
        }
        match &mut self.state {
            State::Closed => {
                self.statistics.record(&self.policy, moment.now, sample);
                if let Some(trip) = self.statistics.judge(&self.policy, moment.now) {
                    self.trip(moment, trip, moves);
                }
            }
            State::HalfOpen(round) => {
                let add =
                    |count: &mut u32, more: u64| *count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
                add(&mut round.successes, counts.successes);
                add(&mut round.failures, counts.failures);
                round.asked_until = round.asked_until.max(sample.asked_until);
                self.version += 1;
                if round.failures >= self.policy.failures_to_reopen {
                    self.reopen(moment, Reason::ProbesFailed, moves);
                } else if round.successes >= self.policy.successes_to_close {
                    self.close(moment, moves);
                }
            }
            // Only bypassed calls are out while open.
            State::Open { .. } => {}
        }
    }

    /// Counts calls that a client decided on by itself. True where they counted; stale ones move nothing.
    pub fn tally(&mut self, moment: Moment, tally: &Tally) -> Step<Reported> {
        let mut transitions = self.handle_timeout(moment);
        if tally.rejections > 0 {
            self.totals_mut().rejected += u64::from(tally.rejections);
        }
        let failures = u64::from(tally.failures) + u64::from(tally.timeouts);
        let calls = u64::from(tally.successes) + failures;
        if tally.generation != self.generation {
            self.totals_mut().stale += 1;
            return Step { answer: Reported::Stale, transitions };
        }
        if tally.ignored > 0 || tally.local_failures > 0 {
            let totals = self.totals_mut();
            totals.ignored += u64::from(tally.ignored);
            totals.local_failures += u64::from(tally.local_failures);
        }
        if self.state != State::Closed {
            // Decided under an override, or in a state that clients do not decide in.
            self.totals_mut().bypassed += calls;
        } else if calls > 0 {
            let at = moment.now.before(tally.age);
            let counts = Counts {
                successes: u64::from(tally.successes),
                failures,
                timeouts: u64::from(tally.timeouts),
                slow: u64::from(tally.slow).min(calls),
            };
            let asked_until = if failures > 0 { self.asked_until(at, tally.retry_after) } else { Timestamp::default() };
            let trailing_failures =
                if counts.successes == 0 { failures } else { u64::from(tally.trailing_failures).min(failures) };
            self.weigh(moment, &Sample { counts, trailing_failures, at, asked_until }, &mut transitions);
        }
        Step { answer: Reported::Counted, transitions }
    }

    // ---- What operators do -----------------------------------------------------------------------------------------

    /// Closes the breaker, with empty statistics and backoff. An override stays.
    pub fn reset(&mut self, moment: Moment) -> Step<()> {
        let mut transitions = self.handle_timeout(moment);
        if let Some(rare) = &mut self.rare {
            rare.failed_recoveries = 0;
        }
        self.statistics = Statistics::default();
        self.enter(moment, State::Closed, Kind::Reset, Reason::Requested, None, &mut transitions);
        Step { answer: (), transitions }
    }

    /// Holds the breaker in a state. An override that stands is replaced.
    pub fn set_override(&mut self, moment: Moment, forced: Override) -> Step<()> {
        let mut transitions = self.handle_timeout(moment);
        self.rare_mut().forced = Some(forced);
        self.enter(moment, self.restarted(moment.now), Kind::OverrideSet, Reason::Requested, None, &mut transitions);
        Step { answer: (), transitions }
    }

    /// Ends an override. False where there is none.
    pub fn clear_override(&mut self, moment: Moment) -> Step<bool> {
        let mut transitions = self.handle_timeout(moment);
        let answer = self.forced().is_some();
        if answer {
            self.end_override(moment, Reason::Requested, &mut transitions);
        }
        Step { answer, transitions }
    }

    fn end_override(&mut self, moment: Moment, reason: Reason, moves: &mut Moves) {
        self.rare_mut().forced = None;
        self.enter(moment, self.restarted(moment.now), Kind::OverrideCleared, reason, None, moves);
    }

    /// The state as an override begins or ends: a half-open round starts over, because its probes become stale.
    fn restarted(&self, now: Timestamp) -> State {
        match self.state {
            State::HalfOpen(_) => self.round(now),
            ref state => state.clone(),
        }
    }

    /// Follows another policy. State, generation, permits and the running open period stay; statistics stay where they
    /// still fit. The new rules are judged with the next report.
    pub fn set_policy(&mut self, moment: Moment, policy: Arc<Policy>) -> Step<()> {
        let mut transitions = self.handle_timeout(moment);
        // What has aged out so far is gone, also where the new policy would remember longer.
        self.statistics.streak.length(&self.policy, moment.now);
        self.statistics.refit(&policy, moment.now);
        self.policy = policy;
        if let State::HalfOpen(round) = &self.state {
            let until = self.round_end(round.began);
            self.state = State::HalfOpen(Box::new(Round { until, ..**round }));
        }
        self.version += 1;
        let name = self.state.name();
        self.tell(moment.now, Kind::PolicyChanged, name, Reason::Requested, None, &mut transitions);
        Step { answer: (), transitions }
    }

    // ---- What time does --------------------------------------------------------------------------------------------

    /// When the breaker next wants [`Breaker::handle_timeout`]; [`Timestamp::NEVER`] where time changes nothing.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        let ledger = self.ledger.as_ref().map_or(Timestamp::NEVER, |ledger| ledger.deadline());
        let next = self.state.until().min(ledger);
        match &self.rare {
            Some(_) => next.min(self.override_expire()).min(self.probe_deadline()),
            None => next,
        }
    }

    /// Makes the moves that time brings, in the order they fall due, each at the moment given: a breaker that was asleep
    /// over several deadlines goes on from now, so that no probe round passes unseen.
    pub fn handle_timeout(&mut self, moment: Moment) -> Vec<Transition> {
        let mut moves = Moves::new();
        while let Some(due) = self.deadline().ever().filter(|due| *due <= moment.now) {
            self.fall_due(due, moment, &mut moves);
        }
        moves
    }

    fn fall_due(&mut self, due: Timestamp, moment: Moment, moves: &mut Moves) {
        // Leases before states: a probe that ends with its round is a failure of that round.
        if self.probe_deadline() <= due {
            self.expire_probe(moment, moves);
        } else if self.ledger.as_ref().is_some_and(|ledger| ledger.deadline() <= due) {
            self.expire_slices(due, moment, moves);
        } else if self.override_expire() <= due {
            self.end_override(moment, Reason::OverrideExpired, moves);
        } else if self.state.until() <= due {
            match self.state {
                State::Open { .. } => {
                    let round = self.round(moment.now);
                    self.enter(moment, round, Kind::HalfOpened, Reason::OpenPeriodPassed, None, moves);
                }
                State::HalfOpen(_) => self.reopen(moment, Reason::HalfOpenTimedOut, moves),
                State::Closed => {}
            }
        }
    }

    fn expire_probe(&mut self, moment: Moment, moves: &mut Moves) {
        let Some(rare) = &mut self.rare else { return };
        let first = rare.probes.iter().enumerate().min_by_key(|(_, probe)| probe.permit.expire);
        let Some(index) = first.map(|(index, _)| index) else { return };
        let probe = rare.probes.swap_remove(index);
        rare.totals.expired += 1;
        self.version += 1;
        if probe.permit.generation != self.generation {
            return;
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.mark_reported(probe.permit.slice, probe.permit.serial);
        }
        let outcome = self.policy.expired_probe.outcome();
        if outcome != Outcome::Ignored {
            self.count(moment, &Report::of(outcome), moves);
        }
    }

    fn expire_slices(&mut self, due: Timestamp, moment: Moment, moves: &mut Moves) {
        let Some(ledger) = &mut self.ledger else { return };
        let unreported = ledger.expire(due);
        if ledger.is_empty() {
            self.ledger = None;
        }
        if unreported == 0 {
            return;
        }
        self.totals_mut().expired += unreported;
        let timeouts = match self.policy.expired_permit {
            policy::ExpiredPermit::Ignored => return,
            policy::ExpiredPermit::Failure => 0,
            policy::ExpiredPermit::Timeout => unreported,
        };
        if self.state == State::Closed {
            let counts = Counts { failures: unreported, timeouts, ..Counts::default() };
            let at = moment.now;
            let sample = Sample { counts, trailing_failures: unreported, at, asked_until: Timestamp::default() };
            self.weigh(moment, &sample, moves);
        }
    }

    // ---- Moves -----------------------------------------------------------------------------------------------------

    fn trip(&mut self, moment: Moment, trip: Trip, moves: &mut Moves) {
        let asked_until = self.statistics.asked_until(trip.rule, moment.now);
        let evidence = Evidence { threshold: trip.threshold, ..self.evidence(moment.now) };
        self.open(moment, Reason::TripRule(trip.rule), evidence, asked_until, moves);
    }

    fn reopen(&mut self, moment: Moment, reason: Reason, moves: &mut Moves) {
        let State::HalfOpen(round) = &self.state else { return };
        let asked_until = round.asked_until;
        let rare = self.rare_mut();
        rare.failed_recoveries = rare.failed_recoveries.saturating_add(1);
        let evidence = self.evidence(moment.now);
        self.open(moment, reason, evidence, asked_until, moves);
    }

    fn open(&mut self, moment: Moment, reason: Reason, evidence: Evidence, asked_until: Timestamp, moves: &mut Moves) {
        let period = backoff::open_period(&self.policy, evidence.failed_recoveries, moment.random);
        let until = moment.now.after(period).max(asked_until);
        let evidence = Evidence {
            open_duration: Some(until.since(moment.now)),
            retry_after_applied: until > moment.now.after(period),
            ..evidence
        };
        let totals = self.totals_mut();
        totals.opens += 1;
        totals.last_open = Some(moment.now);
        let kind = if self.forced() == Some(OverrideMode::Shadow) { Kind::WouldHaveOpened } else { Kind::Opened };
        self.enter(moment, State::Open { until }, kind, reason, Some(evidence), moves);
    }

    fn close(&mut self, moment: Moment, moves: &mut Moves) {
        let evidence = self.evidence(moment.now);
        let rare = self.rare_mut();
        rare.failed_recoveries = 0;
        rare.totals.closes += 1;
        rare.totals.last_close = Some(moment.now);
        self.statistics = Statistics::default();
        self.enter(moment, State::Closed, Kind::Closed, Reason::ProbesSucceeded, Some(evidence), moves);
    }

    /// A half-open round that begins now.
    fn round(&self, now: Timestamp) -> State {
        let asked_until = Timestamp::default();
        let until = self.round_end(now);
        State::HalfOpen(Box::new(Round { began: now, until, successes: 0, failures: 0, asked_until }))
    }

    /// When a round that began then ends without a verdict. The limit rests while an operator holds the breaker open.
    fn round_end(&self, began: Timestamp) -> Timestamp {
        match (self.forced(), self.policy.half_open_max_duration) {
            (Some(OverrideMode::ForcedOpen), _) | (_, None) => Timestamp::NEVER,
            (_, Some(limit)) => began.after(limit),
        }
    }

    fn evidence(&mut self, now: Timestamp) -> Evidence {
        let (probe_successes, probe_failures) = match &self.state {
            State::HalfOpen(round) => (round.successes, round.failures),
            _ => (0, 0),
        };
        Evidence {
            consecutive_failures: self.statistics.streak.length(&self.policy, now),
            window: self.statistics.counts(now),
            probe_successes,
            probe_failures,
            failed_recoveries: self.rare.as_ref().map_or(0, |rare| rare.failed_recoveries),
            ..Evidence::default()
        }
    }

    /// The one door into a state: the generation rises, and what was permitted before is stale.
    fn enter(
        &mut self,
        moment: Moment,
        state: State,
        kind: Kind,
        reason: Reason,
        evidence: Option<Evidence>,
        moves: &mut Moves,
    ) {
        let from = self.state.name();
        if from != state.name() || kind == Kind::Reset {
            self.since = moment.now;
        }
        self.state = state;
        self.generation += 1;
        self.version += 1;
        self.ledger = None;
        self.tell(moment.now, kind, from, reason, evidence, moves);
    }

    fn tell(
        &mut self,
        at: Timestamp,
        kind: Kind,
        from: StateName,
        reason: Reason,
        evidence: Option<Evidence>,
        moves: &mut Moves,
    ) {
        let to = self.state.name();
        debug_assert!(kind.is_legal(from, to), "{kind:?} from {from:?} to {to:?}");
        moves.push(Transition { kind, from, to, reason, evidence, at, status: self.status(at) });
    }

    // ---- What can be seen ------------------------------------------------------------------------------------------

    /// Where the breaker stands.
    pub fn status(&mut self, now: Timestamp) -> Status {
        Status {
            state: self.state.name(),
            forced: self.forced(),
            generation: self.generation,
            since: self.since,
            until: self.state.until(),
            override_expire: self.override_expire(),
            failures: self.statistics.streak.length(&self.policy, now),
        }
    }

    /// The computed state with its data.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Raised by every change that has to be committed before it is told.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The policy that it follows.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The calls of the window, as of now.
    pub fn counts(&mut self, now: Timestamp) -> Counts {
        self.statistics.counts(now)
    }

    /// Counts over its life.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let rare = self.rare.as_ref().map_or_else(Totals::default, |rare| rare.totals);
        Totals { successes: self.successes, failures: self.failures, ..rare }
    }

    /// Probes that are out, also those of earlier rounds.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        self.rare.as_ref().map_or(&[], |rare| &rare.probes)
    }

    /// The override that stands.
    #[must_use]
    pub fn forced_override(&self) -> Option<&Override> {
        self.rare.as_ref().and_then(|rare| rare.forced.as_ref())
    }

    /// What is forced.
    #[must_use]
    pub fn forced(&self) -> Option<OverrideMode> {
        self.forced_override().map(|forced| forced.mode)
    }

    /// Recoveries that have failed in a row since it was last closed.
    #[must_use]
    pub fn failed_recoveries(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.failed_recoveries)
    }

    /// Memory of the permit ledger, in bytes.
    #[must_use]
    pub fn ledger_bytes(&self) -> usize {
        self.ledger.as_ref().map_or(0, |ledger| ledger.bytes())
    }

    /// Gives memory back where time has emptied it. True where the breaker is as good as new: closed, nothing counted,
    /// no permit out, no override.
    pub fn tidy(&mut self, now: Timestamp) -> bool {
        self.statistics.tidy(&self.policy, now) && self.is_at_rest()
    }

    /// Whether it is closed, with no permit out and no override. Calls may be counted.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Closed
            && self.ledger.as_ref().is_none_or(|ledger| ledger.is_empty())
            && self.probes().is_empty()
            && self.forced().is_none()
    }

    /// The breaker as data.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.version,
            generation: self.generation,
            state: self.state.clone(),
            since: self.since,
            failed_recoveries: self.failed_recoveries(),
            streak: self.statistics.streak.snapshot(),
            window: self.statistics.snapshot_window(),
            probes: self.probes().to_vec(),
            forced: self.forced_override().cloned(),
            totals: self.totals(),
        }
    }

    /// A breaker that goes on from a snapshot under a policy, which need not be the one it was taken under.
    #[must_use]
    pub fn restore(policy: Arc<Policy>, snapshot: Snapshot, now: Timestamp) -> Self {
        let streak = Streak::restore(snapshot.streak);
        let mut statistics = Statistics::restore(streak, snapshot.window);
        statistics.refit(&policy, now);
        let rare = Rare {
            probes: snapshot.probes,
            forced: snapshot.forced,
            failed_recoveries: snapshot.failed_recoveries,
            totals: Totals { successes: 0, failures: 0, ..snapshot.totals },
        };
        Self {
            policy,
            version: snapshot.version,
            generation: snapshot.generation,
            state: snapshot.state,
            since: snapshot.since,
            statistics,
            ledger: None,
            successes: snapshot.totals.successes,
            failures: snapshot.totals.failures,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        }
    }

    // ---- Details ---------------------------------------------------------------------------------------------------

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn totals_mut(&mut self) -> &mut Totals {
        &mut self.rare_mut().totals
    }

    fn override_expire(&self) -> Timestamp {
        self.forced_override().map_or(Timestamp::NEVER, |forced| forced.expire)
    }

    /// When the next lease of a probe ends.
    fn probe_deadline(&self) -> Timestamp {
        self.probes().iter().map(|probe| probe.permit.expire).min().unwrap_or(Timestamp::NEVER)
    }

    /// The permit of the probe that this very request was granted.
    fn probe_of(&self, request: RequestId) -> Option<Permit> {
        let granted = |probe: &&Probe| probe.request == request && probe.permit.generation == self.generation;
        if request == RequestId::default() {
            return None;
        }
        self.probes().iter().find(granted).map(|probe| probe.permit)
    }
}

impl Permit {
    /// Whether both are one permit. What the holder could have altered (kind, expiry, caller) does not matter.
    fn is_same(&self, other: &Self) -> bool {
        (self.generation, self.slice, self.serial) == (other.generation, other.slice, other.serial)
    }
}
