//! Two servers on one store: each has a gate of its own, and versions move under each other.

use fuseboard::breaker::{Outcome, OverrideMode, Rejection, StateName};

use super::*;

async fn two(default: PolicySpec) -> (Memory, Server, Server) {
    let (memory, setup, one) = Server::under(default).await;
    let other = Server::on(&memory, setup).await;
    (memory, one, other)
}

/// Both have a breaker, of the same generation and version.
async fn share(one: &Server, other: &Server, key: &str) {
    one.engine.reset(key, OPERATOR).await.unwrap_err();
    permit(&one.engine, key).await;
    one.engine.reset(key, OPERATOR).await.unwrap();
    quiet().await;
    assert_eq!(state(&one.engine, key), state(&other.engine, key));
}

async fn both_are(one: &Server, other: &Server, key: &str) {
    quiet().await;
    let (one, other) = (one.engine.view(key).await.unwrap(), other.engine.view(key).await.unwrap());
    assert_eq!(one.entry, other.entry);
    assert_eq!((one.state, one.probes_out, one.totals.opens), (other.state, other.probes_out, other.totals.opens));
}

#[tokio::test(start_paused = true)]
async fn a_trip_on_one_rejects_on_the_other_as_soon_as_it_has_heard() {
    for is_known in [false, true] {
        let (_, one, other) = two(PolicySpec::default()).await;
        let mut watcher = watch(&other.engine);
        if is_known {
            permit(&other.engine, "a").await;
        }
        trip(&one.engine, "a").await;
        quiet().await;
        assert_eq!(rejected(at_once(acquire(&other.engine, "a"))), Rejection::Open);
        assert_eq!(heard(&mut watcher).await, [(1, "opened")]);
        both_are(&one, &other, "a").await;
        // Whichever fires first.
        other.advance(seconds(30)).await;
        one.advance(seconds(30)).await;
        both_are(&one, &other, "a").await;
        assert_eq!(kinds(&one.engine), ["opened", "half_opened"]);
        assert_eq!(told(&one.engine), told(&other.engine));
    }
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_race_takes_over_what_the_winner_made_and_its_waiters_get_a_true_answer() {
    let (_, winner, loser) = two(PolicySpec::default()).await;
    share(&winner, &loser, "a").await;
    winner.gate.shut();
    loser.gate.shut();
    let won = trip_late(&winner.engine, "a").await;
    let lost = trip_late(&loser.engine, "a").await;
    let asked = ask(&loser.engine, "a");
    quiet().await;
    winner.let_one().await;
    assert_eq!(won.await.unwrap().unwrap().reported, Reported::Counted);
    quiet().await;
    let asked = asked.now_or_never().unwrap().unwrap();
    let (open, generation) = state(&winner.engine, "a");
    assert_eq!((rejected(asked), asked.is_provisional, asked.generation), (Rejection::Open, false, generation));
    let lost = lost.now_or_never().unwrap().unwrap().unwrap();
    assert_eq!((lost.state, lost.generation), (open, generation));
    assert_ne!(lost.reported, Reported::Counted, "what it counted is not in what stands");
    loser.open_gate().await;
    winner.open_gate().await;
    both_are(&winner, &loser, "a").await;
    assert_eq!(kinds(&loser.engine), ["reset", "opened"]);
}

#[tokio::test(start_paused = true)]
async fn the_one_that_hears_late_loses_too_and_asks_again() {
    let (_, winner, loser) = two(PolicySpec::default()).await;
    share(&winner, &loser, "a").await;
    loser.gate.shut();
    let reset = {
        let engine = loser.engine.clone();
        tokio::spawn(async move { engine.reset("a", OPERATOR).await.unwrap() })
    };
    quiet().await;
    trip(&winner.engine, "a").await;
    assert_eq!(state(&winner.engine, "a").0, StateName::Open);
    loser.open_gate().await;
    let reset = reset.await.unwrap();
    assert_eq!(reset.status.state, StateName::Closed);
    both_are(&winner, &loser, "a").await;
    assert_eq!(kinds(&winner.engine), ["reset", "opened", "reset"]);
}

#[tokio::test(start_paused = true)]
async fn probes_of_both_together_never_exceed_the_policy() {
    let (memory, one, other) = two(probing(3)).await;
    fail(&one.engine, "a", 1).await;
    one.advance(seconds(30)).await;
    other.advance(seconds(30)).await;
    let mut granted = Vec::new();
    for _ in 0..4 {
        one.gate.shut();
        other.gate.shut();
        let asked: Vec<_> = [&one, &other].iter().flat_map(|server| (0..3).map(|_| ask(&server.engine, "a"))).collect();
        quiet().await;
        for turn in 0..40 {
            // A race at every step.
            let first = [&one, &other][turn % 2];
            first.gate.let_one();
            quiet().await;
        }
        one.open_gate().await;
        other.open_gate().await;
        for asked in asked {
            if let Decision::Permitted(permit) = asked.await.unwrap().decision {
                granted.push(permit);
            }
        }
        assert!(granted.len() <= 3, "{} probes are out", granted.len());
        both_are(&one, &other, "a").await;
        let stored = memory.load("a").await.unwrap().unwrap().snapshot.probes;
        assert!(
            granted.iter().all(|permit| stored.iter().any(|probe| probe.permit == *permit)),
            "told, and not stored"
        );
    }
    assert_eq!(granted.len(), 3);
    for (permit, engine) in granted.iter().zip([&one.engine, &other.engine, &one.engine]) {
        assert_eq!(report(engine, "a", permit, Outcome::Success).await.unwrap().reported, Reported::Counted);
        quiet().await;
    }
    both_are(&one, &other, "a").await;
    assert_eq!(kinds(&one.engine), ["opened", "half_opened", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_late_does_not_undo_what_was_done_since() {
    let (memory, one, other) = two(probing(1)).await;
    share(&one, &other, "a").await;
    other.gate.shut();
    let failing = permit(&other.engine, "a").await;
    let lost = tell(&other.engine, "a", failing, Outcome::Failure);
    quiet().await;
    // The other hears of this while its own move is still on its way.
    fail(&one.engine, "a", 1).await;
    quiet().await;
    one.advance(seconds(30)).await;
    other.advance(seconds(30)).await;
    let asked = ask(&other.engine, "a");
    quiet().await;
    while other.gate.waiting() > 0 {
        other.gate.let_one();
        // Or two permits could be one.
        other.advance(Duration::from_nanos(1)).await;
        if asked.is_finished() {
            break;
        }
    }
    let probe = permitted(asked.await.unwrap());
    let stored = memory.load("a").await.unwrap().unwrap().snapshot.probes;
    assert_eq!(stored.iter().map(|probe| probe.permit).collect::<Vec<_>>(), [probe], "told, and not stored");
    other.open_gate().await;
    assert!(lost.await.unwrap().is_ok());
    both_are(&one, &other, "a").await;
    assert_eq!(report(&one.engine, "a", &probe, Outcome::Success).await.unwrap().reported, Reported::Counted);
}

#[tokio::test(start_paused = true)]
async fn events_of_both_are_in_one_log_without_gap_seen_by_watchers_of_both() {
    let (_, one, other) = two(PolicySpec::default()).await;
    let mut watchers = [watch(&one.engine), watch(&other.engine)];
    for round in 0..10 {
        let (server, key) = ([&one, &other][round % 2], ["a", "b", "c"][round % 3]);
        acquire(&server.engine, key).await;
        server.engine.reset(key, OPERATOR).await.unwrap();
        trip(&server.engine, key).await;
        quiet().await;
    }
    let log = told(&one.engine);
    assert_eq!(log, told(&other.engine));
    assert!(log.iter().map(|(sequence, ..)| *sequence).eq(1..=20));
    let log: Vec<_> = log.into_iter().map(|(sequence, kind, _)| (sequence, kind)).collect();
    for watcher in &mut watchers {
        assert_eq!(heard(watcher).await, log);
    }
    // A watcher goes on at the other.
    let position = Some(watchers[0].position());
    other.engine.reset("a", OPERATOR).await.unwrap();
    let mut moved = other.engine.watch(WatchOptions { position, ..WatchOptions::default() }).unwrap();
    assert_eq!(heard(&mut moved).await, [(21, "reset")]);
}

#[tokio::test(start_paused = true)]
async fn policies_and_declarations_of_one_are_in_force_on_the_other() {
    let (_, one, other) = two(PolicySpec::default()).await;
    share(&one, &other, "a").await;
    let (entry, changed) = one.engine.set_policy("a*", probing(4), None, OPERATOR).await.unwrap();
    assert_eq!(changed, 1);
    quiet().await;
    assert_eq!(other.engine.policies(None), std::slice::from_ref(&entry));
    for server in [&one, &other] {
        assert_eq!(server.engine.view("a").await.unwrap().policy.policy.probes, 4);
        permit(&server.engine, "a-new").await;
        assert_eq!(server.engine.view("a-new").await.unwrap().policy.policy.probes, 4);
    }
    assert_eq!(kinds(&one.engine), ["reset", "policy_changed"], "one event for both");
    both_are(&one, &other, "a").await;

    let stale = other.engine.set_policy("a*", probing(5), Some(entry.version - 1), OPERATOR).await;
    assert!(matches!(stale, Err(Error::VersionMoved { .. })));
    other.engine.delete_policy("a*", Some(entry.version), OPERATOR).await.unwrap();
    quiet().await;
    assert_eq!(one.engine.policies(None), []);
    assert_eq!(one.engine.view("a").await.unwrap().policy.policy.probes, 1);

    other.engine.declare("a", &declared(probing(6)), NOBODY).await.unwrap();
    quiet().await;
    let view = one.engine.view("a").await.unwrap();
    assert_eq!((view.policy.policy.probes, view.declared_revision), (6, Some(0)));
    both_are(&one, &other, "a").await;
}

#[tokio::test(start_paused = true)]
async fn an_override_and_a_delete_on_one_are_ones_on_the_other() {
    let (memory, one, other) = two(PolicySpec::default()).await;
    share(&one, &other, "a").await;
    one.engine.set_override("a", "default", OverrideMode::ForcedOpen, None, OPERATOR).await.unwrap();
    quiet().await;
    assert_eq!(rejected(acquire(&other.engine, "a").await), Rejection::ForcedOpen);
    let old = state(&other.engine, "a").1;
    other.engine.delete("a", OPERATOR).await.unwrap();
    quiet().await;
    assert!(one.engine.find("a").is_none() && other.engine.find("a").is_none());
    assert_eq!(memory.load("a").await.unwrap(), None);
    assert_eq!(told(&one.engine), told(&other.engine));
    for server in [&one, &other] {
        assert!(permitted(acquire(&server.engine, "a").await).generation > old);
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_cannot_record_the_other_can_and_both_agree_when_the_store_is_back() {
    let (_, one, other) = two(PolicySpec::default()).await;
    share(&one, &other, "a").await;
    one.gate.fail();
    fail(&one.engine, "a", 4).await;
    let last = permit(&one.engine, "a").await;
    assert!(is_unrecorded(&report(&one.engine, "a", &last, Outcome::Failure).await));
    assert!(acquire(&one.engine, "a").await.is_provisional);
    permit(&other.engine, "a").await;
    trip(&other.engine, "a").await;
    quiet().await;
    let asked = at_once(acquire(&one.engine, "a"));
    assert_eq!((rejected(asked), asked.is_provisional), (Rejection::Open, false));
    one.gate.recover();
    quiet().await;
    both_are(&one, &other, "a").await;
    assert_eq!(kinds(&one.engine), ["reset", "opened"]);
}
