//! Signing in to the dashboard: an opaque id in a cookie that scripts cannot read and other sites cannot send.
//!
//! The id is random and says nothing. What it stands for is in a table here: the identity of the token that signed in, until
//! the session expires or is signed out, and no longer than the token. So a cookie that leaks is good for a working day at most,
//! and never for the other port. The table is bounded, with a share for each identity.
//!
//! The cookie goes with requests of our own pages only (`SameSite=Strict`), and what changes something is checked for its origin
//! besides.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, error::Error, json};
use crate::{
    access::{Grant, Identity, SecretHash, opaque_id},
    breaker::Timestamp,
    engine,
    grpc::Peer,
    limit,
    share::{FairShare, Holder, Pool, Use},
};

/// Where one signs in, and out.
pub(super) const LOGIN: &str = "/api/v1/login";
pub(super) const LOGOUT: &str = "/api/v1/logout";

const COOKIE: &str = "fuseboard";
/// How long somebody stays signed in: a working day.
const MAX_AGE: Duration = Duration::from_secs(12 * 3600);
/// Most sessions.
const SESSIONS_MAX: usize = 1_000;
/// Most sessions of one identity; its oldest ends for one more.
const SESSIONS_PER_IDENTITY_MAX: usize = 20;

/// Who is signed in.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<Table>,
    /// How many each identity has, for operators.
    pool: Arc<Pool>,
}

#[derive(Debug, Default)]
struct Table {
    /// By the hash of the id: how long a comparison takes tells nothing about it.
    by_id: HashMap<SecretHash, Session>,
    opened: u64,
}

#[derive(Debug)]
struct Session {
    /// The token's, until the session ends.
    identity: Arc<Identity>,
    /// The sessions before it.
    number: u64,
    _place: Use,
}

impl Sessions {
    pub(super) fn new(fair_share: FairShare) -> Self {
        let pool = Pool::new(limit::DASHBOARD_SESSIONS, SESSIONS_MAX as u64, fair_share);
        Self { table: Mutex::default(), pool: Arc::new(pool) }
    }

    pub(super) const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Opens a session of an identity under an id. At a bound another one ends: of this identity at its share, else of the one
    /// that has most.
    fn open(&self, id: &str, of: &Identity, now: Timestamp) {
        let mut table = self.table.lock();
        table.by_id.retain(|_, session| session.is_good(now));
        if table.count(&of.name) >= SESSIONS_PER_IDENTITY_MAX {
            table.end_oldest(&of.name);
        }
        if table.by_id.len() >= SESSIONS_MAX
            && let Some(biggest) = table.biggest()
        {
            table.end_oldest(&biggest);
        }
        let expires = of.expires.min(now.after(MAX_AGE));
        let identity = Arc::new(Identity { expires, ended: of.ended.child_token(), ..of.clone() });
        table.opened += 1;
        let number = table.opened;
        let place = self.pool.take_anyway(&Holder::identity(Arc::clone(&identity.name)), 1);
        table.by_id.insert(SecretHash::of(id), Session { identity, number, _place: place });
    }

    /// Who sends these headers, if a session of theirs is open.
    pub(super) fn of(&self, headers: &HeaderMap, now: Timestamp) -> Option<Grant> {
        let table = self.table.lock();
        ids(headers).find_map(|id| {
            let session = table.by_id.get(&SecretHash::of(id))?;
            session.is_good(now).then(|| Grant::Of(Arc::clone(&session.identity)))
        })
    }

    /// Ends the sessions of these headers, and their streams.
    fn close(&self, headers: &HeaderMap) {
        let mut table = self.table.lock();
        for session in ids(headers).filter_map(|id| table.by_id.remove(&SecretHash::of(id))) {
            session.identity.ended.cancel();
        }
    }
}

impl Session {
    fn is_good(&self, now: Timestamp) -> bool {
        !self.identity.ended.is_cancelled() && self.identity.expires > now
    }
}

impl Table {
    fn count(&self, name: &str) -> usize {
        self.by_id.values().filter(|session| *session.identity.name == *name).count()
    }

    fn biggest(&self) -> Option<Arc<str>> {
        let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
        for session in self.by_id.values() {
            *counts.entry(&session.identity.name).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| Arc::clone(name))
    }

