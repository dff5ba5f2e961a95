//! One watcher, step by step.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use fuseboard::{
    breaker::{CallerId, Kind, Outcome, OverrideMode, PolicySpec},
    engine::{
        Engine, Error, Event, EventKind, Filter, KEPT_EACH, Limits, Message, Position, ResyncReason, Watch,
        WatchOptions,
    },
};
use futures_util::FutureExt as _;

use super::{Dice, OPERATOR, call, disturb, engine, fail, follower::Follower, kinds, long_log, reset};
use crate::soon::Soon as _;

async fn next_event(watch: &mut Watch) -> Arc<Event> {
    match watch.next().await {
        Some(Message::Event(event)) => event,
        other => panic!("{other:?} in place of an event"),
    }
}

fn start(engine: &Engine, options: WatchOptions) -> Watch {
    engine.watch(options).unwrap()
}

fn from_now() -> WatchOptions {
    WatchOptions { skip_snapshot: true, ..WatchOptions::default() }
}

fn at(position: Position) -> WatchOptions {
    WatchOptions { position: Some(position), ..WatchOptions::default() }
}

fn only(keys: &[&str]) -> Filter {
    Filter { keys: keys.iter().map(|key| (*key).into()).collect(), ..Filter::default() }
}

// ---- The first message ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_watch_begins_with_a_snapshot_and_goes_on_with_what_happens_after_it() {
    let engine = engine(Limits::default());
    fail(&engine, "open");
    engine.handle("closed").unwrap();
    let mut watch = start(&engine, WatchOptions::default());
    let Some(Message::Snapshot { mut entries, deleted, complete }) = watch.next().await else { panic!() };
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(entries, ["closed", "open"].map(|key| engine.view(key).soon().unwrap().entry));
    assert_eq!((deleted.len(), complete), (0, true));
    assert_eq!(watch.next().await, None);
    reset(&engine, "open");
    let event = next_event(&mut watch).await;
    assert_eq!((event.sequence, event.kind), (2, EventKind::Moved(Kind::Reset)));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn the_first_message_comes_at_once_whatever_is_asked_for() {
    let engine = engine(Limits::default());
    reset(&engine, "a");
    let position = start(&engine, from_now()).position();
    let nothing_new = at(position);
    let before = Position { sequence: 0, ..position };
    let events_of_others = WatchOptions { filter: only(&["b"]), ..at(before) };
    for options in [from_now(), nothing_new, events_of_others] {
        let mut watch = start(&engine, options.clone());
        assert_eq!(watch.next().await, Some(Message::Progress), "{options:?}");
        assert_eq!(watch.position(), position, "it has everything up to now");
        assert_eq!(watch.next().await, None);
    }
    assert!(matches!(start(&engine, at(before)).next().await, Some(Message::Event(_))));
    let complete = Message::Snapshot { entries: vec![], deleted: vec![], complete: true };
    let nothing = WatchOptions { filter: only(&["b"]), ..WatchOptions::default() };
    assert!(matches!(start(&engine, nothing).next().await, Some(Message::Snapshot { .. })));
    let nothing =
        WatchOptions { filter: Filter { prefixes: vec!["b".into()], ..Filter::default() }, ..WatchOptions::default() };
    assert_eq!(start(&engine, nothing).next().await, Some(complete));
}

// ---- Resuming ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_watcher_that_comes_back_with_its_last_position_misses_nothing_and_sees_nothing_twice() {
    let engine = engine(long_log());
    let mut follower = Follower::new(&engine, WatchOptions::default());
    let mut dice = Dice(1);
    for _ in 0..400 {
        disturb(&engine, &format!("b{}", dice.below(9)), &mut dice);
        for _ in 0..dice.below(4) {
            follower.step().await;
        }
        if dice.below(3) == 0 {
            follower.reconnect(follower.position());
        }
    }
    follower.catch_up().await;
    follower.check();
    follower.check_board();
}

