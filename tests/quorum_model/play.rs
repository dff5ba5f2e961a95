//! Random policies, and what callers may send.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc, time::Duration};

use fuseboard::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Decision, LEDGER_BYTES_MAX, Moment, Origin, Outcome, Permit, Policy,
    Rejection, Report, Reported, RequestId, ServiceId, Tally, Timestamp, Transition,
    policy::{ExpiredPermit, Ratio, Voters, WindowSpec},
};
use proptest::prelude::*;

/// What one caller, or time, does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Wait(Duration),
    Acquire(u64, u128),
    /// Of the permit issued so many permits ago.
    Report(usize, Report),
    Call(u64, Report),
    Tally(u64, Tally),
    See(u64),
    Reset,
    ProbeNow(Option<u64>),
    Restore,
}

/// What came of an op.
pub(crate) struct Told {
    pub(crate) moves: Vec<Transition>,
    /// The calls that were reported: whose, and what became of it.
    pub(crate) reported: Option<(Permit, Reported)>,
    pub(crate) decision: Option<Decision>,
}

/// Services of the callers with small numbers: each third caller is of one service. The others have one each.
const SERVICES: u64 = 3;

/// The service that a caller is an instance of.
pub(crate) const fn service_of(caller: u64) -> ServiceId {
    ServiceId(if caller < 100 { 1 + caller % SERVICES } else { caller })
}

/// A breaker, its time, and every permit there ever was.
pub(crate) struct Play {
    pub(crate) breaker: Breaker,
    pub(crate) now: Timestamp,
    pub(crate) permits: Vec<Permit>,
}

