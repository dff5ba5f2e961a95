//! `BreakerService`: decode, one call of the engine, encode.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    convert,
    gate::Gate,
    pb::{self, breaker_service_server},
    reflect,
    session::Session,
    token::{Issued, Opened, ResumeToken, decode_permit_text, encode_permit_text},
    watch::{EventStream, event_stream},
};
use crate::{
    access::{Grant, Seal},
    breaker::{CallerView, Decision, Kind, Permit},
    engine::{
        Acquired, Actor, BatchAnswer, BatchClient, CallerTally, Declaration, Engine, Entry, Error, Event, EventKind,
        EventReason, Filter, Position, ReportAnswer, STORE_PATIENCE, Told, View, WatchOptions,
    },
    notify::Notifier,
    pulse::Pulse,
    shutdown::Shutdown,
};

/// Of its deadline, an Acquire may wait so much for the store: the rest is for the way back.
const PART_OF_DEADLINE: f64 = 0.6;
/// Declarations of a request that are taken before others come.
const AT_A_TIME: usize = 16;

/// Entries of a list that are checked before other work of the thread has its turn.
const CHECKED_AT_ONCE: usize = 1_000;

/// What the services share.
#[derive(Clone, Debug)]
pub struct Context {
    /// The breakers.
    pub engine: Engine,
    /// When to end streams.
    pub shutdown: Shutdown,
    /// Age at which streams end, up to a tenth earlier.
    pub stream_max_age: Duration,
    /// Most handles of a session.
    pub session_handles: u32,
    /// Who is let in.
    pub gate: Gate,
    /// The webhooks.
    pub notifier: Notifier,
    /// Whether the serving threads make progress.
    pub pulse: Pulse,
    /// What of the store could not be read at the start; empty: nothing.
    pub store_damage: String,
}

/// `BreakerService`.
#[derive(Clone, Debug)]
pub struct BreakerService {
    context: Arc<Context>,
}

impl BreakerService {
    /// The service.
    #[must_use]
    pub const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn engine(&self) -> &Engine {
        &self.context.engine
    }

    /// The engine on behalf of whoever sends a request: what it takes counts for its share.
    fn engine_for<T>(&self, request: &Request<T>) -> Engine {
        self.context.engine.on_behalf_of(Gate::holder(request.extensions()))
    }

    fn grant<T>(&self, request: &Request<T>) -> Result<Grant, Error> {
        self.context.gate.grant(request.extensions())
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl breaker_service_server::BreakerService for BreakerService {
    async fn acquire(&self, request: Request<pb::AcquireRequest>) -> Answer<pb::AcquireResponse> {
        let (patience, grant) = (patience(request.metadata()), self.grant(&request)?);
        let engine = &self.engine_for(&request);
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let caller = engine.caller(grant.caller(convert::caller("caller", &request.caller)?)?);
        let id = convert::request_id(engine.seal(), "request_id", &request.request_id, key, caller)?;
        let lease = convert::lease("lease", request.lease.as_ref())?;
        let acquired = match engine.acquire_by_key(engine.moment(), key, caller, id, lease)? {
            Told::Now(acquired) => acquired,
            told => Box::pin(engine.acquired(told, key, caller, id, lease, patience)).await?,
        };
        let sealing = Sealing { seal: engine.seal(), grant: &grant, key_hash: engine.seal().key_hash(key) };
        Ok(Response::new(to_acquired(&sealing, &acquired)))
    }

    async fn report(&self, request: Request<pb::ReportRequest>) -> Answer<pb::ReportResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let engine = self.engine();
        let opened = decode_permit_text(engine.seal(), engine.seal().key_hash(key), &request.permit)?;
        let report = convert::report(request)?;
        let permit = reportable(engine, &grant, &opened)?;
        let attempt = || Ok(engine.report_by_key(engine.moment(), key, &permit, &report, &request.error_class));
        Ok(Response::new(to_reported(&told(engine, attempt).await?)))
    }

    async fn report_batch(&self, request: Request<pb::ReportBatchRequest>) -> Answer<pb::ReportBatchResponse> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        let (shutdown, is_counted) = (&self.context.shutdown, AtomicBool::new(false));
        let answer = Box::pin(report_batch(&engine, &grant, shutdown, request.get_ref(), &is_counted)).await?;
        Ok(Response::new(answer))
    }

