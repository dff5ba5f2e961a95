//! An Acquire that is sent again gets the permit that it was granted.

use std::{collections::HashSet, sync::Barrier, thread, time::Duration};

use fuseboard::{
    breaker::{CallerId, Decision, Outcome, PolicySpec, Rejection, Reported, RequestId},
    engine::Limits,
    grpc::convert,
};

use super::{NOBODY, OPERATOR, World, failures, permitted, seconds};
use crate::soon::{Soon as _, now};

impl World {
    fn ask(&self, key: &str, request: u128) -> Decision {
        self.decide_as(key, NOBODY, RequestId(request))
    }

    fn ask_for(&self, key: &str, request: u128, lease: Duration) -> Decision {
        let acquire =
            |handle| self.engine.acquire(self.moment(), handle, NOBODY, RequestId(request), Some(lease)).map(now);
        self.engine.always(key, acquire).unwrap().decision
    }
}

#[test]
fn the_same_request_gets_the_same_permit_while_its_lease_runs_and_another_one_after_it() {
    let world = World::new();
    world.declare("a", PolicySpec { lease: Some(seconds(10)), ..failures(5) });
    let permit = permitted(world.ask("a", 1));
    world.advance(seconds(10) - std::time::Duration::from_nanos(1));
    assert_eq!(permitted(world.ask("a", 1)), permit);
    assert_eq!(world.report("a", &permit, Outcome::Success), Reported::Counted);
    assert_eq!(permitted(world.ask("a", 1)), permit, "also when it was reported: it is one call");
    assert_eq!(world.report("a", &permit, Outcome::Success), Reported::Duplicate);

    world.advance(seconds(1));
    let another = permitted(world.ask("a", 1));
    assert_ne!(another, permit);
    assert_eq!(permitted(world.ask("a", 1)), another);
}

#[test]
fn another_request_or_one_without_an_id_gets_another_permit() {
    let world = World::new();
    let permits: HashSet<_> = [1, 2, 0, 0].map(|request| permitted(world.ask("a", request))).into();
    assert_eq!(permits.len(), 4);
}

#[test]
fn an_id_names_a_request_of_one_caller_for_one_breaker() {
    let world = World::new();
    let id = |text, key, caller| {
        convert::request_id(world.engine.seal(), "request_id", text, key, CallerId(caller)).unwrap()
    };
    let ids = [id("1", "a", 1), id("1", "a", 2), id("1", "b", 1), id("2", "a", 1), id("1", "a", 0), id("a1", "", 1)];
    assert_eq!(HashSet::from(ids).len(), ids.len());
    assert_eq!(id("1", "a", 1), id("1", "a", 1));
    assert_eq!(id("", "a", 1), RequestId::default(), "none");
}

#[test]
fn a_rejection_is_not_remembered() {
    let world = World::new();
    world.trip("a");
    assert!(matches!(world.ask("a", 1), Decision::Rejected { reason: Rejection::Open, .. }));
    world.advance(seconds(30));
    permitted(world.ask("a", 1));
}

#[test]
fn past_the_bound_a_closed_breaker_issues_another_permit_until_leases_end() {
    let world = World::with(Limits { request_ids: 64, ..Limits::default() });
    let granted: Vec<_> = (1..=1_000).map(|request| permitted(world.ask("a", request))).collect();
    assert_eq!(world.engine.usage().request_ids, 64);
    let again: Vec<_> = (1..=1_000).map(|request| permitted(world.ask("a", request))).collect();
    assert_eq!(granted.iter().zip(&again).filter(|(first, second)| first == second).count(), 64);

    world.advance(seconds(60));
    let permit = permitted(world.ask("a", 2_000));
    assert_eq!(permitted(world.ask("a", 2_000)), permit, "there is room again");
}

#[test]
fn a_long_lease_keeps_no_place_of_shorter_ones_that_have_ended() {
    let world = World::with(Limits { request_ids: 64, ..Limits::default() });
    let long: Vec<_> = (0..16).map(|request| permitted(world.ask("a", 64 + request))).collect();
    for request in 128..1_000 {
        world.ask_for("a", request, seconds(1));
    }
    assert_eq!(world.engine.usage().request_ids, 64);
    world.advance(seconds(2));
    // Without a timer of this breaker's in between, as the long leases hold its slices.
    for request in 1_000..1_048 {
        let permit = permitted(world.ask("a", request));
        assert_eq!(permitted(world.ask("a", request)), permit, "there is room again");
    }
    for (request, permit) in (64..).zip(long) {
        assert_eq!(permitted(world.ask("a", request)), permit, "the long ones are still known");
    }
}

#[test]
fn requests_whose_leases_have_ended_are_forgotten_without_traffic() {
    let world = World::new();
    for request in 1..=10_000 {
        world.ask_for("a", request, seconds(1 + request as u64 % 30));
    }
    assert_eq!(world.engine.usage().request_ids, 10_000);
    world.advance(seconds(31));
    assert_eq!(world.engine.usage().request_ids, 0);
}

#[test]
fn a_probe_is_never_granted_twice_also_without_any_room_to_remember() {
    let world = World::with(Limits { request_ids: 0, ..Limits::default() });
    world
        .engine
        .set_policy("a", PolicySpec { probes: Some(2), ..PolicySpec::default() }, None, OPERATOR)
        .soon()
        .unwrap();
    world.trip("a");
    world.advance(seconds(30));
    let first = permitted(world.ask("a", 1));
    for _ in 0..3 {
        assert_eq!(permitted(world.ask("a", 1)), first);
    }
    assert_ne!(permitted(world.ask("a", 2)), first);
    assert!(matches!(world.ask("a", 3), Decision::Rejected { reason: Rejection::HalfOpenFull, .. }));
    assert_eq!(world.view("a").probes_out, 2);
    assert_eq!(world.engine.usage().request_ids, 0);
}

#[test]
fn two_threads_with_the_same_request_at_once_get_one_permit() {
    let world = World::new();
    let barrier = Barrier::new(2);
    let ask_all = || {
        (1..=500).map(|request| {
            barrier.wait();
            permitted(world.ask("a", request))
        })
    };
    let (one, other) = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| ask_all().collect::<Vec<_>>()));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(one, other);
    assert_eq!(one.iter().collect::<HashSet<_>>().len(), 500);
}

#[test]
fn a_request_that_is_known_says_that_its_handle_is_no_more() {
    let world = World::new();
    let permit = permitted(world.ask("a", 1));
    let old = world.engine.find("a").unwrap();
    world.engine.delete("a", OPERATOR).soon().unwrap();
    assert_eq!(world.engine.acquire(world.moment(), old, NOBODY, RequestId(1), None).map(now), None);
    // It is answered as before, and what comes of it is stale.
    assert_eq!(permitted(world.ask("a", 1)), permit);
    assert_eq!(world.report("a", &permit, Outcome::Failure), Reported::Stale);
}
