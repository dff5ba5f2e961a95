//! The pure breaker: all rules live here, once.
//!
//! It does no I/O, reads no clock and draws no random numbers: every input brings a [`Moment`], and what happened comes
//! back as values. Read in this order: [`policy`] says when it moves, [`transition`] what moves there are, [`state`] what
//! each state holds, [`callers`] how a sick caller is told from a sick dependency, and this page how calls and reports
//! drive it. [`Breaker::deadline`] says when it wants waking, and [`Breaker::handle_timeout`] is harmless when called
//! early or often.
//!
//! A store drives it by copy: take a [`Snapshot`], step the breaker, and if [`Breaker::version`] rose, commit the new
//! snapshot with the transitions if the stored version is still the old one; else load and step again. Calls and
//! reports of a closed breaker leave the version alone.
//!
//! # Invariants
//!
//! - Every [`Transition`] is legal ([`transition::Kind::is_legal`]) and raises the generation by one; only a change of policy
//!   leaves it.
//! - Without calls, time moves a scope at most once, from open to half-open. A half-open round ends only after a probe was granted in it.
//! - A report moves at most the breaker that is in the generation of its permit; each permit counts at most once.
//! - Probes out never exceed `probes`, those of earlier rounds included, until each is reported or its lease ends.
//! - Under an override only calls that the computed machine would have admitted move it.
//! - No `quorum - 1` callers, whatever they send, open or reopen the breaker while the others succeed. What moves a
//!   caller's scope leaves the breaker's state and generation alone.
//! - Nothing here grows without a bound: the ledger (256 KiB), probes (1,000, and as many for each isolated caller),
//!   callers (256), the window and the streak (by policy).

pub(crate) mod backoff;
pub mod callers;
pub mod outcome;
pub mod permit;
pub mod policy;
mod rule;
mod scope;
mod snapshot;
pub mod state;
mod statistics;
mod streak;
pub mod time;
pub mod transition;
pub mod window;

use std::{cmp::Reverse, ops::AddAssign, sync::Arc, time::Duration};

pub use self::{
    backoff::{RETRY_AFTER_FORCED_MAX, RETRY_AFTER_MIN, RETRY_AFTER_PROBE_MAX},
    callers::{CALLERS_MAX, CallerTotals, KNOWN_FOR, OWN_CALLS_MAX},
    outcome::{Origin, Outcome, Report, Reported, Tally},
    permit::{CallerId, LEDGER_BYTES_MAX, Permit, PermitKind, Probe, RequestId, ServiceId},
    policy::{Policy, PolicyError, PolicySpec},
    snapshot::{CallerSnapshot, CallersSnapshot, Snapshot},
    state::{Round, State, StateName},
    streak::StreakSnapshot,
    time::{Moment, Timestamp},
    transition::{CallerEvidence, CallersEvidence, Evidence, Kind, Reason, Transition, TripRule},
    window::{CallerTag, Counts},
};
use self::{
    callers::{Callers, VotersOf},
    outcome::Runs,
    permit::{Entry, Ledger},
    rule::Trigger,
    scope::{Scope, Verdict},
    statistics::{Reached, Sample, Statistics},
    streak::Streak,
};

/// One breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: Arc<Policy>,
    version: u64,
    /// The calls of all.
    fleet: Scope,
    /// Absent while nobody has given a name: then there is one caller, and its calls are the fleet's.
    callers: Option<Box<Callers>>,
    /// Absent while no permit is out.
    ledger: Option<Box<Ledger>>,
    successes: u64,
    failures: u64,
    /// When the last counted call succeeded; zero: never.
    last_success: Timestamp,
    /// When the last counted call failed; zero: never.
    last_failure: Timestamp,
    /// What most breakers never need.
    rare: Option<Box<Rare>>,
    /// Memory that statistics may take beyond what they have.
    statistics_room: usize,
}

#[derive(Clone, PartialEq, Default, Debug)]
struct Rare {
    probes: Vec<Probe>,
    /// The strongest first.
    overrides: Vec<Override>,
    totals: Totals,
}

/// What is forced over the computed state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideMode {
    /// Every call is rejected.
    ForcedOpen,
    /// Every call is permitted.
    ForcedClosed,
    /// Every call is permitted, and events say what would have happened.
    Shadow,
}

impl OverrideMode {
    /// The mode as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Shadow => "shadow",
        }
    }
}

/// Overrides that one breaker can have at a time.
pub const OVERRIDES_MAX: usize = 16;

/// An operator's state over the computed one.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Override {
    /// Name of the override, unique within its breaker, so that several operators can hold one breaker independently.
    pub id: String,
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

impl Override {
    /// Id of an override that was set without one.
    pub const DEFAULT_ID: &str = "default";

    /// Sorts the strongest first: forced open, forced closed, shadow; of the same mode the one that lasts the longest.
    fn rank(&self) -> (u8, Reverse<Timestamp>) {
        let strength = match self.mode {
            OverrideMode::ForcedOpen => 0,
            OverrideMode::ForcedClosed => 1,
            OverrideMode::Shadow => 2,
        };
        (strength, Reverse(self.expire))
    }
}

/// Counts over a breaker's life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
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
    /// Calls whose report or tally was stale.
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
    /// When the last counted call succeeded.
    pub last_success: Option<Timestamp>,
    /// When the last counted call failed.
    pub last_failure: Option<Timestamp>,
}

impl AddAssign<&Self> for Totals {
    /// Adds the counts of another breaker. The instants stay as they are.
    fn add_assign(&mut self, other: &Self) {
        self.opens += other.opens;
        self.closes += other.closes;
        self.successes += other.successes;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.ignored += other.ignored;
        self.rejected += other.rejected;
        self.stale += other.stale;
        self.expired += other.expired;
        self.bypassed += other.bypassed;
        self.local_failures += other.local_failures;
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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
    /// Failures in a row, probes included.
    pub failures: u64,
}

impl Status {
    /// The state that calls meet: an override decides before the computed state.
    #[must_use]
    pub const fn effective_state(&self) -> StateName {
        match self.forced {
            Some(OverrideMode::ForcedOpen) => StateName::Open,
            Some(OverrideMode::ForcedClosed | OverrideMode::Shadow) => StateName::Closed,
            None => self.state,
        }
    }
}

/// Where one caller of a breaker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallerStatus {
    /// Who.
    pub caller: CallerId,
    /// The state of its scope; anything but closed: the caller is isolated.
    pub state: StateName,
    /// The generation of its scope. 0: it has never moved.
    pub generation: u64,
    /// When the state was entered.
    pub since: Timestamp,
    /// When it ends by itself; [`Timestamp::NEVER`]: it has no deadline.
    pub until: Timestamp,
    /// Its failures in a row.
    pub failures: u64,
}

/// One caller of a breaker and its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerView {
    /// Where it stands.
    pub status: CallerStatus,
    /// Its calls of the window.
    pub window: Counts,
    /// Its calls since it is known.
    pub totals: CallerTotals,
    /// When it was last seen.
    pub seen: Timestamp,
}

/// A request for leave to make one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquire {
    /// Who asks.
    pub caller: CallerId,
    /// The service that the caller is an instance of. Matters where services vote.
    pub service: ServiceId,
    /// Names the request over retries.
    pub request: RequestId,
    /// How long the permit should be good for; at most the policy's lease. `None`: the policy's lease.
    pub lease: Option<Duration>,
    /// Memory that this breaker's ledger may take, at most [`LEDGER_BYTES_MAX`].
    pub ledger_bytes_max: usize,
    /// Callers that this breaker may know, at most [`CALLERS_MAX`].
    pub callers_max: usize,
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

/// The answer to a request to probe at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeNow {
    /// The scope is half-open now.
    Moved,
    /// The scope is not open, but in this state.
    NotOpen(StateName),
    /// The breaker does not know the caller.
    UnknownCaller,
}

/// Why a call is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rejection {
    /// The breaker is open.
    Open,
    /// All probes are out, or the next one is another caller's.
    HalfOpenFull,
    /// This caller's own calls keep failing; others are not refused.
    CallerIsolated,
    /// An operator holds it open.
    ForcedOpen,
}

impl Rejection {
    /// The reason as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfOpenFull => "half_open_full",
            Self::CallerIsolated => "caller_isolated",
            Self::ForcedOpen => "forced_open",
        }
    }
}

/// An answer, and the moves that came with it, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Step<T> {
    /// The answer.
    pub answer: T,
    /// The moves. Empty for nearly every call; an empty vector takes no memory.
    pub transitions: Vec<Transition>,
}

