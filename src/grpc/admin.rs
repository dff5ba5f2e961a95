//! `AdminService`: decode, one call of the engine, encode.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    convert,
    pb::{self, admin_service_server},
    service::{Context, to_event, to_event_kind, to_status},
    token::{Cursor, Listing, ResumeToken, decode_page, encode_page, filter_hash},
};
use crate::{
    breaker::CALLERS_MAX,
    engine::{Actor, Engine, Error, PolicyEntry, PolicyOrigin, Position},
};

/// Most events looked at for one page.
const EVENTS_SCANNED: usize = 10_000;

/// `AdminService`.
#[derive(Clone, Debug)]
pub struct AdminService {
    context: Arc<Context>,
    limits: Arc<[pb::Limit]>,
}

impl AdminService {
    /// The service. `limits` are the transport's; the engine tells its own.
    #[must_use]
    pub fn new(context: Arc<Context>, limits: Vec<pb::Limit>) -> Self {
        Self { context, limits: limits.into() }
    }

    fn engine(&self) -> &Engine {
        &self.context.engine
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl admin_service_server::AdminService for AdminService {
    async fn list_breakers(&self, request: Request<pb::ListBreakersRequest>) -> Answer<pb::ListBreakersResponse> {
        let request = request.get_ref();
        let prefix = convert::prefix("prefix", &request.prefix)?;
        let states = convert::states("states", &request.states)?;
        let filter =
            filter_hash(&pb::ListBreakersRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let after = match decode_page(Listing::Breakers, filter, &request.page_token)? {
            Some(Cursor::Name(name)) => name,
            _ => String::new(),
        };
        let size = convert::page_size(request.page_size);
        let mut page = self.engine().list(&after, size, |entry| {
            entry.key.starts_with(prefix)
                && (states.is_empty() || states.contains(&entry.status.state))
                && (!request.overridden || entry.status.forced.is_some())
        });
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more).map(|entry| Cursor::Name(entry.key.as_ref().to_owned()));
        Ok(Response::new(pb::ListBreakersResponse {
            breakers: page.iter().map(|entry| to_status(self.engine(), entry)).collect(),
            next_page_token: next.map_or_else(String::new, |cursor| encode_page(Listing::Breakers, filter, &cursor)),
        }))
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Answer<pb::ListPoliciesResponse> {
        let request = request.get_ref();
        let key = match request.breaker.as_str() {
            "" => None,
            key => Some(convert::key("breaker", key)?),
        };
        let filter =
            filter_hash(&pb::ListPoliciesRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let after = decode_page(Listing::Policies, filter, &request.page_token)?;
        let size = convert::page_size(request.page_size);
        let all = self.engine().policies(key);
        // The last entry's name and origin; if it has gone since, the list begins again.
        let start = match &after {
            Some(Cursor::Name(name)) => {
                all.iter().position(|entry| page_name(entry) == *name).map_or(0, |index| index + 1)
            }
            _ => 0,
        };
        let page = &all[start..all.len().min(start + size)];
        let more = start + page.len() < all.len();
        let next = page.last().filter(|_| more).map(|entry| Cursor::Name(page_name(entry)));
        Ok(Response::new(pb::ListPoliciesResponse {
            policies: page.iter().map(to_policy_entry).collect(),
            next_page_token: next.map_or_else(String::new, |cursor| encode_page(Listing::Policies, filter, &cursor)),
            default_policy: Some(convert::to_policy(&self.engine().default_policy())),
        }))
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::GetPolicyResponse> {
        let pattern = convert::pattern("pattern", &request.get_ref().pattern)?;
        let entry = self.engine().policy(pattern)?;
        Ok(Response::new(pb::GetPolicyResponse { entry: Some(to_policy_entry(&entry)) }))
    }

    async fn set_policy(&self, request: Request<pb::SetPolicyRequest>) -> Answer<pb::SetPolicyResponse> {
        let request = request.get_ref();
        let pattern = convert::pattern("pattern", &request.pattern)?;
        let policy =
            request.policy.as_ref().ok_or_else(|| Error::invalid("policy", "is required: the fields to override"))?;
        let spec = convert::policy(policy).map_err(|error| error.within("policy"))?;
        let actor = actor(&request.actor, &request.reason)?;
        let (engine, pattern, expected) = (self.engine().clone(), pattern.to_owned(), request.expected_version);
        let (name, comment) = (actor.name.to_owned(), actor.comment.to_owned());
        let (entry, breakers_changed) = to_the_end(self.engine(), async move {
            engine.set_policy(&pattern, spec, expected, Actor { name: &name, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::SetPolicyResponse { entry: Some(to_policy_entry(&entry)), breakers_changed }))
    }

    async fn delete_policy(&self, request: Request<pb::DeletePolicyRequest>) -> Answer<pb::DeletePolicyResponse> {
        let request = request.get_ref();
        let pattern = convert::pattern("pattern", &request.pattern)?;
        let actor = actor(&request.actor, &request.reason)?;
        let (engine, pattern, expected) = (self.engine().clone(), pattern.to_owned(), request.expected_version);
        let (name, comment) = (actor.name.to_owned(), actor.comment.to_owned());
        let breakers_changed = to_the_end(self.engine(), async move {
            engine.delete_policy(&pattern, expected, Actor { name: &name, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::DeletePolicyResponse { breakers_changed }))
    }

    async fn set_override(&self, request: Request<pb::SetOverrideRequest>) -> Answer<pb::SetOverrideResponse> {
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        let mode = convert::override_mode("mode", request.mode)?;
        let actor = Actor {
            name: convert::required_actor("actor", &request.actor)?,
            comment: convert::required_reason("reason", &request.reason)?,
        };
        let expire_after = convert::expire_after("expire_after", request.expire_after.as_ref())?;
        let entry = self.engine().set_override(key, mode, expire_after, actor).await?;
        Ok(Response::new(pb::SetOverrideResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn clear_override(&self, request: Request<pb::ClearOverrideRequest>) -> Answer<pb::ClearOverrideResponse> {
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        let entry = self.engine().clear_override(key, actor(&request.actor, &request.reason)?).await?;
        Ok(Response::new(pb::ClearOverrideResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn delete_breaker(&self, request: Request<pb::DeleteBreakerRequest>) -> Answer<pb::DeleteBreakerResponse> {
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        self.engine().delete(key, actor(&request.actor, &request.reason)?).await?;
        Ok(Response::new(pb::DeleteBreakerResponse {}))
    }

    async fn list_events(&self, request: Request<pb::ListEventsRequest>) -> Answer<pb::ListEventsResponse> {
        let request = request.get_ref();
        let key = match request.breaker.as_str() {
            "" => None,
            key => Some(convert::key("breaker", key)?),
        };
        let kinds = convert::event_kinds("kinds", &request.kinds)?;
        let bound = |field, time: &Option<prost_types::Timestamp>| {
            time.as_ref().map(|time| convert::timestamp(field, time)).transpose()
        };
        let start = bound("start_time", &request.start_time)?;
        let end = bound("end_time", &request.end_time)?;
        let filter = filter_hash(&pb::ListEventsRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let size = convert::page_size(request.page_size);
        let from = match decode_page(Listing::Events, filter, &request.page_token)? {
            Some(Cursor::Sequence(sequence)) => sequence,
            _ if request.newest_first => u64::MAX,
            _ => 0,
        };
        let scanned = self.engine().events(from, request.newest_first, EVENTS_SCANNED);
        let mut events = Vec::new();
        let mut next = scanned.last().filter(|_| scanned.len() == EVENTS_SCANNED).map(|event| event.sequence);
        for event in &scanned {
            if key.is_none_or(|key| *event.key == *key)
                && (kinds.is_empty() || kinds.contains(&to_event_kind(event.kind)))
                && start.is_none_or(|start| event.at >= start)
                && end.is_none_or(|end| event.at < end)
            {
                if events.len() == size {
                    next = events.last().map(|event: &pb::Event| event.sequence);
                    break;
                }
                events.push(to_event(event));
            }
        }
        let next = next.map(|sequence| encode_page(Listing::Events, filter, &Cursor::Sequence(sequence)));
        Ok(Response::new(pb::ListEventsResponse { events, next_page_token: next.unwrap_or_default() }))
    }

    async fn get_server_info(&self, _: Request<pb::GetServerInfoRequest>) -> Answer<pb::GetServerInfoResponse> {
        let engine = self.engine();
        let usage = engine.usage();
        let position = |sequence| Position { history: engine.history(), sequence, in_snapshot: false };
        let oldest = position(usage.oldest_sequence.saturating_sub(1));
        let now = engine.now();
        Ok(Response::new(pb::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: engine.store_name().to_owned(),
            store_healthy: engine.store_problem().is_none(),
            store_problem: engine.store_problem().unwrap_or_default(),
            store_damage: self.context.store_damage.clone(),
            history: format!("{:016x}", engine.history()),
            start_time: Some(convert::to_timestamp(engine.started())),
            now: Some(convert::to_timestamp(now)),
            oldest_sequence: usage.oldest_sequence,
            newest_sequence: usage.newest_sequence,
            oldest_resume_token: ResumeToken::from(oldest).encode(),
            limits: engine_limits(engine).into_iter().chain(self.limits.iter().cloned()).collect(),
            draining: self.context.shutdown.draining(),
            uptime: Some(convert::to_duration(now.since(engine.started()))),
        }))
    }
}

fn actor<'a>(name: &'a str, reason: &'a str) -> Result<Actor<'a>, Error> {
    Ok(Actor { name: convert::actor("actor", name)?, comment: convert::reason("reason", reason)? })
}

/// Does what must not be left half done when whoever asked has gone, or was told that the store fails.
async fn to_the_end<T: Send + 'static>(
    engine: &Engine,
    act: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Status> {
    tokio::select! {
        biased;
        done = tokio::spawn(act) => Ok(done.map_err(|_| Status::internal("it was not brought to its end"))??),
        Err(failure) = engine.store_failure() => Err(failure.into()),
    }
}

fn page_name(entry: &PolicyEntry) -> String {
    format!("{:?} {}", entry.origin, entry.pattern)
}

fn to_policy_entry(entry: &PolicyEntry) -> pb::PolicyEntry {
    pb::PolicyEntry {
        pattern: entry.pattern.as_ref().to_owned(),
        policy: Some(convert::to_policy_spec(&entry.spec)),
        version: entry.version,
        origin: match entry.origin {
            PolicyOrigin::Api => pb::PolicyOrigin::Api as i32,
            PolicyOrigin::File => pb::PolicyOrigin::File as i32,
        },
        actor: entry.actor.as_ref().to_owned(),
        set_time: Some(convert::to_timestamp(entry.set)),
    }
}

fn engine_limits(engine: &Engine) -> Vec<pb::Limit> {
    let (limits, usage) = (engine.limits(), engine.usage());
    [
        ("max_breakers", u64::from(limits.breakers), u64::from(usage.breakers)),
        ("max_request_ids", limits.request_ids as u64, usage.request_ids as u64),
        ("max_batch_clients", limits.batch_clients as u64, usage.batch_clients as u64),
        ("max_callers", limits.callers as u64, usage.callers as u64),
        ("max_policies", limits.policies as u64, usage.policies as u64),
        ("event_log_events", limits.events as u64, usage.events as u64),
        ("max_watchers", limits.watchers, usage.watchers),
        ("permit_ledger_bytes", limits.ledger_bytes as u64, usage.ledger_bytes as u64),
    ]
    .map(|(name, max, used)| pb::Limit { name: name.to_owned(), max, used: Some(used) })
    .into_iter()
    .chain([pb::Limit { name: "callers_per_breaker".to_owned(), max: CALLERS_MAX as u64, used: None }])
    .collect()
}