#[tokio::test]
async fn a_position_between_two_events_goes_on_at_exactly_the_second() {
    let engine = engine(Limits::default());
    for _ in 0..5 {
        reset(&engine, "a");
    }
    let history = engine.history();
    for sequence in 0..5 {
        let mut watch = start(&engine, at(Position { history, sequence, in_snapshot: false }));
        for expected in sequence + 1..=5 {
            assert_eq!(next_event(&mut watch).await.sequence, expected);
            assert_eq!(watch.position(), Position { history, sequence: expected, in_snapshot: false });
        }
    }
}

#[tokio::test]
async fn a_position_too_old_foreign_or_of_the_future_is_answered_by_what_was_lost_and_a_snapshot() {
    let engine = engine(Limits { events: 10, ..Limits::default() });
    for _ in 0..30 {
        reset(&engine, "a");
    }
    let history = engine.history();
    let cases = [
        (history, 0, Some((ResyncReason::TooOld, 30))),
        (history, 19, Some((ResyncReason::TooOld, 11))),
        (history, 20, None),
        (history, 30, None),
        (history, 31, Some((ResyncReason::FromFuture, 0))),
        (history, u64::MAX, Some((ResyncReason::FromFuture, 0))),
        (history ^ 1, 25, Some((ResyncReason::OtherHistory, 0))),
    ];
    for (history, sequence, expected) in cases {
        for in_snapshot in [false, true] {
            let mut follower = Follower::new(&engine, at(Position { history, sequence, in_snapshot }));
            let messages = follower.catch_up().await;
            assert_eq!(follower.resyncs, expected.into_iter().collect::<Vec<_>>(), "{sequence}");
            assert_eq!(matches!(messages[0], Message::Resync { .. }), expected.is_some());
            let snapshots = messages.iter().filter(|message| matches!(message, Message::Snapshot { .. })).count();
            assert_eq!(snapshots > 0, expected.is_some() || in_snapshot);
            assert!(!follower.position().in_snapshot && follower.position().sequence == 30);
        }
    }
}

#[tokio::test]
async fn after_a_resync_events_go_on() {
    let engine = engine(Limits::default());
    reset(&engine, "a");
    let mut follower = Follower::new(&engine, at(Position { history: 1, sequence: 1, in_snapshot: false }));
    follower.catch_up().await;
    for sequence in 2..5 {
        reset(&engine, "a");
        assert!(matches!(follower.step().await, Some(Message::Event(event)) if event.sequence == sequence));
    }
    follower.check_board();
}

// ---- Snapshots in parts --------------------------------------------------------------------------------------------

