//! The model: every call in a list, with whose it was; each number is found by counting again.
//!
//! When states begin and end it takes from the breaker (`tests/model` is about that). Whether anything trips, for whom and
//! by which rule, it finds by itself.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fuseboard::breaker::{
    Counts, Decision, KNOWN_FOR, Kind, Origin, Outcome, Permit, PermitKind, Policy, Reason, Report, Reported,
    StateName, Tally, Timestamp, Transition, TripRule,
    policy::{ExpiredPermit, Ratio, Voters, WindowSpec},
};

use super::play::{Op, Play, service_of};

#[derive(Clone, Copy, Debug)]
struct Call {
    at: Timestamp,
    /// `None`: of somebody who is not known any more.
    owner: Option<u64>,
    failed: bool,
    timeout: bool,
    slow: bool,
    /// A failure of a run that is known, in the order of its tally.
    in_run: bool,
}

/// What counts, of the fleet or of one caller.
#[derive(Clone, Default, Debug)]
struct Scope {
    /// Failures since the last success.
    run: Vec<Call>,
    /// All calls; of a window of the last calls only those inside.
    calls: Vec<Call>,
}

#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Numbers {
    streak: u64,
    counts: Counts,
}

const RULES: [TripRule; 4] = [
    TripRule::FailureThreshold,
    TripRule::FailureCountThreshold,
    TripRule::FailureRateThreshold,
    TripRule::SlowCallRateThreshold,
];

pub(crate) struct Model {
    policy: Policy,
    play: Play,
    fleet: Scope,
    /// The known callers, each with its own calls and when it was seen.
    known: BTreeMap<u64, (Scope, Timestamp)>,
    isolated: BTreeSet<u64>,
    /// There has been one at a time; all calls are its own.
    is_alone: bool,
    /// The rules that held on the way through the last tally, before its end: in the fleet's scope, and in the caller's.
    reached: [Option<TripRule>; 2],
}

impl Model {
    pub(crate) fn new(policy: Policy) -> Self {
        let policy = Policy { expired_permit: ExpiredPermit::Ignored, ..policy };
        let mut model = Self {
            play: Play::new(policy.clone()),
            policy,
            fleet: Scope::default(),
            known: BTreeMap::new(),
            isolated: BTreeSet::new(),
            is_alone: true,
            reached: [None; 2],
        };
        model.play(&Op::See(1));
        model
    }

    pub(crate) fn play(&mut self, op: &Op) {
        if matches!(op, Op::Report(..)) && self.play.permits.is_empty() {
            return;
        }
        let mut now = self.play.now;
        if matches!(op, Op::Restore) {
            now = now.after(Duration::from_millis(1));
        }
        if !matches!(op, Op::Wait(_)) {
            self.forget_unseen(now);
        }
        if let Op::Acquire(caller, _) | Op::Call(caller, _) | Op::Tally(caller, _) | Op::See(caller) = op {
            self.see(*caller, now);
        }
        let was_closed = self.play.breaker.state().name() == StateName::Closed;
        let told = self.play.perform(op);
        let counted = match op {
            Op::Report(_, report) | Op::Call(_, report) => {
                told.reported.and_then(|(permit, result)| self.reported(now, &permit, result, report))
            }
            Op::Tally(caller, tally) if was_closed && !self.isolated.contains(caller) => {
                self.tallied(now, *caller, tally)
            }
            _ => None,
        };
        if let Some(Decision::Permitted(permit)) = told.decision
            && permit.kind == PermitKind::Call
        {
            assert!(!self.isolated.contains(&permit.caller.0), "who is isolated gets probes at most");
        }
        self.check(now, counted, &told.moves);
        self.follow(&told.moves);
        if !matches!(op, Op::Wait(_)) {
            self.check_numbers(now);
        }
    }

    // Who is known.

