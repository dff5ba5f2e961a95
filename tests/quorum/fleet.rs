//! The three arrangements of breakers that a fleet can have.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fuseboard::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Decision, Kind, LEDGER_BYTES_MAX, Moment, Outcome, Permit, Policy, Report,
    Reported, RequestId, StateName, Timestamp, Transition, policy::PolicySpec,
};

use crate::traffic::Random;

/// How a fleet is protected.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Arrangement {
    /// One breaker for all, which opens on evidence that stands without the worst callers. With this `share`.
    Quorum(f64),
    /// One breaker for all, which does not ask who calls.
    Plain,
    /// A breaker in each caller.
    Own,
}

/// The breakers of a fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    policy: Arc<Policy>,
    shared: Option<Breaker>,
    own: HashMap<CallerId, Breaker>,
    /// Moves that nobody has looked at yet.
    pub(crate) moves: Vec<Move>,
}

/// A move, as far as the simulation tells moves apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A closed breaker opened.
    Opened,
    /// A breaker closed.
    Closed,
    /// One caller of a shared breaker was cut off by itself.
    Isolated(CallerId),
}

impl Arrangement {
    pub(crate) const DEFAULT: [Self; 3] = [Self::Quorum(0.0), Self::Plain, Self::Own];

    fn policy(self) -> Policy {
        let spec = match self {
            Self::Quorum(share) => PolicySpec { share: Some(share), ..PolicySpec::default() },
            Self::Plain | Self::Own => PolicySpec { min_callers: Some(1), ..PolicySpec::default() },
        };
        spec.resolve().expect("a valid policy")
    }
}

impl Fleet {
    pub(crate) fn new(arrangement: Arrangement, now: Timestamp) -> Self {
        let policy = Arc::new(arrangement.policy());
        let shared = (arrangement != Arrangement::Own).then(|| Breaker::new(policy.clone(), 1, now));
        Self { policy, shared, own: HashMap::new(), moves: Vec::new() }
    }

    /// Asks the breaker of this caller for leave.
    pub(crate) fn ask(&mut self, now: Timestamp, caller: CallerId) -> Decision {
        let acquire = Acquire {
            caller,
            service: caller.into(),
            request: RequestId::default(),
            lease: None,
            ledger_bytes_max: LEDGER_BYTES_MAX,
            callers_max: CALLERS_MAX,
        };
        let breaker = self.awake(now, caller);
        let step = breaker.acquire(moment(now), &acquire);
        self.note(step.transitions);
        step.answer
    }

    /// Tells the breaker of this caller how its call went. True where it counts: not if the caller was cut off since.
    pub(crate) fn tell(&mut self, now: Timestamp, permit: &Permit, failed: bool, took: Duration) -> bool {
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        let report = Report { duration: Some(took), ..Report::of(outcome) };
        let breaker = self.awake(now, permit.caller);
        let step = breaker.report(moment(now), permit, &report);
        self.note(step.transitions);
        step.answer == Reported::Counted
    }

    /// Brings the shared breaker up to an instant.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        if self.shared.is_some() {
            self.awake(now, CallerId::default());
        }
    }

    pub(crate) fn state(&self) -> Option<StateName> {
        self.shared.as_ref().map(|breaker| breaker.state().name())
    }

    /// The breaker that this caller asks, after all that was due before now, each at its own instant.
    fn awake(&mut self, now: Timestamp, caller: CallerId) -> &mut Breaker {
        let Self { policy, shared, own, moves } = self;
        let breaker = match shared {
            Some(breaker) => breaker,
            None => own.entry(caller).or_insert_with(|| Breaker::new(policy.clone(), 1, now)),
        };
        while let Some(due) = breaker.deadline().ever().filter(|due| *due <= now) {
            moves.extend(breaker.handle_timeout(moment(due)).iter().filter_map(Move::of));
        }
        breaker
    }

    fn note(&mut self, transitions: Vec<Transition>) {
        self.moves.extend(transitions.iter().filter_map(Move::of));
    }
}

impl Move {
    fn of(transition: &Transition) -> Option<Self> {
        let what = match (transition.kind, transition.from, transition.caller) {
            (Kind::Opened, StateName::Closed, _) => What::Opened,
            (Kind::CallerIsolated, StateName::Closed, Some(caller)) => What::Isolated(caller.caller),
            (Kind::Closed, ..) => What::Closed,
            _ => return None,
        };
        Some(Self { at: transition.at, what })
    }
}

fn moment(now: Timestamp) -> Moment {
    Moment { now, random: Random::new(now.as_nanos()).next() }
}
