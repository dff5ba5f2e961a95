//! Batches of calls that clients decided on by themselves: each counts once.

use std::{
    cell::Cell,
    sync::Barrier,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use fuseboard::{
    breaker::{CallerId, PolicySpec, Tally, policy::WindowSpec},
    engine::{BatchAnswer, CallerTally, Error, Limits},
};

use super::{NOBODY, OPERATOR, World, failures, minutes, turns};
use crate::soon::Soon as _;

impl World {
    fn send(&self, client: &str, sequence: u64, tallies: &[CallerTally<'_>]) -> BatchAnswer {
        self.engine.report_batch(client, sequence, tallies).soon().unwrap()
    }

    /// A tally of the breaker's own generation.
    fn tally<'a>(&self, key: &'a str, successes: u32, failures: u32) -> CallerTally<'a> {
        let generation = self.generation(key);
        CallerTally { key, caller: NOBODY, tally: Tally { generation, successes, failures, ..Tally::default() } }
    }

    fn successes(&self, key: &str) -> u64 {
        self.view(key).totals.successes
    }
}

#[test]
fn a_batch_counts_once_however_often_it_is_sent() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let batch = [world.tally("a", 3, 0)];
    assert_eq!(world.send("sdk", 1, &batch), BatchAnswer { counted: 1, ..BatchAnswer::default() });
    assert_eq!(world.send("sdk", 1, &batch), BatchAnswer { duplicate: true, ..BatchAnswer::default() });
    assert_eq!(world.successes("a"), 3);
}

#[test]
fn a_batch_behind_the_last_one_counted_is_a_duplicate_and_one_ahead_need_not_be_the_next() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let batch = [world.tally("a", 1, 0)];
    let duplicates = [5, 3, 4, 6, 100].map(|sequence| world.send("sdk", sequence, &batch).duplicate);
    assert_eq!(duplicates, [false, true, true, false, false]);
    assert_eq!(world.successes("a"), 3);
}

#[test]
fn every_client_has_its_own_sequence() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let batch = [world.tally("a", 1, 0)];
    for client in ["one", "two", "three"] {
        assert!(!world.send(client, 1, &batch).duplicate);
    }
    assert_eq!(world.successes("a"), 3);
}

#[test]
fn a_tally_of_another_generation_is_stale_and_the_answer_says_once_where_its_breaker_stands() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    world.engine.handle("b").unwrap();
    let (old_a, b) = (world.tally("a", 1, 0), world.tally("b", 1, 0));
    world.engine.reset("a", OPERATOR).soon().unwrap();
    let answer = world.send("sdk", 1, &[old_a, b, old_a]);
    assert_eq!((answer.counted, answer.stale), (1, 2));
    assert_eq!(answer.changed, [world.view("a").entry]);
    assert_eq!((world.successes("a"), world.successes("b")), (0, 1));
    assert_eq!(world.send("sdk", 1, &[old_a]).changed, [world.view("a").entry], "a duplicate says so, too");
}

#[test]
fn a_tally_can_trip_and_the_event_names_its_caller() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let caller = world.engine.caller("checkout/3");
    let failing = CallerTally { caller, ..world.tally("a", 0, 5) };
    let answer = world.send("sdk", 1, &[failing, failing]);
    assert_eq!((answer.counted, answer.stale), (1, 1), "the second is of a generation that has passed");
    let opened = world.last_event();
    assert_eq!((opened.kind.name(), opened.caller.as_deref()), ("opened", Some("checkout/3")));
    assert_eq!(answer.changed, Vec::from_iter(world.engine.entry("a", Some(caller))));
}

#[test]
fn a_tally_of_a_breaker_that_is_not_there_makes_it_and_one_without_room_is_stale() {
    let world = World::with(Limits { breakers: 1, ..Limits::default() });
    let tally = |key| CallerTally { key, caller: CallerId(1), tally: Tally { generation: 77, ..Tally::default() } };
    let answer = world.send("sdk", 1, &[tally("a")]);
    assert_eq!((answer.stale, answer.changed), (1, Vec::from_iter(world.engine.entry("a", Some(CallerId(1))))));
    world.permit("a");
    let answer = world.send("sdk", 2, &[tally("b")]);
    assert_eq!((answer.stale, answer.changed), (1, vec![]));
}

#[test]
fn so_many_clients_are_remembered_as_the_limit_says_and_silent_ones_make_room_after_the_retention() {
    let limits = Limits { batch_clients: 100, batch_retention: minutes(10), ..Limits::default() };
    let world = World::with(limits);
    world.engine.handle("a").unwrap();
    let batch = [world.tally("a", 1, 0)];
    for client in 0..100 {
        world.send(&format!("client-{client}"), 7, &batch);
    }
    let refused = world.engine.report_batch("one-too-many", 1, &batch).soon();
    let Err(Error::Share(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!((refused.limit.reason, refused.max), ("CLIENT_LIMIT", 100));
    assert_eq!(world.successes("a"), 100, "what is refused counts nothing");
    assert!(world.send("client-5", 7, &batch).duplicate, "those that are there go on");

    world.advance(minutes(9));
    assert!(world.send("client-5", 7, &batch).duplicate);
    assert!(world.engine.report_batch("one-too-many", 1, &batch).soon().is_err());
    world.advance(minutes(1));
    assert!(!world.send("one-too-many", 1, &batch).duplicate);
    assert!(world.send("client-5", 7, &batch).duplicate, "it was not silent for so long");
    assert_eq!(world.engine.usage().batch_clients, 2);
}

#[test]
fn two_threads_with_the_same_batch_at_once_count_it_once() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let batch = [world.tally("a", 1, 0)];
    let barrier = Barrier::new(2);
    let send_all = || {
        for sequence in 1..=500 {
            barrier.wait();
            world.send("sdk", sequence, &batch);
        }
    };
    thread::scope(|scope| [(); 2].map(|()| scope.spawn(send_all)).map(|thread| thread.join().unwrap()));
    assert_eq!(world.successes("a"), 500);
}

#[test]
fn the_age_of_a_tally_is_when_its_calls_were() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    world.advance(minutes(10));
    let old = world.tally("a", 1, 0);
    let old = CallerTally { tally: Tally { age: Duration::from_secs(31), ..old.tally }, ..old };
    assert_eq!(world.send("sdk", 1, &[old]).counted, 1);
    let view = world.view("a");
    assert_eq!((view.window.successes, view.totals.successes), (0, 1), "out of the window when it came");
}

