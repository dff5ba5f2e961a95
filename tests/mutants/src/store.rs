//! What seals and batches name of the store.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use crate::breaker::Timestamp;

/// As in `src/store/mod.rs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    pub client: Box<str>,
    pub sequence: u64,
    pub at: Timestamp,
    pub counted: Option<u32>,
}

/// As in `src/store/mod.rs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    pub key: Arc<str>,
    pub version: u64,
    pub body: Box<str>,
}

/// As in `src/store/mod.rs`, without events and audit entries, of which these modules write none.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    pub author: u64,
    pub change: Change,
    pub events: Vec<()>,
    pub audit: Vec<()>,
    pub floors: Floors,
}

/// As in `src/store/mod.rs`, of documents only.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    Document { key: Arc<str>, from: u64, to: Option<Box<Document>> },
}

/// Empty here: these modules raise none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Floors {
    _private: (),
}

/// As in `src/store/mod.rs`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("the stored version is another one")]
    Moved,
    #[error("the store is closed")]
    Closed,
}

pub struct Root {
    pub documents: Vec<Document>,
}

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send + 'a>>;

/// As in `src/store/mod.rs`, as far as documents go.
pub trait Store: Debug + Send + Sync {
    fn is_lasting(&self) -> bool;
    fn root(&self) -> Answer<'_, Root>;
    fn commit(&self, commit: Commit) -> Answer<'static, ()>;
}
