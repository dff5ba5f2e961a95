//! The seal on permits: a keyed hash, so that only this server's own permits are accepted.
//!
//! The hash is SipHash-2-4, a pseudorandom function made for short inputs, with a key of 128 bits and a tag of 64. Whoever
//! does not have the key can only guess: each guess is a request that the server answers, and succeeds with probability
//! 2^-64. At a million guesses per second, far more than a server answers, a forgery takes 290,000 years on average, and it
//! would count as a single report. A longer tag would buy nothing and would not fit into the 64 bytes of a permit.

use std::fmt;

use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};
use siphasher::sip::SipHasher24;

/// Bytes of a key.
pub const SEAL_KEY_BYTES: usize = 16;

/// A key, ready to seal and to check seals.
#[derive(Clone)]
pub struct Seal {
    keyed: SipHasher24,
    id: u16,
}

impl Seal {
    /// The seal of a key.
    #[must_use]
    pub fn of(key: &[u8; SEAL_KEY_BYTES]) -> Self {
        let keyed = SipHasher24::new_with_key(key);
        // An output for an input that no permit has, so it tells nothing about the tags of permits.
        let [low, high, ..] = keyed.hash(b"id").to_le_bytes();
        Self { keyed, id: u16::from_le_bytes([low, high]) }
    }

    /// A new key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate_key() -> Result<[u8; SEAL_KEY_BYTES], Unspecified> {
        let mut key = [0; SEAL_KEY_BYTES];
        SystemRandom::new().fill(&mut key)?;
        Ok(key)
    }

    /// Tells keys apart. Permits carry it, so that a permit of another key is recognized without being taken for a forgery.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The tag of some bytes.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> u64 {
        self.keyed.hash(bytes)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_2_4() {
        // The first vectors of the reference implementation, with the key 00 01 .. 0f and the input 00 01 ..
        let seal = Seal::of(&std::array::from_fn(|index| index as u8));
        let input: [u8; 15] = std::array::from_fn(|index| index as u8);
        assert_eq!(seal.tag(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(seal.tag(&input), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn each_key_has_tags_of_its_own_and_is_not_printed() {
        let keys = [Seal::generate_key().unwrap(), Seal::generate_key().unwrap()];
        let [one, other] = keys.map(|key| Seal::of(&key));
        assert_ne!(one.tag(b"permit"), other.tag(b"permit"));
        assert_eq!(one.tag(b"permit"), Seal::of(&keys[0]).tag(b"permit"));
        assert_eq!(format!("{one:?}"), "Seal(..)");
    }
}