/// So many breakers that a snapshot takes three parts and more.
fn many(engine: &Engine) -> Vec<String> {
    let keys: Vec<String> = (0..5_000).map(|number| format!("b{number:04}")).collect();
    for key in &keys {
        engine.handle(key).unwrap();
    }
    keys
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts_of_bounded_size() {
    let engine = engine(long_log());
    let keys = many(&engine);
    let mut watch = start(&engine, WatchOptions::default());
    let (mut told, mut parts) = (HashSet::new(), Vec::new());
    while watch.position().in_snapshot {
        let Some(Message::Snapshot { entries, deleted, complete }) = watch.next().await else { panic!() };
        assert_eq!((deleted.len(), complete), (0, !watch.position().in_snapshot));
        parts.push(entries.len());
        told.extend(entries.into_iter().map(|entry| entry.key.to_string()));
    }
    assert!(parts.iter().all(|part| *part <= 64), "{parts:?}");
    assert_eq!(told, keys.into_iter().collect());
}

#[tokio::test]
async fn what_moves_while_a_snapshot_is_sent_is_in_it_once_it_is_complete_and_told_as_an_event_only_after() {
    let engine = engine(long_log());
    let keys = many(&engine);
    let mut follower = Follower::new(&engine, WatchOptions::default());
    follower.step().await;
    // Told already, and not told yet; the one that comes anew after the other takes its place, behind the walk.
    for key in [&keys[10], &keys[4_990]] {
        fail(&engine, key);
    }
    for key in [&keys[20], &keys[4_980]] {
        engine.delete(key, OPERATOR).soon().unwrap();
    }
    fail(&engine, "new");
    engine.delete(&keys[4_000], OPERATOR).soon().unwrap();
    engine.handle(&keys[4_000]).unwrap();
    follower.catch_up().await;
    for key in [&*keys[10], &*keys[4_990], "new", &*keys[4_000]] {
        assert!(follower.board.contains_key(key), "{key}");
    }
    assert!(!follower.board.contains_key(&*keys[20]) && !follower.board.contains_key(&*keys[4_980]));
    follower.check();
    follower.check_board();
}

#[tokio::test]
async fn more_events_than_one_part_holds_while_a_snapshot_is_sent_make_more_parts_none_older_than_before() {
    let engine = engine(long_log());
    let keys = many(&engine);
    let mut follower = Follower::new(&engine, WatchOptions::default());
    for round in 0..3 {
        follower.step().await;
        for number in 0..1_500 {
            // Some were told already; others are not yet, and will be as they stand after all this.
            let key = (number * 7 + round) % 100;
            reset(&engine, &keys[if number % 2 == 0 { key } else { keys.len() - 1 - key }]);
        }
    }
    let parts = follower.catch_up().await;
    assert!(parts.len() > 4, "{}", parts.len());
    assert!(parts.iter().all(|message| matches!(message, Message::Snapshot { .. })));
    follower.check();
    follower.check_board();
}

#[tokio::test]
async fn a_position_in_the_middle_of_a_snapshot_brings_the_snapshot_again() {
    let engine = engine(long_log());
    many(&engine);
    let mut follower = Follower::new(&engine, WatchOptions::default());
    follower.step().await;
    let position = follower.position();
    assert!(position.in_snapshot);
    fail(&engine, "b0000");
    engine.delete("b0001", OPERATOR).soon().unwrap();
    follower.reconnect(position);
    let messages = follower.catch_up().await;
    assert!(matches!(messages[0], Message::Snapshot { complete: false, .. }));
    follower.check();
    follower.check_board();
}

#[tokio::test]
async fn a_breaker_that_flaps_takes_away_its_own_history_and_not_that_of_others() {
    let engine = engine(Limits { events: 200, ..Limits::default() });
    fail(&engine, "quiet");
    let before = engine.events(u64::MAX, true, usize::MAX).remove(0);
    let mut late = Follower::new(&engine, WatchOptions::default());
    late.catch_up().await;
    let position = late.position();
    for _ in 0..1_000 {
        reset(&engine, "flapping");
    }
    let history = engine.events(u64::MAX, true, usize::MAX);
    let of = |key: &str| history.iter().filter(|event| &*event.key == key).count();
    assert_eq!(of("quiet"), 1, "kept");
    assert_eq!(of("flapping"), 200 + KEPT_EACH, "those of the log, and no more than its share of what is kept");
    assert!(history.is_sorted_by(|a, b| a.sequence > b.sequence));
    let mut forwards = engine.events(0, false, usize::MAX);
    forwards.reverse();
    assert_eq!(forwards, history);
    assert_eq!(engine.view("quiet").soon().unwrap().last_event, Some(before));
    // Watchers resume from the log alone.
    late.reconnect(position);
    late.catch_up().await;
    assert_eq!(late.resyncs.len(), 1);
}

#[tokio::test]
async fn what_is_kept_of_the_history_is_bounded_however_many_breakers_there_are() {
    let engine = engine(Limits { events: 80, ..Limits::default() });
    for round in 0..10 {
        for number in 0..100 {
            reset(&engine, &format!("b{number}"));
        }
        assert!(engine.events(u64::MAX, true, usize::MAX).len() <= 80 + 20, "round {round}");
    }
}

#[tokio::test]
async fn a_snapshot_that_the_log_goes_past_begins_again_after_a_resync() {
    let engine = engine(Limits { events: 100, ..Limits::default() });
    let keys = many(&engine);
    let mut follower = Follower::new(&engine, WatchOptions::default());
    follower.step().await;
    for key in &keys[..200] {
        reset(&engine, key);
    }
    follower.catch_up().await;
    assert_eq!(follower.resyncs, [(ResyncReason::SlowReader, 200)]);
    follower.check_board();
}

#[tokio::test]
async fn any_interleaving_of_messages_and_moves_ends_at_the_same_board() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let engine = engine(long_log());
        let keys = 1 + dice.below(4_500);
        for number in 0..keys {
            engine.handle(&format!("b{number}")).unwrap();
        }
        // Few breakers that move much, told early or late.
        let moving = 1 + dice.below(40);
        let prefix = ["", "b1", "b22"][dice.below(3)];
        let prefixes = if prefix.is_empty() { Vec::new() } else { vec![prefix.into()] };
        let latest_only = dice.below(2) == 0;
        let filter = Filter { prefixes, ..Filter::default() };
        let mut follower = Follower::new(&engine, WatchOptions { filter, latest_only, ..WatchOptions::default() });
        for _ in 0..200 {
            for _ in 0..dice.below(30) {
                let key = format!("b{}", dice.below(moving) * keys / moving);
                disturb(&engine, &key, &mut dice);
            }
            for _ in 0..dice.below(3) {
                follower.step().await;
            }
            if dice.below(20) == 0 {
                follower.reconnect(follower.position());
            }
        }
        follower.catch_up().await;
        follower.check();
        follower.check_board();
    }
}

