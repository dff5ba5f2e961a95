//! The opaque strings that callers carry for the server: permits, resume tokens and page tokens.
//!
//! Each is a few bytes with a version in front, and has exactly one form: what decodes encodes to the same bytes again.
//!
//! A permit is a right, so it is sealed ([`Seal`]): it ends in a keyed hash of all of it and of the key of its breaker, and a
//! permit that this server has not issued for this breaker is refused. The server's key is kept in its store, so permits stay good
//! over a restart. A permit of the format before seals, of whatever breaker, or of a server with another key is stale: it is of
//! no generation that the breaker is in, and counts nowhere.
//!
//! Resume tokens and page tokens are no rights: they say where a watch or a list goes on, and what it shows is decided by the
//! identity of each request. They end in a checksum, which tells a damaged one.
//!
//! A permit in bytes:
//!
//! ```text
//!   1    version (high half), identity bound to a caller (8), caller named (4), kind (0 caller's probe, 1 call, 2 probe,
//!        3 bypass)
//!   2    id of the key that sealed it
//!   1    part of the hash of the breaker's key, added to both bytes of the id: tells a permit of another breaker from a
//!        forged one, and a damaged id from that of another key
//!   1-9  generation, varint
//!   1-9  generation of the caller's scope, varint
//!   8    slice
//!   1-5  serial, varint
//!   1-9  end of the lease, varint: nanoseconds after the slice's number, which is a time too
//!   8    caller, where one is named
//!   4    hash of the caller that the identity it was issued to is bound to, where it is bound to one
//!   8    tag: the keyed hash of all bytes before it and the 8 bytes of the hash of the breaker's key
//! ```

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    access::{Bound, Seal},
    breaker::{CallerId, Permit, PermitKind, Timestamp},
    engine::Error,
};

/// Most bytes of a permit, a resume token or the fixed part of a page token.
const BYTES_MAX: usize = 64;
/// Most bytes of a page token's cursor: a key or a pattern, and a little for the caller's own marks.
const CURSOR_BYTES_MAX: usize = 240;
const PAGE_BYTES_MAX: usize = BYTES_MAX + CURSOR_BYTES_MAX;

/// Permits without a seal, of the version before.
const UNSEALED_VERSION: u8 = 0x10;
const PERMIT_VERSION: u8 = 0x40;
const RESUME_VERSION: u8 = 0x20;
const PAGE_VERSION: u8 = 0x30;

const VERSION_MASK: u8 = 0xf0;
const IDENTITY_BOUND: u8 = 8;
const CALLER_NAMED: u8 = 4;
const KIND_MASK: u8 = 3;
const SNAPSHOTTING: u8 = 1;
const CHECKSUM_BYTES: usize = 2;
const TAG_BYTES: usize = 8;
const VARINT_BYTES_MAX: u32 = 9;

// ---- Permits -------------------------------------------------------------------------------------------------------

/// A permit as bytes, without memory of its own on the heap.
pub type PermitBytes = Writer<BYTES_MAX>;

/// A permit that somebody brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What it says.
    pub permit: Permit,
    /// Whom it was issued to.
    pub issued: Issued,
}

/// Whom a permit was issued to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Issued {
    /// An identity that is bound to no caller, or nobody who is known.
    ToAny,
    /// An identity that is bound to a caller.
    To(Bound),
    /// It has no seal of this server's key. Its permit says nothing, and is stale at every breaker.
    Elsewhere,
}

impl Opened {
    /// What another server has issued, or this one before it had its key: no breaker is in generation 0.
    const ELSEWHERE: Self = Self {
        permit: Permit {
            kind: PermitKind::Call,
            generation: 0,
            caller_generation: 0,
            slice: 0,
            serial: 0,
            expire: Timestamp::from_nanos(0),
            caller: CallerId(0),
        },
        issued: Issued::Elsewhere,
    };
}

