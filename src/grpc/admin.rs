//! `AdminService`: decode, one call of the engine, encode.

use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    convert,
    gate::Gate,
    pb::{self, admin_service_server},
    service::{Context, actor, to_event, to_event_kind, to_status},
    token::{Cursor, Listing, ResumeToken, decode_page, encode_page, filter_hash},
};
use crate::{
    access::{Grant, Secret, Token},
    breaker::Timestamp,
    engine::{Actor, AuditEntry, Engine, Entry, Error, PolicyEntry, PolicyOrigin, Position},
    limit::Level,
    notify::{Condition, Dead, Webhook},
    share::{Holder, Pool},
};

/// Most bytes of the entries of a page.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Most events looked at for one page.
const EVENTS_SCANNED: usize = 10_000;
/// Events that are looked at before other work of the thread has its turn.
const EVENTS_AT_ONCE: usize = 500;

/// One page of a list. It ends after a number of entries, or before the entry with which it would exceed [`PAGE_BYTES_MAX`]: a
/// client refuses messages of more than 4 MiB unless told otherwise.
struct Page<T> {
    entries: Vec<T>,
    size: usize,
    bytes: usize,
}

impl<T: Message> Page<T> {
    const fn of(size: usize) -> Self {
        Self { entries: Vec::new(), size, bytes: 0 }
    }

    /// Adds an entry; false where the page is full. It takes at least one.
    fn add(&mut self, entry: T) -> bool {
        // With its tag and length.
        let bytes = self.bytes + entry.encoded_len() + 4;
        let has_room = self.entries.is_empty() || (self.entries.len() < self.size && bytes <= PAGE_BYTES_MAX);
        if has_room {
            self.bytes = bytes;
            self.entries.push(entry);
        }
        has_room
    }

    /// Adds entries until the page is full; true where some are left over.
    fn fill(&mut self, entries: impl IntoIterator<Item = T>) -> bool {
        !entries.into_iter().all(|entry| self.add(entry))
    }
}

/// `AdminService`.
#[derive(Clone, Debug)]
pub struct AdminService {
    context: Arc<Context>,
    limits: Arc<[Level]>,
    /// The bounds that are shared; they are made after the service.
    pools: Arc<RwLock<Vec<Arc<Pool>>>>,
}

impl AdminService {
    /// The service. `limits` are the transport's; the engine tells its own.
    #[must_use]
    pub fn new(context: Arc<Context>, limits: Vec<Level>) -> Self {
        Self { context, limits: limits.into(), pools: Arc::default() }
    }

    /// Has server info tell of bounds that are shared, and of who uses the most of each.
    pub fn show(&self, pools: impl IntoIterator<Item = Arc<Pool>>) {
        self.pools.write().extend(pools);
    }

    /// What is used of every limit, with the `biggest` holders that use the most of each: for server info and metrics.
    #[must_use]
    pub fn levels(&self, biggest: usize) -> Vec<Level> {
        let mut levels = self.engine().levels(biggest);
        levels.extend_from_slice(&self.limits);
        levels.extend(self.pools.read().iter().map(|pool| Level::of(pool, biggest)));
        levels
    }

    fn engine(&self) -> &Engine {
        &self.context.engine
    }

    /// The engine on behalf of whoever sends a request.
    fn engine_for<T>(&self, request: &Request<T>) -> Engine {
        self.context.engine.on_behalf_of(Gate::holder(request.extensions()))
    }

