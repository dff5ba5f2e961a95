//! Several threads on one engine: nothing is lost, nothing counts twice, and the log has no gap.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use fuseboard::{
    breaker::{Decision, Outcome, PolicySpec, Report, Reported, RequestId, StateName},
    engine::{Limits, Message, WatchOptions},
};

use super::{Dice, NOBODY, OPERATOR, World, failures, seconds};
use crate::soon::{Soon as _, told};

const THREADS: usize = 4;

/// One call by handle, as sessions make them. True where it was permitted and its report counted.
fn call(world: &World, key: &str, outcome: Outcome) -> bool {
    let engine = &world.engine;
    let acquire = |handle| {
        let acquired = engine.acquire(engine.moment(), handle, NOBODY, RequestId::default(), None).and_then(told)?;
        Some((handle, acquired.decision))
    };
    match engine.always(key, acquire).unwrap() {
        (handle, Decision::Permitted(permit)) => engine
            .report(engine.moment(), handle, &permit, &Report::of(outcome), "")
            .and_then(told)
            .is_some_and(|answer| answer.reported == Reported::Counted),
        (_, Decision::Rejected { .. }) => false,
    }
}

#[test]
fn calls_of_several_threads_on_one_breaker_and_on_many_are_all_counted_once() {
    const CALLS: usize = 4_000;
    let world = World::new();
    let keys: Vec<String> = (0..64).map(|number| format!("b{number}")).collect();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (world, keys) = (&world, &keys);
            scope.spawn(move || {
                for turn in 0..CALLS {
                    assert!(call(world, "hot", Outcome::Success));
                    assert!(call(world, &keys[(turn + number) % keys.len()], Outcome::Success));
                }
            });
        }
    });
    let totals = |key: &str| world.view(key).totals;
    assert_eq!(totals("hot").successes, (THREADS * CALLS) as u64);
    assert_eq!(world.view("hot").window.successes, (THREADS * CALLS) as u64);
    assert_eq!(keys.iter().map(|key| totals(key).successes).sum::<u64>(), (THREADS * CALLS) as u64);
    assert_eq!((totals("hot").stale, world.log().len()), (0, 0));
    world.advance(seconds(120));
    assert_eq!(world.engine.usage().ledger_bytes, 0);
}

#[test]
fn under_any_interleaving_sequences_have_no_gap_and_every_breaker_moves_legally() {
    for seed in 0..4 {
        println!("seed {seed}");
        let world = World::with(Limits { breakers: 24, events: 1 << 20, ..Limits::default() });
        world
            .engine
            .set_policy("*", PolicySpec { open_duration: Some(seconds(1)), ..failures(2) }, None, OPERATOR)
            .soon()
            .unwrap();
        thread::scope(|scope| {
            for number in 0..THREADS {
                let world = &world;
                scope.spawn(move || flap(world, Dice(seed * 100 + number as u64)));
            }
        });
        check_log(&world);
    }
}

/// Moves breakers in every way there is.
fn flap(world: &World, mut dice: Dice) {
    for _ in 0..2_000 {
        let key = format!("b{}", dice.below(16));
        match dice.below(12) {
            0 => drop(world.engine.reset(&key, OPERATOR).soon()),
            1 => drop(world.engine.delete(&key, OPERATOR).soon()),
            2 => world.advance(seconds(1)),
            3 => drop(world.engine.handle(&format!("passing-{}", dice.below(50)))),
            4 => drop(world.engine.view(&key).soon()),
            _ => _ = call(world, &key, if dice.below(3) == 0 { Outcome::Success } else { Outcome::Failure }),
        }
    }
}

fn check_log(world: &World) {
    let log = world.log();
    let mut last: HashMap<&str, (u64, StateName)> = HashMap::new();
    for (index, event) in log.iter().enumerate() {
        assert_eq!(event.sequence, index as u64 + 1);
        assert!(index == 0 || event.at >= log[index - 1].at);
        let known = last.insert(&event.key, (event.status.generation, event.to));
        if event.kind.name() == "deleted" {
            let (generation, state) = known.unwrap_or((event.status.generation, event.from));
            assert!(event.status.generation >= generation && event.from == state, "{event:?}");
            last.insert(&event.key, (event.status.generation, StateName::Closed));
        } else if let Some((generation, state)) = known {
            assert!(event.status.generation > generation, "{event:?} after {generation}");
            assert_eq!(event.from, state, "{event:?}");
        }
    }
    assert!(log.len() > 500, "enough has happened: {}", log.len());
    for (key, (generation, state)) in last {
        if let Ok(view) = world.engine.view(key).soon() {
            assert!(view.entry.status.generation >= generation);
            assert_eq!(view.entry.status.state, state);
        }
    }
}

