//! The event log: what was told, of whom, and how far back it can be read.

use fuseboard::{
    breaker::{Moment, Outcome, OverrideMode, PolicySpec, Report, Reported, RequestId, Tally},
    engine::{CallerTally, Error, Limits},
};

use super::{NOBODY, OPERATOR, World, failures, permitted, seconds};
use crate::soon::{Soon as _, now};

#[test]
fn every_move_is_told_with_the_next_sequence_the_breaker_after_it_and_where_it_came_from() {
    let world = World::new();
    world.trip("a");
    world.advance(seconds(30));
    world.call("a", Outcome::Success);
    world.engine.reset("a", OPERATOR).soon().unwrap();
    world.engine.delete("a", OPERATOR).soon().unwrap();
    let log = world.log();
    let kinds: Vec<_> = log.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["opened", "half_opened", "closed", "reset", "deleted"]);
    for (event, next) in log.iter().zip(&log[1..]) {
        assert_eq!(next.sequence, event.sequence + 1);
        assert_eq!(next.from, event.to);
        assert_eq!(event.status.state, event.to);
        assert!(next.status.generation > event.status.generation || next.kind.name() == "deleted");
    }
}

#[test]
fn a_view_shows_the_last_event_of_a_breaker_although_others_have_filled_the_log() {
    let world = World::with(Limits { events: 16, ..Limits::default() });
    world.engine.handle("a").unwrap();
    let view = world.view("a");
    assert_eq!((view.entry.sequence, view.last_event), (0, None));
    world.engine.reset("a", OPERATOR).soon().unwrap();
    let view = world.view("a");
    assert_eq!((view.entry.sequence, view.last_event), (1, Some(world.last_event())));
    world.engine.handle("b").unwrap();
    for _ in 0..30 {
        world.engine.reset("b", OPERATOR).soon().unwrap();
    }
    let view = world.view("a");
    assert_eq!(view.entry.sequence, 1);
    assert_eq!(view.last_event.map(|event| event.sequence), Some(1), "its history is its own");
}

#[test]
fn the_log_holds_the_newest_events_up_to_its_bound() {
    let world = World::with(Limits { events: 10, ..Limits::default() });
    assert_eq!((world.engine.usage().oldest_sequence, world.engine.usage().newest_sequence), (0, 0));
    world.engine.handle("a").unwrap();
    for _ in 0..25 {
        world.engine.reset("a", OPERATOR).soon().unwrap();
    }
    let usage = world.engine.usage();
    assert_eq!((usage.events, usage.oldest_sequence, usage.newest_sequence), (10, 16, 25));
    // Beside the log, the history keeps a quarter as many.
    assert_eq!(world.log().iter().map(|event| event.sequence).collect::<Vec<_>>(), (14..=25).collect::<Vec<_>>());
}