    fn grant<T>(&self, request: &Request<T>) -> Result<Grant, Error> {
        self.context.gate.grant(request.extensions())
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl admin_service_server::AdminService for AdminService {
    async fn list_breakers(&self, request: Request<pb::ListBreakersRequest>) -> Answer<pb::ListBreakersResponse> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        let request = request.get_ref();
        let prefix = convert::prefix("prefix", &request.prefix)?;
        if !prefix.is_empty() {
            grant.check(prefix)?;
        }
        let states = convert::states("states", &request.states)?;
        let filter =
            filter_hash(&pb::ListBreakersRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let after = match decode_page(Listing::Breakers, filter, &request.page_token)? {
            Some(Cursor::Name(name)) => name,
            _ => String::new(),
        };
        let size = convert::page_size(request.page_size);
        let wanted_key = |key: &str| key.starts_with(prefix) && grant.covers(key);
        let wanted = |entry: &Entry| {
            (states.is_empty() || states.contains(&entry.status.effective_state()))
                && (!request.overridden || entry.status.forced.is_some())
        };
        let found = Box::pin(engine.page(&after, size, wanted_key, wanted)).await?;
        let mut page = Page::of(size);
        let more = page.fill(found.iter().map(|entry| to_status(self.engine(), entry)));
        let next = page.entries.last().filter(|_| more).map(|last| Cursor::Name(last.breaker.clone()));
        Ok(Response::new(pb::ListBreakersResponse {
            breakers: page.entries,
            next_page_token: next.map_or_else(String::new, |cursor| encode_page(Listing::Breakers, filter, &cursor)),
        }))
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Answer<pb::ListPoliciesResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = match request.breaker.as_str() {
            "" => None,
            key => Some(convert::key("breaker", key)?),
        };
        key.map_or(Ok(()), |key| grant.check(key))?;
        let filter =
            filter_hash(&pb::ListPoliciesRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let after = decode_page(Listing::Policies, filter, &request.page_token)?;
        let size = convert::page_size(request.page_size);
        let mut all = self.engine().policies(key);
        // Those for a key are told as far as they apply to it, however far they reach.
        all.retain(|entry| key.is_some() || grant.check(&entry.pattern).is_ok());
        // The last entry's name and origin; if it has gone since, the list begins again.
        let start = match &after {
            Some(Cursor::Name(name)) => {
                all.iter().position(|entry| page_name(entry) == *name).map_or(0, |index| index + 1)
            }
            _ => 0,
        };
        let mut page = Page::of(size);
        let more = page.fill(all[start..].iter().map(to_policy_entry));
        let last = all[start..start + page.entries.len()].last();
        let next = last.filter(|_| more).map(|entry| Cursor::Name(page_name(entry)));
        Ok(Response::new(pb::ListPoliciesResponse {
            policies: page.entries,
            next_page_token: next.map_or_else(String::new, |cursor| encode_page(Listing::Policies, filter, &cursor)),
            default_policy: Some(convert::to_policy(&self.engine().default_policy())),
        }))
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::GetPolicyResponse> {
        let pattern = convert::pattern("pattern", &request.get_ref().pattern)?;
        self.grant(&request)?.check(pattern)?;
        let entry = self.engine().policy(pattern)?;
        Ok(Response::new(pb::GetPolicyResponse { entry: Some(to_policy_entry(&entry)) }))
    }

    async fn set_policy(&self, request: Request<pb::SetPolicyRequest>) -> Answer<pb::SetPolicyResponse> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        let request = request.get_ref();
        let pattern = convert::pattern("pattern", &request.pattern)?;
        grant.check(pattern)?;
        let policy =
            request.policy.as_ref().ok_or_else(|| Error::invalid("policy", "is required: the fields to override"))?;
        let spec = convert::policy(policy).map_err(|error| error.within("policy"))?;
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        let (pattern, expected) = (pattern.to_owned(), request.expected_version);
        let (entry, breakers_changed) = to_the_end(self.engine(), async move {
            engine.set_policy(&pattern, spec, expected, Actor { name: &name, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::SetPolicyResponse { entry: Some(to_policy_entry(&entry)), breakers_changed }))
    }

    async fn delete_policy(&self, request: Request<pb::DeletePolicyRequest>) -> Answer<pb::DeletePolicyResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let pattern = convert::pattern("pattern", &request.pattern)?;
        grant.check(pattern)?;
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        let (engine, pattern, expected) = (self.engine().clone(), pattern.to_owned(), request.expected_version);
        let breakers_changed = to_the_end(self.engine(), async move {
            engine.delete_policy(&pattern, expected, Actor { name: &name, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::DeletePolicyResponse { breakers_changed }))
    }

    async fn set_override(&self, request: Request<pb::SetOverrideRequest>) -> Answer<pb::SetOverrideResponse> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let mode = convert::override_mode("mode", request.mode)?;
        let id = convert::override_id("id", &request.id)?;
        // An identity answers for it; else somebody has to.
        if grant.identity().is_none() {
            convert::required_actor("actor", &request.actor)?;
        }
        let name = actor(&grant, &request.actor)?;
        let actor = Actor { name: &name, comment: convert::required_reason("reason", &request.reason)? };
        let expire_after = convert::expire_after("expire_after", request.expire_after.as_ref())?;
        let entry = engine.set_override(key, id, mode, expire_after, actor).await?;
        Ok(Response::new(pb::SetOverrideResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn clear_override(&self, request: Request<pb::ClearOverrideRequest>) -> Answer<pb::ClearOverrideResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        let id = Some(request.id.as_str()).filter(|id| !id.is_empty());
        let id = id.map(|id| convert::override_id("id", id)).transpose()?;
        let actor = Actor { name: &name, comment: &comment };
        let entry = self.engine().clear_override(key, id, actor).await?;
        Ok(Response::new(pb::ClearOverrideResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn probe_now(&self, request: Request<pb::ProbeNowRequest>) -> Answer<pb::ProbeNowResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let caller = Some(convert::caller("caller", &request.caller)?).filter(|caller| !caller.is_empty());
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        let entry = self.engine().probe_now(key, caller, Actor { name: &name, comment: &comment }).await?;
        Ok(Response::new(pb::ProbeNowResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn delete_declaration(
        &self,
        request: Request<pb::DeleteDeclarationRequest>,
    ) -> Answer<pb::DeleteDeclarationResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        let entry = self.engine().delete_declaration(key, Actor { name: &name, comment: &comment }).await?;
        Ok(Response::new(pb::DeleteDeclarationResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn delete_breaker(&self, request: Request<pb::DeleteBreakerRequest>) -> Answer<pb::DeleteBreakerResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let (name, comment) = (actor(&grant, &request.actor)?, comment(&request.reason)?);
        self.engine().delete(key, Actor { name: &name, comment: &comment }).await?;
        Ok(Response::new(pb::DeleteBreakerResponse {}))
    }

    async fn list_events(&self, request: Request<pb::ListEventsRequest>) -> Answer<pb::ListEventsResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = match request.breaker.as_str() {
            "" => None,
            key => Some(convert::key("breaker", key)?),
        };
        key.map_or(Ok(()), |key| grant.check(key))?;
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
        let mut page = Page::of(size);
        let mut next = scanned.last().filter(|_| scanned.len() == EVENTS_SCANNED).map(|event| event.sequence);
        for (index, event) in scanned.iter().enumerate() {
            if index % EVENTS_AT_ONCE == EVENTS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if key.is_none_or(|key| *event.key == *key)
                && grant.covers(&event.key)
                && (kinds.is_empty() || kinds.contains(&to_event_kind(event.kind)))
                && start.is_none_or(|start| event.at >= start)
                && end.is_none_or(|end| event.at < end)
            {
                let last = page.entries.last().map(|event: &pb::Event| event.sequence);
                if !page.add(to_event(event)) {
                    next = last;
                    break;
                }
            }
        }
        let events = page.entries;
        let next = next.map(|sequence| encode_page(Listing::Events, filter, &Cursor::Sequence(sequence)));
        Ok(Response::new(pb::ListEventsResponse { events, next_page_token: next.unwrap_or_default() }))
    }

    async fn get_identity(&self, request: Request<pb::GetIdentityRequest>) -> Answer<pb::GetIdentityResponse> {
        let grant = self.grant(&request)?;
        let Some(identity) = grant.identity() else { return Ok(Response::new(pb::GetIdentityResponse::default())) };
        Ok(Response::new(pb::GetIdentityResponse {
            authenticated: true,
            name: identity.name.as_ref().to_owned(),
            roles: convert::to_roles(identity.roles),
            prefixes: texts(&identity.prefixes),
            caller: identity.caller.clone().into(),
        }))
    }

    async fn create_token(&self, request: Request<pb::CreateTokenRequest>) -> Answer<pb::CreateTokenResponse> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        let request = request.get_ref();
        let name = convert::token_name("name", &request.name)?;
        if self.context.gate.has_name(name) {
            let message = "must not be that of the administrators' token or of an [[identity]]: the audit trail could not \
                           tell them apart; choose another";
            return Err(Error::invalid("name", message).into());
        }
        let (roles, prefixes) = convert::token_bounds(request)?;
        let caller = convert::caller("caller", &request.caller)?;
        let expire_after = convert::token_expire_after("expire_after", request.expire_after.as_ref())?;
        let comment = comment(&request.reason)?;
        let identity = grant.identity().ok_or(Error::AuthenticationOff)?;
        let secret = Secret::generate().map_err(|_| Status::internal("the system has no random numbers"))?;
        let (now, actor) = (engine.now(), Arc::clone(&identity.name));
        let token = Token {
            name: name.into(),
            roles,
            prefixes,
            caller: caller.into(),
            hash: secret.hash(),
            created: now,
            expires: expire_after.map_or(Timestamp::NEVER, |after| now.after(after)),
            actor: Arc::clone(&actor),
        };
        let told = to_token(&token);
        to_the_end(self.engine(), async move {
            engine.create_token(token, Actor { name: &actor, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::CreateTokenResponse { token: Some(told), secret: secret.reveal() }))
    }

    async fn list_tokens(&self, request: Request<pb::ListTokensRequest>) -> Answer<pb::ListTokensResponse> {
        self.grant(&request)?;
        let request = request.get_ref();
        let filter = filter_hash(&pb::ListTokensRequest::default());
        let after = match decode_page(Listing::Tokens, filter, &request.page_token)? {
            Some(Cursor::Name(name)) => name,
            _ => String::new(),
        };
        let size = convert::page_size(request.page_size);
        let mut page = Page::of(size);
        let more = page.fill(self.engine().tokens(&after, size + 1).iter().map(to_token));
        let next = page.entries.last().filter(|_| more).map(|last| Cursor::Name(last.name.clone()));
        Ok(Response::new(pb::ListTokensResponse {
            tokens: page.entries,
            next_page_token: next.map_or_else(String::new, |cursor| encode_page(Listing::Tokens, filter, &cursor)),
        }))
    }

    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Answer<pb::RevokeTokenResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let token = convert::token_name("name", &request.name)?.to_owned();
        let (name, comment) = (actor(&grant, "")?, comment(&request.reason)?);
        let engine = self.engine().clone();
        to_the_end(self.engine(), async move {
            engine.revoke_token(&token, Actor { name: &name, comment: &comment }).await
        })
        .await?;
        Ok(Response::new(pb::RevokeTokenResponse {}))
    }

    async fn list_audit(&self, request: Request<pb::ListAuditRequest>) -> Answer<pb::ListAuditResponse> {
        self.grant(&request)?;
        let request = request.get_ref();
        let target = match request.target.as_str() {
            "" => None,
            target => Some(convert::pattern("target", target)?),
        };
        let filter = filter_hash(&pb::ListAuditRequest { page_size: 0, page_token: String::new(), ..request.clone() });
        let before = match decode_page(Listing::Audit, filter, &request.page_token)? {
            Some(Cursor::Sequence(sequence)) => sequence,
            _ => u64::MAX,
        };
        let size = convert::page_size(request.page_size);
        let scanned = self.engine().audit(before, EVENTS_SCANNED).await?;
        let mut next = scanned.last().filter(|_| scanned.len() == EVENTS_SCANNED).map(|entry| entry.sequence);
        let mut page = Page::of(size);
        for entry in scanned.iter().filter(|entry| target.is_none_or(|target| *entry.target == *target)) {
            let last = page.entries.last().map(|entry: &pb::AuditEntry| entry.sequence);
            if !page.add(to_audit_entry(entry)) {
                next = last;
                break;
            }
        }
        let entries = page.entries;
        let next = next.map(|sequence| encode_page(Listing::Audit, filter, &Cursor::Sequence(sequence)));
        Ok(Response::new(pb::ListAuditResponse { entries, next_page_token: next.unwrap_or_default() }))
    }

    async fn list_webhooks(&self, request: Request<pb::ListWebhooksRequest>) -> Answer<pb::ListWebhooksResponse> {
        // They are sent events of all breakers, so that a prefix is not enough.
        unbounded(&self.grant(&request)?)?;
        let webhooks = self.context.notifier.list();
        let webhooks = webhooks.iter().map(|(webhook, condition)| to_webhook(webhook, condition)).collect();
        Ok(Response::new(pb::ListWebhooksResponse { webhooks }))
    }

    async fn test_webhook(&self, request: Request<pb::TestWebhookRequest>) -> Answer<pb::TestWebhookResponse> {
        unbounded(&self.grant(&request)?)?;
        let name = convert::token_name("name", &request.get_ref().name)?;
        let tested = self.context.notifier.test(name).await?;
        let problem = tested.err().unwrap_or_default();
        Ok(Response::new(pb::TestWebhookResponse { taken: problem.is_empty(), problem }))
    }

    async fn get_server_info(&self, request: Request<pb::GetServerInfoRequest>) -> Answer<pb::GetServerInfoResponse> {
        let sees_others = self.grant(&request)?.sees_others();
        let engine = self.engine();
        let usage = engine.usage();
        // Who uses a limit is told only to those who may see others.
        let biggest = if sees_others { BIGGEST_MAX } else { 0 };
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
            limits: self.levels(biggest).into_iter().map(to_limit).collect(),
            draining: self.context.shutdown.draining(),
            uptime: Some(convert::to_duration(now.since(engine.started()))),
        }))
    }
}

fn to_limit(level: Level) -> pb::Limit {
    let share = |(holder, used): (Holder, u64)| pb::Share { holder: holder.to_string(), used };
    pb::Limit {
        name: level.name.to_owned(),
        max: level.max,
        used: level.used,
        biggest: level.biggest.into_iter().map(share).collect(),
    }
}

/// Checks that an identity is bounded to no prefixes.
fn unbounded(grant: &Grant) -> Result<(), Error> {
    if grant.is_bounded() { grant.check("") } else { Ok(()) }
}

fn to_webhook(webhook: &Webhook, condition: &Condition) -> pb::WebhookStatus {
    let dead = |dead: &Dead| pb::DeadLetter {
        sequence: dead.sequence,
        breaker: dead.breaker.as_ref().to_owned(),
        kind: dead.kind.clone(),
        time: Some(convert::to_timestamp(dead.at)),
        problem: dead.why.clone(),
    };
    pb::WebhookStatus {
        name: webhook.name.clone(),
        receiver: webhook.receiver(),
        format: webhook.shape.name().to_owned(),
        delivered: condition.delivered,
        failed: condition.failed,
        dead: condition.dead,
        sequence: condition.sequence,
        problem: condition.problem.clone(),
        dead_letters: condition.dead_letters.iter().map(dead).collect(),
    }
}

fn comment(reason: &str) -> Result<String, Error> {
    convert::reason("reason", reason).map(str::to_owned)
}

fn texts(texts: &[Box<str>]) -> Vec<String> {
    texts.iter().map(|text| text.as_ref().to_owned()).collect()
}

fn to_token(token: &Token) -> pb::Token {
    pb::Token {
        name: token.name.as_ref().to_owned(),
        roles: convert::to_roles(token.roles),
        prefixes: texts(&token.prefixes),
        caller: token.caller.clone().into(),
        create_time: Some(convert::to_timestamp(token.created)),
        expire_time: convert::to_timestamp_ever(token.expires),
        actor: token.actor.as_ref().to_owned(),
    }
}

fn to_audit_entry(entry: &AuditEntry) -> pb::AuditEntry {
    pb::AuditEntry {
        sequence: entry.sequence,
        time: Some(convert::to_timestamp(entry.at)),
        actor: entry.actor.clone().into(),
        action: entry.action.name().to_owned(),
        target: entry.target.as_ref().to_owned(),
        reason: entry.reason.clone().into(),
        detail: entry.detail.clone().into(),
    }
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

/// Most holders that a limit lists.
const BIGGEST_MAX: usize = 5;
