//! How values are written: a format number, a checksum, and the value itself.
//!
//! ```text
//! 1 byte: format number    8 bytes: xxh3 of the payload, seeded with the format number    the payload, by postcard
//! ```
//!
//! The payload has no names and no tags, so whatever changes in a type that is stored changes the encoding. Then
//! [`FORMAT`] rises, and the type's [`Stored`] reads the older format by the types it was written with, which stay in
//! `format_1`, and makes the new ones of them. All changes between two releases share one format.
//! `tests/store/fixtures` holds bytes of every format there was.

use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The format that is written.
pub const FORMAT: u8 = 2;

/// A value that the store keeps, in the format that is written and in all older ones.
pub trait Stored: Serialize + DeserializeOwned {
    /// Reads a payload of format 1, and returns what follows the value. A type that has changed since overrides it.
    ///
    /// # Errors
    /// The bytes are no such value.
    fn from_format_1(payload: &[u8]) -> postcard::Result<(Self, &[u8])> {
        postcard::take_from_bytes(payload)
    }
}

const CHECKSUM: std::ops::Range<usize> = 1..9;

/// Why bytes are not a value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodingError {
    /// A newer server wrote it. Nothing is wrong with it.
    #[error("{table} {key:?} has format {format}, and this server knows formats up to {FORMAT}: a newer one wrote it")]
    Newer {
        /// Where it is.
        table: &'static str,
        /// Its key.
        key: String,
        /// Its format.
        format: u8,
    },
    /// It is not what was written.
    #[error("{table} {key:?} is damaged: {why}")]
    Damaged {
        /// Where it is.
        table: &'static str,
        /// Its key.
        key: String,
        /// What is wrong, for people.
        why: String,
    },
    /// The value cannot be written.
    #[error("cannot be encoded: {0}")]
    Unwritable(String),
}

/// A value as bytes.
///
/// # Errors
/// The type has a part that the encoding does not know.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = vec![0; CHECKSUM.end];
    bytes[0] = FORMAT;
    let mut bytes = postcard::to_extend(value, bytes).map_err(|error| EncodingError::Unwritable(error.to_string()))?;
    let checksum = checksum(FORMAT, &bytes[CHECKSUM.end..]);
    bytes[CHECKSUM].copy_from_slice(&checksum);
    Ok(bytes)
}

/// The value that bytes are. Table and key are for the error.
///
/// # Errors
/// They are no value, or one of a newer format.
pub fn decode<T: Stored>(table: &'static str, key: &str, bytes: &[u8]) -> Result<T, EncodingError> {
    let payload = check(table, key, bytes)?;
    let damaged = |why: String| EncodingError::Damaged { table, key: key.to_owned(), why };
    // No other format passes the check.
    let read = if bytes[0] == 1 { T::from_format_1(payload) } else { postcard::take_from_bytes(payload) };
    match read {
        Ok((value, [])) => Ok(value),
        Ok((_, left)) => Err(damaged(format!("{} bytes too many", left.len()))),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// The payload of bytes that are as they were written, in a format that is known.
///
/// # Errors
/// They are no value, or one of a newer format.
pub fn check<'a>(table: &'static str, key: &str, bytes: &'a [u8]) -> Result<&'a [u8], EncodingError> {
    let damaged = |why: &str| EncodingError::Damaged { table, key: key.to_owned(), why: why.to_owned() };
    let Some((head, payload)) = bytes.split_at_checked(CHECKSUM.end) else { return Err(damaged("too short")) };
    if head[CHECKSUM] != checksum(head[0], payload) {
        return Err(damaged("the checksum is another one"));
    }
    match head[0] {
        0 => Err(damaged("there is no format 0")),
        1..=FORMAT => Ok(payload),
        format => Err(EncodingError::Newer { table, key: key.to_owned(), format }),
    }
}

/// The format number is in it: a flipped bit must not make a value look like one of a newer server.
fn checksum(format: u8, payload: &[u8]) -> [u8; 8] {
    xxh3_64_with_seed(payload, format.into()).to_le_bytes()
}
