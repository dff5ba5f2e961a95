//! What parts of the server keep in the store, beside breakers and policies.

use super::{Engine, error::Error};
use crate::store::{Change, Commit, Document, Refused};

impl Engine {
    /// What is kept under a key. It is read from all that the store keeps, so this is for the start.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn document(&self, key: &str) -> Result<Option<Document>, Error> {
        let root = self.shared.store.root().await.map_err(unwritten)?;
        Ok(root.documents.into_iter().find(|document| *document.key == *key))
    }

    /// Keeps a document in the place of one with the version `from`; 0: of none.
    ///
    /// # Errors
    /// Another one is there; the store did not record it.
    pub async fn put_document(&self, document: Document, from: u64) -> Result<(), Error> {
        self.have_store()?;
        let change = Change::Document { key: std::sync::Arc::clone(&document.key), from, to: Some(Box::new(document)) };
        let (author, floors) = (self.shared.author, self.floors());
        let commit = Commit { author, change, events: Vec::new(), audit: Vec::new(), floors };
        self.send(commit).await.map_err(unwritten)
    }
}

fn unwritten(refused: Refused) -> Error {
    Error::Store { why: refused.to_string() }
}
