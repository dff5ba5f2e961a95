//! What a watcher that says who it is, or asks about a caller, is told.

use std::time::Duration;

use fuseboard::{
    breaker::{CallerId, KNOWN_FOR, Outcome, StateName},
    engine::{Engine, Filter, Limits, Message, Watch, WatchOptions},
};

use super::{call, engine, kinds};
use crate::soon::Soon as _;

const KEY: &str = "payments";

fn only_key() -> Filter {
    Filter { keys: [KEY.into()].into(), ..Filter::default() }
}

fn caller(engine: &Engine, name: &str) -> CallerId {
    engine.caller(name)
}

/// Two callers work, a third fails: it is isolated.
fn isolate(engine: &Engine, name: &str) {
    for well in ["web/1", "web/2"] {
        assert!(call(engine, KEY, caller(engine, well), Outcome::Success));
    }
    assert!(call(engine, KEY, caller(engine, name), Outcome::Failure));
    assert_eq!(engine.entry(KEY, Some(caller(engine, name))).unwrap().caller.unwrap().state, StateName::Open);
}

async fn events(watch: &mut Watch) -> Vec<&'static str> {
    let mut events = Vec::new();
    while let Some(message) = watch.next().await {
        if let Message::Event(event) = message {
            events.push(event);
        }
    }
    kinds(&events)
}

#[tokio::test]
async fn a_snapshot_tells_where_the_watcher_stands_also_when_it_moved_meanwhile() {
    let engine = engine(Limits::default());
    isolate(&engine, "web/3");
    for (name, state) in [("web/1", StateName::Closed), ("web/3", StateName::Open)] {
        let options =
            WatchOptions { filter: only_key(), caller: Some(caller(&engine, name)), ..WatchOptions::default() };
        let Some(Message::Snapshot { entries, .. }) = engine.watch(options).unwrap().next().await else { panic!() };
        assert_eq!(entries[0].caller.unwrap().state, state, "{name}");
    }
    // Read from the log as a correction: the event does not tell of the watcher.
    let options = WatchOptions { caller: Some(caller(&engine, "web/3")), ..WatchOptions::default() };
    let mut watch = engine.watch(options).unwrap();
    engine.reset(KEY, super::OPERATOR).soon().unwrap();
    let Some(Message::Snapshot { entries, .. }) = watch.next().await else { panic!() };
    let told = entries.iter().rev().find(|entry| &*entry.key == KEY).unwrap();
    assert_eq!(told.caller.unwrap().state, StateName::Closed, "the reset has restored it");
}

#[tokio::test]
async fn a_reset_names_its_actor_and_reason_in_the_events_of_the_callers_that_it_restores() {
    let engine = engine(Limits::default());
    isolate(&engine, "web/3");
    engine.reset(KEY, super::OPERATOR).soon().unwrap();
    let mut events = engine.events(u64::MAX, true, 2);
    events.reverse();
    assert_eq!(kinds(&events), ["caller_restored", "reset"]);
    for event in &events {
        assert_eq!((&*event.actor, &*event.comment), (super::OPERATOR.name, super::OPERATOR.comment));
    }
    assert_eq!(events[0].caller.as_deref(), Some("web/3"));
    assert_eq!(engine.audit(u64::MAX, 10).soon().unwrap().len(), 1, "one entry of the audit trail for one reset");
}

#[tokio::test]
async fn a_filter_by_caller_lets_through_what_its_own_scope_does() {
    let engine = engine(Limits::default());
    let watch_for = |name: &str| {
        let filter = Filter { caller: Some(name.into()), ..Filter::default() };
        engine.watch(WatchOptions { filter, skip_snapshot: true, ..WatchOptions::default() }).unwrap()
    };
    let (mut its, mut others) = (watch_for("web/3"), watch_for("web/1"));
    isolate(&engine, "web/3");
    let _ = engine.advance(Duration::from_secs(1));
    assert!(call(&engine, KEY, caller(&engine, "web/3"), Outcome::Success));
    assert_eq!(events(&mut its).await, ["caller_isolated", "caller_half_opened", "caller_restored"]);
    assert_eq!(events(&mut others).await, Vec::<&str>::new());
}

#[tokio::test]
async fn the_latest_only_is_the_latest_of_the_breaker_and_of_each_caller() {
    let engine = engine(Limits::default());
    let options = WatchOptions { latest_only: true, skip_snapshot: true, ..WatchOptions::default() };
    let mut watch = engine.watch(options).unwrap();
    isolate(&engine, "web/3");
    let _ = engine.advance(Duration::from_secs(1));
    assert!(call(&engine, KEY, caller(&engine, "web/1"), Outcome::Failure), "the second to fail in a row");
    assert_eq!(events(&mut watch).await, ["caller_half_opened", "opened"]);
}

#[tokio::test]
async fn who_watches_a_breaker_by_its_key_stays_known_to_it() {
    let engine = engine(Limits::default());
    isolate(&engine, "web/3");
    let silent = caller(&engine, "silent/1");
    let options = WatchOptions { filter: only_key(), caller: Some(silent), ..WatchOptions::default() };
    let mut watch = engine.watch(options).unwrap();
    for _ in 0..20 {
        let _ = watch.next().await;
        // As often as a stream says that nothing has happened.
        let _ = engine.advance(Duration::from_secs(600));
        assert!(call(&engine, KEY, caller(&engine, "web/1"), Outcome::Success));
        assert!(engine.entry(KEY, Some(silent)).unwrap().caller.is_some());
    }
    drop(watch);
    let _ = engine.advance(KNOWN_FOR);
    assert!(call(&engine, KEY, caller(&engine, "web/1"), Outcome::Success));
    assert_eq!(engine.entry(KEY, Some(silent)).unwrap().caller, None, "without a watch it is forgotten in an hour");
}

#[tokio::test]
async fn who_watches_a_breaker_before_it_is_there_is_known_to_it_once_it_is() {
    let engine = engine(Limits::default());
    let early = caller(&engine, "early/1");
    let options = WatchOptions { filter: only_key(), caller: Some(early), ..WatchOptions::default() };
    let mut watch = engine.watch(options).unwrap();
    let _ = watch.next().await;
    assert!(call(&engine, KEY, caller(&engine, "web/1"), Outcome::Success));
    let _ = watch.next().await;
    assert!(engine.entry(KEY, Some(early)).unwrap().caller.is_some());
}
