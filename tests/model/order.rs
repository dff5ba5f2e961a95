//! A tally is judged as if its calls had come one by one.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use fuseboard::breaker::{
    Breaker, CALLERS_MAX, CallerId, Decision, Moment, Outcome, Policy, Report, ServiceId, StateName, Timestamp,
    policy::{Ratio, WindowSpec},
};
use proptest::prelude::*;

use super::{anybody, timeline::tally_of};

/// The calls between two frames: whether each failed, and how long after those before they were.
type Chunk = (Vec<bool>, Duration);

/// Plays each chunk call by call on one breaker and as a tally on another, and checks after each which of them is open,
/// until one is.
fn play(policy: Policy, chunks: &[Chunk], check: impl Fn(bool, bool)) {
    let policy = Arc::new(policy);
    let mut now = Timestamp::from_nanos(1_000_000_000_000_000);
    let mut one_by_one = Breaker::new(Arc::clone(&policy), 1, now);
    let mut told = one_by_one.clone();
    for (calls, wait) in chunks {
        now = now.after(*wait);
        let moment = Moment { now, random: 0 };
        for failed in calls {
            let Decision::Permitted(permit) = one_by_one.acquire(moment, &anybody()).answer else { break };
            let outcome = if *failed { Outcome::Failure } else { Outcome::Success };
            one_by_one.report(moment, &permit, &Report::of(outcome));
        }
        let tally = fuseboard::breaker::Tally { generation: 1, ..tally_of(calls, 0, true) };
        told.tally(moment, CallerId(0), ServiceId(0), &tally, CALLERS_MAX);
        let [one, other] = [&one_by_one, &told].map(|breaker| breaker.state().name() == StateName::Open);
        check(one, other);
        if one || other {
            return;
        }
    }
}

fn chunks(calls: impl Strategy<Value = Vec<bool>>) -> impl Strategy<Value = Vec<Chunk>> {
    prop::collection::vec((calls, (0..6_u64).prop_map(|halves| Duration::from_millis(500 * halves))), 1..12)
}

fn any_calls() -> impl Strategy<Value = Vec<bool>> {
    (0.0..1.0_f64).prop_flat_map(|failing| prop::collection::vec(prop::bool::weighted(failing), 0..40))
}

/// Failures, then successes, then failures: all of the order is known.
fn parted_calls() -> impl Strategy<Value = Vec<bool>> {
    let part = || prop_oneof![0..3_usize, 0..30_usize];
    (part(), part(), part()).prop_map(|(before, between, after)| {
        let part = |failed, count| std::iter::repeat_n(failed, count);
        part(true, before).chain(part(false, between)).chain(part(true, after)).collect()
    })
}

fn policy(rates: bool, counts_calls: bool) -> impl Strategy<Value = Policy> {
    let number = |most: u32| prop::option::of((1..=most).prop_map(|number| NonZeroU32::new(number).unwrap()));
    let window = (1..=10_u32, 1..=30_u32, prop::bool::weighted(0.5)).prop_map(move |(slices, calls, by_calls)| {
        if counts_calls && by_calls {
            WindowSpec::Count(calls)
        } else {
            WindowSpec::Time { duration: Duration::from_millis(500 * u64::from(slices)), slices }
        }
    });
    let period = prop::option::of((1..8_u64).prop_map(|halves| Duration::from_millis(500 * halves)));
    let rate = prop::option::of((1..=10_u32).prop_map(|tenths| Ratio::new(f64::from(tenths) / 10.0).unwrap()));
    (number(8), number(20), period, rate, window, 1..=30_u32).prop_map(
        move |(failure_threshold, failure_count_threshold, monitoring_period, rate, window, minimum_calls)| Policy {
            failure_threshold,
            failure_count_threshold,
            monitoring_period,
            failure_rate_threshold: rate.filter(|_| rates),
            window,
            minimum_calls: match window {
                WindowSpec::Count(calls) => minimum_calls.min(calls),
                WindowSpec::Time { .. } => minimum_calls,
            },
            ..Policy::default()
        },
    )
}

proptest! {
    /// Runs and counts are exact, wherever a sequence is cut.
    #[test]
    fn tallies_trip_by_runs_and_counts_as_their_calls_one_by_one(policy in policy(false, false), chunks in chunks(any_calls())) {
        play(policy, &chunks, |one_by_one, told| assert_eq!(one_by_one, told));
    }

    /// So are rates, and windows of the last calls, where failures are before or after the successes.
    #[test]
    fn tallies_of_known_order_trip_by_every_rule_as_their_calls_one_by_one(
        policy in policy(true, true), chunks in chunks(parted_calls()),
    ) {
        play(policy, &chunks, |one_by_one, told| assert_eq!(one_by_one, told));
    }

    /// Where the order between the first and the last success is not known, a tally trips by nothing that its calls, one by one,
    /// would not have tripped by.
    #[test]
    fn no_tally_trips_where_its_calls_would_not_have(policy in policy(true, false), chunks in chunks(any_calls())) {
        play(policy, &chunks, |one_by_one, told| assert!(one_by_one || !told));
    }
}

#[test]
fn a_run_of_failures_before_a_success_of_the_same_tally_opens() {
    let policy = Policy { failure_threshold: NonZeroU32::new(3), failure_rate_threshold: None, ..Policy::default() };
    for failures in [3, 5, 10, 50] {
        let calls: Vec<bool> = (0..=failures).map(|number| number < failures).collect();
        play(policy.clone(), &[(calls, Duration::ZERO)], |one_by_one, told| {
            assert!(one_by_one && told, "{failures} failures");
        });
    }
}
