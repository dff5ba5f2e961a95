//! The product's contract as scenarios: every file of `tests/scenarios`, on the pure breaker and over gRPC.

mod support;

use support::{core::Core, run_all};

#[test]
fn the_pure_breaker_plays_every_scenario() {
    run_all(&mut Core::default());
}
