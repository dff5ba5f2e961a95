//! The contract, sentence by sentence, for every home.

use std::sync::Arc;

use fuseboard::{
    breaker::Timestamp,
    store::{Change, Changed, Commit, Floors, Health, Merge, Record, Refused, Version},
};
use futures_util::future::join_all;

use crate::{
    home::{
        Heard, Home, commit, document, floors, held, mark, merge, policy, record, removal, sequences, step, version,
    },
    samples::{self, at},
};

/// Each claim for each home.
macro_rules! claims {
    ($($claim:ident)*) => {
        claims! { memory, Home::memory(1_000), $($claim)* }
        claims! { disk, Home::disk(1_000, false), $($claim)* }
        claims! { disk_reopened, Home::disk(1_000, true), $($claim)* }
    };
    ($home:ident, $made:expr, $($claim:ident)*) => {
        mod $home {
            use super::Home;

            $(#[tokio::test]
            async fn $claim() {
                super::$claim(&mut $made).await;
            })*
        }
    };
}

claims! {
    what_was_answered_is_there
    a_record_and_its_events_come_together
    a_commit_from_an_older_version_writes_nothing
    a_commit_from_another_generation_writes_nothing
    a_record_at_number_0_is_as_good_as_none
    a_breaker_that_is_gone_can_be_made_anew
    a_policy_is_replaced_at_its_version_only
    a_document_is_replaced_at_its_version_only_and_comes_with_its_audit
    the_audit_trail_is_read_backwards_in_pages
    of_many_commits_at_a_version_one_is_written
    sequences_have_no_gap_and_no_repeat
    an_event_is_never_older_than_the_one_before
    a_record_names_its_last_event
    events_are_read_from_a_position_on
    the_epoch_stays
    followers_hear_every_commit_once_in_order_before_its_answer
    followers_hear_what_has_changed
    nobody_hears_of_a_refused_commit_or_a_merge
    a_merge_never_undoes_a_commit
    a_merge_brings_breakers_that_are_at_number_0
    a_merge_keeps_the_place_in_the_log
    a_mark_is_there_with_what_its_batch_counted
    marks_are_forgotten
    a_large_merge_is_written_as_a_whole
    commits_and_a_merge_are_written_together_in_their_order
    what_is_refused_does_not_hold_back_what_is_written_with_it
    what_comes_first_is_written_first
    floors_never_go_back
    time_is_no_earlier_than_any_instant_in_it
    records_are_scanned_in_order
    a_grant_is_a_commit
    a_new_home_is_empty_and_well
}

async fn what_was_answered_is_there(home: &mut Home) {
    for (number, full) in samples::records().into_iter().enumerate() {
        let from = version(full.snapshot.generation, 0);
        let mut full = Record { key: format!("full-{number}").into(), ..full };
        full.snapshot.version = 1;
        let events = samples::events();
        let made = Commit { events, ..commit(from, full.clone(), 0) };
        home.one().commit(made).await.unwrap();
        home.one().merge(Merge { marks: vec![samples::mark()], ..Merge::default() }).await.unwrap();
        let store = home.again();
        let loaded = store.load(&full.key).await.unwrap().unwrap();
        full.sequence = loaded.sequence;
        assert_eq!(loaded, full);
        let sequence = store.root().await.unwrap().newest - samples::events().len() as u64;
        for (place, event) in store.events(sequence, 100).await.unwrap().iter().enumerate() {
            let expected = samples::events().swap_remove(place);
            assert_eq!(
                (event.kind, event.reason, &event.evidence),
                (expected.kind, expected.reason, &expected.evidence)
            );
            assert_eq!((&event.names, event.scope), (&expected.names, expected.scope));
        }
        assert_eq!(store.root().await.unwrap().marks, [samples::mark()]);
    }
    home.one().commit(policy("a*", 0, Some(1))).await.unwrap();
    let policies = home.again().root().await.unwrap().policies;
    let Change::Policy { to: Some(expected), .. } = policy("a*", 0, Some(1)).change else { unreachable!() };
    assert_eq!(policies, [*expected]);
}

