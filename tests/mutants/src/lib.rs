//! The pure modules of the server with all of their tests, as one test binary that builds in seconds.
//!
//! `make mutants` changes the sources under `src` one place at a time and runs this binary for each change. The modules are
//! those of the server itself, included by path; what they name of the rest of the server is here as far as they name it.
#![cfg(test)]
#![allow(dead_code, reason = "parts of the modules are used by the rest of the server only")]

// The tests name the crate as users of the server's library do.
extern crate self as fuseboard;

#[path = "../../../src/breaker/mod.rs"]
pub mod breaker;
#[path = "../../../src/limit.rs"]
pub mod limit;
#[path = "../../../src/share.rs"]
pub mod share;

pub mod access;
pub mod engine;
pub mod grpc;
pub mod store;

#[path = "../../model/main.rs"]
mod model;
#[path = "../../quorum_model/main.rs"]
mod quorum_model;
#[path = "../../support/mod.rs"]
mod support;

#[test]
fn the_pure_breaker_plays_every_scenario() {
    support::run_all(&mut support::core::Core::default());
}
