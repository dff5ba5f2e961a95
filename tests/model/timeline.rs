//! Random policies, and what may happen to a breaker.

use std::{num::NonZeroU32, time::Duration};

use fuseboard::breaker::{
    CallerId, Origin, Outcome, OverrideMode, Permit, PermitKind, Policy, Report, Tally, Timestamp,
    policy::{BackoffSpec, ExpiredPermit, Ratio, TripOn, Voters, WindowSpec},
};
use proptest::{prelude::*, sample::Index};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Time passes, and the breaker is woken at each of its deadlines.
    Wait(Duration),
    /// The same, until the lease ends of the permit issued so many permits ago.
    WaitForLease(usize),
    /// Time passes, and nobody wakes it until the end.
    Sleep(Duration),
    Acquire {
        caller: u64,
        request: u128,
        lease: Option<Duration>,
    },
    /// Of the permit issued so many permits ago: in time, late or again.
    Report(usize, Report),
    /// A permit and its report at once.
    Call(Report),
    /// Of a permit that was never issued.
    Forge(Permit),
    /// Of an issued permit whose holder altered what it could.
    Alter(usize, PermitKind),
    /// Of the current generation, an earlier one, or one that has not been.
    Tally(i64, Tally),
    Reset,
    ProbeNow,
    SetOverride(OverrideMode, Option<Duration>),
    ClearOverride,
    SetPolicy(Box<Policy>),
    Restore,
}

/// Few lengths, so that things often happen at the same instant.
pub(crate) fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (1..20_u64).prop_map(|halves| Duration::from_millis(500 * halves)), 1 => (1..5000_u64).prop_map(Duration::from_millis)]
}

pub(crate) fn rarely<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, strategy)
}

fn expired() -> impl Strategy<Value = ExpiredPermit> {
    prop_oneof![Just(ExpiredPermit::Failure), Just(ExpiredPermit::Timeout), Just(ExpiredPermit::Ignored)]
}

fn policy(lease: Duration) -> impl Strategy<Value = Policy> {
    let number = |most: u32| rarely((1..=most).prop_map(|number| NonZeroU32::new(number).unwrap()));
    let rate = || rarely((1..=100_u32).prop_map(|percent| Ratio::new(f64::from(percent) / 100.0).unwrap()));
    let window = prop_oneof![
        (1..=10_u64, 1..=5_u32).prop_map(|(slices, each)| WindowSpec::Time {
            duration: Duration::from_millis(500 * slices * u64::from(each)),
            slices: slices as u32,
        }),
        (1..=8_u32).prop_map(WindowSpec::Count),
    ];
    let backoff = (1..=3_u32, span()).prop_map(|(multiplier, ceiling)| (f64::from(multiplier), ceiling));
    let rules = (number(4), rarely(span()), number(6), rate(), rarely(span()), rate());
    let half_open = (1..=3_u32, 1..=3_u32, 1..=3_u32, rarely(span()), expired(), expired());
    let trip_on = prop_oneof![Just(TripOn::Any), Just(TripOn::Failure)];
    let rest = (window, 1..=6_u32, 1..=6_u32, span(), rarely(backoff), span(), trip_on);
    (rules, half_open, rest).prop_map(move |(rules, half_open, rest)| Policy {
        failure_threshold: rules.0,
        monitoring_period: rules.1,
        failure_count_threshold: rules.2,
        failure_rate_threshold: rules.3,
        slow_call_duration: rules.4,
        slow_call_rate_threshold: rules.5,
        slow_call_minimum_calls: rest.2,
        window: rest.0,
        minimum_calls: rest.1,
        open_duration: rest.3,
        open_backoff: rest.4.map(|(multiplier, ceiling)| BackoffSpec {
            multiplier,
            max_duration: ceiling.max(rest.3),
            jitter: 0.0,
        }),
        probes: half_open.0,
        successes_to_close: half_open.1,
        failures_to_reopen: half_open.2,
        half_open_max_duration: half_open.3,
        retry_after_max: rest.5,
        lease,
        expired_probe: half_open.4,
        expired_permit: half_open.5,
        min_callers: 1,
        share: 0.0,
        voters: Voters::Instance,
        trip_on: rest.6,
        open_duration_min: Duration::from_millis(1),
    })
}