async fn a_record_and_its_events_come_together(home: &mut Home) {
    let made = Commit { floors: floors(5, 6, at(70)), ..step("a", 0, 2) };
    home.one().commit(made).await.unwrap();
    let held = held(&*home.again()).await.unwrap();
    assert_eq!(held.records, [Record { sequence: 2, ..record("a", version(1, 1)) }]);
    assert_eq!(held.events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((held.floors, held.newest), (floors(5, 6, at(70)), 2));
}

async fn a_commit_from_an_older_version_writes_nothing(home: &mut Home) {
    home.one().commit(step("a", 0, 1)).await.unwrap();
    home.one().commit(step("a", 1, 1)).await.unwrap();
    let before = held(&*home.one()).await.unwrap();
    for from in [0, 1, 3] {
        let stale = Commit { floors: floors(9, 9, at(900)), ..step("a", from, 1) };
        assert_eq!(home.two().commit(stale).await, Err(Refused::Moved));
        assert_eq!(home.two().commit(removal("a", version(1, from))).await, Err(Refused::Moved));
    }
    assert_eq!(held(&*home.again()).await.unwrap(), before);
}

async fn a_commit_from_another_generation_writes_nothing(home: &mut Home) {
    home.one().commit(step("a", 0, 1)).await.unwrap();
    let before = held(&*home.one()).await.unwrap();
    let other = commit(version(2, 1), record("a", version(2, 2)), 1);
    assert_eq!(home.two().commit(other).await, Err(Refused::Moved));
    assert_eq!(held(&*home.again()).await.unwrap(), before);
}

async fn a_record_at_number_0_is_as_good_as_none(home: &mut Home) {
    home.one().merge(merge(vec![record("a", version(5, 0))])).await.unwrap();
    let store = home.again();
    assert_eq!(store.commit(step("a", 1, 0)).await, Err(Refused::Moved));
    // Whatever its generation is.
    store.commit(commit(version(3, 0), record("a", version(4, 1)), 0)).await.unwrap();
    assert_eq!(home.again().load("a").await.unwrap().unwrap().version(), version(4, 1));
}

async fn a_breaker_that_is_gone_can_be_made_anew(home: &mut Home) {
    home.one().commit(step("a", 0, 1)).await.unwrap();
    home.one().commit(removal("a", version(1, 1))).await.unwrap();
    let store = home.again();
    assert_eq!(store.load("a").await.unwrap(), None);
    assert_eq!(sequences(&*store).await, [1, 2]);
    assert_eq!(store.commit(step("a", 1, 0)).await, Err(Refused::Moved));
    store.commit(commit(version(2, 0), record("a", version(2, 1)), 0)).await.unwrap();
    assert_eq!(home.again().load("a").await.unwrap().unwrap().version(), version(2, 1));
}

async fn a_policy_is_replaced_at_its_version_only(home: &mut Home) {
    let store = home.one();
    assert_eq!(store.commit(policy("a*", 1, Some(2))).await, Err(Refused::Moved));
    store.commit(policy("a*", 0, Some(2))).await.unwrap();
    for from in [0, 1, 3] {
        assert_eq!(store.commit(policy("a*", from, Some(4))).await, Err(Refused::Moved));
        assert_eq!(store.commit(policy("a*", from, None)).await, Err(Refused::Moved));
    }
    store.commit(policy("a*", 2, Some(3))).await.unwrap();
    store.commit(policy("b", 0, Some(4))).await.unwrap();
    let store = home.again();
    let versions = |policies: &[fuseboard::engine::PolicyEntry]| policies.iter().map(|entry| entry.version).collect();
    let found: Vec<u64> = versions(&store.root().await.unwrap().policies);
    assert_eq!(found, [3, 4]);
    store.commit(policy("a*", 3, None)).await.unwrap();
    let found: Vec<u64> = versions(&home.again().root().await.unwrap().policies);
    assert_eq!(found, [4]);
}

async fn a_document_is_replaced_at_its_version_only_and_comes_with_its_audit(home: &mut Home) {
    let store = home.one();
    assert_eq!(store.commit(document("token/a", 1, Some("{}"))).await, Err(Refused::Moved));
    store.commit(document("token/a", 0, Some("{\"a\":1}"))).await.unwrap();
    for from in [0, 2] {
        assert_eq!(store.commit(document("token/a", from, Some("{}"))).await, Err(Refused::Moved));
        assert_eq!(store.commit(document("token/a", from, None)).await, Err(Refused::Moved));
    }
    store.commit(document("token/a", 1, Some("{\"a\":2}"))).await.unwrap();
    store.commit(document("token/b", 0, Some("{}"))).await.unwrap();
    store.commit(document("token/b", 1, None)).await.unwrap();
    let held = held(&*home.again()).await.unwrap();
    let documents: Vec<_> = held.documents.iter().map(|it| (&*it.key, it.version, &*it.body)).collect();
    assert_eq!(documents, [("token/a", 2, "{\"a\":2}")]);
    let trail: Vec<_> = held.audit.iter().map(|entry| (entry.sequence, &*entry.target)).collect();
    assert_eq!(trail, [(4, "token/b"), (3, "token/b"), (2, "token/a"), (1, "token/a")], "nothing that was refused");
}

async fn the_audit_trail_is_read_backwards_in_pages(home: &mut Home) {
    let store = home.one();
    let entries = (0..5).map(|number| samples::audit(&format!("key-{number}"))).collect();
    store.commit(Commit { audit: entries, ..step("a", 0, 0) }).await.unwrap();
    let page = async |before| {
        let page = store.audit(before, 2).await.unwrap();
        page.iter().map(|entry| entry.sequence).collect::<Vec<_>>()
    };
    assert_eq!(page(u64::MAX).await, [5, 4]);
    assert_eq!(page(4).await, [3, 2]);
    assert_eq!(page(2).await, [1]);
    assert_eq!(page(1).await, [0; 0]);
}

async fn of_many_commits_at_a_version_one_is_written(home: &mut Home) {
    let stores = [home.one(), home.two()];
    let all = (0..32_usize).map(|server| stores[server % 2].commit(step("a", 0, 1)));
    let answers = join_all(all.map(tokio::spawn)).await;
    let done = answers.into_iter().filter(|answer| *answer.as_ref().unwrap() == Ok(())).count();
    assert_eq!(done, 1);
    drop(stores);
    assert_eq!(sequences(&*home.again()).await, [1]);
}

async fn sequences_have_no_gap_and_no_repeat(home: &mut Home) {
    let stores = [home.one(), home.two()];
    for round in 0..4 {
        let key = |number: usize| format!("key-{number}");
        let all = (0..24_usize).map(|number| stores[number % 2].commit(step(&key(number), round, number % 4)));
        for answer in join_all(all.map(tokio::spawn)).await {
            answer.unwrap().unwrap();
        }
    }
    drop(stores);
    let store = home.again();
    assert_eq!(sequences(&*store).await, (1..=4 * 36).collect::<Vec<_>>());
    store.commit(step("after", 0, 1)).await.unwrap();
    assert_eq!(store.root().await.unwrap().newest, 4 * 36 + 1);
}

async fn an_event_is_never_older_than_the_one_before(home: &mut Home) {
    for (number, seconds) in [50, 40, 60, 10].into_iter().enumerate() {
        let made = step("a", number as u64, 0);
        let made = Commit { events: vec![samples::event("a", seconds), samples::event("a", seconds - 5)], ..made };
        home.again().commit(made).await.unwrap();
    }
    let events = home.again().events(0, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.at).collect::<Vec<_>>(), [50, 50, 50, 50, 60, 60, 60, 60].map(at));
}

