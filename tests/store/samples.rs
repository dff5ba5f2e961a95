//! Values that use every field and every variant of what is stored.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use fuseboard::{
    breaker::{
        CallerEvidence, CallerId, CallerSnapshot, CallerStatus, CallerTag, CallerTotals, CallersEvidence,
        CallersSnapshot, Counts, Evidence, Kind, Override, OverrideMode, Permit, PermitKind, PolicySpec, Probe, Reason,
        RequestId, Round, Snapshot, State, StateName, Status, StreakSnapshot, Timestamp, Totals, TripRule,
        policy::{BackoffSpec, ExpiredPermit, TripOn, Voters, WindowSpec},
        window::{Calls, CountWindow, Slice, TimeWindow, Window},
    },
    engine::{Action, AuditEntry, Declaration, Event, EventKind, EventReason, PolicyEntry, PolicyOrigin, Provenance},
    store::{Document, Floors, Mark, PolicyHash, Record},
};

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// The smallest breaker there is.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        version: 0,
        generation: 1,
        state: State::Closed,
        since: at(1),
        streak: StreakSnapshot::default(),
        window: None,
        probes: Vec::new(),
        overrides: Vec::new(),
        totals: Totals::default(),
        callers: None,
    }
}

/// The smallest record of a key.
pub(crate) fn record(key: &str) -> Record {
    Record {
        key: key.into(),
        snapshot: snapshot(),
        declaration: None,
        provenance: None,
        policy_version: 1,
        policy_hash: PolicyHash::OfDifferences(2),
        sequence: 0,
        created: at(1),
        used: at(2),
        callers: Vec::new(),
        folded: Vec::new(),
    }
}

/// An event without numbers behind it.
pub(crate) fn event(key: &str, seconds: u64) -> Event {
    Event {
        sequence: 0,
        kind: EventKind::Moved(Kind::Reset),
        key: key.into(),
        from: StateName::Open,
        to: StateName::Closed,
        reason: EventReason::Breaker(Reason::Requested),
        evidence: None,
        caller: None,
        scope: None,
        names: Box::default(),
        error_class: "".into(),
        actor: "".into(),
        comment: "".into(),
        at: at(seconds),
        policy_version: 1,
        status: Status {
            state: StateName::Closed,
            forced: None,
            generation: 2,
            since: at(seconds),
            until: Timestamp::NEVER,
            override_expire: Timestamp::NEVER,
            failures: 0,
        },
        moves: 1,
        first_at: None,
    }
}

fn counts(seed: u64) -> Counts {
    Counts { successes: seed, failures: seed + 1, timeouts: seed + 2, slow: seed + 3 }
}

fn streak(seed: u64) -> StreakSnapshot {
    StreakSnapshot { length: seed, asked_until: at(seed + 1), recent: Some(vec![(at(seed + 2), at(seed + 3))]) }
}

fn by_time() -> Window {
    Window::Time(TimeWindow {
        slice_nanos: 3_000_000_000,
        newest: 500_000_000,
        sum: counts(7),
        slices: [Slice { counts: counts(3), asked_until: at(9) }, Slice::default()].into(),
    })
}

fn by_count() -> Window {
    Window::Count(CountWindow {
        length: 100,
        calls: Calls::from_iter([(0, CallerTag(0)), (1, CallerTag(1)), (3, CallerTag(300)), (7, CallerTag(2))]),
        by_caller: vec![counts(1), counts(2)],
        sum: counts(3),
        position: 1_000,
        asked_until: VecDeque::from([(998, at(70)), (999, at(60))]),
    })
}

fn permit(kind: PermitKind, serial: u32) -> Permit {
    Permit { kind, generation: 11, caller_generation: 12, slice: 13, serial, expire: at(14), caller: CallerId(15) }
}

fn round() -> Round {
    Round {
        began: at(1),
        until: at(2),
        granted: 3,
        successes: 4,
        failures: 5,
        asked_until: at(6),
        failed_recoveries: 7,
        failed: vec![CallerId(8)],
        stepped_back: vec![(CallerId(9), at(10))],
        disputed_until: at(11),
        reserved_until: Timestamp::NEVER,
    }
}

fn caller(id: u64, state: State, window: Option<Window>) -> CallerSnapshot {
    CallerSnapshot {
        caller: CallerId(id),
        generation: 1,
        state,
        since: at(2),
        seen: at(3),
        totals: CallerTotals { successes: 4, failures: 5, local_failures: 6, rejected: 7 },
        tag: CallerTag(8),
        run_failures: 9,
        streak: streak(10),
        window,
    }
}

