//! Is it them or is it us? A simulation of whole fleets, on the real breaker and in virtual time.
//!
//! A trace says who wants to call when ([`traffic`]), a fault whose calls fail ([`fault`]). Three arrangements of
//! breakers are run on the very same traces ([`fleet`]): Fuseboard's, which asks who calls and opens on evidence that
//! stands without the worst callers; a plain shared one; and one in each caller. [`run`] plays one of them and counts
//! what came of it, [`grid`] plays all, and [`report`] prints the tables of `docs/quorum.md`.
//!
//! The tests here assert what the project promises, with a few seeds. `make simulate` prints the tables with many.

mod fault;
mod fleet;
mod grid;
mod report;
mod run;
mod traffic;

use std::{env, fmt::Debug, time::Duration};

use fuseboard::breaker::{CallerId, Decision, StateName};

use crate::{
    fault::Fault,
    fleet::{Arrangement, Fleet, Telling},
    grid::{RATES, SHARES},
    run::{Names, Outcome, Scenario},
    traffic::{START, Traffic},
};

/// Seeds of each scenario for `make simulate`, where `SEEDS` does not say otherwise.
const SEEDS: u64 = 16;
/// Calls of a run of the other tests, which are built without optimisation.
const TEST_CALLS_MAX: f64 = 2_500.0;

/// Plays scenarios with a few seeds under Fuseboard's breaker, and checks what came of each.
fn play(fleets: &[usize], rates: &[f64], faults: &[Fault], seeds: u64, mut check: impl FnMut(&Outcome, &dyn Debug)) {
    let (mut scenarios, quorum) = (grid::all(TEST_CALLS_MAX), Arrangement::DEFAULT[report::QUORUM]);
    scenarios.retain(|scenario| {
        fleets.contains(&scenario.callers) && rates.contains(&scenario.rate) && faults.contains(&scenario.fault)
    });
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        for seed in 0..seeds {
            check(&scenario.draw(seed).run(quorum), &(scenario, seed));
        }
    }
}

#[test]
fn one_sick_caller_never_costs_a_healthy_one_a_call() {
    play(&[2, 3, 10, 50], &RATES[..2], &Fault::OF_ONE, 4, |outcome, story| {
        assert_eq!(outcome.healthy_callers_refused, 0, "{story:?}: {outcome:?}");
    });
    play(&[2, 3, 10], &RATES[2..], &Fault::OF_ONE, 1, |outcome, story| {
        assert_eq!(outcome.healthy_callers_refused, 0, "{story:?}: {outcome:?}");
    });
}

#[test]
fn a_caller_that_fails_every_other_call_is_no_evidence_for_all() {
    for another_failed in [false, true] {
        let mut fleet = Fleet::new(Arrangement::DEFAULT[report::QUORUM], START);
        let mut call = |second, caller, failed| {
            let now = START.after(Duration::from_secs(second));
            let Decision::Permitted(permit) = fleet.ask(now, CallerId(caller)) else { return };
            fleet.tell(now, &permit, failed, Duration::ZERO);
        };
        (1..=5).for_each(|caller| call(0, caller, false));
        if another_failed {
            call(60, 4, true);
        }
        (0..20).for_each(|number| call(61 + number, 3, number % 2 == 1));
        assert_eq!(fleet.state(), Some(StateName::Closed), "another failed once: {another_failed}");
    }
}

#[test]
fn a_dead_dependency_is_left_alone_within_four_times_the_threshold() {
    let check = |outcome: &Outcome, story: &dyn Debug| {
        let failures = outcome.opened.map(|onset| onset.failures);
        assert!(failures.is_some_and(|failures| failures <= 20), "{story:?}: {outcome:?}");
    };
    play(&[10, 50, 200], &RATES[..2], &[Fault::Down], 4, check);
    play(&[10, 50], &RATES[2..], &[Fault::Down], 4, check);
}

#[test]
fn nothing_trips_at_rest() {
    play(&[1, 2, 3, 10, 50], &RATES, &[Fault::None, Fault::Redeploy], 1, |outcome, story| {
        assert_eq!((outcome.good_refused, outcome.trips, outcome.isolated_before), (0, 0, 0), "{story:?}: {outcome:?}");
    });
}

