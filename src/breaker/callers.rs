//! Who calls: each caller's own scope, and whether evidence stands without the worst of them.
//!
//! A fleet's breaker must not open because of one sick caller. So besides the fleet's scope, in which all calls count,
//! each caller has one of its own with the same rules, and the fleet's scope opens only on evidence that stands without
//! its worst `quorum - 1` callers:
//!
//! - *Quorum* is `min_callers`, or `share` of the known callers where that is more, but never more than are known. Known
//!   is who was seen within [`KNOWN_FOR`]; counting only the busy ones would make a sick caller "the only one" in a
//!   quiet minute.
//! - *Worst* is who has most failures in the evidence; for a rate, whose failures exceed most what the rate allows on so
//!   many calls. These calls are taken out and the rule is asked again. A rate's minimum of calls is asked of what is left
//!   without those who made most of them, so that it stands without any `quorum - 1` callers, whoever they are.
//! - For the streak the evidence is the run of failures since anybody's last success. A caller that is taken out takes
//!   its failures along; its successes go on ending runs.
//! - *Voters* are callers; under `voters: service`, as soon as two services are known, they are services: a service that
//!   names many instances is known once, taken out as a whole, and counts as isolated while most of its instances are.
//!   Isolation stays an instance's own. What forgotten callers said is then left out of the evidence, so that a service
//!   cannot vote a second time through instances that were forgotten. So is what a caller said whose service is unknown, as
//!   after a restart, until it calls again; as long as there are such callers, they count as one known service. While one
//!   service is known its instances vote, or a sick one of them could open the breaker.
//! - A caller whose own scope holds a rule while the fleet's does not is *isolated*: refused alone, until probes of its
//!   own succeed. What it failed before stays evidence, or two callers could never reach a threshold together.
//! - Isolation stops the failures that the rules would need, so there is one rule more: without `quorum - 1` isolated
//!   callers, more than half of the other known ones are isolated too.
//!
//! As long as there is a single caller, its numbers are the fleet's and nothing is kept twice.
//!
//! # Invariants
//!
//! - What callers have in the fleet's evidence never adds up to more than the fleet has. The rest is of callers that
//!   were evicted; it counts as one more caller, so it can be taken out too.
//! - A caller that is restored starts afresh: what it told before is taken out of the fleet's evidence as well.
//! - At most [`CALLERS_MAX`] callers; past that the one with the fewest recent calls goes that is not isolated. Under
//!   `voters: service` it goes from the service with most callers, and no service loses its last one to another's.

use std::{
    cmp::{Ordering, Reverse},
    time::Duration,
};

use super::{
    CallerStatus,
    permit::{CallerId, ServiceId},
    policy::{Policy, Voters},
    rule::{self, Numbers, Trigger, Trip, growth},
    scope::Scope,
    snapshot::{CallerSnapshot, CallersSnapshot},
    statistics::{Reached, Sample, Statistics},
    streak::Streak,
    time::Timestamp,
    transition::{CallerEvidence, CallersEvidence, EVIDENCE_CALLERS_MAX, TripRule},
    window::{CallerTag, Counts},
};

/// Most callers of a breaker.
pub const CALLERS_MAX: usize = 256;
/// Most calls in the count windows of a breaker's callers together: with more callers, each one's own window is shorter. The
/// fleet's window is not.
pub const OWN_CALLS_MAX: usize = 1 << 20;
/// In place of the number of a voter, where a caller has no vote.
const NO_VOTER: usize = usize::MAX;
/// How long a caller is known after it was seen.
pub const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// A caller's calls over the time that it is known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallerTotals {
    /// Calls counted as successes.
    pub successes: u64,
    /// Calls counted as failures, timeouts included.
    pub failures: u64,
    /// Failures of its own, which count for nobody.
    pub local_failures: u64,
    /// Calls rejected.
    pub rejected: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) scope: Scope,
    pub(super) seen: Timestamp,
    pub(super) totals: CallerTotals,
    service: ServiceId,
    tag: CallerTag,
    /// The fleet's run of failures that `run_failures` is about.
    run: u64,
    run_failures: u64,
}

impl Caller {
    fn new(service: ServiceId, tag: CallerTag, now: Timestamp) -> Self {
        let (scope, totals) = (Scope::new(0, now), CallerTotals::default());
        Self { scope, seen: now, totals, service, tag, run: 0, run_failures: 0 }
    }

    pub(super) fn is_isolated(&self) -> bool {
        !self.scope.state.is_closed()
    }
}

/// The callers of one breaker.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    /// In order, each beside its caller: a search stays in a few cache lines.
    ids: Vec<CallerId>,
    #[expect(clippy::vec_box, reason = "inserting one moves pointers, not callers")]
    callers: Vec<Box<Caller>>,
    /// There has been one caller only: the fleet's statistics are its own, and its scope has none.
    is_alone: bool,
    isolated: usize,
    /// Services that are known.
    services: usize,
    /// Counts the fleet's runs of failures.
    run: u64,
    /// Given to a scope that moves.
    generation: u64,
    /// When the next isolated caller's state may end.
    deadline: Timestamp,
    /// When the first caller may be forgotten.
    sweep_at: Timestamp,
    /// Memory of all callers' statistics.
    bytes: usize,
}