    type SessionStream = Session;

    async fn session(&self, request: Request<Streaming<pb::SessionRequest>>) -> Answer<Session> {
        let (grant, engine) = (self.grant(&request)?, self.engine_for(&request));
        Ok(Response::new(Session::new(Arc::clone(&self.context), engine, grant, request.into_inner())))
    }

    async fn declare(&self, request: Request<pb::DeclareRequest>) -> Answer<pb::DeclareResponse> {
        let grant = self.grant(&request)?;
        let engine = &self.engine_for(&request);
        let request = request.get_ref();
        let name = grant.caller(convert::caller("caller", &request.caller)?)?;
        let caller = engine.caller(name);
        let by: Arc<str> = match grant.identity() {
            Some(identity) => Arc::clone(&identity.name),
            None => name.split('/').next().unwrap_or_default().into(),
        };
        let declare = async |wanted: convert::Declaration<'_>| {
            let declaration = Declaration { spec: wanted.spec, revision: wanted.revision };
            let view = engine.declare_by(wanted.key, &declaration, caller, &by).await?;
            // A write of the store can answer all of them at once: some at a time, as they began.
            tokio::task::consume_budget().await;
            Ok::<_, Error>(pb::Declared {
                status: Some(to_status(engine, &view.entry)),
                policy: Some(to_policy_in_force(&view)),
            })
        };
        // At once, so that they share a write of the store.
        let declarations = convert::declarations(request)?;
        declarations.iter().try_for_each(|wanted| grant.check(wanted.key))?;
        // All are checked before the first is taken.
        for (index, wanted) in declarations.iter().enumerate() {
            let checked = engine.check_declaration(wanted.key, &wanted.spec);
            checked.map_err(|error| error.within(&format!("declarations[{index}].policy")))?;
        }
        // Some at a time, so that a thousand do not hold up whoever else this thread serves.
        let declared = paced(declarations.into_iter().map(declare)).buffered(convert::DECLARATIONS_MAX).try_collect();
        let declared = Box::pin(declared).await?;
        Ok(Response::new(pb::DeclareResponse { declared }))
    }

    async fn reset(&self, request: Request<pb::ResetRequest>) -> Answer<pb::ResetResponse> {
        let grant = self.grant(&request)?;
        let request = request.get_ref();
        let key = convert::key("breaker", &request.breaker)?;
        grant.check(key)?;
        let name = actor(&grant, &request.actor)?;
        let actor = Actor { name: &name, comment: convert::reason("reason", &request.reason)? };
        let entry = Box::pin(self.engine().reset(key, actor)).await?;
        Ok(Response::new(pb::ResetResponse { status: Some(to_status(self.engine(), &entry)) }))
    }

    async fn get_state(&self, request: Request<pb::GetStateRequest>) -> Answer<pb::GetStateResponse> {
        let key = convert::key("breaker", &request.get_ref().breaker)?;
        self.grant(&request)?.check(key)?;
        let view = Box::pin(self.engine().view(key)).await?;
        Ok(Response::new(to_view(self.engine(), &view)))
    }

    type WatchEventsStream = EventStream;

    async fn watch_events(&self, request: Request<pb::WatchEventsRequest>) -> Answer<EventStream> {
        let grant = self.grant(&request)?;
        let engine = self.engine_for(&request);
        let request = request.get_ref();
        // Who watches without a name is nobody's caller, whatever its identity is.
        let caller = match convert::caller("caller", &request.caller)? {
            "" => None,
            name => Some(grant.caller(name)?),
        };
        // Only who may report is a caller of breakers, whose name is remembered; anybody else looks where a caller stands.
        let is_present = grant.may_report();
        let caller =
            caller.map(|name| if is_present { self.engine().caller(name) } else { self.engine().caller_id(name) });
        let mut filter = match &request.filter {
            Some(filter) => watch_filter(filter).map_err(|error| error.within("filter"))?,
            None => Filter::default(),
        };
        filter.keys.iter().chain(&filter.prefixes).try_for_each(|name| grant.check(name))?;
        if filter.keys.is_empty() && filter.prefixes.is_empty() {
            filter.prefixes = grant.prefixes().to_vec();
        }
        let position = match request.resume_token.as_str() {
            "" => None,
            token => Some(ResumeToken::decode(token)?.into()),
        };
        let options = WatchOptions {
            filter,
            position,
            latest_only: convert::delivery("delivery", request.delivery)? == pb::Delivery::Latest,
            skip_snapshot: request.skip_snapshot,
            caller,
            is_present,
        };
        let progress_interval = convert::progress_interval("progress_interval", request.progress_interval.as_ref())?;
        let watch = engine.watch(options)?;
        Ok(Response::new(event_stream(watch, &self.context, &grant, progress_interval)))
    }
}