impl Play {
    pub(crate) fn new(policy: Policy) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000_000_000);
        Self { breaker: Breaker::new(Arc::new(policy), 7, now), now, permits: Vec::new() }
    }

    /// The service of a caller as the engine says it: looked up only where services vote.
    fn service(&self, caller: CallerId) -> ServiceId {
        match self.breaker.policy().voters {
            Voters::Instance => caller.into(),
            Voters::Service => service_of(caller.0),
        }
    }

    /// What tells the voter of a caller from others.
    pub(crate) fn voter_of(&self, caller: CallerId) -> ServiceId {
        let services: HashSet<_> =
            self.breaker.clone().callers(self.now).iter().map(|view| self.service(view.status.caller)).collect();
        if services.len() > 1 { self.service(caller) } else { caller.into() }
    }

    /// Notes that a caller is there.
    pub(crate) fn see(&mut self, caller: u64) {
        let caller = CallerId(caller);
        self.breaker.see(self.now, caller, self.service(caller), CALLERS_MAX);
    }

    /// A snapshot has no services: they are assigned after it is restored, as the engine does.
    pub(crate) fn assign_services(&mut self) {
        if self.breaker.policy().voters == Voters::Service {
            self.breaker.assign_services(|caller| service_of(caller.0));
        }
    }

    pub(crate) const fn moment(&self) -> Moment {
        Moment { now: self.now, random: 0 }
    }

    /// Time passes, and the breaker is woken at each of its deadlines, which lie ahead after it.
    pub(crate) fn wait(&mut self, span: Duration) -> Vec<Transition> {
        let (end, mut moves) = (self.now.after(span), Vec::new());
        while self.breaker.deadline() <= end {
            self.now = self.now.max(self.breaker.deadline());
            moves.extend(self.breaker.handle_timeout(self.moment()));
            assert!(self.breaker.deadline() > self.now, "a deadline that has been served lies ahead");
        }
        self.now = end;
        moves
    }

    pub(crate) fn acquire(&mut self, caller: u64, request: u128) -> (Decision, Vec<Transition>) {
        let (caller, request) = (CallerId(caller), RequestId(request));
        let acquire = Acquire {
            caller,
            service: self.service(caller),
            request,
            lease: None,
            ledger_bytes_max: LEDGER_BYTES_MAX,
            callers_max: CALLERS_MAX,
        };
        let step = self.breaker.acquire(self.moment(), &acquire);
        if let Decision::Permitted(permit) = step.answer {
            self.permits.push(permit);
        }
        (step.answer, step.transitions)
    }

    pub(crate) fn perform(&mut self, op: &Op) -> Told {
        let mut told = Told { moves: Vec::new(), reported: None, decision: None };
        match op {
            Op::Wait(span) => told.moves = self.wait(*span),
            Op::Acquire(caller, request) => {
                let (decision, moves) = self.acquire(*caller, *request);
                (told.decision, told.moves) = (Some(decision), moves);
            }
            Op::Report(ago, report) if !self.permits.is_empty() => {
                let permit = self.permits[self.permits.len() - 1 - ago % self.permits.len()];
                let step = self.breaker.report(self.moment(), &permit, report);
                (told.reported, told.moves) = (Some((permit, step.answer)), step.transitions);
            }
            Op::Report(..) => {}
            Op::Call(caller, report) => {
                let (decision, moves) = self.acquire(*caller, 0);
                (told.decision, told.moves) = (Some(decision), moves);
                if let Decision::Permitted(permit) = decision {
                    let step = self.breaker.report(self.moment(), &permit, report);
                    told.reported = Some((permit, step.answer));
                    told.moves.extend(step.transitions);
                }
            }
            Op::Tally(caller, tally) => {
                let caller = CallerId(*caller);
                let service = self.service(caller);
                told.moves = self.breaker.handle_timeout(self.moment());
                let generation = self.breaker.generation();
                let caller_generation = self.breaker.caller_scope(caller).1;
                let tally = Tally { generation, caller_generation, ..*tally };
                let step = self.breaker.tally(self.moment(), caller, service, &tally, CALLERS_MAX);
                assert_eq!(step.answer, Reported::Counted);
                told.moves.extend(step.transitions);
            }
            Op::See(caller) => {
                told.moves = self.breaker.handle_timeout(self.moment());
                self.see(*caller);
            }
            Op::ProbeNow(None) => told.moves = self.breaker.probe_now(self.moment()).transitions,
            Op::ProbeNow(Some(caller)) => {
                told.moves = self.breaker.probe_caller_now(self.moment(), CallerId(*caller)).transitions;
            }
            Op::Reset => told.moves = self.breaker.reset(self.moment()).transitions,
            Op::Restore => {
                let snapshot = self.breaker.snapshot();
                // A restart takes time, and the clock goes on from the last instant stored.
                self.now = self.now.after(Duration::from_millis(1));
                self.breaker = Breaker::restore(self.breaker.policy().clone(), snapshot.clone(), self.now);
                assert_eq!(self.breaker.snapshot(), snapshot);
                self.assign_services();
                told.moves = self.breaker.handle_timeout(self.moment());
            }
        }
        told
    }

    /// A call of a caller that is well. False where it was refused for the fleet's sake; it is never refused for its own.
    pub(crate) fn succeed(&mut self, caller: u64) -> bool {
        match self.acquire(caller, 0).0 {
            Decision::Permitted(permit) => {
                let step = self.breaker.report(self.moment(), &permit, &Report::of(Outcome::Success));
                assert_eq!(step.answer, Reported::Counted);
                true
            }
            Decision::Rejected { reason, .. } => {
                assert_ne!(reason, Rejection::CallerIsolated, "who only succeeds is never isolated");
                false
            }
        }
    }
}

pub(crate) fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (1..20_u64).prop_map(|halves| Duration::from_millis(500 * halves)), 1 => (1..3000_u64).prop_map(Duration::from_millis)]
}

fn rarely<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, strategy)
}

fn expired() -> impl Strategy<Value = ExpiredPermit> {
    prop_oneof![Just(ExpiredPermit::Failure), Just(ExpiredPermit::Timeout), Just(ExpiredPermit::Ignored)]
}