/// What is left of the fleet's evidence without its worst callers.
pub(super) struct Remainder {
    pub(super) numbers: Numbers,
    pub(super) asked_until: Timestamp,
    pub(super) callers: Box<CallersEvidence>,
    /// Calls that are left without the callers who made most, worst or not.
    calls_min: u64,
}

impl Callers {
    pub(super) const fn new() -> Self {
        Self {
            ids: Vec::new(),
            callers: Vec::new(),
            is_alone: true,
            isolated: 0,
            services: 0,
            run: 1,
            generation: 0,
            deadline: Timestamp::NEVER,
            sweep_at: Timestamp::NEVER,
            bytes: 0,
        }
    }

    // ---- Who is known ----------------------------------------------------------------------------------------------

    pub(super) const fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) const fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Memory of all callers, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes + self.callers.len() * (size_of::<Caller>() + size_of::<CallerId>() + size_of::<usize>())
    }

    fn weigh(&mut self) {
        self.bytes = self.callers.iter().map(|caller| caller.scope.statistics.bytes()).sum();
    }

    /// Most calls in one caller's count window.
    const fn own_calls_max(&self) -> usize {
        let callers = if self.callers.is_empty() { 1 } else { self.callers.len() };
        OWN_CALLS_MAX / callers.next_power_of_two()
    }

    /// Whether any scope ever has.
    pub(super) const fn have_moved(&self) -> bool {
        self.generation > 0
    }

    /// The only caller there has been.
    pub(super) fn only(&self) -> Option<CallerId> {
        self.ids.first().copied().filter(|_| self.is_alone)
    }

    pub(super) const fn isolated(&self) -> usize {
        self.isolated
    }

    pub(super) fn get(&self, caller: CallerId) -> Option<&Caller> {
        self.ids.binary_search(&caller).ok().map(|index| &*self.callers[index])
    }

    pub(super) fn get_mut(&mut self, caller: CallerId) -> Option<&mut Caller> {
        self.ids.binary_search(&caller).ok().map(|index| &mut *self.callers[index])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (CallerId, &Caller)> {
        self.ids.iter().copied().zip(self.callers.iter().map(|caller| &**caller))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (CallerId, &mut Caller)> {
        self.ids.iter().copied().zip(self.callers.iter_mut().map(|caller| &mut **caller))
    }

    /// Notes that a caller is there; makes it known, of at most `max`.
    pub(super) fn see(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        caller: CallerId,
        service: ServiceId,
        max: usize,
        fleet: &mut Statistics,
    ) {
        match self.ids.binary_search(&caller) {
            Ok(index) => {
                let caller = &mut self.callers[index];
                caller.seen = now;
                if caller.service != service {
                    caller.service = service;
                    self.count_services();
                }
            }
            Err(_) => self.add(policy, now, caller, service, max, fleet),
        }
    }

    #[cold]
    fn add(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        caller: CallerId,
        service: ServiceId,
        max: usize,
        fleet: &mut Statistics,
    ) {
        if self.len() >= max.min(CALLERS_MAX) && !(self.len() > 1 && self.evict_quietest(policy, now, fleet)) {
            return;
        }
        if self.is_alone && !self.ids.is_empty() {
            // From here on there is a difference between the fleet's numbers and the first caller's.
            self.is_alone = false;
            let (run, first) = (self.run, &mut self.callers[0]);
            first.scope.statistics = fleet.clone();
            (first.run, first.run_failures) = (run, fleet.streak.length(policy, now));
            fleet.retag(now, CallerTag::default(), first.tag);
        }
        let Err(place) = self.ids.binary_search(&caller) else { return };
        let tag = self.free_tag();
        self.ids.insert(place, caller);
        self.callers.insert(place, Box::new(Caller::new(service, tag, now)));
        let own_calls_max = self.own_calls_max();
        self.callers.iter_mut().for_each(|caller| caller.scope.statistics.limit(policy, own_calls_max));
        self.weigh();
        self.count_services();
        self.sweep_at = self.sweep_at.min(now.after(KNOWN_FOR));
    }

    fn free_tag(&self) -> CallerTag {
        let mut taken = [false; CALLERS_MAX + 2];
        taken[0] = true;
        for caller in &self.callers {
            taken[usize::from(caller.tag.0)] = true;
        }
        let free = taken.iter().position(|taken| !taken).and_then(|tag| u16::try_from(tag).ok());
        CallerTag(free.unwrap_or_default())
    }

    /// The fewest calls first, then the longest unseen; where services vote, of the service with most callers. False where
    /// there is nobody who may go.
    fn evict_quietest(&mut self, policy: &Policy, now: Timestamp, fleet: &mut Statistics) -> bool {
        let services = if policy.voters == Voters::Service { self.services_sorted() } else { Vec::new() };
        let callers_of = |service: ServiceId| {
            let end = services.partition_point(|other| *other <= service);
            end - services.partition_point(|other| *other < service)
        };
        let may_go = self.callers.iter_mut().enumerate().filter(|(_, caller)| !caller.is_isolated());
        let rank = |(index, caller): (usize, &mut Box<Caller>)| {
            let calls = caller.scope.statistics.counts(now).calls();
            (Reverse(callers_of(caller.service)), calls, caller.seen, index)
        };
        let Some((Reverse(of_service), .., index)) = may_go.map(rank).min() else { return false };
        if of_service == 1 && services.len() > self.services {
            return false;
        }
        self.remove(index, now, fleet);
        true
    }

    fn services_sorted(&self) -> Vec<ServiceId> {
        let mut services: Vec<_> = self.callers.iter().map(|caller| caller.service).collect();
        services.sort_unstable();
        services
    }

    #[cold]
    fn count_services(&mut self) {
        let mut services = self.services_sorted();
        services.dedup();
        self.services = services.len();
    }

    /// Says which service each caller is an instance of, for callers that were known before that mattered, or before a restart.
    pub(super) fn assign_services(&mut self, service_of: impl Fn(CallerId) -> ServiceId) {
        for (id, caller) in self.ids.iter().zip(&mut self.callers) {
            caller.service = service_of(*id);
        }
        self.count_services();
    }

    /// Whether services vote, not callers.
    fn counts_services(&self, policy: &Policy) -> bool {
        policy.voters == Voters::Service && self.services > 1
    }

    /// Voters that are known.
    fn voters(&self, policy: &Policy) -> usize {
        if self.counts_services(policy) { self.services } else { self.len() }
    }

    /// What it told stays in the fleet's evidence as nobody's.
    fn remove(&mut self, index: usize, now: Timestamp, fleet: &mut Statistics) -> (CallerId, Box<Caller>) {
        let caller = self.callers.remove(index);
        fleet.retag(now, caller.tag, CallerTag::default());
        self.weigh();
        let id = self.ids.remove(index);
        self.count_services();
        (id, caller)
    }

    /// Forgets callers that were not seen for long, and returns those of them that were isolated, for their events.
    pub(super) fn sweep(&mut self, now: Timestamp, fleet: &mut Statistics) -> Vec<(CallerId, Box<Caller>)> {
        let mut told = Vec::new();
        if now < self.sweep_at {
            return told;
        }
        for index in (0..self.len()).rev() {
            if now.since(self.callers[index].seen) >= KNOWN_FOR {
                let (id, caller) = self.remove(index, now, fleet);
                if caller.is_isolated() {
                    told.push((id, caller));
                }
            }
        }
        let first = self.callers.iter().map(|caller| caller.seen).min();
        self.sweep_at = first.map_or(Timestamp::NEVER, |seen| seen.after(KNOWN_FOR));
        self.update();
        told
    }

    /// How many voters it takes.
    pub(super) fn quorum(&self, policy: &Policy) -> usize {
        let voters = self.voters(policy);
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        let share = policy.share * voters as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 256")]
        let quorum = (policy.min_callers as usize).max(share.ceil() as usize);
        quorum.min(voters).max(1)
    }

    // ---- What they tell --------------------------------------------------------------------------------------------

    /// Counts a success that cannot make a rule hold. The fleet's scope has counted it already.
    pub(super) fn pend_success(&mut self, policy: &Policy, now: Timestamp, caller: CallerId, room: usize) {
        let (is_alone, own_calls_max) = (self.is_alone, Some(self.own_calls_max()));
        let Some(caller) = self.get_mut(caller) else { return };
        caller.totals.successes += 1;
        if !is_alone && !caller.scope.statistics.pend_success(now) {
            let counts = Counts { successes: 1, ..Counts::default() };
            let sample = Sample { counts, at: now, room, own_calls_max, ..Sample::default() };
            let before = caller.scope.statistics.bytes();
            caller.scope.statistics.record(policy, now, &sample, false);
            let after = caller.scope.statistics.bytes();
            self.bytes = self.bytes + after - before;
        }
    }

    /// Counts calls of a caller. The fleet's scope counts them itself, under the tag that comes back beside the rule that
    /// held in the caller's scope on the way through the calls.
    pub(super) fn record(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        caller: CallerId,
        sample: &Sample,
    ) -> (CallerTag, Option<Box<Reached>>) {
        if sample.counts.successes > 0 {
            self.run += 1;
        }
        let (is_alone, is_one, run) = (self.is_alone, self.len() <= 1, self.run);
        let own_calls_max = Some(self.own_calls_max());
        let Some(caller) = self.get_mut(caller) else { return (CallerTag::default(), None) };
        caller.totals.successes += sample.counts.successes;
        caller.totals.failures += sample.counts.failures;
        if is_alone {
            return (CallerTag::default(), None);
        }
        if caller.run != run {
            (caller.run, caller.run_failures) = (run, 0);
        }
        caller.run_failures += sample.runs.trailing;
        // With several callers all of it counts, also what came after the rule held: the fleet's evidence has it, and a caller that
        // is restored takes its own part out of there.
        let sample = Sample { tag: CallerTag::default(), own_calls_max, ..*sample };
        let before = caller.scope.statistics.bytes();
        let reached = caller.scope.statistics.record(policy, now, &sample, is_one);
        let (tag, after) = (caller.tag, caller.scope.statistics.bytes());
        self.bytes = self.bytes + after - before;
        (tag, reached)
    }

    /// Begins all statistics anew, with the fleet's.
    pub(super) fn clear(&mut self) {
        self.run += 1;
        for caller in &mut self.callers {
            caller.scope.statistics = Statistics::default();
        }
        self.weigh();
    }

    pub(super) fn refit(&mut self, was: &Policy, policy: &Policy, now: Timestamp) {
        for caller in &mut self.callers {
            caller.scope.statistics.streak.length(was, now);
            caller.scope.statistics.refit(policy, now);
        }
        self.weigh();
    }

    /// Gives memory back where everything has aged out.
    pub(super) fn tidy(&mut self, policy: &Policy, now: Timestamp) {
        for caller in &mut self.callers {
            caller.scope.statistics.tidy(policy, now);
        }
        self.weigh();
    }

    // ---- What it comes to ------------------------------------------------------------------------------------------

    /// The first rule that holds on all calls, and on what is left without the worst callers.
    pub(super) fn judge(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        all: &Numbers,
        trigger: Trigger,
        fleet: &mut Statistics,
    ) -> Option<(Trip, Remainder)> {
        let growth = growth(policy, all.counts.calls());
        let quorum = self.quorum(policy);
        rule::RULES.into_iter().filter(|rule| trigger.allows(*rule)).find_map(|rule| {
            rule.judge(policy, all, growth)?;
            let remainder = self.remainder(policy, now, rule, quorum, all, fleet);
            let trip = rule.judge(policy, &remainder.numbers, growth)?;
            (remainder.calls_min >= u64::from(rule.minimum_calls(policy))).then_some((trip, remainder))
        })
    }

    /// The fleet's evidence for a rule without the `quorum - 1` voters that speak for it most.
    fn remainder(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        rule: TripRule,
        quorum: usize,
        all: &Numbers,
        fleet: &mut Statistics,
    ) -> Remainder {
        let mut parts = Vec::with_capacity(self.len() + 1);
        let mut rest = *all;
        for (id, caller) in self.ids.iter().zip(&mut self.callers) {
            let counts = fleet.counts_of(now, caller.tag, &mut caller.scope.statistics);
            let run = if caller.run == self.run { caller.run_failures } else { 0 };
            let own = caller.scope.statistics.streak.length(policy, now);
            // Both are the newest of the caller's failures: those of the fleet's run, and those that are young enough.
            let streak = if ages(policy) { run.min(own) } else { run };
            let numbers = Numbers { streak, counts };
            rest.streak = rest.streak.saturating_sub(streak);
            rest.counts.subtract(&counts);
            let asked_until = caller.scope.statistics.asked_until(rule, now);
            let weight = rule.weight(policy, &numbers);
            parts.push(Part { id: *id, voter: parts.len(), weight, numbers, asked_until });
        }
        if ages(policy) {
            // The fleet's streak does not tell whose failures have aged out; the callers' do.
            rest.streak = 0;
        }
        let is_by_service = self.counts_services(policy);
        let mut votes = if is_by_service {
            self.votes_of_services(policy, rule, &mut parts)
        } else {
            // What forgotten callers said is one more voter's.
            let weight = rule.weight(policy, &rest);
            let (id, asked_until) = (CallerId::default(), Timestamp::default());
            parts.push(Part { id, voter: parts.len(), weight, numbers: rest, asked_until });
            parts.iter().map(|part| Part { ..*part }).collect()
        };
        let taken_out = (quorum - 1).min(votes.len());
        votes.sort_unstable_by(|a, b| worse(a, b).then(a.voter.cmp(&b.voter)));
        let (without, with) = votes.split_at(taken_out);
        let mut numbers = Numbers::default();
        let mut asked_until = Timestamp::default();
        for vote in with {
            numbers.streak += vote.numbers.streak;
            numbers.counts.add(&vote.numbers.counts);
            asked_until = asked_until.max(vote.asked_until);
        }
        let mut calls: Vec<u64> = votes.iter().map(|vote| vote.numbers.counts.calls()).collect();
        calls.sort_unstable();
        let calls_min = calls[..calls.len() - taken_out].iter().sum();
        if !is_by_service {
            parts.pop();
        }
        parts.sort_unstable_by(|a, b| worse(a, b).then(a.id.cmp(&b.id)));
        let mut is_out = vec![false; votes.len()];
        for vote in without {
            is_out[vote.voter] = true;
        }
        let named = |is_without: bool| {
            let told = parts.iter().filter(|part| is_out.get(part.voter) == Some(&is_without));
            let told = told.map(|part| part.evidence(rule)).filter(|part| part.failures > 0);
            told.take(EVIDENCE_CALLERS_MAX).collect()
        };
        let callers = CallersEvidence {
            quorum: narrow(quorum),
            known: narrow(self.voters(policy)),
            with: named(false),
            without: named(true),
        };
        Remainder { numbers, asked_until, callers: Box::new(callers), calls_min }
    }

    /// The parts of each service added up, with their weight; and which service each part is of.
    fn votes_of_services(&self, policy: &Policy, rule: TripRule, parts: &mut [Part]) -> Vec<Part> {
        let mut services = self.services_sorted();
        services.dedup();
        let empty = |voter| Part {
            id: CallerId::default(),
            voter,
            weight: 0.0,
            numbers: Numbers::default(),
            asked_until: Timestamp::default(),
        };
        let mut votes: Vec<Part> = (0..services.len()).map(empty).collect();
        for (part, caller) in parts.iter_mut().zip(&self.callers) {
            let voter = services.binary_search(&caller.service).ok();
            let Some(voter) = voter.filter(|_| caller.service != ServiceId::UNKNOWN) else {
                part.voter = NO_VOTER;
                continue;
            };
            part.voter = voter;
            let vote = &mut votes[voter];
            vote.numbers.streak += part.numbers.streak;
            vote.numbers.counts.add(&part.numbers.counts);
            vote.asked_until = vote.asked_until.max(part.asked_until);
        }
        for vote in &mut votes {
            vote.weight = rule.weight(policy, &vote.numbers);
        }
        votes
    }

    /// Voters that are isolated: callers, or services most of whose callers are.
    fn isolated_voters(&self, policy: &Policy) -> usize {
        if !self.counts_services(policy) {
            return self.isolated;
        }
        let mut callers: Vec<_> = self.callers.iter().map(|caller| (caller.service, caller.is_isolated())).collect();
        callers.sort_unstable();
        let is_isolated = |of_one: &&[(ServiceId, bool)]| {
            2 * of_one.iter().filter(|(_, is_isolated)| *is_isolated).count() > of_one.len()
        };
        callers.retain(|(service, _)| *service != ServiceId::UNKNOWN);
        callers.chunk_by(|(a, _), (b, _)| a == b).filter(is_isolated).count()
    }

    /// Whether too many are isolated for the rules to see the failures they would need.
    pub(super) fn judge_isolated(
        &mut self,
        policy: &Policy,
        now: Timestamp,
        fleet: &mut Statistics,
    ) -> Option<(Trip, Box<CallersEvidence>)> {
        let quorum = self.quorum(policy);
        let left_out = quorum - 1;
        let known = self.voters(policy);
        let holds = quorum > 1 && 2 * self.isolated_voters(policy).saturating_sub(left_out) > known - left_out;
        holds.then(|| {
            let (quorum, known) = (narrow(quorum), narrow(known));
            let isolated = self.iter_mut().filter(|(_, caller)| caller.is_isolated());
            // Calls of the window, as everything in the evidence is.
            let in_window = |(caller, own): (CallerId, &mut Caller)| {
                let counts = fleet.counts_of(now, own.tag, &mut own.scope.statistics);
                CallerEvidence { caller, calls: counts.calls(), failures: counts.failures }
            };
            let with = isolated.map(in_window).take(EVIDENCE_CALLERS_MAX).collect();
            let trip = Trip { rule: TripRule::CallersIsolated, threshold: 0.5 };
            (trip, Box::new(CallersEvidence { quorum, known, with, without: Vec::new() }))
        })
    }

    /// Whose probes made a round reopen.
    pub(super) fn of_failed(&self, policy: &Policy, failed: &[CallerId]) -> CallersEvidence {
        let with = failed.iter().map(|caller| CallerEvidence { caller: *caller, calls: 1, failures: 1 });
        CallersEvidence {
            quorum: narrow(self.quorum(policy)),
            known: narrow(self.voters(policy)),
            with: with.take(EVIDENCE_CALLERS_MAX).collect(),
            without: Vec::new(),
        }
    }

    // ---- What moves ------------------------------------------------------------------------------------------------

    /// The generation for a scope that moves now. None ever had it, so that a caller that was evicted comes back clean.
    pub(super) const fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Brings the sums up to date after a scope has moved.
    pub(super) fn update(&mut self) {
        let isolated = self.callers.iter().filter(|caller| caller.is_isolated());
        let (mut deadline, mut count) = (Timestamp::NEVER, 0);
        for caller in isolated {
            deadline = deadline.min(caller.scope.state.until()).min(caller.seen.after(KNOWN_FOR));
            count += 1;
        }
        (self.deadline, self.isolated) = (deadline, count);
    }

    /// When an isolated caller's state ends, or it may be forgotten.
    pub(super) const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// When a caller may have to be forgotten.
    pub(super) const fn sweep_at(&self) -> Timestamp {
        self.sweep_at
    }

    /// The isolated caller whose state ends by then, the earliest first.
    pub(super) fn due(&self, now: Timestamp) -> Option<CallerId> {
        let due = self.iter().filter(|(_, caller)| caller.scope.state.until() <= now);
        due.min_by_key(|(_, caller)| caller.scope.state.until()).map(|(id, _)| id)
    }

    pub(super) fn isolated_ids(&self) -> Vec<CallerId> {
        self.iter().filter(|(_, caller)| caller.is_isolated()).map(|(id, _)| id).collect()
    }

    /// A caller's evidence is forgotten with its isolation, in both scopes.
    pub(super) fn forget_evidence(&mut self, now: Timestamp, caller: CallerId, fleet: &mut Statistics) {
        let run = self.run;
        let Some(caller) = self.get_mut(caller) else { return };
        let failures = if caller.run == run { caller.run_failures } else { 0 };
        fleet.forget(now, caller.tag, failures, &mut caller.scope.statistics);
        caller.scope.statistics = Statistics::default();
        caller.run_failures = 0;
        self.weigh();
    }

    // ---- As data ---------------------------------------------------------------------------------------------------

    pub(super) fn snapshot(&self) -> CallersSnapshot {
        let snapshot = |(id, caller): (CallerId, &Caller)| CallerSnapshot {
            caller: id,
            generation: caller.scope.generation,
            state: caller.scope.state.clone(),
            since: caller.scope.since,
            seen: caller.seen,
            totals: caller.totals,
            tag: caller.tag,
            run_failures: if caller.run == self.run { caller.run_failures } else { 0 },
            streak: caller.scope.statistics.streak.snapshot(),
            window: caller.scope.statistics.snapshot_window(),
        };
        let known = self.iter().map(snapshot).collect();
        CallersSnapshot { generation: self.generation, is_alone: self.is_alone, known }
    }

    pub(super) fn restore(policy: &Policy, snapshot: CallersSnapshot, now: Timestamp) -> Self {
        let CallersSnapshot { generation, is_alone, known } = snapshot;
        let mut callers = Self { generation, is_alone, ..Self::new() };
        for snapshot in known {
            let mut statistics = Statistics::restore(Streak::restore(snapshot.streak), snapshot.window);
            statistics.refit(policy, now);
            let state = snapshot.state.restored();
            let scope = Scope { generation: snapshot.generation, state, since: snapshot.since, statistics };
            let Err(place) = callers.ids.binary_search(&snapshot.caller) else { continue };
            let caller = Caller {
                scope,
                seen: snapshot.seen,
                totals: snapshot.totals,
                service: snapshot.caller.into(),
                tag: snapshot.tag,
                run: callers.run,
                run_failures: snapshot.run_failures,
            };
            callers.sweep_at = callers.sweep_at.min(caller.seen.after(KNOWN_FOR));
            callers.ids.insert(place, snapshot.caller);
            callers.callers.insert(place, Box::new(caller));
        }
        callers.update();
        callers.weigh();
        callers.count_services();
        callers
    }
}

/// Which callers are one voter.
#[derive(Clone, Copy, Debug)]
pub(super) struct VotersOf<'a> {
    /// Where services vote.
    callers: Option<&'a Callers>,
}

