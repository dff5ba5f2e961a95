//! The pure breaker against a model that can be checked by eye.
//!
//! The model keeps every call and every permit there ever was, and finds each number by going through all of them again:
//! no rings, no running sums, no bits. Random policies and timelines are played on both, and after every step each
//! answer, move, number and deadline must be the same.

mod naive;
mod order;
mod timeline;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use fuseboard::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Decision, Kind, LEDGER_BYTES_MAX, Moment, Outcome, Override, Permit,
    Policy, ProbeNow, Report, Reported, RequestId, ServiceId, Snapshot, State, StreakSnapshot, Tally, Timestamp,
    Totals, Transition, policy::BackoffSpec,
};
use proptest::{prelude::*, sample::Index};

use self::{
    naive::{Expected, Model, Slip},
    timeline::{Op, rarely, span, timeline},
};

struct Pair {
    breaker: Breaker,
    model: Model,
    now: Timestamp,
}

impl Pair {
    fn new(policy: Policy) -> Self {
        let (policy, now) = (Arc::new(policy), Timestamp::from_nanos(1_000_000_000_000_000));
        Self { breaker: Breaker::new(policy.clone(), 7, now), model: Model::new(policy, 7, now), now }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, random: 0 }
    }

    fn play(&mut self, op: Op) {
        if let Op::Call(report) = op {
            self.play(Op::Acquire { caller: 0, request: 0, lease: None });
            return self.play(Op::Report(0, report));
        }
        let before = self.breaker.clone();
        let moves = self.perform(op);
        self.check(&before, &moves);
    }

    /// Does the same to both; the breaker's moves.
    fn perform(&mut self, op: Op) -> Vec<Transition> {
        let mut moves = Vec::new();
        match op {
            Op::Wait(span) => {
                let end = self.now.after(span);
                while self.breaker.deadline() <= end {
                    self.now = self.now.max(self.breaker.deadline());
                    moves.extend(self.breaker.handle_timeout(self.moment()));
                    self.model.wake(self.now);
                }
                self.now = end;
            }
            Op::WaitForLease(ago) if !self.model.slips.is_empty() => {
                let expire = self.model.slips[self.slip(ago)].permit.expire;
                moves = self.perform(Op::Wait(expire.since(self.now)));
            }
            Op::Sleep(span) => {
                self.now = self.now.after(span);
                moves = self.breaker.handle_timeout(self.moment());
                self.model.wake(self.now);
            }
            Op::Acquire { caller, request, lease } => {
                let (caller, request) = (CallerId(caller), RequestId(request));
                let acquire = Acquire {
                    lease,
                    request,
                    caller,
                    service: caller.into(),
                    ledger_bytes_max: LEDGER_BYTES_MAX,
                    callers_max: CALLERS_MAX,
                };
                self.model.wake(self.now);
                let step = self.breaker.acquire(self.moment(), &acquire);
                moves = step.transitions;
                self.check_decision(&acquire, step.answer);
            }
            Op::Report(ago, report) if !self.model.slips.is_empty() => {
                let index = self.slip(ago);
                let permit = self.model.slips[index].permit;
                self.report_both(index, &permit, &report, &mut moves);
            }
            Op::Alter(ago, kind) if !self.model.slips.is_empty() => {
                let index = self.slip(ago);
                let permit = Permit { kind, caller: CallerId(99), ..self.model.slips[index].permit };
                self.report_both(index, &permit, &Report::of(Outcome::Success), &mut moves);
            }
            Op::WaitForLease(_) | Op::Report(..) | Op::Alter(..) | Op::Call(_) => {}
            Op::Forge(permit) => {
                self.model.wake(self.now);
                let step = self.breaker.report(self.moment(), &permit, &Report::of(Outcome::Failure));
                moves = step.transitions;
                assert_eq!(step.answer, Reported::Stale);
                self.model.totals.stale += 1;
            }
            Op::Tally(off, tally) => {
                self.model.wake(self.now);
                let tally = Tally { generation: self.model.generation.saturating_add_signed(off), ..tally };
                let step = self.breaker.tally(self.moment(), CallerId(0), ServiceId(0), &tally, CALLERS_MAX);
                moves = step.transitions;
                let in_order = self.breaker.callers_known() <= 1;
                assert_eq!(step.answer, self.model.tally(self.now, &tally, in_order));
            }
            Op::Reset => {
                self.model.wake(self.now);
                self.model.reset(self.now);
                moves = self.breaker.reset(self.moment()).transitions;
            }
            Op::ProbeNow => {
                self.model.wake(self.now);
                let step = self.breaker.probe_now(self.moment());
                moves = step.transitions;
                assert_eq!(step.answer == ProbeNow::Moved, self.model.probe_now(self.now));
            }
            Op::SetOverride(mode, expire) => {
                let expire = expire.map_or(Timestamp::NEVER, |after| self.now.after(after));
                let forced = Override {
                    id: "default".to_owned(),
                    mode,
                    actor: "op".into(),
                    reason: "test".into(),
                    set: self.now,
                    expire,
                };
                self.model.wake(self.now);
                self.model.set_override(self.now, forced.clone());
                moves = self.breaker.set_override(self.moment(), forced).transitions;
            }
            Op::ClearOverride => {
                self.model.wake(self.now);
                let step = self.breaker.clear_override(self.moment(), None);
                moves = step.transitions;
                assert_eq!(step.answer, self.model.clear_override(self.now));
            }
            Op::SetPolicy(policy) => {
                let policy = Arc::new(*policy);
                self.model.wake(self.now);
                self.model.set_policy(self.now, policy.clone());
                moves = self.breaker.set_policy(self.moment(), policy).transitions;
            }
            Op::Restore => {
                let snapshot = self.breaker.snapshot();
                // A restart takes time, and the clock goes on from the last instant stored.
                self.now = self.now.after(Duration::from_millis(1));
                self.breaker = Breaker::restore(self.breaker.policy().clone(), snapshot.clone(), self.now);
                assert_eq!(self.breaker.snapshot(), snapshot);
                self.model.restore();
                moves = self.breaker.handle_timeout(self.moment());
                self.model.wake(self.now);
            }
        }
        moves
    }

    /// The permit issued so many permits ago.
    fn slip(&self, ago: usize) -> usize {
        let issued = self.model.slips.len();
        issued - 1 - ago % issued
    }

    fn report_both(&mut self, index: usize, permit: &Permit, report: &Report, moves: &mut Vec<Transition>) {
        self.model.wake(self.now);
        let step = self.breaker.report(self.moment(), permit, report);
        moves.extend(step.transitions);
        assert_eq!(step.answer, self.model.report(self.now, index, report));
    }

    fn check_decision(&mut self, acquire: &Acquire, decision: Decision) {
        let expected = self.model.acquire(self.now, acquire);
        match (decision, expected) {
            (Decision::Permitted(permit), Expected::New(kind, expire)) => {
                let expected =
                    Permit { kind, generation: self.model.generation, expire, caller: acquire.caller, ..permit };
                assert_eq!(permit, expected);
                let slip = Slip { permit, kind, request: acquire.request, done: false, forgotten: false };
                let same = |slip: &&Slip| {
                    let place = |permit: &Permit| (permit.generation, permit.slice, permit.serial);
                    place(&slip.permit) == place(&permit)
                };
                assert!(self.model.slips.iter().find(same).is_none(), "a permit is issued once");
                self.model.slips.push(slip);
                let late = self.model.slices()[&permit.slice].since(permit.expire);
                assert!(
                    late <= self.model.policy.lease / 16,
                    "judged within a sixteenth of a lease, not after {late:?}"
                );
            }
            (Decision::Permitted(permit), Expected::Same(same)) => assert_eq!(permit, same),
            (Decision::Rejected { reason, retry_after }, Expected::Rejected(why, left)) => {
                assert_eq!(reason, why);
                let spread = if acquire.caller == CallerId(0) {
                    Duration::ZERO
                } else {
                    (left / 10).min(Duration::from_secs(1))
                };
                assert!(retry_after >= left && retry_after <= left + spread, "{retry_after:?} for {left:?}");
            }
            (decision, _) => panic!("{decision:?} while {:?}", self.model.state),
        }
    }

    /// Both stand at the same place, and the breaker came there by legal moves.
    fn check(&mut self, before: &Breaker, moves: &[Transition]) {
        // Looking is done on a copy, because it tidies up and the breaker must not need it.
        let (breaker, model, now) = (&mut self.breaker.clone(), &mut self.model, self.now);
        assert_eq!(moves, std::mem::take(&mut model.moves));
        let mut generation = before.generation();
        for step in moves {
            assert!(step.kind.is_legal(step.from, step.to));
            generation += u64::from(step.kind != Kind::PolicyChanged);
            assert_eq!(step.status.generation, generation, "one more for each move");
        }
        assert_eq!(breaker.status(now), model.status(now));
        assert_eq!(*breaker.state(), model.state);
        assert_eq!(breaker.counts(now), model.counts(now));
        assert_eq!(breaker.totals(), model.totals);
        assert_eq!(breaker.failed_recoveries(), model.failed_recoveries);
        assert_eq!(breaker.deadline(), model.deadline());
        assert_eq!(breaker.probes().len(), model.probes_out().count());
        let granted = breaker.probes().len() > before.probes().len();
        assert!(!granted || breaker.probes().len() <= breaker.policy().probes as usize, "the budget holds");
        let committed = breaker.version() > before.version();
        assert_eq!(
            committed,
            !moves.is_empty() || durable(before) != durable(breaker),
            "what is durable has a version"
        );
        // Waking early is harmless.
        if breaker.deadline() > now {
            // But not so late that callers are forgotten, which is no deadline.
            let soon = now.after(Duration::from_secs(60));
            let early = Moment { now: breaker.deadline().before(Duration::from_nanos(1)).min(soon), random: 0 };
            let asleep = self.breaker.snapshot();
            assert_eq!(self.breaker.handle_timeout(early), []);
            assert_eq!(self.breaker.snapshot(), asleep);
        }
    }
}

