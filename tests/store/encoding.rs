//! What was written once can be read for ever.

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use fuseboard::{
    breaker::{Kind, PolicySpec, policy::BackoffSpec},
    engine::{Clock, Engine, EventKind, FilePolicies, Limits, PolicyEntry},
    store::{
        Disk, DiskOptions, PolicyHash, Record, Store,
        encoding::{EncodingError, FORMAT, Stored, decode, encode},
    },
};
use serde::Serialize;

use crate::{home::Directory, samples};

/// The bytes of all samples in the format that is written, one value a line.
const FIXTURE: &str = include_str!("fixtures/format-2.txt");
/// The same values as format 1 wrote them.
const FORMAT_1: &str = include_str!("fixtures/format-1.txt");
/// The data directory of a server that wrote format 1, with six breakers declared by services, three under a policy of its
/// file, two under a policy of operators, and a reset.
const DIRECTORY_1: &[u8] = include_bytes!("fixtures/format-1.redb");

const CHANGED: &str = "\
    the encoding of something that is stored has changed, so files of servers before this one cannot be read. Raise \
    store::encoding::FORMAT, keep the types as they were for the old format, and let decode make the new ones of them. \
    The fixture of the old format stays; FUSEBOARD_WRITE_FIXTURES=1 writes that of the new one";

fn line<T: Serialize>(kind: &str, value: &T) -> String {
    let hex = encode(value).unwrap().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("{kind} {hex}")
}

fn lines() -> Vec<String> {
    let records = samples::records();
    let (events, policies) = (samples::events(), samples::policies());
    let lines = records.iter().map(|record| line("record", record));
    let lines = lines.chain(events.iter().map(|event| line("event", event)));
    let lines = lines.chain(policies.iter().map(|entry| line("policy", entry)));
    let lines = lines.chain([line("mark", &samples::mark()), line("floors", &samples::floors())]);
    lines.chain([line("document", &samples::document()), line("audit", &samples::audit("a"))]).collect()
}

fn values<T: Stored>(fixture: &str, kind: &str) -> Vec<T> {
    let of_kind = fixture.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes = of_kind.map(|hex| hex.as_bytes().chunks(2).map(byte).collect::<Vec<_>>());
    bytes.map(|bytes| decode("fixture", kind, &bytes).unwrap_or_else(|error| panic!("{error}: {CHANGED}"))).collect()
}

#[test]
fn values_are_written_as_they_always_were() {
    if std::env::var_os("FUSEBOARD_WRITE_FIXTURES").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/store/fixtures/format-{FORMAT}.txt"));
        fs::write(path, lines().join("\n") + "\n").unwrap();
    } else {
        let written = lines();
        for (number, (expected, line)) in FIXTURE.lines().zip(&written).enumerate() {
            assert!(expected == line, "line {}: {CHANGED}", number + 1);
        }
        assert_eq!(FIXTURE.lines().count(), written.len(), "{CHANGED}");
    }
}

#[test]
fn what_was_written_once_is_read_as_the_very_values() {
    let now = (FIXTURE, samples::records(), samples::policies());
    for (fixture, records, policies) in [now, (FORMAT_1, records_of_format_1(), policies_of_format_1())] {
        assert_eq!(values::<Record>(fixture, "record"), records, "{CHANGED}");
        assert_eq!(values::<fuseboard::engine::Event>(fixture, "event"), samples::events(), "{CHANGED}");
        assert_eq!(values::<PolicyEntry>(fixture, "policy"), policies, "{CHANGED}");
        assert_eq!(values::<fuseboard::store::Mark>(fixture, "mark"), [samples::mark()], "{CHANGED}");
        assert_eq!(values::<fuseboard::store::Floors>(fixture, "floors"), [samples::floors()], "{CHANGED}");
        assert_eq!(values::<fuseboard::store::Document>(fixture, "document"), [samples::document()], "{CHANGED}");
        assert_eq!(values::<fuseboard::engine::AuditEntry>(fixture, "audit"), [samples::audit("a")], "{CHANGED}");
    }
}

/// The samples as far as format 1 knew them.
fn records_of_format_1() -> Vec<Record> {
    let as_read = |mut record: Record| {
        record.policy_hash = PolicyHash::OfFormat1(2);
        record.snapshot.totals.last_success = None;
        record.snapshot.totals.last_failure = None;
        record.provenance = None;
        record.folded.clear();
        record.declaration.iter_mut().for_each(|declaration| of_format_1(&mut declaration.spec));
        record
    };
    samples::records().into_iter().map(as_read).collect()
}

