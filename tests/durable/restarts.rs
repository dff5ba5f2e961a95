//! What a server finds that comes after a crash: what was told, and what was let through.

use fuseboard::{
    breaker::{Decision, Outcome, OverrideMode, Rejection, RequestId, StateName, Tally, policy::Voters},
    engine::{BatchAnswer, CallerTally, EventReason, Position},
    store::{Change, Commit, Document, Floors, Merge, Record},
};
use xxhash_rust::xxh3::xxh3_64;

use super::*;

/// A batch of one success and, if wanted, failures enough to trip.
/// A batch, the same bytes whenever it is sent: of the first generation.
async fn send(engine: &Engine, sequence: u64, failures: u32) -> Result<BatchAnswer, Error> {
    let generation = 1;
    let tally = Tally { generation, successes: 1, failures, trailing_failures: failures, ..Tally::default() };
    engine.report_batch("sdk", sequence, &[CallerTally { key: "a", caller: NOBODY, tally }]).await
}

async fn counted(engine: &Engine, key: &str) -> u64 {
    match engine.view(key).await {
        Ok(view) => view.totals.successes + view.totals.failures,
        Err(_) => 0,
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stays_open_until_its_own_deadline() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    trip(&server.engine, "a").await;
    let before = server.engine.view("a").await.unwrap();
    server.advance(seconds(10)).await;
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    let after = engine.view("a").await.unwrap();
    assert_eq!((&after.entry, &after.last_event, after.deadline), (&before.entry, &before.last_event, before.deadline));
    assert_eq!(rejected(acquire(engine, "a").await), Rejection::Open);
    server.advance(seconds(20) - Duration::from_millis(1)).await;
    assert_eq!(state(engine, "a").0, StateName::Open);
    server.advance(Duration::from_millis(1)).await;
    assert_eq!(state(engine, "a").0, StateName::HalfOpen);
    assert_eq!(told(engine).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_key_that_seals_permits_outlives_the_server() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    let before = server.engine.seal().tag(b"permit");
    let server = server.crash(&memory, &setup).await;
    assert_eq!(server.engine.seal().tag(b"permit"), before);
    let (_, _, another) = Server::under(PolicySpec::default()).await;
    assert_ne!(another.engine.seal().tag(b"permit"), before, "each store has a key of its own");
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_the_same_id_after_a_restart_and_another_one_on_another_server() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    let id = server.engine.caller("cart/1");
    let request = server.engine.seal().request_hash(b"request");
    let server = server.crash(&memory, &setup).await;
    assert_eq!((server.engine.caller("cart/1"), server.engine.caller_id("cart/1")), (id, id));
    assert_eq!(server.engine.seal().request_hash(b"request"), request);
    let (_, _, another) = Server::under(PolicySpec::default()).await;
    assert_ne!(another.engine.caller("cart/1"), id);
    assert_ne!(another.engine.seal().key_hash("a"), server.engine.seal().key_hash("a"));
}

const CALLERS: [&str; 3] = ["cart/1", "shop/1", "mail/1"];

/// A half-open round in a store, in which `shop/1` has failed and a probe of `mail/1` is out, with `cart/1` isolated; and
/// the store's record of it.
async fn stored_round() -> (Memory, Setup, Record) {
    let policy = PolicySpec {
        failure_threshold: Some(1),
        min_callers: Some(2),
        probes: Some(2),
        successes_to_close: Some(3),
        failures_to_reopen: Some(1),
        ..PolicySpec::default()
    };
    let (memory, setup, server) = Server::under(policy).await;
    let engine = &server.engine;
    let [cart, shop, mail] = CALLERS.map(|name| engine.caller(name));
    for caller in [mail, shop, cart] {
        let permit = permitted(acquire_as(engine, "a", caller, NO_NAME).await);
        report(engine, "a", &permit, Outcome::Success).await.unwrap();
    }
    for caller in [cart, shop] {
        let permit = permitted(acquire_as(engine, "a", caller, NO_NAME).await);
        report(engine, "a", &permit, Outcome::Failure).await.unwrap();
    }
    assert_eq!(state(engine, "a").0, StateName::Open);
    server.advance(seconds(30)).await;
    let failed = permitted(acquire_as(engine, "a", shop, NO_NAME).await);
    report(engine, "a", &failed, Outcome::Failure).await.unwrap();
    permitted(acquire_as(engine, "a", mail, NO_NAME).await);
    engine.close(seconds(1)).await;
    server.gate.kill();
    let at = engine.now().after(Duration::from_nanos(1));
    drop(server);
    let record = memory.load("a").await.unwrap().unwrap();
    let round = record.snapshot.state.round().expect("a round");
    assert_eq!((&round.failed[..], record.snapshot.probes[0].permit.caller), (&[shop][..], mail));
    (memory, Setup { at, ..setup }, record)
}

/// Replaces a record by one with the ids that versions without a key gave to callers.
async fn write_with_unkeyed_ids(memory: &Memory, mut record: Record, ids: [CallerId; 3]) {
    let unkeyed = CALLERS.map(|name| CallerId(xxh3_64(name.as_bytes())));
    let old = |id| ids.iter().position(|known| *known == id).map_or(id, |index| unkeyed[index]);
    record.snapshot.rename_callers(old);
    memory.merge(Merge { records: vec![record], ..Merge::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn callers_that_an_older_server_stored_by_unkeyed_ids_are_found_by_their_names() {
    for has_all_names in [true, false] {
        let (memory, setup, mut record) = stored_round().await;
        let before = Server::on(&memory, setup.clone()).await;
        let ids = CALLERS.map(|name| before.engine.caller(name));
        before.gate.kill();
        drop(before);
        if !has_all_names {
            record.callers.retain(|name| **name != *"shop/1");
        }
        let expected = record.snapshot.clone();
        write_with_unkeyed_ids(&memory, record, ids).await;
        let server = Server::on(&memory, setup).await;
        let view = server.engine.view("a").await.unwrap();
        let known: Vec<_> = view.callers.iter().map(|caller| caller.status.caller).collect();
        assert_eq!(known.len(), expected.callers.as_ref().unwrap().known.len());
        for (name, id) in CALLERS.iter().zip(ids).filter(|(name, _)| has_all_names || **name != "shop/1") {
            assert!(known.contains(&id), "{name}");
            assert_eq!(server.engine.caller_name(id).as_deref(), Some(*name));
        }
        let round = view.state.round().expect("a round");
        assert_eq!(round.failed.contains(&ids[1]), has_all_names, "shop/1 is known again by its name only");
        // The probe that is out is of the same caller, and counts once more.
        let probe = expected.probes[0].permit;
        assert_eq!(probe.caller, ids[2]);
        assert_eq!(report(&server.engine, "a", &probe, Outcome::Success).await.unwrap().reported, Reported::Counted);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_are_found_by_their_names_after_the_key_in_the_store_was_replaced() {
    let (memory, setup, record) = stored_round().await;
    let document = memory.root().await.unwrap().documents.into_iter().find(|document| *document.key == *"seal/permits");
    let document = document.expect("the key");
    let body = r#"{"key":"000102030405060708090a0b0c0d0e0f"}"#.into();
    let to = Document { version: document.version + 1, body, ..document.clone() };
    let change = Change::Document { key: document.key, from: document.version, to: Some(Box::new(to)) };
    let floors = Floors::default();
    memory.commit(Commit { author: 1, change, events: Vec::new(), audit: Vec::new(), floors }).await.unwrap();
    let server = Server::on(&memory, setup).await;
    let ids = CALLERS.map(|name| server.engine.caller(name));
    let before: Vec<_> = record.snapshot.callers.unwrap().known.iter().map(|known| known.caller).collect();
    assert!(ids.iter().all(|id| !before.contains(id)), "another key, other ids");
    let view = server.engine.view("a").await.unwrap();
    assert_eq!(view.callers.len(), before.len());
    assert!(ids.iter().all(|id| view.callers.iter().any(|caller| caller.status.caller == *id)));
    assert_eq!(view.state.round().expect("a round").failed, [ids[1]]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_deadline_passes_while_no_server_runs_moves_when_the_next_one_starts() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    trip(&server.engine, "a").await;
    server.gate.kill();
    drop(server);
    let server = Server::on(&memory, Setup { at: START.after(seconds(100)), ..setup }).await;
    server.advance(Duration::ZERO).await;
    assert_eq!(kinds(&server.engine), ["opened", "half_opened"]);
    permit(&server.engine, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_trip_that_was_not_let_through_is_lost_with_everything_that_waited_for_it() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    call(&server.engine, "a", Outcome::Success).await;
    server.gate.shut();
    let report = trip_late(&server.engine, "a").await;
    assert!(!report.is_finished());
    let server = server.crash(&memory, &setup).await;
    assert_eq!(told(&server.engine), []);
    trip(&server.engine, "a").await;
    assert_eq!(told(&server.engine).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_round_goes_on_with_the_probes_that_are_out_and_each_is_good_for_one_report() {
    let (memory, setup, server) = Server::under(probing(2)).await;
    fail(&server.engine, "a", 1).await;
    server.advance(seconds(30)).await;
    let one = permit(&server.engine, "a").await;
    let two = permitted(acquire_as(&server.engine, "a", NOBODY, RequestId(2)).await);
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    assert_eq!(engine.view("a").await.unwrap().probes_out, 2);
    assert_eq!(rejected(acquire(engine, "a").await), Rejection::HalfOpenFull);
    assert_eq!(permitted(acquire_as(engine, "a", NOBODY, RequestId(2)).await), two, "the same request, the same probe");
    assert_eq!(report(engine, "a", &one, Outcome::Success).await.unwrap().reported, Reported::Counted);
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    assert_ne!(report(engine, "a", &one, Outcome::Success).await.unwrap().reported, Reported::Counted);
    assert_eq!(engine.view("a").await.unwrap().probes_out, 1);
    let last = report(engine, "a", &two, Outcome::Success).await.unwrap();
    assert_eq!((last.reported, last.state), (Reported::Counted, StateName::Closed));
    assert_eq!(kinds(engine), ["opened", "half_opened", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_probe_runs_on_over_a_crash() {
    let (memory, setup, server) = Server::under(probing(1)).await;
    fail(&server.engine, "a", 1).await;
    server.advance(seconds(30)).await;
    permit(&server.engine, "a").await;
    server.advance(seconds(40)).await;
    let server = server.crash(&memory, &setup).await;
    server.advance(seconds(20) - Duration::from_millis(1)).await;
    assert_eq!(state(&server.engine, "a").0, StateName::HalfOpen);
    server.advance(Duration::from_millis(1)).await;
    assert_eq!(kinds(&server.engine), ["opened", "half_opened", "opened"], "it counts as a failure");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_not_let_through_was_not_granted() {
    let (memory, setup, server) = Server::under(probing(1)).await;
    fail(&server.engine, "a", 1).await;
    server.advance(seconds(30)).await;
    server.gate.shut();
    let asked = ask(&server.engine, "a");
    quiet().await;
    assert!(!asked.is_finished());
    let server = server.crash(&memory, &setup).await;
    assert!(!asked.is_finished());
    permit(&server.engine, "a").await;
    assert_eq!(rejected(acquire(&server.engine, "a").await), Rejection::HalfOpenFull);
}

#[tokio::test(start_paused = true)]
async fn permits_of_a_closed_breaker_from_before_are_stale() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    trip(&server.engine, "stored").await;
    server.engine.reset("stored", OPERATOR).await.unwrap();
    call(&server.engine, "behind", Outcome::Success).await;
    let mut permits = Vec::new();
    for key in ["stored", "behind", "never"] {
        permits.push((key, permit(&server.engine, key).await));
    }
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    for (key, old) in permits {
        for _ in 0..2 {
            assert_eq!(report(engine, key, &old, Outcome::Failure).await.unwrap().reported, Reported::Stale, "{key}");
            let new = permit(engine, key).await;
            assert_ne!((old.generation, old.slice, old.serial), (new.generation, new.slice, new.serial), "{key}");
        }
        assert_eq!(engine.view(key).await.unwrap().window.failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn generations_are_above_all_before_also_of_breakers_never_stored_evicted_or_deleted() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    let mut server = server;
    let mut highest = std::collections::HashMap::new();
    for _ in 0..4 {
        for key in ["never", "deleted", "evicted"] {
            let generation = acquire(&server.engine, key).await.generation;
            assert!(highest.insert(key, generation).is_none_or(|before| before < generation), "{key}");
        }
        for key in ["deleted", "evicted"] {
            trip(&server.engine, key).await;
            server.engine.reset(key, OPERATOR).await.unwrap();
            highest.insert(key, state(&server.engine, key).1);
        }
        server.engine.delete("deleted", OPERATOR).await.unwrap();
        server.advance(seconds(7300)).await;
        assert!(server.engine.find("evicted").is_none() && server.engine.find("never").is_none());
        let never = acquire(&server.engine, "never").await.generation;
        assert!(highest.insert("never", never).is_none_or(|before| before < never));
        server = server.crash(&memory, &setup).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_goes_on_where_it_was_without_loss_or_repeat() {
    let (memory, setup, mut server) = Server::under(PolicySpec::default()).await;
    let mut position: Option<Position> = None;
    let mut all = Vec::new();
    for round in 0..5 {
        let options = WatchOptions { position, skip_snapshot: true, ..WatchOptions::default() };
        let mut watcher = server.engine.watch(options).unwrap();
        all.extend(heard(&mut watcher).await);
        trip(&server.engine, "a").await;
        all.extend(heard(&mut watcher).await);
        position = Some(watcher.position());
        // Told to others after it went.
        server.engine.reset("a", OPERATOR).await.unwrap();
        // And told to nobody.
        server.gate.shut();
        let _trip = trip_late(&server.engine, "b").await;
        if round % 2 == 0 {
            server.let_one().await;
        }
        server = server.crash(&memory, &setup).await;
        server.engine.reset("b", OPERATOR).await.unwrap_or_else(|_| panic!("b was never seen in round {round}"));
    }
    let mut last = server.engine.watch(WatchOptions { position, ..WatchOptions::default() }).unwrap();
    all.extend(heard(&mut last).await);
    let log: Vec<_> = told(&server.engine).into_iter().map(|(sequence, kind, _)| (sequence, kind)).collect();
    assert_eq!(all, log);
    assert!(log.iter().map(|(sequence, _)| *sequence).eq(1..=log.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_once_wherever_between_its_writes_the_server_dies() {
    // A batch that trips, and one that is written behind.
    for failures in [0, 5] {
        for let_through in 0..4 {
            let (memory, setup, server) = Server::under(PolicySpec::default()).await;
            call(&server.engine, "a", Outcome::Success).await;
            pass(seconds(1)).await;
            server.gate.shut();
            let sent = {
                let engine = server.engine.clone();
                tokio::spawn(async move { send(&engine, 1, failures).await })
            };
            quiet().await;
            pass(Duration::from_millis(600)).await;
            let mut through = 0;
            while through < let_through && server.gate.let_one() {
                quiet().await;
                pass(Duration::from_millis(600)).await;
                through += 1;
            }
            let was_told = sent.is_finished() && sent.await.unwrap().is_ok() && failures > 0;
            let server = server.crash(&memory, &setup).await;
            let before = counted(&server.engine, "a").await;
            let again = send(&server.engine, 1, failures).await.unwrap();
            let after = counted(&server.engine, "a").await;
            let all = 1 + 1 + u64::from(failures);
            assert!(after <= all, "{failures} failures, {through} let through: {before}, then {after}");
            if was_told {
                assert_eq!((before, after, again.counted), (all, all, 0), "{failures} failures, {through} through");
            }
            if through == 0 {
                assert_eq!((again.duplicate, after), (false, all), "nothing of it was stored");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn statistics_are_written_behind_within_a_second() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    for _ in 0..3 {
        call(&server.engine, "a", Outcome::Success).await;
    }
    fail(&server.engine, "a", 2).await;
    pass(seconds(1)).await;
    let before = server.engine.view("a").await.unwrap();
    fail(&server.engine, "a", 1).await;
    let server = server.crash(&memory, &setup).await;
    let after = server.engine.view("a").await.unwrap();
    assert_eq!((after.window, after.totals, after.entry), (before.window, before.totals, before.entry));
    fail(&server.engine, "a", 3).await;
    assert_eq!(state(&server.engine, "a").0, StateName::Open, "the streak goes on");
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_loses_nothing() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    for key in ["a", "b", "c"] {
        fail(&server.engine, key, 3).await;
    }
    send(&server.engine, 1, 0).await.unwrap();
    server.gate.shut();
    let trip = trip_late(&server.engine, "d").await;
    let closing = {
        let engine = server.engine.clone();
        tokio::spawn(async move { engine.close(seconds(10)).await })
    };
    quiet().await;
    assert!(!closing.is_finished());
    server.open_gate().await;
    closing.await.unwrap();
    assert!(trip.await.unwrap().is_ok());
    let mut before = Vec::new();
    for key in ["a", "b", "c", "d"] {
        before.push(server.engine.view(key).await.unwrap());
    }
    let server = server.crash(&memory, &setup).await;
    for before in before {
        let after = server.engine.view(&before.entry.key).await.unwrap();
        assert_eq!((after.window, after.totals, after.entry), (before.window, before.totals, before.entry));
    }
    assert!(send(&server.engine, 1, 0).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn policies_declarations_and_overrides_are_in_force_with_their_versions() {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    let engine = &server.engine;
    engine.declare("a", &Declaration { spec: probing(3), revision: 4 }, NOBODY).await.unwrap();
    let (entry, _) = engine.set_policy("a*", probing(5), None, OPERATOR).await.unwrap();
    engine.set_policy("gone", probing(6), None, OPERATOR).await.unwrap();
    engine.delete_policy("gone", None, OPERATOR).await.unwrap();
    engine.set_override("o", "default", OverrideMode::ForcedOpen, Some(seconds(60)), OPERATOR).await.unwrap();
    let before = engine.view("a").await.unwrap();
    let log = told(engine);
    server.advance(seconds(5)).await;
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    let after = engine.view("a").await.unwrap();
    assert_eq!(after, before);
    assert_eq!((after.declared_revision, after.policy.policy.probes), (Some(4), 5));
    assert_eq!(engine.policies(None), std::slice::from_ref(&entry));
    assert_eq!(told(engine), log, "nothing has changed");
    assert_eq!(rejected(acquire(engine, "o").await), Rejection::ForcedOpen);
    assert!(after.provenance.is_some(), "who declared it outlives the server");
    let lower = Declaration { spec: probing(9), revision: 3 };
    assert_eq!(engine.declare("a", &lower, NOBODY).await.unwrap().declared_revision, Some(4));
    let (later, _) = engine.set_policy("z", probing(1), None, OPERATOR).await.unwrap();
    assert!(later.version > entry.version + 2, "above those that are gone");
    let moved = engine.set_policy("a*", probing(1), Some(entry.version + 1), OPERATOR).await;
    assert!(matches!(moved, Err(Error::VersionMoved { .. })));
    server.advance(seconds(55)).await;
    assert_eq!(told(engine).last().unwrap().1, "override_cleared");
}

#[tokio::test(start_paused = true)]
async fn a_policy_file_that_changed_over_the_restart_is_one_event_and_an_unchanged_one_none() {
    let by_pattern = |probes| vec![("file*".to_owned(), probing(probes))];
    let memory = Memory::new(1000);
    let file = FilePolicies { default: PolicySpec::default(), by_pattern: by_pattern(1) };
    let mut setup = Setup { file, ..Setup::default() };
    let server = Server::on(&memory, setup.clone()).await;
    for key in ["file/a", "other"] {
        server.engine.declare(key, &declared(PolicySpec::default()), NOBODY).await.unwrap();
    }
    call(&server.engine, "file/behind", Outcome::Success).await;
    pass(seconds(1)).await;
    let before = told(&server.engine);
    let server = server.crash(&memory, &setup).await;
    assert_eq!(told(&server.engine), before);
    setup.file.by_pattern = by_pattern(2);
    let server = server.crash(&memory, &setup).await;
    let mut server = server.crash(&memory, &setup).await;
    for _ in 0..2 {
        let engine = &server.engine;
        let news = engine.events(before.len() as u64, false, 10);
        let mut keys: Vec<_> = news.iter().map(|event| &*event.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["file/a", "file/behind"]);
        for event in &news {
            assert_eq!((event.kind.name(), event.reason), ("policy_changed", EventReason::PolicyFile));
            assert_eq!(engine.view(&event.key).await.unwrap().policy.policy.probes, 2);
        }
        server = server.crash(&memory, &setup).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_stored_breaker_is_evicted_with_its_record() {
    let (memory, _, server) = Server::under(PolicySpec::default()).await;
    let engine = &server.engine;
    trip(engine, "a").await;
    engine.reset("a", OPERATOR).await.unwrap();
    call(engine, "behind", Outcome::Success).await;
    engine.declare("declared", &declared(probing(1)), NOBODY).await.unwrap();
    pass(seconds(1)).await;
    assert_eq!(memory.scan("", 10).await.unwrap().len(), 3);
    let log = told(engine);
    server.advance(seconds(3 * 3600)).await;
    assert_eq!(engine.list("", 10, |_| true).iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["declared"]);
    assert_eq!(memory.scan("", 10).await.unwrap().iter().map(|record| &*record.key).collect::<Vec<_>>(), ["declared"]);
    assert_eq!(told(engine), log, "which is no event");
}

#[tokio::test(start_paused = true)]
async fn full_of_stored_idle_breakers_a_new_key_finds_room() {
    let memory = Memory::new(1000);
    let limits = Limits { breakers: 4, ..Limits::default() };
    let server = Server::on(&memory, Setup { limits, ..Setup::default() }).await;
    let engine = &server.engine;
    for key in ["a", "b", "c", "d"] {
        trip(engine, key).await;
        engine.reset(key, OPERATOR).await.unwrap();
    }
    server.advance(seconds(120)).await;
    permit(engine, "e").await;
    assert_eq!(engine.usage().breakers, 4);
    assert_eq!(memory.scan("", 10).await.unwrap().len(), 3, "its record went with it");
    assert_eq!(told(engine).len(), 8);

    server.gate.shut();
    let refused = engine.handle("f");
    assert!(matches!(refused, Err(Error::Limit { reason: "BREAKER_LIMIT", .. })), "{refused:?}");
    server.open_gate().await;
    engine.handle("f").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_forgotten_and_comes_back_is_remembered() {
    let memory = Memory::new(1000);
    let setup = Setup { limits: Limits { batch_clients: 2, ..Limits::default() }, ..Setup::default() };
    let server = Server::on(&memory, setup.clone()).await;
    call(&server.engine, "a", Outcome::Success).await;
    send(&server.engine, 1, 0).await.unwrap();
    server.engine.report_batch("silent", 1, &[]).await.unwrap();
    pass(seconds(1)).await;
    server.advance(seconds(601)).await;
    // It takes the place of both, and then one of them trips the breaker: a commit before the next write behind.
    server.engine.report_batch("new", 1, &[]).await.unwrap();
    assert_eq!(send(&server.engine, 2, 5).await.unwrap().counted, 1);
    assert_eq!(state(&server.engine, "a").0, StateName::Open);
    pass(seconds(1)).await;
    let server = server.crash(&memory, &setup).await;
    assert!(send(&server.engine, 2, 5).await.unwrap().duplicate);
}

/// A call of a named caller, if it is permitted. False where it is not.
async fn call_as(engine: &Engine, caller: &str, outcome: Outcome) -> bool {
    let acquired = acquire_as(engine, "a", engine.caller(caller), RequestId::default()).await;
    let Decision::Permitted(permit) = acquired.decision else { return false };
    report(engine, "a", &permit, outcome).await.unwrap();
    true
}

#[tokio::test(start_paused = true)]
async fn callers_known_before_a_restart_are_given_their_services_when_they_call_again() {
    let by_service = PolicySpec { failure_threshold: Some(3), voters: Some(Voters::Service), ..PolicySpec::default() };
    let (memory, setup, server) = Server::under(by_service).await;
    for caller in ["cart/1", "shop/1", "shop/2", "shop/3"] {
        assert!(call_as(&server.engine, caller, Outcome::Success).await);
    }
    for _ in 0..3 {
        assert!(call_as(&server.engine, "shop/1", Outcome::Failure).await);
    }
    assert_eq!(kinds(&server.engine), ["caller_isolated"]);
    assert_eq!(server.engine.view("a").await.unwrap().quorum, 2);

    // Names are not stored: until shop/1 calls again it is of no service, and not a voter beside shop.
    let server = server.crash(&memory, &setup).await;
    assert_eq!(server.engine.view("a").await.unwrap().callers.len(), 4);
    for caller in ["shop/2", "shop/3"] {
        for _ in 0..3 {
            assert!(call_as(&server.engine, caller, Outcome::Failure).await);
        }
    }
    assert!(!call_as(&server.engine, "shop/1", Outcome::Failure).await, "it is still isolated");
    assert_eq!(kinds(&server.engine), ["caller_isolated"; 3], "shop is one voter");
    for _ in 0..3 {
        assert!(call_as(&server.engine, "cart/1", Outcome::Failure).await);
    }
    assert_eq!(kinds(&server.engine).last(), Some(&"opened"), "cart is another");
}
