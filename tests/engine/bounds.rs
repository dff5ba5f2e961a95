//! Memory that clients can make the engine use, and its bounds in bytes.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use fuseboard::{
    access::{Roles, Secret, Token},
    breaker::{Decision, OWN_CALLS_MAX, PolicySpec, RequestId, StateName, Tally, Timestamp, policy::WindowSpec},
    engine::{Actor, CallerTally, Declaration, Engine, Error, Filter, Limits, WatchOptions},
    limit::Level,
    share::Holder,
};

use super::{World, failures};
use crate::soon::{Soon as _, now};

/// A policy whose window is the last `calls` calls, which opens for no number of failures.
fn last_calls(calls: u32) -> PolicySpec {
    PolicySpec { failure_threshold: Some(0), window: Some(WindowSpec::Count(calls)), ..PolicySpec::default() }
}

impl World {
    /// Sends a tally of `successes` for each of `callers` callers.
    fn tally_of(&self, key: &str, callers: u32, successes: u32) {
        let generation = self.generation(key);
        let tally = |caller: u32| CallerTally {
            key,
            caller: self.engine.caller(&format!("caller/{caller}")),
            tally: Tally { generation, successes, ..Tally::default() },
        };
        let tallies: Vec<_> = (0..callers).map(tally).collect();
        let sequence = self.engine.now().as_nanos();
        self.engine.report_batch(&format!("{key}-{sequence}"), sequence, &tallies).soon().unwrap();
    }
}

#[test]
fn the_count_windows_of_a_breaker_and_all_its_callers_take_less_than_a_mebibyte() {
    let world = World::new();
    world.declare("a", last_calls(100_000));
    world.tally_of("a", 256, 100_000);
    assert_eq!(world.view("a").callers.len(), 256);
    let bytes = world.engine.usage().statistics_bytes;
    assert!(bytes < 1 << 20, "{bytes} bytes");
    assert_eq!(world.view("a").window.successes, 100_000, "the fleet's window is whole");
    let own: u64 = world.view("a").callers.iter().map(|caller| caller.window.successes).sum();
    assert!(own <= OWN_CALLS_MAX as u64);
}

#[test]
fn a_few_callers_have_windows_as_long_as_their_policy_says() {
    let world = World::new();
    world.declare("a", last_calls(100_000));
    world.tally_of("a", 8, 100_000);
    assert_eq!(world.view("a").window.successes, 100_000);
    assert_eq!(world.view("a").totals.successes, 800_000);
}

#[test]
fn the_windows_of_all_breakers_share_a_bound_and_the_bytes_come_back() {
    const BOUND: usize = 1 << 20;
    let world = World::with(Limits { statistics_bytes: BOUND, ..Limits::default() });
    let keys: Vec<String> = (0..10).map(|number| format!("breaker-{number}")).collect();
    for key in &keys {
        world.declare(key, last_calls(100_000));
        world.tally_of(key, 20, 20_000);
    }
    let bytes = world.engine.usage().statistics_bytes;
    // Small windows grow whatever others take, and each known caller has an entry.
    assert!(bytes < BOUND + keys.len() * (20 * 1_024 + 8_192), "{bytes} bytes");
    for key in &keys {
        world.engine.delete(key, super::OPERATOR).soon().unwrap();
    }
    assert_eq!(world.engine.usage().statistics_bytes, 0);
}

#[test]
fn a_breaker_opens_also_where_there_is_no_memory_for_statistics() {
    let world = World::with(Limits { statistics_bytes: 0, ..Limits::default() });
    let rate = PolicySpec { failure_rate_threshold: Some(0.5), minimum_calls: Some(10), ..last_calls(100) };
    for (key, policy, times) in [("streak", failures(3), 3), ("rate", rate, 10)] {
        world.declare(key, policy);
        world.fail(key, times);
        assert_eq!(world.view(key).entry.status.state, StateName::Open, "{key}");
    }
}

#[test]
fn the_memory_of_time_windows_comes_back_when_their_calls_have_aged_out() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    world.tally_of("a", 200, 10);
    let full = world.engine.usage().statistics_bytes;
    world.advance(Duration::from_secs(31));
    let idle = world.engine.usage().statistics_bytes;
    assert!(idle < full / 2, "{full} bytes, then {idle}");
    world.advance(Duration::from_secs(4 * 3600));
    assert_eq!(world.engine.usage().statistics_bytes, 0);
}

// ---- Fair shares ---------------------------------------------------------------------------------------------------

/// The engine as one client uses it.
fn as_identity(world: &World, name: &str) -> Engine {
    world.engine.on_behalf_of(Holder::identity(name.into()))
}