fn spec(window: WindowSpec, expired: ExpiredPermit) -> PolicySpec {
    PolicySpec {
        failure_threshold: Some(1),
        monitoring_period: Some(Duration::from_millis(2)),
        failure_count_threshold: Some(3),
        failure_rate_threshold: Some(0.25),
        slow_call_duration: Some(Duration::from_nanos(5)),
        slow_call_rate_threshold: Some(0.75),
        slow_call_minimum_calls: Some(6),
        window: Some(window),
        minimum_calls: Some(7),
        open_duration: Some(Duration::from_secs(8)),
        open_backoff: Some(BackoffSpec { multiplier: 2.5, max_duration: Duration::from_secs(9), jitter: 0.125 }),
        probes: Some(10),
        successes_to_close: Some(11),
        failures_to_reopen: Some(12),
        half_open_max_duration: Some(Duration::from_secs(13)),
        retry_after_max: Some(Duration::from_secs(14)),
        lease: Some(Duration::from_secs(15)),
        expired_probe: Some(expired),
        expired_permit: Some(ExpiredPermit::Ignored),
        min_callers: Some(16),
        share: Some(0.5),
        voters: Some(Voters::Service),
        trip_on: Some(TripOn::Failure),
        open_duration_min: Some(Duration::from_millis(17)),
    }
}

fn by_time_spec() -> PolicySpec {
    spec(WindowSpec::Time { duration: Duration::from_secs(30), slices: 10 }, ExpiredPermit::Failure)
}

/// Records with every part of a breaker.
pub(crate) fn records() -> Vec<Record> {
    let full = Snapshot {
        version: 1,
        generation: u64::MAX,
        state: State::HalfOpen(Box::new(round())),
        since: at(3),
        streak: streak(4),
        window: Some(by_time()),
        probes: vec![
            Probe { permit: permit(PermitKind::Probe, 1), request: RequestId(u128::MAX) },
            Probe { permit: permit(PermitKind::CallerProbe, 2), request: RequestId(0) },
            Probe { permit: permit(PermitKind::Call, 3), request: RequestId(1) },
            Probe { permit: permit(PermitKind::Bypass, 4), request: RequestId(2) },
        ],
        overrides: vec![Override {
            id: "default".to_owned(),
            mode: OverrideMode::ForcedOpen,
            actor: "ann".into(),
            reason: "käse".into(),
            set: at(5),
            expire: at(6),
        }],
        totals: Totals {
            opens: 1,
            closes: 2,
            successes: 3,
            failures: 4,
            timeouts: 5,
            ignored: 6,
            rejected: 7,
            stale: 8,
            expired: 9,
            bypassed: 10,
            local_failures: 11,
            last_open: Some(at(12)),
            last_close: Some(at(13)),
            last_success: Some(at(14)),
            last_failure: Some(at(15)),
        },
        callers: Some(CallersSnapshot {
            generation: 14,
            is_alone: true,
            known: vec![
                caller(1, State::Closed, None),
                caller(2, State::Open { until: at(1), failed_recoveries: 2 }, Some(by_time())),
                caller(3, State::HalfOpen(Box::new(round())), Some(by_count())),
            ],
        }),
    };
    let forced = |mode| {
        vec![Override {
            id: "default".to_owned(),
            mode,
            actor: String::new(),
            reason: String::new(),
            set: at(1),
            expire: at(2),
        }]
    };
    let open = Snapshot {
        state: State::Open { until: Timestamp::NEVER, failed_recoveries: 1 },
        window: Some(by_count()),
        overrides: forced(OverrideMode::ForcedClosed),
        ..full.clone()
    };
    let closed = Snapshot { overrides: forced(OverrideMode::Shadow), ..snapshot() };
    let declaration = Declaration { spec: by_time_spec(), revision: 17 };
    let replaced = vec![("cart".into(), 3), ("".into(), u64::MAX)];
    let provenance = Provenance { by: "shop".into(), at: at(4), replaced };
    let full = Record {
        snapshot: full,
        declaration: Some(declaration),
        provenance: Some(Box::new(provenance)),
        sequence: 18,
        callers: vec!["a".into(), "b".into()],
        folded: vec![Event { moves: 300, first_at: Some(at(19)), ..event("payments/card", 20) }],
        ..record("payments/card")
    };
    vec![
        record(""),
        Record { snapshot: open, key: "b".into(), ..full.clone() },
        Record { snapshot: closed, ..record("c") },
        full,
    ]
}

