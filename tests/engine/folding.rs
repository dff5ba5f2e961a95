//! Bursts of moves: what the log has of a breaker that flaps.
//!
//! The policy of these breakers asks for open periods of 1 ms, so every step of the clock moves them.

use std::time::Duration;

use fuseboard::{
    breaker::{Outcome, OverrideMode, PolicySpec, StateName},
    engine::{EVENT_BURST, FOLDED_FOR, Limits},
};

use super::{
    Dice, OPERATOR, World,
    flapping::{MILLISECOND, flapping},
    seconds,
};
use crate::soon::Soon as _;

/// A probe fails, and the next round begins a millisecond later: two moves.
fn flap(world: &World, key: &str) {
    world.fail(key, 1);
    world.advance(MILLISECOND);
}

/// Moves that the log has of a breaker.
fn moves(world: &World, key: &str) -> u64 {
    world.log().iter().filter(|event| &*event.key == key).map(|event| event.moves).sum()
}

#[test]
fn a_burst_is_folded_into_events_with_counts_and_the_last_one_has_the_final_state() {
    let world = World::new();
    world.declare("a", flapping());
    let generation = world.generation("a");
    for _ in 0..300 {
        flap(&world, "a");
    }
    assert_eq!(world.log().len(), EVENT_BURST as usize, "the others wait");
    let ahead = world.view("a");
    assert_eq!(ahead.entry.status.generation, generation + 600, "the state does not wait");
    world.advance(FOLDED_FOR);
    let log = world.log();
    let folded: Vec<_> = log[EVENT_BURST as usize..].iter().map(|event| (event.kind.name(), event.moves)).collect();
    assert_eq!(folded, [("opened", 292), ("half_opened", 292)]);
    assert_eq!(moves(&world, "a"), 600);
    let last = world.last_event();
    assert_eq!((last.status, last.sequence), (world.view("a").entry.status, world.view("a").entry.sequence));
    let first_at = last.first_at.expect("the first of several");
    assert!(first_at < last.at && last.at.since(first_at) <= FOLDED_FOR);
    assert_eq!(world.engine.measured().events["opened"], 300, "metrics count moves");
}

#[test]
fn a_single_move_that_waits_is_an_event_like_any_other() {
    let world = World::new();
    world.declare("a", flapping());
    for _ in 0..EVENT_BURST / 2 {
        flap(&world, "a");
    }
    world.fail("a", 1);
    assert_eq!(world.log().len(), EVENT_BURST as usize);
    world.advance(FOLDED_FOR);
    let log = world.log();
    let told: Vec<_> =
        log[EVENT_BURST as usize..].iter().map(|event| (event.kind.name(), event.moves, event.first_at)).collect();
    assert_eq!(told, [("opened", 1, None), ("half_opened", 1, None)]);
}

#[test]
fn what_is_requested_is_recorded_at_once_after_what_waited() {
    let world = World::new();
    world.declare("a", flapping());
    let last = || world.last_event();
    let requests: [(&str, &dyn Fn()); 6] = [
        ("reset", &|| drop(world.engine.reset("a", OPERATOR).soon().unwrap())),
        ("override_set", &|| {
            drop(world.engine.set_override("a", "x", OverrideMode::Shadow, None, OPERATOR).soon().unwrap());
        }),
        ("override_cleared", &|| drop(world.engine.clear_override("a", None, OPERATOR).soon().unwrap())),
        ("half_opened", &|| {
            world.fail("a", 1);
            drop(world.engine.probe_now("a", None, OPERATOR).soon().unwrap());
        }),
        ("policy_changed", &|| {
            world.declare_revision("a", PolicySpec { probes: Some(2), ..flapping() }, 7);
        }),
        ("deleted", &|| world.engine.delete("a", OPERATOR).soon().unwrap()),
    ];
    let (mut total, mut before) = (0, world.generation("a"));
    for (kind, request) in requests {
        for _ in 0..30 {
            flap(&world, "a");
        }
        let flapped = world.generation("a");
        request();
        let told = last();
        assert_eq!((told.kind.name(), told.moves), (kind, 1));
        total += told.status.generation - before;
        before = told.status.generation;
        if matches!(kind, "deleted" | "policy_changed") {
            // An event that raises no generation.
            assert_eq!(told.status.generation, flapped);
            total += 1;
        }
        assert_eq!(moves(&world, "a"), total, "{kind}: all that waited is before it");
    }
    assert!(world.log().is_sorted_by_key(|event| event.sequence));
}

