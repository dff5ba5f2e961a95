//! Callers and quorum: what no caller can do to the others, and the rule itself against a model that keeps every call in a
//! list and recounts from scratch.

mod naive;
mod play;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fuseboard::breaker::{
    Breaker, CALLERS_MAX, CallerId, Decision, Kind, Moment, Outcome, PermitKind, Policy, PolicySpec, Report, Reported,
    ServiceId, State, StateName, policy::Voters,
};
use proptest::prelude::*;

use self::{
    naive::Model,
    play::{Op, Play, callers_op, ops, policy, service_of, services_op, span},
};

/// Callers that only succeed have these numbers; the others are below.
const WELL: [u64; 3] = [101, 102, 103];

/// A policy with a quorum above 1, and what one voter less than the quorum sends: callers, or services with three instances
/// each.
fn sick() -> impl Strategy<Value = (Policy, Vec<(Op, Duration)>)> {
    policy(2..=4).prop_flat_map(|policy| {
        let sick = u64::from(policy.min_callers - 1);
        let op = match policy.voters {
            Voters::Instance => callers_op(1..=sick).boxed(),
            Voters::Service => services_op(sick).boxed(),
        };
        let steps = prop::collection::vec((op, prop_oneof![2 => Just(Duration::ZERO), 1 => span()]), 1..80);
        (Just(policy), steps)
    })
}

/// Half-open, as nobody's fault, after what the sick ones have sent: some of them may be isolated, with probes out.
fn half_open(policy: &Policy, steps: &[(Op, Duration)]) -> Play {
    let mut play = Play::new(policy.clone());
    for caller in WELL.into_iter().chain(1..u64::from(policy.min_callers)) {
        play.see(caller);
    }
    for (op, wait) in steps {
        play.perform(op);
        play.wait(*wait);
        play.succeed(WELL[1]);
    }
    let mut snapshot = play.breaker.snapshot();
    snapshot.state = State::Open { until: play.now.after(Duration::from_millis(1)), failed_recoveries: 0 };
    snapshot.generation += 1;
    play.breaker = Breaker::restore(play.breaker.policy().clone(), snapshot, play.now);
    play.assign_services();
    play.wait(Duration::from_millis(1));
    assert_eq!(play.breaker.state().name(), StateName::HalfOpen);
    play
}

fn is_open(kind: Kind) -> bool {
    matches!(kind, Kind::Opened | Kind::WouldHaveOpened)
}