async fn a_record_names_its_last_event(home: &mut Home) {
    let store = home.one();
    store.commit(step("b", 0, 3)).await.unwrap();
    store.commit(step("a", 0, 2)).await.unwrap();
    let mut without = step("a", 1, 0);
    if let Change::Breaker { to: Some(record), .. } = &mut without.change {
        record.sequence = 5;
    }
    store.commit(without).await.unwrap();
    drop(store);
    let store = home.again();
    assert_eq!(store.load("a").await.unwrap().unwrap().sequence, 5);
    assert_eq!(store.load("b").await.unwrap().unwrap().sequence, 3);
}

async fn events_are_read_from_a_position_on(home: &mut Home) {
    home.one().commit(step("a", 0, 10)).await.unwrap();
    let store = home.again();
    for (after, max, expected) in
        [(0, 3, 1..4), (4, 100, 5..11), (9, 1, 10..11), (10, 5, 11..11), (99, 5, 11..11), (3, 0, 11..11)]
    {
        let events = store.events(after, max).await.unwrap();
        let found: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(found, expected.collect::<Vec<_>>(), "after {after}, at most {max}");
    }
}

async fn the_epoch_stays(home: &mut Home) {
    let epoch = home.one().epoch();
    assert_ne!(epoch, 0);
    assert_eq!(home.two().epoch(), epoch);
    home.one().commit(step("a", 0, 1)).await.unwrap();
    assert_eq!(home.again().epoch(), epoch);
}

