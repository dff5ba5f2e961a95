//! The seal on permits: a keyed hash, so that only this server's own permits are accepted.
//!
//! The hash is SipHash-2-4, a pseudorandom function made for short inputs, with a key of 128 bits and a tag of 64. Whoever
//! does not have the key can only guess: each guess is a request that the server answers, and succeeds with probability
//! 2^-64. At a million guesses per second, far more than a server answers, a forgery takes 290,000 years on average, and it
//! would count as a single report. A longer tag would buy nothing and would not fit into the 64 bytes of a permit.
//!
//! The same hash, under other keys, makes the ids of texts that clients choose: callers, services, breakers in permits, and
//! requests. An unkeyed hash is no identity there: for the 64 bits of a fast one, a second name with a given hash is found in
//! seconds. All keys are derived from the one that the store keeps, each for its own purpose, so that what one of them shows
//! says nothing about another.

use std::fmt;

use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};
use siphasher::{sip::SipHasher24, sip128};

/// Bytes of a key.
pub const SEAL_KEY_BYTES: usize = 16;

/// A key, ready to seal, to check seals, and to make ids of what clients choose.
#[derive(Clone)]
pub struct Seal {
    permits: SipHasher24,
    names: SipHasher24,
    breakers: SipHasher24,
    requests: sip128::SipHasher24,
    id: u16,
}

impl Seal {
    /// The seal of a key.
    #[must_use]
    pub fn of(key: &[u8; SEAL_KEY_BYTES]) -> Self {
        let key_for = |purpose| derive(key, purpose);
        let [low, high, ..] = key_for("id of permits");
        Self {
            permits: SipHasher24::new_with_key(&key_for("permits")),
            names: SipHasher24::new_with_key(&key_for("names")),
            breakers: SipHasher24::new_with_key(&key_for("breakers")),
            requests: sip128::SipHasher24::new_with_key(&key_for("requests")),
            id: u16::from_le_bytes([low, high]),
        }
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

    /// The tag of a permit's bytes.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> u64 {
        self.permits.hash(bytes)
    }

    /// The hash of a caller's or a service's name.
    #[must_use]
    pub fn name_hash(&self, name: &str) -> u64 {
        self.names.hash(name.as_bytes())
    }

    /// The hash of a breaker's key, as the tags of its permits include it.
    #[must_use]
    pub fn key_hash(&self, key: &str) -> u64 {
        self.breakers.hash(key.as_bytes())
    }

    /// The hash of a request. Requests are known by it alone, so it has 128 bits.
    #[must_use]
    pub fn request_hash(&self, bytes: &[u8]) -> u128 {
        self.requests.hash(bytes).as_u128()
    }
}

/// A key for one purpose.
fn derive(key: &[u8; SEAL_KEY_BYTES], purpose: &str) -> [u8; SEAL_KEY_BYTES] {
    sip128::SipHasher24::new_with_key(key).hash(purpose.as_bytes()).as_bytes()
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
        let key = std::array::from_fn(|index| index as u8);
        let (short, long) = (SipHasher24::new_with_key(&key), sip128::SipHasher24::new_with_key(&key));
        let seal = Seal { permits: short, names: short, breakers: short, requests: long, id: 0 };
        let input: [u8; 15] = std::array::from_fn(|index| index as u8);
        assert_eq!(seal.tag(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(seal.tag(&input), 0xa129_ca61_49be_45e5);
        assert_eq!(seal.name_hash(""), 0x726f_db47_dd0e_0e31);
        assert_eq!(seal.key_hash(""), 0x726f_db47_dd0e_0e31);
        let first_of_128 =
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93];
        assert_eq!(long.hash(&[]).as_bytes(), first_of_128);
        assert_eq!(derive(&key, ""), first_of_128);
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let seal = Seal::of(b"of the unit test");
        let hashes =
            [seal.tag(b"shop"), seal.name_hash("shop"), seal.key_hash("shop"), seal.request_hash(b"shop") as u64];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:?}");
        }
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
