//! What is told of a move, and when.

use fuseboard::{
    breaker::{Outcome, Rejection, RequestId, StateName},
    engine::{Message, WatchOptions},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn nothing_of_a_trip_is_told_before_it_is_durable_and_all_of_it_right_after() {
    let server = Server::new().await;
    let engine = &server.engine;
    let mut watcher = watch(engine);
    assert_eq!(heard(&mut watcher).await, []);
    fail(engine, "a", 4).await;
    let last = permit(engine, "a").await;
    server.gate.shut();
    let before = state(engine, "a");
    let report = tell(engine, "a", last, Outcome::Failure);
    quiet().await;
    let asked = ask(engine, "a");
    let viewed = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.view("a").await.unwrap() })
    };
    quiet().await;

    assert!(!report.is_finished() && !asked.is_finished() && !viewed.is_finished());
    assert_eq!(state(engine, "a"), before);
    assert_eq!(engine.list("", 10, |_| true)[0].status.state, StateName::Closed);
    assert_eq!(told(engine), []);
    assert_eq!(heard(&mut watcher).await, []);
    let mut board = engine.watch(WatchOptions::default()).unwrap();
    let Some(Message::Snapshot { entries, .. }) = board.next().await else { panic!("no snapshot") };
    assert_eq!((entries[0].status.state, entries[0].status.generation), before);

    server.let_one().await;
    let report = report.now_or_never().unwrap().unwrap().unwrap();
    assert_eq!((report.reported, report.state, report.generation), (Reported::Counted, StateName::Open, before.1 + 1));
    let asked = asked.now_or_never().unwrap().unwrap();
    assert_eq!((rejected(asked), asked.is_provisional, asked.generation), (Rejection::Open, false, before.1 + 1));
    let viewed = viewed.now_or_never().unwrap().unwrap();
    assert_eq!((viewed.entry.status.state, viewed.entry.sequence), (StateName::Open, 1));
    assert_eq!(viewed.last_event.unwrap().sequence, 1);
    assert_eq!(state(engine, "a"), (StateName::Open, before.1 + 1));
    assert_eq!(heard(&mut watcher).await, [(1, "opened")]);
    assert_eq!(heard(&mut board).await, [(1, "opened")]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_made_while_the_store_is_slow_answers_and_counts() {
    let server = Server::new().await;
    server.gate.shut();
    let engine = &server.engine;
    for outcome in [Outcome::Success, Outcome::Failure] {
        let permit = permitted(at_once(acquire(engine, "new")));
        assert_eq!(at_once(report(engine, "new", &permit, outcome)).unwrap().reported, Reported::Counted);
    }
    assert_eq!(at_once(engine.view("new")).unwrap().totals.failures, 1);
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_a_commit_is_on_its_way_goes_with_the_next_one_and_in_order() {
    let server = Server::new().await;
    let engine = &server.engine;
    server.gate.shut();
    let _trip = trip_late(engine, "a").await;
    server.advance(seconds(30)).await;
    let operators = [1, 2].map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.reset("a", OPERATOR).await })
    });
    quiet().await;
    assert_eq!(server.gate.waiting(), 1, "one at a time");
    server.let_one().await;
    assert_eq!(kinds(engine), ["opened"]);
    assert_eq!(server.gate.waiting(), 1);
    server.let_one().await;
    assert_eq!(kinds(engine), ["opened", "half_opened", "reset", "reset"]);
    for operator in operators {
        assert!(operator.now_or_never().unwrap().unwrap().is_ok());
    }
    assert_eq!(server.gate.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_granted_only_when_it_is_durable() {
    let (_, _, server) = Server::under(probing(1)).await;
    let engine = &server.engine;
    fail(engine, "a", 1).await;
    server.advance(seconds(30)).await;
    assert_eq!(state(engine, "a").0, StateName::HalfOpen);
    server.gate.shut();
    let probe = ask(engine, "a");
    quiet().await;
    assert!(!probe.is_finished());
    // Nothing of the others' answer depends on the store.
    let other = at_once(acquire(engine, "a"));
    assert_eq!(rejected(other), Rejection::HalfOpenFull);
    server.let_one().await;
    let probe = permitted(probe.now_or_never().unwrap().unwrap());
    server.open_gate().await;
    assert_eq!(report(engine, "a", &probe, Outcome::Success).await.unwrap().state, StateName::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_was_told_of_is_given_back() {
    let (_, _, server) = Server::under(probing(1)).await;
    let engine = &server.engine;
    fail(engine, "a", 1).await;
    server.advance(seconds(30)).await;
    server.gate.shut();
    let asked = ask(engine, "a").await.unwrap();
    assert_eq!((rejected(asked), asked.is_provisional), (Rejection::Open, true));
    server.open_gate().await;
    assert_eq!(engine.view("a").await.unwrap().probes_out, 0);
    permit(engine, "a").await;
    assert_eq!(engine.view("a").await.unwrap().probes_out, 1);
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_out_never_exceed_the_policy_while_the_store_comes_and_goes() {
    let (_, _, server) = Server::under(probing(3)).await;
    let engine = &server.engine;
    fail(engine, "a", 1).await;
    server.advance(seconds(30)).await;
    let mut out = 0;
    for round in 0..6 {
        server.gate.shut();
        let asked: Vec<_> = (0..5).map(|_| ask(engine, "a")).collect();
        quiet().await;
        if round % 2 == 0 {
            // They give up.
            pass(seconds(2)).await;
        }
        server.open_gate().await;
        for asked in asked {
            out += usize::from(matches!(asked.await.unwrap().decision, Decision::Permitted(_)));
        }
        assert!(out <= 3, "{out} probes are out");
        assert_eq!(engine.view("a").await.unwrap().probes_out, out);
    }
    assert_eq!(out, 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_request_gets_the_same_probe_also_while_it_waits() {
    let (_, _, server) = Server::under(probing(1)).await;
    let engine = &server.engine;
    fail(engine, "a", 1).await;
    server.advance(seconds(30)).await;
    server.gate.shut();
    let both = [1, 2].map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { permitted(acquire_as(&engine, "a", NOBODY, RequestId(7)).await) })
    });
    quiet().await;
    server.open_gate().await;
    let [one, two] = both.map(|asked| asked.now_or_never().unwrap().unwrap());
    assert_eq!(one, two);
}