async fn followers_hear_every_commit_once_in_order_before_its_answer(home: &mut Home) {
    let stores = [home.one(), home.two()];
    let heard = [Heard::follow(&*stores[0]), Heard::follow(&*stores[1])];
    let all = (0..60_u64).map(|number| {
        let (store, heard) = (Arc::clone(&stores[number as usize % 2]), heard.clone());
        tokio::spawn(async move {
            let key: Arc<str> = format!("key-{number}").into();
            store.commit(Commit { author: number % 2, ..step(&key, 0, 2) }).await.unwrap();
            for heard in heard {
                let count = heard.0.lock().iter().filter(|committed| committed.events[0].key == key).count();
                assert_eq!(count, 1);
            }
        })
    });
    for done in join_all(all).await {
        done.unwrap();
    }
    for heard in heard {
        assert_eq!(heard.sequences(), (1..=120).collect::<Vec<_>>());
        let of_other = heard.0.lock().iter().filter(|committed| committed.author == 1).count();
        assert_eq!(of_other, 30);
    }
}

async fn followers_hear_what_has_changed(home: &mut Home) {
    let store = home.one();
    let heard = Heard::follow(&*home.two());
    store.commit(Commit { author: 7, ..step("a", 0, 1) }).await.unwrap();
    store.commit(step("a", 1, 0)).await.unwrap();
    store.commit(removal("a", version(1, 2))).await.unwrap();
    let set = policy("a*", 0, Some(1));
    store.commit(set.clone()).await.unwrap();
    let heard = heard.0.lock();
    let breaker = |version: Option<Version>| Changed::Breaker { key: "a".into(), version };
    let changed: Vec<_> = heard.iter().map(|committed| (committed.author, committed.changed.clone())).collect();
    let expected = [
        (7, breaker(Some(version(1, 1)))),
        (1, breaker(Some(version(1, 2)))),
        (1, breaker(None)),
        (1, Changed::from(&set.change)),
    ];
    assert_eq!(changed, expected);
    let events: Vec<Vec<u64>> =
        heard.iter().map(|committed| committed.events.iter().map(|event| event.sequence).collect()).collect();
    assert_eq!(events, [vec![1], vec![], vec![2], vec![]]);
}

async fn nobody_hears_of_a_refused_commit_or_a_merge(home: &mut Home) {
    let store = home.one();
    let heard = Heard::follow(&*store);
    store.commit(step("a", 3, 1)).await.unwrap_err();
    store.merge(merge(vec![record("a", version(1, 0))])).await.unwrap();
    assert!(heard.0.lock().is_empty());
    assert_eq!(store.root().await.unwrap().newest, 0);
}

async fn a_merge_never_undoes_a_commit(home: &mut Home) {
    home.one().commit(step("a", 0, 1)).await.unwrap();
    home.one().commit(step("a", 1, 1)).await.unwrap();
    home.one().commit(step("gone", 0, 1)).await.unwrap();
    home.one().commit(removal("gone", version(1, 1))).await.unwrap();
    home.one().merge(merge(vec![record("zero", version(5, 0))])).await.unwrap();
    let before = held(&*home.one()).await.unwrap();
    let used = |version: Version, key| Record { used: at(99), ..record(key, version) };
    let stale = [version(1, 0), version(1, 1), version(1, 3), version(2, 2)].map(|version| used(version, "a"));
    let gone = [version(1, 1), version(1, 2)].map(|version| used(version, "gone"));
    // At number 0 as well it is another breaker that had its key before.
    let zero = [used(version(4, 0), "zero")];
    let records = stale.into_iter().chain(gone).chain(zero).collect();
    home.two().merge(merge(records)).await.unwrap();
    assert_eq!(held(&*home.again()).await.unwrap().records, before.records);
}

async fn a_merge_brings_breakers_that_are_at_number_0(home: &mut Home) {
    let first = record("a", version(5, 0));
    home.one().merge(merge(vec![first.clone()])).await.unwrap();
    assert_eq!(home.again().load("a").await.unwrap(), Some(first.clone()));
    let later = Record { used: at(50), ..first };
    home.one().merge(merge(vec![later.clone()])).await.unwrap();
    assert_eq!(home.again().load("a").await.unwrap(), Some(later));
}

