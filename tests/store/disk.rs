//! What only a store on disk has: a directory, a lock, an end, and files that cannot be read.

use std::{fs, time::Duration};

use fuseboard::{
    breaker::Timestamp,
    store::{
        Commit, Disk, DiskOptions, Floors, Health, Merge, OnDamage, OpenError, Opened, Record, Refused, Store as _,
        encoding,
        inspect::{self, InspectError},
    },
};

use futures_util::FutureExt as _;

use crate::{
    home::{Directory, Heard, document, floors, held, mark, policy, record, removal, sequences, step, version},
    samples::{self, at},
};

fn open(directory: &Directory) -> Disk {
    let Opened { store, damage } = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
    assert_eq!(damage, None);
    store
}

/// A directory with some of everything in it.
async fn filled() -> Directory {
    let directory = Directory::new();
    let store = open(&directory);
    for number in 0..40 {
        let key = format!("key-{number:02}");
        store.commit(Commit { floors: floors(7, 8, at(100 + number)), ..step(&key, 0, 2) }).await.unwrap();
    }
    store.commit(policy("a*", 0, Some(3))).await.unwrap();
    store.merge(Merge { marks: vec![mark("c", 1)], ..Merge::default() }).await.unwrap();
    store.commit(removal("key-39", version(1, 1))).await.unwrap();
    directory
}

// The directory.

#[tokio::test]
async fn a_directory_is_made_for_its_owner_alone() {
    let directory = Directory::new();
    let below = directory.path().join("a/b");
    drop(Disk::open(&below, &DiskOptions::default()).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(below.clone()), mode(below.join("fuseboard.redb"))), (0o700, 0o600));
    }
}

#[tokio::test]
async fn a_second_server_is_kept_out_and_told_who_is_in() {
    let directory = Directory::new();
    let first = open(&directory);
    let second = Disk::open(directory.path(), &DiskOptions::default()).unwrap_err();
    let expected = format!("another server uses {} (pid {})", directory.path().display(), std::process::id());
    assert!(second.to_string().starts_with(&expected), "{second}");
    first.close();
    open(&directory);
}

#[tokio::test]
async fn a_file_that_was_being_made_when_its_server_was_killed_is_in_nobodys_way() {
    let directory = filled().await;
    fs::write(directory.path().join("fuseboard.redb.new"), "half").unwrap();
    let store = open(&directory);
    assert_eq!(store.scan("", 100).await.unwrap().len(), 39);
    assert_eq!(directory.names(), ["fuseboard.lock", "fuseboard.redb"]);
}

#[tokio::test]
async fn what_the_system_refuses_is_an_error_and_no_damage() {
    let directory = Directory::new();
    fs::create_dir_all(directory.file()).unwrap();
    let error = Disk::open(directory.path(), &DiskOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("fuseboard.redb cannot be used: "), "{error}");
}

// The end.

