//! Permits, resume tokens and page tokens: any bytes decode or are refused, and what decodes has one form.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fuseboard::{
    breaker::{CallerId, Permit, PermitKind, Timestamp},
    engine::Error,
    grpc::token::{
        Cursor, Listing, ResumeToken, decode_page, decode_permit, decode_permit_text, encode_page, encode_permit,
        encode_permit_text,
    },
};
use xxhash_rust::xxh3::xxh3_64;

const LISTINGS: [Listing; 3] = [Listing::Breakers, Listing::Policies, Listing::Events];

/// Decodes these bytes as everything that callers carry for us: as they are, and with the checksum that they would
/// need, which nobody finds by chance.
pub fn run(data: &[u8]) {
    decode(data);
    decode(&[data, &xxh3_64(data).to_le_bytes()[..2]].concat());
    if let Ok(text) = std::str::from_utf8(data) {
        decode_text(text);
    }
}

fn decode(bytes: &[u8]) {
    // The hash of the key that the permit is of, where there is one.
    let hash = bytes.get(1..9).map_or(0, |hash| u64::from_le_bytes(hash.try_into().expect("8 bytes")));
    match decode_permit(hash, bytes) {
        Ok(permit) => {
            assert_eq!(encode_permit(hash, &permit).as_slice(), bytes, "{permit:?}");
            assert!(decode_permit(!hash, bytes).is_err(), "a permit of another breaker is taken: {permit:?}");
        }
        Err(error) => assert_names("permit", &error),
    }
    decode_text(&URL_SAFE_NO_PAD.encode(bytes));
}

fn decode_text(text: &str) {
    if let Err(error) = decode_permit_text(0, text) {
        assert_names("permit", &error);
    }
    match ResumeToken::decode(text) {
        Ok(token) => assert_eq!(token.encode(), text, "{token:?}"),
        Err(error) => assert_names("resume_token", &error),
    }
    for listing in LISTINGS {
        match decode_page(listing, 0, text) {
            Ok(Some(cursor)) => assert_eq!(encode_page(listing, 0, &cursor), text, "{cursor:?}"),
            Ok(None) => assert_eq!(text, ""),
            Err(error) => assert_names("page_token", &error),
        }
    }
}

fn assert_names(expected: &str, error: &Error) {
    assert!(matches!(error, Error::Invalid { field, .. } if field == expected), "{error:?}");
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let permit = Permit {
        kind: PermitKind::Probe,
        generation: 7,
        caller_generation: 2,
        slice: 1_577_836_800_000_000_000,
        serial: 300,
        expire: Timestamp::from_nanos(1_577_836_860_000_000_000),
        caller: CallerId(9),
    };
    let nobody = Permit { caller: CallerId::default(), kind: PermitKind::Call, ..permit };
    let resume = ResumeToken { history: 5, sequence: 1_000, snapshotting: true };
    let pages = [
        encode_page(Listing::Breakers, 0, &Cursor::Name("payments/charge".to_owned())),
        encode_page(Listing::Events, 0, &Cursor::Sequence(1_000)),
    ];
    let texts = [encode_permit_text(3, &permit), encode_permit_text(3, &nobody), resume.encode()];
    let texts: Vec<_> = texts.into_iter().chain(pages).collect();
    // Without the checksum, so that changes get through; and as text.
    let bytes = texts.iter().filter_map(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes.map(|mut bytes| {
        bytes.truncate(bytes.len() - 2);
        bytes
    });
    bytes.chain(texts.iter().map(|text| text.clone().into_bytes())).collect()
}