/// A permit of the breaker whose key has this hash, issued to an identity that is bound to a caller or not, for a session.
#[must_use]
pub fn encode_permit(seal: &Seal, key_hash: u64, permit: &Permit, bound: Option<Bound>) -> PermitBytes {
    let kind = match permit.kind {
        PermitKind::CallerProbe => 0,
        PermitKind::Call => 1,
        PermitKind::Probe => 2,
        PermitKind::Bypass => 3,
    };
    let named = permit.caller != CallerId::default();
    let flags = if named { CALLER_NAMED } else { 0 } | if bound.is_some() { IDENTITY_BOUND } else { 0 };
    let mut bytes = Writer::new();
    bytes.byte(PERMIT_VERSION | flags | kind);
    bytes.slice(&seal.id().to_le_bytes());
    bytes.byte(hint(key_hash) ^ fold(seal.id()));
    bytes.varint(permit.generation);
    bytes.varint(permit.caller_generation);
    bytes.fixed(permit.slice);
    bytes.varint(u64::from(permit.serial));
    // Wraps, so that every permit has a form, also one whose lease ends before its slice began.
    bytes.varint(permit.expire.as_nanos().wrapping_sub(permit.slice));
    if named {
        bytes.fixed(permit.caller.0);
    }
    if let Some(Bound(bound)) = bound {
        bytes.slice(&bound.to_le_bytes());
    }
    // The hash of the key stands where the tag comes to stand.
    bytes.fixed(key_hash);
    let tag = seal.tag(bytes.as_slice());
    bytes.length -= TAG_BYTES;
    bytes.fixed(tag);
    bytes
}

/// A permit as text, for unary calls.
#[must_use]
pub fn encode_permit_text(seal: &Seal, key_hash: u64, permit: &Permit, bound: Option<Bound>) -> String {
    encode_permit(seal, key_hash, permit, bound).to_text()
}

/// The permit in `bytes`, which must be of the breaker whose key has this hash.
///
/// # Errors
/// The field `permit` is missing, is no permit, or is of another breaker; or the permit is forged.
pub fn decode_permit(seal: &Seal, key_hash: u64, bytes: &[u8]) -> Result<Opened, Error> {
    match read_permit(seal, key_hash, bytes) {
        Some(Seen::Sealed(opened)) => Ok(opened),
        Some(Seen::Elsewhere) => Ok(Opened::ELSEWHERE),
        Some(Seen::Forged) => Err(Error::PermitForged),
        Some(Seen::OfAnotherBreaker) => {
            Err(Error::invalid("permit", "must be of the breaker that is named; it is of another"))
        }
        None => Err(not_a_permit(bytes.is_empty())),
    }
}

/// As [`decode_permit`], of a permit as text.
///
/// # Errors
/// As [`decode_permit`].
pub fn decode_permit_text(seal: &Seal, key_hash: u64, text: &str) -> Result<Opened, Error> {
    let mut buffer = [0; BYTES_MAX];
    let bytes = from_text(text, &mut buffer).ok_or_else(|| not_a_permit(text.is_empty()))?;
    decode_permit(seal, key_hash, bytes)
}

#[cold]
fn not_a_permit(missing: bool) -> Error {
    let message = if missing {
        "is required: the permit that the acquire was answered with"
    } else {
        "must be a permit exactly as an acquire was answered with; this one is damaged"
    };
    Error::invalid("permit", message)
}

/// What bytes of the form of a permit are.
enum Seen {
    /// One of ours.
    Sealed(Opened),
    /// One of another breaker.
    OfAnotherBreaker,
    /// One with our key's id and without its tag.
    Forged,
    /// One of another key, or from before seals.
    Elsewhere,
}

