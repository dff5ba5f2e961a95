//! All that is simulated: every fleet with every traffic, rate and fault that makes a difference.

use std::time::Duration;

use crate::{
    fault::Fault,
    fleet::Arrangement,
    run::{Lengths, Outcome, Scenario},
    traffic::{Traffic, float},
};

pub(crate) const FLEETS: [usize; 8] = [1, 2, 3, 5, 10, 50, 200, 500];
/// Calls a second of a caller: one a minute, one, ten and a hundred a second.
pub(crate) const RATES: [f64; 4] = [1.0 / 60.0, 1.0, 10.0, 100.0];
pub(crate) const RESTS: [f64; 2] = [0.001, 0.02];
pub(crate) const SERVICES: [usize; 3] = [2, 3, 5];
pub(crate) const SHARES: [f64; 6] = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5];

/// Most calls of a run: busy fleets are looked at for a shorter time.
pub(crate) const RUN_CALLS_MAX: f64 = 24_000.0;
/// The shortest fault: long enough that calls which take a second to fail have failed.
const FAULT_MIN: f64 = 2.0;
/// Calls that a scenario may take for each seed asked for: those with long traces are run with fewer seeds.
const CALLS_PER_SEED: f64 = 6_000.0;
/// Busier fleets than this, in calls a second, are looked at by [`busy`].
const FLEET_RATE_MAX: f64 = 5_000.0;

/// One scenario drawn by one seed, and what came of it in each arrangement.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Everything, in runs of about so many calls at most.
pub(crate) fn all(calls_max: f64) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for callers in FLEETS {
        for traffic in Traffic::ALL {
            for rate in RATES {
                for rest in RESTS {
                    for fault in Fault::ALL {
                        let is_bearable = rate * float(callers) <= FLEET_RATE_MAX;
                        let is_new = callers >= traffic.callers_min() && callers >= fault.callers_min();
                        if is_new && is_bearable {
                            let lengths = lengths(callers, rate, calls_max);
                            scenarios.push(Scenario { callers, traffic, rate, rest, fault, lengths });
                        }
                    }
                }
            }
        }
    }
    scenarios
}

/// Fleets that have filled a whole window before something happens, up to 50,000 calls a second.
pub(crate) fn busy() -> Vec<Scenario> {
    let second = Duration::from_secs(1);
    let lengths = Lengths { before: 35 * second, fault: 3 * second, after: Duration::ZERO };
    let of = |callers, fault| Scenario { callers, traffic: Traffic::Even, rate: 100.0, rest: 0.001, fault, lengths };
    let faults = [Fault::Down, Fault::Half, Fault::Cached, Fault::SickBusiest];
    FLEETS
        .into_iter()
        .filter(|callers| *callers >= 10)
        .flat_map(|callers| faults.map(|fault| of(callers, fault)))
        .collect()
}

/// The scenarios on which a share of the known callers makes a difference.
pub(crate) fn weighing() -> Vec<Scenario> {
    let faults =
        [Fault::Down, Fault::Half, Fault::Third, Fault::Zone, Fault::SickTwo, Fault::Cached, Fault::CachedRedeployed];
    let mut scenarios = all(RUN_CALLS_MAX);
    scenarios.retain(|scenario| {
        faults.contains(&scenario.fault) && [3, 10, 50, 200].contains(&scenario.callers) && scenario.rest == RESTS[0]
    });
    scenarios
}

/// The scenarios on which it makes a difference who votes, and of how many services their callers are.
pub(crate) fn voting(calls_max: f64) -> Vec<(Scenario, usize)> {
    let mut scenarios = Vec::new();
    for services in SERVICES {
        for callers in [10, 50] {
            for traffic in [Traffic::Even, Traffic::Skewed] {
                for rate in &RATES[..3] {
                    let lengths = lengths(callers, *rate, calls_max);
                    let of = |fault| Scenario { callers, traffic, rate: *rate, rest: RESTS[0], fault, lengths };
                    scenarios.extend(Fault::OF_SERVICES.map(|fault| (of(fault), services)));
                }
            }
        }
    }
    scenarios
}

/// Runs each scenario with so many seeds, fewer where its traces are long.
pub(crate) fn run(scenarios: &[Scenario], arrangements: &[Arrangement], seeds: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for scenario in scenarios {
        for seed in 0..seeds_of(scenario, seeds) {
            let drawn = scenario.draw(seed);
            let outcomes = arrangements.iter().map(|arrangement| drawn.run(*arrangement)).collect();
            records.push(Record { scenario: *scenario, seed, outcomes });
        }
    }
    records
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
fn seeds_of(scenario: &Scenario, seeds: u64) -> u64 {
    let calls = scenario.rate * float(scenario.callers) * scenario.lengths.total().as_secs_f64();
    let affordable = (seeds as f64 * CALLS_PER_SEED / calls).ceil() as u64;
    // Four, because a seed decides by its last two bits how failures come and how rejected callers ask again.
    affordable.clamp(4, seeds.max(4))
}

/// Long enough that each caller makes some calls in each part, and no longer than so many calls take.
pub(crate) fn lengths(callers: usize, rate: f64, calls_max: f64) -> Lengths {
    let (before, fault, after) = ((30.0 / rate).max(60.0), (60.0 / rate).max(45.0), (30.0 / rate).max(60.0));
    let calls = rate * float(callers) * (before + fault + after);
    let part = (calls_max / calls).min(1.0);
    let seconds = |length: f64| Duration::from_secs_f64(length * part);
    Lengths {
        before: seconds(before),
        fault: seconds(fault).max(Duration::from_secs_f64(FAULT_MIN)),
        after: seconds(after),
    }
}