/// Events of every kind, with every reason and all the evidence.
pub(crate) fn events() -> Vec<Event> {
    let rules = [
        TripRule::FailureThreshold,
        TripRule::FailureCountThreshold,
        TripRule::FailureRateThreshold,
        TripRule::SlowCallRateThreshold,
        TripRule::CallersIsolated,
    ];
    let reasons = rules.map(Reason::TripRule).into_iter().chain([
        Reason::OpenPeriodPassed,
        Reason::ProbesSucceeded,
        Reason::ProbesFailed,
        Reason::HalfOpenTimedOut,
        Reason::Requested,
        Reason::OverrideExpired,
        Reason::CallerForgotten,
    ]);
    let reasons = reasons.map(EventReason::Breaker).chain([EventReason::Declared, EventReason::PolicyFile]);
    let kinds = [
        Kind::Opened,
        Kind::HalfOpened,
        Kind::Closed,
        Kind::Reset,
        Kind::PolicyChanged,
        Kind::OverrideSet,
        Kind::OverrideCleared,
        Kind::WouldHaveOpened,
        Kind::CallerIsolated,
        Kind::CallerHalfOpened,
        Kind::CallerRestored,
    ];
    let kinds = kinds.map(EventKind::Moved).into_iter().chain([EventKind::Deleted]);
    let part = |id| CallerEvidence { caller: CallerId(id), calls: 2, failures: 3 };
    let evidence = Evidence {
        consecutive_failures: 1,
        window: counts(2),
        threshold: 0.5,
        probe_successes: 3,
        probe_failures: 4,
        open_duration: Some(Duration::new(5, 6)),
        retry_after_applied: true,
        failed_recoveries: 7,
        callers: Some(Box::new(CallersEvidence { quorum: 8, known: 9, with: vec![part(10)], without: vec![part(11)] })),
    };
    let scope = CallerStatus {
        caller: CallerId(1),
        state: StateName::HalfOpen,
        generation: 2,
        since: at(3),
        until: at(4),
        failures: 5,
    };
    let full = Event {
        sequence: 1,
        from: StateName::HalfOpen,
        evidence: Some(evidence),
        caller: Some("caller".into()),
        scope: Some(scope),
        names: [(CallerId(1), Arc::from("caller")), (CallerId(2), Arc::from("other"))].into(),
        error_class: "timeout".into(),
        actor: "ann".into(),
        comment: "why".into(),
        ..event("payments/card", 20)
    };
    let status = |forced| Status { forced, failures: 3, override_expire: at(9), ..full.status };
    let modes = [None, Some(OverrideMode::ForcedOpen), Some(OverrideMode::ForcedClosed), Some(OverrideMode::Shadow)];
    reasons
        .zip(kinds.cycle())
        .zip(modes.into_iter().cycle())
        .map(|((reason, kind), forced)| Event { reason, kind, status: status(forced), ..full.clone() })
        .chain([event("b", 21)])
        .collect()
}

/// Policy entries with every field.
pub(crate) fn policies() -> Vec<PolicyEntry> {
    let entry = PolicyEntry {
        pattern: "payments/*".into(),
        spec: by_time_spec(),
        version: 3,
        origin: PolicyOrigin::Api,
        actor: "ann".into(),
        set: at(4),
    };
    vec![
        PolicyEntry { origin: PolicyOrigin::File, spec: PolicySpec::default(), ..entry.clone() },
        PolicyEntry { spec: spec(WindowSpec::Count(5), ExpiredPermit::Timeout), ..entry.clone() },
        entry,
    ]
}

pub(crate) fn mark() -> Mark {
    Mark { client: "client".into(), sequence: 1 << 40, at: at(5), counted: None }
}

pub(crate) fn document() -> Document {
    Document { key: "token/shop".into(), version: 2, body: r#"{"name":"shop"}"#.into() }
}

pub(crate) fn audit(target: &str) -> AuditEntry {
    AuditEntry {
        sequence: 0,
        at: at(9),
        actor: "ana".into(),
        action: Action::OverrideSet,
        target: target.into(),
        reason: "a drill".into(),
        detail: "forced_open".into(),
    }
}

pub(crate) fn floors() -> Floors {
    Floors { generation: 1, policies: 2, now: at(3) }
}