fn read_permit(seal: &Seal, key_hash: u64, bytes: &[u8]) -> Option<Seen> {
    if bytes.first()? & VERSION_MASK == UNSEALED_VERSION {
        let mut reader = Reader::unseal(bytes)?;
        reader.byte()?;
        // An unkeyed hash of its breaker's key, which nothing is compared with: it counts nowhere.
        reader.fixed()?;
        return Some(Seen::Elsewhere);
    }
    let (body, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
    let mut sealed = [0; BYTES_MAX];
    let sealed = sealed.get_mut(..bytes.len())?;
    let (copy, end) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
    copy.copy_from_slice(body);
    *end = key_hash.to_le_bytes();
    let is_sealed = seal.tag(sealed) == u64::from_le_bytes(*tag);
    let mut reader = Reader(body);
    let head = reader.byte()?;
    if head & VERSION_MASK != PERMIT_VERSION {
        return None;
    }
    let id = u16::from_le_bytes([reader.byte()?, reader.byte()?]);
    let of = reader.byte()? ^ fold(id);
    let opened = read_body(head, reader)?;
    Some(match is_sealed {
        true if id == seal.id() => Seen::Sealed(opened),
        _ if of != hint(key_hash) => Seen::OfAnotherBreaker,
        _ if id != seal.id() => Seen::Elsewhere,
        _ => Seen::Forged,
    })
}

fn read_body(head: u8, mut reader: Reader<'_>) -> Option<Opened> {
    let kind = match head & KIND_MASK {
        0 => PermitKind::CallerProbe,
        1 => PermitKind::Call,
        2 => PermitKind::Probe,
        _ => PermitKind::Bypass,
    };
    let generation = reader.varint()?;
    let caller_generation = reader.varint()?;
    let slice = reader.fixed()?;
    let serial = u32::try_from(reader.varint()?).ok()?;
    let expire = Timestamp::from_nanos(slice.wrapping_add(reader.varint()?));
    let mut caller = CallerId::default();
    if head & CALLER_NAMED != 0 {
        caller = CallerId(reader.fixed()?);
        if caller == CallerId::default() {
            return None;
        }
    }
    let mut issued = Issued::ToAny;
    if head & IDENTITY_BOUND != 0 {
        issued = Issued::To(Bound(u32::from_le_bytes(reader.chunk()?)));
    }
    reader.end()?;
    Some(Opened { permit: Permit { kind, generation, caller_generation, slice, serial, expire, caller }, issued })
}

/// What a permit carries of its breaker's key. The tag is of the whole hash.
const fn hint(key_hash: u64) -> u8 {
    key_hash.to_le_bytes()[7]
}

/// Changes with each change of one byte of an id.
const fn fold(id: u16) -> u8 {
    let [low, high] = id.to_le_bytes();
    low ^ high
}

// ---- Resume tokens -------------------------------------------------------------------------------------------------

/// Where a watch goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResumeToken {
    /// The event history that the sequence is of.
    pub history: u64,
    /// The last event that was seen.
    pub sequence: u64,
    /// True in the middle of a snapshot: whoever comes back needs a new one.
    pub snapshotting: bool,
}

impl ResumeToken {
    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Writer::<BYTES_MAX>::new();
        bytes.byte(RESUME_VERSION | if self.snapshotting { SNAPSHOTTING } else { 0 });
        bytes.fixed(self.history);
        bytes.varint(self.sequence);
        bytes.seal();
        bytes.to_text()
    }

    /// The token in a text that is not empty.
    ///
    /// # Errors
    /// The field `resume_token` is damaged.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let mut buffer = [0; BYTES_MAX];
        from_text(text, &mut buffer).and_then(Self::read).ok_or_else(|| {
            Error::invalid("resume_token", "must be a resume token exactly as a watch told it, or empty for a snapshot")
        })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::unseal(bytes)?;
        let head = reader.byte()?;
        if head & !SNAPSHOTTING != RESUME_VERSION {
            return None;
        }
        let token =
            Self { history: reader.fixed()?, sequence: reader.varint()?, snapshotting: head & SNAPSHOTTING != 0 };
        reader.end()?;
        Some(token)
    }
}

// ---- Page tokens ---------------------------------------------------------------------------------------------------

/// What is listed in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// Breakers.
    Breakers,
    /// Policies.
    Policies,
    /// Events.
    Events,
    /// Tokens.
    Tokens,
    /// The audit trail.
    Audit,
}

/// Where a list goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// After this name. At most 240 bytes.
    Name(String),
    /// After this sequence.
    Sequence(u64),
}

/// The token of the next page of a list, whose request had this [`filter_hash`].
#[must_use]
pub fn encode_page(listing: Listing, filter: u64, cursor: &Cursor) -> String {
    let mut bytes = Writer::<PAGE_BYTES_MAX>::new();
    bytes.byte(PAGE_VERSION | listing.number() | if matches!(cursor, Cursor::Sequence(_)) { 4 } else { 0 });
    bytes.fixed(filter);
    match cursor {
        Cursor::Name(name) => bytes.slice(&name.as_bytes()[..name.len().min(CURSOR_BYTES_MAX)]),
        Cursor::Sequence(sequence) => bytes.varint(*sequence),
    }
    bytes.seal();
    bytes.to_text()
}

