//! Permits, resume tokens and page tokens: any bytes decode or are refused, and what decodes has one form.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fuseboard::{
    access::{Bound, Seal},
    breaker::{CallerId, Permit, PermitKind, Timestamp},
    engine::Error,
    grpc::token::{
        Cursor, Issued, Listing, ResumeToken, decode_page, decode_permit, decode_permit_text, encode_page,
        encode_permit, encode_permit_text,
    },
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const LISTINGS: [Listing; 3] = [Listing::Breakers, Listing::Policies, Listing::Events];

/// The hash of the key of the breaker whose permits these are.
const KEY_HASH: u64 = 0x4142_4344_4546_4748;

fn seal() -> Seal {
    Seal::of(b"of the fuzzer..!")
}

/// A seal that changes with each byte of the input. The fuzzer sees both sides of every comparison, so it reads the tag that a fixed key
/// expects and forges a permit within minutes; a client sees neither side.
fn unknown_seal(input: &[u8]) -> Seal {
    Seal::of(&xxh3_128(input).to_le_bytes())
}

/// Decodes these bytes as everything that callers carry for the server: as they are, and with the checksum or the tag that they
/// would need, which nobody finds by chance.
pub fn run(data: &[u8]) {
    decode(data);
    decode(&[data, &xxh3_64(data).to_le_bytes()[..2]].concat());
    let tag = seal().tag(&[data, &KEY_HASH.to_le_bytes()].concat());
    decode_sealed(&[data, &tag.to_le_bytes()].concat());
    if let Ok(text) = std::str::from_utf8(data) {
        decode_text(text);
    }
    alter(data);
}

fn decode(bytes: &[u8]) {
    match decode_permit(&unknown_seal(bytes), KEY_HASH, bytes) {
        Ok(opened) => assert_eq!(opened.issued, Issued::Elsewhere, "a permit without a tag counts: {opened:?}"),
        Err(error) => assert_names("permit", &error),
    }
    decode_text(&URL_SAFE_NO_PAD.encode(bytes));
}

/// Bytes with the tag that belongs to them.
fn decode_sealed(bytes: &[u8]) {
    match decode_permit(&seal(), KEY_HASH, bytes) {
        Ok(opened) if opened.issued == Issued::Elsewhere => {}
        Ok(opened) => {
            let bound = if let Issued::To(bound) = opened.issued { Some(bound) } else { None };
            let again = encode_permit(&seal(), KEY_HASH, &opened.permit, bound);
            // What names key and breaker is no part of what the permit says.
            let said = |bytes: &[u8]| bytes[4..bytes.len() - 8].to_vec();
            assert_eq!(said(again.as_slice()), said(bytes), "{opened:?}");
            assert!(
                decode_permit(&seal(), !KEY_HASH, bytes).is_err(),
                "a permit of another breaker is taken: {opened:?}"
            );
        }
        Err(error) => assert_names("permit", &error),
    }
}

/// A permit of ours, altered as the bytes say: each is the place of a byte and what is done to it.
fn alter(changes: &[u8]) {
    let seal = unknown_seal(changes);
    let mut bytes = encode_permit(&seal, KEY_HASH, &permit(), Some(Bound(7))).as_slice().to_vec();
    let issued = bytes.clone();
    for change in changes.chunks_exact(2).take(8) {
        let at = usize::from(change[0]) % bytes.len();
        bytes[at] ^= change[1];
    }
    match decode_permit(&seal, KEY_HASH, &bytes) {
        Ok(opened) => assert_eq!(opened.issued == Issued::Elsewhere, bytes != issued, "an altered permit counts"),
        Err(error) => {
            assert_ne!(bytes, issued, "a permit as it was issued is refused: {error}");
            assert_names("permit", &error);
        }
    }
}

fn decode_text(text: &str) {
    if let Err(error) = decode_permit_text(&seal(), KEY_HASH, text) {
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
    let is_named = match error {
        Error::Invalid { field, .. } => field == expected,
        Error::PermitForged => expected == "permit",
        _ => false,
    };
    assert!(is_named, "{error:?}");
}

fn permit() -> Permit {
    Permit {
        kind: PermitKind::Probe,
        generation: 7,
        caller_generation: 2,
        slice: 1_577_836_800_000_000_000,
        serial: 300,
        expire: Timestamp::from_nanos(1_577_836_860_000_000_000),
        caller: CallerId(9),
    }
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let nobody = Permit { caller: CallerId::default(), kind: PermitKind::Call, ..permit() };
    let resume = ResumeToken { history: 5, sequence: 1_000, snapshotting: true };
    let pages = [
        encode_page(Listing::Breakers, 0, &Cursor::Name("payments/charge".to_owned())),
        encode_page(Listing::Events, 0, &Cursor::Sequence(1_000)),
    ];
    let texts = [
        encode_permit_text(&seal(), KEY_HASH, &permit(), Some(Bound(7))),
        encode_permit_text(&seal(), KEY_HASH, &nobody, None),
        resume.encode(),
    ];
    let texts: Vec<_> = texts.into_iter().chain(pages).collect();
    // Without the tag or the checksum, so that changes get through; and as text.
    let bytes = texts.iter().filter_map(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes.enumerate().map(|(index, mut bytes)| {
        bytes.truncate(bytes.len() - if index < 2 { 8 } else { 2 });
        bytes
    });
    bytes.chain(texts.iter().map(|text| text.clone().into_bytes())).collect()
}