fn anybody() -> Acquire {
    let (caller, request) = (CallerId(0), RequestId(0));
    Acquire {
        caller,
        service: ServiceId(0),
        request,
        lease: None,
        ledger_bytes_max: LEDGER_BYTES_MAX,
        callers_max: CALLERS_MAX,
    }
}

/// What a store must have before it is told.
fn durable(breaker: &Breaker) -> Snapshot {
    let mut probes = breaker.snapshot().probes;
    probes.sort_by_key(|probe| (probe.permit.generation, probe.permit.slice, probe.permit.serial));
    let (version, window) = (0, None);
    Snapshot {
        version,
        window,
        probes,
        // Who was seen is not. What moves in a caller's scope is told as a move.
        callers: None,
        streak: StreakSnapshot::default(),
        totals: Totals::default(),
        ..breaker.snapshot()
    }
}

#[test]
fn a_ledger_that_gave_up_everything_is_no_ledger() {
    let now = Timestamp::from_nanos(1_000_000_000_000_000);
    let mut breaker = Breaker::new(Arc::default(), 1, now);
    let acquire = Acquire { ledger_bytes_max: 0, ..anybody() };
    for permits in 1..=300 {
        breaker.acquire(Moment { now, random: 0 }, &acquire);
        let mut later = breaker.clone();
        later.handle_timeout(Moment { now: now.after(Duration::from_secs(60)), random: 0 });
        assert!(later.tidy(now.after(Duration::from_secs(60))), "as good as new after {permits}");
    }
}