/// The rules that held on the way through a sample, before its last call.
#[derive(Default)]
struct OnTheWay {
    /// In the fleet's scope, while one caller is known at most.
    fleet: Option<Box<Reached>>,
    /// In the caller's own scope.
    own: Option<Box<Reached>>,
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
            fleet: Scope::new(generation, now),
            callers: None,
            ledger: None,
            successes: 0,
            failures: 0,
            last_success: Timestamp::from_nanos(0),
            last_failure: Timestamp::from_nanos(0),
            rare: None,
            statistics_room: usize::MAX,
        }
    }

    // ---- What callers do -------------------------------------------------------------------------------------------

    /// Asks for leave to make one call.
    pub fn acquire(&mut self, moment: Moment, acquire: &Acquire) -> Step<Decision> {
        let transitions = self.handle_timeout(moment);
        self.see(moment.now, acquire.caller, acquire.service, acquire.callers_max);
        let answer = self.decide(moment.now, acquire);
        if matches!(answer, Decision::Rejected { .. }) {
            self.totals_mut().rejected += 1;
            if let Some(caller) = self.caller_mut(acquire.caller) {
                caller.totals.rejected += 1;
            }
        }
        Step { answer, transitions }
    }

    /// Notes that a caller is there, without a call: it has a session or a watch open. A caller is known for
    /// [`KNOWN_FOR`]; at most `callers_max` are, of at most [`CALLERS_MAX`].
    #[inline]
    pub fn see(&mut self, now: Timestamp, caller: CallerId, service: ServiceId, callers_max: usize) {
        if self.callers.is_some() || caller != CallerId::default() {
            self.see_named(now, caller, service, callers_max);
        }
    }

    /// Says which service each known caller is an instance of: for a breaker that was restored, or whose policy changes to
    /// one under which services vote.
    pub fn assign_services(&mut self, service_of: impl Fn(CallerId) -> ServiceId) {
        if let Some(callers) = &mut self.callers {
            callers.assign_services(service_of);
        }
    }

    fn see_named(&mut self, now: Timestamp, caller: CallerId, service: ServiceId, callers_max: usize) {
        let statistics = &mut self.fleet.statistics;
        let has_permits = self.ledger.is_some();
        let callers = self.callers.get_or_insert_with(|| {
            let mut callers = Callers::new();
            // Calls that are remembered, and those under way, were of the caller without a name.
            if !statistics.tidy(&self.policy, now) || has_permits {
                let (nobody, none) = (CallerId::default(), ServiceId::default());
                callers.see(&self.policy, now, nobody, none, callers_max, statistics);
            }
            Box::new(callers)
        });
        let only = callers.only();
        callers.see(&self.policy, now, caller, service, callers_max, statistics);
        if let (Some(only), Some(ledger)) = (only, &mut self.ledger)
            && !callers.is_alone()
            && self.policy.expired_permit != policy::ExpiredPermit::Ignored
        {
            ledger.assign(only);
        }
    }

    #[inline]
    fn decide(&mut self, now: Timestamp, acquire: &Acquire) -> Decision {
        let forced = self.forced();
        // Nearly every call.
        if self.fleet.state.is_closed() && forced.is_none() && self.callers_isolated() == 0 {
            return self.permit(now, PermitKind::Call, acquire);
        }
        self.decide_by_state(now, forced, acquire)
    }

    fn decide_by_state(&mut self, now: Timestamp, forced: Option<OverrideMode>, acquire: &Acquire) -> Decision {
        if forced == Some(OverrideMode::ForcedOpen) {
            let left = self.override_expire().since(now).min(RETRY_AFTER_FORCED_MAX);
            return self.reject(Rejection::ForcedOpen, left, acquire);
        }
        let (rejection, until) = match self.admit_by_state(now, acquire) {
            Ok(permitted) => return permitted,
            Err(rejection) => rejection,
        };
        if forced.is_some() {
            return self.permit(now, PermitKind::Bypass, acquire);
        }
        self.reject(rejection, until.since(now), acquire)
    }

    /// A permit, or why not and until when.
    fn admit_by_state(&mut self, now: Timestamp, acquire: &Acquire) -> Result<Decision, (Rejection, Timestamp)> {
        if let State::Open { until, .. } = self.fleet.state {
            return Err((Rejection::Open, until));
        }
        if let Some(probe) = self.probe_of(acquire.request) {
            return Ok(Decision::Permitted(probe));
        }
        if self.is_isolated(acquire.caller) {
            return self.admit_isolated(now, acquire);
        }
        let (out, has_isolated, quorum) = (self.probes().len(), self.callers_isolated() > 0, self.quorum());
        let State::HalfOpen(round) = &mut self.fleet.state else {
            return Ok(self.permit(now, PermitKind::Call, acquire));
        };
        let voters = VotersOf::new(self.callers.as_deref(), &self.policy);
        let soon = now.after(RETRY_AFTER_PROBE_MAX);
        if out >= self.policy.probes as usize {
            if has_isolated || quorum > 1 {
                round.reserve(voters, acquire.caller, now);
            }
            return Err((Rejection::HalfOpenFull, self.probe_deadline().min(soon)));
        }
        let is_disputed = round.is_disputed(&self.policy, quorum, voters);
        if quorum > 1 && !round.may_probe(voters, acquire.caller, now, is_disputed) {
            return Err((Rejection::HalfOpenFull, soon));
        }
        Ok(self.permit(now, PermitKind::Probe, acquire))
    }

    /// As [`Breaker::admit_by_state`], for an isolated caller of a breaker that is not open. While the fleet's round is on,
    /// its probes are among those that may be out, and leave a place to who found none. A round in dispute has none for it:
    /// its probe could keep the one that settles it away until it is too late.
    fn admit_isolated(&mut self, now: Timestamp, acquire: &Acquire) -> Result<Decision, (Rejection, Timestamp)> {
        let until = match self.caller(acquire.caller).map(|caller| &caller.scope.state) {
            Some(State::Open { until, .. }) => return Err((Rejection::CallerIsolated, *until)),
            _ => self.probe_deadline().min(now.after(RETRY_AFTER_PROBE_MAX)),
        };
        let is_its =
            |probe: &&Probe| probe.permit.kind == PermitKind::CallerProbe && probe.permit.caller == acquire.caller;
        let voters = VotersOf::new(self.callers.as_deref(), &self.policy);
        let out = match self.fleet.state {
            State::HalfOpen(ref round) if round.is_disputed(&self.policy, self.quorum(), voters) => usize::MAX,
            State::HalfOpen(ref round) => self.probes().len() + usize::from(now < round.reserved_until),
            _ => self.probes().iter().filter(is_its).count(),
        };
        if out >= self.policy.probes as usize {
            return Err((Rejection::CallerIsolated, until));
        }
        Ok(self.permit(now, PermitKind::CallerProbe, acquire))
    }

    /// Decides without making a move, which is what can be done while moves cannot be recorded: a permit where the breaker is
    /// closed for this caller or held closed, else a rejection for a second. `told` is where the breaker stands as far as
    /// anybody knows, if that is not where it is: nothing newer is told.
    pub fn acquire_unrecorded(&mut self, now: Timestamp, acquire: &Acquire, told: Option<&Status>) -> Decision {
        let forced = told.map_or_else(|| self.forced(), |told| told.forced);
        let was_closed = told.is_none_or(|told| told.state == StateName::Closed);
        let is_closed = was_closed && self.fleet.state.is_closed() && !self.is_isolated(acquire.caller);
        if [forced, self.forced()].contains(&Some(OverrideMode::ForcedOpen)) {
            return self.reject(Rejection::ForcedOpen, RETRY_AFTER_PROBE_MAX, acquire);
        }
        let kind = match forced {
            _ if is_closed => PermitKind::Call,
            Some(_) => PermitKind::Bypass,
            None => return self.reject(Rejection::Open, RETRY_AFTER_PROBE_MAX, acquire),
        };
        match (self.permit(now, kind, acquire), told) {
            (Decision::Permitted(permit), Some(told)) => {
                Decision::Permitted(Permit { generation: told.generation, ..permit })
            }
            (decision, _) => decision,
        }
    }

    fn reject(&self, reason: Rejection, left: Duration, acquire: &Acquire) -> Decision {
        let retry_after = backoff::retry_after(left, acquire.caller.0, self.fleet.generation);
        Decision::Rejected { reason, retry_after }
    }

    #[inline]
    fn permit(&mut self, now: Timestamp, kind: PermitKind, acquire: &Acquire) -> Decision {
        let lease = acquire.lease.map_or(self.policy.lease, |lease| lease.min(self.policy.lease));
        let caller_generation = self.caller_generation(acquire.caller);
        // A round that ends by time leaves no probe out.
        let expire = now.after(lease).min(self.grant_probe(now, kind, acquire.caller));
        let bytes_max = acquire.ledger_bytes_max.min(LEDGER_BYTES_MAX);
        let counts_unreported = self.policy.expired_permit != policy::ExpiredPermit::Ignored;
        let owner = (counts_unreported && self.has_several_callers()).then_some(acquire.caller);
        let ledger = self.ledger.get_or_insert_default();
        let (slice, serial) = ledger.issue(now, expire, self.policy.lease, bytes_max, owner);
        let generation = self.fleet.generation;
        let permit = Permit { kind, generation, caller_generation, slice, serial, expire, caller: acquire.caller };
        if matches!(kind, PermitKind::Probe | PermitKind::CallerProbe) {
            self.rare_mut().probes.push(Probe { permit, request: acquire.request });
            self.version += 1;
            self.review_dispute(now);
        }
        Decision::Permitted(permit)
    }

    /// Counts a probe in its round, and returns when that round ends. The first probe starts the time limit. Before it nothing is in
    /// flight: without calls, a breaker stays half-open and makes no moves.
    fn grant_probe(&mut self, now: Timestamp, kind: PermitKind, caller: CallerId) -> Timestamp {
        let limit = self.policy.half_open_max_duration;
        let state = match kind {
            PermitKind::Probe => Some(&mut self.fleet.state),
            PermitKind::CallerProbe => self.caller_mut(caller).map(|caller| &mut caller.scope.state),
            PermitKind::Call | PermitKind::Bypass => None,
        };
        let Some(State::HalfOpen(round)) = state else { return Timestamp::NEVER };
        let is_first = round.granted == 0;
        round.granted = round.granted.saturating_add(1);
        if is_first {
            round.began = now;
            round.limit_to(limit);
        }
        let until = round.until;
        if is_first
            && kind == PermitKind::CallerProbe
            && let Some(callers) = &mut self.callers
        {
            callers.update();
        }
        until
    }

    /// Says how a permitted call went.
    pub fn report(&mut self, moment: Moment, permit: &Permit, report: &Report) -> Step<Reported> {
        let mut transitions = self.handle_timeout(moment);
        // Nearly every report.
        let answer = if self.fleet.state.is_closed() && self.probes().is_empty() && self.callers_isolated() == 0 {
            let answer = self.admit(moment.now, permit, false);
            if answer == Reported::Counted {
                self.count(moment, permit.caller, report, &mut transitions);
            } else if answer == Reported::Stale {
                self.totals_mut().stale += 1;
            }
            answer
        } else {
            self.report_by_state(moment, permit, report, &mut transitions)
        };
        Step { answer, transitions }
    }

    fn report_by_state(
        &mut self,
        moment: Moment,
        permit: &Permit,
        report: &Report,
        transitions: &mut Moves,
    ) -> Reported {
        let probe = self.take_back(permit);
        // What a permit let through is known from the state and the list, so nothing depends on what its holder could
        // have altered.
        let kind = probe.map(|probe| probe.permit.kind);
        let permit = &probe.map_or(*permit, |probe| probe.permit);
        let caller = permit.caller;
        let answer = self.admit(moment.now, permit, probe.is_some());
        match (answer, kind, &self.fleet.state) {
            (Reported::Counted, Some(PermitKind::CallerProbe), _) => {
                self.count_caller_probe(moment, caller, report, transitions);
            }
            (Reported::Counted, Some(_), State::HalfOpen(_)) => self.count(moment, caller, report, transitions),
            (Reported::Counted, None, State::Closed) if !self.is_isolated(caller) => {
                self.count(moment, caller, report, transitions);
            }
            (Reported::Counted, ..) => self.totals_mut().bypassed += 1,
            (Reported::Stale, ..) => self.totals_mut().stale += 1,
            (Reported::Duplicate, ..) => {}
        }
        if probe.is_some() {
            self.review_dispute(moment.now);
        }
        answer
    }

    /// Whether a report of this permit counts; from then on it has.
    fn admit(&mut self, now: Timestamp, permit: &Permit, is_probe: bool) -> Reported {
        let is_older = permit.generation != self.fleet.generation
            || permit.caller_generation != self.caller_generation(permit.caller);
        if is_older || permit.expire <= now {
            return Reported::Stale;
        }
        let ledger = self.ledger.as_mut();
        match ledger.map_or(Entry::Unknown, |ledger| ledger.report(permit.slice, permit.serial, permit.caller)) {
            Entry::Reported => Reported::Duplicate,
            // A probe is good as long as it is on the list, which survives a restart; the ledger does not.
            Entry::Unknown if !is_probe => Reported::Stale,
            Entry::Unknown | Entry::Open => Reported::Counted,
        }
    }

    fn take_back(&mut self, permit: &Permit) -> Option<Probe> {
        let rare = self.rare.as_mut()?;
        let index = rare.probes.iter().position(|probe| probe.permit.is_same(permit))?;
        self.version += 1;
        Some(rare.probes.swap_remove(index))
    }

    #[inline]
    fn count(&mut self, moment: Moment, caller: CallerId, report: &Report, moves: &mut Moves) {
        let Some(sample) = self.sample(moment.now, caller, report) else {
            return self.let_others_go_first(moment.now, caller);
        };
        let Counts { failures, slow, .. } = sample.counts;
        let is_plain = failures == 0 && slow == 0 && self.fleet.state.is_closed();
        if is_plain && self.fleet.statistics.pend_success(moment.now) {
            self.successes += 1;
            self.last_success = moment.now;
            if let Some(callers) = &mut self.callers {
                callers.pend_success(&self.policy, moment.now, caller, self.statistics_room);
            }
            return;
        }
        self.weigh(moment, Some(caller), &sample, moves);
    }

    /// A probe without a verdict was no help: the next one is for another caller, if there is one.
    fn let_others_go_first(&mut self, now: Timestamp, caller: CallerId) {
        let has_others = self.quorum() > 1;
        if let State::HalfOpen(round) = &mut self.fleet.state
            && has_others
        {
            round.step_back(caller, now);
        }
    }

    /// What a report counts as; `None` where it says nothing about the dependency.
    #[inline]
    fn sample(&mut self, now: Timestamp, caller: CallerId, report: &Report) -> Option<Sample> {
        let failed = match report.outcome {
            Outcome::Ignored | Outcome::Cancelled => {
                self.totals_mut().ignored += 1;
                return None;
            }
            Outcome::Failure | Outcome::Timeout if report.origin == Origin::Local => {
                self.totals_mut().local_failures += 1;
                if let Some(caller) = self.caller_mut(caller) {
                    caller.totals.local_failures += 1;
                }
                return None;
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
        let asked_until = if failed { self.asked_until(now, report.retry_after) } else { Timestamp::default() };
        Some(Sample { counts, runs: Runs::one(counts.failures), at: now, asked_until, ..Sample::default() })
    }

    /// Until when the dependency asks to be left alone, as far as the policy listens.
    fn asked_until(&self, now: Timestamp, retry_after: Option<Duration>) -> Timestamp {
        retry_after.map_or_else(Timestamp::default, |asked| now.after(asked.min(self.policy.retry_after_max)))
    }

    /// Counts calls of this generation and makes the move that follows. `None`: it is not known whose they are.
    fn weigh(&mut self, moment: Moment, caller: Option<CallerId>, sample: &Sample, moves: &mut Moves) {
        match &self.fleet.state {
            State::Closed => {
                let reached = self.record(moment.now, caller, sample);
                self.judge(moment, caller, sample, reached, moves);
            }
            State::HalfOpen(_) => {
                self.add_totals(&sample.counts, sample.at);
                let quorum = self.quorum();
                let sample = &Sample { room: self.statistics_room, ..*sample };
                self.fleet.statistics.probed(&self.policy, sample);
                let voters = VotersOf::new(self.callers.as_deref(), &self.policy);
                match self.fleet.probed(&self.policy, quorum, voters, caller.unwrap_or_default(), sample) {
                    Verdict::Reopen => self.reopen(moment, Reason::ProbesFailed, moves),
                    Verdict::Close => self.close(moment, moves),
                    Verdict::None => {}
                }
            }
            // Only bypassed calls are out while open.
            State::Open { .. } => {}
        }
    }

    /// Counts calls in the fleet's scope and in the caller's.
    ///
    /// The calls of a sample are in order, but only among themselves: what other callers did meanwhile has arrived before or
    /// will arrive later. So with several known callers the fleet takes a sample as one arrival, and only the caller's own
    /// scope is judged on the way through it.
    fn record(&mut self, now: Timestamp, caller: Option<CallerId>, sample: &Sample) -> OnTheWay {
        self.add_totals(&sample.counts, sample.at);
        let mut sample = Sample { room: self.statistics_room, ..*sample };
        let mut own = None;
        if let (Some(callers), Some(caller)) = (&mut self.callers, caller) {
            (sample.tag, own) = callers.record(&self.policy, now, caller, &sample);
        }
        let is_one = self.callers_known() <= 1;
        let fleet = self.fleet.statistics.record(&self.policy, now, &sample, is_one);
        OnTheWay { fleet: fleet.filter(|_| is_one), own }
    }

    fn add_totals(&mut self, counts: &Counts, at: Timestamp) {
        self.successes += counts.successes;
        self.failures += counts.failures;
        if counts.successes > 0 {
            self.last_success = self.last_success.max(at);
        }
        if counts.failures > 0 {
            self.last_failure = self.last_failure.max(at);
        }
        if counts.timeouts != 0 {
            self.totals_mut().timeouts += counts.timeouts;
        }
    }

    /// Opens the breaker if a rule holds without the worst callers; else isolates the caller if one holds on its calls.
    /// `sample` are the calls after which it is asked.
    fn judge(
        &mut self,
        moment: Moment,
        caller: Option<CallerId>,
        sample: &Sample,
        reached: OnTheWay,
        moves: &mut Moves,
    ) {
        let now = moment.now;
        let at_last = Trigger::of(&self.policy, &sample.last());
        if self.quorum() == 1 {
            let at_end = || self.fleet.statistics.reached(&self.policy, now, at_last).map(Box::new);
            if let Some(reached) = reached.fleet.or_else(at_end) {
                let evidence = reached.evidence(self.fleet.evidence(&self.policy, now));
                self.open(moment, Reason::TripRule(reached.trip.rule), evidence, reached.asked_until, 0, moves);
            }
            return;
        }
        let all = self.fleet.statistics.numbers(&self.policy, now);
        let trigger = Trigger::of(&self.policy, &sample.counts);
        let plain = rule::judge(&self.policy, &all, trigger);
        let Some(callers) = &mut self.callers else { return };
        // Where no rule holds on all calls it may still hold on those of one caller.
        if plain.is_some()
            && let Some((trip, remainder)) = callers.judge(&self.policy, now, &all, trigger, &mut self.fleet.statistics)
        {
            let evidence = Evidence {
                threshold: trip.threshold,
                callers: Some(remainder.callers),
                ..self.fleet.evidence(&self.policy, now)
            };
            return self.open(moment, Reason::TripRule(trip.rule), evidence, remainder.asked_until, 0, moves);
        }
        let Some((id, own)) = caller.and_then(|id| callers.get_mut(id).map(|own| (id, own))) else { return };
        let at_end = || own.scope.statistics.reached(&self.policy, now, at_last).map(Box::new);
        let Some(reached) = reached.own.or_else(at_end) else { return };
        let evidence = reached.evidence(own.scope.evidence(&self.policy, now));
        self.isolate(moment, id, Reason::TripRule(reached.trip.rule), evidence, reached.asked_until, 0, moves);
        let Some(callers) = &mut self.callers else { return };
        let isolated = callers.judge_isolated(&self.policy, now, &mut self.fleet.statistics);
        if let Some((trip, callers)) = isolated {
            let callers = Some(callers);
            let evidence = Evidence { threshold: trip.threshold, callers, ..self.fleet.evidence(&self.policy, now) };
            self.open(moment, Reason::TripRule(trip.rule), evidence, Timestamp::default(), 0, moves);
        }
    }

    /// Counts calls that a client decided on by itself. True where they counted; stale ones move nothing. At most
    /// `callers_max` callers are known, of at most [`CALLERS_MAX`].
    pub fn tally(
        &mut self,
        moment: Moment,
        caller: CallerId,
        service: ServiceId,
        tally: &Tally,
        callers_max: usize,
    ) -> Step<Reported> {
        let mut transitions = self.handle_timeout(moment);
        self.see(moment.now, caller, service, callers_max);
        if tally.rejections != 0 {
            self.totals_mut().rejected += u64::from(tally.rejections);
        }
        if let Some(caller) = self.caller_mut(caller) {
            caller.totals.rejected += u64::from(tally.rejections);
        }
        let (failures, calls) = (tally.failed(), tally.counted());
        let now = (self.fleet.generation, self.caller_generation(caller));
        if (tally.generation, tally.caller_generation) != now {
            self.totals_mut().stale += tally.calls();
            return Step { answer: Reported::Stale, transitions };
        }
        if tally.ignored != 0 || tally.local_failures != 0 {
            let totals = self.totals_mut();
            totals.ignored += u64::from(tally.ignored);
            totals.local_failures += u64::from(tally.local_failures);
            if let Some(caller) = self.caller_mut(caller) {
                caller.totals.local_failures += u64::from(tally.local_failures);
            }
        }
        if !self.fleet.state.is_closed() || self.is_isolated(caller) {
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
            let asked_until =
                if failures != 0 { self.asked_until(at, tally.retry_after) } else { Timestamp::default() };
            let sample = Sample { counts, runs: tally.runs(), at, asked_until, ..Sample::default() };
            self.weigh(moment, Some(caller), &sample, &mut transitions);
        }
        Step { answer: Reported::Counted, transitions }
    }

    // ---- What operators do -----------------------------------------------------------------------------------------

    /// Closes the breaker, with empty statistics and backoff, and restores every isolated caller. An override stays.
    pub fn reset(&mut self, moment: Moment) -> Step<()> {
        let mut transitions = self.handle_timeout(moment);
        for caller in self.callers.as_ref().map_or_else(Vec::new, |callers| callers.isolated_ids()) {
            self.restore_caller(moment, caller, Reason::Requested, &mut transitions);
        }
        self.clear_statistics();
        self.enter(moment, State::Closed, Kind::Reset, Reason::Requested, None, &mut transitions);
        Step { answer: (), transitions }
    }

    /// Moves an open breaker to half-open before its open period has passed. An override stays.
    pub fn probe_now(&mut self, moment: Moment) -> Step<ProbeNow> {
        let mut transitions = self.handle_timeout(moment);
        let answer = if let State::Open { failed_recoveries, .. } = self.fleet.state {
            let round = State::half_open(moment.now, failed_recoveries);
            self.enter(moment, round, Kind::HalfOpened, Reason::Requested, None, &mut transitions);
            ProbeNow::Moved
        } else {
            ProbeNow::NotOpen(self.fleet.state.name())
        };
        Step { answer, transitions }
    }

    /// As [`Breaker::probe_now`], for the scope of one isolated caller. The breaker's own state stays.
    pub fn probe_caller_now(&mut self, moment: Moment, caller: CallerId) -> Step<ProbeNow> {
        let mut transitions = self.handle_timeout(moment);
        let answer = match self.caller_mut(caller).map(|caller| caller.scope.state.name()) {
            None => ProbeNow::UnknownCaller,
            Some(StateName::Open) => {
                self.half_open_caller(moment, caller, Reason::Requested, &mut transitions);
                ProbeNow::Moved
            }
            Some(state) => ProbeNow::NotOpen(state),
        };
        Step { answer, transitions }
    }

    /// Holds the breaker in a state. An override with the same id is replaced; others stay, and the strongest is in force. False
    /// if the breaker has [`OVERRIDES_MAX`] others, and then nothing changes.
    pub fn set_override(&mut self, moment: Moment, forced: Override) -> Step<bool> {
        let mut transitions = self.handle_timeout(moment);
        let replaced = self.overrides().iter().position(|other| other.id == forced.id);
        if replaced.is_none() && self.overrides().len() >= OVERRIDES_MAX {
            return Step { answer: false, transitions };
        }
        let overrides = &mut self.rare_mut().overrides;
        if let Some(index) = replaced {
            overrides.remove(index);
        }
        overrides.push(forced);
        overrides.sort_by_key(Override::rank);
        self.enter(moment, self.restarted(moment.now), Kind::OverrideSet, Reason::Requested, None, &mut transitions);
        Step { answer: true, transitions }
    }

    /// Ends the override with an id; without one, all. False if there is none.
    pub fn clear_override(&mut self, moment: Moment, id: Option<&str>) -> Step<bool> {
        let mut transitions = self.handle_timeout(moment);
        let is_meant = |other: &Override| id.is_none_or(|id| other.id == id);
        let answer = self.overrides().iter().any(is_meant);
        if answer {
            self.end_overrides(moment, Reason::Requested, is_meant, &mut transitions);
        }
        Step { answer, transitions }
    }

    fn end_overrides(
        &mut self,
        moment: Moment,
        reason: Reason,
        is_meant: impl Fn(&Override) -> bool,
        moves: &mut Moves,
    ) {
        self.rare_mut().overrides.retain(|forced| !is_meant(forced));
        self.enter(moment, self.restarted(moment.now), Kind::OverrideCleared, reason, None, moves);
    }

    /// The state as an override begins or ends: a half-open round starts over, because its probes become stale.
    fn restarted(&self, now: Timestamp) -> State {
        match &self.fleet.state {
            State::HalfOpen(round) => State::half_open(now, round.failed_recoveries),
            state => state.clone(),
        }
    }

    /// Raises the version for a change beside the breaker's own that has to be committed with it.
    pub const fn touch(&mut self) {
        self.version += 1;
    }

    /// Follows another policy. State, generation, permits and the running open period stay; statistics stay where they
    /// still fit. The new rules are judged with the next report.
    pub fn set_policy(&mut self, moment: Moment, policy: Arc<Policy>) -> Step<()> {
        let mut transitions = self.handle_timeout(moment);
        // What has aged out so far is gone, also where the new policy would remember longer.
        self.fleet.statistics.streak.length(&self.policy, moment.now);
        self.fleet.statistics.refit(&policy, moment.now);
        if let Some(callers) = &mut self.callers {
            callers.refit(&self.policy, &policy, moment.now);
        }
        self.policy = policy;
        let limit = self.policy.half_open_max_duration;
        if let State::HalfOpen(round) = &mut self.fleet.state {
            round.limit_to(limit);
        }
        self.review_dispute(moment.now);
        self.version += 1;
        let name = self.fleet.state.name();
        self.tell(moment.now, Kind::PolicyChanged, name, Reason::Requested, None, &mut transitions);
        Step { answer: (), transitions }
    }

    // ---- What time does --------------------------------------------------------------------------------------------

    /// When the breaker next wants [`Breaker::handle_timeout`]; [`Timestamp::NEVER`] where time changes nothing.
    #[must_use]
    #[inline]
    pub fn deadline(&self) -> Timestamp {
        let ledger = self.ledger.as_ref().map_or(Timestamp::NEVER, |ledger| ledger.deadline());
        let callers = self.callers.as_ref().map_or(Timestamp::NEVER, |callers| callers.deadline());
        let next = self.fleet.state.until().min(ledger).min(callers);
        match &self.rare {
            Some(_) => next.min(self.override_deadline()).min(self.probe_deadline()),
            None => next,
        }
    }

    /// Makes the moves that time brings, in the order they fall due, each at the moment given: a breaker that was asleep
    /// over several deadlines goes on from now, so that no probe round passes unseen.
    #[inline]
    pub fn handle_timeout(&mut self, moment: Moment) -> Vec<Transition> {
        let sweep_at = self.callers.as_ref().map_or(Timestamp::NEVER, |callers| callers.sweep_at());
        if self.deadline().min(sweep_at) > moment.now { Moves::new() } else { self.fall_due_until(moment) }
    }

    #[cold]
    fn fall_due_until(&mut self, moment: Moment) -> Moves {
        let mut moves = Moves::new();
        self.forget_callers(moment, &mut moves);
        for _ in 0..DUE_MAX {
            let Some(due) = self.deadline().ever().filter(|due| *due <= moment.now) else { break };
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
        } else if self.override_deadline() <= due {
            self.end_overrides(moment, Reason::OverrideExpired, |forced| forced.expire <= due, moves);
        } else if self.callers.as_ref().is_some_and(|callers| callers.deadline() <= due) {
            self.caller_falls_due(due, moment, moves);
        } else if self.fleet.state.until() <= due {
            match &self.fleet.state {
                State::Open { failed_recoveries, .. } => {
                    let round = State::half_open(moment.now, *failed_recoveries);
                    self.enter(moment, round, Kind::HalfOpened, Reason::OpenPeriodPassed, None, moves);
                }
                State::HalfOpen(round) if round.disputed_until <= due => {
                    self.reopen(moment, Reason::ProbesFailed, moves);
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
        let Probe { permit, .. } = rare.probes.swap_remove(index);
        rare.totals.expired += 1;
        self.version += 1;
        if permit.generation != self.fleet.generation
            || permit.caller_generation != self.caller_generation(permit.caller)
        {
            return;
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.report(permit.slice, permit.serial, permit.caller);
        }
        let outcome = self.policy.expired_probe.outcome();
        match permit.kind {
            _ if outcome == Outcome::Ignored => self.let_others_go_first(moment.now, permit.caller),
            PermitKind::CallerProbe => {
                self.count_caller_probe(moment, permit.caller, &Report::of(outcome), moves);
            }
            _ => self.count(moment, permit.caller, &Report::of(outcome), moves),
        }
        self.review_dispute(moment.now);
    }

    fn expire_slices(&mut self, due: Timestamp, moment: Moment, moves: &mut Moves) {
        let Some(ledger) = &mut self.ledger else { return };
        let expired = ledger.expire(due);
        if ledger.is_empty() {
            self.ledger = None;
        }
        if expired.count == 0 {
            return;
        }
        self.totals_mut().expired += expired.count;
        let is_timeout = match self.policy.expired_permit {
            policy::ExpiredPermit::Ignored => return,
            policy::ExpiredPermit::Failure => false,
            policy::ExpiredPermit::Timeout => true,
        };
        let noted: u64 = expired.by_caller.iter().map(|(_, count)| count).sum();
        let nobodys = (None, expired.count.saturating_sub(noted));
        let of_callers = expired.by_caller.into_iter().map(|(caller, count)| (Some(caller), count));
        // An isolated caller has permits only by an override, which move nothing.
        let counts = |(caller, failures): &(Option<CallerId>, u64)| {
            *failures != 0 && !caller.is_some_and(|caller| self.is_isolated(caller))
        };
        let parts: Vec<_> = of_callers.chain([nobodys]).filter(counts).collect();
        if !self.fleet.state.is_closed() {
            return;
        }
        // All of them are counted before the first is judged: they failed together.
        for (caller, failures) in parts.iter().copied() {
            let timeouts = if is_timeout { failures } else { 0 };
            let counts = Counts { failures, timeouts, ..Counts::default() };
            let sample = Sample { counts, runs: Runs::one(failures), at: moment.now, ..Sample::default() };
            self.record(moment.now, caller, &sample);
        }
        for (caller, failures) in parts {
            if self.fleet.state.is_closed() {
                let counts = Counts { failures, ..Counts::default() };
                let sample = Sample { counts, ..Sample::default() };
                self.judge(moment, caller, &sample, OnTheWay::default(), moves);
            }
        }
    }

    // ---- Moves of the breaker --------------------------------------------------------------------------------------

    fn reopen(&mut self, moment: Moment, reason: Reason, moves: &mut Moves) {
        let State::HalfOpen(round) = &self.fleet.state else { return };
        let (asked_until, failed) = (round.asked_until, failed_after(round));
        let several = self.callers.as_ref().filter(|_| !round.failed.is_empty());
        let callers = several.map(|callers| Box::new(callers.of_failed(&self.policy, &round.failed)));
        let evidence = self.fleet.evidence(&self.policy, moment.now);
        let evidence = Evidence { failed_recoveries: failed, callers, ..evidence };
        self.open(moment, reason, evidence, asked_until, failed, moves);
    }

    fn open(
        &mut self,
        moment: Moment,
        reason: Reason,
        evidence: Evidence,
        asked_until: Timestamp,
        failed_recoveries: u32,
        moves: &mut Moves,
    ) {
        let from = self.fleet.state.name();
        let generation = self.fleet.generation + 1;
        let period = self.fleet.open(&self.policy, moment, generation, failed_recoveries, asked_until);
        let evidence =
            Evidence { open_duration: Some(period.duration), retry_after_applied: period.is_asked, ..evidence };
        let totals = self.totals_mut();
        totals.opens += 1;
        totals.last_open = Some(moment.now);
        let kind = if self.forced() == Some(OverrideMode::Shadow) { Kind::WouldHaveOpened } else { Kind::Opened };
        self.entered(moment.now, kind, from, reason, Some(evidence), moves);
    }

    fn close(&mut self, moment: Moment, moves: &mut Moves) {
        let evidence = self.fleet.evidence(&self.policy, moment.now);
        let totals = self.totals_mut();
        totals.closes += 1;
        totals.last_close = Some(moment.now);
        self.clear_statistics();
        self.enter(moment, State::Closed, Kind::Closed, Reason::ProbesSucceeded, Some(evidence), moves);
    }

    fn clear_statistics(&mut self) {
        self.fleet.statistics = Statistics::default();
        if let Some(callers) = &mut self.callers {
            callers.clear();
        }
    }

    /// Lets a disputed round end by itself, once no caller that could settle it has a probe out: one `open_duration`
    /// later, and at least 2 s.
    fn review_dispute(&mut self, now: Timestamp) {
        let quorum = self.quorum();
        let generation = self.fleet.generation;
        let probes = self.rare.as_ref().map_or(&[][..], |rare| &rare.probes);
        let voters = VotersOf::new(self.callers.as_deref(), &self.policy);
        let State::HalfOpen(round) = &mut self.fleet.state else { return };
        let settles = |probe: &Probe| {
            let Permit { kind, caller, .. } = probe.permit;
            kind == PermitKind::Probe && probe.permit.generation == generation && !round.has_failed(voters, caller)
        };
        if !round.is_disputed(&self.policy, quorum, voters) || probes.iter().any(settles) {
            round.disputed_until = Timestamp::NEVER;
        } else if round.disputed_until == Timestamp::NEVER {
            // Not before those have asked again that were told to come back.
            round.disputed_until = now.after(self.policy.open_duration.max(state::STEP_BACK));
        }
    }

    /// The breaker enters a state.
    fn enter(
        &mut self,
        moment: Moment,
        state: State,
        kind: Kind,
        reason: Reason,
        evidence: Option<Evidence>,
        moves: &mut Moves,
    ) {
        let from = self.fleet.state.name();
        self.fleet.enter(state, self.fleet.generation + 1, moment.now);
        if kind == Kind::Reset {
            self.fleet.since = moment.now;
        }
        self.entered(moment.now, kind, from, reason, evidence, moves);
    }

    /// What every move of the breaker brings: what was permitted before is stale.
    fn entered(
        &mut self,
        at: Timestamp,
        kind: Kind,
        from: StateName,
        reason: Reason,
        evidence: Option<Evidence>,
        moves: &mut Moves,
    ) {
        self.version += 1;
        self.ledger = None;
        self.tell(at, kind, from, reason, evidence, moves);
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
        let to = self.fleet.state.name();
        debug_assert!(kind.is_legal(from, to), "{kind:?} from {from:?} to {to:?}");
        moves.push(Transition { kind, from, to, reason, evidence, at, status: self.status(at), caller: None });
    }

    // ---- Moves of a caller -----------------------------------------------------------------------------------------

    /// Counts what an isolated caller's probe has said.
    fn count_caller_probe(&mut self, moment: Moment, id: CallerId, report: &Report, moves: &mut Moves) {
        let Some(sample) = self.sample(moment.now, id, report) else { return };
        self.add_totals(&sample.counts, sample.at);
        let Some(callers) = &mut self.callers else { return };
        let Some(caller) = callers.get_mut(id) else { return };
        caller.totals.successes += sample.counts.successes;
        caller.totals.failures += sample.counts.failures;
        match caller.scope.probed(&self.policy, 1, VotersOf::CALLERS, id, &sample) {
            Verdict::Close => self.restore_caller(moment, id, Reason::ProbesSucceeded, moves),
            Verdict::Reopen => self.isolate_again(moment, id, Reason::ProbesFailed, moves),
            Verdict::None => {}
        }
    }

    fn isolate_again(&mut self, moment: Moment, id: CallerId, reason: Reason, moves: &mut Moves) {
        let Some(callers) = &mut self.callers else { return };
        let Some(caller) = callers.get_mut(id) else { return };
        let Some(round) = caller.scope.state.round() else { return };
        let (asked_until, failed) = (round.asked_until, failed_after(round));
        let evidence = Evidence { failed_recoveries: failed, ..caller.scope.evidence(&self.policy, moment.now) };
        self.isolate(moment, id, reason, evidence, asked_until, failed, moves);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one move")]
    fn isolate(
        &mut self,
        moment: Moment,
        id: CallerId,
        reason: Reason,
        evidence: Evidence,
        asked_until: Timestamp,
        failed_recoveries: u32,
        moves: &mut Moves,
    ) {
        let Some(callers) = &mut self.callers else { return };
        let generation = callers.next_generation();
        let Some(caller) = callers.get_mut(id) else { return };
        let from = caller.scope.state.name();
        let period = caller.scope.open(&self.policy, moment, generation, failed_recoveries, asked_until);
        let evidence =
            Evidence { open_duration: Some(period.duration), retry_after_applied: period.is_asked, ..evidence };
        self.caller_entered(moment.now, id, Kind::CallerIsolated, from, reason, Some(evidence), moves);
    }

    fn restore_caller(&mut self, moment: Moment, id: CallerId, reason: Reason, moves: &mut Moves) {
        let Some(callers) = &mut self.callers else { return };
        callers.forget_evidence(moment.now, id, &mut self.fleet.statistics);
        let generation = callers.next_generation();
        let Some(caller) = callers.get_mut(id) else { return };
        let from = caller.scope.state.name();
        let evidence = caller.scope.evidence(&self.policy, moment.now);
        caller.scope.enter(State::Closed, generation, moment.now);
        self.caller_entered(moment.now, id, Kind::CallerRestored, from, reason, Some(evidence), moves);
    }

    fn caller_falls_due(&mut self, due: Timestamp, moment: Moment, moves: &mut Moves) {
        let Some(callers) = &mut self.callers else { return };
        let Some(id) = callers.due(due) else {
            // It was seen again since.
            callers.update();
            return self.forget_callers(moment, moves);
        };
        match callers.get(id).map(|caller| caller.scope.state.name()) {
            Some(StateName::Open) => self.half_open_caller(moment, id, Reason::OpenPeriodPassed, moves),
            _ => self.isolate_again(moment, id, Reason::HalfOpenTimedOut, moves),
        }
    }

    fn half_open_caller(&mut self, moment: Moment, id: CallerId, reason: Reason, moves: &mut Moves) {
        let Some(callers) = &mut self.callers else { return };
        let generation = callers.next_generation();
        let Some(caller) = callers.get_mut(id) else { return };
        let State::Open { failed_recoveries, .. } = caller.scope.state else { return };
        caller.scope.enter(State::half_open(moment.now, failed_recoveries), generation, moment.now);
        self.caller_entered(moment.now, id, Kind::CallerHalfOpened, StateName::Open, reason, None, moves);
    }

    /// Forgets callers that were not seen for [`KNOWN_FOR`].
    fn forget_callers(&mut self, moment: Moment, moves: &mut Moves) {
        let Some(callers) = &mut self.callers else { return };
        let mut forgotten = callers.sweep(moment.now, &mut self.fleet.statistics);
        for (id, caller) in &mut forgotten {
            let Some(callers) = &mut self.callers else { return };
            let from = caller.scope.state.name();
            caller.scope.enter(State::Closed, callers.next_generation(), moment.now);
            let caller = caller.status(*id, &self.policy, moment.now);
            self.tell_caller(moment.now, Kind::CallerRestored, from, Reason::CallerForgotten, None, caller, moves);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one move")]
    fn caller_entered(
        &mut self,
        at: Timestamp,
        id: CallerId,
        kind: Kind,
        from: StateName,
        reason: Reason,
        evidence: Option<Evidence>,
        moves: &mut Moves,
    ) {
        if let Some(ledger) = &mut self.ledger {
            ledger.disown(id);
        }
        let Some(callers) = &mut self.callers else { return };
        callers.update();
        let Some(caller) = callers.get_mut(id) else { return };
        let caller = caller.status(id, &self.policy, at);
        self.tell_caller(at, kind, from, reason, evidence, caller, moves);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one move")]
    fn tell_caller(
        &mut self,
        at: Timestamp,
        kind: Kind,
        from: StateName,
        reason: Reason,
        evidence: Option<Evidence>,
        caller: CallerStatus,
        moves: &mut Moves,
    ) {
        self.version += 1;
        let to = caller.state;
        debug_assert!(kind.is_legal(from, to), "{kind:?} from {from:?} to {to:?}");
        moves.push(Transition { kind, from, to, reason, evidence, at, status: self.status(at), caller: Some(caller) });
    }

    // ---- What can be seen ------------------------------------------------------------------------------------------

    /// Where the breaker stands.
    pub fn status(&mut self, now: Timestamp) -> Status {
        Status {
            state: self.fleet.state.name(),
            forced: self.forced(),
            generation: self.fleet.generation,
            since: self.fleet.since,
            until: self.fleet.state.until(),
            override_expire: self.override_expire(),
            failures: self.fleet.statistics.streak.length(&self.policy, now),
        }
    }

    /// The computed state with its data.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.fleet.state
    }

    /// The generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.fleet.generation
    }

    /// Where a caller stands; `None` where it is not known.
    pub fn caller_status(&mut self, caller: CallerId, now: Timestamp) -> Option<CallerStatus> {
        let policy = Arc::clone(&self.policy);
        self.caller_mut(caller).map(|own| own.status(caller, &policy, now))
    }

    /// The known callers with their numbers.
    pub fn callers(&mut self, now: Timestamp) -> Vec<CallerView> {
        let (policy, fleet) = (Arc::clone(&self.policy), self.fleet.statistics.numbers(&self.policy, now));
        let Some(callers) = &mut self.callers else { return Vec::new() };
        let is_alone = callers.is_alone();
        let view = |(id, caller): (CallerId, &mut callers::Caller)| {
            let mut status = caller.status(id, &policy, now);
            let mut window = caller.scope.statistics.counts(now);
            if is_alone {
                (status.failures, window) = (fleet.streak, fleet.counts);
            }
            CallerView { status, window, totals: caller.totals, seen: caller.seen }
        };
        callers.iter_mut().map(view).collect()
    }

    /// Callers that are known. One where nobody has given a name is not among them.
    #[must_use]
    pub fn callers_known(&self) -> usize {
        self.callers.as_ref().map_or(0, |callers| callers.len())
    }

    /// Callers that are isolated.
    #[must_use]
    pub fn callers_isolated(&self) -> usize {
        self.callers.as_ref().map_or(0, |callers| callers.isolated())
    }

    /// How many callers must have evidence before it opens for all.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.callers.as_ref().map_or(1, |callers| callers.quorum(&self.policy))
    }

    /// The state and the generation of a caller's scope. Closed and 0 where it has never moved.
    #[must_use]
    pub fn caller_scope(&self, caller: CallerId) -> (StateName, u64) {
        // Most breakers have never isolated anybody.
        let callers = self.callers.as_ref().filter(|callers| callers.have_moved());
        let scope = callers.and_then(|callers| callers.get(caller)).map(|caller| &caller.scope);
        scope.map_or((StateName::Closed, 0), |scope| (scope.state.name(), scope.generation))
    }

    fn caller_generation(&self, caller: CallerId) -> u64 {
        self.caller_scope(caller).1
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
        self.fleet.statistics.counts(now)
    }

    /// Counts over its life.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let rare = self.rare.as_ref().map_or_else(Totals::default, |rare| rare.totals);
        let ever = |at: Timestamp| (at != Timestamp::default()).then_some(at);
        Totals {
            successes: self.successes,
            failures: self.failures,
            last_success: ever(self.last_success),
            last_failure: ever(self.last_failure),
            ..rare
        }
    }

    /// Probes that are out, also those of earlier rounds.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        self.rare.as_ref().map_or(&[], |rare| &rare.probes)
    }

    /// All overrides, the strongest first.
    #[must_use]
    pub fn overrides(&self) -> &[Override] {
        self.rare.as_ref().map_or(&[], |rare| &rare.overrides)
    }

    /// The override in force.
    #[must_use]
    pub fn forced_override(&self) -> Option<&Override> {
        self.overrides().first()
    }

    /// What is forced.
    #[must_use]
    pub fn forced(&self) -> Option<OverrideMode> {
        self.forced_override().map(|forced| forced.mode)
    }

    /// Recoveries that have failed in a row since it was last closed.
    #[must_use]
    pub const fn failed_recoveries(&self) -> u32 {
        self.fleet.state.failed_recoveries()
    }

    /// Memory of statistics and known callers, in bytes. An idle breaker has none.
    #[must_use]
    pub fn statistics_bytes(&self) -> usize {
        self.fleet.statistics.bytes() + self.callers.as_ref().map_or(0, |callers| callers.bytes())
    }

    /// Bounds the memory that statistics may take from now on beyond what they have, in bytes. Without room, a count window
    /// holds as many calls as it has places for, and callers whose calls are not counted apart yet count as one. Not in a
    /// snapshot.
    pub const fn set_statistics_room(&mut self, room: usize) {
        self.statistics_room = room;
    }

    /// Memory of the permit ledger, in bytes.
    #[must_use]
    pub fn ledger_bytes(&self) -> usize {
        self.ledger.as_ref().map_or(0, |ledger| ledger.bytes())
    }

    /// Gives memory back where time has emptied it. True where the breaker is as good as new: closed, nothing counted,
    /// no permit out, no override, nobody isolated. Who has called is forgotten with it.
    pub fn tidy(&mut self, now: Timestamp) -> bool {
        if let Some(callers) = &mut self.callers {
            callers.tidy(&self.policy, now);
        }
        self.fleet.statistics.tidy(&self.policy, now) && self.is_at_rest()
    }

    /// Whether it is closed, with no permit out, no override and nobody isolated. Calls may be counted.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.fleet.state.is_closed()
            && self.ledger.as_ref().is_none_or(|ledger| ledger.is_empty())
            && self.probes().is_empty()
            && self.forced().is_none()
            && self.callers_isolated() == 0
    }

    /// The breaker as data.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.version,
            generation: self.fleet.generation,
            state: self.fleet.state.clone(),
            since: self.fleet.since,
            streak: self.fleet.statistics.streak.snapshot(),
            window: self.fleet.statistics.snapshot_window(),
            probes: self.probes().to_vec(),
            overrides: self.overrides().to_vec(),
            totals: self.totals(),
            callers: self.callers.as_ref().map(|callers| callers.snapshot()),
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
            overrides: snapshot.overrides,
            totals: Totals { successes: 0, failures: 0, last_success: None, last_failure: None, ..snapshot.totals },
        };
        let callers = snapshot.callers.map(|callers| Box::new(Callers::restore(&policy, callers, now)));
        let state = snapshot.state.restored();
        Self {
            policy,
            version: snapshot.version,
            fleet: Scope { generation: snapshot.generation, state, since: snapshot.since, statistics },
            callers,
            ledger: None,
            successes: snapshot.totals.successes,
            failures: snapshot.totals.failures,
            last_success: snapshot.totals.last_success.unwrap_or_default(),
            last_failure: snapshot.totals.last_failure.unwrap_or_default(),
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            statistics_room: usize::MAX,
        }
    }

    // ---- Details ---------------------------------------------------------------------------------------------------

    fn caller(&self, caller: CallerId) -> Option<&callers::Caller> {
        self.callers.as_ref().and_then(|callers| callers.get(caller))
    }

    fn caller_mut(&mut self, caller: CallerId) -> Option<&mut callers::Caller> {
        self.callers.as_mut().and_then(|callers| callers.get_mut(caller))
    }

    fn is_isolated(&self, caller: CallerId) -> bool {
        self.callers_isolated() != 0 && self.caller(caller).is_some_and(callers::Caller::is_isolated)
    }

    fn has_several_callers(&self) -> bool {
        self.callers.as_ref().is_some_and(|callers| !callers.is_alone())
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn totals_mut(&mut self) -> &mut Totals {
        &mut self.rare_mut().totals
    }

    /// When the override in force ends by itself.
    fn override_expire(&self) -> Timestamp {
        self.forced_override().map_or(Timestamp::NEVER, |forced| forced.expire)
    }

    /// When the next override ends by itself, whichever is in force.
    fn override_deadline(&self) -> Timestamp {
        self.overrides().iter().map(|forced| forced.expire).min().unwrap_or(Timestamp::NEVER)
    }

    /// When the next lease of a probe ends.
    fn probe_deadline(&self) -> Timestamp {
        self.probes().iter().map(|probe| probe.permit.expire).min().unwrap_or(Timestamp::NEVER)
    }

    /// The permit of the probe that this very request was granted.
    fn probe_of(&self, request: RequestId) -> Option<Permit> {
        let granted = |probe: &&Probe| {
            probe.request == request
                && probe.permit.generation == self.fleet.generation
                && probe.permit.caller_generation == self.caller_generation(probe.permit.caller)
        };
        if request == RequestId::default() {
            return None;
        }
        self.probes().iter().find(granted).map(|probe| probe.permit)
    }
}

/// Most that can fall due at one instant: every lease of a probe, and the states of all callers. A deadline that is left after
/// that has made no progress, which the engine notices.
const DUE_MAX: u32 = (1 + CALLERS_MAX as u32) * policy::PROBES_MAX + 10 * CALLERS_MAX as u32;

/// Recoveries that have failed in a row, with this one. A round in which nobody got a probe says nothing.
const fn failed_after(round: &Round) -> u32 {
    if round.granted == 0 { round.failed_recoveries } else { round.failed_recoveries.saturating_add(1) }
}

impl Permit {
    /// Whether both are one permit. What the holder could have altered (kind, expiry, caller) does not matter.
    fn is_same(&self, other: &Self) -> bool {
        (self.generation, self.slice, self.serial) == (other.generation, other.slice, other.serial)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_secs(1_000_000 + seconds))
    }

    fn moment(seconds: u64) -> Moment {
        Moment { now: at(seconds), random: 0 }
    }

    fn of(caller: u64) -> Acquire {
        let caller = CallerId(caller);
        Acquire {
            caller,
            service: caller.into(),
            request: RequestId::default(),
            lease: None,
            ledger_bytes_max: LEDGER_BYTES_MAX,
            callers_max: CALLERS_MAX,
        }
    }

    fn breaker(policy: Policy) -> Breaker {
        Breaker::new(Arc::new(policy), 7, at(0))
    }

    /// A policy that trips at the first failure.
    fn touchy() -> Policy {
        Policy { failure_threshold: NonZeroU32::new(1), min_callers: 1, ..Policy::default() }
    }

    fn permit(breaker: &mut Breaker, seconds: u64, caller: u64) -> Permit {
        match breaker.acquire(moment(seconds), &of(caller)).answer {
            Decision::Permitted(permit) => permit,
            rejected @ Decision::Rejected { .. } => panic!("{rejected:?}"),
        }
    }

    fn call(breaker: &mut Breaker, seconds: u64, caller: u64, outcome: Outcome) -> Vec<Transition> {
        let permit = permit(breaker, seconds, caller);
        breaker.report(moment(seconds), &permit, &Report::of(outcome)).transitions
    }

    #[test]
    fn more_can_fall_due_at_one_instant_than_there_are_probes_and_callers() {
        assert_eq!(DUE_MAX, 257 * 1_000 + 2_560);
    }

    #[test]
    fn a_breaker_is_at_rest_while_nothing_waits_for_anything() {
        let mut one = breaker(touchy());
        assert!(one.is_at_rest());
        let out = permit(&mut one, 0, 0);
        assert!(!one.is_at_rest(), "a permit is out");
        one.report(moment(0), &out, &Report::of(Outcome::Success));
        assert!(!one.is_at_rest(), "until its lease ends a second report is told from a first");
        one.handle_timeout(moment(100));
        assert!(one.is_at_rest(), "calls may be counted");
        call(&mut one, 100, 0, Outcome::Failure);
        assert!(!one.is_at_rest(), "it is open");
        let mut many = breaker(Policy { min_callers: 2, ..touchy() });
        call(&mut many, 0, 1, Outcome::Success);
        call(&mut many, 0, 2, Outcome::Failure);
        many.handle_timeout(moment(1));
        assert!(!many.is_at_rest(), "a caller is isolated");
    }

    #[test]
    fn the_memory_of_permits_is_told() {
        let mut one = breaker(Policy::default());
        assert_eq!(one.ledger_bytes(), 0);
        for _ in 0..1_000 {
            permit(&mut one, 0, 0);
        }
        assert!((125..=512).contains(&one.ledger_bytes()), "{} bytes for a bit each", one.ledger_bytes());
    }

    #[test]
    fn without_room_callers_have_no_windows_of_their_own_and_streaks_stop_growing() {
        let bytes = |room: usize| {
            let mut one = breaker(Policy::default());
            one.set_statistics_room(room);
            for caller in [1, 2, 3] {
                call(&mut one, 0, caller, Outcome::Success);
                call(&mut one, 0, caller, Outcome::Success);
                call(&mut one, 0, caller, Outcome::Failure);
            }
            assert_eq!(one.counts(at(0)).calls(), 9, "the fleet's window is always made");
            one.statistics_bytes()
        };
        let window = window::Window::bytes_of(Policy::default().window);
        assert!(bytes(usize::MAX) >= bytes(0) + 2 * window, "{} and {}", bytes(usize::MAX), bytes(0));

        let failures = |room: usize| {
            let policy = Policy {
                failure_threshold: NonZeroU32::new(10_000),
                monitoring_period: Some(Duration::from_secs(3_600)),
                failure_count_threshold: NonZeroU32::new(1),
                failures_to_reopen: 1_000,
                probes: 1_000,
                ..touchy()
            };
            let mut one = breaker(policy);
            call(&mut one, 0, 0, Outcome::Failure);
            one.set_statistics_room(room);
            for _ in 0..300 {
                call(&mut one, 60, 0, Outcome::Failure);
            }
            assert_eq!(one.state().name(), StateName::HalfOpen);
            one.status(at(60)).failures
        };
        assert_eq!(failures(usize::MAX), 301);
        assert_eq!(failures(0), 128, "as many as have a place");
    }

    #[test]
    fn a_move_tells_how_many_recoveries_have_failed() {
        let mut one = breaker(touchy());
        let mut told = Vec::new();
        for round in 0..4 {
            let moves = call(&mut one, 100 * round, 0, Outcome::Failure);
            let evidence =
                moves.iter().filter(|step| step.kind == Kind::Opened).filter_map(|step| step.evidence.as_ref());
            told.extend(evidence.map(|evidence| evidence.failed_recoveries));
        }
        assert_eq!(told, [0, 1, 2, 3]);
        let moves = call(&mut one, 400, 0, Outcome::Success);
        let [.., step] = &moves[..] else { panic!("it closes") };
        let evidence = step.evidence.as_ref().unwrap();
        assert_eq!((step.kind, evidence.failed_recoveries), (Kind::Closed, 3));
        assert_eq!((evidence.probe_successes, evidence.probe_failures), (1, 0));
        assert_eq!((one.totals().opens, one.totals().closes), (4, 1));
        assert_eq!((one.totals().last_open, one.totals().last_close), (Some(at(300)), Some(at(400))));
    }

    #[test]
    fn an_isolated_callers_moves_tell_of_its_own_calls_and_generation() {
        let window = policy::WindowSpec::Time { duration: Duration::from_secs(600), slices: 10 };
        let mut one = breaker(Policy { min_callers: 2, window, ..touchy() });
        call(&mut one, 0, 2, Outcome::Success);
        let mut told = Vec::new();
        told.extend(call(&mut one, 0, 1, Outcome::Failure));
        told.extend(call(&mut one, 40, 1, Outcome::Timeout));
        told.extend(call(&mut one, 80, 1, Outcome::Success));
        let kinds: Vec<_> = told.iter().map(|step| step.kind).collect();
        assert_eq!(
            kinds,
            [Kind::CallerIsolated, Kind::CallerIsolated, Kind::CallerRestored],
            "time moves it with the acquire"
        );
        let evidence: Vec<_> = told.iter().map(|step| step.evidence.as_ref().unwrap()).collect();
        assert_eq!([0, 1, 2].map(|step| evidence[step].failed_recoveries), [0, 1, 1]);
        assert_eq!([0, 1, 2].map(|step| evidence[step].probe_failures), [0, 1, 0]);
        assert_eq!([0, 1, 2].map(|step| evidence[step].probe_successes), [0, 0, 1]);
        assert_eq!([0, 1].map(|step| evidence[step].open_duration), [Some(Duration::from_secs(30)); 2]);
        let scopes: Vec<_> = told.iter().map(|step| step.caller.as_ref().unwrap()).collect();
        assert_eq!([0, 1, 2].map(|step| scopes[step].generation), [1, 3, 5]);
        assert_eq!([0, 1, 2].map(|step| scopes[step].since), [at(0), at(40), at(80)]);
        assert_eq!([0, 1].map(|step| scopes[step].until), [at(30), at(70)]);
        assert!(told.iter().all(|step| step.status.generation == 7), "the breaker does not move");
        let views = one.callers(at(80));
        assert_eq!((views[0].totals.successes, views[0].totals.failures), (1, 2));
        assert_eq!((one.totals().successes, one.totals().failures, one.totals().timeouts), (2, 2, 1));
        assert_eq!(
            one.counts(at(80)),
            Counts { successes: 1, ..Counts::default() },
            "what the restored one said is gone"
        );
    }

    #[test]
    fn a_reset_begins_anew_and_a_probe_on_request_keeps_the_recoveries_that_have_failed() {
        let mut one = breaker(touchy());
        assert_eq!(one.probe_now(moment(1)).answer, ProbeNow::NotOpen(StateName::Closed));
        one.reset(moment(2));
        assert_eq!((one.status(at(2)).since, one.generation()), (at(2), 8), "also where it was closed");
        call(&mut one, 3, 0, Outcome::Failure);
        let step = one.probe_now(moment(4));
        assert_eq!((step.answer, step.transitions[0].reason), (ProbeNow::Moved, Reason::Requested));
        assert_eq!(one.failed_recoveries(), 0);
        call(&mut one, 5, 0, Outcome::Failure);
        assert_eq!(one.failed_recoveries(), 1);
        assert_eq!(one.probe_now(moment(6)).answer, ProbeNow::Moved);
        assert_eq!((one.failed_recoveries(), one.status(at(6)).since), (1, at(6)));
        assert_eq!(one.probe_now(moment(7)).answer, ProbeNow::NotOpen(StateName::HalfOpen));
        assert_eq!(one.probe_caller_now(moment(7), CallerId(9)).answer, ProbeNow::UnknownCaller);
    }

    #[test]
    fn while_nothing_can_be_recorded_a_breaker_permits_where_it_is_closed_or_held_closed() {
        let now = at(0);
        let decide = |one: &mut Breaker, told: Option<&Status>| match one.acquire_unrecorded(now, &of(1), told) {
            Decision::Permitted(permit) => Ok((permit.kind, permit.generation)),
            Decision::Rejected { reason, retry_after } => {
                assert!(retry_after >= Duration::from_secs(1));
                Err(reason)
            }
        };
        let forced = |mode| Override {
            id: Override::DEFAULT_ID.to_owned(),
            mode,
            actor: String::new(),
            reason: String::new(),
            set: now,
            expire: Timestamp::NEVER,
        };
        let closed = breaker(touchy());
        let mut open = closed.clone();
        call(&mut open, 0, 0, Outcome::Failure);
        let told_open = open.clone().status(now);
        let told_closed = Status { generation: 5, ..closed.clone().status(now) };
        assert_eq!(decide(&mut closed.clone(), None), Ok((PermitKind::Call, 7)));
        assert_eq!(decide(&mut closed.clone(), Some(&told_closed)), Ok((PermitKind::Call, 5)), "of what is told");
        assert_eq!(decide(&mut closed.clone(), Some(&told_open)), Err(Rejection::Open));
        assert_eq!(decide(&mut open.clone(), None), Err(Rejection::Open));
        assert_eq!(decide(&mut open.clone(), Some(&told_closed)), Err(Rejection::Open));
        for mode in [OverrideMode::ForcedClosed, OverrideMode::Shadow] {
            let mut held = open.clone();
            held.set_override(moment(0), forced(mode));
            let (kind, _) = decide(&mut held, None).unwrap();
            assert_eq!(kind, PermitKind::Bypass);
            let told = Status { forced: Some(mode), ..told_open };
            assert_eq!(decide(&mut closed.clone(), Some(&told)).map(|(kind, _)| kind), Ok(PermitKind::Bypass));
        }
        let mut held = closed.clone();
        held.set_override(moment(0), forced(OverrideMode::ForcedOpen));
        assert_eq!(decide(&mut held, None), Err(Rejection::ForcedOpen));
        assert_eq!(decide(&mut held, Some(&told_closed)), Err(Rejection::ForcedOpen));
        let told = Status { forced: Some(OverrideMode::ForcedOpen), ..told_closed };
        let mut told_held = closed;
        assert_eq!(decide(&mut told_held, Some(&told)), Err(Rejection::ForcedOpen));
        let mut isolated = breaker(Policy { min_callers: 2, ..touchy() });
        call(&mut isolated, 0, 2, Outcome::Success);
        call(&mut isolated, 0, 1, Outcome::Failure);
        assert_eq!(decide(&mut isolated, None), Err(Rejection::Open));
    }

    fn forced(id: &str, mode: OverrideMode, expire: Timestamp) -> Override {
        Override { id: id.to_owned(), mode, actor: String::new(), reason: String::new(), set: at(0), expire }
    }

    #[test]
    fn the_version_rises_with_everything_that_has_to_be_stored_and_with_nothing_else() {
        let policy = Policy {
            successes_to_close: 3,
            failures_to_reopen: 3,
            expired_probe: policy::ExpiredPermit::Ignored,
            lease: Duration::from_secs(10),
            ..touchy()
        };
        let mut one = breaker(policy.clone());
        assert_eq!(one.version(), 0);
        call(&mut one, 0, 1, Outcome::Success);
        one.tally(
            moment(0),
            CallerId(2),
            ServiceId(2),
            &Tally { generation: 7, successes: 2, ..Tally::default() },
            CALLERS_MAX,
        );
        assert_eq!(one.version(), 0, "calls of a closed breaker");
        let mut last = 0;
        let mut rises = |one: &Breaker, by: u64, what: &str| {
            assert_eq!(one.version() - last, by, "{what}");
            last = one.version();
        };
        one.touch();
        rises(&one, 1, "what is beside it");
        call(&mut one, 0, 1, Outcome::Failure);
        rises(&one, 1, "it opens");
        let probe = permit(&mut one, 40, 1);
        rises(&one, 2, "it is half-open, and a probe is out");
        one.report(moment(40), &probe, &Report::of(Outcome::Success));
        rises(&one, 1, "a probe's verdict");
        let probe = permit(&mut one, 41, 1);
        one.report(moment(41), &probe, &Report::of(Outcome::Ignored));
        rises(&one, 2, "one without a verdict");
        let probe = permit(&mut one, 42, 1);
        one.report(moment(42), &probe, &Report::of(Outcome::Failure));
        rises(&one, 2, "a failure");
        permit(&mut one, 43, 1);
        rises(&one, 1, "a probe is out");
        one.handle_timeout(moment(60));
        rises(&one, 1, "its lease has ended");
        one.set_policy(moment(61), Arc::new(Policy { probes: 2, ..policy }));
        rises(&one, 1, "another policy");
        one.set_override(moment(61), forced("a", OverrideMode::Shadow, at(70)));
        rises(&one, 1, "an override");
        one.handle_timeout(moment(70));
        rises(&one, 1, "it has ended");
        one.reset(moment(71));
        rises(&one, 1, "a reset");
        let snapshot = one.snapshot();
        let policy = Arc::clone(one.policy());
        assert_eq!(Breaker::restore(policy, snapshot, at(71)).version(), one.version());
    }

    #[test]
    fn the_strongest_override_is_in_force_and_the_longest_of_the_same_strength_comes_first() {
        let mut one = breaker(touchy());
        let set = |one: &mut Breaker, id: &str, mode, seconds| {
            one.set_override(moment(0), forced(id, mode, at(seconds))).answer
        };
        let ids = |one: &Breaker| one.overrides().iter().map(|forced| forced.id.clone()).collect::<Vec<_>>();
        for (id, mode, seconds) in [
            ("s", OverrideMode::Shadow, 90),
            ("c1", OverrideMode::ForcedClosed, 50),
            ("o1", OverrideMode::ForcedOpen, 20),
            ("c2", OverrideMode::ForcedClosed, 60),
            ("o2", OverrideMode::ForcedOpen, 30),
        ] {
            assert!(set(&mut one, id, mode, seconds));
        }
        assert_eq!(ids(&one), ["o2", "o1", "c2", "c1", "s"]);
        assert_eq!(one.status(at(0)).forced, Some(OverrideMode::ForcedOpen));
        assert_eq!(one.status(at(0)).override_expire, at(30));
        assert!(set(&mut one, "o2", OverrideMode::Shadow, 95), "one with the same id is replaced");
        assert_eq!(ids(&one), ["o1", "c2", "c1", "o2", "s"]);
        one.handle_timeout(moment(20));
        assert_eq!(one.status(at(20)).forced, Some(OverrideMode::ForcedClosed));
        assert!(one.clear_override(moment(21), Some("c1")).answer);
        assert!(!one.clear_override(moment(21), Some("c1")).answer);
        assert_eq!(ids(&one), ["c2", "o2", "s"]);
        for number in 3..OVERRIDES_MAX {
            assert!(set(&mut one, &number.to_string(), OverrideMode::Shadow, 99), "{number}");
        }
        let generation = one.generation();
        assert!(!set(&mut one, "one more", OverrideMode::ForcedOpen, 99));
        assert_eq!((one.overrides().len(), one.generation()), (OVERRIDES_MAX, generation), "nothing has changed");
        assert!(set(&mut one, "s", OverrideMode::ForcedOpen, 99), "in the place of another");
        assert!(one.clear_override(moment(22), None).answer);
        assert_eq!((one.overrides().len(), one.status(at(22)).forced), (0, None));
    }

    #[test]
    fn a_tallys_calls_are_counted_where_they_belong() {
        let mut one = breaker(Policy { min_callers: 2, failure_threshold: NonZeroU32::new(50), ..Policy::default() });
        let tally = Tally {
            generation: 7,
            successes: 10,
            failures: 3,
            timeouts: 2,
            slow: 99,
            ignored: 4,
            rejections: 5,
            local_failures: 6,
            ..Tally::default()
        };
        let told = |one: &mut Breaker, tally: &Tally| {
            one.tally(moment(10), CallerId(1), ServiceId(1), tally, CALLERS_MAX).answer
        };
        assert_eq!(told(&mut one, &Tally { age: Duration::from_secs(4), ..tally }), Reported::Counted);
        let totals = one.totals();
        assert_eq!((totals.successes, totals.failures, totals.timeouts), (10, 5, 2));
        assert_eq!((totals.ignored, totals.rejected, totals.local_failures), (4, 5, 6));
        assert_eq!(
            (totals.last_success, totals.last_failure),
            (Some(at(6)), Some(at(6))),
            "when the oldest of them was"
        );
        assert_eq!((totals.stale, totals.bypassed), (0, 0));
        assert_eq!(one.counts(at(10)), Counts { successes: 10, failures: 5, timeouts: 2, slow: 15 });
        assert_eq!(told(&mut one, &Tally { generation: 6, ..tally }), Reported::Stale);
        assert_eq!((one.totals().stale, one.totals().rejected, one.totals().ignored), (25, 10, 4));
        one.set_override(moment(10), forced("a", OverrideMode::ForcedOpen, Timestamp::NEVER));
        let now = Tally { generation: one.generation(), ..tally };
        assert_eq!(told(&mut one, &now), Reported::Counted, "a breaker that is held is closed all the same");
        call(&mut breaker(touchy()), 10, 1, Outcome::Failure);
        let mut open = breaker(touchy());
        call(&mut open, 10, 1, Outcome::Failure);
        let of_open = Tally { generation: open.generation(), ..tally };
        assert_eq!(told(&mut open, &of_open), Reported::Counted);
        assert_eq!((open.totals().bypassed, open.totals().failures), (15, 1), "it moves nothing");
        let views = one.callers(at(10));
        let [view] = &views[..] else { panic!("one caller") };
        assert_eq!((view.totals.rejected, view.totals.local_failures), (15, 12));
    }

    #[test]
    fn a_round_that_fails_tells_whose_probes_did() {
        let mut one = breaker(Policy { min_callers: 2, probes: 2, failures_to_reopen: 2, ..touchy() });
        call(&mut one, 0, 1, Outcome::Success);
        call(&mut one, 0, 2, Outcome::Failure);
        call(&mut one, 0, 1, Outcome::Failure);
        assert_eq!(one.state().name(), StateName::Open);
        let probes = [3, 4].map(|caller| permit(&mut one, 40, caller));
        let moves = probes.map(|probe| one.report(moment(40), &probe, &Report::of(Outcome::Failure)).transitions);
        let [first, second] = &moves;
        assert_eq!(first[..], []);
        let callers = second[0].evidence.as_ref().unwrap().callers.as_ref().unwrap();
        let with: Vec<_> = callers.with.iter().map(|part| (part.caller.0, part.calls, part.failures)).collect();
        assert_eq!((second[0].kind, callers.quorum, with), (Kind::Opened, 2, vec![(3, 1, 1), (4, 1, 1)]));
    }

    #[test]
    fn a_tally_without_calls_is_judged_by_no_rule() {
        let mut one = breaker(Policy { failure_threshold: NonZeroU32::new(2), ..touchy() });
        call(&mut one, 0, 0, Outcome::Failure);
        one.set_policy(moment(0), Arc::new(touchy()));
        let told = |one: &mut Breaker, failures| {
            let tally = Tally { generation: 7, failures, rejections: 1, ..Tally::default() };
            one.tally(moment(1), CallerId(0), ServiceId(0), &tally, CALLERS_MAX);
            one.state().name()
        };
        assert_eq!(told(&mut one, 0), StateName::Closed, "although the failure of before would hold the new rule");
        assert_eq!(told(&mut one, 1), StateName::Open);
    }

    #[test]
    fn totals_add_up_field_by_field() {
        let of = |scale: u64| Totals {
            opens: scale,
            closes: 2 * scale,
            successes: 3 * scale,
            failures: 4 * scale,
            timeouts: 5 * scale,
            ignored: 6 * scale,
            rejected: 7 * scale,
            stale: 8 * scale,
            expired: 9 * scale,
            bypassed: 10 * scale,
            local_failures: 11 * scale,
            ..Totals::default()
        };
        let mut sum = of(100);
        sum += &Totals { last_open: Some(Timestamp::default()), ..of(7) };
        assert_eq!(sum, of(107), "the instants stay");
    }
}