/// Where the page of this token begins; `None` for an empty text, which is the first page.
///
/// # Errors
/// The field `page_token` is damaged, or of a list with another filter.
pub fn decode_page(listing: Listing, filter: u64, text: &str) -> Result<Option<Cursor>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut buffer = [0; PAGE_BYTES_MAX];
    let page = from_text(text, &mut buffer).and_then(read_page);
    let Some((listing_of, filter_of, cursor)) = page else {
        return Err(Error::invalid("page_token", "must be a `next_page_token` exactly as it came, or empty"));
    };
    if (listing_of, filter_of) != (listing, filter) {
        let message = "must be of a list with this same filter: begin again without a page token";
        return Err(Error::invalid("page_token", message));
    }
    Ok(Some(cursor))
}

/// A hash of a list's request, to be taken with its page size and page token left empty.
#[must_use]
pub fn filter_hash(request: &impl prost::Message) -> u64 {
    xxh3_64(&request.encode_to_vec())
}

fn read_page(bytes: &[u8]) -> Option<(Listing, u64, Cursor)> {
    let mut reader = Reader::unseal(bytes)?;
    let head = reader.byte()?;
    if head & !15 != PAGE_VERSION {
        return None;
    }
    let listing = Listing::from_number(head & !PAGE_VERSION & !4)?;
    let filter = reader.fixed()?;
    let cursor = if head & 4 == 0 {
        let name = reader.rest();
        Cursor::Name(String::from_utf8(name.to_vec()).ok().filter(|name| name.len() <= CURSOR_BYTES_MAX)?)
    } else {
        Cursor::Sequence(reader.varint()?)
    };
    reader.end()?;
    Some((listing, filter, cursor))
}

impl Listing {
    const fn number(self) -> u8 {
        match self {
            Self::Breakers => 1,
            Self::Policies => 2,
            Self::Events => 3,
            // The bit of 4 says what kind of cursor it is.
            Self::Tokens => 8,
            Self::Audit => 9,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Breakers),
            2 => Some(Self::Policies),
            3 => Some(Self::Events),
            8 => Some(Self::Tokens),
            9 => Some(Self::Audit),
            _ => None,
        }
    }
}

// ---- Bytes and text ------------------------------------------------------------------------------------------------

/// Bytes being written, in place. What would not fit is not written; each layout above fits.
#[derive(Clone, Debug)]
pub struct Writer<const MAX: usize> {
    buffer: [u8; MAX],
    length: usize,
}

