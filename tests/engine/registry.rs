//! Many breakers in bounded room: who stays, who makes room, and how those that come after are told apart.

use std::{
    cell::Cell,
    collections::HashMap,
    task::{Context, Poll, Waker},
    time::Duration,
};

use fuseboard::{
    breaker::{
        CallerId, Decision, Outcome, OverrideMode, PolicySpec, Report, Reported, RequestId, StateName, Timestamp,
        policy::WindowSpec,
    },
    engine::{Clock, Engine, Entry, Error, Limits, ReportAnswer},
};

use super::{Dice, NOBODY, OPERATOR, World, failures, minutes, permitted, seconds, turns};
use crate::soon::{Soon as _, now};

fn room_for(breakers: u32) -> World {
    World::with(Limits { breakers, ..Limits::default() })
}

/// Long after whatever was counted or permitted has gone, and before idle ones go.
const A_WHILE: Duration = minutes(5);

#[test]
fn there_is_room_for_as_many_breakers_as_the_limit_says_and_what_is_there_keeps_working() {
    let world = World::new();
    for number in 0..100_000 {
        world.permit(&format!("service-{number}"));
    }
    let refused = world.engine.handle("one-too-many");
    assert!(matches!(refused, Err(Error::Limit { reason: "BREAKER_LIMIT", max: 100_000, .. })), "{refused:?}");
    assert!(!world.exists("one-too-many"));
    assert_eq!(world.engine.usage().breakers, 100_000);

    assert_eq!(world.call("service-99999", Outcome::Success), Reported::Counted);
    world.trip("service-4711");
    world.engine.delete("service-0", OPERATOR).soon().unwrap();
    world.permit("one-too-many");
    assert_eq!(world.engine.usage().breakers, 100_000);
}

#[test]
fn at_the_limit_one_that_nobody_needs_makes_room() {
    let world = room_for(5);
    world.declare("declared", failures(5));
    let stays_open = PolicySpec { open_duration: Some(minutes(60)), ..failures(1) };
    world.engine.set_policy("open", stays_open, None, OPERATOR).soon().unwrap();
    world.fail("open", 1);
    world.engine.set_override("overridden", "default", OverrideMode::ForcedClosed, None, OPERATOR).soon().unwrap();
    world.call("counting", Outcome::Failure);
    world.call("idle", Outcome::Success);
    world.advance(A_WHILE);
    let permit = world.permit("counting");

    world.call("new", Outcome::Success);
    assert!(!world.exists("idle"), "it was closed, undeclared, and had nothing left to remember");
    for key in ["declared", "open", "overridden", "counting", "new"] {
        assert!(world.exists(key), "{key}");
    }
    assert!(matches!(world.engine.handle("newer"), Err(Error::Limit { reason: "BREAKER_LIMIT", .. })));
    assert_eq!(world.report("counting", &permit, Outcome::Success), Reported::Counted);

    world.advance(A_WHILE);
    world.call("newer", Outcome::Success);
    assert!(world.exists("declared") && world.exists("open") && world.exists("overridden"));
}

#[test]
fn a_new_key_is_not_refused_while_a_single_breaker_may_go_wherever_it_is() {
    let world = room_for(5_000);
    for number in 0..4_999 {
        world.declare(&format!("declared-{number}"), failures(5));
    }
    world.engine.handle("idle").unwrap();
    for round in 0..3 {
        let key = format!("new-{round}");
        world.engine.handle(&key).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(world.engine.usage().breakers, 5_000);
        assert!(world.exists("declared-0") && world.exists("declared-4998"));
    }
}

#[test]
fn a_closed_breaker_that_nobody_declared_goes_when_it_was_not_used_for_long() {
    let world = World::with(Limits { breaker_idle: minutes(60), ..Limits::default() });
    world.engine.handle("never-called").unwrap();
    world.call("called", Outcome::Success);
    world.call("failed-once", Outcome::Failure);
    let last_calls = PolicySpec { window: Some(WindowSpec::Count(10)), ..PolicySpec::default() };
    world.engine.set_policy("last-calls", last_calls, None, OPERATOR).soon().unwrap();
    world.call("last-calls", Outcome::Success);
    world.call("used", Outcome::Success);

    world.advance(minutes(40));
    world.call("used", Outcome::Success);
    world.advance(minutes(20) + seconds(70));
    for key in ["never-called", "called", "failed-once", "last-calls"] {
        assert!(!world.exists(key), "{key}");
    }
    assert!(world.exists("used"));
    world.advance(minutes(60));
    assert!(!world.exists("used"));
    assert_eq!(world.engine.usage().breakers, 0);
    assert_eq!(world.log().len(), 0, "that nobody used it is no event");
}