/// What there is, some at a time: then the thread's other tasks come.
fn paced<I: Iterator>(items: I) -> impl Stream<Item = I::Item> {
    stream::unfold((items, 0_usize), async |(mut items, taken)| {
        if taken > 0 && taken.is_multiple_of(AT_A_TIME) {
            tokio::task::yield_now().await;
        }
        items.next().map(|item| (item, (items, taken + 1)))
    })
}

/// An answer, when it may be told: at once, nearly always.
pub(super) async fn told<T>(engine: &Engine, mut attempt: impl FnMut() -> Result<Told<T>, Error>) -> Result<T, Error> {
    match attempt()? {
        Told::Now(answer) => Ok(answer),
        first => {
            let mut first = Some(first);
            Box::pin(engine.told(move || first.take().map_or_else(&mut attempt, Ok))).await
        }
    }
}

/// The permit that was opened, if its reporter may call itself the caller that it was issued to.
pub(super) fn reportable(engine: &Engine, grant: &Grant, opened: &Opened) -> Result<Permit, Error> {
    let issued = match opened.issued {
        // It counts nowhere, so it is whoever's.
        Issued::Elsewhere => return Ok(opened.permit),
        Issued::ToAny => None,
        Issued::To(bound) => Some(bound),
    };
    if grant.has_caller() {
        grant.check_reporter(engine.seal(), engine.caller_name(opened.permit.caller).as_deref(), issued)?;
    }
    Ok(opened.permit)
}

/// How long a call has for the store: with an answer in time for its own deadline, if it has one.
fn patience(metadata: &MetadataMap) -> Duration {
    let deadline = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
    deadline.map_or(STORE_PATIENCE, |deadline| deadline.mul_f64(PART_OF_DEADLINE))
}

/// A call's timeout, as the protocol writes it: up to eight digits and a unit.
fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Who acts: the identity behind the request, else whom it says.
pub(super) fn actor(grant: &Grant, said: &str) -> Result<String, Error> {
    // Who does not know who acts has said nothing.
    let is_said = !matches!(said, "" | convert::UNKNOWN_ACTOR);
    Ok(grant.actor(if is_said || grant.identity().is_none() { convert::actor("actor", said)? } else { "" }))
}

/// Checks and counts a batch, in parts between which the thread does other work, and sets `is_counted` when only the store is
/// waited for. When the server drains, the rest is not counted.
pub(super) async fn report_batch(
    engine: &Engine,
    grant: &Grant,
    shutdown: &Shutdown,
    request: &pb::ReportBatchRequest,
    is_counted: &AtomicBool,
) -> Result<pb::ReportBatchResponse, Error> {
    let mut tallies = Vec::with_capacity(request.tallies.len());
    for (index, item) in convert::batch(request)?.into_iter().enumerate() {
        if index % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        grant.check(item.key)?;
        let caller = engine.caller(grant.caller(item.caller)?);
        tallies.push(CallerTally { key: item.key, caller, tally: item.tally });
    }
    let identity = grant.identity().map(|identity| &*identity.name);
    let client = BatchClient { identity, id: &request.client_id };
    let goes_on = || if shutdown.draining() { Err(Error::Draining) } else { Ok(()) };
    let counted = engine.count_batch(client, request.batch_sequence, &tallies, goes_on).await?;
    is_counted.store(true, Ordering::Relaxed);
    let answer = engine.batch_answer(counted, &tallies).await?;
    Ok(to_batch_reported(engine, &answer))
}

fn watch_filter(filter: &pb::WatchFilter) -> Result<Filter, Error> {
    let kinds = convert::watch_filter(filter)?;
    Ok(Filter {
        keys: filter.breakers.iter().map(|key| key.as_str().into()).collect(),
        prefixes: filter.prefixes.iter().map(|prefix| prefix.as_str().into()).collect(),
        kinds: kinds.into_iter().filter_map(from_event_kind).collect(),
        caller: (!filter.caller.is_empty()).then(|| filter.caller.as_str().into()),
    })
}

