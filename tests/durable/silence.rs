//! A store that does not answer, or says that it cannot write.

use fuseboard::breaker::{Outcome, OverrideMode, Rejection, StateName};
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn when_the_store_does_not_answer_an_acquire_is_rejected_after_a_second_as_provisional_in_the_old_generation() {
    let server = Server::new().await;
    let engine = &server.engine;
    let mut watcher = watch(engine);
    server.gate.shut();
    let report = trip_late(engine, "a").await;
    let old = state(engine, "a").1;
    let asked = ask(engine, "a");
    quiet().await;
    pass(Duration::from_millis(950)).await;
    assert!(!asked.is_finished(), "it waits for a second");
    pass(Duration::from_millis(50)).await;
    let asked = asked.now_or_never().unwrap().unwrap();
    assert_eq!((rejected(asked), asked.is_provisional), (Rejection::Open, true));
    assert_eq!((asked.state, asked.generation), (StateName::Open, old));
    assert!(is_unrecorded(&report.now_or_never().unwrap().unwrap()));
    assert_eq!(state(engine, "a"), (StateName::Closed, old));
    assert_eq!((heard(&mut watcher).await, told(engine)), (vec![], vec![]));

    server.open_gate().await;
    assert_eq!(state(engine, "a"), (StateName::Open, old + 1));
    assert_eq!(heard(&mut watcher).await, [(1, "opened")]);
}

