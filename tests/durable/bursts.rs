//! Bursts of moves over crashes: only the log waits, and what waits is stored with the breaker.

use fuseboard::breaker::Outcome;

use super::{
    flapping::{MILLISECOND, flapping},
    *,
};

fn moves<'a>(events: impl IntoIterator<Item = &'a Event>) -> u64 {
    events.into_iter().map(|event| event.moves).sum()
}

/// What the store has accounts for every move of the breaker that it has.
async fn check(memory: &Memory, first: u64) {
    let Some(record) = memory.load("a").await.unwrap() else { return };
    let log = memory.events(0, usize::MAX).await.unwrap();
    let told = moves(log.iter().map(|event| &**event));
    assert_eq!(told + moves(&record.folded), record.snapshot.generation - first);
    let last = record.folded.last().or_else(|| log.last().map(|event| &**event));
    assert_eq!(last.map_or(first, |event| event.status.generation), record.snapshot.generation);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_point_of_a_burst_loses_neither_the_state_nor_a_move() {
    let mut folded = 0;
    for steps in 0..72_u64 {
        let (memory, setup, server) = Server::under(flapping()).await;
        call(&server.engine, "a", Outcome::Success).await;
        let first = state(&server.engine, "a").1;
        for step in 0..steps {
            match (step % 2, step % 50) {
                (0, _) => fail(&server.engine, "a", 1).await,
                // What waits is recorded in between.
                (_, 41) => server.advance(seconds(1)).await,
                _ => server.advance(MILLISECOND).await,
            }
            check(&memory, first).await;
        }
        // The next move is on its way when the server dies, or has just been let through.
        let failing = if steps % 2 == 0 { Some(permit(&server.engine, "a").await) } else { None };
        server.gate.shut();
        let answer = failing.map(|failing| tell(&server.engine, "a", failing, Outcome::Failure));
        if answer.is_none() {
            server.advance(MILLISECOND).await;
        }
        quiet().await;
        if steps % 3 == 0 {
            server.let_one().await;
        }
        check(&memory, first).await;
        let stored = memory.load("a").await.unwrap();
        folded += stored.as_ref().map_or(0, |record| record.folded.len());
        let server = server.crash(&memory, &setup).await;
        let Some(stored) = stored.filter(|record| record.snapshot.version > 0) else { continue };
        let (engine, generation) = (&server.engine, stored.snapshot.generation);
        assert_eq!(state(engine, "a").1, generation);
        let log = engine.events(0, false, usize::MAX);
        assert_eq!(moves(log.iter().map(|event| &**event)), generation - first, "after {steps} steps");
        let status = engine.entry("a", None).unwrap().status;
        assert_eq!(log.last().map(|event| (event.status.state, event.status.generation)), {
            (generation > first).then_some((status.state, generation))
        });
        assert_eq!(memory.load("a").await.unwrap().unwrap().folded, [], "nothing waits any more");
        check(&memory, first).await;
    }
    assert!(folded > 50, "{folded} events waited at a crash");
}

#[tokio::test(start_paused = true)]
async fn two_servers_record_what_waits_once() {
    let (memory, setup, one) = Server::under(flapping()).await;
    let other = Server::on(&memory, setup).await;
    call(&one.engine, "a", Outcome::Success).await;
    let first = state(&one.engine, "a").1;
    for _ in 0..30 {
        fail(&one.engine, "a", 1).await;
        one.advance(MILLISECOND).await;
        quiet().await;
        check(&memory, first).await;
    }
    assert!(!memory.load("a").await.unwrap().unwrap().folded.is_empty());
    // Whichever fires first, and both at once.
    one.gate.shut();
    other.gate.shut();
    one.advance(seconds(1)).await;
    other.advance(seconds(2)).await;
    other.open_gate().await;
    one.open_gate().await;
    for server in [&one, &other] {
        server.advance(seconds(2)).await;
        quiet().await;
    }
    check(&memory, first).await;
    assert_eq!(memory.load("a").await.unwrap().unwrap().folded, []);
    assert_eq!(told(&one.engine), told(&other.engine));
    let log = one.engine.events(0, false, usize::MAX);
    assert_eq!(moves(log.iter().map(|event| &**event)), state(&one.engine, "a").1 - first);
}