#[test]
fn one_that_is_declared_open_overridden_or_has_a_permit_out_stays_however_long_it_is_not_used() {
    let world = World::with(Limits { breaker_idle: minutes(10), ..Limits::default() });
    let policy = |spec| world.engine.set_policy("*", spec, None, OPERATOR).soon().map(|_| ()).unwrap();
    policy(PolicySpec { open_duration: Some(minutes(600)), lease: Some(minutes(60)), ..failures(1) });
    world.declare("declared", PolicySpec::default());
    world.fail("open", 1);
    world.engine.set_override("overridden", "default", OverrideMode::ForcedOpen, None, OPERATOR).soon().unwrap();
    world.permit("permit-out");

    world.advance(minutes(60) - seconds(1));
    for key in ["declared", "open", "overridden", "permit-out"] {
        assert!(world.exists(key), "{key}");
    }
    world.advance(minutes(12));
    assert!(!world.exists("permit-out"), "its lease has ended");
    world.advance(minutes(1_000));
    assert_eq!(world.state("open"), StateName::HalfOpen);
    assert!(world.exists("declared") && world.exists("overridden"));

    world.engine.reset("open", OPERATOR).soon().unwrap();
    world.engine.clear_override("overridden", None, OPERATOR).soon().unwrap();
    world.advance(minutes(25));
    assert!(!world.exists("open") && !world.exists("overridden") && world.exists("declared"));
}

#[test]
fn a_breaker_that_comes_anew_starts_above_every_generation_its_key_had_so_old_permits_are_stale() {
    let world = room_for(1);
    let old_permit = world.permit("a");
    world.engine.reset("a", OPERATOR).soon().unwrap();
    let young_permit = world.permit("a");
    let last = world.generation("a");

    world.engine.delete("a", OPERATOR).soon().unwrap();
    let permit = world.permit("a");
    assert!(permit.generation > last, "after a deletion");
    for old in [old_permit, young_permit] {
        assert_eq!(world.report("a", &old, Outcome::Failure), Reported::Stale);
    }
    assert_eq!(world.report("a", &permit, Outcome::Success), Reported::Counted);

    world.advance(A_WHILE);
    let last = world.generation("a");
    world.engine.handle("b").unwrap();
    assert!(!world.exists("a"), "there is room for one");
    world.engine.handle("a").unwrap();
    assert!(world.generation("a") > last, "after an eviction");
    assert_eq!(world.report("a", &permit, Outcome::Failure), Reported::Stale);
    assert_eq!(world.view("a").totals.failures, 0);
}

#[test]
fn generations_of_a_key_never_repeat_whatever_happens_to_it() {
    for seed in 0..20 {
        println!("seed {seed}");
        let world = room_for(6);
        let mut dice = Dice(seed);
        let mut highest: HashMap<String, u64> = HashMap::new();
        for _ in 0..500 {
            let key = format!("key-{}", dice.below(10));
            let was_there = world.exists(&key);
            if world.engine.handle(&key).is_err() {
                world.advance(A_WHILE);
                continue;
            }
            let generation = world.generation(&key);
            let seen = highest.entry(key.clone()).or_default();
            assert!(generation >= *seen && (was_there || generation > *seen), "{key}: {seen} then {generation}");
            *seen = generation;
            match dice.below(5) {
                0 => world.engine.delete(&key, OPERATOR).soon().unwrap(),
                1 => _ = world.engine.reset(&key, OPERATOR).soon().unwrap(),
                2 => {
                    _ = world
                        .engine
                        .set_override(&key, "default", OverrideMode::Shadow, Some(seconds(9)), OPERATOR)
                        .soon()
                        .unwrap()
                }
                3 => world.advance(seconds(dice.below(90) as u64)),
                _ => {
                    if let Decision::Permitted(permit) = world.decide(&key) {
                        world.report(&key, &permit, Outcome::Failure);
                    }
                }
            }
            if let Ok(view) = world.engine.view(&key).soon() {
                *highest.get_mut(&key).unwrap() = view.entry.status.generation;
            }
        }
    }
}