// ---- Filters -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn keys_and_prefixes_narrow_snapshots_and_events_kinds_and_callers_events_alone() {
    let engine = engine(Limits::default());
    let keys = ["pay/card", "pay/bank", "ship", "mail"];
    for key in keys {
        engine.handle(key).unwrap();
    }
    let seen = async |filter: Filter| {
        let mut watch = start(&engine, WatchOptions { filter, ..WatchOptions::default() });
        let mut told = Vec::new();
        while watch.position().in_snapshot {
            let Some(Message::Snapshot { entries, .. }) = watch.next().await else { panic!() };
            told.extend(entries.into_iter().map(|entry| entry.key.to_string()));
        }
        told.sort();
        let caller = engine.caller("checkout/3");
        for key in keys {
            call(&engine, key, if key == "ship" { caller } else { CallerId::default() }, Outcome::Failure);
            reset(&engine, key);
        }
        let mut events = Vec::new();
        while let Some(Message::Event(event)) = watch.next().await {
            events.push(format!("{} {}", event.kind.name(), event.key));
        }
        (told, events)
    };
    let filter = Filter::default();
    let (told, events) = seen(filter.clone()).await;
    assert_eq!((told.len(), events.len()), (4, 8));

    let (told, events) = seen(Filter { prefixes: vec!["pay/".into()], ..filter.clone() }).await;
    assert_eq!(told, ["pay/bank", "pay/card"]);
    assert_eq!(events, ["opened pay/card", "reset pay/card", "opened pay/bank", "reset pay/bank"]);

    let (told, events) = seen(only(&["ship", "none"])).await;
    assert_eq!((told, events), (vec!["ship".to_owned()], vec!["opened ship".to_owned(), "reset ship".to_owned()]));

    let (told, _) = seen(Filter { prefixes: vec!["pay/b".into(), "m".into()], ..only(&["ship"]) }).await;
    assert_eq!(told, ["mail", "pay/bank", "ship"], "of the keys or of the prefixes");

    let (told, events) = seen(Filter { kinds: vec![EventKind::Moved(Kind::Reset)], ..filter.clone() }).await;
    assert_eq!((told.len(), events.len()), (4, 4));
    assert!(events.iter().all(|event| event.starts_with("reset")));

    let (told, events) = seen(Filter { caller: Some("checkout/3".into()), ..filter }).await;
    assert_eq!((told.len(), events), (4, vec!["opened ship".to_owned()]));
}

#[tokio::test]
async fn a_position_passes_over_what_the_filter_leaves_out() {
    let engine = engine(Limits { events: 10, ..Limits::default() });
    let mut watch = start(&engine, WatchOptions { filter: only(&["mine"]), ..from_now() });
    assert_eq!(watch.next().await, Some(Message::Progress));
    for _ in 0..100 {
        reset(&engine, "other");
        assert_eq!(watch.next().await, None);
    }
    // Otherwise it would have to be resynced when it comes back.
    assert_eq!(watch.position().sequence, 100);
    reset(&engine, "mine");
    assert_eq!(next_event(&mut watch).await.sequence, 101);
}