#[tokio::test(start_paused = true)]
async fn when_the_store_says_that_it_fails_nobody_waits() {
    let server = Server::new().await;
    let engine = &server.engine;
    fail(engine, "a", 4).await;
    let last = permit(engine, "a").await;
    let old = state(engine, "a").1;
    server.gate.fail();
    assert!(is_unrecorded(&at_once(report(engine, "a", &last, Outcome::Failure))));
    let asked = at_once(acquire(engine, "a"));
    assert_eq!((rejected(asked), asked.is_provisional, asked.generation), (Rejection::Open, true, old));
    assert_eq!(engine.store_problem().as_deref(), Some("no space left"));
    server.gate.recover();
    quiet().await;
    let asked = at_once(acquire(engine, "a"));
    assert_eq!((rejected(asked), asked.is_provisional, asked.generation), (Rejection::Open, false, old + 1));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_when_the_store_begins_to_fail_wait_no_longer() {
    let server = Server::new().await;
    let engine = &server.engine;
    server.gate.shut();
    let report = trip_late(engine, "a").await;
    let asked = ask(engine, "a");
    quiet().await;
    assert!(!report.is_finished() && !asked.is_finished());
    server.gate.fail();
    quiet().await;
    assert!(is_unrecorded(&report.now_or_never().unwrap().unwrap()));
    assert!(asked.now_or_never().unwrap().unwrap().is_provisional);
}

#[tokio::test(start_paused = true)]
async fn what_happened_meanwhile_comes_by_itself_and_in_order_when_the_store_is_back() {
    let (_, _, server) = Server::under(probing(1)).await;
    let engine = &server.engine;
    let mut watcher = watch(engine);
    for key in ["a", "b"] {
        permit(engine, key).await;
    }
    server.gate.fail();
    for key in ["a", "b"] {
        let last = permit(engine, key).await;
        assert!(is_unrecorded(&report(engine, key, &last, Outcome::Failure).await));
    }
    server.advance(seconds(30)).await;
    assert_eq!(heard(&mut watcher).await, []);
    server.gate.recover();
    quiet().await;
    server.open_gate().await;
    assert_eq!(heard(&mut watcher).await.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for key in ["a", "b"] {
        let of_it: Vec<_> = told(engine).into_iter().filter(|(_, _, of)| of == key).map(|(_, kind, _)| kind).collect();
        assert_eq!(of_it, ["opened", "half_opened"]);
    }
    let times: Vec<_> = engine.events(0, false, 10).iter().map(|event| event.at).collect();
    assert!(times.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn closed_breakers_answer_meanwhile_permits_and_successful_reports_both() {
    let server = Server::new().await;
    let engine = &server.engine;
    call(engine, "known", Outcome::Success).await;
    server.gate.shut();
    let _report = trip_late(engine, "a").await;
    for is_failing in [false, true] {
        if is_failing {
            server.gate.fail();
        }
        for key in ["known", "new"] {
            let told = engine.acquire_by_key(engine.moment(), key, NOBODY, NO_NAME, None).unwrap();
            assert!(is_now(&told));
            let permit = permitted(told.now().unwrap());
            let answer = at_once(report(engine, key, &permit, Outcome::Success)).unwrap();
            assert_eq!((answer.reported, answer.state), (Reported::Counted, StateName::Closed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_where_the_isolation_of_one_caller_waits_answers_the_others() {
    let server = Server::new().await;
    let engine = &server.engine;
    let [sick, well] = ["sick", "well"].map(|name| engine.caller(name));
    permitted(acquire_as(engine, "a", well, NO_NAME).await);
    for _ in 0..4 {
        let permit = permitted(acquire_as(engine, "a", sick, NO_NAME).await);
        report(engine, "a", &permit, Outcome::Failure).await.unwrap();
    }
    let last = permitted(acquire_as(engine, "a", sick, NO_NAME).await);
    server.gate.shut();
    let isolating = tell(engine, "a", last, Outcome::Failure);
    quiet().await;
    assert!(!isolating.is_finished());
    let theirs = permitted(at_once(acquire_as(engine, "a", well, NO_NAME)));
    assert_eq!(at_once(report(engine, "a", &theirs, Outcome::Success)).unwrap().reported, Reported::Counted);
    assert_eq!(engine.entry("a", Some(sick)).unwrap().caller, None, "where it stands is not told");
    assert_eq!(told(engine), []);

    let asked = acquire_as(engine, "a", sick, NO_NAME).await;
    assert_eq!((rejected(asked), asked.is_provisional), (Rejection::Open, true));
    permitted(at_once(acquire_as(engine, "a", well, NO_NAME)));
    server.open_gate().await;
    assert_eq!(kinds(engine), ["caller_isolated"]);
    assert_eq!(rejected(at_once(acquire_as(engine, "a", sick, NO_NAME))), Rejection::CallerIsolated);
}

#[tokio::test(start_paused = true)]
async fn operators_writes_and_declarations_are_refused_at_once_while_the_store_fails_and_change_nothing() {
    let server = Server::new().await;
    let engine = &server.engine;
    trip(engine, "a").await;
    engine.set_override("a", "default", OverrideMode::Shadow, None, OPERATOR).await.unwrap();
    engine.set_policy("b*", probing(2), None, OPERATOR).await.unwrap();
    call(engine, "b", Outcome::Success).await;
    pass(seconds(2)).await;
    let before =
        (engine.view("a").await.unwrap(), engine.view("b").await.unwrap(), engine.policies(None), told(engine));
    server.gate.fail();
    let begun = Instant::now();
    assert!(is_unrecorded(&engine.reset("a", OPERATOR).await));
    assert!(is_unrecorded(&engine.set_override("a", "default", OverrideMode::ForcedOpen, None, OPERATOR).await));
    assert!(is_unrecorded(&engine.set_override("new", "default", OverrideMode::ForcedOpen, None, OPERATOR).await));
    assert!(is_unrecorded(&engine.clear_override("a", None, OPERATOR).await));
    assert!(is_unrecorded(&engine.delete("a", OPERATOR).await));
    assert!(is_unrecorded(&engine.set_policy("a", probing(9), None, OPERATOR).await));
    assert!(is_unrecorded(&engine.delete_policy("b*", None, OPERATOR).await));
    assert!(is_unrecorded(&engine.declare("b", &declared(probing(7)), NOBODY).await));
    assert!(is_unrecorded(&engine.declare("new", &declared(probing(7)), NOBODY).await));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(server.gate.waiting(), 0, "nothing was sent");
    assert!(engine.find("new").is_none());
    server.gate.recover();
    quiet().await;
    assert_eq!(
        (engine.view("a").await.unwrap(), engine.view("b").await.unwrap(), engine.policies(None), told(engine)),
        before
    );
    engine.reset("a", OPERATOR).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_report_that_was_answered_unavailable_counts_once_when_it_is_sent_again() {
    let server = Server::new().await;
    let engine = &server.engine;
    fail(engine, "a", 4).await;
    let last = permit(engine, "a").await;
    server.gate.shut();
    for _ in 0..3 {
        assert!(is_unrecorded(&report(engine, "a", &last, Outcome::Failure).await));
    }
    server.open_gate().await;
    let again = report(engine, "a", &last, Outcome::Failure).await.unwrap();
    assert!(matches!(again.reported, Reported::Duplicate | Reported::Stale), "{again:?}");
    assert_eq!(again.state, StateName::Open);
    assert_eq!(engine.view("a").await.unwrap().totals.failures, 5);
    assert_eq!(kinds(engine), ["opened"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_in_doubt_comes_true_and_the_key_begins_anew_above_it() {
    let server = Server::new().await;
    let engine = &server.engine;
    trip(engine, "a").await;
    let old = state(engine, "a").1;
    server.gate.shut();
    assert!(is_unrecorded(&engine.delete("a", OPERATOR).await));
    let asked = acquire(engine, "a").await;
    assert_eq!((rejected(asked), asked.is_provisional), (Rejection::Open, true), "it was open when it was last told");
    server.open_gate().await;
    assert_eq!(kinds(engine), ["opened", "deleted"]);
    let anew = acquire(engine, "a").await;
    permitted(anew);
    assert!(anew.generation > old);
}