impl From<ResumeToken> for Position {
    fn from(token: ResumeToken) -> Self {
        Self { history: token.history, sequence: token.sequence, in_snapshot: token.snapshotting }
    }
}

impl From<Position> for ResumeToken {
    fn from(position: Position) -> Self {
        Self { history: position.history, sequence: position.sequence, snapshotting: position.in_snapshot }
    }
}

// ---- Answers -------------------------------------------------------------------------------------------------------

/// What a permit is sealed with.
struct Sealing<'a> {
    seal: &'a Seal,
    grant: &'a Grant,
    key_hash: u64,
}

fn to_acquired(sealing: &Sealing<'_>, acquired: &Acquired) -> pb::AcquireResponse {
    let mut response = pb::AcquireResponse {
        state: convert::to_state(acquired.state) as i32,
        generation: acquired.generation,
        caller_generation: acquired.caller_generation,
        override_mode: convert::to_override_mode(acquired.forced) as i32,
        ..pb::AcquireResponse::default()
    };
    match acquired.decision {
        Decision::Permitted(permit) => {
            response.decision = pb::Decision::Permitted as i32;
            let Sealing { seal, grant, key_hash } = sealing;
            response.permit = encode_permit_text(seal, *key_hash, &permit, grant.bound(seal));
            response.lease = Some(convert::to_duration(permit.expire.since(acquired.at)));
        }
        Decision::Rejected { reason, retry_after } => {
            response.decision = pb::Decision::Rejected as i32;
            response.reason = convert::to_rejection_reason(reason) as i32;
            response.retry_after = Some(convert::to_duration(retry_after));
            response.provisional = acquired.is_provisional;
        }
    }
    response
}

fn to_reported(answer: &ReportAnswer) -> pb::ReportResponse {
    pb::ReportResponse {
        result: convert::to_report_result(answer.reported) as i32,
        state: convert::to_state(answer.state) as i32,
        generation: answer.generation,
        override_mode: convert::to_override_mode(answer.forced) as i32,
        caller_state: convert::to_state(answer.caller_state) as i32,
        caller_generation: answer.caller_generation,
    }
}

fn to_batch_reported(engine: &Engine, answer: &BatchAnswer) -> pb::ReportBatchResponse {
    pb::ReportBatchResponse {
        duplicate: answer.duplicate,
        counted: answer.counted,
        stale: answer.stale,
        changed: answer.changed.iter().map(|entry| to_status(engine, entry)).collect(),
    }
}

pub(super) fn to_status(engine: &Engine, entry: &Entry) -> pb::BreakerStatus {
    let now = engine.now();
    let caller = entry.caller.map(|status| {
        let name = engine.caller_name(status.caller);
        convert::to_caller_status(name.as_deref().unwrap_or_default(), &status, now)
    });
    let status = convert::to_status(&entry.key, &entry.status, entry.sequence, entry.policy_version, now);
    let callers_isolated = u32::try_from(entry.callers_isolated).unwrap_or(u32::MAX);
    pb::BreakerStatus { caller, callers_isolated, ..status }
}

fn to_policy_in_force(view: &View) -> pb::PolicyInForce {
    let (resolved, provenance) = (&view.policy, view.provenance.as_ref());
    pb::PolicyInForce {
        policy: Some(convert::to_policy(&resolved.policy)),
        version: resolved.version,
        sources: resolved.sources.clone(),
        differs_from_declared: resolved.differs_from_declared,
        declared_revision: view.declared_revision.unwrap_or_default(),
        declared_by: provenance.map_or_else(String::new, |provenance| provenance.by.as_ref().to_owned()),
        declare_time: provenance.map(|provenance| convert::to_timestamp(provenance.at)),
    }
}

