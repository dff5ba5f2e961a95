//! The key that seals permits and makes ids: a document of the store, made at the first start, so that permits stay good and
//! callers keep their ids over a restart. A store that does not outlive the server keeps none.

use serde::{Deserialize, Serialize};

use super::{Engine, error::Error};
use crate::{
    access::{SEAL_KEY_BYTES, Seal},
    store::{Change, Commit, Document, Floors, Refused, Store},
};

/// What the keys of documents that hold a secret key begin with.
pub(crate) const SEALS: &str = "seal/";
/// The key of the document.
const KEY: &str = "seal/permits";
/// Servers that share a store and start at once make each other read again; this ends it.
const TRIES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Body {
    /// 32 hexadecimal digits.
    key: String,
}

impl Engine {
    /// Seals permits, and opens those that were sealed.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        &self.shared.seal
    }
}

/// The seal of a store, made where there is none.
///
/// # Errors
/// The store cannot be read or does not record it; the system has no random numbers.
pub(super) async fn seal_of(store: &dyn Store, author: u64, mut documents: Vec<Document>) -> Result<Seal, Error> {
    for _ in 0..TRIES {
        let document = documents.iter().find(|document| *document.key == *KEY);
        if let Some(key) = document.and_then(read) {
            return Ok(Seal::of(&key));
        }
        let made = Seal::generate_key().map_err(|_| failed("the system has no random numbers"))?;
        if !store.is_lasting() {
            return Ok(Seal::of(&made));
        }
        let from = document.map_or(0, |document| document.version);
        if from > 0 {
            tracing::error!(
                "the stored key of permits cannot be read: it is replaced, and permits in flight are stale"
            );
        }
        match store.commit(commit(author, from, &made)?).await {
            Ok(()) => return Ok(Seal::of(&made)),
            // Another server was first.
            Err(Refused::Moved) => documents = store.root().await.map_err(failed)?.documents,
            Err(refused) => return Err(failed(refused)),
        }
    }
    Err(failed("other servers keep replacing the key of permits"))
}

fn read(document: &Document) -> Option<[u8; SEAL_KEY_BYTES]> {
    let body: Body = serde_json::from_str(&document.body).ok()?;
    let number = u128::from_str_radix(&body.key, 16).ok().filter(|_| body.key.len() == 2 * SEAL_KEY_BYTES)?;
    Some(number.to_be_bytes())
}

fn commit(author: u64, from: u64, key: &[u8; SEAL_KEY_BYTES]) -> Result<Commit, Error> {
    let body = Body { key: format!("{:032x}", u128::from_be_bytes(*key)) };
    let body = serde_json::to_string(&body).map_err(failed)?.into();
    let document = Document { key: KEY.into(), version: from + 1, body };
    Ok(Commit {
        author,
        change: Change::Document { key: KEY.into(), from, to: Some(Box::new(document)) },
        events: Vec::new(),
        audit: Vec::new(),
        floors: Floors::default(),
    })
}

fn failed(why: impl ToString) -> Error {
    Error::Store { why: why.to_string() }
}
