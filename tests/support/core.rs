//! Scenarios on the pure breaker, driven as an engine does: every deadline at its own instant, in order.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use fuseboard::breaker::{
    self, Breaker, CALLERS_MAX, CallerEvidence, CallerId, CallerStatus, CallersEvidence, Counts, Decision,
    LEDGER_BYTES_MAX, Moment, Override, Permit, Policy, PolicySpec, ProbeNow, Reason, Rejection, Reported, RequestId,
    ServiceId, State, StateName, Status, Timestamp, Totals, Transition, TripRule, transition::Kind,
};
use serde_json::{Value, json};

use super::{Acquire, Driver, Origin, Outcome, OverrideMode, Report, Tally, policy::PolicyText, sorted};

/// Days that have passed when a scenario starts.
const START_DAYS: u64 = 20_000;
/// The generation of a new breaker. Not 1, so that nothing relies on it.
const FIRST_GENERATION: u64 = 40;

/// The pure breaker and what has happened to it.
pub struct Core {
    breaker: Breaker,
    now: Timestamp,
    random: u64,
    events: Vec<Transition>,
    names: HashMap<CallerId, String>,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            breaker: new(None),
            now: start(),
            random: 0,
            events: Vec::new(),
            names: HashMap::from([Default::default()]),
        }
    }
}

fn new(policy: Option<&PolicyText>) -> Breaker {
    Breaker::new(resolve(policy), FIRST_GENERATION, start())
}

fn start() -> Timestamp {
    Timestamp::default().after(Duration::from_secs(START_DAYS * 24 * 3600))
}

/// What a declaration comes to where no operator says anything.
fn resolve(policy: Option<&PolicyText>) -> Arc<Policy> {
    let default = Policy::default();
    let declared = policy.map(|policy| policy.spec().declared_over(&PolicySpec::from(&default)));
    Arc::new(declared.map_or(default, |declared| declared.resolve().expect("a scenario's policy is valid")))
}

impl Core {
    fn moment(&mut self) -> Moment {
        // A generator that anybody can repeat: Knuth's MMIX.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Moment { now: self.now, random: self.random }
    }

    /// Takes note of the moves and passes the answer on.
    fn heard<T>(&mut self, step: breaker::Step<T>) -> T {
        self.events.extend(step.transitions);
        step.answer
    }

    fn status(&mut self) -> Value {
        status(&self.breaker.status(self.now))
    }

    fn caller(&mut self, name: &str) -> CallerId {
        let id = CallerId(hash(name));
        self.names.insert(id, name.to_owned());
        id
    }

    fn caller_status(&self, status: &CallerStatus) -> Value {
        json!({
            "caller": self.names[&status.caller],
            "state": state_name(status.state),
            "generation": status.generation,
            "state_since": instant(status.since),
            "state_until": instant(status.until),
            "failures": status.failures,
        })
    }

    fn event(&self, transition: &Transition) -> Value {
        let mut answer = event(transition);
        answer["caller"] = json!(transition.caller.map(|scope| self.caller_status(&scope)));
        if let Some(evidence) = &transition.evidence {
            let parts = |parts: &[CallerEvidence]| {
                let part = |part: &CallerEvidence| json!({ "caller": self.names[&part.caller], "calls": part.calls, "failures": part.failures });
                sorted(parts.iter().map(part).collect())
            };
            let nobody = CallersEvidence::default();
            let callers = evidence.callers.as_deref().unwrap_or(&nobody);
            answer["evidence"]["quorum"] = json!(callers.quorum);
            answer["evidence"]["known_callers"] = json!(callers.known);
            answer["evidence"]["callers"] = parts(&callers.with);
            answer["evidence"]["stood_without"] = parts(&callers.without);
        }
        answer
    }
}

impl Driver for Core {
    type Permit = Permit;
    const IS_SERVER: bool = false;

    fn begin(&mut self, _key: &str, policy: Option<&PolicyText>) {
        *self = Self { breaker: new(policy), random: self.random, ..Self::default() };
    }

