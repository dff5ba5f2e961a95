//! Following events: ordered, each once, none skipped, resumable, and never back in time.
//!
//! What a watcher makes of its messages is compared with the log and with the breakers themselves. [`follower`] is a
//! client as the protocol describes it, with every promise checked on the way; [`engine`] puts it into all situations
//! there are, [`concurrent`] among threads that move breakers, and [`stream`] and [`wire`] look at the same over gRPC.

mod bursts;
mod callers;
mod concurrent;
mod engine;
mod follower;
mod stream;
mod wire;

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/flapping.rs"]
mod flapping;
#[path = "../support/soon.rs"]
mod soon;

use std::time::Duration;

use fuseboard::{
    breaker::{CallerId, Decision, Outcome, OverrideMode, PolicySpec, Report, RequestId, Timestamp},
    engine::{Actor, Clock, Engine, Event, Limits},
};

use self::dice::Dice;
use self::soon::{Soon as _, told};

const START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);
const OPERATOR: Actor<'static> = Actor { name: "ada", comment: "a test" };
/// Every wait of these tests ends by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine whose time stands still and whose breakers trip at the first failure, for a second.
fn engine(limits: Limits) -> Engine {
    let open_duration = Some(Duration::from_secs(1));
    let policy = PolicySpec { failure_threshold: Some(1), open_duration, ..PolicySpec::default() };
    Engine::new(Clock::manual(START), limits, policy).unwrap()
}

/// A log that holds whatever a test does.
fn long_log() -> Limits {
    Limits { events: 1 << 20, ..Limits::default() }
}

/// A call whose outcome makes a move where it is permitted. True where it was.
fn call(engine: &Engine, key: &str, caller: CallerId, outcome: Outcome) -> bool {
    let moment = engine.moment();
    let acquire = |handle| {
        let acquired = engine.acquire(moment, handle, caller, RequestId::default(), None).and_then(told)?;
        Some((handle, acquired.decision))
    };
    match engine.always(key, acquire).unwrap() {
        (handle, Decision::Permitted(permit)) => {
            engine.report(moment, handle, &permit, &Report::of(outcome), "").and_then(told);
            true
        }
        (_, Decision::Rejected { .. }) => false,
    }
}

fn fail(engine: &Engine, key: &str) -> bool {
    call(engine, key, CallerId::default(), Outcome::Failure)
}

fn reset(engine: &Engine, key: &str) {
    engine.handle(key).unwrap();
    engine.reset(key, OPERATOR).soon().unwrap();
}

/// Something that may happen to a breaker.
fn disturb(engine: &Engine, key: &str, dice: &mut Dice) {
    match dice.below(10) {
        0 | 1 => drop(engine.reset(key, OPERATOR).soon()),
        2 => drop(engine.delete(key, OPERATOR).soon()),
        3 => drop(
            engine.set_override(key, "default", OverrideMode::Shadow, Some(Duration::from_secs(3)), OPERATOR).soon(),
        ),
        4 => drop(engine.clear_override(key, None, OPERATOR).soon()),
        5 if dice.below(10) == 0 => _ = engine.advance(Duration::from_secs(1)),
        6 => {
            let policy = PolicySpec { probes: Some(1 + dice.below(5) as u32), ..PolicySpec::default() };
            engine.set_policy(key, policy, None, OPERATOR).soon().unwrap();
        }
        7 => _ = call(engine, key, CallerId::default(), Outcome::Success),
        _ => _ = fail(engine, key),
    }
}

fn kinds(events: &[impl AsRef<Event>]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_ref().kind.name()).collect()
}