#[test]
fn a_lone_caller_has_the_plain_breaker_and_so_have_callers_without_a_name() {
    let [quorum, plain, _] = Arrangement::DEFAULT;
    for (callers, names) in [(1, Names::Said), (1, Names::Unsaid), (10, Names::Unsaid)] {
        for fault in [Fault::None, Fault::Down, Fault::Half, Fault::Third, Fault::Flapping] {
            for rate in [RATES[0], RATES[1], RATES[2]] {
                let lengths = grid::lengths(callers, rate, TEST_CALLS_MAX);
                let scenario = Scenario { callers, traffic: Traffic::Even, rate, rest: 0.02, fault, lengths };
                for seed in 0..4 {
                    let drawn = scenario.draw(seed);
                    let decisions = |arrangement| {
                        let mut decisions = Vec::new();
                        drawn.play(arrangement, names, |decision| decisions.push(decision));
                        decisions
                    };
                    let (ours, plain) = (decisions(quorum), decisions(plain));
                    let differ = ours.iter().zip(&plain).position(|(ours, plain)| ours != plain);
                    assert_eq!((differ, ours.len()), (None, plain.len()), "{scenario:?}, seed {seed}, {names:?}");
                }
            }
        }
    }
}

#[test]
fn tallies_with_runs_of_failures_trip_nothing_at_rest_and_no_healthy_caller_for_a_sick_one() {
    let telling = Telling::Tallies { runs: true };
    let mut scenarios = grid::all(TEST_CALLS_MAX);
    let faults = [Fault::None, Fault::Redeploy, Fault::SickBusiest, Fault::Flapping];
    scenarios.retain(|scenario| {
        [1, 2, 3, 10].contains(&scenario.callers)
            && RATES[1..].contains(&scenario.rate)
            && faults.contains(&scenario.fault)
    });
    for scenario in scenarios {
        let outcome = scenario.draw(0).run_told(Arrangement::DEFAULT[report::QUORUM], telling);
        assert_eq!(outcome.healthy_callers_refused, 0, "{scenario:?}: {outcome:?}");
        assert_eq!(
            (outcome.trips_before, outcome.isolated_before, outcome.isolated_wrongly),
            (0, 0, 0),
            "{scenario:?}"
        );
    }
}

/// Plays fleets whose instances are of several services, where services vote.
fn play_services(faults: &[Fault], mut check: impl FnMut(&Outcome, &dyn Debug)) {
    let mut scenarios = grid::voting(TEST_CALLS_MAX);
    scenarios.retain(|(scenario, _)| faults.contains(&scenario.fault));
    assert!(!scenarios.is_empty());
    for (scenario, services) in scenarios {
        for seed in 0..2 {
            let outcome = scenario.draw(seed).of_services(services).run(Arrangement::Services);
            check(&outcome, &(scenario, services, seed));
        }
    }
}

#[test]
fn one_sick_service_never_costs_another_a_call_where_services_vote() {
    let faults = [Fault::SickBusiest, Fault::SickQuietest, Fault::Flapping, Fault::SickService, Fault::SickNames];
    play_services(&faults, |outcome, story| {
        assert_eq!(outcome.healthy_callers_refused, 0, "{story:?}: {outcome:?}");
    });
}

#[test]
fn a_dead_dependency_opens_the_breaker_where_services_vote_and_nothing_does_at_rest() {
    play_services(&[Fault::Down], |outcome, story| {
        let failures = outcome.opened.map(|onset| onset.failures);
        assert!(failures.is_some_and(|failures| failures <= 60), "{story:?}: {outcome:?}");
    });
    play_services(&[Fault::None, Fault::Redeploy], |outcome, story| {
        assert_eq!((outcome.good_refused, outcome.trips, outcome.isolated_before), (0, 0, 0), "{story:?}: {outcome:?}");
    });
}

#[test]
#[ignore = "takes a minute: `make simulate`"]
fn simulate_voters() {
    let seeds = env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("SEEDS is a number"));
    print!("{}", report::voters(seeds));
}

#[test]
#[ignore = "takes a minute: `make simulate`"]
fn simulate_tallies() {
    let seeds = env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("SEEDS is a number"));
    print!("{}", report::tallies(seeds));
}

#[test]
#[ignore = "takes minutes: `make simulate`"]
fn simulate() {
    let seeds = env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("SEEDS is a number"));
    print!("{}", report::tables(&grid::run(&grid::all(grid::RUN_CALLS_MAX), &Arrangement::DEFAULT, seeds)));
    print!("{}", report::busy(&grid::run(&grid::busy(), &Arrangement::DEFAULT[..2], 1)));
    print!("{}", report::shares(&grid::run(&grid::weighing(), &SHARES.map(Arrangement::Quorum), seeds / 2), &SHARES));
}
