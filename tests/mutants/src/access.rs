//! Seals, without identities and tokens.

#[path = "../../../src/access/seal.rs"]
mod seal;

pub use self::seal::{SEAL_KEY_BYTES, Seal};

/// As in `src/access/identity.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound(pub u32);