/// Without a limit of half-open rounds: one that nobody settles in time reopens, whoever had the probes.
pub(crate) fn policy(min_callers: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Policy> {
    let number = |most: u32| (1..=most).prop_map(|number| NonZeroU32::new(number).unwrap());
    let rate = || rarely((1..=10_u32).prop_map(|tenths| Ratio::new(f64::from(tenths) / 10.0).unwrap()));
    let window = prop_oneof![
        (1..=10_u64, 1..=5_u32).prop_map(|(slices, each)| WindowSpec::Time {
            duration: Duration::from_millis(500 * slices * u64::from(each)),
            slices: slices as u32,
        }),
        (1..=20_u32).prop_map(WindowSpec::Count),
    ];
    let streak = (prop::option::weighted(0.6, number(4)), rarely(span()), rarely(number(6)));
    let rates = (rate(), rarely(span()), rate(), window, 1..=6_u32, 1..=6_u32);
    let half_open = (1..=3_u32, 1..=3_u32, 1..=3_u32, span(), expired(), expired(), span(), span());
    let share = prop_oneof![2 => Just(0.0), 1 => Just(0.3), 1 => Just(0.5), 1 => Just(1.0)];
    let quorum = (min_callers, share, prop_oneof![Just(Voters::Instance), Just(Voters::Service)]);
    (streak, rates, half_open, quorum).prop_map(|(streak, rates, half_open, quorum)| Policy {
        failure_threshold: streak.0,
        monitoring_period: streak.1,
        failure_count_threshold: streak.2,
        failure_rate_threshold: rates.0,
        slow_call_duration: rates.1,
        slow_call_rate_threshold: rates.2,
        window: rates.3,
        minimum_calls: rates.4,
        slow_call_minimum_calls: rates.5,
        probes: half_open.0,
        successes_to_close: half_open.1,
        failures_to_reopen: half_open.2,
        open_duration: half_open.3,
        expired_probe: half_open.4,
        expired_permit: half_open.5,
        lease: half_open.6,
        retry_after_max: half_open.7,
        min_callers: quorum.0,
        share: quorum.1,
        voters: quorum.2,
        open_duration_min: Duration::from_millis(1),
        ..Policy::default()
    })
}

pub(crate) fn report() -> impl Strategy<Value = Report> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Success),
        8 => Just(Outcome::Failure),
        2 => Just(Outcome::Timeout),
        1 => Just(Outcome::Ignored),
        1 => Just(Outcome::Cancelled),
    ];
    let origin = prop_oneof![9 => Just(Origin::Dependency), 1 => Just(Origin::Local)];
    (outcome, rarely(span()), rarely(span()), origin).prop_map(|(outcome, duration, retry_after, origin)| Report {
        outcome,
        duration,
        retry_after,
        origin,
    })
}

fn tally() -> impl Strategy<Value = Tally> {
    let calls = prop::collection::vec(prop::bool::weighted(0.6), 0..9);
    (calls, 0..3_u32, 0..9_u32, 0..2_u32, prop::bool::weighted(0.8)).prop_map(
        |(calls, timeouts, slow, local_failures, tells_runs)| {
            let runs: Vec<u32> = calls.split(|failed| !failed).map(|run| run.len() as u32).collect();
            let all: u32 = runs.iter().sum();
            let timeouts = timeouts.min(all);
            let told = |run: u32| if tells_runs { run } else { 0 };
            Tally {
                successes: runs.len() as u32 - 1,
                failures: all - timeouts,
                timeouts,
                slow: slow.min(calls.len() as u32),
                leading_failures: told(runs[0]),
                longest_run: told(runs.iter().copied().max().unwrap_or_default()),
                trailing_failures: runs[runs.len() - 1],
                local_failures,
                ..Tally::default()
            }
        },
    )
}

/// What callers do, of a range.
pub(crate) fn callers_op(callers: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Op> {
    op_of(move || callers.clone())
}

/// What the instances of services do, of which there are so many.
pub(crate) fn services_op(services: u64) -> impl Strategy<Value = Op> {
    op_of(move || (0..services, 0..3_u64).prop_map(|(service, instance)| service + SERVICES * instance))
}

fn op_of<S: Strategy<Value = u64> + 'static>(who: impl Fn() -> S) -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (who(), 0..3_u128).prop_map(|(caller, request)| Op::Acquire(caller, request)),
        10 => (prop_oneof![4 => 0..6_usize, 1 => 0..60_usize], report()).prop_map(|(ago, report)| Op::Report(ago, report)),
        20 => (who(), report()).prop_map(|(caller, report)| Op::Call(caller, report)),
        5 => (who(), tally()).prop_map(|(caller, tally)| Op::Tally(caller, tally)),
        1 => who().prop_map(Op::See),
    ]
}

/// What callers, time and a restart do.
pub(crate) fn ops(callers: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        40 => callers_op(callers),
        10 => span().prop_map(Op::Wait),
        1 => (20..70_u64).prop_map(|minutes| Op::Wait(Duration::from_secs(60 * minutes))),
        1 => Just(Op::Reset),
        2 => prop::option::of(1..=4_u64).prop_map(Op::ProbeNow),
        2 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 1..120)
}
