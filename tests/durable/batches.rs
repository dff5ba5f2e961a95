//! A batch counts exactly once in the end, wherever between two writes the server dies: its mark is stored in the same write as
//! everything that it counted.

use fuseboard::{
    breaker::{Outcome, Tally},
    engine::{BatchAnswer, BatchClient, CallerTally},
};

use super::{dice::Dice, *};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const CLIENTS: [&str; 3] = ["one", "two", "three"];

/// A batch, the same whenever it is sent: successes of some breakers' first generation.
#[derive(Clone, Debug)]
struct Batch {
    client: &'static str,
    sequence: u64,
    calls: Vec<(&'static str, u32)>,
}

impl Batch {
    fn of(client: &'static str, sequence: u64, calls: &[(&'static str, u32)]) -> Self {
        Self { client, sequence, calls: calls.to_vec() }
    }

    async fn send(&self, engine: &Engine) -> Result<BatchAnswer, Error> {
        let tally = |(key, successes): &(&'static str, u32)| CallerTally {
            key,
            caller: NOBODY,
            tally: Tally { generation: 1, successes: *successes, ..Tally::default() },
        };
        engine.report_batch(self.client, self.sequence, &self.calls.iter().map(tally).collect::<Vec<_>>()).await
    }
}

async fn counted(engine: &Engine, key: &str) -> u64 {
    engine.view(key).await.map_or(0, |view| view.totals.successes)
}

/// The next declaration of a breaker: a commit of the generation that it is in.
fn declare_late(server: &Server, key: &'static str, revision: u64) -> JoinHandle<()> {
    let engine = server.engine.clone();
    let declared = Declaration { spec: probing(1 + (revision % 5) as u32), revision };
    tokio::spawn(async move { drop(engine.declare(key, &declared, NOBODY).await) })
}

/// A server with breakers that are stored in their first generation.
async fn settled() -> (Memory, Setup, Server) {
    let (memory, setup, server) = Server::under(PolicySpec::default()).await;
    for key in KEYS {
        server.engine.declare(key, &declared(probing(1)), NOBODY).await.unwrap();
    }
    (memory, setup, server)
}

/// Sends batches again, and everything has counted once.
async fn check_again(server: &Server, sent: &[Batch]) {
    for batch in sent {
        let before = counted_by_key(server).await;
        let answer = batch.send(&server.engine).await.unwrap();
        let after = counted_by_key(server).await;
        if answer.duplicate {
            assert_eq!(before, after);
        } else {
            assert_eq!(answer.counted as usize, batch.calls.len(), "{batch:?}");
        }
    }
    for key in KEYS {
        let calls = sent.iter().flat_map(|batch| &batch.calls).filter(|(of, _)| *of == key);
        let expected: u64 = calls.map(|(_, calls)| u64::from(*calls)).sum();
        assert_eq!(counted(&server.engine, key).await, expected, "{key}, of {sent:?}");
    }
}