#[test]
fn any_mixture_of_flapping_and_requests_keeps_the_count_the_order_the_final_state_and_the_rate() {
    let mut folded = 0;
    for seed in 0..60 {
        let (world, mut dice) = (World::new(), Dice(seed + 1));
        world.declare("a", flapping());
        let first = world.generation("a");
        let (mut requested, mut ahead_since) = (0_u64, None);
        for _ in 0..400 {
            match dice.below(40) {
                0 => {
                    world.engine.reset("a", OPERATOR).soon().unwrap();
                    requested += 1;
                }
                1 => {
                    let set = world.engine.set_override("a", "x", OverrideMode::Shadow, Some(seconds(1)), OPERATOR);
                    set.soon().unwrap();
                    requested += 1;
                }
                2 => requested += u64::from(world.engine.probe_now("a", None, OPERATOR).soon().is_ok()),
                3 => world.advance(Duration::from_millis(dice.below(3_000) as u64)),
                4..=20 => world.advance(MILLISECOND),
                other => {
                    let outcome = if other % 3 == 0 { Outcome::Success } else { Outcome::Failure };
                    if let fuseboard::breaker::Decision::Permitted(permit) = world.decide("a") {
                        world.report("a", &permit, outcome);
                    }
                }
            }
            let logged = world.log().last().map_or(first, |event| event.status.generation);
            if world.generation("a") == logged {
                ahead_since = None;
            } else {
                let since = *ahead_since.get_or_insert_with(|| world.engine.now());
                assert!(world.engine.now().since(since) < FOLDED_FOR, "seed {seed}: the log lags behind");
            }
        }
        world.advance(seconds(5));
        let log = world.log();
        assert_eq!(log.iter().map(|event| event.moves).sum::<u64>(), world.generation("a") - first, "seed {seed}");
        assert!(log.windows(2).all(|pair| pair[0].status.generation < pair[1].status.generation), "seed {seed}");
        assert_eq!(log.last().unwrap().status, world.view("a").entry.status, "seed {seed}");
        let asked: Vec<_> = log.iter().filter(|event| !event.actor.is_empty()).collect();
        assert_eq!(asked.len() as u64, requested, "seed {seed}");
        assert!(asked.iter().all(|event| event.moves == 1));
        let elapsed = world.elapsed().as_secs() + 1;
        // Three kinds, and an override that ends by itself records early what waits, as a request does.
        let bound = u64::from(EVENT_BURST) + 2 * elapsed + 3 * elapsed + 8 * requested;
        assert!(log.len() as u64 <= bound, "seed {seed}: {} events in {elapsed} s", log.len());
        folded += log.iter().filter(|event| event.moves > 1).count();
    }
    assert!(folded > 100, "{folded} events were folded");
}

#[test]
fn a_breaker_that_flaps_leaves_the_history_and_the_resume_positions_of_others() {
    let world = World::with(Limits { events: 400, ..Limits::default() });
    world.declare("flapper", flapping());
    let first = world.generation("flapper");
    world.trip("calm");
    let mut watch = world.engine.watch(Default::default()).unwrap();
    while !matches!(watch.next().soon().unwrap(), fuseboard::engine::Message::Snapshot { complete: true, .. }) {}
    let position = watch.position();
    drop(watch);
    for _ in 0..30_000 {
        flap(&world, "flapper");
    }
    let usage = world.engine.usage();
    assert!(usage.newest_sequence < 100, "{} events in 30 s", usage.newest_sequence);
    assert_eq!(usage.oldest_sequence, 1, "nothing has left the log");
    world.advance(FOLDED_FOR);
    assert_eq!(moves(&world, "flapper"), world.generation("flapper") - first);
    let options = fuseboard::engine::WatchOptions { position: Some(position), ..Default::default() };
    let mut watch = world.engine.watch(options).unwrap();
    let first = watch.next().soon().unwrap();
    assert!(matches!(first, fuseboard::engine::Message::Event(event) if event.sequence == position.sequence + 1));
    assert_eq!(world.view("calm").entry.status.state, StateName::HalfOpen);
}

#[test]
fn a_breaker_that_goes_idle_with_events_that_wait_records_them_first() {
    let idle = Duration::from_millis(500);
    let world = World::with(Limits { breaker_idle: idle, ..Limits::default() });
    world.engine.set_policy("a", flapping(), None, OPERATOR).soon().unwrap();
    for _ in 0..40 {
        flap(&world, "a");
    }
    // A success closes it, which waits as well.
    world.call("a", Outcome::Success);
    let opened = world.view("a").totals.opens;
    world.advance(seconds(10));
    assert!(!world.exists("a"));
    assert_eq!(moves(&world, "a"), 2 * opened + 1);
}