// ---- Latest only ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_latest_event_of_each_breaker_is_enough_where_only_the_latest_is_asked_for() {
    let engine = engine(Limits::default());
    let options = WatchOptions { latest_only: true, ..from_now() };
    let mut watch = start(&engine, options);
    watch.next().await;
    fail(&engine, "a");
    reset(&engine, "b");
    reset(&engine, "a");
    engine.set_override("a", "default", OverrideMode::Shadow, None, OPERATOR).soon().unwrap();
    engine.delete("b", OPERATOR).soon().unwrap();
    let events = [next_event(&mut watch).await, next_event(&mut watch).await];
    assert_eq!(kinds(&events), ["override_set", "deleted"]);
    assert_eq!(watch.next().await, None);

    // One that keeps up gets each.
    for _ in 0..5 {
        reset(&engine, "a");
        next_event(&mut watch).await;
    }
}

// ---- Slow readers --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_reader_that_the_log_goes_past_is_told_what_it_lost_and_ends_at_the_same_board() {
    let engine = engine(Limits { events: 64, ..Limits::default() });
    let mut follower = Follower::new(&engine, from_now());
    follower.step().await;
    for number in 0..65 {
        reset(&engine, &format!("b{}", number % 7));
    }
    follower.catch_up().await;
    assert_eq!(follower.resyncs, [(ResyncReason::SlowReader, 65)]);
    follower.check_board();

    // As far as the log reaches nothing is lost.
    for number in 0..64 {
        reset(&engine, &format!("b{}", number % 7));
    }
    assert_eq!(follower.catch_up().await.len(), 64);
    assert_eq!(follower.resyncs.len(), 1);
    follower.check_board();
}

#[tokio::test]
async fn a_reader_of_any_pace_gets_all_or_is_told_and_ends_at_the_same_board() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let engine = engine(Limits { events: 1 + dice.below(600), ..Limits::default() });
        let pace = 1 + dice.below(30);
        let latest_only = dice.below(2) == 0;
        let mut follower = Follower::new(&engine, WatchOptions { latest_only, ..WatchOptions::default() });
        let mut last = Some(0);
        for _ in 0..100 {
            for _ in 0..dice.below(60) {
                disturb(&engine, &format!("b{}", dice.below(20)), &mut dice);
            }
            for _ in 0..dice.below(pace + 1) {
                last = match follower.step().await {
                    Some(Message::Event(event)) => {
                        assert!(latest_only || last.is_none_or(|last| event.sequence == last + 1));
                        Some(event.sequence)
                    }
                    Some(Message::Snapshot { complete: true, .. }) => Some(follower.position().sequence),
                    Some(Message::Progress) | None => last,
                    Some(_) => None,
                };
            }
            if dice.below(20) == 0 {
                follower.reconnect(follower.position());
            }
        }
        follower.catch_up().await;
        follower.check_board();
    }
}

/// Events that somebody still holds.
fn alive(events: &[Weak<Event>]) -> usize {
    events.iter().filter(|event| event.strong_count() > 0).count()
}