async fn a_merge_keeps_the_place_in_the_log(home: &mut Home) {
    home.one().commit(step("a", 0, 3)).await.unwrap();
    let behind = Record { sequence: 0, used: at(50), ..record("a", version(1, 1)) };
    home.one().merge(merge(vec![behind.clone()])).await.unwrap();
    assert_eq!(home.again().load("a").await.unwrap(), Some(Record { sequence: 3, ..behind }));
}

async fn a_mark_is_there_with_what_its_batch_counted(home: &mut Home) {
    let batch = Merge { marks: vec![mark("c", 1), mark("d", 2)], ..merge(vec![record("a", version(1, 0))]) };
    home.one().merge(batch).await.unwrap();
    let later = Merge { marks: vec![mark("c", 3)], ..Merge::default() };
    home.one().merge(later).await.unwrap();
    let held = held(&*home.again()).await.unwrap();
    assert_eq!(held.marks, [mark("c", 3), mark("d", 2)]);
    assert_eq!(held.records.len(), 1);
}

async fn marks_are_forgotten(home: &mut Home) {
    home.one().merge(Merge { marks: vec![mark("c", 1), mark("d", 2)], ..Merge::default() }).await.unwrap();
    // One that is forgotten and comes again in the same merge is there.
    let forgotten = vec!["c".into(), "d".into(), "none".into()];
    home.one().merge(Merge { forgotten, marks: vec![mark("d", 3)], ..Merge::default() }).await.unwrap();
    assert_eq!(home.again().root().await.unwrap().marks, [mark("d", 3)]);
}

async fn a_large_merge_is_written_as_a_whole(home: &mut Home) {
    let key = |number: u32| format!("key-{number:05}");
    let records = (0..3_500).map(|number| record(&key(number), version(1, 0))).collect();
    let large = home.one().merge(Merge { marks: vec![mark("c", 1)], ..merge(records) });
    let others = (0..20).map(|number| home.two().commit(step(&format!("other-{number:02}"), 0, 1)));
    let (large, others) = tokio::join!(large, join_all(others));
    large.unwrap();
    assert!(others.iter().all(Result::is_ok));
    let held = held(&*home.again()).await.unwrap();
    let keys: Vec<&str> = held.records.iter().map(|record| &*record.key).collect();
    let expected = (0..3_500).map(key).chain((0..20).map(|number| format!("other-{number:02}")));
    assert!(expected.eq(keys.iter().map(|key| (*key).to_owned())));
    assert_eq!(held.marks, [mark("c", 1)]);
}