#[test]
fn no_more_probes_are_out_than_the_policy_has_however_many_threads_ask() {
    let world = World::new();
    let spec = PolicySpec {
        probes: Some(3),
        successes_to_close: Some(1_000_000),
        failures_to_reopen: Some(1_000_000),
        ..failures(1)
    };
    world.declare("a", spec);
    world.fail("a", 1);
    world.advance(seconds(30));
    let (done, out) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    thread::scope(|scope| {
        let asking = [(); THREADS].map(|()| {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Decision::Permitted(permit) = world.decide("a") else { continue };
                    assert!(out.fetch_add(1, Ordering::SeqCst) < 3, "a fourth probe");
                    out.fetch_sub(1, Ordering::SeqCst);
                    assert_eq!(world.report("a", &permit, Outcome::Success), Reported::Counted);
                }
            })
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(world.view("a").probes_out <= 3);
            }
        });
        asking.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_declared_or_overridden_while_others_crowd_it_out_is_never_lost() {
    let world = World::with(Limits { breakers: 400, ..Limits::default() });
    thread::scope(|scope| {
        let crowding = scope.spawn(|| {
            for number in 0..20_000 {
                _ = world.engine.handle(&format!("passing-{}", number % 1_000));
            }
        });
        for number in 0..100 {
            let (declared, forced) = (format!("declared-{number}"), format!("forced-{number}"));
            // They may be there already, and go in this very moment.
            _ = world.engine.handle(&declared);
            _ = world.engine.handle(&forced);
            assert_eq!(world.declare_revision(&declared, failures(1), 3).declared_revision, Some(3));
            world
                .engine
                .set_override(&forced, "default", fuseboard::breaker::OverrideMode::ForcedOpen, None, OPERATOR)
                .soon()
                .unwrap();
        }
        crowding.join().unwrap();
    });
    for number in 0..100 {
        assert_eq!(world.view(&format!("declared-{number}")).declared_revision, Some(3));
        assert!(!world.view(&format!("forced-{number}")).overrides.is_empty());
    }
    assert!(world.engine.usage().breakers <= 400);
}

#[test]
fn a_breaker_is_found_and_itself_while_its_neighbours_come_and_go() {
    const TURNS: usize = 20_000;
    // Little room, so that the table of keys is crowded and its entries are often moved.
    let world = World::with(Limits { breakers: 20, ..Limits::default() });
    let keys: Vec<String> = (0..8).map(|number| format!("stays-{number}")).collect();
    let handles: Vec<_> = keys.iter().map(|key| world.engine.handle(key).unwrap()).collect();
    let churned = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(7);
            for _ in 0..TURNS {
                let key = format!("goes-{}", dice.below(12));
                if world.engine.delete(&key, OPERATOR).soon().is_err() {
                    world.engine.handle(&key).unwrap();
                }
            }
            churned.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !churned.load(Ordering::Relaxed) {
                for (key, handle) in keys.iter().zip(&handles) {
                    assert_eq!(world.engine.find(key), Some(*handle), "{key}");
                }
                assert_eq!(world.engine.find("never-there"), None);
            }
        });
    });
    for (key, handle) in keys.iter().zip(&handles) {
        assert_eq!(world.engine.find(key), Some(*handle), "{key}");
    }
}

#[test]
fn pages_of_the_history_go_on_while_the_log_moves_past_them() {
    let world = World::with(Limits { events: 50, ..Limits::default() });
    world.engine.handle("a").unwrap();
    world.engine.reset("a", OPERATOR).soon().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                world.engine.reset("a", OPERATOR).soon().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert!(!world.engine.events(0, false, 10).is_empty(), "an empty page would be the end of the history");
        }
    });
}

#[test]
fn watches_that_come_and_go_on_all_threads_are_counted_down_to_none() {
    let world = World::with(Limits { watchers: 3, ..Limits::default() });
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if let Ok(mut watch) = world.engine.watch(WatchOptions::default()) {
                        assert!(world.engine.usage().watchers <= 3);
                        let first = futures_util::FutureExt::now_or_never(watch.next());
                        assert!(matches!(first, Some(Some(Message::Snapshot { complete: true, .. }))));
                    }
                }
            });
        }
    });
    assert_eq!(world.engine.usage().watchers, 0);
}
