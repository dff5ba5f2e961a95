//! Memory that clients can make the engine use, and its bounds in bytes.

use std::time::Duration;

use fuseboard::{
    breaker::{OWN_CALLS_MAX, PolicySpec, StateName, Tally, policy::WindowSpec},
    engine::{CallerTally, Limits},
};

use super::{World, failures};
use crate::soon::Soon as _;

/// A policy whose window is the last `calls` calls, which opens for no number of failures.
fn last_calls(calls: u32) -> PolicySpec {
    PolicySpec { failure_threshold: Some(0), window: Some(WindowSpec::Count(calls)), ..PolicySpec::default() }
}

impl World {
    /// Sends a tally of `successes` for each of `callers` callers.
    fn tally_of(&self, key: &str, callers: u32, successes: u32) {
        let generation = self.generation(key);
        let tally = |caller: u32| CallerTally {
            key,
            caller: self.engine.caller(&format!("caller/{caller}")),
            tally: Tally { generation, successes, ..Tally::default() },
        };
        let tallies: Vec<_> = (0..callers).map(tally).collect();
        let sequence = self.engine.now().as_nanos();
        self.engine.report_batch(&format!("{key}-{sequence}"), sequence, &tallies).soon().unwrap();
    }
}

#[test]
fn the_count_windows_of_a_breaker_and_all_its_callers_take_less_than_a_mebibyte() {
    let world = World::new();
    world.declare("a", last_calls(100_000));
    world.tally_of("a", 256, 100_000);
    assert_eq!(world.view("a").callers.len(), 256);
    let bytes = world.engine.usage().statistics_bytes;
    assert!(bytes < 1 << 20, "{bytes} bytes");
    assert_eq!(world.view("a").window.successes, 100_000, "the fleet's window is whole");
    let own: u64 = world.view("a").callers.iter().map(|caller| caller.window.successes).sum();
    assert!(own <= OWN_CALLS_MAX as u64);
}

#[test]
fn a_few_callers_have_windows_as_long_as_their_policy_says() {
    let world = World::new();
    world.declare("a", last_calls(100_000));
    world.tally_of("a", 8, 100_000);
    assert_eq!(world.view("a").window.successes, 100_000);
    assert_eq!(world.view("a").totals.successes, 800_000);
}

#[test]
fn the_windows_of_all_breakers_share_a_bound_and_the_bytes_come_back() {
    const BOUND: usize = 1 << 20;
    let world = World::with(Limits { statistics_bytes: BOUND, ..Limits::default() });
    let keys: Vec<String> = (0..10).map(|number| format!("breaker-{number}")).collect();
    for key in &keys {
        world.declare(key, last_calls(100_000));
        world.tally_of(key, 20, 20_000);
    }
    let bytes = world.engine.usage().statistics_bytes;
    // Small windows grow whatever others take, and each known caller has an entry.
    assert!(bytes < BOUND + keys.len() * (20 * 1_024 + 8_192), "{bytes} bytes");
    for key in &keys {
        world.engine.delete(key, super::OPERATOR).soon().unwrap();
    }
    assert_eq!(world.engine.usage().statistics_bytes, 0);
}

#[test]
fn a_breaker_opens_also_where_there_is_no_memory_for_statistics() {
    let world = World::with(Limits { statistics_bytes: 0, ..Limits::default() });
    let rate = PolicySpec { failure_rate_threshold: Some(0.5), minimum_calls: Some(10), ..last_calls(100) };
    for (key, policy, times) in [("streak", failures(3), 3), ("rate", rate, 10)] {
        world.declare(key, policy);
        world.fail(key, times);
        assert_eq!(world.view(key).entry.status.state, StateName::Open, "{key}");
    }
}

#[test]
fn the_memory_of_time_windows_comes_back_when_their_calls_have_aged_out() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    world.tally_of("a", 200, 10);
    let full = world.engine.usage().statistics_bytes;
    world.advance(Duration::from_secs(31));
    let idle = world.engine.usage().statistics_bytes;
    assert!(idle < full / 2, "{full} bytes, then {idle}");
    world.advance(Duration::from_secs(4 * 3600));
    assert_eq!(world.engine.usage().statistics_bytes, 0);
}