async fn counted_by_key(server: &Server) -> Vec<u64> {
    let mut counts = Vec::new();
    for key in KEYS {
        counts.push(counted(&server.engine, key).await);
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_counts_were_lost_counts_when_it_is_sent_again() {
    let (memory, setup, server) = settled().await;
    let batch = Batch::of("one", 1, &[("a", 7)]);
    assert_eq!(batch.send(&server.engine).await.unwrap().counted, 1);
    // Somebody else's commit, of another breaker, before statistics are written.
    server.engine.declare("other", &declared(probing(2)), NOBODY).await.unwrap();
    let server = server.crash(&memory, &setup).await;
    assert_eq!(counted(&server.engine, "a").await, 0, "within the second that may be lost");
    assert_eq!(batch.send(&server.engine).await.unwrap().counted, 1, "and so it is no duplicate");
    assert_eq!(counted(&server.engine, "a").await, 7);
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_what_a_batch_has_counted_brings_its_mark_and_all_else_that_it_counted() {
    let (memory, setup, server) = settled().await;
    let batch = Batch::of("one", 1, &[("a", 7), ("b", 5)]);
    batch.send(&server.engine).await.unwrap();
    declare_late(&server, "a", 3).await.unwrap();
    let server = server.crash(&memory, &setup).await;
    assert_eq!((counted(&server.engine, "a").await, counted(&server.engine, "b").await), (7, 5));
    assert!(batch.send(&server.engine).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_trips_a_breaker_counts_elsewhere_once() {
    let (memory, setup, server) = settled().await;
    let send = async |engine: &Engine| {
        let tally = Tally { generation: 1, failures: 5, trailing_failures: 5, ..Tally::default() };
        let trip = CallerTally { key: "a", caller: NOBODY, tally };
        let good = CallerTally { key: "b", tally: Tally { generation: 1, successes: 3, ..Tally::default() }, ..trip };
        engine.report_batch("one", 1, &[trip, good]).await.unwrap()
    };
    assert_eq!(send(&server.engine).await.counted, 2);
    assert_eq!(state(&server.engine, "a").0, StateName::Open);
    let server = server.crash(&memory, &setup).await;
    assert_eq!(state(&server.engine, "a").0, StateName::Open, "it was told");
    let again = send(&server.engine).await;
    assert_eq!((again.counted, again.stale), (1, 1));
    assert_eq!(server.engine.view("a").await.unwrap().totals.failures, 5);
    assert_eq!(counted(&server.engine, "b").await, 3);
}

#[tokio::test(start_paused = true)]
async fn two_breakers_of_a_batch_that_move_again_while_they_are_written_come_together() {
    for let_through in 0..6 {
        let (memory, setup, server) = settled().await;
        server.gate.shut();
        // Both have a commit on its way, then the batch counts, then both move again.
        let first = [declare_late(&server, "a", 3), declare_late(&server, "b", 3)];
        quiet().await;
        let sent = Batch::of("one", 1, &[("a", 1), ("b", 2), ("c", 4)]);
        sent.send(&server.engine).await.unwrap();
        let second = [declare_late(&server, "a", 4), declare_late(&server, "b", 4)];
        quiet().await;
        for _ in 0..let_through {
            server.gate.let_one();
            quiet().await;
        }
        let server = server.crash(&memory, &setup).await;
        check_again(&server, &[sent]).await;
        first.into_iter().chain(second).for_each(|task| task.abort());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_keeps_what_waits_for_a_move() {
    let (memory, setup, server) = settled().await;
    server.gate.shut();
    let first = declare_late(&server, "a", 3);
    quiet().await;
    let sent = Batch::of("one", 1, &[("a", 1), ("b", 2)]);
    sent.send(&server.engine).await.unwrap();
    let second = declare_late(&server, "a", 4);
    quiet().await;
    let engine = server.engine.clone();
    let closing = tokio::spawn(async move { engine.close(seconds(10)).await });
    quiet().await;
    server.open_gate().await;
    pass(seconds(1)).await;
    closing.await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    let server = server.crash(&memory, &setup).await;
    assert_eq!((counted(&server.engine, "a").await, counted(&server.engine, "b").await), (1, 2));
    assert!(sent.send(&server.engine).await.unwrap().duplicate);
}

async fn play(seed: u64) -> usize {
    let (memory, setup, mut server) = settled().await;
    let mut dice = Dice(seed);
    let (mut sent, mut sequences, mut revision, mut crashes) = (Vec::new(), [0; CLIENTS.len()], 10, 0);
    for _ in 0..120 {
        match dice.below(16) {
            0..=5 => {
                let client = dice.below(CLIENTS.len());
                sequences[client] += 1;
                let calls = KEYS.map(|key| (key, dice.below(4) as u32)).into_iter().filter(|(_, calls)| *calls > 0);
                let batch = Batch { client: CLIENTS[client], sequence: sequences[client], calls: calls.collect() };
                sent.push(batch.clone());
                let engine = server.engine.clone();
                let sending = tokio::spawn(async move { batch.send(&engine).await });
                if dice.below(4) > 0 {
                    quiet().await;
                }
                drop(sending);
            }
            6..=9 => {
                revision += 1;
                drop(declare_late(&server, KEYS[dice.below(KEYS.len())], revision));
            }
            10 => drop(declare_late(&server, "other", revision)),
            11 => server.gate.shut(),
            12 | 13 => drop(server.gate.let_one()),
            14 => server.open_gate().await,
            _ if dice.below(2) == 0 => pass(Duration::from_millis(600)).await,
            _ => {
                quiet().await;
                server = server.crash(&memory, &setup).await;
                crashes += 1;
                check_again(&server, &sent).await;
            }
        }
        if dice.below(3) > 0 {
            quiet().await;
        }
    }
    server.open_gate().await;
    pass(seconds(2)).await;
    // Once more, with everything written.
    server = server.crash(&memory, &setup).await;
    for batch in &sent {
        assert!(batch.send(&server.engine).await.unwrap().duplicate, "{batch:?}");
    }
    check_again(&server, &sent).await;
    crashes
}

#[tokio::test(start_paused = true)]
async fn wherever_it_dies_every_batch_counts_exactly_once_when_all_are_sent_again() {
    let mut crashes = 0;
    for seed in 0..60 {
        println!("seed {seed}");
        crashes += play(seed).await;
    }
    assert!(crashes > 60, "{crashes} crashes");
}

#[tokio::test(start_paused = true)]
async fn statistics_and_batches_of_one_breaker_are_not_put_back_by_each_other() {
    let (memory, setup, server) = settled().await;
    for sequence in 1..=20 {
        call(&server.engine, "a", Outcome::Success).await;
        Batch::of("one", sequence, &[("a", 1)]).send(&server.engine).await.unwrap();
        call(&server.engine, "a", Outcome::Success).await;
        pass(Duration::from_millis(350)).await;
    }
    pass(seconds(1)).await;
    let server = server.crash(&memory, &setup).await;
    assert_eq!(counted(&server.engine, "a").await, 60);
}

#[tokio::test(start_paused = true)]
async fn an_identity_cannot_make_the_batches_of_another_duplicates() {
    let (memory, setup, server) = settled().await;
    let tally = Tally { generation: 1, successes: 1, ..Tally::default() };
    let tallies = [CallerTally { key: "a", caller: NOBODY, tally }];
    let send = async |engine: &Engine, identity: Option<&'static str>, sequence: u64| {
        engine.report_batch(BatchClient { identity, id: "sdk" }, sequence, &tallies).await.unwrap()
    };
    for identity in [Some("mail"), None] {
        assert!(!send(&server.engine, identity, u64::MAX).await.duplicate);
    }
    assert!(!send(&server.engine, Some("shop"), 1).await.duplicate);
    pass(seconds(1)).await;
    let server = server.crash(&memory, &setup).await;
    let engine = &server.engine;
    assert!(send(engine, Some("shop"), 1).await.duplicate && send(engine, Some("mail"), 9).await.duplicate);
    assert!(!send(engine, Some("shop"), 2).await.duplicate);
    assert!(send(engine, None, 7).await.duplicate, "as before where nobody is identified");
}

#[tokio::test(start_paused = true)]
async fn a_mark_of_before_there_were_identities_holds_for_the_batch_that_was_under_way_and_for_no_other() {
    let (memory, setup, server) = settled().await;
    // As a version before this one kept it, whoever sent it.
    Batch::of("one", 41, &[("a", 7)]).send(&server.engine).await.unwrap();
    pass(seconds(1)).await;
    let tally = Tally { generation: 1, successes: 1, ..Tally::default() };
    let tallies = [CallerTally { key: "a", caller: NOBODY, tally }];
    let server = server.crash(&memory, &setup).await;
    for (identity, sequence, is_duplicate) in [("shop", 41, true), ("mail", 42, false), ("bank", 40, false)] {
        let client = BatchClient { identity: Some(identity), id: "one" };
        let answer = server.engine.report_batch(client, sequence, &tallies).await.unwrap();
        assert_eq!(answer.duplicate, is_duplicate, "batch {sequence}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_a_crash_interrupts_between_two_parts_is_continued_and_counts_once() {
    for parts in 1..4 {
        let (memory, setup, server) = settled().await;
        let batch = Batch::of("one", 1, &[("a", 1); 70]);
        let parts_counted = std::cell::Cell::new(0);
        let tally = Tally { generation: 1, successes: 1, ..Tally::default() };
        let tallies = [CallerTally { key: "a", caller: NOBODY, tally }; 70];
        let goes_on = || {
            parts_counted.set(parts_counted.get() + 1);
            if parts_counted.get() == parts { Err(Error::Draining) } else { Ok(()) }
        };
        server.engine.count_batch("one", 1, &tallies, goes_on).await.unwrap_err();
        // The mark and what was counted so far are one write.
        pass(seconds(1)).await;
        let server = server.crash(&memory, &setup).await;
        let before = counted(&server.engine, "a").await;
        assert_eq!(before, 16 * parts);
        assert!(!batch.send(&server.engine).await.unwrap().duplicate);
        assert_eq!(counted(&server.engine, "a").await, 70);
        assert!(batch.send(&server.engine).await.unwrap().duplicate);
        pass(seconds(1)).await;
        let server = server.crash(&memory, &setup).await;
        assert!(batch.send(&server.engine).await.unwrap().duplicate);
        assert_eq!(counted(&server.engine, "a").await, 70);
    }
}