    fn move_to(&mut self, at: Duration) {
        let end = start().after(at);
        while self.breaker.deadline() <= end {
            self.now = self.breaker.deadline().max(self.now);
            let moment = self.moment();
            self.events.extend(self.breaker.handle_timeout(moment));
        }
        self.now = end;
    }

    fn acquire(&mut self, acquire: &Acquire) -> (Value, Option<Permit>) {
        let caller = self.caller(&acquire.caller);
        let acquire = breaker::Acquire {
            caller,
            service: service(&acquire.caller),
            request: RequestId(hash(&acquire.request_id).into()),
            lease: acquire.lease,
            ledger_bytes_max: LEDGER_BYTES_MAX,
            callers_max: CALLERS_MAX,
        };
        let moment = self.moment();
        let step = self.breaker.acquire(moment, &acquire);
        let (permit, reason, retry_after) = match self.heard(step) {
            Decision::Permitted(permit) => (Some(permit), None, None),
            Decision::Rejected { reason, retry_after } => (None, Some(reason), Some(retry_after)),
        };
        let status = self.breaker.status(self.now);
        let answer = json!({
            "decision": if permit.is_some() { "permitted" } else { "rejected" },
            "state": state_name(status.state),
            "lease": permit.map(|permit| millis(permit.expire.since(self.now))),
            "reason": reason.map(|reason| match reason {
                Rejection::Open => "open",
                Rejection::HalfOpenFull => "half_open_full",
                Rejection::CallerIsolated => "caller_isolated",
                Rejection::ForcedOpen => "forced_open",
            }),
            "retry_after": retry_after.map(millis),
            "generation": generation(status.generation),
            "caller_generation": self.breaker.caller_scope(caller).1,
            "override_mode": status.forced.map(mode_name),
        });
        (answer, permit)
    }

    fn report(&mut self, permit: &Permit, report: &Report) -> Value {
        let report = breaker::Report {
            outcome: match report.outcome {
                Outcome::Success => breaker::Outcome::Success,
                Outcome::Failure => breaker::Outcome::Failure,
                Outcome::Timeout => breaker::Outcome::Timeout,
                Outcome::Ignored => breaker::Outcome::Ignored,
                Outcome::Cancelled => breaker::Outcome::Cancelled,
            },
            duration: report.duration,
            retry_after: report.retry_after,
            origin: match report.origin {
                Origin::Dependency => breaker::Origin::Dependency,
                Origin::Local => breaker::Origin::Local,
            },
        };
        let moment = self.moment();
        let step = self.breaker.report(moment, permit, &report);
        let result = self.heard(step);
        let status = self.breaker.status(self.now);
        let (caller_state, caller_generation) = self.breaker.caller_scope(permit.caller);
        json!({
            "result": result_name(result),
            "state": state_name(status.state),
            "generation": generation(status.generation),
            "override_mode": status.forced.map(mode_name),
            "caller_state": state_name(caller_state),
            "caller_generation": caller_generation,
        })
    }

    fn tally(&mut self, tally: &Tally) -> Value {
        let now_in = self.breaker.generation();
        let (caller, service) = (self.caller(&tally.caller), service(&tally.caller));
        let counted = tally.counted();
        let tally = breaker::Tally {
            generation: tally.generation.map_or(now_in, |generation| FIRST_GENERATION - 1 + generation),
            caller_generation: tally.caller_generation.unwrap_or_else(|| self.breaker.caller_scope(caller).1),
            age: tally.age.map_or(Duration::ZERO, |age| age.0),
            successes: counted.successes,
            failures: counted.failures,
            timeouts: tally.timeouts,
            slow: tally.slow,
            ignored: tally.ignored,
            rejections: tally.rejections,
            local_failures: tally.local_failures,
            leading_failures: counted.leading_failures,
            longest_run: counted.longest_run,
            trailing_failures: counted.trailing_failures,
            retry_after: tally.retry_after.map(|asked| asked.0),
        };
        let moment = self.moment();
        let step = self.breaker.tally(moment, caller, service, &tally, CALLERS_MAX);
        json!({ "result": result_name(self.heard(step)) })
    }