#[test]
fn the_end_of_time_comes_and_nothing_overflows() {
    let policy = Arc::new(Policy { monitoring_period: Some(Duration::from_secs(1)), ..Policy::default() });
    for now in [0, 1, u64::MAX - 1, u64::MAX].map(Timestamp::from_nanos) {
        let moment = Moment { now, random: u64::MAX };
        let mut breaker = Breaker::new(policy.clone(), 1, now);
        for _ in 0..3 {
            let tally = Tally {
                generation: breaker.generation(),
                caller_generation: 0,
                age: Duration::MAX,
                successes: u32::MAX,
                failures: u32::MAX,
                timeouts: u32::MAX,
                slow: u32::MAX,
                ignored: u32::MAX,
                rejections: u32::MAX,
                local_failures: u32::MAX,
                leading_failures: u32::MAX,
                longest_run: u32::MAX,
                trailing_failures: u32::MAX,
                retry_after: Some(Duration::MAX),
            };
            breaker.tally(moment, CallerId(0), ServiceId(0), &tally, CALLERS_MAX);
            breaker.reset(moment);
        }
        breaker.handle_timeout(Moment { now: Timestamp::NEVER, random: 0 });
        assert_eq!(breaker.totals().rejected, 3 * u64::from(u32::MAX));
    }
}

