//! Watchers of breakers that flap: the log folds their bursts, and a watcher still never goes back and ends where they are.

use std::time::Duration;

use fuseboard::{
    breaker::{CallerId, Outcome},
    engine::{Clock, Engine, FOLDED_FOR, Limits, Message, WatchOptions},
};

use super::{
    Dice, OPERATOR, START, call, disturb,
    flapping::{MILLISECOND, flapping},
    follower::Follower,
};
use crate::soon::Soon as _;

/// Breakers that one failure opens for a millisecond.
fn world(events: usize) -> Engine {
    Engine::new(Clock::manual(START), Limits { events, ..Limits::default() }, flapping()).unwrap()
}

fn flap(engine: &Engine, key: &str, times: u32) {
    for _ in 0..times {
        call(engine, key, CallerId::default(), Outcome::Failure);
        let _ = engine.advance(MILLISECOND);
    }
}

#[tokio::test]
async fn watchers_that_come_go_and_resume_during_bursts_see_every_event_once_and_end_at_the_final_state() {
    for seed in 0..30 {
        let (engine, mut dice) = (world(1 << 20), Dice(seed + 1));
        let keys = ["a", "b", "c"];
        for key in keys {
            call(&engine, key, CallerId::default(), Outcome::Success);
        }
        let mut followers = Vec::new();
        for _ in 0..600 {
            let key = keys[dice.below(3)];
            match dice.below(30) {
                0 if followers.len() < 8 => {
                    let caller = (dice.below(2) == 0).then(|| engine.caller("web/1"));
                    followers.push(Follower::new(&engine, WatchOptions { caller, ..WatchOptions::default() }));
                }
                1 => disturb(&engine, key, &mut dice),
                2 => drop(engine.advance(Duration::from_millis(dice.below(1_500) as u64))),
                3..=6 => {
                    for follower in &mut followers {
                        for _ in 0..dice.below(4) {
                            follower.step().await;
                        }
                        if dice.below(4) == 0 {
                            let position = follower.position();
                            follower.reconnect(position);
                        }
                    }
                }
                _ => flap(&engine, key, 1 + dice.below(6) as u32),
            }
        }
        // The last burst is recorded by then.
        let _ = engine.advance(2 * FOLDED_FOR);
        for follower in &mut followers {
            follower.catch_up().await;
            follower.check();
            follower.check_board();
        }
    }
}

#[tokio::test]
async fn a_watcher_learns_the_newest_state_of_a_flapping_breaker_within_a_second() {
    let engine = world(10_000);
    let mut watch = engine.watch(WatchOptions { skip_snapshot: true, ..WatchOptions::default() }).unwrap();
    flap(&engine, "a", 100);
    let ahead = engine.entry("a", None).unwrap().status.generation;
    let mut told = 0;
    let _ = engine.advance(FOLDED_FOR);
    let mut moves = 0;
    while let Some(message) = watch.next().await {
        if let Message::Event(event) = message {
            told = event.status.generation;
            moves += event.moves;
        }
    }
    assert_eq!(told, ahead);
    assert_eq!(moves, 200);
}

#[tokio::test]
async fn a_position_from_before_a_long_burst_is_good_after_it_and_sees_the_final_state() {
    let engine = world(200);
    engine.handle("calm").unwrap();
    engine.reset("calm", OPERATOR).soon().unwrap();
    let mut watch = engine.watch(WatchOptions { skip_snapshot: true, ..WatchOptions::default() }).unwrap();
    let _ = watch.next().await;
    let position = watch.position();
    drop(watch);
    flap(&engine, "a", 20_000);
    let _ = engine.advance(FOLDED_FOR);
    let options = WatchOptions { position: Some(position), ..WatchOptions::default() };
    let mut watch = engine.watch(options).unwrap();
    let mut last = None;
    while let Some(message) = watch.next().await {
        match message {
            Message::Event(event) => last = Some(event),
            other => panic!("{other:?} in place of an event"),
        }
    }
    let last = last.expect("events");
    assert_eq!(last.status, engine.entry("a", None).unwrap().status);
    let history = engine.events(0, false, 10);
    assert_eq!(&*history[0].key, "calm", "its history is there");
}