#[tokio::test]
async fn closing_writes_what_waits_and_refuses_what_comes_later() {
    let directory = Directory::new();
    let store = open(&directory);
    let heard = Heard::follow(&store);
    let waiting: Vec<_> =
        (0..50).map(|number| tokio::spawn(store.commit(step(&format!("key-{number}"), 0, 1)))).collect();
    tokio::task::yield_now().await;
    store.close();
    let mut done = 0;
    for answer in waiting {
        match answer.await.unwrap() {
            Ok(()) => done += 1,
            Err(refused) => assert_eq!(refused, Refused::Closed),
        }
    }
    assert!(done > 0);
    assert_eq!(heard.sequences().len(), done);
    assert_eq!(store.commit(step("late", 0, 1)).await, Err(Refused::Closed));
    assert_eq!(store.load("late").await, Err(Refused::Closed));
    store.close();
    assert_eq!(sequences(&open(&directory)).await, (1..=done as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_commit_goes_on_when_nobody_waits_for_it() {
    let directory = Directory::new();
    let store = open(&directory);
    _ = store.commit(step("a", 0, 1)).now_or_never();
    store.close();
    assert_eq!(sequences(&open(&directory)).await, [1]);
}

// Retention, and time.

#[tokio::test]
async fn events_go_when_they_are_too_old() {
    let directory = Directory::new();
    let options = DiskOptions { events_age: Duration::from_secs(100), ..DiskOptions::default() };
    let store = Disk::open(directory.path(), &options).unwrap().store;
    for (number, seconds) in [10, 50, 60, 105].into_iter().enumerate() {
        let commit = Commit { events: vec![samples::event("a", seconds)], ..step("a", number as u64, 0) };
        store.commit(commit).await.unwrap();
    }
    assert_eq!(sequences(&store).await, [1, 2, 3, 4]);
    store.commit(Commit { floors: Floors { now: at(155), ..Floors::default() }, ..step("b", 0, 0) }).await.unwrap();
    assert_eq!(sequences(&store).await, [3, 4]);
    // The newest says where the log is.
    store.commit(Commit { floors: Floors { now: at(999), ..Floors::default() }, ..step("c", 0, 0) }).await.unwrap();
    assert_eq!(sequences(&store).await, [4]);
}

#[tokio::test]
async fn a_smaller_bound_takes_many_events_away_in_small_steps() {
    let directory = Directory::new();
    let store = open(&directory);
    store.commit(step("a", 0, 200)).await.unwrap();
    store.close();
    let options = DiskOptions { events_max: 10, ..DiskOptions::default() };
    let store = Disk::open(directory.path(), &options).unwrap().store;
    let mut held = 200;
    for number in 1..13 {
        store.commit(step("a", number, 1)).await.unwrap();
        let now = sequences(&store).await.len();
        assert!(now >= 10 && now < held.max(11) && held - now < 20, "from {held} to {now}");
        held = now;
    }
    assert_eq!(sequences(&store).await, (203..=212).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_start_is_no_earlier_than_anything_stored() {
    let directory = Directory::new();
    let store = open(&directory);
    assert_eq!(store.now(), Timestamp::default());
    store.commit(Commit { floors: Floors { now: at(50), ..Floors::default() }, ..step("a", 0, 0) }).await.unwrap();
    store.close();
    assert_eq!(open(&directory).now(), at(50));
}

// Files that cannot be read.

/// Flips bits all over the file, but for its header.
fn spoil(directory: &Directory) {
    let mut bytes = fs::read(directory.file()).unwrap();
    bytes.iter_mut().skip(4_096).step_by(97).for_each(|byte| *byte ^= 0x55);
    fs::write(directory.file(), bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_never_deleted() {
    let directory = filled().await;
    let epoch = open(&directory).epoch();
    let mut damaged = Vec::new();
    for count in 1..4 {
        spoil(&directory);
        damaged.push(fs::read(directory.file()).unwrap());
        let Opened { store, damage } = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
        let damage = damage.unwrap();
        assert_ne!(store.epoch(), epoch);
        assert!(damage.to_string().contains(&damage.path.display().to_string()), "{damage}");
        assert_eq!(fs::read(&damage.path).unwrap()[4_096..], damaged[count - 1][4_096..]);
        assert_eq!(directory.names().len(), 2 + count, "{:?}", directory.names());
        // It is a store like any other. A record of the round before may have survived between the spoiled bytes.
        let after = format!("after-{count}");
        store.commit(step(&after, 0, 1)).await.unwrap();
        store.close();
        assert_eq!(open(&directory).load(&after).await.unwrap().unwrap().version(), version(1, 1));
    }
}

#[tokio::test]
async fn what_can_still_be_read_is_saved_with_numbers_above_all_that_were_told() {
    let directory = filled().await;
    let store = open(&directory);
    let before = held(&store).await.unwrap();
    let epoch = store.epoch();
    store.close();
    // A single leaf.
    let mut bytes = fs::read(directory.file()).unwrap();
    let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let place = find(&encoding::encode(&before.records[20]).unwrap()).unwrap();
    bytes[place + 20] ^= 1;
    fs::write(directory.file(), bytes).unwrap();
    let Opened { store, damage } = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
    let damage = damage.unwrap();
    let after = held(&store).await.unwrap();
    assert_ne!(store.epoch(), epoch);
    assert_eq!((damage.records, damage.policies, damage.marks, damage.events), (38, 1, 1, 81));
    let without: Vec<_> = before.records.iter().filter(|record| *record.key != *before.records[20].key).collect();
    assert_eq!(after.records.iter().collect::<Vec<_>>(), without);
    assert_eq!((after.policies, after.marks, after.events), (before.policies, before.marks, before.events));
    assert!(after.floors.generation > before.floors.generation + (1 << 31));
    assert!(after.floors.policies >= before.floors.policies && after.floors.now >= before.floors.now);
}

#[tokio::test]
async fn a_damaged_file_stops_the_start_where_that_is_asked_for() {
    let directory = filled().await;
    spoil(&directory);
    let options = DiskOptions { on_damage: OnDamage::Stop, ..DiskOptions::default() };
    let error = Disk::open(directory.path(), &options).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("{} is damaged: ", directory.file().display())), "{error}");
    assert_eq!(directory.names(), ["fuseboard.lock", "fuseboard.redb"]);
}

#[tokio::test]
async fn a_file_that_is_none_is_set_aside() {
    for text in ["", "x", "this is no store", &"zeros\0\0".repeat(10_000)] {
        let directory = Directory::new();
        fs::create_dir_all(directory.path()).unwrap();
        fs::write(directory.file(), text).unwrap();
        let Opened { store, damage } = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
        assert_eq!(fs::read_to_string(damage.unwrap().path).unwrap(), text);
        assert_eq!(held(&store).await.unwrap().records, []);
        store.commit(step("a", 0, 1)).await.unwrap();
    }
}

/// Writes into the file behind the store's back.
fn rewrite(directory: &Directory, table: &str, key: &str, bytes: &[u8]) {
    let database = redb::Database::open(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new(table);
    transaction.open_table(table).unwrap().insert(key, bytes).unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();
}

fn of_newer_format(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[0] = encoding::FORMAT + 1;
    let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[9..], u64::from(bytes[0]));
    bytes[1..9].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[tokio::test]
async fn a_file_of_a_newer_server_is_left_alone() {
    let newer_record = of_newer_format(encoding::encode(&record("key-01", version(1, 1))).unwrap());
    for (table, key, bytes, why) in [
        ("meta", "layout", vec![2, 0, 0, 0], "layout 2"),
        ("records", "key-01", newer_record, "record \"key-01\" has format 3"),
    ] {
        let directory = filled().await;
        rewrite(&directory, table, key, &bytes);
        for on_damage in [OnDamage::SetAside, OnDamage::Stop] {
            let options = DiskOptions { on_damage, ..DiskOptions::default() };
            let error = Disk::open(directory.path(), &options).unwrap_err();
            assert!(matches!(error, OpenError::Newer { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(directory.names(), ["fuseboard.lock", "fuseboard.redb"]);
        }
    }
    let directory = filled().await;
    let mut bytes = fs::read(directory.file()).unwrap();
    (bytes[64], bytes[192]) = (4, 4);
    fs::write(directory.file(), &bytes).unwrap();
    let error = Disk::open(directory.path(), &DiskOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }) && error.to_string().contains("format is 4"), "{error}");
    assert_eq!(fs::read(directory.file()).unwrap(), bytes);
}

#[tokio::test]
async fn a_value_that_is_not_what_was_written_is_damage() {
    let mut altered = encoding::encode(&record("key-01", version(1, 1))).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    for (table, key, bytes) in [("records", "key-01", altered), ("meta", "state", vec![1; 40])] {
        let directory = filled().await;
        rewrite(&directory, table, key, &bytes);
        let Opened { store, damage } = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
        let damage = damage.unwrap();
        assert!(damage.why.contains(key), "{damage}");
        let records = if table == "records" { 38 } else { 39 };
        assert_eq!((damage.records, damage.events), (records, 81));
        assert!(store.root().await.unwrap().floors.generation > 1 << 32);
    }
}

// A directory that is taken away.

async fn health_is(store: &Disk, is_well: bool) -> String {
    let mut health = store.health();
    let waited =
        tokio::time::timeout(Duration::from_secs(20), health.wait_for(|health| (*health == Health::Well) == is_well));
    match waited.await.expect("it is noticed").expect("it lives").clone() {
        Health::Well => String::new(),
        Health::Failing { why } => why,
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_is_removed_is_noticed_and_nothing_is_answered_until_it_is_back() {
    let directory = filled().await;
    let store = open(&directory);
    store.commit(step("before", 0, 1)).await.unwrap();
    let elsewhere = directory.path().with_extension("elsewhere");
    fs::rename(directory.path(), &elsewhere).unwrap();
    // Nobody has to write for it.
    let why = health_is(&store, false).await;
    assert!(why.contains("was removed"), "{why}");
    let mut commit = store.commit(step("after", 0, 1));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut commit).await.is_err(), "it is not stored anywhere");
    assert_eq!(*store.health().borrow(), Health::Failing { why });
    fs::rename(&elsewhere, directory.path()).unwrap();
    commit.await.unwrap();
    assert_eq!(health_is(&store, true).await, "");
    let before = held(&store).await.unwrap();
    store.close();
    let again = held(&open(&directory)).await.unwrap();
    assert_eq!(again.records, before.records);
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_in_the_place_of_a_directory_is_left_alone() {
    let directory = filled().await;
    let store = open(&directory);
    fs::remove_dir_all(directory.path()).unwrap();
    let other = open(&directory);
    other.commit(step("others", 0, 1)).await.unwrap();
    let commit = store.commit(step("lost", 0, 1));
    let why = health_is(&store, false).await;
    assert!(why.contains("another file is in the place of") || why.contains("was removed"), "{why}");
    store.close();
    assert_eq!(commit.await, Err(Refused::Closed));
    other.commit(step("more", 0, 1)).await.unwrap();
    assert_eq!(*other.health().borrow(), Health::Well);
    other.close();
    let held = held(&open(&directory)).await.unwrap();
    assert_eq!(held.records.iter().map(|record| &*record.key).collect::<Vec<_>>(), ["more", "others"]);
}

// Time.

#[tokio::test]
async fn a_time_that_is_ahead_is_put_back_with_everything_that_was_written_by_it() {
    let directory = Directory::new();
    // Or the log of before were gone.
    let options = DiskOptions { events_age: Duration::MAX, ..DiskOptions::default() };
    let store = Disk::open(directory.path(), &options).unwrap().store;
    let day = 24 * 3600;
    let now = at(100 * day);
    let token = |created: u64, expires: u64| {
        let date = |seconds| serde_json::to_value(at(seconds)).unwrap();
        format!("{{\"created\":{},\"expires\":{}}}", date(created), date(expires))
    };
    store.commit(Commit { floors: floors(1, 1, at(99 * day)), ..step("old", 0, 2) }).await.unwrap();
    store.commit(document("token/old", 0, Some(&token(50 * day, 400 * day)))).await.unwrap();
    let sequence = store.root().await.unwrap().newest;
    // A year later by a wrong clock, for an hour.
    let wrong = 465 * day;
    let mut late = record("late", version(1, 1));
    (late.created, late.used) = (at(wrong), at(wrong + 600));
    late.snapshot.since = at(wrong);
    late.snapshot.state = fuseboard::breaker::State::Open { until: at(wrong + 4_200), failed_recoveries: 1 };
    let events = vec![samples::event("late", wrong), samples::event("late", wrong + 600)];
    let commit =
        Commit { events, floors: floors(1, 1, at(wrong + 3_600)), ..crate::home::commit(version(1, 0), late, 0) };
    store.commit(commit).await.unwrap();
    store.commit(document("token/late", 0, Some(&token(wrong, wrong + 30 * day)))).await.unwrap();
    let epoch = store.epoch();
    store.close();

    let adjusted = inspect::repair_clock_to(directory.path(), now).unwrap();
    assert_eq!((adjusted.from, adjusted.to), (at(wrong + 3_600), now));
    assert!(adjusted.values >= 4, "{adjusted}");
    let store = open(&directory);
    assert_eq!((store.epoch(), store.now()), (epoch, now));
    let late = store.load("late").await.unwrap().unwrap();
    let last = wrong + 3_600;
    let ahead = |seconds: u64| Duration::from_secs(seconds.saturating_sub(last));
    let back = |seconds: u64| now.after(ahead(seconds)).before(Duration::from_secs(last.saturating_sub(seconds)));
    assert_eq!((late.created, late.used, late.snapshot.since), (back(wrong), back(wrong + 600), back(wrong)));
    let until = fuseboard::breaker::State::Open { until: now.after(Duration::from_secs(600)), failed_recoveries: 1 };
    assert_eq!(late.snapshot.state, until, "what was left of it");
    let log = store.events(0, 100).await.unwrap();
    assert!(log.is_sorted_by_key(|event| event.at) && log.iter().all(|event| event.at <= now));
    assert_eq!(log[sequence as usize].at, back(wrong));
    let bodies: Vec<_> = store.root().await.unwrap().documents.iter().map(|token| token.body.to_string()).collect();
    let kept = 400 * day;
    assert!(bodies.contains(&token(50 * day, kept)), "an end that was chosen before stays: {bodies:?}");
    let ends = serde_json::to_value(back(wrong + 30 * day)).unwrap();
    assert!(bodies.iter().any(|body| body.contains(ends.as_str().unwrap())), "{bodies:?}");
    store.close();
    let again = inspect::repair_clock_to(directory.path(), now).unwrap();
    assert_eq!((again.from, again.to, again.values), (now, now, 0));
    assert!(inspect::check(directory.path()).unwrap().is_well());
}

#[tokio::test]
async fn everything_that_is_stored_can_be_put_back() {
    let directory = Directory::new();
    let store = open(&directory);
    for (number, full) in samples::records().into_iter().enumerate() {
        let from = version(full.snapshot.generation, 0);
        let mut full = Record { key: format!("full-{number}").into(), ..full };
        full.snapshot.version = 1;
        let events = samples::events();
        store.commit(Commit { events, ..crate::home::commit(from, full, 0) }).await.unwrap();
    }
    store.commit(policy("a*", 0, Some(3))).await.unwrap();
    store.merge(Merge { marks: vec![samples::mark()], ..Merge::default() }).await.unwrap();
    let before = held(&store).await.unwrap();
    store.close();
    inspect::repair_clock_to(directory.path(), at(1)).unwrap();
    let store = open(&directory);
    let after = held(&store).await.unwrap();
    assert_eq!((after.records.len(), after.events.len()), (before.records.len(), before.events.len()));
    assert!(after.floors.now < before.floors.now);
}

#[tokio::test]
async fn a_clock_is_accepted_and_no_time_goes_back() {
    let directory = filled().await;
    let stored = open(&directory).now();
    let adjusted = inspect::accept_clock(directory.path()).unwrap();
    assert!(adjusted.from == stored && adjusted.to > stored, "{adjusted}");
    assert_eq!(open(&directory).now(), adjusted.to);
    let _server = open(&directory);
    let refused = inspect::accept_clock(directory.path()).unwrap_err();
    assert!(matches!(refused, InspectError::Locked { .. }), "{refused}");
}
