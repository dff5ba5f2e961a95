//! Types as format 1 of the [encoding](super::encoding) wrote them, where they have changed since.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use super::{Document, Floors, Mark, PolicyHash, encoding::Stored};
use crate::{
    breaker::{
        self, CallerId, CallerStatus, CallersSnapshot, Evidence, OverrideMode, Probe, State, StateName, Status,
        StreakSnapshot, Timestamp,
        policy::{BackoffSpec, ExpiredPermit, WindowSpec},
        window::Window,
    },
    engine::{self, AuditEntry, Event, EventKind, EventReason, PolicyOrigin},
};

impl Stored for Event {
    fn from_format_1(payload: &[u8]) -> postcard::Result<(Self, &[u8])> {
        let (event, rest) = postcard::take_from_bytes::<StoredEvent>(payload)?;
        Ok((event.into(), rest))
    }
}

#[derive(Deserialize)]
struct StoredEvent {
    sequence: u64,
    kind: EventKind,
    key: Arc<str>,
    from: StateName,
    to: StateName,
    reason: EventReason,
    evidence: Option<Evidence>,
    caller: Option<Arc<str>>,
    scope: Option<CallerStatus>,
    names: Box<[(CallerId, Arc<str>)]>,
    error_class: Box<str>,
    actor: Box<str>,
    comment: Box<str>,
    at: Timestamp,
    policy_version: u64,
    status: Status,
}

impl From<StoredEvent> for Event {
    fn from(event: StoredEvent) -> Self {
        Self {
            sequence: event.sequence,
            kind: event.kind,
            key: event.key,
            from: event.from,
            to: event.to,
            reason: event.reason,
            evidence: event.evidence,
            caller: event.caller,
            scope: event.scope,
            names: event.names,
            error_class: event.error_class,
            actor: event.actor,
            comment: event.comment,
            at: event.at,
            policy_version: event.policy_version,
            status: event.status,
            moves: 1,
            first_at: None,
        }
    }
}
impl Stored for AuditEntry {}
impl Stored for Document {}
impl Stored for Floors {}

impl Stored for Mark {
    fn from_format_1(payload: &[u8]) -> postcard::Result<(Self, &[u8])> {
        let ((client, sequence, at), rest) = postcard::take_from_bytes(payload)?;
        Ok((Self { client, sequence, at, counted: None }, rest))
    }
}

impl Stored for super::Record {
    fn from_format_1(payload: &[u8]) -> postcard::Result<(Self, &[u8])> {
        let (record, rest) = postcard::take_from_bytes::<Record>(payload)?;
        Ok((record.into(), rest))
    }
}

#[derive(Deserialize)]
struct Record {
    key: Arc<str>,
    snapshot: Snapshot,
    declaration: Option<Declaration>,
    policy_version: u64,
    policy_hash: u64,
    sequence: u64,
    created: Timestamp,
    used: Timestamp,
    callers: Vec<Arc<str>>,
}

impl From<Record> for super::Record {
    fn from(record: Record) -> Self {
        let Record { key, snapshot, declaration, policy_version, policy_hash, sequence, created, used, callers } =
            record;
        Self {
            key,
            snapshot: snapshot.into(),
            declaration: declaration.map(Into::into),
            provenance: None,
            policy_version,
            policy_hash: PolicyHash::OfFormat1(policy_hash),
            sequence,
            created,
            used,
            callers,
            folded: Vec::new(),
        }
    }
}

impl Stored for engine::PolicyEntry {
    fn from_format_1(payload: &[u8]) -> postcard::Result<(Self, &[u8])> {
        let (entry, rest) = postcard::take_from_bytes::<PolicyEntry>(payload)?;
        let PolicyEntry { pattern, spec, version, origin, actor, set } = entry;
        Ok((Self { pattern, spec: spec.into(), version, origin, actor, set }, rest))
    }
}

#[derive(Deserialize)]
struct PolicyEntry {
    pattern: Arc<str>,
    spec: PolicySpec,
    version: u64,
    origin: PolicyOrigin,
    actor: Arc<str>,
    set: Timestamp,
}

#[derive(Deserialize)]
struct Declaration {
    spec: PolicySpec,
    revision: u64,
}

