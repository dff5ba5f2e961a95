//! The model: what a breaker does, in the slowest and plainest way.

use std::{cmp::Reverse, collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use fuseboard::breaker::{
    Acquire, Counts, Evidence, Kind, Origin, Outcome, Override, OverrideMode, Permit, PermitKind, Policy,
    RETRY_AFTER_FORCED_MAX, RETRY_AFTER_MIN, RETRY_AFTER_PROBE_MAX, Reason, Rejection, Report, Reported, RequestId,
    Round, State, StateName, Status, Tally, Timestamp, Totals, Transition, TripRule,
    policy::{ExpiredPermit, Ratio, TripOn, WindowSpec},
};

/// A call that counted.
#[derive(Clone, Copy, Default)]
struct Call {
    /// When it was.
    at: Timestamp,
    failed: bool,
    timeout: bool,
    slow: bool,
    /// Until when the dependency asked to be left alone.
    asked_until: Timestamp,
    /// Its part in a row of failures: when it began to age, and until when it asks. `None` for a success, for a failure that
    /// came before one in its tally, and where a policy forgot it.
    in_row: Option<(Timestamp, Timestamp)>,
}

/// A permit that was issued.
#[derive(Clone, Copy)]
pub(crate) struct Slip {
    pub(crate) permit: Permit,
    pub(crate) kind: PermitKind,
    pub(crate) request: RequestId,
    /// Nobody can report it any more, or need to: it was reported, or its lease has ended.
    pub(crate) done: bool,
    /// It was not done before a restart forgot it, or before time took it off the ledger.
    pub(crate) forgotten: bool,
}

/// By how much a fleet's row of failures can have to be longer than the threshold.
const GROWTH_MAX: usize = 64;

pub(crate) struct Model {
    pub(crate) policy: Arc<Policy>,
    pub(crate) generation: u64,
    pub(crate) state: State,
    since: Timestamp,
    forced: Option<Override>,
    pub(crate) failed_recoveries: u32,
    /// Every call since the breaker was new, closed or reset, in the order they were told.
    calls: Vec<Call>,
    /// Probes that counted since then; in no window.
    probes: Vec<Call>,
    /// Calls before this one no longer fit the window.
    window_from: usize,
    /// Every permit.
    pub(crate) slips: Vec<Slip>,
    pub(crate) totals: Totals,
    pub(crate) moves: Vec<Transition>,
}

impl Model {
    pub(crate) fn new(policy: Arc<Policy>, generation: u64, now: Timestamp) -> Self {
        Self {
            policy,
            generation,
            state: State::Closed,
            since: now,
            forced: None,
            failed_recoveries: 0,
            calls: Vec::new(),
            probes: Vec::new(),
            window_from: 0,
            slips: Vec::new(),
            totals: Totals::default(),
            moves: Vec::new(),
        }
    }

    // Numbers, each counted from scratch.

    /// The calls inside the window.
    fn window(&self, now: Timestamp) -> Vec<Call> {
        let fitting = &self.calls[self.window_from..];
        match self.policy.window {
            WindowSpec::Count(length) => fitting[fitting.len().saturating_sub(length as usize)..].to_vec(),
            WindowSpec::Time { duration, slices } => {
                let slice = |at: Timestamp| at.as_nanos() / (nanos(duration) / u64::from(slices));
                let inside = |call: &&Call| slice(call.at) + u64::from(slices) > slice(now);
                fitting.iter().filter(inside).copied().collect()
            }
        }
    }

    pub(crate) fn counts(&self, now: Timestamp) -> Counts {
        let window = self.window(now);
        let count = |which: fn(&Call) -> bool| window.iter().filter(|call| which(call)).count() as u64;
        Counts {
            successes: count(|call| !call.failed),
            failures: count(|call| call.failed),
            timeouts: count(|call| call.timeout),
            slow: count(|call| call.slow),
        }
    }

    /// The failures in a row that are young enough. With an age limit no more are remembered than a
    /// fleet's row can have to be long.
    fn streak(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let row = self.calls.iter().chain(&self.probes).rev().take_while(|call| call.failed);
        let mut row: Vec<_> = row.filter_map(|call| call.in_row).collect();
        if let (Some(period), Some(threshold)) = (self.policy.monitoring_period, self.policy.failure_threshold) {
            row.retain(|(since, _)| now.since(*since) < period);
            row.sort_by_key(|(since, _)| Reverse(*since));
            row.truncate(threshold.get() as usize + GROWTH_MAX);
        }
        row
    }

    /// The first rule that holds, what it asks for, and until when the failures that are its evidence ask for.
    fn rule(&self, now: Timestamp, counted: &[Call]) -> Option<(TripRule, f64, Timestamp)> {
        let policy = &self.policy;
        let (streak, counts) = (self.streak(now), self.counts(now));
        let row_asks = latest(streak.iter().map(|(_, asked_until)| *asked_until));
        let window_asks = latest(self.window(now).iter().map(|call| call.asked_until));
        let any = policy.trip_on == TripOn::Any;
        let may_fail = any || counted.iter().any(|call| call.failed);
        let may_be_slow = any || counted.iter().any(|call| call.slow);
        let reached = |rate: Ratio, part: u64, minimum: u32| {
            let calls = counts.successes + counts.failures;
            calls >= u64::from(minimum) && part * 100 >= percent(rate) * calls
        };
        if let Some(threshold) = policy.failure_threshold.map(NonZeroU32::get)
            && may_fail
            && streak.len() >= threshold as usize
        {
            return Some((TripRule::FailureThreshold, threshold.into(), row_asks));
        }
        if let Some(threshold) = policy.failure_count_threshold.map(NonZeroU32::get)
            && may_fail
            && counts.failures >= u64::from(threshold)
        {
            return Some((TripRule::FailureCountThreshold, threshold.into(), window_asks));
        }
        if let Some(rate) = policy.failure_rate_threshold
            && may_fail
            && reached(rate, counts.failures, policy.minimum_calls)
        {
            return Some((TripRule::FailureRateThreshold, rate.get(), window_asks));
        }
        if let (Some(rate), Some(_)) = (policy.slow_call_rate_threshold, policy.slow_call_duration)
            && may_be_slow
            && reached(rate, counts.slow, policy.slow_call_minimum_calls)
        {
            return Some((TripRule::SlowCallRateThreshold, rate.get(), window_asks));
        }
        None
    }

    /// Probes that hold a place, whatever round they are of.
    pub(crate) fn probes_out(&self) -> impl Iterator<Item = &Slip> {
        self.slips.iter().filter(|slip| slip.kind == PermitKind::Probe && !slip.done)
    }

    /// When the unreported permits of each slice of the ledger are judged: when its last lease ends.
    pub(crate) fn slices(&self) -> BTreeMap<u64, Timestamp> {
        let mut slices = BTreeMap::new();
        for slip in self.slips.iter().filter(|slip| slip.permit.generation == self.generation && !slip.forgotten) {
            let end: &mut Timestamp = slices.entry(slip.permit.slice).or_default();
            *end = slip.permit.expire.max(*end);
        }
        slices
    }

    fn probe_deadline(&self) -> Timestamp {
        self.probes_out().map(|slip| slip.permit.expire).min().unwrap_or(Timestamp::NEVER)
    }

    fn slice_deadline(&self) -> Timestamp {
        self.slices().into_values().min().unwrap_or(Timestamp::NEVER)
    }

    fn override_deadline(&self) -> Timestamp {
        self.forced.as_ref().map_or(Timestamp::NEVER, |forced| forced.expire)
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        self.probe_deadline().min(self.slice_deadline()).min(self.override_deadline()).min(self.state.until())
    }

    fn mode(&self) -> Option<OverrideMode> {
        self.forced.as_ref().map(|forced| forced.mode)
    }

    pub(crate) fn status(&self, now: Timestamp) -> Status {
        Status {
            state: self.state.name(),
            forced: self.mode(),
            generation: self.generation,
            since: self.since,
            until: self.state.until(),
            override_expire: self.override_deadline(),
            failures: self.streak(now).len() as u64,
        }
    }

    // What time does.

    pub(crate) fn wake(&mut self, now: Timestamp) {
        loop {
            let due = self.deadline();
            if due > now {
                return;
            }
            if self.probe_deadline() == due {
                self.end_probe(due, now);
            } else if self.slice_deadline() == due {
                self.end_slice(due, now);
            } else if self.override_deadline() == due {
                self.forced = None;
                self.restart(now, Kind::OverrideCleared, Reason::OverrideExpired);
            } else if matches!(self.state, State::Open { .. }) {
                let round = self.round(now);
                self.enter(now, round, Kind::HalfOpened, Reason::OpenPeriodPassed, None);
            } else {
                self.reopen(now, Reason::HalfOpenTimedOut);
            }
        }
    }

    fn end_probe(&mut self, due: Timestamp, now: Timestamp) {
        let ends = |slip: &&mut Slip| slip.kind == PermitKind::Probe && !slip.done && slip.permit.expire == due;
        let probe = self.slips.iter_mut().find(ends).unwrap();
        probe.done = true;
        let generation = probe.permit.generation;
        self.totals.expired += 1;
        let timeout = self.policy.expired_probe == ExpiredPermit::Timeout;
        if generation == self.generation && self.policy.expired_probe != ExpiredPermit::Ignored {
            let in_row = Some((now, Timestamp::default()));
            self.count_probe(now, Call { failed: true, timeout, at: now, in_row, ..Call::default() });
        }
    }

    fn end_slice(&mut self, due: Timestamp, now: Timestamp) {
        let ended = self.slices().into_iter().filter(|(_, end)| *end == due).map(|(slice, _)| slice);
        let ended: Vec<u64> = ended.collect();
        let mut unreported = 0;
        for slip in &mut self.slips {
            if slip.permit.generation == self.generation && ended.contains(&slip.permit.slice) {
                unreported += u64::from(!slip.done && !slip.forgotten);
                slip.forgotten = true;
            }
        }
        self.totals.expired += unreported;
        if unreported > 0 && self.state == State::Closed && self.policy.expired_permit != ExpiredPermit::Ignored {
            let timeout = self.policy.expired_permit == ExpiredPermit::Timeout;
            let in_row = Some((now, Timestamp::default()));
            let call = Call { failed: true, timeout, at: now, in_row, ..Call::default() };
            self.count_calls(now, &vec![call; unreported as usize]);
        }
    }

    // Calls and moves.

    fn count_calls(&mut self, now: Timestamp, calls: &[Call]) {
        self.add_totals(calls);
        self.calls.extend(calls);
        self.judge(now, calls);
    }

    /// `counted` are the last calls.
    fn judge(&mut self, now: Timestamp, counted: &[Call]) {
        if let Some((rule, threshold, asked_until)) = self.rule(now, counted) {
            let evidence = Evidence { threshold, ..self.evidence(now, asked_until) };
            self.open(now, Reason::TripRule(rule), evidence);
        }
    }

    fn count_probe(&mut self, now: Timestamp, call: Call) {
        self.add_totals(&[Call { at: now, ..call }]);
        self.probes.push(call);
        let is_bad = call.failed
            || call.slow && self.policy.slow_call_duration.is_some() && self.policy.slow_call_rate_threshold.is_some();
        let State::HalfOpen(round) = &mut self.state else { panic!("a probe counts while half-open") };
        *if is_bad { &mut round.failures } else { &mut round.successes } += 1;
        round.asked_until = round.asked_until.max(call.asked_until);
        let Round { successes, failures, .. } = **round;
        if failures >= self.policy.failures_to_reopen {
            self.reopen(now, Reason::ProbesFailed);
        } else if successes >= self.policy.successes_to_close {
            let evidence = Evidence { open_duration: None, ..self.evidence(now, Timestamp::default()) };
            (self.failed_recoveries, self.window_from) = (0, 0);
            self.calls.clear();
            self.probes.clear();
            self.totals.closes += 1;
            self.totals.last_close = Some(now);
            self.enter(now, State::Closed, Kind::Closed, Reason::ProbesSucceeded, Some(evidence));
        }
    }

    fn add_totals(&mut self, calls: &[Call]) {
        for call in calls {
            self.totals.successes += u64::from(!call.failed);
            self.totals.failures += u64::from(call.failed);
            self.totals.timeouts += u64::from(call.timeout);
            let last = if call.failed { &mut self.totals.last_failure } else { &mut self.totals.last_success };
            *last = (*last).max(Some(call.at));
        }
    }

    /// The numbers as of now, with the open period that would begin.
    fn evidence(&self, now: Timestamp, asked_until: Timestamp) -> Evidence {
        let policy = &self.policy;
        let period = match policy.open_backoff {
            None => policy.open_duration,
            Some(backoff) => {
                let grown = (0..self.failed_recoveries).fold(policy.open_duration, |period, _| {
                    Duration::from_nanos(nanos(period).saturating_mul(backoff.multiplier as u64))
                        .min(backoff.max_duration)
                });
                grown.min(backoff.max_duration)
            }
        };
        let (probe_successes, probe_failures) = match &self.state {
            State::HalfOpen(round) => (round.successes, round.failures),
            _ => (0, 0),
        };
        Evidence {
            callers: None,
            consecutive_failures: self.streak(now).len() as u64,
            window: self.counts(now),
            threshold: 0.0,
            probe_successes,
            probe_failures,
            open_duration: Some(now.after(period).max(asked_until).since(now)),
            retry_after_applied: asked_until > now.after(period),
            failed_recoveries: self.failed_recoveries,
        }
    }

    fn reopen(&mut self, now: Timestamp, reason: Reason) {
        let State::HalfOpen(round) = &self.state else { panic!("only a round reopens") };
        let asked_until = round.asked_until;
        self.failed_recoveries += u32::from(round.granted > 0);
        let evidence = self.evidence(now, asked_until);
        self.open(now, reason, evidence);
    }

    fn open(&mut self, now: Timestamp, reason: Reason, evidence: Evidence) {
        self.totals.opens += 1;
        self.totals.last_open = Some(now);
        let kind = if self.mode() == Some(OverrideMode::Shadow) { Kind::WouldHaveOpened } else { Kind::Opened };
        let until = now.after(evidence.open_duration.unwrap());
        let failed_recoveries = self.failed_recoveries;
        self.enter(now, State::Open { until, failed_recoveries }, kind, reason, Some(evidence));
    }

    fn round(&self, now: Timestamp) -> State {
        let (until, disputed_until) = (Timestamp::NEVER, Timestamp::NEVER);
        let failed_recoveries = self.failed_recoveries;
        State::HalfOpen(Box::new(Round { began: now, until, failed_recoveries, disputed_until, ..Round::default() }))
    }

    /// The end of a round whose first probe was granted then.
    fn round_end(&self, first_probe: Timestamp) -> Timestamp {
        self.policy.half_open_max_duration.map_or(Timestamp::NEVER, |limit| first_probe.after(limit))
    }

    /// The state as an override begins or ends: a half-open round starts over.
    fn restart(&mut self, now: Timestamp, kind: Kind, reason: Reason) {
        let state = if matches!(self.state, State::HalfOpen(_)) { self.round(now) } else { self.state.clone() };
        self.enter(now, state, kind, reason, None);
    }

    fn enter(&mut self, at: Timestamp, state: State, kind: Kind, reason: Reason, evidence: Option<Evidence>) {
        let from = self.state.name();
        if from != state.name() || kind == Kind::Reset {
            self.since = at;
        }
        self.state = state;
        self.generation += 1;
        self.tell(at, kind, from, reason, evidence);
    }

    fn tell(&mut self, at: Timestamp, kind: Kind, from: StateName, reason: Reason, evidence: Option<Evidence>) {
        let status = self.status(at);
        let to = self.state.name();
        self.moves.push(Transition { kind, from, to, reason, evidence, at, status, caller: None });
    }

    // What callers and operators do. Time is awake already.

    /// What the answer must be; of a new permit only its kind and expiry.
    pub(crate) fn acquire(&mut self, now: Timestamp, acquire: &Acquire) -> Expected {
        let lease = acquire.lease.map_or(self.policy.lease, |lease| lease.min(self.policy.lease));
        let expire = now.after(lease);
        let same = |slip: &&Slip| slip.request == acquire.request && slip.permit.generation == self.generation;
        let (reason, left) = match (&self.state, &self.forced) {
            (_, Some(forced)) if forced.mode == OverrideMode::ForcedOpen => {
                (Rejection::ForcedOpen, forced.expire.since(now).min(RETRY_AFTER_FORCED_MAX))
            }
            (State::Closed, _) => return Expected::New(PermitKind::Call, expire),
            (State::HalfOpen(round), _) => {
                if let Some(slip) = self.probes_out().find(same).filter(|_| acquire.request != RequestId::default()) {
                    return Expected::Same(slip.permit);
                }
                if self.probes_out().count() < self.policy.probes as usize {
                    let mut round = round.clone();
                    if round.granted == 0 {
                        (round.began, round.until) = (now, self.round_end(now));
                    }
                    round.granted += 1;
                    let until = round.until;
                    self.state = State::HalfOpen(round);
                    return Expected::New(PermitKind::Probe, expire.min(until));
                }
                (Rejection::HalfOpenFull, self.probe_deadline().since(now).min(RETRY_AFTER_PROBE_MAX))
            }
            (State::Open { until, .. }, _) => (Rejection::Open, until.since(now)),
        };
        if self.forced.is_some() && reason != Rejection::ForcedOpen {
            return Expected::New(PermitKind::Bypass, expire);
        }
        self.totals.rejected += 1;
        Expected::Rejected(reason, left.max(RETRY_AFTER_MIN))
    }

    pub(crate) fn report(&mut self, now: Timestamp, index: usize, report: &Report) -> Reported {
        let slip = &mut self.slips[index];
        let was_done = slip.done;
        // A probe gives its place back, whatever becomes of its report.
        slip.done |= slip.kind == PermitKind::Probe;
        let (permit, kind) = (slip.permit, slip.kind);
        if permit.generation != self.generation || permit.expire <= now {
            self.totals.stale += 1;
            return Reported::Stale;
        }
        if slip.forgotten && (kind != PermitKind::Probe || was_done) {
            self.totals.stale += 1;
            return Reported::Stale;
        }
        if was_done {
            return Reported::Duplicate;
        }
        slip.done = true;
        if kind == PermitKind::Bypass {
            self.totals.bypassed += 1;
            return Reported::Counted;
        }
        let failed = match report.outcome {
            Outcome::Ignored | Outcome::Cancelled => {
                self.totals.ignored += 1;
                return Reported::Counted;
            }
            Outcome::Success => false,
            Outcome::Failure | Outcome::Timeout if report.origin == Origin::Local => {
                self.totals.local_failures += 1;
                return Reported::Counted;
            }
            Outcome::Failure | Outcome::Timeout => true,
        };
        let slow =
            matches!((self.policy.slow_call_duration, report.duration), (Some(limit), Some(took)) if took >= limit);
        let asked_until = if failed { self.asked_until(now, report.retry_after) } else { Timestamp::default() };
        let call = Call {
            at: now,
            failed,
            timeout: report.outcome == Outcome::Timeout,
            slow,
            asked_until,
            in_row: failed.then_some((now, asked_until)),
        };
        match kind {
            PermitKind::Probe => self.count_probe(now, call),
            _ => self.count_calls(now, &[call]),
        }
        Reported::Counted
    }

    fn asked_until(&self, at: Timestamp, retry_after: Option<Duration>) -> Timestamp {
        retry_after.map_or_else(Timestamp::default, |asked| at.after(asked.min(self.policy.retry_after_max)))
    }

    /// `in_order`: no other caller is known whose calls could have been in between.
    pub(crate) fn tally(&mut self, now: Timestamp, tally: &Tally, in_order: bool) -> Reported {
        self.totals.rejected += u64::from(tally.rejections);
        if tally.generation != self.generation {
            let counts = [tally.successes, tally.failures, tally.timeouts, tally.ignored, tally.local_failures];
            self.totals.stale += counts.into_iter().map(u64::from).sum::<u64>();
            return Reported::Stale;
        }
        self.totals.ignored += u64::from(tally.ignored);
        self.totals.local_failures += u64::from(tally.local_failures);
        let failures = tally.failures + tally.timeouts;
        let calls = tally.successes + failures;
        if self.state != State::Closed {
            self.totals.bypassed += u64::from(calls);
        } else if calls > 0 {
            let at = now.before(tally.age);
            let asked_until = self.asked_until(at, tally.retry_after);
            let mut order = order_of(tally);
            // Which calls timed out or were slow is not told: the last.
            let (mut timeouts, mut slow) = (tally.timeouts, tally.slow);
            for call in order.iter_mut().rev() {
                (call.at, call.timeout, call.slow) = (at, call.failed && timeouts > 0, slow > 0);
                (timeouts, slow) = (timeouts - u32::from(call.timeout), slow - u32::from(call.slow));
                call.asked_until = if call.failed { asked_until } else { Timestamp::default() };
                call.in_row = call.in_row.map(|_| (at, asked_until));
            }
            self.add_totals(&order);
            let before = self.window(now).len();
            for (number, call) in order.iter().enumerate() {
                self.calls.push(*call);
                if in_order && self.is_known_place(&order, number, before + number + 1) {
                    self.judge(now, &[*call]);
                }
                if self.state != State::Closed {
                    break;
                }
            }
            if self.state == State::Closed {
                self.judge(now, order.last().map_or(&[], std::slice::from_ref));
            }
        }
        Reported::Counted
    }

    /// Whether it is certain what was counted when this call was over: it ends a run of failures, or it is the success that
    /// completes a rate's minimum.
    fn is_known_place(&self, order: &[Call], number: usize, calls: usize) -> bool {
        let policy = &self.policy;
        let Some(next) = order.get(number + 1) else { return false };
        match (order[number].failed, next.failed) {
            (true, false) => true,
            (false, false) => {
                let completes = |is_on: bool, minimum: u32| is_on && calls == minimum as usize;
                let slow_rate = policy.slow_call_duration.and(policy.slow_call_rate_threshold);
                completes(policy.failure_rate_threshold.is_some(), policy.minimum_calls)
                    || completes(slow_rate.is_some(), policy.slow_call_minimum_calls)
            }
            (_, true) => false,
        }
    }

    pub(crate) fn reset(&mut self, now: Timestamp) {
        (self.failed_recoveries, self.window_from) = (0, 0);
        self.calls.clear();
        self.probes.clear();
        self.enter(now, State::Closed, Kind::Reset, Reason::Requested, None);
    }

    pub(crate) fn probe_now(&mut self, now: Timestamp) -> bool {
        let is_open = matches!(self.state, State::Open { .. });
        if is_open {
            let round = self.round(now);
            self.enter(now, round, Kind::HalfOpened, Reason::Requested, None);
        }
        is_open
    }

    pub(crate) fn set_override(&mut self, now: Timestamp, forced: Override) {
        self.forced = Some(forced);
        self.restart(now, Kind::OverrideSet, Reason::Requested);
    }

    pub(crate) fn clear_override(&mut self, now: Timestamp) -> bool {
        let stood = self.forced.take().is_some();
        if stood {
            self.restart(now, Kind::OverrideCleared, Reason::Requested);
        }
        stood
    }

    pub(crate) fn set_policy(&mut self, now: Timestamp, policy: Arc<Policy>) {
        let ages = |policy: &Policy| policy.monitoring_period.is_some() && policy.failure_threshold.is_some();
        // What had aged out stays out; what gains an age limit ages from now.
        let row = self.streak(now);
        let asks = latest(row.iter().map(|(_, asked_until)| *asked_until));
        let all = self.calls.iter_mut().chain(&mut self.probes);
        let mut in_row: Vec<&mut Call> = all.rev().take_while(|call| call.failed).collect();
        in_row.retain(|call| call.in_row.is_some());
        in_row.sort_by_key(|call| Reverse(call.in_row.map(|(since, _)| since)));
        let kept =
            if ages(&policy) { policy.failure_threshold.unwrap().get() as usize + GROWTH_MAX } else { usize::MAX };
        for (place, call) in in_row.into_iter().enumerate() {
            if place >= row.len().min(kept) {
                call.in_row = None;
            } else if ages(&policy) && !ages(&self.policy) {
                call.in_row = Some((now, asks));
            }
        }
        self.window_from = match (self.policy.window, policy.window) {
            (WindowSpec::Count(before), WindowSpec::Count(after)) => {
                self.window_from.max(self.calls.len().saturating_sub(before.min(after) as usize))
            }
            (before, after) if before == after => self.window_from,
            _ => self.calls.len(),
        };
        self.policy = policy;
        if let State::HalfOpen(round) = &self.state
            && round.granted != 0
        {
            let until = self.round_end(round.began);
            self.state = State::HalfOpen(Box::new(Round { until, ..(**round).clone() }));
        }
        self.tell(now, Kind::PolicyChanged, self.state.name(), Reason::Requested, None);
    }

    /// A restart forgets the permits of closed breakers and overrides, but no probe.
    pub(crate) fn restore(&mut self) {
        for slip in &mut self.slips {
            slip.forgotten = true;
        }
    }
}

/// The calls of a tally in the order that is known of them. `in_row` of a call says whether it is of a known run of failures.
fn order_of(tally: &Tally) -> Vec<Call> {
    let failures = tally.failures + tally.timeouts;
    let run = Some((Timestamp::default(), Timestamp::default()));
    let failed = |count: u32| (0..count).map(|_| Call { failed: true, ..Call::default() });
    let in_row = |count: u32| failed(count).map(move |call| Call { in_row: run, ..call });
    let succeeded = |count: u32| (0..count).map(|_| Call::default());
    let &Tally { successes, leading_failures: leading, longest_run: longest, trailing_failures: trailing, .. } = tally;
    if successes == 0 {
        return in_row(failures).collect();
    }
    if leading == 0 && longest == 0 {
        return succeeded(successes).chain(failed(failures - trailing)).chain(in_row(trailing)).collect();
    }
    let between = failures - leading - trailing;
    if between == 0 {
        return in_row(leading).chain(succeeded(successes)).chain(in_row(trailing)).collect();
    }
    let known = if longest > leading.max(trailing) { longest } else { 0 };
    let middle = succeeded(successes - 1).chain(failed(between - known)).chain(in_row(known)).chain(succeeded(1));
    in_row(leading).chain(middle).chain(in_row(trailing)).collect()
}

pub(crate) enum Expected {
    New(PermitKind, Timestamp),
    Same(Permit),
    Rejected(Rejection, Duration),
}

fn latest(instants: impl Iterator<Item = Timestamp>) -> Timestamp {
    instants.max().unwrap_or_default()
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

fn percent(rate: Ratio) -> u64 {
    (rate.get() * 100.0).round() as u64
}