/// Of a dependency that is well, or not.
fn report(well: bool) -> impl Strategy<Value = Report> {
    let outcome = prop_oneof![
        if well { 40 } else { 4 } => Just(Outcome::Success),
        6 => Just(Outcome::Failure),
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

/// The calls in their order, as a client counts them; one that does not report runs among them.
fn tally() -> impl Strategy<Value = Tally> {
    let calls =
        (prop::collection::vec(prop::bool::weighted(0.6), 0..9), 0..3_u32, any::<Index>(), prop::bool::weighted(0.8));
    (calls, rarely(span()), (0..2_u32, 0..2_u32, 0..2_u32), rarely(span())).prop_map(|(calls, age, others, asked)| {
        let (calls, timeouts, slow, tells_runs) = calls;
        let tally = tally_of(&calls, timeouts, tells_runs);
        Tally {
            age: age.unwrap_or_default(),
            slow: slow.index(calls.len() + 1) as u32,
            ignored: others.0,
            rejections: others.1,
            local_failures: others.2,
            retry_after: asked,
            ..tally
        }
    })
}

/// Calls in their order, of which some failed, as a tally.
pub(crate) fn tally_of(failed: &[bool], timeouts: u32, tells_runs: bool) -> Tally {
    let runs: Vec<u32> = failed.split(|failed| !failed).map(|run| run.len() as u32).collect();
    let all: u32 = runs.iter().sum();
    let timeouts = timeouts.min(all);
    let told = |run: u32| if tells_runs { run } else { 0 };
    Tally {
        successes: runs.len() as u32 - 1,
        failures: all - timeouts,
        timeouts,
        leading_failures: told(runs[0]),
        longest_run: told(runs.iter().copied().max().unwrap_or_default()),
        trailing_failures: runs[runs.len() - 1],
        ..Tally::default()
    }
}

/// Mostly one of the last permits.
fn permits_ago() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..6_usize, 1 => 0..100_usize]
}

fn permit_kind() -> impl Strategy<Value = PermitKind> {
    prop_oneof![Just(PermitKind::Call), Just(PermitKind::Probe), Just(PermitKind::Bypass)]
}

fn any_permit() -> impl Strategy<Value = Permit> {
    let number = || prop_oneof![any::<u64>(), 0..20_u64, Just(u64::MAX)];
    (permit_kind(), number(), number(), any::<u32>(), number(), number()).prop_map(
        |(kind, generation, slice, serial, expire, caller)| Permit {
            kind,
            generation,
            caller_generation: 0,
            slice,
            serial,
            expire: Timestamp::from_nanos(expire),
            caller: CallerId(caller),
        },
    )
}

/// Of one caller or two.
fn op(lease: Duration, well: bool, callers: u64) -> impl Strategy<Value = Op> {
    let mode =
        prop_oneof![Just(OverrideMode::ForcedOpen), Just(OverrideMode::ForcedClosed), Just(OverrideMode::Shadow)];
    prop_oneof![
        20 => (0..callers, 0..4_u128, rarely(span())).prop_map(|(caller, request, lease)| Op::Acquire { caller, request, lease }),
        20 => (permits_ago(), report(well)).prop_map(|(ago, report)| Op::Report(ago, report)),
        15 => report(well).prop_map(Op::Call),
        10 => span().prop_map(Op::Wait),
        4 => (1..100_u64).prop_map(|millis| Op::Wait(Duration::from_millis(millis))),
        4 => permits_ago().prop_map(Op::WaitForLease),
        2 => span().prop_map(Op::Sleep),
        4 => (prop_oneof![9 => Just(0), 1 => -2..=1_i64], tally()).prop_map(|(off, tally)| Op::Tally(off, tally)),
        1 => any_permit().prop_map(Op::Forge),
        2 => (permits_ago(), permit_kind()).prop_map(|(ago, kind)| Op::Alter(ago, kind)),
        1 => Just(Op::Reset),
        2 => Just(Op::ProbeNow),
        2 => (mode, rarely(span())).prop_map(|(mode, expire)| Op::SetOverride(mode, expire)),
        2 => Just(Op::ClearOverride),
        2 => policy(lease).prop_map(|policy| Op::SetPolicy(Box::new(policy))),
        2 => Just(Op::Restore),
    ]
}

/// A first policy and what happens. All policies of a timeline have one lease, so that slices end in order.
pub(crate) fn timeline() -> impl Strategy<Value = (Policy, Vec<Op>)> {
    (span(), any::<bool>(), 1..=2_u64).prop_flat_map(|(lease, well, callers)| {
        (policy(lease), prop::collection::vec(op(lease, well, callers), 1..120))
    })
}