impl From<Declaration> for engine::Declaration {
    fn from(declaration: Declaration) -> Self {
        Self { spec: declaration.spec.into(), revision: declaration.revision }
    }
}

#[derive(Deserialize)]
struct PolicySpec {
    failure_threshold: Option<u32>,
    monitoring_period: Option<Duration>,
    failure_count_threshold: Option<u32>,
    failure_rate_threshold: Option<f64>,
    slow_call_duration: Option<Duration>,
    slow_call_rate_threshold: Option<f64>,
    slow_call_minimum_calls: Option<u32>,
    window: Option<WindowSpec>,
    minimum_calls: Option<u32>,
    open_duration: Option<Duration>,
    open_backoff: Option<BackoffSpec>,
    probes: Option<u32>,
    successes_to_close: Option<u32>,
    failures_to_reopen: Option<u32>,
    half_open_max_duration: Option<Duration>,
    retry_after_max: Option<Duration>,
    lease: Option<Duration>,
    expired_probe: Option<ExpiredPermit>,
    expired_permit: Option<ExpiredPermit>,
    min_callers: Option<u32>,
    share: Option<f64>,
}

impl From<PolicySpec> for breaker::PolicySpec {
    fn from(spec: PolicySpec) -> Self {
        Self {
            failure_threshold: spec.failure_threshold,
            monitoring_period: spec.monitoring_period,
            failure_count_threshold: spec.failure_count_threshold,
            failure_rate_threshold: spec.failure_rate_threshold,
            slow_call_duration: spec.slow_call_duration,
            slow_call_rate_threshold: spec.slow_call_rate_threshold,
            slow_call_minimum_calls: spec.slow_call_minimum_calls,
            window: spec.window,
            minimum_calls: spec.minimum_calls,
            open_duration: spec.open_duration,
            open_backoff: spec.open_backoff,
            probes: spec.probes,
            successes_to_close: spec.successes_to_close,
            failures_to_reopen: spec.failures_to_reopen,
            half_open_max_duration: spec.half_open_max_duration,
            retry_after_max: spec.retry_after_max,
            lease: spec.lease,
            expired_probe: spec.expired_probe,
            expired_permit: spec.expired_permit,
            min_callers: spec.min_callers,
            share: spec.share,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Snapshot {
    version: u64,
    generation: u64,
    state: State,
    since: Timestamp,
    streak: StreakSnapshot,
    window: Option<Window>,
    probes: Vec<Probe>,
    forced: Option<Override>,
    totals: Totals,
    callers: Option<CallersSnapshot>,
}

impl From<Snapshot> for breaker::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { version, generation, state, since, streak, window, probes, forced, totals, callers } = snapshot;
        let totals = totals.into();
        let overrides = forced.map(Into::into).into_iter().collect();
        Self { version, generation, state, since, streak, window, probes, overrides, totals, callers }
    }
}

#[derive(Deserialize)]
struct Override {
    mode: OverrideMode,
    actor: String,
    reason: String,
    set: Timestamp,
    expire: Timestamp,
}

impl From<Override> for breaker::Override {
    fn from(Override { mode, actor, reason, set, expire }: Override) -> Self {
        Self { id: Self::DEFAULT_ID.to_owned(), mode, actor, reason, set, expire }
    }
}

#[derive(Deserialize)]
struct Totals {
    opens: u64,
    closes: u64,
    successes: u64,
    failures: u64,
    timeouts: u64,
    ignored: u64,
    rejected: u64,
    stale: u64,
    expired: u64,
    bypassed: u64,
    local_failures: u64,
    last_open: Option<Timestamp>,
    last_close: Option<Timestamp>,
}

impl From<Totals> for breaker::Totals {
    fn from(totals: Totals) -> Self {
        Self {
            opens: totals.opens,
            closes: totals.closes,
            successes: totals.successes,
            failures: totals.failures,
            timeouts: totals.timeouts,
            ignored: totals.ignored,
            rejected: totals.rejected,
            stale: totals.stale,
            expired: totals.expired,
            bypassed: totals.bypassed,
            local_failures: totals.local_failures,
            last_open: totals.last_open,
            last_close: totals.last_close,
            last_success: None,
            last_failure: None,
        }
    }
}