#[test]
fn what_a_tally_without_room_for_its_breaker_tells_is_counted_for_the_server() {
    let world = World::with(Limits { breakers: 1, ..Limits::default() });
    world.declare("a", failures(1));
    let tally = Tally { generation: 1, successes: 2, failures: 3, rejections: 7, ignored: 1, ..Tally::default() };
    let answer = world.send("sdk", 1, &[CallerTally { key: "b", caller: NOBODY, tally }]);
    assert_eq!((answer.counted, answer.stale), (0, 1));
    let gone = world.engine.measured().gone;
    assert_eq!((gone.rejected, gone.stale), (7, 6), "2 and 3 calls that count, and an ignored one");
}

// ---- A batch is counted in parts -----------------------------------------------------------------------------------

const TALLIES: usize = 100;

/// A hundred tallies of one success each.
fn hundred(world: &World) -> Vec<CallerTally<'static>> {
    world.engine.handle("a").unwrap();
    vec![world.tally("a", 1, 0); TALLIES]
}

#[test]
fn a_batch_lets_other_work_have_its_turn_after_a_bounded_amount_of_its_own() {
    let world = World::new();
    let batch = hundred(&world);
    let (counting, answer) = turns(world.engine.report_batch("sdk", 1, &batch));
    assert_eq!((counting, answer.unwrap().counted), (TALLIES.div_ceil(16) - 1, TALLIES as u32));

    // Tallies of many calls are more work.
    let spec = PolicySpec { window: Some(WindowSpec::Count(100_000)), ..failures(5) };
    world.declare("wide", spec);
    let batch = vec![world.tally("wide", 1_000_000, 0); TALLIES];
    let (counting, answer) = turns(world.engine.report_batch("sdk", 2, &batch));
    assert!(counting >= TALLIES / 2 - 1, "{counting} turns");
    assert_eq!(answer.unwrap().counted, TALLIES as u32);

    // Nothing is counted of a duplicate, but its breakers are looked up.
    let batch = vec![world.tally("a", 1, 0); 10_000];
    let (lookups, answer) = turns(world.engine.report_batch("sdk", 2, &batch));
    assert!(answer.unwrap().duplicate && lookups >= 10_000 / 1_000 - 1, "{lookups} turns");
}

#[test]
fn a_batch_that_was_dropped_is_continued_where_it_ended_and_counts_once() {
    let world = World::new();
    let batch = hundred(&world);
    for polls in [1, 0, 3] {
        let before = world.successes("a");
        let mut first = Box::pin(world.engine.report_batch("sdk", 7, &batch));
        for _ in 0..polls {
            assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        drop(first);
        assert_eq!(world.successes("a"), before + 16 * polls, "nobody counts what nobody waits for");
    }
    let (_, answer) = turns(world.engine.report_batch("sdk", 7, &batch));
    let answer = answer.unwrap();
    assert_eq!((answer.duplicate, answer.counted, answer.stale), (false, TALLIES as u32 - 16 * 4, 0));
    assert_eq!(world.successes("a"), TALLIES as u64);
    assert!(world.send("sdk", 7, &batch[..1]).duplicate);
}

#[test]
fn a_batch_ends_early_when_it_is_told_to_and_counts_the_rest_when_it_is_sent_again() {
    let world = World::new();
    let batch = hundred(&world);
    let parts = Cell::new(0);
    let goes_on = || {
        parts.set(parts.get() + 1);
        if parts.get() == 3 { Err(Error::Draining) } else { Ok(()) }
    };
    let (_, counted) = turns(world.engine.count_batch("sdk", 1, &batch, goes_on));
    assert_eq!(counted.unwrap_err(), Error::Draining);
    assert_eq!(world.successes("a"), 3 * 16);
    assert_eq!(turns(world.engine.report_batch("sdk", 1, &batch)).1.unwrap().counted, TALLIES as u32 - 3 * 16);
    assert_eq!(world.successes("a"), TALLIES as u64);
}

#[test]
fn batches_of_one_client_do_not_overtake_each_other_between_parts() {
    let world = World::new();
    let batch = hundred(&world);
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(world.engine.report_batch("sdk", 1, &batch));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = Box::pin(world.engine.report_batch("sdk", 2, &batch));
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert_eq!(world.successes("a"), 16, "the second waits");
    assert_eq!(turns(first).1.unwrap().counted, TALLIES as u32);
    assert_eq!(turns(second).1.unwrap().counted, TALLIES as u32);
    assert_eq!(world.successes("a"), 2 * TALLIES as u64);
}