#[test]
fn a_handle_is_good_while_its_breaker_is_there_and_never_reaches_the_next_one_in_its_place() {
    let world = room_for(1);
    let gone = world.engine.handle("gone").unwrap();
    let permit = world.permit("gone");
    assert_eq!(world.engine.find("gone"), Some(gone));
    world.engine.delete("gone", OPERATOR).soon().unwrap();

    let acquire = || world.engine.acquire(world.moment(), gone, NOBODY, RequestId(7), None).map(now);
    let report = || world.engine.report(world.moment(), gone, &permit, &Report::of(Outcome::Failure), "").map(now);
    assert_eq!((acquire(), report()), (None, None), "the place is empty");
    let next = world.engine.handle("next").unwrap();
    assert_ne!(next, gone);
    assert_eq!((acquire(), report()), (None, None), "the place is another's");
    assert_eq!(world.view("next").totals, Default::default());
    assert_eq!(ReportAnswer::GONE.reported, Reported::Stale, "what whoever reports to it is told");
}

#[test]
fn a_list_has_every_breaker_once_in_the_order_of_keys_page_by_page() {
    let world = World::new();
    let mut keys: Vec<String> = (0..250).map(|number| format!("key-{}", number * 7_919 % 1_000)).collect();
    for key in &keys {
        world.engine.handle(key).unwrap();
    }
    keys.sort();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let after = listed.last().cloned().unwrap_or_default();
        let page = world.engine.list(&after, 100, |_| true);
        assert!(page.len() <= 101, "and one more, where there are more");
        let more = page.len() > 100;
        listed.extend(page.into_iter().take(100).map(|entry| entry.key.to_string()));
        if !more {
            break;
        }
        // What comes and goes between pages neither hides nor repeats another.
        world.engine.delete(&keys[0], OPERATOR).soon().unwrap();
        world.engine.handle(&keys[0]).unwrap();
        world.engine.handle("a-new-one-before").ok();
    }
    assert_eq!(listed, keys);

    world.trip("key-5");
    let open = world.engine.list("", 10, |entry| entry.status.state == StateName::Open);
    assert_eq!(open.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["key-5"]);
    assert_eq!(open[0], world.view("key-5").entry);
    assert_eq!(world.engine.list("zzz", 10, |_| true), []);
    assert_eq!(world.engine.list("", 0, |_| true).len(), 1, "only whether there is one");
}

#[test]
fn what_permits_take_of_the_ledgers_memory_is_given_back_whatever_ends_them() {
    let world = World::with(Limits { breakers: 8, ..Limits::default() });
    let ledger = || world.engine.usage().ledger_bytes;
    let many = |key: &str| (0..1_000).map(|_| world.permit(key)).collect::<Vec<_>>();

    many("lease-ends");
    assert!(ledger() > 0);
    world.advance(A_WHILE);
    assert_eq!(ledger(), 0);

    let permits = many("trips");
    for permit in &permits[..5] {
        world.report("trips", permit, Outcome::Failure);
    }
    assert_eq!((world.state("trips"), ledger()), (StateName::Open, 0));

    many("reset");
    world.engine.reset("reset", OPERATOR).soon().unwrap();
    assert_eq!(ledger(), 0);

    many("deleted");
    world.engine.delete("deleted", OPERATOR).soon().unwrap();
    assert_eq!(ledger(), 0);

    many("policy");
    world
        .engine
        .set_policy("policy", PolicySpec { lease: Some(seconds(1)), ..failures(2) }, None, OPERATOR)
        .soon()
        .unwrap();
    many("policy");
    world.advance(A_WHILE);
    assert_eq!(ledger(), 0);

    for number in 0..40 {
        many(&format!("evicted-{number}"));
        world.advance(A_WHILE);
    }
    assert_eq!(ledger(), 0);
}

#[test]
fn the_ledgers_share_their_bound_and_no_breaker_goes_blind_at_it() {
    let world = World::with(Limits { ledger_bytes: 4_096, ..Limits::default() });
    let most = (0..20).map(|number| {
        for _ in 0..2_000 {
            world.permit(&format!("busy-{number}"));
        }
        world.engine.usage().ledger_bytes
    });
    // A breaker grows by doubling, and gives its oldest permits up once it has grown.
    assert!(most.max() <= Some(4_096), "the bound is for all together");
    world.trip("late");
    world.trip("busy-0");
}

#[test]
fn a_deleted_breaker_gives_back_also_what_time_had_taken_from_it() {
    // On the machine's clock, with nobody to fire timers: leases end unseen.
    let engine = Engine::new(Clock::system(Timestamp::default()), Limits::default(), PolicySpec::default()).unwrap();
    let handle = engine.handle("a").unwrap();
    let lease = Duration::from_millis(1);
    for _ in 0..1_000 {
        engine.acquire(engine.moment(), handle, NOBODY, RequestId::default(), Some(lease)).map(now).unwrap();
    }
    let end = engine.now().after(lease);
    while engine.now() < end {
        std::hint::spin_loop();
    }
    engine.delete("a", OPERATOR).soon().unwrap();
    assert_eq!(engine.usage().ledger_bytes, 0);
}