    fn see(&mut self, caller: u64, now: Timestamp) {
        if let Some((_, seen)) = self.known.get_mut(&caller) {
            *seen = now;
            return;
        }
        if self.is_alone
            && let Some((only, (own, _))) = self.known.iter_mut().next()
        {
            self.is_alone = false;
            for call in self.fleet.run.iter_mut().chain(&mut self.fleet.calls) {
                call.owner = Some(*only);
            }
            *own = self.fleet.clone();
        }
        self.known.insert(caller, (Scope::default(), now));
    }

    fn forget_unseen(&mut self, now: Timestamp) {
        let unseen: Vec<u64> =
            self.known.iter().filter(|(_, (_, seen))| now.since(*seen) >= KNOWN_FOR).map(|(id, _)| *id).collect();
        for id in unseen {
            self.known.remove(&id);
            self.isolated.remove(&id);
            for call in self.fleet.run.iter_mut().chain(&mut self.fleet.calls).filter(|call| call.owner == Some(id)) {
                call.owner = None;
            }
        }
    }

    fn services_vote(&self) -> bool {
        let services: BTreeSet<_> = self.known.keys().map(|id| service_of(*id)).collect();
        self.policy.voters == Voters::Service && services.len() > 1
    }

    /// The known callers, each with whether it is isolated, by voter: alone, or with all of its service.
    fn voters(&self, isolated: &BTreeSet<u64>) -> Vec<Vec<(u64, bool)>> {
        let mut services: BTreeMap<u64, Vec<(u64, bool)>> = BTreeMap::new();
        for id in self.known.keys() {
            services.entry(service_of(*id).0).or_default().push((*id, isolated.contains(id)));
        }
        if self.services_vote() {
            return services.into_values().collect();
        }
        services.into_values().flatten().map(|caller| vec![caller]).collect()
    }

    fn quorum(&self) -> usize {
        let known = self.voters(&self.isolated).len();
        let share = ((self.policy.share * 10.0).round() as usize * known).div_ceil(10);
        share.max(self.policy.min_callers as usize).min(known).max(1)
    }

    // What is told.

    fn reported(&mut self, at: Timestamp, permit: &Permit, result: Reported, report: &Report) -> Option<u64> {
        let failed = match report.outcome {
            Outcome::Ignored | Outcome::Cancelled => return None,
            Outcome::Success => false,
            _ if report.origin == Origin::Local => return None,
            _ => true,
        };
        if (result, permit.kind) != (Reported::Counted, PermitKind::Call) {
            return None;
        }
        let slow = self.policy.slow_call_duration.zip(report.duration).is_some_and(|(limit, took)| took >= limit);
        let timeout = report.outcome == Outcome::Timeout;
        let caller = permit.caller.0;
        self.count(at, caller, &[Call { at, owner: Some(caller), failed, timeout, slow, in_run: failed }]);
        Some(caller)
    }

    fn tallied(&mut self, at: Timestamp, caller: u64, tally: &Tally) -> Option<u64> {
        // Which calls timed out or were slow is not told: the last.
        let (mut timeouts, mut slow) = (tally.timeouts, tally.slow);
        let call = |(failed, in_run): (bool, bool)| {
            let call =
                Call { at, owner: Some(caller), failed, timeout: failed && timeouts > 0, slow: slow > 0, in_run };
            (timeouts, slow) = (timeouts - u32::from(call.timeout), slow - u32::from(call.slow));
            call
        };
        let mut order: Vec<Call> = order_of(tally).into_iter().rev().map(call).collect();
        order.reverse();
        self.count(at, caller, &order);
        (!order.is_empty()).then_some(caller)
    }

    /// Counts calls in their order. The fleet's order is that of arrival: where several callers are known, it is judged
    /// after the last call only.
    fn count(&mut self, now: Timestamp, caller: u64, calls: &[Call]) {
        let is_one = self.known.len() <= 1;
        let mut fleet = std::mem::take(&mut self.fleet);
        self.reached = [self.pass(now, &mut fleet, calls, is_one, is_one), None];
        self.fleet = fleet;
        if !self.is_alone
            && let Some((mut own, seen)) = self.known.remove(&caller)
        {
            self.reached[1] = self.pass(now, &mut own, calls, true, is_one);
            self.known.insert(caller, (own, seen));
        }
    }

