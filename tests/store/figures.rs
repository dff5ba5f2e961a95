//! What the store on disk costs. Printed, not judged: `cargo test --profile plain --test store -- --ignored --nocapture figures`.

use std::{
    fs::{self, File},
    io::Write as _,
    time::{Duration, Instant},
};

use fuseboard::store::{Disk, DiskOptions, Merge, Record, Store as _, encoding};
use futures_util::future::join_all;

use crate::home::{Directory, record, step, version};

const RECORDS: usize = 100_000;

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    #[expect(clippy::disallowed_methods, reason = "measures")]
    let began = Instant::now();
    let done = act();
    println!("{what}: {:.0?}", began.elapsed());
    done
}

fn rate(what: &str, count: u32, took: Duration) -> f64 {
    let rate = f64::from(count) / took.as_secs_f64();
    println!("{what}: {rate:.0}/s");
    rate
}

#[tokio::test]
#[ignore = "prints figures"]
async fn figures_of_a_start() {
    let directory = Directory::new();
    let store = Disk::open(directory.path(), &DiskOptions::default()).unwrap().store;
    let names = || (0..20).map(|number| format!("caller-number-{number}").into()).collect();
    let one = |number| Record { callers: names(), ..record(&format!("payments/service-{number:07}"), version(1, 0)) };
    println!("a record: {} bytes", encoding::encode(&one(0)).unwrap().len());
    let records: Vec<Record> = (0..RECORDS).map(one).collect();
    let began = {
        #[expect(clippy::disallowed_methods, reason = "measures")]
        Instant::now()
    };
    store.merge(Merge { records: records.clone(), ..Merge::default() }).await.unwrap();
    println!("merge of {RECORDS} new records: {:.0?}", began.elapsed());
    store.commit(step("a", 0, 1)).await.unwrap();
    fs::copy(directory.file(), directory.path().join("crashed")).unwrap();
    println!("file: {} MiB", fs::metadata(directory.file()).unwrap().len() >> 20);
    timed("close", || store.close());
    println!("file, closed: {} MiB", fs::metadata(directory.file()).unwrap().len() >> 20);
    for _ in 0..3 {
        let store = timed("open", || Disk::open(directory.path(), &DiskOptions::default()).unwrap().store);
        store.close();
    }
    for check in [false, true] {
        let open = || redb::Builder::new().set_check_integrity_on_open(check).open(directory.file()).unwrap();
        timed(&format!("open by redb alone, check {check}"), open).close().unwrap();
    }
    fs::rename(directory.path().join("crashed"), directory.file()).unwrap();
    let store = timed("open after a crash", || Disk::open(directory.path(), &DiskOptions::default()).unwrap().store);
    let began = {
        #[expect(clippy::disallowed_methods, reason = "measures")]
        Instant::now()
    };
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let some = store.scan(&after, 1_000).await.unwrap();
        let Some(last) = some.last() else { break };
        after = last.key.to_string();
        count += some.len();
    }
    println!("scan of {count} records: {:.0?}", began.elapsed());
}

#[tokio::test]
#[ignore = "prints figures"]
#[expect(clippy::disallowed_methods, reason = "measures")]
async fn figures_of_commits() {
    const ROUNDS: u32 = 1_000;
    let directory = Directory::new();
    let store = Disk::open(directory.path(), &DiskOptions::default()).unwrap().store;
    let bytes = encoding::encode(&step("payments/service-0000001", 0, 1).events[0]).unwrap();
    println!("an event: {} bytes", bytes.len());
    // What the ratio is to: a record and an event appended by hand.
    let mut by_hand = File::create(directory.path().join("by-hand")).unwrap();
    let mut appended = |count: u32| {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            for _ in 0..count {
                by_hand.write_all(&[7; 200]).unwrap();
            }
            by_hand.sync_data().unwrap();
        }
        began.elapsed()
    };
    let one = rate("append and fdatasync by hand, one", ROUNDS, appended(1));
    let hundred = rate("append and fdatasync by hand, 100", ROUNDS * 100, appended(100));
    let began = Instant::now();
    for number in 0..ROUNDS {
        store.commit(step(&format!("payments/service-{:07}", number % 100), u64::from(number / 100), 1)).await.unwrap();
    }
    let took = began.elapsed();
    println!("ratio: {:.2}", rate("commits, one at a time", ROUNDS, took) / one);
    let began = Instant::now();
    for round in 0..ROUNDS {
        let key = |number| format!("grouped/service-{number:07}");
        let all = (0..100).map(|number| store.commit(step(&key(number), u64::from(round), 1)));
        assert!(join_all(all).await.iter().all(Result::is_ok));
    }
    let took = began.elapsed();
    println!("ratio: {:.2}", rate("commits, 100 at a time", ROUNDS * 100, took) / hundred);
    println!("file: {} KiB", fs::metadata(directory.file()).unwrap().len() >> 10);
}