fn ask(engine: &Engine, key: &str, request: u128, lease: Duration) -> Result<Decision, Error> {
    let told = engine.acquire_by_key(engine.moment(), key, super::NOBODY, RequestId(request), Some(lease));
    told.map(|told| now(told).decision)
}

/// Who was refused, and its share.
fn share_of(error: Error) -> (String, &'static str, u64) {
    let Error::Share(refused) = error else { panic!("{error:?}") };
    (refused.holder.to_string(), refused.limit.reason, refused.share)
}

#[test]
fn one_client_cannot_take_every_place_for_breakers() {
    let world = World::with(Limits { breakers: 100, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let minute = Duration::from_secs(60);
    let taken = (0..200).filter(|number| ask(&attacker, &format!("key-{number}"), 0, minute).is_ok()).count();
    assert_eq!(taken, 75);
    let refused = ask(&attacker, "one-more", 0, minute).unwrap_err();
    assert_eq!(share_of(refused), ("identity:attacker".to_owned(), "BREAKER_LIMIT", 75));
    for number in 0..15 {
        ask(&other, &format!("other-{number}"), 0, minute).unwrap();
    }
    // What is there goes on working, for the attacker too.
    ask(&attacker, "key-0", 0, minute).unwrap();
    assert_eq!(world.engine.biggest("max_breakers", 1), [(Holder::identity("attacker".into()), 75)]);
}

#[test]
fn a_client_with_its_share_of_breakers_loses_its_own_idle_ones_and_nobody_elses() {
    let world = World::with(Limits { breakers: 100, ..Limits::default() });
    let (busy, other) = (as_identity(&world, "busy"), as_identity(&world, "other"));
    for number in 0..10 {
        other.handle(&format!("other-{number}")).unwrap();
    }
    for number in 0..500 {
        busy.handle(&format!("busy-{number}")).unwrap();
    }
    assert!((0..10).all(|number| world.engine.find(&format!("other-{number}")).is_some()));
    assert!(world.engine.find("busy-499").is_some() && world.engine.find("busy-0").is_none());
    assert!(world.engine.usage().breakers <= 78);
}

#[test]
fn request_ids_with_long_leases_push_out_only_their_own() {
    let world = World::with(Limits { request_ids: 1_600, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let hour = Duration::from_secs(3_600);
    let first = ask(&other, "a", 1, hour).unwrap();
    let granted: Vec<_> = (1_000..6_000).map(|request| ask(&attacker, "b", request, hour).unwrap()).collect();
    assert_eq!(ask(&other, "a", 1, hour).unwrap(), first);
    let second = ask(&other, "a", 2, hour).unwrap();
    assert_eq!(ask(&other, "a", 2, hour).unwrap(), second, "there is still room for others");
    let newest = ask(&attacker, "b", 5_999, hour).unwrap();
    assert_eq!(newest, granted[4_999], "its newest are remembered");
    assert_ne!(ask(&attacker, "b", 1_000, hour).unwrap(), granted[0], "its oldest are not");
    assert!(world.engine.usage().request_ids <= 1_216, "{}", world.engine.usage().request_ids);
}

#[test]
fn request_ids_whose_leases_end_give_their_share_back() {
    let world = World::with(Limits { request_ids: 1_600, ..Limits::default() });
    let client = as_identity(&world, "client");
    for request in 1..3_000 {
        ask(&client, "a", request, Duration::from_secs(1 + request as u64 % 50)).unwrap();
    }
    world.advance(Duration::from_secs(60));
    assert_eq!(world.engine.usage().request_ids, 0);
    assert_eq!(world.engine.biggest("max_request_ids", 5), []);
}

#[test]
fn one_client_cannot_take_every_watcher_nor_every_key_of_watches() {
    let world = World::with(Limits { watchers: 100, watch_keys: 1_000, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let held: Vec<_> = (0..100).map_while(|_| attacker.watch(WatchOptions::default()).ok()).collect();
    assert_eq!(held.len(), 75);
    let refused = attacker.watch(WatchOptions::default()).unwrap_err();
    assert_eq!(share_of(refused), ("identity:attacker".to_owned(), "WATCHER_LIMIT", 75));
    other.watch(WatchOptions::default()).unwrap();
    drop(held);
    assert_eq!(world.engine.usage().watchers, 0);

    let keys = |count: usize| {
        let keys = (0..count).map(|number| format!("key-{number}").into()).collect();
        WatchOptions { filter: Filter { keys, ..Filter::default() }, ..WatchOptions::default() }
    };
    let held: Vec<_> = (0..10).map_while(|_| attacker.watch(keys(100)).ok()).collect();
    assert_eq!((held.len(), world.engine.usage().watch_keys), (7, 700));
    assert_eq!(share_of(attacker.watch(keys(100)).unwrap_err()).1, "WATCH_KEY_LIMIT");
    other.watch(keys(100)).unwrap();
    drop(held);
    assert_eq!((world.engine.usage().watch_keys, world.engine.usage().watchers), (0, 0));
}

#[test]
fn the_handles_of_all_sessions_have_a_bound_that_is_shared() {
    let world = World::with(Limits { handles: 100, ..Limits::default() });
    let mut attackers = as_identity(&world, "attacker").handles().unwrap();
    attackers.resize(75).unwrap();
    attackers.resize(76).unwrap_err();
    let mut others = as_identity(&world, "other").handles().unwrap();
    others.resize(10).unwrap();
    assert_eq!(world.engine.usage().handles, 85);
    drop((attackers, others));
    assert_eq!(world.engine.usage().handles, 0);
}

#[test]
fn batches_under_ever_new_client_ids_lock_nobody_else_out() {
    let world = World::with(Limits { batch_clients: 100, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let sent = |engine: &Engine, client: &str| engine.report_batch(client, 1, &[]).soon();
    let counted = (0..200).filter(|number| sent(&attacker, &format!("attacker-{number}")).is_ok()).count();
    assert_eq!(counted, 75);
    let refused = sent(&attacker, "attacker-again").unwrap_err();
    assert_eq!(share_of(refused), ("identity:attacker".to_owned(), "CLIENT_LIMIT", 75));
    for number in 0..15 {
        sent(&other, &format!("other-{number}")).unwrap();
    }
    assert!(sent(&attacker, "attacker-0").unwrap().duplicate, "its clients are remembered");
    world.advance(Duration::from_secs(600));
    sent(&attacker, "attacker-again").unwrap();
    assert_eq!(world.engine.usage().batch_clients, 1, "silent ones make room");
    assert_eq!(world.engine.biggest("max_batch_clients", 5), [(Holder::identity("attacker".into()), 1)]);
}

#[test]
fn one_operator_cannot_take_every_place_for_policies() {
    let world = World::with(Limits { policies: 100, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let set = |engine: &Engine, name: &'static str, pattern: &str| {
        engine.set_policy(pattern, failures(7), None, Actor { name, comment: "" }).soon()
    };
    let taken = (0..200).filter(|number| set(&attacker, "attacker", &format!("a-{number}")).is_ok()).count();
    assert_eq!(taken, 75);
    let refused = share_of(set(&attacker, "attacker", "one-more").unwrap_err());
    assert_eq!(refused, ("identity:attacker".to_owned(), "POLICY_LIMIT", 75));
    for number in 0..15 {
        set(&other, "other", &format!("o-{number}")).unwrap();
    }
    set(&attacker, "attacker", "a-0").unwrap();
    assert_eq!(world.engine.biggest("max_policies", 1), [(Holder::identity("attacker".into()), 75)]);
    // A pattern counts for whoever wrote it last.
    set(&other, "other", "a-0").unwrap();
    for number in 1..75 {
        attacker.delete_policy(&format!("a-{number}"), None, Actor { name: "attacker", comment: "" }).soon().unwrap();
    }
    assert_eq!(world.engine.biggest("max_policies", 2), [(Holder::identity("other".into()), 16)]);
    assert_eq!(world.engine.usage().policies, 16);
}

#[test]
fn one_administrator_cannot_take_every_place_for_tokens() {
    let world = World::with(Limits { tokens: 20, ..Limits::default() });
    let (attacker, other) = (as_identity(&world, "attacker"), as_identity(&world, "other"));
    let create = |engine: &Engine, actor: &'static str, name: &str| {
        let token = Token {
            name: name.into(),
            roles: Roles::default(),
            prefixes: Vec::new(),
            caller: "".into(),
            hash: Secret::generate().unwrap().hash(),
            created: engine.now(),
            expires: Timestamp::NEVER,
            actor: actor.into(),
        };
        engine.create_token(token, Actor { name: actor, comment: "" }).soon()
    };
    let taken = (0..40).filter(|number| create(&attacker, "attacker", &format!("a-{number}")).is_ok()).count();
    assert_eq!(taken, 15);
    let refused = share_of(create(&attacker, "attacker", "one-more").unwrap_err());
    assert_eq!(refused, ("identity:attacker".to_owned(), "TOKEN_LIMIT", 15));
    create(&other, "other", "o-0").unwrap();
    assert_eq!(world.engine.biggest("max_tokens", 1), [(Holder::identity("attacker".into()), 15)]);
    attacker.revoke_token("a-0", Actor { name: "attacker", comment: "" }).soon().unwrap();
    assert_eq!(world.engine.biggest("max_tokens", 1), [(Holder::identity("attacker".into()), 14)]);
    create(&attacker, "attacker", "again").unwrap();
}

/// What the metrics and server info show is one list; each limit that is shared is in it with its holders.
#[test]
fn every_limit_of_the_engine_shows_who_uses_the_most_of_it() {
    let world = World::new();
    let client = as_identity(&world, "client");
    ask(&client, "a", 1, Duration::from_secs(60)).unwrap();
    client.report_batch("client", 1, &[]).soon().unwrap();
    client.set_policy("b", failures(7), None, Actor { name: "client", comment: "" }).soon().unwrap();
    let filter = Filter { keys: ["a".into()].into(), ..Filter::default() };
    let watch = client.watch(WatchOptions { filter, ..WatchOptions::default() }).unwrap();
    let mut handles = client.handles().unwrap();
    handles.resize(1).unwrap();
    let shown = |level: &Level| level.biggest == [(Holder::identity("client".into()), 1)];
    let (shown, others): (Vec<_>, Vec<_>) = world.engine.levels(3).into_iter().partition(shown);
    assert_eq!(
        shown.iter().map(|level| level.name).collect::<Vec<_>>(),
        [
            "max_breakers",
            "max_policies",
            "max_batch_clients",
            "max_watchers",
            "max_watch_keys",
            "max_handles",
            "max_request_ids"
        ]
    );
    assert_eq!(
        others.iter().map(|level| level.name).collect::<Vec<_>>(),
        [
            "max_tokens",
            "max_callers",
            "event_log_events",
            "permit_ledger_bytes",
            "statistics_bytes",
            "callers_per_breaker"
        ]
    );
    drop((watch, handles));
}

/// A client's breaker with some moves; the sequences of their events.
fn moves_of_a_victim(world: &World) -> Vec<u64> {
    let victim = as_identity(world, "victim");
    victim.handle("victim/a").unwrap();
    for _ in 0..3 {
        world.fail("victim/a", 5);
        victim.reset("victim/a", Actor { name: "victim", comment: "" }).soon().unwrap();
    }
    events_of(world, "victim/a")
}

fn events_of(world: &World, key: &str) -> Vec<u64> {
    let events = world.engine.events(0, false, usize::MAX);
    events.iter().filter(|event| *event.key == *key).map(|event| event.sequence).collect()
}

#[test]
fn an_identity_that_declares_breakers_without_end_pushes_out_no_events_of_others() {
    let world = World::with(Limits { events: 64, breakers: 2_000, ..Limits::default() });
    let moves = moves_of_a_victim(&world);
    assert!(moves.len() >= 6, "{moves:?}");
    let attacker = as_identity(&world, "attacker");
    for number in 0..1_000 {
        for revision in 1..=2 {
            let declaration = Declaration { spec: failures(6 + revision as u32), revision };
            attacker.declare(&format!("{number}"), &declaration, super::NOBODY).soon().unwrap();
        }
    }
    assert_eq!(world.engine.usage().newest_sequence, 1_000 + moves.last().unwrap());
    assert_eq!(events_of(&world, "victim/a"), moves);
    assert!(world.log().len() <= 64 + 16);
}

#[test]
fn a_pattern_that_is_rewritten_in_a_loop_pushes_out_no_moves_of_the_breakers_that_follow_it() {
    let world = World::with(Limits { events: 64, ..Limits::default() });
    let moves = moves_of_a_victim(&world);
    let operator = as_identity(&world, "attacker");
    for round in 0..500 {
        let actor = Actor { name: "attacker", comment: "again" };
        operator.set_policy("victim/*", failures(7 + round % 2), None, actor).soon().unwrap();
    }
    assert!(world.engine.usage().newest_sequence >= 500);
    assert_eq!(events_of(&world, "victim/a")[..moves.len()], moves);
}

#[test]
fn breakers_that_declare_the_same_share_what_they_follow_also_after_a_policy_was_written_and_undone() {
    let world = World::new();
    let policies = |world: &World| ["a", "b", "c"].map(|key| world.view(key).policy);
    for key in ["a", "b"] {
        world.declare(key, failures(7));
    }
    world.declare("c", failures(8));
    let [a, b, c] = policies(&world);
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    world.engine.set_policy("*", failures(9), None, super::OPERATOR).soon().unwrap();
    world.engine.delete_policy("*", None, super::OPERATOR).soon().unwrap();
    let [a, b, c] = policies(&world);
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    assert_eq!((a.policy.failure_threshold, c.policy.failure_threshold), (NonZeroU32::new(7), NonZeroU32::new(8)));
}