    fn watch(&mut self, caller: &str) -> Value {
        let (id, now) = (self.caller(caller), self.now);
        self.breaker.see(now, id, service(caller), CALLERS_MAX);
        let mut answer = self.status();
        answer["caller"] = json!(self.breaker.caller_status(id, now).map(|status| self.caller_status(&status)));
        answer
    }

    fn reset(&mut self) -> Value {
        let moment = self.moment();
        let step = self.breaker.reset(moment);
        self.heard(step);
        self.status()
    }

    fn probe_now(&mut self, caller: &str) -> Value {
        let moment = self.moment();
        let step = if caller.is_empty() {
            self.breaker.probe_now(moment)
        } else {
            let id = self.caller(caller);
            self.breaker.probe_caller_now(moment, id)
        };
        match self.heard(step) {
            ProbeNow::Moved => self.status(),
            ProbeNow::NotOpen(_) => json!({ "error": "NOT_OPEN" }),
            ProbeNow::UnknownCaller => json!({ "error": "CALLER_NOT_FOUND" }),
        }
    }

    fn set_override(&mut self, mode: OverrideMode, expire_after: Option<Duration>) -> Value {
        let forced = Override {
            id: "default".to_owned(),
            mode: match mode {
                OverrideMode::ForcedOpen => breaker::OverrideMode::ForcedOpen,
                OverrideMode::ForcedClosed => breaker::OverrideMode::ForcedClosed,
                OverrideMode::Shadow => breaker::OverrideMode::Shadow,
            },
            actor: "operator".into(),
            reason: "a scenario".into(),
            set: self.now,
            expire: expire_after.map_or(Timestamp::NEVER, |after| self.now.after(after)),
        };
        let moment = self.moment();
        let step = self.breaker.set_override(moment, forced);
        self.heard(step);
        self.status()
    }

    fn clear_override(&mut self) -> Value {
        let moment = self.moment();
        let step = self.breaker.clear_override(moment, None);
        if self.heard(step) { self.status() } else { json!({ "error": "OVERRIDE_NOT_FOUND" }) }
    }

    fn set_policy(&mut self, policy: &PolicyText) -> Value {
        let moment = self.moment();
        let step = self.breaker.set_policy(moment, resolve(Some(policy)));
        self.heard(step);
        self.status()
    }

    fn state(&mut self) -> Value {
        let now = self.now;
        let mut answer = self.status();
        answer["window"] = counts(&self.breaker.counts(now));
        answer["totals"] = totals(&self.breaker.totals());
        answer["round"] = match self.breaker.state() {
            State::HalfOpen(round) => {
                let probes = self.breaker.probes().len();
                json!({ "probes_out": probes, "successes": round.successes, "failures": round.failures })
            }
            _ => Value::Null,
        };
        answer["failed_recoveries"] = json!(self.breaker.failed_recoveries());
        let views = self.breaker.callers(now);
        let callers = views.iter().map(|view| {
            let mut caller = self.caller_status(&view.status);
            caller["window"] = counts(&view.window);
            caller["totals"] = json!({
                "successes": view.totals.successes,
                "failures": view.totals.failures,
                "local_failures": view.totals.local_failures,
                "rejected": view.totals.rejected,
            });
            caller["seen_time"] = json!(instant(view.seen));
            caller
        });
        answer["callers"] = sorted(callers.collect());
        answer["known"] = json!(views.len());
        answer["quorum"] = json!(self.breaker.quorum());
        answer
    }

    fn events(&mut self) -> Value {
        std::mem::take(&mut self.events).iter().map(|event| self.event(event)).collect()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    if text.is_empty() { 0 } else { hasher.finish() }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn generation(generation: u64) -> u64 {
    generation + 1 - FIRST_GENERATION
}

fn instant(at: Timestamp) -> Option<f64> {
    at.ever().map(|at| millis(at.since(start())))
}

fn state_name(state: StateName) -> &'static str {
    match state {
        StateName::Closed => "closed",
        StateName::Open => "open",
        StateName::HalfOpen => "half_open",
    }
}

fn mode_name(mode: breaker::OverrideMode) -> &'static str {
    match mode {
        breaker::OverrideMode::ForcedOpen => "forced_open",
        breaker::OverrideMode::ForcedClosed => "forced_closed",
        breaker::OverrideMode::Shadow => "shadow",
    }
}