    /// The first rule that holds at a place before the last call where it is certain what was counted; none of the calls
    /// after it counts where it `stops`.
    fn pass(&self, now: Timestamp, scope: &mut Scope, calls: &[Call], judges: bool, stops: bool) -> Option<TripRule> {
        let mut reached = None;
        let before = self.numbers(now, scope, |_| true).counts.calls() as usize;
        for (number, call) in calls.iter().enumerate() {
            if !call.failed {
                scope.run.clear();
            }
            scope.run.extend(Some(*call).filter(|call| call.in_run));
            scope.calls.push(*call);
            if let WindowSpec::Count(length) = self.policy.window {
                scope.calls.drain(..scope.calls.len().saturating_sub(length as usize));
            }
            if judges && reached.is_none() && self.is_known_place(calls, number, before + number + 1) {
                let numbers = self.numbers(now, scope, |_| true);
                reached = RULES.into_iter().find(|rule| self.holds(*rule, &numbers, 0));
                if stops && reached.is_some() {
                    break;
                }
            }
        }
        reached
    }

    /// Whether this call ends a run of failures, or is the success among others that completes a rate's minimum.
    fn is_known_place(&self, calls: &[Call], number: usize, counted: usize) -> bool {
        let policy = &self.policy;
        let Some(next) = calls.get(number + 1) else { return false };
        let completes = |is_on: bool, minimum: u32| is_on && counted == minimum as usize;
        let slow_rate = policy.slow_call_duration.and(policy.slow_call_rate_threshold);
        let has_minimum = completes(policy.failure_rate_threshold.is_some(), policy.minimum_calls)
            || completes(slow_rate.is_some(), policy.slow_call_minimum_calls);
        !next.failed && (calls[number].failed || has_minimum)
    }

    // Numbers.

    fn numbers(&self, now: Timestamp, scope: &Scope, of: impl Fn(&Call) -> bool) -> Numbers {
        let is_young = |call: &&Call| match (self.policy.monitoring_period, self.policy.failure_threshold) {
            (Some(period), Some(_)) => now.since(call.at) < period,
            _ => true,
        };
        let is_inside = |call: &&Call| match self.policy.window {
            WindowSpec::Count(_) => true,
            WindowSpec::Time { duration, slices } => {
                let slice = |at: Timestamp| at.as_nanos() / (duration.as_nanos() as u64 / u64::from(slices));
                slice(call.at) + u64::from(slices) > slice(now)
            }
        };
        let inside: Vec<&Call> = scope.calls.iter().filter(|call| of(call)).filter(is_inside).collect();
        let count = |which: fn(&Call) -> bool| inside.iter().filter(|call| which(call)).count() as u64;
        Numbers {
            streak: scope.run.iter().filter(|call| of(call)).filter(is_young).count() as u64,
            counts: Counts {
                successes: count(|call| !call.failed),
                failures: count(|call| call.failed),
                timeouts: count(|call| call.timeout),
                slow: count(|call| call.slow),
            },
        }
    }

    fn holds(&self, rule: TripRule, numbers: &Numbers, growth: u64) -> bool {
        let (policy, counts) = (&self.policy, &numbers.counts);
        let reached = |rate: Option<Ratio>, part: u64, minimum: u32| {
            rate.is_some_and(|rate| counts.calls() >= u64::from(minimum) && part * 10 >= tenths(rate) * counts.calls())
        };
        match rule {
            TripRule::FailureThreshold => {
                policy.failure_threshold.is_some_and(|threshold| numbers.streak >= u64::from(threshold.get()) + growth)
            }
            TripRule::FailureCountThreshold => {
                policy.failure_count_threshold.is_some_and(|threshold| counts.failures >= u64::from(threshold.get()))
            }
            TripRule::FailureRateThreshold => {
                reached(policy.failure_rate_threshold, counts.failures, policy.minimum_calls)
            }
            TripRule::SlowCallRateThreshold => {
                policy.slow_call_duration.is_some()
                    && reached(policy.slow_call_rate_threshold, counts.slow, policy.slow_call_minimum_calls)
            }
            TripRule::CallersIsolated => false,
        }
    }

