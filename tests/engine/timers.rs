//! What time does: deadlines fire by themselves, in order, each at its own instant, and time never goes back.

use std::time::Duration;

use fuseboard::{
    breaker::{
        CallerId, Decision, Moment, Outcome, OverrideMode, PolicySpec, Report, Reported, RequestId, StateName, Tally,
        Timestamp,
        policy::{ExpiredPermit, WindowSpec},
    },
    engine::{Actor, CallerTally, Clock, Engine, Limits, Message, WatchOptions},
};
use proptest::prelude::*;

use super::{NOBODY, OPERATOR, START, World, failures, minutes, permitted, seconds};
use crate::soon::{Soon as _, now};

fn opens_for(open_duration: Duration) -> PolicySpec {
    PolicySpec { open_duration: Some(open_duration), open_duration_min: Some(Duration::from_millis(1)), ..failures(1) }
}

#[test]
fn an_open_breaker_goes_half_open_at_its_instant_without_traffic() {
    let world = World::new();
    world.trip("a");
    world.advance(seconds(30) - Duration::from_nanos(1));
    assert_eq!(world.engine.entry("a", None).unwrap().status.state, StateName::Open);
    world.advance(seconds(100));
    assert_eq!(world.engine.entry("a", None).unwrap().status.state, StateName::HalfOpen);
    let moved = ("half_opened", "a".to_owned(), seconds(30));
    assert_eq!(world.told().last(), Some(&moved), "when it was due, not when somebody looked");
}

#[test]
fn deadlines_of_many_breakers_fire_in_their_order_each_at_its_own_instant() {
    let world = World::new();
    let durations = [9, 3, 7, 1, 8, 2, 6, 3, 5, 4].map(seconds);
    for (number, duration) in durations.into_iter().enumerate() {
        let key = format!("b{number}");
        world.declare(&key, opens_for(duration));
        world.fail(&key, 1);
    }
    world.advance(minutes(1));
    let half_opened: Vec<_> = world.told().into_iter().filter(|(kind, ..)| *kind == "half_opened").collect();
    let mut sorted = half_opened.clone();
    sorted.sort_by_key(|(_, _, at)| *at);
    assert_eq!(half_opened, sorted);
    for (number, duration) in durations.into_iter().enumerate() {
        assert!(half_opened.contains(&("half_opened", format!("b{number}"), duration)));
    }
}

#[test]
fn a_chain_of_deadlines_within_one_advance_fires_link_by_link() {
    let world = World::new();
    world.declare("a", PolicySpec { half_open_max_duration: Some(seconds(7)), ..opens_for(seconds(10)) });
    world.fail("a", 1);
    world.advance(seconds(10));
    let probe = world.permit("a");
    world.report("a", &probe, Outcome::Cancelled);
    world.advance(seconds(40));
    let expected = [("opened", 0), ("half_opened", 10), ("opened", 17), ("half_opened", 27)];
    assert_eq!(world.told(), expected.map(|(kind, at)| (kind, "a".to_owned(), seconds(at))));
    assert_eq!(world.elapsed(), seconds(50));
}

#[test]
fn breakers_that_nobody_calls_make_one_move_by_time_and_have_no_deadlines_after_it() {
    let world = World::new();
    let millisecond = Duration::from_millis(1);
    for number in 0..50 {
        let key = format!("b{number}");
        let spec = PolicySpec {
            open_duration_min: Some(millisecond),
            half_open_max_duration: Some(millisecond),
            ..opens_for(millisecond)
        };
        world.declare(&key, spec);
        world.fail(&key, 1);
    }
    world.advance(Duration::from_secs(86_400));
    assert_eq!(world.told().len(), 2 * 50, "opened and half-opened, each once");
    for number in 0..50 {
        let view = world.engine.view(&format!("b{number}")).soon().unwrap();
        assert_eq!((view.state.name(), view.deadline), (StateName::HalfOpen, Timestamp::NEVER));
    }
}

#[test]
fn the_lease_of_a_probe_ends_at_its_instant_without_traffic() {
    let world = World::new();
    world.declare("a", PolicySpec { lease: Some(seconds(4)), ..opens_for(seconds(10)) });
    world.fail("a", 1);
    world.advance(seconds(12));
    let probe = world.permit("a");
    world.advance(minutes(10));
    let expected = [("opened", 0), ("half_opened", 10), ("opened", 16), ("half_opened", 26)];
    assert_eq!(world.told(), expected.map(|(kind, at)| (kind, "a".to_owned(), seconds(at))));
    assert_eq!(world.report("a", &probe, Outcome::Success), Reported::Stale);
}

