//! The product's contract as scenarios: every file of `tests/scenarios`, on the pure breaker and over gRPC.

mod support;
#[path = "support/wire.rs"]
mod wire;

use support::{core::Core, run_all};
use wire::{Server, Wire};

#[test]
fn the_pure_breaker_plays_every_scenario() {
    run_all(&mut Core::default());
}

#[test]
fn a_server_plays_every_scenario_by_unary_calls() {
    let server = Server::start();
    run_all(&mut Wire::unary(&server));
}

#[test]
fn a_server_plays_every_scenario_through_a_session() {
    let server = Server::start();
    run_all(&mut Wire::session(&server));
}