fn to_view(engine: &Engine, view: &View) -> pb::GetStateResponse {
    use crate::breaker::State;
    let now = engine.now();
    let caller = |caller: &CallerView| {
        let name = engine.caller_name(caller.status.caller);
        convert::to_caller_numbers(name.as_deref().unwrap_or_default(), caller, now)
    };
    let mut callers: Vec<_> = view.callers.iter().map(caller).collect();
    // By name: ids are keyed, so their order differs from server to server.
    callers.sort_by(|a, b| caller_name(a).cmp(caller_name(b)));
    pb::GetStateResponse {
        status: Some(to_status(engine, &view.entry)),
        window: Some(convert::to_window_counts(&view.window)),
        totals: Some(convert::to_totals(&view.totals)),
        policy: Some(to_policy_in_force(view)),
        r#override: view.overrides.first().map(convert::to_override),
        round: match &view.state {
            State::HalfOpen(round) => Some(convert::to_round(round, view.probes_out)),
            State::Closed | State::Open { .. } => None,
        },
        failed_recoveries: view.failed_recoveries,
        create_time: Some(convert::to_timestamp(view.created)),
        next_deadline: convert::to_timestamp_ever(view.deadline),
        now: Some(convert::to_timestamp(now)),
        last_event: view.last_event.as_deref().map(to_event),
        callers,
        quorum: view.quorum,
        overrides: view.overrides.iter().map(convert::to_override).collect(),
    }
}

fn caller_name(numbers: &pb::CallerNumbers) -> &str {
    numbers.status.as_ref().map_or("", |status| &status.caller)
}

/// An event as the API's JSON has it.
pub(crate) fn event_json(event: &Event) -> serde_json::Value {
    reflect::message("Event")
        .and_then(|of| reflect::to_json(of, &to_event(event)).ok())
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

pub(super) fn to_event(event: &Event) -> pb::Event {
    let (reason, evidence) = match event.reason {
        EventReason::Breaker(reason) => {
            let caller = event.caller.as_deref().unwrap_or_default();
            let evidence = event.evidence.as_ref();
            let name = |id| event.name(id).unwrap_or_default();
            let evidence =
                evidence.map(|evidence| convert::to_evidence(evidence, reason, caller, &event.error_class, name));
            (convert::to_event_reason(reason), evidence)
        }
        EventReason::Declared => (pb::EventReason::Declared, None),
        EventReason::PolicyFile => (pb::EventReason::PolicyFile, None),
    };
    let caller = event
        .scope
        .as_ref()
        .map(|status| convert::to_caller_status(event.name(status.caller).unwrap_or_default(), status, event.at));
    let status = convert::to_status(&event.key, &event.status, event.sequence, event.policy_version, event.at);
    pb::Event {
        sequence: event.sequence,
        kind: to_event_kind(event.kind) as i32,
        breaker: event.key.as_ref().to_owned(),
        generation: event.status.generation,
        from: convert::to_state(event.from) as i32,
        to: convert::to_state(event.to) as i32,
        reason: reason as i32,
        evidence,
        actor: event.actor.clone().into(),
        comment: event.comment.clone().into(),
        event_time: Some(convert::to_timestamp(event.at)),
        policy_version: event.policy_version,
        status: Some(pb::BreakerStatus { caller, ..status }),
        count: event.moves,
        first_event_time: event.first_at.map(convert::to_timestamp),
    }
}

pub(super) const fn to_event_kind(kind: EventKind) -> pb::EventKind {
    match kind {
        EventKind::Moved(kind) => convert::to_event_kind(kind),
        EventKind::Deleted => pb::EventKind::Deleted,
    }
}

/// `None` for the kind that is none.
pub(super) const fn from_event_kind(kind: pb::EventKind) -> Option<EventKind> {
    Some(EventKind::Moved(match kind {
        pb::EventKind::Opened => Kind::Opened,
        pb::EventKind::HalfOpened => Kind::HalfOpened,
        pb::EventKind::Closed => Kind::Closed,
        pb::EventKind::Reset => Kind::Reset,
        pb::EventKind::PolicyChanged => Kind::PolicyChanged,
        pb::EventKind::OverrideSet => Kind::OverrideSet,
        pb::EventKind::OverrideCleared => Kind::OverrideCleared,
        pb::EventKind::WouldHaveOpened => Kind::WouldHaveOpened,
        pb::EventKind::CallerIsolated => Kind::CallerIsolated,
        pb::EventKind::CallerHalfOpened => Kind::CallerHalfOpened,
        pb::EventKind::CallerRestored => Kind::CallerRestored,
        pb::EventKind::Deleted => return Some(EventKind::Deleted),
        pb::EventKind::Unspecified => return None,
    }))
}