proptest! {
    #[test]
    fn callers_below_the_quorum_open_it_for_nobody((policy, steps) in sick()) {
        let mut play = Play::new(policy);
        for caller in WELL {
            prop_assert!(play.succeed(caller));
        }
        for (op, wait) in steps {
            let mut moves = play.perform(&op).moves;
            moves.extend(play.wait(wait));
            prop_assert!(moves.iter().all(|step| step.caller.is_some()), "{moves:?}");
            prop_assert!(play.succeed(WELL[0]), "who is well is permitted");
        }
    }

    #[test]
    fn callers_below_the_quorum_reopen_it_for_nobody_and_it_closes((policy, steps) in sick(), before in 0..40_usize) {
        // Those who are well ask each second: in time to settle a lone failure.
        let policy = Policy { open_duration: policy.open_duration.max(Duration::from_secs(3)), ..policy };
        let before = before.min(steps.len());
        let mut play = half_open(&policy, &steps[..before]);
        let mut steps = steps.into_iter().map(|(op, _)| op).cycle();
        for second in 0.. {
            prop_assert!(second < 300, "it closes");
            // The sick ones are always first, and often.
            for op in steps.by_ref().take(4) {
                let told = play.perform(&op);
                prop_assert!(!told.moves.iter().any(|step| is_open(step.kind)), "{:?}", told.moves);
            }
            for caller in WELL {
                play.succeed(caller);
            }
            if play.breaker.state().name() == StateName::Closed {
                break;
            }
            let moves = play.wait(Duration::from_secs(1));
            prop_assert!(!moves.iter().any(|step| is_open(step.kind)), "{moves:?}");
        }
    }

    #[test]
    fn a_callers_moves_leave_the_breaker_alone_and_all_numbers_hold(policy in policy(1..=4), ops in ops(0..=7)) {
        let mut play = Play::new(policy);
        let mut counted: HashMap<(u64, u64, u32), u32> = HashMap::new();
        for op in ops {
            let (before, probes) = (play.breaker.clone(), play.breaker.probes().to_vec());
            let told = play.perform(&op);
            let mut generation = before.generation();
            for step in &told.moves {
                prop_assert!(step.kind.is_legal(step.from, step.to));
                generation += u64::from(step.caller.is_none());
                prop_assert_eq!(step.status.generation, generation);
            }
            prop_assert_eq!(play.breaker.generation(), generation);
            if told.moves.iter().all(|step| step.caller.is_some()) {
                prop_assert_eq!(play.breaker.state().name(), before.state().name());
            }
            // Probes.
            let limit = play.breaker.policy().probes as usize;
            if let Some(Decision::Permitted(permit)) = told.decision {
                let is_new = !probes.iter().any(|probe| probe.permit == permit);
                let out = play.breaker.probes();
                let its = out.iter().filter(|probe| probe.permit.kind == PermitKind::CallerProbe && probe.permit.caller == permit.caller);
                match permit.kind {
                    PermitKind::CallerProbe => prop_assert!(its.count() <= limit),
                    PermitKind::Probe => prop_assert_eq!(play.breaker.caller_scope(permit.caller).0, StateName::Closed),
                    _ => {}
                }
                if is_new && play.breaker.state().name() == StateName::HalfOpen {
                    prop_assert!(out.len() <= limit, "a grant keeps to the budget");
                }
            }
            // Reports.
            if let Some((permit, Reported::Counted)) = told.reported {
                let times = counted.entry((permit.generation, permit.slice, permit.serial)).or_default();
                *times += 1;
                prop_assert_eq!(*times, 1, "a report counts once");
            }
            // Parts and the whole.
            let mut copy = play.breaker.clone();
            let (all, views) = (copy.counts(play.now), copy.callers(play.now));
            if matches!(play.breaker.policy().window, fuseboard::breaker::policy::WindowSpec::Time { .. }) {
                prop_assert!(views.iter().map(|view| view.window.failures).sum::<u64>() <= all.failures);
                prop_assert!(views.iter().map(|view| view.window.calls()).sum::<u64>() <= all.calls());
            }
            for part in told.moves.iter().filter_map(|step| step.evidence.as_ref()) {
                if let Some(callers) = &part.callers {
                    let without: HashSet<_> = callers.without.iter().map(|part| play.voter_of(part.caller)).collect();
                    prop_assert!(without.len() < callers.quorum as usize);
                    prop_assert!(callers.quorum <= callers.known);
                }
            }
            // Waking early is harmless.
            if play.breaker.deadline() > play.now {
                let soon = play.now.after(Duration::from_secs(60));
                let early = Moment { now: play.breaker.deadline().before(Duration::from_nanos(1)).min(soon), random: 0 };
                let mut asleep = play.breaker.clone();
                prop_assert!(asleep.handle_timeout(early).iter().all(|step| step.kind == Kind::CallerRestored));
            }
        }
    }

    #[test]
    fn a_breaker_goes_on_from_a_snapshot_as_it_would_have(policy in policy(1..=4), ops in ops(0..=7), at in 0..120_usize) {
        let (mut play, mut other) = (Play::new(policy.clone()), Play::new(policy));
        for (number, op) in ops.iter().enumerate() {
            if matches!(op, Op::Restore) {
                continue;
            }
            if number == at {
                // Permits of before a restart are stale; so are those of the one that goes on, to compare.
                play.perform(&Op::Restore);
                other.perform(&Op::Restore);
                other.breaker = Breaker::restore(other.breaker.policy().clone(), other.breaker.snapshot(), other.now);
                other.assign_services();
            }
            let (one, two) = (play.perform(op), other.perform(op));
            prop_assert_eq!(one.moves, two.moves);
            prop_assert_eq!(play.breaker.deadline(), other.breaker.deadline());
        }
        prop_assert_eq!(play.breaker.snapshot(), other.breaker.snapshot());
    }

    /// But for retry-after's jitter.
    #[test]
    fn one_caller_is_as_one_without_a_name(policy in policy(1..=4), ops in ops(1..=1)) {
        let (mut named, mut nameless) = (Play::new(policy.clone()), Play::new(policy));
        for op in ops {
            let bare = match op.clone() {
                Op::Acquire(_, request) => Op::Acquire(0, request),
                Op::Call(_, report) => Op::Call(0, report),
                Op::Tally(_, tally) => Op::Tally(0, tally),
                Op::See(_) => Op::See(0),
                other => other,
            };
            let (one, two) = (named.perform(&op), nameless.perform(&bare));
            prop_assert_eq!(one.moves, two.moves);
            prop_assert_eq!(one.reported.map(|(_, result)| result), two.reported.map(|(_, result)| result));
            match (one.decision, two.decision) {
                (Some(Decision::Permitted(one)), Some(Decision::Permitted(two))) => {
                    prop_assert_eq!((one.kind, one.generation, one.expire), (two.kind, two.generation, two.expire));
                }
                (Some(Decision::Rejected { reason: one, .. }), Some(Decision::Rejected { reason: two, .. })) => prop_assert_eq!(one, two),
                (one, two) => prop_assert_eq!(one.is_none(), two.is_none()),
            }
            prop_assert_eq!(named.breaker.status(named.now), nameless.breaker.status(nameless.now));
            prop_assert_eq!(named.breaker.counts(named.now), nameless.breaker.counts(nameless.now));
            prop_assert_eq!(named.breaker.deadline(), nameless.breaker.deadline());
        }
    }

    #[test]
    fn the_breaker_judges_as_the_model_does(policy in policy(1..=4), ops in ops(0..=7)) {
        let mut model = Model::new(policy);
        for op in ops {
            model.play(&op);
        }
    }
}

