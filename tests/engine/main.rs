//! The engine through its public handle, on a clock that stands still until it is moved.
//!
//! Each test is a claim. What one breaker decides is shown by the scenarios; this is about many breakers, time, names
//! and bounds, and about what else the engine keeps for them.

mod batches;
mod bounds;
mod events;
mod folding;
mod overrides;
mod policies;
mod registry;
mod requests;
mod threads;
mod timers;

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/flapping.rs"]
mod flapping;
#[path = "../support/soon.rs"]
mod soon;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use fuseboard::{
    breaker::{
        CallerId, Decision, Moment, Outcome, Permit, PolicySpec, Rejection, Report, Reported, RequestId, StateName,
        Timestamp,
    },
    engine::{Actor, Clock, Declaration, Engine, Event, Limits, View},
};

use self::dice::Dice;
use self::soon::{Soon as _, now};

/// Where the clock stands at first.
const START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);
const OPERATOR: Actor<'static> = Actor { name: "ada", comment: "a test" };
const NOBODY: CallerId = CallerId(0);

/// An engine on a manual clock, with the calls that tests make.
struct World {
    engine: Engine,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self { engine: Engine::new(Clock::manual(START), limits, PolicySpec::default()).unwrap() }
    }

    /// Of a server whose default policy was changed.
    fn under(default: PolicySpec) -> Self {
        Self { engine: Engine::new(Clock::manual(START), Limits::default(), default).unwrap() }
    }

    fn advance(&self, by: Duration) {
        self.engine.advance(by).unwrap();
    }

    /// Time since the start.
    fn elapsed(&self) -> Duration {
        self.engine.now().since(START)
    }

    fn moment(&self) -> Moment {
        self.engine.moment()
    }

    fn decide(&self, key: &str) -> Decision {
        self.decide_as(key, NOBODY, RequestId::default())
    }

    fn decide_as(&self, key: &str, caller: CallerId, request: RequestId) -> Decision {
        let acquire = |handle| self.engine.acquire(self.moment(), handle, caller, request, None).map(now);
        self.engine.always(key, acquire).unwrap().decision
    }

    fn permit(&self, key: &str) -> Permit {
        permitted(self.decide(key))
    }

    fn rejection(&self, key: &str) -> Rejection {
        match self.decide(key) {
            Decision::Rejected { reason, .. } => reason,
            Decision::Permitted(_) => panic!("{key} was permitted"),
        }
    }

    fn report(&self, key: &str, permit: &Permit, outcome: Outcome) -> Reported {
        let handle = self.engine.find(key).expect("a breaker to report to");
        self.engine.report(self.moment(), handle, permit, &Report::of(outcome), "").map(now).unwrap().reported
    }

    /// One call, from the question to its report.
    fn call(&self, key: &str, outcome: Outcome) -> Reported {
        let permit = self.permit(key);
        self.report(key, &permit, outcome)
    }

    /// Failures in a row, each counted.
    fn fail(&self, key: &str, times: u32) {
        for _ in 0..times {
            assert_eq!(self.call(key, Outcome::Failure), Reported::Counted);
        }
    }

    /// Trips a breaker of the built-in policy.
    fn trip(&self, key: &str) {
        self.fail(key, 5);
        assert_eq!(self.state(key), StateName::Open);
    }

    fn declare(&self, key: &str, spec: PolicySpec) -> View {
        self.declare_revision(key, spec, 0)
    }

    fn declare_revision(&self, key: &str, spec: PolicySpec, revision: u64) -> View {
        self.engine.declare(key, &Declaration { spec, revision }, NOBODY).soon().unwrap()
    }

    fn view(&self, key: &str) -> View {
        self.engine.view(key).soon().unwrap()
    }

    fn state(&self, key: &str) -> StateName {
        self.view(key).entry.status.state
    }

    fn generation(&self, key: &str) -> u64 {
        self.view(key).entry.status.generation
    }

    fn exists(&self, key: &str) -> bool {
        self.engine.find(key).is_some()
    }

    /// The whole event log.
    fn log(&self) -> Vec<Arc<Event>> {
        self.engine.events(0, false, usize::MAX)
    }

    /// What happened, in words: kind, breaker, time since the start.
    fn told(&self) -> Vec<(&'static str, String, Duration)> {
        let told = |event: &Arc<Event>| (event.kind.name(), event.key.to_string(), event.at.since(START));
        self.log().iter().map(told).collect()
    }

    fn last_event(&self) -> Arc<Event> {
        self.engine.events(u64::MAX, true, 1).remove(0)
    }
}

fn permitted(decision: Decision) -> Permit {
    match decision {
        Decision::Permitted(permit) => permit,
        Decision::Rejected { reason, .. } => panic!("rejected: {reason:?}"),
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// A policy of one rule: so many failures in a row.
fn failures(threshold: u32) -> PolicySpec {
    PolicySpec { failure_threshold: Some(threshold), ..PolicySpec::default() }
}

/// Polls a future until it is ready, and counts how often it was not: each time, other work of the thread has its turn.
fn turns<T>(future: impl Future<Output = T>) -> (usize, T) {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    let mut turns = 0;
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return (turns, answer),
            Poll::Pending => turns += 1,
        }
    }
}