impl<'a> VotersOf<'a> {
    /// Each caller by itself.
    pub(super) const CALLERS: Self = Self { callers: None };

    pub(super) fn new(callers: Option<&'a Callers>, policy: &Policy) -> Self {
        Self { callers: callers.filter(|callers| callers.counts_services(policy)) }
    }

    fn service(self, caller: CallerId) -> Option<ServiceId> {
        self.callers.and_then(|callers| callers.get(caller)).map(|caller| caller.service)
    }

    /// Whether two callers are one voter.
    pub(super) fn are_one(self, a: CallerId, b: CallerId) -> bool {
        a == b || self.service(a).is_some_and(|service| self.service(b) == Some(service))
    }

    /// How many voters these callers are. Where services vote, one that is not known any more is none, nor is one of an unknown
    /// service.
    pub(super) fn count(self, callers: &[CallerId]) -> usize {
        if self.callers.is_none() {
            return callers.len();
        }
        let mut services: Vec<_> = callers.iter().filter_map(|caller| self.service(*caller)).collect();
        services.retain(|service| *service != ServiceId::UNKNOWN);
        services.sort_unstable();
        services.dedup();
        services.len()
    }
}

/// One caller's part in the fleet's evidence, or one voter's.
struct Part {
    id: CallerId,
    /// Number of its voter.
    voter: usize,
    weight: f64,
    numbers: Numbers,
    asked_until: Timestamp,
}