    /// How bad it is, in tenths of a call.
    fn badness(&self, rule: TripRule, numbers: &Numbers) -> i64 {
        let counts = &numbers.counts;
        let excess = |rate: Option<Ratio>, part: u64| {
            rate.map_or(0, |rate| 10 * part as i64 - (tenths(rate) * counts.calls()) as i64)
        };
        match rule {
            TripRule::FailureThreshold => numbers.streak as i64,
            TripRule::FailureCountThreshold => counts.failures as i64,
            TripRule::FailureRateThreshold => excess(self.policy.failure_rate_threshold, counts.failures),
            _ => excess(self.policy.slow_call_rate_threshold, counts.slow),
        }
    }

    /// Whether a rule holds without the worst callers; of equals who has most calls. A rate's minimum is asked of what is
    /// left without those who made most calls.
    fn stands(&self, now: Timestamp, rule: TripRule, growth: u64) -> bool {
        let voters = self.voters(&self.isolated);
        let of = |voter: &Vec<(u64, bool)>| {
            self.numbers(now, &self.fleet, |call| voter.iter().any(|(id, _)| call.owner == Some(*id)))
        };
        let mut parts: Vec<Numbers> = voters.iter().map(of).collect();
        // Where services vote, those who are not known any more are none.
        if !self.services_vote() {
            let mut nobodys = self.numbers(now, &self.fleet, |call| call.owner.is_none());
            if self.policy.monitoring_period.is_some() {
                // When those failed is not known.
                nobodys.streak = 0;
            }
            parts.push(nobodys);
        }
        parts.sort_by_key(|part| Reverse((self.badness(rule, part), part.counts.calls())));
        let out = self.quorum() - 1;
        let mut rest = Numbers::default();
        for part in &parts[out.min(parts.len())..] {
            rest.streak += part.streak;
            rest.counts.successes += part.counts.successes;
            rest.counts.failures += part.counts.failures;
            rest.counts.slow += part.counts.slow;
        }
        parts.sort_by_key(|part| Reverse(part.counts.calls()));
        let calls: u64 = parts[out.min(parts.len())..].iter().map(|part| part.counts.calls()).sum();
        let minimum = match rule {
            TripRule::FailureRateThreshold => self.policy.minimum_calls,
            TripRule::SlowCallRateThreshold => self.policy.slow_call_minimum_calls,
            _ => 0,
        };
        calls >= u64::from(minimum) && self.holds(rule, &rest, growth)
    }

    // What comes of it.

    /// Whether what moved is what the rules say, after calls of a caller were counted.
    fn check(&self, now: Timestamp, counted: Option<u64>, moves: &[Transition]) {
        let tripped = moves.iter().filter_map(|step| match step.reason {
            Reason::TripRule(rule) => Some((step.kind, rule)),
            _ => None,
        });
        let tripped: Vec<_> = tripped.collect();
        let Some(caller) = counted else {
            assert_eq!(tripped, [], "nothing trips without a call");
            return;
        };
        let all = self.numbers(now, &self.fleet, |_| true);
        if self.quorum() == 1 {
            let rule = self.reached[0].or_else(|| RULES.into_iter().find(|rule| self.holds(*rule, &all, 0)));
            assert_eq!(tripped, Vec::from_iter(rule.map(|rule| (Kind::Opened, rule))));
            return;
        }
        let times = all.counts.calls() / u64::from(self.policy.minimum_calls);
        let most = self.policy.failure_threshold.map_or(0, |threshold| 2 * u64::from(threshold.get()));
        let growth = most.min((0..63).take_while(|doubling| times >= 2 << doubling).count() as u64);
        for rule in RULES.into_iter().filter(|rule| self.holds(*rule, &all, growth)) {
            if self.stands(now, rule, growth) {
                return assert_eq!(tripped, [(Kind::Opened, rule)]);
            }
        }
        let own = self.numbers(now, &self.known[&caller].0, |_| true);
        let at_end = || RULES.into_iter().find(|rule| self.holds(*rule, &own, 0));
        let Some(rule) = self.reached[1].or_else(at_end) else {
            assert_eq!(tripped, [], "nothing holds");
            return;
        };
        let left_out = self.quorum() - 1;
        let mut isolated = self.isolated.clone();
        isolated.insert(caller);
        let voters = self.voters(&isolated);
        let most_are = |voter: &&Vec<(u64, bool)>| 2 * voter.iter().filter(|(_, is)| *is).count() > voter.len();
        let isolated = voters.iter().filter(most_are).count().saturating_sub(left_out);
        let mut expected = vec![(Kind::CallerIsolated, rule)];
        if 2 * isolated > voters.len() - left_out {
            expected.push((Kind::Opened, TripRule::CallersIsolated));
        }
        assert_eq!(tripped, expected);
    }

