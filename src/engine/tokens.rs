//! The tokens that there are: documents of the store, found by the hash of a secret and by name.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    Actor, Engine,
    audit::{Action, AuditEntry},
    error::Error,
    shares::{holder_of, room},
};
use crate::{
    access::{Identity, SecretHash, Token},
    breaker::Timestamp,
    share::Pool,
    store::{Change, Commit, Document, Refused},
};

/// What the key of a token's document begins with.
const KIND: &str = "token/";

/// When the token of a document ends, if the document is a token's.
pub(super) fn end(document: &Document) -> Option<Timestamp> {
    document.key.strip_prefix(KIND)?;
    serde_json::from_str::<Token>(&document.body).ok().map(|token| token.expires)
}

/// The tokens that are in force.
#[derive(Debug)]
pub(super) struct Tokens {
    table: RwLock<Table>,
    /// Whose they are: who created each.
    pool: Arc<Pool>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: BTreeMap<Arc<str>, Token>,
    by_hash: HashMap<SecretHash, Arc<Identity>>,
}

impl Tokens {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { table: RwLock::default(), pool: Arc::clone(pool) }
    }

    pub(super) fn restore(&self, documents: &[Document]) {
        documents.iter().for_each(|document| self.put(&document.key, Some(document)));
    }

    /// Takes what is stored now under a key. What is no token's is left alone.
    pub(super) fn put(&self, key: &str, document: Option<&Document>) {
        let Some(name) = key.strip_prefix(KIND) else { return };
        let token = document.map(|document| serde_json::from_str::<Token>(&document.body)).transpose();
        let token = token.unwrap_or_else(|error| {
            tracing::error!(token = name, %error, "a stored token cannot be read: it is good for nothing");
            None
        });
        let mut table = self.table.write();
        let old = table.by_name.remove(name);
        if let Some(old) = &old {
            self.pool.remove(&holder_of(&old.actor), 1);
        }
        if let Some(ended) = old.and_then(|old| table.by_hash.remove(&old.hash)) {
            ended.ended.cancel();
        }
        if let Some(token) = token {
            self.pool.add_anyway(&holder_of(&token.actor), 1);
            table.by_hash.insert(token.hash, Arc::new(Identity::from(&token)));
            table.by_name.insert(name.into(), token);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.read().by_name.len()
    }
}

impl Engine {
    /// Who has the secret with this hash. Whether it has expired is not looked at.
    #[must_use]
    pub fn token_owner(&self, hash: &SecretHash) -> Option<Arc<Identity>> {
        self.shared.tokens.table.read().by_hash.get(hash).cloned()
    }

    /// Whether there is a token of this name.
    #[must_use]
    pub fn has_token(&self, name: &str) -> bool {
        self.shared.tokens.table.read().by_name.contains_key(name)
    }

    /// At most `max` tokens after a name, in the order of names.
    #[must_use]
    pub fn tokens(&self, after: &str, max: usize) -> Vec<Token> {
        let table = self.shared.tokens.table.read();
        let after = table.by_name.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        after.take(max).map(|(_, token)| token.clone()).collect()
    }

    /// Stores a new token, which is good from then on.
    ///
    /// # Errors
    /// There is one of that name, or there are too many; the store did not record it.
    pub async fn create_token(&self, token: Token, actor: Actor<'_>) -> Result<(), Error> {
        let tokens = &self.shared.tokens;
        let _room = room(&tokens.pool, &self.holder)?;
        let exists = Error::TokenExists { name: token.name.as_ref().to_owned() };
        if tokens.table.read().by_name.contains_key(&token.name) {
            return Err(exists);
        }
        let body = serde_json::to_string(&token).map_err(|error| Error::Store { why: error.to_string() })?;
        let roles = token.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" ");
        let detail = if token.prefixes.is_empty() { roles } else { format!("{roles} on {}", token.prefixes.join(" ")) };
        self.write_token(&token.name, 0, Some(body), Action::TokenCreated, detail, actor).await.map_err(|refused| {
            if refused == Refused::Moved { exists } else { Error::Store { why: refused.to_string() } }
        })
    }

    /// Ends a token.
    ///
    /// # Errors
    /// There is none of that name; the store did not record it.
    pub async fn revoke_token(&self, name: &str, actor: Actor<'_>) -> Result<(), Error> {
        let not_found = Error::NotFound {
            reason: "TOKEN_NOT_FOUND",
            what: "token",
            name: name.to_owned(),
            advice: "ListTokens shows those there are",
        };
        let found = self.shared.tokens.table.read().by_name.get_key_value(name).map(|(name, _)| Arc::clone(name));
        let Some(name) = found else { return Err(not_found) };
        self.write_token(&name, 1, None, Action::TokenRevoked, String::new(), actor).await.map_err(|refused| {
            if refused == Refused::Moved { not_found } else { Error::Store { why: refused.to_string() } }
        })
    }

    /// Who follows the store puts it in force, before this answers.
    async fn write_token(
        &self,
        name: &Arc<str>,
        from: u64,
        body: Option<String>,
        action: Action,
        detail: String,
        actor: Actor<'_>,
    ) -> Result<(), Refused> {
        let key: Arc<str> = format!("{KIND}{name}").into();
        let document =
            body.map(|body| Box::new(Document { key: Arc::clone(&key), version: from + 1, body: body.into() }));
        self.send(Commit {
            author: self.shared.author,
            change: Change::Document { key, from, to: document },
            events: Vec::new(),
            audit: vec![AuditEntry::new(self.now(), actor, action, name, detail)],
            floors: self.floors(),
        })
        .await
    }
}