impl Part {
    fn evidence(&self, rule: TripRule) -> CallerEvidence {
        let Numbers { streak, counts } = self.numbers;
        let (calls, failures) = match rule {
            TripRule::FailureThreshold => (streak, streak),
            TripRule::SlowCallRateThreshold => (counts.calls(), counts.slow),
            _ => (counts.calls(), counts.failures),
        };
        CallerEvidence { caller: self.id, calls, failures }
    }
}

/// The worst first. Of equals who has more calls: one without any would be no loss.
fn worse(a: &Part, b: &Part) -> Ordering {
    b.weight.total_cmp(&a.weight).then(b.numbers.counts.calls().cmp(&a.numbers.counts.calls()))
}

/// Whether failures in a row count only while they are young.
const fn ages(policy: &Policy) -> bool {
    policy.monitoring_period.is_some() && policy.failure_threshold.is_some()
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Caller {
    pub(super) fn status(&mut self, id: CallerId, policy: &Policy, now: Timestamp) -> CallerStatus {
        CallerStatus {
            caller: id,
            state: self.scope.state.name(),
            generation: self.scope.generation,
            since: self.scope.since,
            until: self.scope.state.until(),
            failures: self.scope.statistics.streak.length(policy, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{outcome::Runs, policy::WindowSpec};

    fn calls() -> Policy {
        Policy { window: WindowSpec::Count(100_000), ..Policy::default() }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_secs(seconds))
    }

    struct World {
        policy: Policy,
        callers: Callers,
        fleet: Statistics,
    }

    impl World {
        fn new(policy: &Policy) -> Self {
            Self { policy: policy.clone(), callers: Callers::new(), fleet: Statistics::new() }
        }

        fn see(&mut self, now: Timestamp, ids: impl IntoIterator<Item = u64>) {
            for id in ids {
                let (caller, service) = (CallerId(id), ServiceId(id));
                self.callers.see(&self.policy, now, caller, service, CALLERS_MAX, &mut self.fleet);
            }
        }

        /// Calls of one caller, in both scopes.
        fn record(&mut self, now: Timestamp, id: u64, successes: u64, failures: u64) {
            let counts = Counts { successes, failures, ..Counts::default() };
            let runs = Runs { trailing: failures, ..Runs::default() };
            let mut sample = Sample { counts, runs, at: now, ..Sample::default() };
            sample.tag = self.callers.record(&self.policy, now, CallerId(id), &sample).0;
            self.fleet.record(&self.policy, now, &sample, false);
        }

        fn own_calls(&mut self, now: Timestamp, id: u64) -> u64 {
            self.callers.get_mut(CallerId(id)).unwrap().scope.statistics.counts(now).calls()
        }

        fn known(&self) -> Vec<u64> {
            self.callers.iter().map(|(id, _)| id.0).collect()
        }

        /// The memory is what a recount says.
        fn check_bytes(&self) {
            let of_statistics: usize = self.callers.iter().map(|(_, caller)| caller.scope.statistics.bytes()).sum();
            let each = size_of::<Caller>() + size_of::<CallerId>() + size_of::<usize>();
            assert_eq!(self.callers.bytes(), of_statistics + self.callers.len() * each);
        }
    }

    #[test]
    fn own_count_windows_are_shorter_the_more_callers_there_are() {
        assert_eq!(OWN_CALLS_MAX, 1_048_576);
        let mut world = World::new(&calls());
        let mut most = vec![world.callers.own_calls_max()];
        for id in 1..=5 {
            world.see(at(1), [id]);
            most.push(world.callers.own_calls_max());
        }
        assert_eq!(most, [0, 0, 1, 2, 2, 3].map(|halvings| OWN_CALLS_MAX >> halvings));
        world.see(at(1), 6..=17);
        world.record(at(1), 1, 50_000, 0);
        assert_eq!(world.own_calls(at(1), 1), 32_768, "a thirty-second part");
        world.check_bytes();
        world.see(at(1), 18..=33);
        assert_eq!(world.own_calls(at(1), 1), 16_384, "those that have one already as well");
        world.check_bytes();
        for _ in 0..20_000 {
            world.callers.pend_success(&calls(), at(1), CallerId(2), usize::MAX);
        }
        assert_eq!(world.own_calls(at(1), 2), 16_384);
        assert_eq!(world.callers.get(CallerId(2)).unwrap().totals.successes, 20_000);
    }

    #[test]
    fn memory_is_weighed_through_all_that_changes_it() {
        let aging = Policy {
            monitoring_period: Some(Duration::from_secs(10)),
            failure_threshold: std::num::NonZeroU32::new(3),
            ..calls()
        };
        let mut world = World::new(&aging);
        world.see(at(1), [1, 2, 3]);
        world.check_bytes();
        world.record(at(1), 1, 0, 40);
        world.record(at(1), 2, 40, 1);
        world.callers.pend_success(&aging, at(1), CallerId(3), usize::MAX);
        world.check_bytes();
        let all = world.callers.bytes();
        let by_time =
            Policy { window: WindowSpec::Time { duration: Duration::from_secs(10), slices: 10 }, ..aging.clone() };
        world.callers.refit(&aging, &by_time, at(2));
        world.check_bytes();
        assert_ne!(world.callers.bytes(), all);
        assert_eq!(world.own_calls(at(2), 1), 0, "a window of another kind begins empty");
        world.policy = by_time.clone();
        world.record(at(2), 1, 0, 1);
        world.callers.tidy(&by_time, at(30));
        world.check_bytes();
        assert_eq!(world.own_calls(at(30), 1), 0);
        world.record(at(30), 1, 0, 1);
        let mut other = World { policy: by_time, callers: world.callers.clone(), fleet: world.fleet.clone() };
        other.callers.forget_evidence(at(30), CallerId(1), &mut other.fleet);
        other.check_bytes();
        assert_eq!((other.fleet.counts(at(30)).calls(), other.own_calls(at(30), 1)), (41, 0), "what 2 said stays");
        world.callers.clear();
        world.check_bytes();
        assert_eq!(world.own_calls(at(30), 1), 0);
        world.callers.sweep(at(1).after(KNOWN_FOR), &mut world.fleet);
        world.check_bytes();
        assert_eq!(world.callers.bytes(), 0);
    }

    #[test]
    fn callers_are_known_for_an_hour_after_they_were_seen() {
        let mut world = World::new(&calls());
        world.see(at(1), [1]);
        world.see(at(5), [2]);
        assert_eq!(world.callers.sweep_at(), at(1).after(KNOWN_FOR));
        let end = at(1).after(KNOWN_FOR);
        world.callers.sweep(end.before(Duration::from_nanos(1)), &mut world.fleet);
        assert_eq!(world.known(), [1, 2]);
        assert!(world.callers.sweep(end, &mut world.fleet).is_empty(), "who was not isolated is not told of");
        assert_eq!((world.known(), world.callers.sweep_at()), (vec![2], at(5).after(KNOWN_FOR)));
        world.see(at(9), [2]);
        world.callers.sweep(at(5).after(KNOWN_FOR), &mut world.fleet);
        assert_eq!((world.known(), world.callers.sweep_at()), (vec![2], at(9).after(KNOWN_FOR)));
        world.callers.sweep(at(9).after(KNOWN_FOR), &mut world.fleet);
        assert_eq!((world.callers.len(), world.callers.sweep_at()), (0, Timestamp::NEVER));
    }

    #[test]
    fn the_quietest_caller_makes_room_and_of_equals_the_longest_unseen_but_nobody_who_is_isolated() {
        let seen = |world: &mut World, id: u64, max: usize| {
            world.callers.see(&world.policy, at(100), CallerId(id), ServiceId(id), max, &mut world.fleet);
            world.known()
        };
        let mut world = World::new(&calls());
        for id in 1..=4 {
            world.see(at(10 - id), [id]);
        }
        world.record(at(11), 4, 1, 0);
        let isolated = world.callers.get_mut(CallerId(3)).unwrap();
        isolated.scope.state = super::super::State::Open { until: at(500), failed_recoveries: 0 };
        world.callers.update();
        assert_eq!((world.callers.isolated(), world.callers.deadline()), (1, at(500)));
        assert_eq!(seen(&mut world, 5, 4), [1, 3, 4, 5], "2 was unseen for longer than 1");
        assert_eq!(seen(&mut world, 6, 4), [3, 4, 5, 6]);
        let tags: std::collections::HashSet<u16> = world.callers.iter().map(|(_, caller)| caller.tag.0).collect();
        assert_eq!((tags.len(), tags.contains(&0)), (4, false), "each has a tag of its own");
        assert_eq!(seen(&mut world, 7, 0), [3, 4, 6, 7], "where there is no room at all as well");
        let mut alone = World::new(&calls());
        alone.see(at(1), [1]);
        assert_eq!(seen(&mut alone, 2, 1), [1], "the last one stays");
    }

    #[test]
    fn no_service_loses_its_last_caller_to_another_unless_each_has_one() {
        let by_service = Policy { voters: Voters::Service, ..calls() };
        let see = |world: &mut World, id: u64, service: u64, max: usize| {
            world.callers.see(&world.policy, at(id), CallerId(id), ServiceId(service), max, &mut world.fleet);
            world.known()
        };
        let mut each = World::new(&by_service);
        (1..=3).for_each(|id| _ = see(&mut each, id, id, 3));
        assert_eq!(see(&mut each, 4, 4, 3), [2, 3, 4], "the longest unseen makes room");

        let mut world = World::new(&by_service);
        for (id, service) in [(1, 1), (2, 1), (3, 2)] {
            see(&mut world, id, service, 3);
        }
        let mut isolated = World { callers: world.callers.clone(), ..World::new(&by_service) };
        assert_eq!(see(&mut world, 4, 3, 3), [2, 3, 4], "of the service with most callers");
        for id in [1, 2] {
            let caller = isolated.callers.get_mut(CallerId(id)).unwrap();
            caller.scope.state = super::super::State::Open { until: at(500), failed_recoveries: 0 };
        }
        isolated.callers.update();
        assert_eq!(see(&mut isolated, 4, 3, 3), [1, 2, 3], "the only one that may go is the last of its service");
    }

    #[test]
    fn isolated_callers_are_due_in_the_order_in_which_their_states_end() {
        let mut world = World::new(&calls());
        world.see(at(1), 1..=3);
        for (id, until) in [(1, 30), (3, 20)] {
            let caller = world.callers.get_mut(CallerId(id)).unwrap();
            caller.scope.state = super::super::State::Open { until: at(until), failed_recoveries: 0 };
        }
        world.callers.update();
        assert_eq!((world.callers.isolated(), world.callers.deadline()), (2, at(20)));
        assert_eq!(world.callers.isolated_ids(), [CallerId(1), CallerId(3)]);
        let due = |second: u64| world.callers.due(at(second)).map(|caller| caller.0);
        assert_eq!([due(19), due(20), due(40)], [None, Some(3), Some(3)]);
        let mut kept = world.callers.sweep(at(1).after(KNOWN_FOR), &mut world.fleet);
        kept.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(kept.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 3], "the isolated ones are returned");
        assert_eq!((world.callers.isolated(), world.callers.deadline()), (0, Timestamp::NEVER));
    }
}