    fn end_oldest(&mut self, name: &str) {
        let of_name = self.by_id.iter().filter(|(_, session)| *session.identity.name == *name);
        let oldest = of_name.min_by_key(|(_, session)| session.number).map(|(id, _)| *id);
        if let Some(session) = oldest.and_then(|id| self.by_id.remove(&id)) {
            session.identity.ended.cancel();
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

/// Takes a token that is good, and has the browser keep the id of a session.
pub(super) async fn login(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    let body = json::body(request.into_body(), &app.limits).await?;
    let login: Login = serde_json::from_slice(&body)
        .map_err(|_| engine::Error::invalid("token", "is required: {\"token\": \"fuseboard_…\"}"))?;
    let grant = app.context.gate.identify(Some(login.token.trim()), &Peer::default())?;
    // Where nobody is asked who they are, there is nothing to keep.
    let Some(identity) = grant.identity() else { return Ok(answer(&app, "", 0)) };
    let id = opaque_id()
        .map_err(|_| Error::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the system has no random numbers"))?;
    app.sessions.open(&id, identity, app.context.engine.now());
    Ok(answer(&app, &id, MAX_AGE.as_secs()))
}

/// Ends the session, and has the browser forget it.
pub(super) async fn logout(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.sessions.close(&headers);
    answer(&app, "", 0)
}

fn answer(app: &App, value: &str, max_age: u64) -> Response {
    let secure = if app.tls.is_some() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
    let mut response = axum::Json::<Value>(json!({})).into_response();
    // It is of the alphabet of base64.
    response.headers_mut().extend(HeaderValue::try_from(cookie).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// The ids in a request's cookies.
fn ids(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::access::Roles;

    const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn identity(name: &str) -> Identity {
        Identity {
            name: name.into(),
            roles: Roles::default(),
            prefixes: Vec::new(),
            caller: "".into(),
            expires: Timestamp::NEVER,
            ended: CancellationToken::new(),
        }
    }

    fn cookie(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(format!("other=1; {COOKIE}={id}")).unwrap())])
    }

    fn is_open(sessions: &Sessions, id: &str, now: Timestamp) -> bool {
        sessions.of(&cookie(id), now).is_some()
    }

    #[test]
    fn a_session_ends_by_itself_and_with_its_token() {
        let (sessions, ana, bob) = (Sessions::new(FairShare::default()), identity("ana"), identity("bob"));
        sessions.open("a", &ana, NOW);
        sessions.open("b", &bob, NOW);
        let brief = Identity { expires: NOW.after(Duration::from_secs(60)), ..identity("brief") };
        sessions.open("c", &brief, NOW);
        assert!(["a", "b", "c"].iter().all(|id| is_open(&sessions, id, NOW)));
        assert!(!is_open(&sessions, "d", NOW) && !is_open(&sessions, "", NOW));
        assert!(!is_open(&sessions, "c", NOW.after(Duration::from_secs(60))), "no longer than its token");
        ana.ended.cancel();
        assert!(!is_open(&sessions, "a", NOW) && is_open(&sessions, "b", NOW));
        assert!(!is_open(&sessions, "b", NOW.after(MAX_AGE)));
        let Some(Grant::Of(streams)) = sessions.of(&cookie("b"), NOW) else { panic!("it is open") };
        sessions.close(&cookie("b"));
        assert!(!is_open(&sessions, "b", NOW) && streams.ended.is_cancelled(), "its streams end too");
        assert!(!bob.ended.is_cancelled(), "the token stays");
    }

    #[test]
    fn each_identity_has_a_share_and_all_together_have_a_bound() {
        let sessions = Sessions::new(FairShare::default());
        for number in 0..=SESSIONS_PER_IDENTITY_MAX {
            sessions.open(&format!("ana-{number}"), &identity("ana"), NOW);
        }
        assert!(!is_open(&sessions, "ana-0", NOW) && is_open(&sessions, "ana-1", NOW), "the oldest of its own ends");
        for number in 0..SESSIONS_MAX {
            sessions.open(&format!("{number}"), &identity(&format!("user-{number}")), NOW);
        }
        assert_eq!(sessions.table.lock().by_id.len(), SESSIONS_MAX);
        let users = (0..SESSIONS_MAX).filter(|number| is_open(&sessions, &number.to_string(), NOW)).count();
        assert!(users >= SESSIONS_MAX - 1, "those of whoever has most end first: {users}");
        sessions.open("new", &identity("late"), NOW.after(MAX_AGE));
        assert_eq!(sessions.table.lock().by_id.len(), 1, "those that have expired go");
    }
}
