//! Tokens: the secret that somebody holds, and what is kept of it.
//!
//! A secret is 256 random bits, so a plain SHA-256 of it cannot be turned back by trying: there is nothing to try. Slow
//! hashes are for what people choose. It is found by its hash, so what a comparison takes tells nothing about it.

use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest,
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use super::role::Roles;
use crate::breaker::Timestamp;

/// What every secret begins with, so that scanners find one that was published by mistake.
const PREFIX: &str = "fuseboard_";
const RANDOM_BYTES: usize = 32;

/// A random text that names something and cannot be guessed.
///
/// # Errors
/// The system has no random numbers.
pub fn opaque_id() -> Result<String, Unspecified> {
    let mut bytes = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// What a token's owner sends.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, Unspecified> {
        Ok(Self(format!("{PREFIX}{}", opaque_id()?)))
    }

    /// The secret itself, for its owner alone.
    #[must_use]
    pub fn reveal(self) -> String {
        self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SecretHash([u8; digest::SHA256_OUTPUT_LEN]);

impl SecretHash {
    /// Of what somebody sent.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }
}

/// What is kept of a token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its name, which no other has.
    pub name: Arc<str>,
    /// What it may do.
    pub roles: Roles,
    /// Only with keys that begin with one of these; empty: with all.
    pub prefixes: Vec<Box<str>>,
    /// Whom it may call itself; empty: anybody.
    pub caller: Box<str>,
    /// Of its secret.
    pub hash: SecretHash,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends; [`Timestamp::NEVER`]: never.
    pub expires: Timestamp,
    /// Who made it.
    pub actor: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_differ_and_show_themselves_to_nobody() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!(format!("{one:?}"), "Secret(..)");
        assert_ne!(one.hash(), other.hash());
        let hash = one.hash();
        let text = one.reveal();
        assert!(text.starts_with(PREFIX) && text.len() == PREFIX.len() + 43, "{text}");
        assert_eq!(SecretHash::of(&text), hash);
    }
}
