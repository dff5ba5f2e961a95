//! Who is behind a request, for both ports: a token in its `authorization` header, or the certificate of its connection.
//!
//! The server asks for an identity from the start on, or never: a token that is made later must not lock out who made it.

use std::{collections::HashMap, fmt, sync::Arc};

use http::{Extensions, HeaderMap, header};
use parking_lot::RwLock;

use crate::{
    access::{ADMIN_TOKEN, Grant, Identity, Need, Role, Roles, SecretHash},
    breaker::Timestamp,
    engine::{Engine, Error},
    share::Holder,
};

/// What the server knows of identities beside its tokens.
#[derive(Clone, Default, Debug)]
pub struct Keys {
    /// Of the token in the administrators' file.
    pub admin: Option<SecretHash>,
    /// Identities by a name in a client's certificate.
    pub certificates: HashMap<String, Identity>,
}

impl Keys {
    /// Whether there is anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admin.is_none() && self.certificates.is_empty()
    }
}

/// The names that the other end of a connection has proved to have; none without a client's certificate.
#[derive(Clone, Default, Debug)]
pub struct Peer(pub Arc<[String]>);

/// Lets requests in. Clones share one.
#[derive(Clone, Default, Debug)]
pub struct Gate {
    /// `None`: everybody may do everything.
    guarded: Option<Arc<Guarded>>,
}

struct Guarded {
    engine: Engine,
    known: RwLock<Known>,
}

struct Known {
    admin: Option<(SecretHash, Arc<Identity>)>,
    certificates: HashMap<String, Arc<Identity>>,
}

impl Gate {
    /// One that asks for an identity, if there are any.
    #[must_use]
    pub fn new(engine: &Engine, keys: Keys) -> Self {
        if keys.is_empty() {
            return Self::default();
        }
        let known = Known { admin: None, certificates: HashMap::new() };
        let gate = Self { guarded: Some(Arc::new(Guarded { engine: engine.clone(), known: RwLock::new(known) })) };
        gate.set(keys);
        gate
    }

    /// Whether everybody may do everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.guarded.is_none()
    }

    /// Takes what the server knows now. Streams of identities that are gone, or changed, end. An open gate stays open.
    pub fn set(&self, keys: Keys) {
        let Some(guarded) = &self.guarded else { return };
        for identity in keys.certificates.values().filter(|identity| guarded.engine.has_token(&identity.name)) {
            let identity = &*identity.name;
            tracing::warn!(
                identity,
                "a token has this name too, so the audit trail cannot tell them apart: revoke the token"
            );
        }
        let mut known = guarded.known.write();
        if known.admin.as_ref().map(|(hash, _)| *hash) != keys.admin {
            let new = keys.admin.map(|hash| (hash, Arc::new(admin())));
            if let Some((_, ended)) = std::mem::replace(&mut known.admin, new) {
                ended.ended.cancel();
            }
        }
        let old = std::mem::take(&mut known.certificates);
        let kept = |name: &String, identity: &Identity| old.get(name).filter(|old| old.is_same(identity)).cloned();
        let new = keys.certificates.into_iter();
        known.certificates = new
            .map(|(name, identity)| (name.clone(), kept(&name, &identity).unwrap_or_else(|| identity.into())))
            .collect();
        for (name, identity) in &old {
            if !known.certificates.get(name).is_some_and(|kept| Arc::ptr_eq(kept, identity)) {
                identity.ended.cancel();
            }
        }
    }

    /// Whether an identity that is no token has this name, so that the audit trail could not tell a token of that name from it.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let is_known = |guarded: &Arc<Guarded>| {
            let known = guarded.known.read();
            known.certificates.values().any(|identity| *identity.name == *name)
        };
        name == ADMIN_TOKEN || self.guarded.as_ref().is_some_and(is_known)
    }

    /// What a call of `method` (`package.Service/Method`) may do.
    ///
    /// # Errors
    /// Nobody is behind it, or somebody who may not call it.
    pub fn admit(&self, method: &str, need: Need, headers: &HeaderMap, peer: &Peer) -> Result<Grant, Error> {
        let grant = match need {
            Need::Nothing => return Ok(Grant::Everything),
            _ => self.identify(bearer(headers)?, peer)?,
        };
        grant.check_role(need, method)?;
        Ok(grant)
    }

    /// Who somebody with this token, or else with these names, is.
    ///
    /// # Errors
    /// Nobody.
    pub fn identify(&self, token: Option<&str>, peer: &Peer) -> Result<Grant, Error> {
        let Some(guarded) = &self.guarded else { return Ok(Grant::Everything) };
        let unknown = |why| Err(Error::Unauthenticated { why });
        let Some(identity) = guarded.find(token, peer) else {
            return unknown(match (token, peer.0.is_empty()) {
                (Some(_), _) => "the token is not known here: it was revoked, or mistyped",
                (None, false) => "the client's certificate has no name that an [[identity]] has; a token would do, too",
                (None, true) => "send a token in the header `authorization: Bearer <token>`, or show a certificate",
            });
        };
        if identity.expires <= guarded.engine.now() {
            return unknown("the token has expired");
        }
        Ok(Grant::Of(identity))
    }

    /// Who uses what a request takes of the server's bounds: its identity, else the address that it comes from.
    #[must_use]
    pub fn holder(extensions: &Extensions) -> Holder {
        extensions.get::<Holder>().cloned().unwrap_or_else(Holder::server)
    }

    /// What a request may do that has come through [`Gate::admit`]. One that has not may do nothing.
    ///
    /// # Errors
    /// It has not.
    pub fn grant(&self, extensions: &Extensions) -> Result<Grant, Error> {
        match extensions.get::<Grant>() {
            Some(grant) => Ok(grant.clone()),
            None if self.is_open() => Ok(Grant::Everything),
            None => Err(Error::Unauthenticated { why: "the request came by no door" }),
        }
    }
}

impl Guarded {
    fn find(&self, token: Option<&str>, peer: &Peer) -> Option<Arc<Identity>> {
        let known = self.known.read();
        let Some(token) = token else {
            return peer.0.iter().find_map(|name| known.certificates.get(name)).cloned();
        };
        let hash = SecretHash::of(token);
        let admin = known.admin.as_ref().filter(|(admin, _)| *admin == hash);
        admin.map(|(_, identity)| Arc::clone(identity)).or_else(|| self.engine.token_owner(&hash))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

fn admin() -> Identity {
    Identity {
        name: ADMIN_TOKEN.into(),
        roles: Roles::from_iter([Role::Admin]),
        prefixes: Vec::new(),
        caller: "".into(),
        expires: Timestamp::NEVER,
        ended: tokio_util::sync::CancellationToken::new(),
    }
}

/// The token in the `authorization` header, if there is one.
///
/// # Errors
/// It is there, and holds no token.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::Unauthenticated { why: "the header `authorization` must not be sent twice" });
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Error::Unauthenticated { why: "the header `authorization` must be `Bearer <token>`" }),
    }
}