    fn follow(&mut self, moves: &[Transition]) {
        for step in moves {
            let caller = step.caller.map(|scope| scope.caller.0);
            match (step.kind, caller) {
                (Kind::Closed | Kind::Reset, _) => {
                    self.fleet = Scope::default();
                    for (own, _) in self.known.values_mut() {
                        *own = Scope::default();
                    }
                }
                (Kind::CallerIsolated, Some(caller)) => {
                    self.isolated.insert(caller);
                }
                (Kind::CallerRestored, Some(caller)) => {
                    self.isolated.remove(&caller);
                    if step.reason == Reason::CallerForgotten {
                        continue;
                    }
                    for list in [&mut self.fleet.run, &mut self.fleet.calls] {
                        list.retain(|call| call.owner != Some(caller));
                    }
                    self.known.insert(caller, (Scope::default(), self.known[&caller].1));
                }
                _ => {}
            }
        }
    }

    fn check_numbers(&self, now: Timestamp) {
        let mut breaker = self.play.breaker.clone();
        let all = self.numbers(now, &self.fleet, |_| true);
        assert_eq!(breaker.counts(now), all.counts);
        // While it is not closed, its probes are of the row as well.
        if breaker.state().name() == StateName::Closed {
            assert_eq!(breaker.status(now).failures, all.streak);
        }
        assert_eq!(breaker.quorum(), self.quorum());
        assert_eq!(breaker.callers_isolated(), self.isolated.len());
        let views: Vec<_> = breaker
            .callers(now)
            .iter()
            .map(|view| {
                (
                    view.status.caller.0,
                    view.seen,
                    view.status.state != StateName::Closed,
                    view.window,
                    view.status.failures,
                )
            })
            .collect();
        let known = self.known.iter().map(|(id, (own, seen))| {
            let own = self.numbers(now, if self.is_alone { &self.fleet } else { own }, |_| true);
            (*id, *seen, self.isolated.contains(id), own.counts, own.streak)
        });
        assert_eq!(views, known.collect::<Vec<_>>());
    }
}

/// The calls of a tally in the order that is known of them: whether each failed, and whether it is of a known run.
fn order_of(tally: &Tally) -> Vec<(bool, bool)> {
    let &Tally { successes, leading_failures: leading, longest_run: longest, trailing_failures: trailing, .. } = tally;
    let failures = tally.failures + tally.timeouts;
    let calls = |count: u32, failed: bool, in_run: bool| (0..count).map(move |_| (failed, in_run));
    if successes == 0 {
        return calls(failures, true, true).collect();
    }
    if leading == 0 && longest == 0 {
        let successes = calls(successes, false, false);
        return successes.chain(calls(failures - trailing, true, false)).chain(calls(trailing, true, true)).collect();
    }
    let between = failures - leading - trailing;
    let last = u32::from(between > 0);
    let known = if longest > leading.max(trailing) { longest } else { 0 };
    calls(leading, true, true)
        .chain(calls(successes - last, false, false))
        .chain(calls(between - known.min(between), true, false))
        .chain(calls(known.min(between), true, true))
        .chain(calls(last, false, false))
        .chain(calls(trailing, true, true))
        .collect()
}

fn tenths(rate: Ratio) -> u64 {
    (rate.get() * 10.0).round() as u64
}