#[test]
fn unreported_permits_trip_a_closed_breaker_without_traffic_where_the_policy_says_so() {
    let world = World::new();
    let expired_permit = Some(ExpiredPermit::Failure);
    world.declare("a", PolicySpec { expired_permit, lease: Some(seconds(16)), ..failures(3) });
    for _ in 0..3 {
        world.permit("a");
    }
    world.advance(minutes(1));
    let opened = world.log()[0].clone();
    assert_eq!(opened.kind.name(), "opened");
    let late = opened.at.since(START) - seconds(16);
    assert!(late <= seconds(1), "within a sixteenth of the lease, not {late:?} after it");
}

#[test]
fn a_deadline_that_comes_closer_fires_at_the_closer_instant() {
    let world = World::new();
    world.trip("a");
    world.engine.set_override("a", "default", OverrideMode::Shadow, Some(seconds(5)), OPERATOR).soon().unwrap();
    world.advance(minutes(1));
    let told: Vec<_> = world.told().into_iter().map(|(kind, _, at)| (kind, at.as_secs())).collect();
    assert_eq!(told, [("opened", 0), ("override_set", 0), ("override_cleared", 5), ("half_opened", 30)]);
}

#[test]
fn a_deadline_that_moves_away_does_not_fire_where_it_was() {
    let world = World::new();
    let hold = |time| {
        world
            .engine
            .set_override("a", "default", OverrideMode::ForcedOpen, Some(time), OPERATOR)
            .soon()
            .map(|_| ())
            .unwrap()
    };
    hold(seconds(5));
    hold(seconds(50));
    world.advance(seconds(49));
    assert!(!world.view("a").overrides.is_empty());
    world.advance(seconds(1));
    assert_eq!(world.told().last(), Some(&("override_cleared", "a".to_owned(), seconds(50))));

    world.fail("b", 5);
    world.engine.reset("b", OPERATOR).soon().unwrap();
    let before = world.log().len();
    world.advance(minutes(10));
    assert_eq!(world.log().len(), before, "a reset takes the open period's end along");
}

#[test]
fn a_deleted_breakers_deadlines_go_with_it_and_leave_the_next_one_in_its_place_alone() {
    let world = World::with(Limits { breakers: 1, ..Limits::default() });
    world.trip("a");
    world.engine.delete("a", OPERATOR).soon().unwrap();
    world.advance(seconds(10));
    world.trip("b");
    world.advance(seconds(29));
    assert_eq!(world.state("b"), StateName::Open, "a's period would have passed");
    world.advance(seconds(1));
    assert_eq!(world.state("b"), StateName::HalfOpen);
}

#[test]
fn a_policy_can_shorten_a_half_open_round_that_runs() {
    let world = World::new();
    world.declare("a", opens_for(seconds(10)));
    world.fail("a", 1);
    world.advance(seconds(12));
    let probe = world.permit("a");
    world.report("a", &probe, Outcome::Cancelled);
    let limit = PolicySpec { half_open_max_duration: Some(seconds(5)), ..PolicySpec::default() };
    world.advance(seconds(1));
    world.engine.set_policy("a", limit, None, OPERATOR).soon().unwrap();
    world.advance(seconds(5));
    assert_eq!(world.told().last(), Some(&("opened", "a".to_owned(), seconds(17))));
}

#[test]
fn advancing_by_nothing_moves_nothing_and_only_a_manual_clock_can_be_moved() {
    let world = World::new();
    assert_eq!(world.engine.advance(Duration::ZERO), Some(START));
    let machine = Engine::new(Clock::system(Timestamp::default()), Limits::default(), PolicySpec::default()).unwrap();
    assert_eq!(machine.advance(seconds(1)), None);
}

// ---- Time never goes back ------------------------------------------------------------------------------------------

#[test]
fn the_machines_clock_starts_no_earlier_than_the_last_instant_that_was_told() {
    let told = Timestamp::from_nanos(u64::MAX / 2);
    let clock = Clock::system(told);
    let mut last = told;
    for _ in 0..1_000 {
        let now = clock.now();
        assert!(now >= last);
        last = now;
    }
}