fn policies_of_format_1() -> Vec<PolicyEntry> {
    let mut entries = samples::policies();
    entries.iter_mut().for_each(|entry| of_format_1(&mut entry.spec));
    entries
}

fn of_format_1(spec: &mut PolicySpec) {
    (spec.voters, spec.trip_on, spec.open_duration_min) = (None, None, None);
}

/// Keys and kinds of the events that a server makes when it starts on the data directory of one that wrote format 1.
async fn events_of_a_start_on_format_1(file: FilePolicies) -> Vec<(String, EventKind)> {
    let directory = Directory::new();
    fs::create_dir_all(directory.path()).unwrap();
    fs::write(directory.file(), DIRECTORY_1).unwrap();
    let opened = Disk::open(directory.path(), &DiskOptions::default()).unwrap();
    assert_eq!(opened.damage, None);
    let store = Arc::new(opened.store);
    let before = store.root().await.unwrap().newest;
    let clock = Clock::manual(store.now().after(Duration::from_secs(60)));
    let engine = Engine::open(clock, Limits::default(), file, Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    assert_eq!(engine.usage().breakers, BREAKERS_1);
    let runs = engine.clone();
    let run = tokio::spawn(async move { runs.run().await });
    engine.close(Duration::from_secs(60)).await;
    run.abort();
    let mut events: Vec<_> = store.events(before, 100).await.unwrap();
    events.sort_by(|a, b| a.key.cmp(&b.key));
    events.iter().map(|event| (event.key.to_string(), event.kind)).collect()
}

/// Breakers in [`DIRECTORY_1`].
const BREAKERS_1: u32 = 9;

/// What `--config` of that server said.
fn file_of_format_1() -> FilePolicies {
    FilePolicies {
        default: PolicySpec { successes_to_close: Some(2), ..PolicySpec::default() },
        by_pattern: vec![(
            "file/*".to_owned(),
            PolicySpec {
                min_callers: Some(3),
                open_backoff: Some(BackoffSpec {
                    multiplier: 2.5,
                    max_duration: Duration::from_secs(600),
                    jitter: 0.25,
                }),
                ..PolicySpec::default()
            },
        )],
    }
}

#[tokio::test]
async fn a_server_on_an_older_data_directory_makes_an_event_only_where_its_floor_changes_the_policy() {
    // It was declared to open for 5 ms, and opens for 100 ms from now on.
    let raised = ("declared/short".to_owned(), EventKind::Moved(Kind::PolicyChanged));
    assert_eq!(events_of_a_start_on_format_1(file_of_format_1()).await, [raised]);
}

#[tokio::test]
async fn a_server_on_an_older_data_directory_still_sees_that_its_file_has_changed() {
    let mut file = file_of_format_1();
    file.by_pattern[0].1.min_callers = Some(4);
    let changed = EventKind::Moved(Kind::PolicyChanged);
    let expected = ["declared/short", "file/c", "file/declared"].map(|key| (key.to_owned(), changed));
    assert_eq!(events_of_a_start_on_format_1(file).await, expected);
}

#[test]
fn a_value_of_a_newer_format_is_told_apart_from_a_damaged_one() {
    let mut bytes = encode(&samples::mark()).unwrap();
    bytes[0] = FORMAT + 1;
    let read = |bytes: &[u8]| decode::<fuseboard::store::Mark>("marks", "client", bytes).unwrap_err();
    // With the checksum of the old format it is a flipped bit.
    assert!(matches!(read(&bytes), EncodingError::Damaged { .. }));
    let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[9..], u64::from(bytes[0]));
    bytes[1..9].copy_from_slice(&checksum.to_le_bytes());
    let newer = read(&bytes);
    assert_eq!(newer, EncodingError::Newer { table: "marks", key: "client".into(), format: FORMAT + 1 });
    assert!(newer.to_string().contains("a newer one wrote it"), "{newer}");
}

#[test]
fn no_flipped_bit_and_no_lost_end_goes_unseen() {
    let bytes = encode(&samples::records()[3]).unwrap();
    let read = |bytes: &[u8]| decode::<fuseboard::store::Record>("records", "payments/card", bytes);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(read(&bytes), Err(EncodingError::Damaged { .. })), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(matches!(read(&bytes[..length]), Err(EncodingError::Damaged { .. })), "length {length}");
    }
    let error = read(&bytes[1..]).unwrap_err().to_string();
    assert!(error.starts_with("records \"payments/card\" is damaged: "), "{error}");
}