impl<const MAX: usize> Writer<MAX> {
    const fn new() -> Self {
        Self { buffer: [0; MAX], length: 0 }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.as_slice())
    }

    fn slice(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        debug_assert!(end <= MAX, "a token is larger than its layout allows");
        if let Some(place) = self.buffer.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn byte(&mut self, byte: u8) {
        self.slice(&[byte]);
    }

    fn fixed(&mut self, value: u64) {
        self.slice(&value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first, and eight bits in the ninth.
    fn varint(&mut self, mut value: u64) {
        for _ in 1..VARINT_BYTES_MAX {
            if value < 0x80 {
                break;
            }
            self.byte(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.byte(value.to_le_bytes()[0]);
    }

    fn seal(&mut self) {
        self.slice(&checksum(self.as_slice()));
    }
}

impl<const MAX: usize> AsRef<[u8]> for Writer<MAX> {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Bytes being read. Every step answers `None` where the next bytes are not what was looked for.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn unseal(bytes: &'a [u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        (bytes.len() <= PAGE_BYTES_MAX && *sum == checksum(body)).then_some(Self(body))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn chunk<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn fixed(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// A number in its shortest form only.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..7 * (VARINT_BYTES_MAX - 1)).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (byte != 0 || shift == 0).then_some(value);
            }
        }
        let last = self.byte()?;
        (last != 0).then_some(value | u64::from(last) << (7 * (VARINT_BYTES_MAX - 1)))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [low, high, ..] = xxh3_64(bytes).to_le_bytes();
    [low, high]
}

/// The bytes of a text, of which only one form is taken: without padding, and with nothing in its last bits.
fn from_text<'a>(text: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // One that is too long fails for want of room.
    let length = URL_SAFE_NO_PAD.decode_slice(text, buffer).ok()?;
    Some(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: u64 = 0x0123_4567_89ab_cdef;

    const BOUND: Option<Bound> = Some(Bound(0x0102_0304));

    fn seal() -> Seal {
        Seal::of(b"of the unit test")
    }

    fn sealed(permit: &Permit) -> PermitBytes {
        encode_permit(&seal(), HASH, permit, None)
    }

    fn opened(permit: Permit, issued: Issued) -> Result<Opened, Error> {
        Ok(Opened { permit, issued })
    }

    fn permit() -> Permit {
        Permit {
            kind: PermitKind::Call,
            generation: 7,
            caller_generation: 0,
            slice: 1_760_000_000_000_000_000,
            serial: 41,
            expire: Timestamp::from_nanos(1_760_000_060_123_456_789),
            caller: CallerId(99),
        }
    }

    fn any_permit() -> impl Strategy<Value = Permit> {
        let kind = prop_oneof![
            Just(PermitKind::Call),
            Just(PermitKind::Probe),
            Just(PermitKind::CallerProbe),
            Just(PermitKind::Bypass)
        ];
        let number = || prop_oneof![any::<u64>(), 0..200_u64, Just(u64::MAX)];
        (kind, number(), number(), number(), any::<u32>(), number(), number()).prop_map(
            |(kind, generation, caller_generation, slice, serial, expire, caller)| Permit {
                kind,
                generation,
                caller_generation,
                slice,
                serial,
                expire: Timestamp::from_nanos(expire),
                caller: CallerId(caller),
            },
        )
    }

    fn field_of<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result {
            Err(Error::Invalid { field, .. }) => field,
            Err(Error::PermitForged) => "forged".to_owned(),
            other => panic!("expected a field at fault, got {other:?}"),
        }
    }

    #[test]
    fn a_usual_permit_is_short() {
        assert!(sealed(&permit()).as_slice().len() <= 39);
        assert!(sealed(&permit()).to_text().len() <= 52);
    }

    #[test]
    fn the_largest_permit_fits() {
        let largest = Permit {
            kind: PermitKind::Bypass,
            generation: u64::MAX,
            caller_generation: u64::MAX,
            slice: u64::MAX,
            serial: u32::MAX,
            expire: Timestamp::from_nanos(u64::MAX - 1),
            caller: CallerId(u64::MAX),
        };
        let bytes = encode_permit(&seal(), u64::MAX, &largest, BOUND);
        assert_eq!(bytes.as_slice().len(), 64);
        let issued = Issued::To(Bound(0x0102_0304));
        assert_eq!(decode_permit(&seal(), u64::MAX, bytes.as_slice()), opened(largest, issued));
    }

    #[test]
    fn a_permit_of_another_breaker_is_refused() {
        let bytes = sealed(&permit());
        for bit in 0..64 {
            let refused = decode_permit(&seal(), HASH ^ 1 << bit, bytes.as_slice());
            assert_eq!(field_of(refused), if bit < 56 { "forged" } else { "permit" }, "bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bound in [None, BOUND] {
            let bytes = encode_permit(&seal(), HASH, &permit(), bound);
            for bit in 0..bytes.as_slice().len() * 8 {
                let mut damaged = bytes.as_slice().to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let refused = field_of(decode_permit(&seal(), HASH, &damaged));
                assert!(matches!(refused.as_str(), "permit" | "forged"), "bit {bit}: {refused}");
            }
        }
    }

    #[test]
    fn a_permit_is_good_for_the_key_that_sealed_it() {
        let bytes = sealed(&permit());
        assert_eq!(decode_permit(&seal(), HASH, bytes.as_slice()), opened(permit(), Issued::ToAny));
        let other = Seal::of(b"of another start");
        assert_eq!(decode_permit(&other, HASH, bytes.as_slice()), Ok(Opened::ELSEWHERE));
        let mut forged = bytes.as_slice().to_vec();
        forged[1..3].copy_from_slice(&other.id().to_le_bytes());
        forged[3] = hint(HASH) ^ fold(other.id());
        assert_eq!(field_of(decode_permit(&other, HASH, &forged)), "forged");
    }

    #[test]
    fn a_seal_under_the_id_of_another_key_is_of_elsewhere() {
        let bytes = sealed(&permit());
        let mut body = bytes.as_slice()[..bytes.as_slice().len() - TAG_BYTES].to_vec();
        let other = seal().id() ^ 1;
        body[1..3].copy_from_slice(&other.to_le_bytes());
        body[3] = hint(HASH) ^ fold(other);
        let tag = seal().tag(&[&body[..], &HASH.to_le_bytes()].concat());
        body.extend(tag.to_le_bytes());
        assert_eq!(decode_permit(&seal(), HASH, &body), Ok(Opened::ELSEWHERE));
    }

    #[test]
    fn a_permit_of_the_version_before_is_stale() {
        // As it was issued for the breaker whose key has this hash.
        let mut bytes = Writer::<BYTES_MAX>::new();
        bytes.byte(UNSEALED_VERSION | CALLER_NAMED | 1);
        bytes.fixed(HASH);
        for number in [7, 0, 1_760_000_000_000_000_000, 41, 60_123_456_789] {
            bytes.varint(number);
        }
        bytes.fixed(99);
        bytes.seal();
        assert_eq!(decode_permit(&seal(), HASH, bytes.as_slice()), Ok(Opened::ELSEWHERE));
        assert_eq!(decode_permit_text(&seal(), HASH, &bytes.to_text()), Ok(Opened::ELSEWHERE));
        let damaged = &bytes.as_slice()[..bytes.as_slice().len() - 1];
        assert_eq!(field_of(decode_permit(&seal(), HASH, damaged)), "permit");
    }

    #[test]
    fn what_is_not_a_permit_is_refused() {
        let text = sealed(&permit()).to_text();
        let padded = format!("{text}=");
        let long = "A".repeat(500);
        for bad in ["", "AA", "hello world", "Grüße", &text[1..], &padded, &long] {
            assert_eq!(field_of(decode_permit_text(&seal(), HASH, bad)), "permit", "{bad:?}");
        }
        let token = ResumeToken { history: 1, sequence: 2, snapshotting: false }.encode();
        assert_eq!(field_of(decode_permit_text(&seal(), HASH, &token)), "permit");
    }

    #[test]
    fn longer_forms_of_a_number_are_refused() {
        let read = |bytes: &[u8]| Reader(bytes).varint();
        assert_eq!(read(&[0x81, 0x01]), Some(129));
        assert_eq!(read(&[0x81, 0x00]), None, "a last byte without bits");
        assert_eq!(read(&[0x81]), None, "cut off");
        assert_eq!(read(&[0xff; 9]), Some(u64::MAX));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), Some(1 << 56));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]), None, "a last byte without bits");
        assert_eq!(read(&[0xff; 8]), None, "cut off");
    }

    #[test]
    fn every_list_has_page_tokens_of_its_own() {
        let all = [Listing::Breakers, Listing::Policies, Listing::Events, Listing::Tokens, Listing::Audit];
        for listing in all {
            for cursor in [Cursor::Name(String::new()), Cursor::Name("a".repeat(240)), Cursor::Sequence(u64::MAX)] {
                let token = encode_page(listing, 5, &cursor);
                for other in all {
                    let decoded = decode_page(other, 5, &token);
                    assert_eq!(
                        decoded.ok(),
                        (other == listing).then(|| Some(cursor.clone())),
                        "{listing:?}, {other:?}"
                    );
                }
            }
        }
        let long = encode_page(Listing::Breakers, 5, &Cursor::Name("a".repeat(241)));
        assert_eq!(decode_page(Listing::Breakers, 5, &long), Ok(Some(Cursor::Name("a".repeat(240)))));
    }

    #[test]
    fn a_filter_is_told_from_another_by_its_hash() {
        let hash = |name: &str| filter_hash(&name.to_owned());
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_ne!([hash("a"), hash("b")].map(|hash| hash > 1), [false; 2]);
    }

    #[test]
    fn a_missing_permit_is_told_from_a_damaged_one() {
        let message = |bytes: &[u8]| match decode_permit(&seal(), HASH, bytes) {
            Err(Error::Invalid { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert!(message(&[]).starts_with("is required"));
        assert!(message(&[1]).contains("damaged"));
        assert_eq!(sealed(&permit()).as_ref(), sealed(&permit()).as_slice());
        assert!(sealed(&permit()).as_ref().len() > 30);
    }

    #[test]
    fn a_page_token_fits_its_list_and_filter_only() {
        let token = encode_page(Listing::Breakers, 5, &Cursor::Name("payments/charge".into()));
        let cursor = Cursor::Name("payments/charge".into());
        assert_eq!(decode_page(Listing::Breakers, 5, &token), Ok(Some(cursor)));
        assert_eq!(field_of(decode_page(Listing::Breakers, 6, &token)), "page_token");
        assert_eq!(field_of(decode_page(Listing::Policies, 5, &token)), "page_token");
        assert_eq!(decode_page(Listing::Breakers, 6, ""), Ok(None));
    }

    proptest! {
        #[test]
        fn permits_come_back_as_they_went(hash: u64, permit in any_permit(), bound: Option<u32>) {
            let issued = bound.map_or(Issued::ToAny, |bound| Issued::To(Bound(bound)));
            let bytes = encode_permit(&seal(), hash, &permit, bound.map(Bound));
            prop_assert_eq!(decode_permit(&seal(), hash, bytes.as_slice()), opened(permit, issued));
            let text = encode_permit_text(&seal(), hash, &permit, bound.map(Bound));
            prop_assert!(text.len() <= 86 && text.is_ascii());
            prop_assert_eq!(decode_permit_text(&seal(), hash, &text), opened(permit, issued));
        }

        #[test]
        fn an_altered_permit_counts_nowhere(permit in any_permit(), change in 1_u8.., at: prop::sample::Index) {
            let mut bytes = sealed(&permit).as_slice().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            if let Ok(stale) = decode_permit(&seal(), HASH, &bytes) {
                prop_assert_eq!(stale, Opened::ELSEWHERE);
            }
        }

        #[test]
        fn no_bytes_panic_and_what_decodes_has_one_form(mut bytes in prop::collection::vec(any::<u8>(), 0..80), end: u8) {
            // Past the checksum and the tag, where random bytes do not get.
            let heads = [0x11, 0x12, 0x13, 0x20, 0x21, 0x31, 0x35, 0x41, 0x42, 0x44, 0x48, 0x4f];
            if let Some(first) = bytes.first_mut().filter(|_| end % 3 > 0) {
                *first = heads[usize::from(*first) % heads.len()];
            }
            match end % 3 {
                0 => {}
                1 => bytes.extend(checksum(&bytes)),
                _ => {
                    let tag = seal().tag(&[&bytes[..], &HASH.to_le_bytes()].concat());
                    bytes.extend(tag.to_le_bytes());
                }
            }
            if let Ok(Opened { permit, issued }) = decode_permit(&seal(), HASH, &bytes) && issued != Issued::Elsewhere {
                let bound = if let Issued::To(bound) = issued { Some(bound) } else { None };
                let again = encode_permit(&seal(), HASH, &permit, bound);
                // What names its key and breaker is for whoever refuses it; the tag is of them too.
                prop_assert_eq!(&again.as_slice()[4..again.as_slice().len() - TAG_BYTES], &bytes[4..bytes.len() - TAG_BYTES]);
            }
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            if let Some(token) = ResumeToken::read(&bytes) {
                prop_assert_eq!(token.encode(), text.as_str());
            }
            if let Some((listing, filter, cursor)) = read_page(&bytes) {
                prop_assert_eq!(encode_page(listing, filter, &cursor), text.as_str());
            }
        }

        #[test]
        fn no_text_panics_and_what_decodes_has_one_form(text in "\\PC{0,90}|[A-Za-z0-9_-]{0,90}") {
            let _ = decode_permit_text(&seal(), HASH, &text);
            let _ = decode_page(Listing::Events, HASH, &text);
            if let Ok(token) = ResumeToken::decode(&text) {
                prop_assert_eq!(token.encode(), text);
            }
        }

        #[test]
        fn resume_tokens_come_back_as_they_went(history: u64, sequence: u64, snapshotting: bool) {
            let token = ResumeToken { history, sequence, snapshotting };
            prop_assert_eq!(ResumeToken::decode(&token.encode()), Ok(token));
        }

        #[test]
        fn page_tokens_come_back_as_they_went(filter: u64, name in "[a-z/*]{0,240}", sequence: u64) {
            for cursor in [Cursor::Name(name), Cursor::Sequence(sequence)] {
                for listing in [Listing::Breakers, Listing::Policies, Listing::Events] {
                    let token = encode_page(listing, filter, &cursor);
                    prop_assert_eq!(decode_page(listing, filter, &token), Ok(Some(cursor.clone())));
                }
            }
        }
    }
}