#[test]
fn a_breaker_goes_on_from_its_own_time_when_a_call_brings_an_earlier_one() {
    let world = World::new();
    let at = |time| Moment { now: START.after(time), random: 0 };
    world.declare("a", PolicySpec { monitoring_period: Some(seconds(10)), ..failures(3) });
    let handle = world.engine.find("a").unwrap();
    // The clock was read in one order, and the lock taken in the other.
    for time in [5, 4, 3].map(seconds) {
        let acquired = world.engine.acquire(at(time), handle, NOBODY, RequestId::default(), None).map(now).unwrap();
        let permit = permitted(acquired.decision);
        assert_eq!(permit.expire, START.after(seconds(65)));
        world.engine.report(at(time), handle, &permit, &Report::of(Outcome::Failure), "").map(now).unwrap();
    }
    let opened = world.last_event();
    assert_eq!((opened.kind.name(), opened.at), ("opened", START.after(seconds(5))));
    assert_eq!(opened.status.since, opened.at);
}

#[test]
fn a_call_that_read_the_clock_before_a_timer_fired_does_not_take_the_breaker_back_behind_it() {
    let world = World::new();
    world.declare("a", opens_for(seconds(10)));
    world.fail("a", 1);
    let before = world.moment();
    world.advance(seconds(10));
    let handle = world.engine.find("a").unwrap();
    let probe = world.engine.acquire(before, handle, NOBODY, RequestId::default(), None).map(now).unwrap();
    assert_eq!(permitted(probe.decision).expire, START.after(seconds(70)));
}

#[test]
fn times_in_the_log_never_go_back_also_between_breakers() {
    let world = World::new();
    let trip_at = |key: &str, time| {
        let moment = Moment { now: START.after(time), random: 0 };
        world.declare(key, failures(1));
        let handle = world.engine.find(key).unwrap();
        let acquired = world.engine.acquire(moment, handle, NOBODY, RequestId::default(), None).map(now).unwrap();
        world.engine.report(moment, handle, &permitted(acquired.decision), &Report::of(Outcome::Failure), "").map(now);
    };
    trip_at("late", seconds(5));
    trip_at("early", seconds(3));
    assert_eq!(world.told().iter().map(|(_, _, at)| at.as_secs()).collect::<Vec<_>>(), [5, 5]);
}

// ---- On the machine's clock ----------------------------------------------------------------------------------------

#[tokio::test]
async fn timers_fire_by_themselves_on_the_machines_clock_also_one_that_comes_closer() {
    let engine = Engine::new(Clock::system(Timestamp::default()), Limits::default(), PolicySpec::default()).unwrap();
    let running = engine.clone();
    let timers = tokio::spawn(async move { running.run().await });
    // The timers now wait for the first one's idle hour.
    engine.handle("a").unwrap();
    tokio::task::yield_now().await;

    let mut watch = engine.watch(WatchOptions { skip_snapshot: true, ..WatchOptions::default() }).unwrap();
    engine.set_policy("a", opens_for(Duration::from_millis(20)), None, Actor::default()).soon().unwrap();
    let handle = engine.find("a").unwrap();
    let acquired = engine.acquire(engine.moment(), handle, NOBODY, RequestId::default(), None).map(now).unwrap();
    engine.report(engine.moment(), handle, &permitted(acquired.decision), &Report::of(Outcome::Failure), "").map(now);
    let half_opened = async {
        loop {
            match watch.next().await {
                Some(Message::Event(event)) if event.kind.name() == "half_opened" => break event,
                Some(_) => {}
                None => watch.changed().await,
            }
        }
    };
    let half_opened = tokio::time::timeout(seconds(10), half_opened).await.expect("the timer fires");
    let opened = &engine.events(0, false, 10)[1];
    assert!(half_opened.at.since(opened.at) >= Duration::from_millis(20));
    assert_eq!(half_opened.reason.name(), "open_period_passed");
    timers.abort();
}

#[test]
fn a_breaker_that_is_idle_with_calls_in_its_window_is_looked_after_later() {
    let world = World::new();
    let window = Some(WindowSpec::Time { duration: seconds(7_200), slices: 10 });
    world.declare("window", PolicySpec { window, ..failures(5) });
    world.declare("streak", PolicySpec { monitoring_period: Some(seconds(7_200)), ..failures(5) });
    for key in ["window", "streak"] {
        world.fail(key, 1);
    }
    for _ in 0..30 {
        world.advance(seconds(3_700));
        assert!(world.engine.next_timer().is_none_or(|next| next > world.engine.now()));
    }
    assert_eq!(world.engine.measured().timers_stuck, 0);
}

/// What happens to one of three breakers, one of which nobody declared.
#[derive(Clone, Debug)]
enum Happens {
    Declare(u8, Box<PolicySpec>),
    Call(u8, u64, Outcome),
    Acquire(u8, u64),
    Tally(u8, u64, u32, u32),
    Override(u8, OverrideMode, Option<Duration>),
    Clear(u8),
    Reset(u8),
    Advance(Duration),
}