#[test]
fn what_is_used_of_each_limit_can_be_read() {
    let world = World::with(Limits { watchers: 2, ..Limits::default() });
    world.decide_as("a", world.engine.caller("checkout/1"), RequestId(1));
    world.engine.report_batch("sdk", 1, &[]).soon().unwrap();
    world.engine.set_policy("a*", failures(3), None, OPERATOR).soon().unwrap();
    let _watch = world.engine.watch(Default::default()).unwrap();
    let usage = world.engine.usage();
    assert_eq!((usage.breakers, usage.request_ids, usage.batch_clients), (1, 1, 1));
    assert_eq!((usage.callers, usage.policies, usage.watchers), (1, 1, 1));
    assert_eq!((usage.events, usage.oldest_sequence, usage.newest_sequence), (1, 1, 1));
    assert_eq!(world.engine.limits().watchers, 2);
}

#[test]
fn callers_are_bounded_over_all_breakers_and_calls_go_on() {
    let world = World::with(Limits { callers: 20, ..Limits::default() });
    let keys = ["a", "b", "c", "d"];
    let ask_all = || {
        for (key, caller) in keys.iter().flat_map(|key| (1..=10).map(move |caller| (key, CallerId(caller)))) {
            permitted(world.decide_as(key, caller, RequestId::default()));
        }
    };
    let known = || keys.map(|key| world.engine.view(key).soon().unwrap().callers.len());
    ask_all();
    assert_eq!(known(), [10, 10, 0, 0]);
    assert_eq!(world.engine.usage().callers, 20);
    world.engine.delete("a", OPERATOR).soon().unwrap();
    ask_all();
    assert_eq!(known().iter().sum::<usize>(), 20, "those of a breaker that is gone make room");
}

#[test]
fn a_page_looks_at_a_bounded_number_of_breakers_before_other_work_has_its_turn() {
    let world = World::new();
    for number in 0..5_000 {
        world.engine.handle(&format!("{}/{number}", if number % 1_000 == 7 { "few" } else { "many" })).unwrap();
    }
    let looked_at = Cell::new(0);
    let is_wanted = |_: &Entry| {
        looked_at.set(looked_at.get() + 1);
        true
    };
    let (worked, page) = turns(world.engine.page("", 100, |key| key.starts_with("few/"), is_wanted));
    let page: Vec<_> = page.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(
        page.iter().map(|key| &**key).collect::<Vec<_>>(),
        ["few/1007", "few/2007", "few/3007", "few/4007", "few/7"]
    );
    assert_eq!(looked_at.get(), 5, "no others have a key that is wanted");
    assert!(worked >= 5_000 / 1_024, "{worked} turns");
    let all = turns(world.engine.page("few/2", 10, |_| true, |_| true)).1.unwrap();
    assert_eq!(all, world.engine.list("few/2", 10, |_| true));
}

#[test]
fn two_pages_are_worked_on_at_a_time_and_not_all_that_are_asked_for_may_wait() {
    let world = World::new();
    for number in 0..2_000 {
        world.engine.handle(&format!("b{number}")).unwrap();
    }
    let worked_on = Cell::new(0);
    let mut context = Context::from_waker(Waker::noop());
    let mut pages: Vec<_> = (0..65)
        .map(|_| {
            let counts = |_: &str| {
                worked_on.set(worked_on.get() + 1);
                true
            };
            Box::pin(world.engine.page("", 5_000, counts, |_| true))
        })
        .collect();
    let refused = pages.iter_mut().map(|page| page.as_mut().poll(&mut context));
    let refused: Vec<_> = refused.filter(Poll::is_ready).collect();
    assert_eq!(worked_on.get(), 2 * 1_024, "two have begun");
    assert_eq!(refused.len(), 65 - 48, "the others have three quarters of the 64 places");
    for refused in refused {
        let Poll::Ready(Err(Error::Share(refused))) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.limit.reason, "LISTING_LIMIT");
    }
    pages.truncate(48);
    for page in pages {
        assert_eq!(turns(page).1.unwrap().len(), 2_000);
    }
    assert_eq!(turns(world.engine.page("", 10, |_| true, |_| true)).1.unwrap().len(), 11, "the places are free again");
}
