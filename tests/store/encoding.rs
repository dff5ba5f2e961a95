//! What was written once can be read for ever.

use std::{fmt::Write as _, fs, path::Path};

use fuseboard::store::encoding::{EncodingError, FORMAT, decode, encode};
use serde::{Serialize, de::DeserializeOwned};

use crate::samples;

/// The bytes of all samples, one value a line.
const FIXTURE: &str = include_str!("fixtures/format-1.txt");

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

fn values<T: DeserializeOwned>(kind: &str) -> Vec<T> {
    let of_kind = FIXTURE.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
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
    assert_eq!(values::<fuseboard::store::Record>("record"), samples::records(), "{CHANGED}");
    assert_eq!(values::<fuseboard::engine::Event>("event"), samples::events(), "{CHANGED}");
    assert_eq!(values::<fuseboard::engine::PolicyEntry>("policy"), samples::policies(), "{CHANGED}");
    assert_eq!(values::<fuseboard::store::Mark>("mark"), [samples::mark()], "{CHANGED}");
    assert_eq!(values::<fuseboard::store::Floors>("floors"), [samples::floors()], "{CHANGED}");
    assert_eq!(values::<fuseboard::store::Document>("document"), [samples::document()], "{CHANGED}");
    assert_eq!(values::<fuseboard::engine::AuditEntry>("audit"), [samples::audit("a")], "{CHANGED}");
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