fn happens() -> impl Strategy<Value = Happens> {
    let span = || {
        prop_oneof![
            (1..5_000_u64).prop_map(Duration::from_millis),
            (1..200_u64).prop_map(Duration::from_secs),
            (1..90_000_u64).prop_map(Duration::from_secs),
        ]
    };
    let day = |span: Duration| span.min(seconds(86_400));
    let rarely = move || prop::option::weighted(0.4, span().prop_map(day));
    let window = prop_oneof![
        (span(), 1..=120_u32).prop_map(move |(span, slices)| WindowSpec::Time {
            duration: day(span).max(Duration::from_millis(10)),
            slices,
        }),
        (20..1_000_u32).prop_map(WindowSpec::Count),
    ];
    let expired = prop_oneof![Just(ExpiredPermit::Ignored), Just(ExpiredPermit::Failure)];
    let spec = (rarely(), rarely(), rarely(), rarely(), prop::option::of(window), expired, 1..6_u32).prop_map(
        |(monitoring_period, open_duration, half_open_max_duration, lease, window, expired, threshold)| {
            Box::new(PolicySpec {
                monitoring_period,
                open_duration: open_duration.map(|open| open.max(seconds(1))),
                half_open_max_duration,
                lease: lease.map(|lease| lease.min(seconds(3_600))),
                window,
                expired_permit: Some(expired),
                ..failures(threshold)
            })
        },
    );
    let outcome = prop_oneof![1 => Just(Outcome::Success), 3 => Just(Outcome::Failure), 1 => Just(Outcome::Ignored)];
    let mode = prop_oneof![Just(OverrideMode::ForcedOpen), Just(OverrideMode::Shadow)];
    let (which, who) = (|| 0..3_u8, || 0..3_u64);
    prop_oneof![
        2 => (1..3_u8, spec).prop_map(|(key, spec)| Happens::Declare(key, spec)),
        6 => (which(), who(), outcome).prop_map(|(key, caller, outcome)| Happens::Call(key, caller, outcome)),
        2 => (which(), who()).prop_map(|(key, caller)| Happens::Acquire(key, caller)),
        3 => (which(), who(), 0..5_u32, 0..5_u32).prop_map(|(key, caller, good, bad)| Happens::Tally(key, caller, good, bad)),
        1 => (which(), mode, rarely()).prop_map(|(key, mode, expire)| Happens::Override(key, mode, expire)),
        1 => which().prop_map(Happens::Clear),
        1 => which().prop_map(Happens::Reset),
        6 => span().prop_map(Happens::Advance),
    ]
}

proptest! {
    // A quarter of the cases: an engine for each.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn after_time_has_passed_every_deadline_lies_ahead(history in prop::collection::vec(happens(), 1..60)) {
        let world = World::new();
        for (number, happens) in history.into_iter().enumerate() {
            let name = |key: u8| format!("b{key}");
            match happens {
                Happens::Declare(key, spec) => drop(world.declare(&name(key), *spec)),
                Happens::Call(key, caller, outcome) => {
                    if let Decision::Permitted(permit) = world.decide_as(&name(key), CallerId(caller), RequestId::default()) {
                        world.report(&name(key), &permit, outcome);
                    }
                }
                Happens::Acquire(key, caller) => {
                    world.decide_as(&name(key), CallerId(caller), RequestId::default());
                }
                Happens::Tally(key, caller, successes, failures) => {
                    let tally = Tally { generation: 1, successes, failures, trailing_failures: failures, ..Tally::default() };
                    let tally = CallerTally { key: &name(key), caller: CallerId(caller), tally };
                    world.engine.report_batch("sdk", number as u64 + 1, &[tally]).soon().unwrap();
                }
                Happens::Override(key, mode, expire) => {
                    world.engine.set_override(&name(key), "default", mode, expire, OPERATOR).soon().unwrap();
                }
                Happens::Clear(key) => drop(world.engine.clear_override(&name(key), None, OPERATOR).soon()),
                Happens::Reset(key) => drop(world.engine.reset(&name(key), OPERATOR).soon()),
                Happens::Advance(span) => world.advance(span),
            }
            // An advance by nothing serves what is due now.
            world.advance(Duration::ZERO);
            let (next, now) = (world.engine.next_timer(), world.engine.now());
            prop_assert!(next.is_none_or(|next| next > now), "{:?} after {:?}", next, now);
        }
        prop_assert_eq!(world.engine.measured().timers_stuck, 0);
    }
}
