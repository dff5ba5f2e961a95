//! What an operator holds a breaker in, as far as the engine has a part in it.

use fuseboard::{
    breaker::{OVERRIDES_MAX, OverrideMode, PolicySpec, Reason, Rejection, StateName},
    engine::{Error, EventReason, Limits},
};

use super::{OPERATOR, START, World, failures, seconds};
use crate::soon::Soon as _;

impl World {
    fn hold(&self, key: &str, mode: OverrideMode, expire: Option<u64>) {
        self.engine.set_override(key, "default", mode, expire.map(seconds), OPERATOR).soon().unwrap();
    }
}

fn missing<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::NotFound { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_override_makes_the_breaker_where_there_is_none_and_says_who_and_why() {
    let world = World::new();
    world.hold("a", OverrideMode::ForcedOpen, Some(60));
    assert_eq!(world.rejection("a"), Rejection::ForcedOpen);
    let forced = world.view("a").overrides[0].clone();
    assert_eq!((&*forced.actor, &*forced.reason), (OPERATOR.name, OPERATOR.comment));
    assert_eq!((forced.set, forced.expire), (START, START.after(seconds(60))));
    let event = world.last_event();
    assert_eq!((event.kind.name(), &*event.actor, &*event.comment), ("override_set", OPERATOR.name, OPERATOR.comment));
    assert_eq!(event.status, world.view("a").entry.status);
}

#[test]
fn an_override_ends_at_its_expiry_without_traffic_and_by_nobodys_hand() {
    let world = World::new();
    world.hold("a", OverrideMode::ForcedOpen, Some(60));
    world.advance(seconds(600));
    let event = world.last_event();
    assert_eq!((event.kind.name(), event.reason.name()), ("override_cleared", "override_expired"));
    assert_eq!((event.at, &*event.actor), (START.after(seconds(60)), ""));
    world.permit("a");
}

#[test]
fn probing_now_is_an_event_and_an_audit_entry_with_actor_and_reason() {
    let world = World::new();
    let probe = || world.engine.probe_now("a", None, OPERATOR).soon();
    assert!(matches!(probe(), Err(Error::NotFound { reason: "BREAKER_NOT_FOUND", .. })));
    world.trip("a");
    let before = world.generation("a");
    assert_eq!(probe().unwrap().status.state, StateName::HalfOpen);
    assert!(world.generation("a") > before);
    let event = world.log().pop().unwrap();
    assert_eq!((&*event.actor, &*event.comment), (OPERATOR.name, OPERATOR.comment));
    assert_eq!(event.reason, EventReason::Breaker(Reason::Requested));
    let entry = world.engine.audit(u64::MAX, 1).soon().unwrap().remove(0);
    assert_eq!((entry.action.name(), &*entry.target, &*entry.actor), ("probe_now", "a", OPERATOR.name));
    let events = world.log().len();
    assert!(matches!(probe(), Err(Error::NotOpen { state: "half_open", .. })));
    assert_eq!(world.log().len(), events);
}

#[test]
fn a_second_override_replaces_the_first_with_its_expiry() {
    let world = World::new();
    world.hold("a", OverrideMode::ForcedOpen, Some(60));
    world.hold("a", OverrideMode::ForcedClosed, None);
    world.advance(seconds(600));
    assert_eq!(world.view("a").overrides[0].clone().mode, OverrideMode::ForcedClosed);
}

#[test]
fn clearing_raises_the_generation_and_there_has_to_be_one_to_clear() {
    let world = World::new();
    assert_eq!(missing(world.engine.clear_override("a", None, OPERATOR).soon()), "BREAKER_NOT_FOUND");
    world.hold("a", OverrideMode::Shadow, None);
    let before = world.generation("a");
    world.engine.clear_override("a", None, OPERATOR).soon().unwrap();
    assert!(world.generation("a") > before);
    let events = world.log().len();
    assert_eq!(missing(world.engine.clear_override("a", None, OPERATOR).soon()), "OVERRIDE_NOT_FOUND");
    assert_eq!(world.log().len(), events);
}

#[test]
fn the_computed_state_goes_on_underneath_and_both_are_shown() {
    let world = World::new();
    world.trip("a");
    world.hold("a", OverrideMode::ForcedClosed, None);
    world.advance(seconds(30));
    let status = world.view("a").entry.status;
    assert_eq!((status.state, status.forced), (StateName::HalfOpen, Some(OverrideMode::ForcedClosed)));
    assert_eq!(world.last_event().status, status);

    world.engine.reset("a", OPERATOR).soon().unwrap();
    let status = world.view("a").entry.status;
    assert_eq!((status.state, status.forced), (StateName::Closed, Some(OverrideMode::ForcedClosed)));
}

#[test]
fn in_shadow_everything_is_permitted_and_events_say_what_would_have_happened() {
    let world = World::new();
    world.hold("a", OverrideMode::Shadow, None);
    world.declare("a", failures(2));
    world.fail("a", 2);
    world.permit("a");
    assert_eq!(world.last_event().kind.name(), "would_have_opened");
}

#[test]
fn an_overridden_breaker_can_be_made_also_where_idle_ones_have_to_make_room() {
    let world = World::with(Limits { breakers: 1, ..Limits::default() });
    world.engine.handle("a").unwrap();
    world.hold("b", OverrideMode::ForcedOpen, None);
    let refused = world.engine.set_override("c", "default", OverrideMode::Shadow, None, OPERATOR).soon();
    assert!(matches!(refused, Err(Error::Limit { reason: "BREAKER_LIMIT", .. })));
    let declaration = fuseboard::engine::Declaration { spec: PolicySpec::default(), revision: 0 };
    let refused = world.engine.declare("c", &declaration, super::NOBODY).soon();
    assert!(matches!(refused, Err(Error::Limit { reason: "BREAKER_LIMIT", .. })));
}

#[test]
fn two_operators_hold_one_breaker_and_the_strongest_override_is_in_force() {
    let world = World::new();
    let hold =
        |id, mode, expire: Option<u64>| world.engine.set_override("a", id, mode, expire.map(seconds), OPERATOR).soon();
    let in_force = || world.view("a").entry.status.forced;
    let ids = || world.view("a").overrides.into_iter().map(|forced| forced.id).collect::<Vec<_>>();
    hold("drill", OverrideMode::Shadow, None).unwrap();
    hold("incident-7", OverrideMode::ForcedOpen, Some(60)).unwrap();
    hold("incident-9", OverrideMode::ForcedClosed, None).unwrap();
    assert_eq!(
        (in_force(), ids()),
        (Some(OverrideMode::ForcedOpen), ["incident-7", "incident-9", "drill"].map(String::from).to_vec())
    );
    assert_eq!(world.rejection("a"), Rejection::ForcedOpen);
    let before = world.view("a").entry.status.generation;
    // One of them ends by itself, and the others stay.
    world.advance(seconds(60));
    assert_eq!(
        (in_force(), ids()),
        (Some(OverrideMode::ForcedClosed), ["incident-9", "drill"].map(String::from).to_vec())
    );
    assert_eq!(world.view("a").entry.status.generation, before + 1);
    // The same id replaces its own and no other.
    hold("drill", OverrideMode::ForcedOpen, None).unwrap();
    assert_eq!(ids(), ["drill", "incident-9"]);
    world.engine.clear_override("a", Some("drill"), OPERATOR).soon().unwrap();
    assert_eq!(in_force(), Some(OverrideMode::ForcedClosed));
    assert_eq!(missing(world.engine.clear_override("a", Some("drill"), OPERATOR).soon()), "OVERRIDE_NOT_FOUND");
    world.engine.clear_override("a", None, OPERATOR).soon().unwrap();
    assert_eq!((in_force(), ids()), (None, Vec::new()));
}

#[test]
fn the_audit_trail_names_the_overrides_that_were_set_and_cleared() {
    let world = World::new();
    let hold = |id, mode| world.engine.set_override("a", id, mode, None, OPERATOR).soon().unwrap();
    let clear = |id| world.engine.clear_override("a", id, OPERATOR).soon().unwrap();
    hold("incident-7", OverrideMode::ForcedOpen);
    // A weaker one, which changes nothing in force.
    hold("drill", OverrideMode::Shadow);
    clear(Some("incident-7"));
    hold("incident-9", OverrideMode::ForcedClosed);
    clear(None);
    let mut trail = world.engine.audit(u64::MAX, 10).soon().unwrap();
    trail.reverse();
    let told: Vec<_> = trail.iter().map(|entry| (entry.action.name(), &*entry.detail)).collect();
    assert_eq!(
        told,
        [
            ("override_set", "forced_open, id incident-7"),
            ("override_set", "shadow, id drill"),
            ("override_cleared", "id incident-7"),
            ("override_set", "forced_closed, id incident-9"),
            ("override_cleared", "id incident-9, drill"),
        ]
    );
    assert!(trail.iter().all(|entry| (&*entry.actor, &*entry.reason) == (OPERATOR.name, OPERATOR.comment)));
}

#[test]
fn one_override_too_many_is_refused_and_changes_nothing() {
    let world = World::new();
    let hold = |id: usize| world.engine.set_override("a", &id.to_string(), OverrideMode::Shadow, None, OPERATOR).soon();
    for id in 0..OVERRIDES_MAX {
        hold(id).unwrap();
    }
    let before = world.view("a").entry.status;
    let refused = hold(OVERRIDES_MAX);
    assert!(matches!(refused, Err(Error::Limit { reason: "OVERRIDE_LIMIT", max: 16, .. })), "{refused:?}");
    assert_eq!(world.view("a").entry.status, before);
    hold(3).unwrap();
}