#[tokio::test]
async fn readers_that_do_not_read_hold_a_bounded_number_of_events_and_keep_nobody_waiting() {
    const SLOW: usize = 20;
    const LOG: usize = 100;
    /// What a watcher may have taken from the log and not sent.
    const TAKEN: usize = 512;
    let engine = engine(Limits { events: LOG, ..Limits::default() });
    let mut fast = start(&engine, from_now());
    fast.next().await;
    let mut slow = Vec::new();
    let mut told = Vec::new();
    for number in 0..10_000 {
        reset(&engine, "a");
        // The event is there for one who reads, in the very next message, whoever else does not.
        let event = next_event(&mut fast).await;
        assert_eq!(event.sequence, number + 1);
        told.push(Arc::downgrade(&event));
        if number % 500 == 100 && slow.len() < SLOW {
            // It takes what is there, reads one, and then no more.
            let mut watch = start(&engine, at(Position { sequence: number - 90, ..fast.position() }));
            next_event(&mut watch).await;
            slow.push(watch);
        }
    }
    assert!(alive(&told) <= LOG + LOG / 4 + SLOW * TAKEN, "{} events", alive(&told));
    let (events, watchers) = (engine.usage().events, engine.usage().watchers);
    assert_eq!((events, watchers), (LOG, SLOW as u64 + 1));
    for mut watch in slow {
        // What it had taken, in order; then it is told.
        let mut last = watch.position().sequence;
        let lost = loop {
            match watch.next().await {
                Some(Message::Event(event)) => {
                    assert_eq!(event.sequence, last + 1);
                    last = event.sequence;
                }
                Some(Message::Resync { reason: ResyncReason::SlowReader, lost }) => break lost,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(last + lost, 10_000);
        assert!(matches!(watch.next().await, Some(Message::Snapshot { complete: true, .. })));
    }
    // The history keeps a quarter as many again.
    assert!(alive(&told) <= LOG + LOG / 4);
}

// ---- Waiting and bounds --------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_watcher_is_woken_by_whatever_happens_after_it_has_found_nothing() {
    let engine = engine(Limits::default());
    let mut watch = start(&engine, from_now());
    watch.next().await;
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.changed().now_or_never(), None);
    reset(&engine, "a");
    assert_eq!(watch.changed().now_or_never(), Some(()));
    assert_eq!(next_event(&mut watch).await.sequence, 1);
    // Between the look and the wait; and not by what it has seen.
    assert_eq!(watch.next().await, None);
    reset(&engine, "a");
    assert_eq!(watch.changed().now_or_never(), Some(()));
    reset(&engine, "a");
    assert_eq!([next_event(&mut watch).await.sequence, next_event(&mut watch).await.sequence], [2, 3]);
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.changed().now_or_never(), None);
}

#[tokio::test]
async fn so_many_watchers_may_be_there_as_the_limit_says_and_one_that_leaves_makes_room() {
    let engine = engine(Limits { watchers: 2, ..Limits::default() });
    let one = start(&engine, WatchOptions::default());
    let _other = start(&engine, WatchOptions::default());
    for _ in 0..3 {
        let refused = engine.watch(WatchOptions::default());
        let Err(Error::Share(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!((refused.limit.reason, refused.max), ("WATCHER_LIMIT", 2));
    }
    assert_eq!(engine.usage().watchers, 2);
    drop(one);
    assert_eq!(engine.usage().watchers, 1);
    let _third = start(&engine, WatchOptions::default());
    assert!(engine.watch(WatchOptions::default()).is_err());
}

#[tokio::test]
async fn every_kind_of_event_arrives_with_the_breaker_after_it() {
    let engine = engine(Limits::default());
    let mut watch = start(&engine, from_now());
    watch.next().await;
    fail(&engine, "a");
    engine.advance(Duration::from_secs(1)).unwrap();
    call(&engine, "a", CallerId::default(), Outcome::Success);
    reset(&engine, "a");
    engine.set_policy("a", PolicySpec { probes: Some(2), ..PolicySpec::default() }, None, OPERATOR).soon().unwrap();
    engine.set_override("a", "default", OverrideMode::Shadow, None, OPERATOR).soon().unwrap();
    fail(&engine, "a");
    engine.clear_override("a", None, OPERATOR).soon().unwrap();
    engine.delete("a", OPERATOR).soon().unwrap();
    let mut events = Vec::new();
    while let Some(Message::Event(event)) = watch.next().await {
        assert_eq!(event.status.state, event.to);
        events.push(event);
    }
    let expected = [
        "opened",
        "half_opened",
        "closed",
        "reset",
        "policy_changed",
        "override_set",
        "would_have_opened",
        "override_cleared",
        "deleted",
    ];
    assert_eq!(kinds(&events), expected);
}