async fn commits_and_a_merge_are_written_together_in_their_order(home: &mut Home) {
    let heard = Heard::follow(&*home.two());
    let counted = Merge { marks: vec![mark("c", 4)], ..merge(vec![record("b", version(1, 0))]) };
    let together = home.one().write_together(vec![step("a", 0, 1), step("a", 1, 1), step("d", 0, 0)], counted);
    for answer in together.commits {
        answer.await.unwrap();
    }
    together.merge.await.unwrap();
    assert_eq!(heard.sequences(), [1, 2]);
    let held = held(&*home.again()).await.unwrap();
    assert_eq!(held.records.iter().map(|record| &*record.key).collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!((held.marks, held.newest), (vec![mark("c", 4)], 2));
}

async fn what_is_refused_does_not_hold_back_what_is_written_with_it(home: &mut Home) {
    let counted = Merge { marks: vec![mark("c", 4)], ..merge(vec![record("b", version(1, 0))]) };
    let together = home.one().write_together(vec![step("a", 3, 1), step("d", 0, 1)], counted);
    assert_eq!(join_all(together.commits).await, [Err(Refused::Moved), Ok(())]);
    together.merge.await.unwrap();
    let held = held(&*home.again()).await.unwrap();
    assert_eq!(held.records.iter().map(|record| &*record.key).collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(held.marks, [mark("c", 4)]);
}

/// Also where nobody has awaited an answer yet.
async fn what_comes_first_is_written_first(home: &mut Home) {
    let used = |number: u64| Record { used: at(number), ..record("a", version(1, 0)) };
    let store = home.one();
    let first = store.merge(Merge { marks: vec![mark("c", 1)], ..merge(vec![used(10)]) });
    let second = store.commit(step("b", 0, 1));
    let third =
        store.write_together(vec![step("b", 1, 1)], Merge { marks: vec![mark("c", 2)], ..merge(vec![used(20)]) });
    let fourth = store.merge(Merge { marks: vec![mark("c", 3)], ..merge(vec![used(30)]) });
    fourth.await.unwrap();
    third.merge.await.unwrap();
    assert_eq!(join_all(third.commits).await, [Ok(())]);
    second.await.unwrap();
    first.await.unwrap();
    let held = held(&*home.again()).await.unwrap();
    assert_eq!((held.records[0].used, held.marks), (at(30), vec![mark("c", 3)]));
}

async fn floors_never_go_back(home: &mut Home) {
    let with = |number, floors| Commit { floors, ..step("a", number, 0) };
    home.one().commit(with(0, floors(5, 1, at(70)))).await.unwrap();
    home.two().commit(with(1, floors(4, 2, at(60)))).await.unwrap();
    home.one().merge(Merge { floors: floors(6, 1, at(1)), ..Merge::default() }).await.unwrap();
    assert_eq!(home.again().root().await.unwrap().floors, floors(6, 2, at(70)));
}

async fn time_is_no_earlier_than_any_instant_in_it(home: &mut Home) {
    assert_eq!(home.again().now(), Timestamp::default());
    let made = Commit { floors: Floors { now: at(5), ..Floors::default() }, ..step("a", 0, 0) };
    home.one().commit(Commit { events: vec![samples::event("a", 20)], ..made }).await.unwrap();
    assert!(home.one().now() >= at(20));
    let again = home.again().now();
    assert!(again >= at(20));
    home.one().merge(merge(vec![Record { used: at(90), ..record("b", version(1, 0)) }])).await.unwrap();
    assert!(home.one().now() >= at(90));
    assert!(home.again().now() >= at(90));
    home.one().merge(Merge { floors: floors(0, 0, at(120)), ..Merge::default() }).await.unwrap();
    assert!(home.again().now() >= at(120));
}

async fn records_are_scanned_in_order(home: &mut Home) {
    for key in ["b", "a", "ab", "c", "ä", "B"] {
        home.one().commit(step(key, 0, 0)).await.unwrap();
    }
    let store = home.again();
    let keys = async |after: &str, max| {
        let records = store.scan(after, max).await.unwrap();
        records.iter().map(|record| record.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(keys("", 100).await, ["B", "a", "ab", "b", "c", "ä"]);
    assert_eq!(keys("", 2).await, ["B", "a"]);
    assert_eq!(keys("a", 2).await, ["ab", "b"]);
    assert_eq!(keys("aa", 1).await, ["ab"]);
    assert!(keys("ä", 9).await.is_empty());
}

async fn a_grant_is_a_commit(home: &mut Home) {
    let heard = Heard::follow(&*home.two());
    home.one().grant(step("a", 0, 1)).await.unwrap();
    assert_eq!(home.one().grant(step("a", 0, 1)).await, Err(Refused::Moved));
    assert_eq!(heard.sequences(), [1]);
    assert_eq!(home.again().load("a").await.unwrap().unwrap().version(), version(1, 1));
}

async fn a_new_home_is_empty_and_well(home: &mut Home) {
    let store = home.again();
    assert_eq!(held(&*store).await.unwrap(), crate::home::Held::default());
    assert_eq!(store.load("a").await.unwrap(), None);
    assert_eq!(*store.health().borrow(), Health::Well);
    assert_eq!(store.is_lasting(), store.name() == "disk");
}

#[tokio::test]
async fn retention_takes_the_oldest_away_and_nothing_else() {
    for mut home in [Home::memory(5), Home::disk(5, false), Home::disk(5, true)] {
        let mut newest = 0;
        for number in 0..12 {
            home.again().commit(step("a", number, 1 + number as usize % 3)).await.unwrap();
            newest += 1 + number % 3;
            let expected: Vec<u64> = (newest.saturating_sub(4).max(1)..=newest).collect();
            assert_eq!(sequences(&*home.again()).await, expected);
            assert_eq!(home.one().root().await.unwrap().newest, newest);
        }
    }
}