fn result_name(result: Reported) -> &'static str {
    match result {
        Reported::Counted => "counted",
        Reported::Stale => "stale",
        Reported::Duplicate => "duplicate",
    }
}

fn status(status: &Status) -> Value {
    json!({
        "error": null,
        "state": state_name(status.state),
        "override_mode": status.forced.map(mode_name),
        "generation": generation(status.generation),
        "state_since": instant(status.since),
        "state_until": instant(status.until),
        "override_expire_time": instant(status.override_expire),
        "failures": status.failures,
    })
}

fn counts(counts: &Counts) -> Value {
    json!({
        "successes": counts.successes,
        "failures": counts.failures,
        "timeouts": counts.timeouts,
        "slow": counts.slow,
    })
}

fn service(caller: &str) -> ServiceId {
    ServiceId(hash(caller.split('/').next().unwrap_or_default()))
}

fn totals(totals: &Totals) -> Value {
    json!({
        "opens": totals.opens,
        "closes": totals.closes,
        "successes": totals.successes,
        "failures": totals.failures,
        "timeouts": totals.timeouts,
        "ignored": totals.ignored,
        "rejected": totals.rejected,
        "stale": totals.stale,
        "expired": totals.expired,
        "bypassed": totals.bypassed,
        "local_failures": totals.local_failures,
        "last_open_time": totals.last_open.and_then(instant),
        "last_close_time": totals.last_close.and_then(instant),
        "last_success_time": totals.last_success.and_then(instant),
        "last_failure_time": totals.last_failure.and_then(instant),
    })
}

fn event(event: &Transition) -> Value {
    let (reason, rule) = match event.reason {
        Reason::TripRule(rule) => ("trip_rule", Some(rule)),
        Reason::OpenPeriodPassed => ("open_period_passed", None),
        Reason::ProbesSucceeded => ("probes_succeeded", None),
        Reason::ProbesFailed => ("probes_failed", None),
        Reason::HalfOpenTimedOut => ("half_open_timed_out", None),
        // A scenario changes policies by declaring them.
        Reason::Requested if event.kind == Kind::PolicyChanged => ("declared", None),
        Reason::Requested => ("requested", None),
        Reason::OverrideExpired => ("override_expired", None),
        Reason::CallerForgotten => ("caller_forgotten", None),
    };
    let rule = rule.map(|rule| match rule {
        TripRule::FailureThreshold => "failure_threshold",
        TripRule::FailureCountThreshold => "failure_count_threshold",
        TripRule::FailureRateThreshold => "failure_rate_threshold",
        TripRule::SlowCallRateThreshold => "slow_call_rate_threshold",
        TripRule::CallersIsolated => "callers_isolated",
    });
    json!({
        "kind": match event.kind {
            Kind::Opened => "opened",
            Kind::HalfOpened => "half_opened",
            Kind::Closed => "closed",
            Kind::Reset => "reset",
            Kind::PolicyChanged => "policy_changed",
            Kind::OverrideSet => "override_set",
            Kind::OverrideCleared => "override_cleared",
            Kind::WouldHaveOpened => "would_have_opened",
            Kind::CallerIsolated => "caller_isolated",
            Kind::CallerHalfOpened => "caller_half_opened",
            Kind::CallerRestored => "caller_restored",
        },
        "from": state_name(event.from),
        "to": state_name(event.to),
        "reason": reason,
        "rule": rule,
        "generation": generation(event.status.generation),
        "at": instant(event.at),
        "evidence": event.evidence.as_ref().map(|evidence| json!({
            "consecutive_failures": evidence.consecutive_failures,
            "window": counts(&evidence.window),
            "threshold": evidence.threshold,
            "probe_successes": evidence.probe_successes,
            "probe_failures": evidence.probe_failures,
            "open_duration": evidence.open_duration.map(millis),
            "retry_after_applied": evidence.retry_after_applied,
            "failed_recoveries": evidence.failed_recoveries,
        })),
    })
}