proptest! {
    #[test]
    fn the_breaker_does_what_the_model_does((policy, ops) in timeline()) {
        let mut pair = Pair::new(policy);
        for op in ops {
            pair.play(op);
        }
    }

    /// Without calls, time moves a breaker at most once more after all leases and overrides have ended, and leaves no deadline.
    #[test]
    fn time_alone_does_not_move_a_breaker_for_ever((policy, ops) in timeline()) {
        let mut pair = Pair::new(policy);
        for op in ops {
            pair.play(op);
        }
        let Pair { mut breaker, mut now, .. } = pair;
        let mut sleep = || {
            now = now.after(Duration::from_secs(2 * 366 * 24 * 3_600));
            breaker.handle_timeout(Moment { now, random: 0 }).len()
        };
        sleep();
        prop_assert!((0..4).map(|_| sleep()).sum::<usize>() <= 1);
        prop_assert_eq!(breaker.deadline(), Timestamp::NEVER);
    }

    /// Past its bound the ledger gives up the oldest permits: their reports are stale, and none ever counts twice.
    #[test]
    fn the_ledger_stays_within_its_bound(
        bytes_max in prop_oneof![Just(0), 0..200_usize, 0..5_000_usize],
        steps in prop::collection::vec((1..200_usize, 0..3000_u64, any::<Index>(), rarely(span())), 1..60),
    ) {
        let policy = Policy { failure_threshold: None, failure_rate_threshold: None, ..Policy::default() };
        let mut now = Timestamp::from_nanos(1_000_000_000_000_000);
        let mut breaker = Breaker::new(Arc::new(policy), 1, now);
        let mut issued: Vec<(Permit, u32)> = Vec::new();
        for (permits, wait, which, lease) in steps {
            now = now.after(Duration::from_millis(wait));
            let moment = Moment { now, random: 0 };
            for _ in 0..permits {
                let acquire = Acquire { lease, ledger_bytes_max: bytes_max, ..anybody() };
                let Decision::Permitted(permit) = breaker.acquire(moment, &acquire).answer else { panic!("it is closed") };
                issued.push((permit, 0));
                prop_assert!(breaker.ledger_bytes() <= bytes_max);
            }
            for offset in 0..permits {
                let index = (which.index(issued.len()) + offset) % issued.len();
                let (permit, counted) = &mut issued[index];
                let answer = breaker.report(moment, permit, &Report::of(Outcome::Success)).answer;
                *counted += u32::from(answer == Reported::Counted);
                prop_assert!(*counted <= 1);
                prop_assert_eq!(answer == Reported::Duplicate && *counted == 0, false);
            }
        }
        // Once all leases have ended, it is as good as new.
        breaker.handle_timeout(Moment { now: now.after(Duration::from_secs(60)), random: 0 });
        prop_assert!(breaker.tidy(now.after(Duration::from_secs(3600))));
    }

    /// Jitter takes up to its share off an open period and adds nothing.
    #[test]
    fn jitter_stays_within_its_share(percent in 0..=100_u32, random: u64, recoveries in 0..40_u32) {
        let (open_duration, max_duration) = (Duration::from_secs(8), Duration::from_secs(100));
        let jitter = f64::from(percent) / 100.0;
        let open_backoff = Some(BackoffSpec { multiplier: 2.0, max_duration, jitter });
        let policy = Policy { failure_threshold: NonZeroU32::new(1), open_duration, open_backoff, ..Policy::default() };
        let start = Timestamp::from_nanos(1_000_000_000_000_000);
        // Half-open for the last so-many-th time.
        let state = State::Open { until: start, failed_recoveries: recoveries.saturating_sub(1) };
        let snapshot = Snapshot { state, ..Breaker::new(Arc::default(), 1, start).snapshot() };
        let mut breaker = Breaker::restore(Arc::new(policy), snapshot, start);
        let moment = Moment { now: start, random };
        if recoveries == 0 {
            breaker.reset(moment);
        }
        let Decision::Permitted(permit) = breaker.acquire(moment, &anybody()).answer else { panic!("it is free") };
        let step = breaker.report(moment, &permit, &Report::of(Outcome::Failure));
        let period = step.transitions[0].evidence.as_ref().unwrap().open_duration.unwrap();
        let whole = open_duration.saturating_mul(1 << recoveries.min(20)).min(max_duration);
        let shortest = whole.mul_f64(1.0 - jitter).max(Duration::from_millis(1));
        prop_assert!(period <= whole && period + Duration::from_nanos(1) >= shortest, "{period:?} of {whole:?}");
    }
}