#[test]
fn the_history_is_read_in_pages_both_ways_from_any_place() {
    let world = World::with(Limits { events: 10, ..Limits::default() });
    world.engine.handle("a").unwrap();
    for _ in 0..25 {
        world.engine.reset("a", OPERATOR).soon().unwrap();
    }
    let page = |from, newest_first| {
        let events = world.engine.events(from, newest_first, 4);
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(page(0, false), [14, 15, 16, 17], "from the oldest there is");
    assert_eq!(page(15, false), [16, 17, 18, 19]);
    assert_eq!(page(19, false), [20, 21, 22, 23]);
    assert_eq!(page(23, false), [24, 25]);
    assert_eq!(page(25, false), [0; 0]);
    assert_eq!(page(u64::MAX, false), [0; 0]);
    assert_eq!(page(u64::MAX, true), [25, 24, 23, 22]);
    assert_eq!(page(22, true), [21, 20, 19, 18]);
    assert_eq!(page(18, true), [17, 16, 15, 14]);
    assert_eq!(page(14, true), [0; 0]);
    assert_eq!(page(0, true), [0; 0]);
}

#[test]
fn what_changes_nothing_is_no_event() {
    let world = World::new();
    world.call("a", Outcome::Success);
    world.call("a", Outcome::Failure);
    world.view("a");
    world.declare("a", PolicySpec::default());
    assert_eq!(world.log(), []);
}

#[test]
fn a_breaker_that_was_never_seen_is_not_found_and_not_made_by_asking() {
    let world = World::new();
    let not_found = |error: Error| matches!(error, Error::NotFound { reason: "BREAKER_NOT_FOUND", .. });
    assert!(not_found(world.engine.view("a").soon().unwrap_err()));
    assert!(not_found(world.engine.reset("a", OPERATOR).soon().unwrap_err()));
    assert!(not_found(world.engine.delete("a", OPERATOR).soon().unwrap_err()));
    assert_eq!((world.engine.find("a"), world.engine.entry("a", None)), (None, None));
    assert_eq!(world.log(), []);
}

#[test]
fn a_deletion_tells_the_breaker_as_it_last_was_and_takes_declaration_and_override_along() {
    let world = World::new();
    world.declare("a", failures(1));
    world.fail("a", 1);
    world.engine.set_override("a", "default", OverrideMode::ForcedOpen, None, OPERATOR).soon().unwrap();
    let last = world.view("a").entry;
    world.engine.delete("a", OPERATOR).soon().unwrap();
    let event = world.last_event();
    assert_eq!((event.kind.name(), &*event.actor, event.status), ("deleted", OPERATOR.name, last.status));
    world.permit("a");
    let view = world.view("a");
    assert_eq!((view.overrides, view.declared_revision, view.entry.sequence), (Vec::new(), None, 0));
    assert_eq!(view.policy.policy.failure_threshold.map(u32::from), Some(5));
}

// ---- Who made it ---------------------------------------------------------------------------------------------------

#[test]
fn a_move_names_the_caller_and_the_error_class_of_the_report_that_made_it() {
    let world = World::new();
    let caller = world.engine.caller("checkout/3");
    let tally = Tally { generation: 1, failures: 4, trailing_failures: 4, ..Tally::default() };
    world.engine.report_batch("sdk", 1, &[CallerTally { key: "a", caller, tally }]).soon().unwrap();
    let permit = permitted(world.decide_as("a", caller, RequestId::default()));
    let handle = world.engine.find("a").unwrap();
    world
        .engine
        .report(world.moment(), handle, &permit, &Report::of(Outcome::Timeout), "deadline_exceeded")
        .map(now)
        .unwrap();
    let event = world.last_event();
    assert_eq!((event.caller.as_deref(), &*event.error_class), (Some("checkout/3"), "deadline_exceeded"));
    assert_eq!((&*event.actor, &*event.comment), ("", ""));
}

/// A half-open breaker with a probe out, and an instant at which its lease has ended and no timer has fired yet.
fn probe_overdue() -> (World, fuseboard::breaker::Permit, Moment) {
    let world = World::new();
    world.trip("a");
    world.advance(seconds(30));
    let probe = world.permit("a");
    let overdue = Moment { now: world.engine.now().after(seconds(60)), random: 0 };
    (world, probe, overdue)
}

#[test]
fn a_move_that_time_made_names_nobody_whoever_came_by() {
    let by_nobody = |world: &World| {
        let event = world.last_event();
        assert_eq!((event.kind.name(), event.reason.name()), ("opened", "probes_failed"));
        assert_eq!((event.caller.as_deref(), &*event.error_class, &*event.actor), (None, "", ""));
    };

    let (world, _, overdue) = probe_overdue();
    let handle = world.engine.find("a").unwrap();
    let caller = world.engine.caller("checkout/3");
    world.engine.acquire(overdue, handle, caller, RequestId::default(), None).map(now).unwrap();
    by_nobody(&world);

    let (world, probe, overdue) = probe_overdue();
    let handle = world.engine.find("a").unwrap();
    let answer = world.engine.report(overdue, handle, &probe, &Report::of(Outcome::Success), "late").map(now).unwrap();
    assert_eq!(answer.reported, Reported::Stale);
    by_nobody(&world);
}

#[test]
fn what_time_made_before_an_operators_change_is_told_before_it_and_names_nobody() {
    let world = World::new();
    world.trip("a");
    // The operator's clock is read when the open period has passed, and no timer has fired yet.
    let overdue = Moment { now: world.engine.now().after(seconds(31)), random: 0 };
    let handle = world.engine.find("a").unwrap();
    world.engine.acquire(overdue, handle, NOBODY, RequestId::default(), None).map(now).unwrap();
    world.engine.reset("a", OPERATOR).soon().unwrap();
    let actors: Vec<_> = world.log().iter().map(|event| (event.kind.name(), event.actor.to_string())).collect();
    assert_eq!(actors[1..], [("half_opened", String::new()), ("reset", OPERATOR.name.to_owned())]);
}

#[test]
fn names_of_callers_are_bounded_and_past_the_bound_events_leave_them_out() {
    let world = World::with(Limits { callers: 16, ..Limits::default() });
    let ids: Vec<_> = (0..1_000).map(|number| world.engine.caller(&format!("caller/{number}"))).collect();
    assert!(world.engine.usage().callers <= 16);
    assert_eq!(world.engine.caller(""), NOBODY);
    for (number, caller) in ids.into_iter().enumerate() {
        let key = format!("b{number}");
        world.declare(&key, failures(1));
        let permit = permitted(world.decide_as(&key, caller, RequestId::default()));
        world.report(&key, &permit, Outcome::Failure);
        let name = world.last_event().caller.clone();
        assert!(name.is_none_or(|name| *name == *format!("caller/{number}")), "never another's");
    }
}

#[test]
fn names_that_nobody_uses_any_more_make_room_for_new_ones() {
    let world = World::with(Limits { callers: 16 * 4, ..Limits::default() });
    let names = |restart: u32| (0..40).map(move |instance| format!("web/{restart}/{instance}"));
    for restart in 0..20 {
        let known = names(restart).filter(|name| {
            // Each is used again by its next call.
            let id = world.engine.caller(name);
            let _ = world.engine.caller(name);
            world.engine.caller_name(id).as_deref() == Some(name)
        });
        assert!(known.count() >= 30, "most names of restart {restart} are known");
        assert!(world.engine.usage().callers <= 64);
    }
}
