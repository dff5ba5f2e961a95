//! Watchers among threads that move breakers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use fuseboard::engine::{Engine, Filter, Limits, Position, WatchOptions};
use tokio::{runtime, time::timeout};

use super::{Dice, PATIENCE, disturb, engine, follower::Follower, long_log, reset};

const WRITERS: u64 = 3;
const WATCHERS: u64 = 5;
const MOVES: usize = 1_000;
/// How often a watcher comes back, at most: some of its positions make it read all again.
const BREAKS: usize = 30;

/// Follows up to the last event there will be, at a pace and with breaks of its own.
fn follow(engine: &Engine, mut dice: Dice, last: &AtomicU64) -> Follower {
    let filter = match dice.below(4) {
        0 => Filter { prefixes: vec!["b1".into()], ..Filter::default() },
        1 => Filter { keys: ["b0", "b3", "b7", "b11"].map(Into::into).into(), ..Filter::default() },
        _ => Filter::default(),
    };
    let skip_snapshot = dice.below(4) == 0;
    let latest_only = dice.below(3) == 0;
    let whole = Filter { ..filter.clone() };
    let options = WatchOptions { filter, latest_only, skip_snapshot, ..WatchOptions::default() };
    let mut follower = Follower::new(engine, options);
    let mut seen: Vec<Position> = Vec::new();
    let mut breaks = BREAKS;
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        loop {
            if follower.step().await.is_none() {
                if follower.position().sequence >= last.load(Ordering::Acquire) {
                    break;
                }
                timeout(PATIENCE, follower.changed()).await.expect("it is woken");
            }
            seen.push(follower.position());
            if breaks == 0 || last.load(Ordering::Acquire) < u64::MAX {
                continue;
            }
            let position = match dice.below(60) {
                0 | 1 => follower.position(),
                2 => seen[dice.below(seen.len())],
                3 => Position { sequence: follower.position().sequence + 1_000_000, ..follower.position() },
                4 => Position { history: 1, ..follower.position() },
                5 => {
                    thread::yield_now();
                    continue;
                }
                _ => continue,
            };
            breaks -= 1;
            follower.reconnect(position);
        }
        // One without a snapshot knows only what has moved: it is compared after one.
        if skip_snapshot {
            follower = Follower::new(engine, WatchOptions { filter: whole, ..WatchOptions::default() });
            follower.catch_up().await;
        }
    });
    follower
}

fn run(seed: u64, limits: Limits) -> Vec<Follower> {
    println!("seed {seed}");
    let engine = engine(limits);
    for number in 0..12 {
        reset(&engine, &format!("b{number}"));
    }
    let last = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let (engine, last) = (&engine, &last);
        let watching: Vec<_> = (0..WATCHERS)
            .map(|number| scope.spawn(move || follow(engine, Dice(seed * 1_000 + number), last)))
            .collect();
        let writing: Vec<_> = (0..WRITERS)
            .map(|number| {
                scope.spawn(move || {
                    let mut dice = Dice(seed * 1_000 + 500 + number);
                    for _ in 0..MOVES {
                        disturb(engine, &format!("b{}", dice.below(16)), &mut dice);
                    }
                })
            })
            .collect();
        writing.into_iter().for_each(|thread| thread.join().unwrap());
        last.store(engine.usage().newest_sequence + 1, Ordering::Release);
        reset(engine, "b0");
        watching.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_watcher_sees_the_whole_history_each_event_once_and_ends_at_the_breakers_themselves() {
    for seed in 0..6 {
        for follower in run(seed, long_log()) {
            follower.check();
            follower.check_board();
        }
    }
}

#[test]
fn watchers_that_a_short_log_leaves_behind_end_at_the_breakers_themselves() {
    let mut resyncs = 0;
    for seed in 100..104 {
        for follower in run(seed, Limits { events: 40, ..Limits::default() }) {
            follower.check_board();
            resyncs += follower.resyncs.len();
        }
    }
    assert!(resyncs > 0);
}