/// A policy of runs of three failures in which services vote.
fn by_service() -> Policy {
    let spec = PolicySpec {
        failure_threshold: Some(3),
        voters: Some(Voters::Service),
        // So many that runs need not be longer in a busy fleet.
        minimum_calls: Some(1_000),
        ..PolicySpec::default()
    };
    spec.declared_over(&PolicySpec::from(&Policy::default())).resolve().unwrap()
}

fn fail(play: &mut Play, caller: u64, times: u32) -> Vec<Kind> {
    let call = Op::Call(caller, Report::of(Outcome::Failure));
    (0..times).flat_map(|_| play.perform(&call).moves).map(|step| step.kind).collect()
}

/// Callers of one service, in order. Those with large numbers are services of their own.
fn instances() -> impl Iterator<Item = u64> {
    (0..33).map(|instance| 3 * instance)
}

#[test]
fn a_service_with_many_callers_makes_room_from_its_own_and_what_they_said_is_no_second_vote() {
    let mut play = Play::new(by_service());
    for service in 0..(CALLERS_MAX as u64 - 2) {
        play.see(1_000 + service);
    }
    // Two places are left for the instances of one service: each next one makes the one before the last go.
    for caller in instances() {
        assert_eq!(fail(&mut play, caller, 2), [], "no caller has a run of three");
    }
    assert_eq!(play.breaker.callers(play.now).len(), CALLERS_MAX);
    let known: Vec<u64> = play.breaker.callers(play.now).iter().map(|view| view.status.caller.0).collect();
    assert!((0..254).all(|service| known.contains(&(1_000 + service))), "no service loses its only caller");
    assert_eq!(play.breaker.state().name(), StateName::Closed, "66 failures of one service, most of forgotten callers");
    // A second service completes the evidence: its own run of three.
    assert_eq!(fail(&mut play, 1_000, 3), [Kind::Opened]);
}

#[test]
fn services_are_assigned_anew_after_a_restart_and_when_a_caller_calls() {
    let mut play = Play::new(by_service());
    for caller in [0, 3, 6, 1] {
        play.see(caller);
    }
    assert_eq!(play.breaker.quorum(), 2);
    assert_eq!(fail(&mut play, 0, 3), [Kind::CallerIsolated]);
    let snapshot = play.breaker.snapshot();
    let restored = || Breaker::restore(play.breaker.policy().clone(), snapshot.clone(), play.now);
    let quorum_of = |service: fn(CallerId) -> ServiceId| {
        let mut breaker = restored();
        let all = Policy { share: 1.0, ..by_service() };
        breaker.set_policy(Moment { now: play.now, random: 0 }, Arc::new(all));
        breaker.assign_services(service);
        breaker.quorum()
    };
    assert_eq!(quorum_of(|caller| service_of(caller.0)), 2, "as before");
    assert_eq!(quorum_of(|caller| ServiceId(1 + caller.0)), 4, "each alone");
    assert_eq!(quorum_of(|_| ServiceId(0)), 4, "of one service: its instances vote");

    // A restart forgets names. What callers said before counts for their service once they call again, and for none until then.
    let mut play = Play { breaker: restored(), now: play.now, permits: Vec::new() };
    play.breaker.assign_services(|_| ServiceId::UNKNOWN);
    assert_eq!(
        fail(&mut play, 3, 3),
        [Kind::CallerIsolated],
        "not the second service that fails: caller 0 is of the same"
    );
    assert_eq!(fail(&mut play, 6, 3), [Kind::CallerIsolated]);
    assert_eq!(play.breaker.quorum(), 2);
    assert_eq!(fail(&mut play, 1, 3), [Kind::Opened], "another service");
    let play = |op: Op| {
        let mut play = Play { breaker: restored(), now: play.now, permits: Vec::new() };
        play.breaker.assign_services(|_| ServiceId::UNKNOWN);
        play.perform(&op);
        fail(&mut play, 1, 3)
    };
    assert_eq!(play(Op::See(3)), [Kind::CallerIsolated], "caller 0 has not called again");
    assert_eq!(play(Op::Acquire(0, 0)), [Kind::Opened], "it has, and what it said before counts");
}
